import json
from pathlib import Path

import pytest

from visplay.config.loading import check_config
from visplay.config.sections import LIMITS, Health
from visplay.evaluation.records import write_records
from visplay.loop.alarms import (
    AT_MOST,
    best_iteration,
    iteration_figures,
    out_of_patience,
    probe_of,
    raise_alarms,
)

BENCHMARKS = {"images": {"source": "pictures"}, "evaluation": {"benchmarks": ["mmstar", "mathvista"]}}
CONFIG = check_config(BENCHMARKS)


def test_a_figure_beyond_its_limit_raises_an_alarm_and_the_limit_itself_does_not() -> None:
    assert raise_alarms(dict(LIMITS), Health()) == [] and raise_alarms({}, Health()) == []
    for figure, limit in LIMITS.items():
        beyond = limit + 0.01 if figure in AT_MOST else limit - 0.01
        (alarm,) = raise_alarms({**LIMITS, figure: beyond}, Health())
        assert alarm.startswith(f"{figure} is {beyond:.3g}, health.limits.{figure} {limit:g}: ")
        assert raise_alarms({figure: beyond}, Health(limits={figure: None})) == []


def trained(
    *, ratio: float = 1.0, clipped: float = 0.0, length: float = 20.0, **values: float
) -> dict[str, float]:
    """A row of a phase's metrics, by TRL's names."""
    named = {
        "completions/clipped_ratio": clipped, "completions/mean_length": length,
        "sampling/importance_sampling_ratio/mean": ratio,
    }  # fmt: skip
    return {"entropy": 0.2, "grad_norm": 0.1} | named | values


def write_iteration(run: Path, number: int, *, accuracy: float, verdict: str = "can't tell") -> None:
    folder = run / f"iteration-{number}"
    for name in ("curation", "questioner", "reasoner", "evaluation"):
        (folder / name).mkdir(parents=True)
    asked = {
        "questions": 100, "valid": 80, "answerable": 60,
        "distinct": 20, "kept": 40,
        "redundancy": 0.2, "repeated": 60,
        "judge": {"precision": {"value": 0.9}, "recall": None},
        "silver_accuracy": {
            "kept": {"value": 0.6}, "kept_answerable": {"value": 0.8}, "rejected": None,
        },
        "blind_answers": {"value": 0.4},
        "calibration": [
            {"confidence": 0.5, "n": 30, "accuracy": 0.4}, {"confidence": 0.9, "n": 10, "accuracy": 0.7},
        ],
    }  # fmt: skip
    (folder / "curation/summary.json").write_text(json.dumps(asked))
    steps = [
        trained(frac_reward_zero_std=0.2, kl=0.3, grad_norm=0.5, entropy=0.01, ratio=0.96),
        trained(frac_reward_zero_std=0.4, kl=0.1, grad_norm=0.2, entropy=0.3, ratio=1.01),
    ]
    (folder / "questioner/metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    alike = {"frac_reward_zero_std": 0.5, "kl": 0.2, "clipped": 0.25, "length": 40.0}
    steps = [trained(**alike, staleness=0.0), trained(**alike, staleness=1.0, ratio=1.9)]  # optimizer.ahead
    (folder / "reasoner/metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    for role in ("questioner", "reasoner"):
        (folder / role / "adapter.json").write_text("{}")
    p_value = 1e-6 if verdict == "worse" else 0.5
    paired = {"difference": -0.05, "low": -0.07, "high": -0.03, "p_value": p_value}
    measured = {
        "mmstar": {"n": 4, "accuracy": {"value": accuracy}, "paired": paired},
        "mathvista": {
            "n": 4,
            "accuracy": {"value": 1 - accuracy},
            "paired": {**paired, "low": 0.05, "high": 0.1},
        },
        "mean of both": {"headline": 0.5, "accuracy": None, "n": 8},
    }
    (folder / "evaluation/summary.json").write_text(json.dumps({"benchmarks": measured}))
    (run / "config.yaml").write_text("images: {source: pictures}\n")
    for name in ("mmstar", "mathvista"):
        (folder / "evaluation" / name).mkdir()
        greedy = [sample(f"{i}", answer, right=True) for i, answer in enumerate(("yes", "yes", "no", None))]
        lost = {**sample("4", None, right=False), "status": "engine_error"}
        write_records(folder / f"evaluation/{name}/greedy.jsonl", [*greedy, lost])
        # Twenty votes of confidence 0.5 are in the band, and five of confidence 1 are not.
        votes = [(str(i), ("yes", "no")) for i in range(20)] + [
            (str(i), ("yes", "yes")) for i in range(20, 25)
        ]
        rows = [
            sample(item, said, right=name == "mathvista" or item == "24", number=number)
            for item, both in votes
            for number, said in enumerate(both)
        ]
        write_records(folder / f"evaluation/{name}/sampled.jsonl", rows)


def sample(item: str, answer: str | None, *, right: bool, number: int = 0) -> dict[str, object]:
    return {
        "item": item, "question": item, "benchmark": "b", "sample": number, "answer": answer,
        "correct": right, "status": "ok",
        "gold": {"rule": "text", "answers": ["yes"]},
    }  # fmt: skip


def test_figures_follow_from_what_the_iteration_stored(tmp_path: Path) -> None:
    write_iteration(tmp_path, 1, accuracy=0.5, verdict="worse")
    figures = iteration_figures(tmp_path, 1, config=CONFIG)
    assert figures == pytest.approx(
        {
            "valid": 0.8, "answerable": 0.75,
            "distinct": 0.25, "redundancy": 0.2, "repeated": 0.75, "kept": 0.5, "silver_accuracy": 0.6,
            "silver_of_answerable": 0.8,
            "probe_silver": 0.0, "calibration_error": 0.125, "blind_answers": 0.4, "same_answer": 0.5,
            "parsed": 0.75, "truncated": 0.25, "no_spread": 0.5, "kl": 0.2, "entropy": 0.2,
            "ratio_error": 0.04, "grad_norm": 0.5, "questioner_tokens": 20.0, "reasoner_tokens": 40.0,
            "probe_accuracy": 0.5, "accuracy_change": -0.05,
            "judge_precision": 0.9, "judge_recall": None,
        }
    )  # fmt: skip
    write_iteration(tmp_path, 2, accuracy=0.3)
    second = iteration_figures(
        tmp_path, 2, config=check_config({**BENCHMARKS, "health": {"probe": "mathvista"}})
    )
    assert second["accuracy_change"] == 0.0
    assert (second["probe_silver"], second["probe_accuracy"]) == (1.0, pytest.approx(0.7))


def test_the_best_iteration_is_the_first_benchmarks_and_the_earliest_of_equals(tmp_path: Path) -> None:
    for number, accuracy in enumerate((0.4, 0.7, 0.6, 0.7)):
        write_iteration(tmp_path, number, accuracy=accuracy)
    assert [best_iteration(tmp_path, last=last, probe="mmstar") for last in range(4)] == [0, 1, 1, 1]
    assert best_iteration(tmp_path, last=3, probe="mathvista") == 0


def test_the_probe_stays_one_benchmark_when_the_list_changes(tmp_path: Path) -> None:
    """An iteration that did not measure it, or on fewer questions, is not compared with the others."""
    for number, accuracy in enumerate((0.5, 0.6, 0.7)):
        write_iteration(tmp_path, number, accuracy=accuracy)
    reordered = check_config({**BENCHMARKS, "evaluation": {"benchmarks": ["mathvista", "mmstar"]}})
    assert (probe_of(CONFIG), probe_of(reordered)) == ("mmstar", "mathvista")
    path = tmp_path / "iteration-1/evaluation/summary.json"
    stored = json.loads(path.read_text())
    stored["benchmarks"]["mmstar"] = {"n": 2, "accuracy": {"value": 1.0}, "paired": None}
    path.write_text(json.dumps(stored))
    assert best_iteration(tmp_path, last=2, probe="mmstar") == 2
    del stored["benchmarks"]["mathvista"]
    path.write_text(json.dumps(stored))
    assert best_iteration(tmp_path, last=2, probe="mathvista") == 0
    assert best_iteration(tmp_path, last=2, probe="mmmu") == 0  # never measured: the base


def test_patience_counts_the_iterations_that_were_measured(tmp_path: Path) -> None:
    for number, accuracy in ((0, 0.7), (2, 0.6), (4, 0.5)):  # measured after every second iteration
        write_iteration(tmp_path, number, accuracy=accuracy)
    out = [out_of_patience(tmp_path, i, patience=2, probe="mmstar") for i in (1, 2, 3, 4)]
    assert out == [False, False, False, True]
