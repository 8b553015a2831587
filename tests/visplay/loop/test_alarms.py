import json
from pathlib import Path

import pytest

from visplay.config.watching import Limits
from visplay.evaluation.records import write_records
from visplay.loop.alarms import WATCHED, best_iteration, iteration_figures, out_of_patience, raise_alarms

HEALTHY: dict[str, float | None] = {
    "valid": 0.98, "answerable": 0.8,
    "distinct": 0.4, "redundancy": 0.1,
    "same_question": 0.03, "repeated": 0.5, "kept": 0.6,
    "low_confidence": 0.02, "silver_accuracy": 0.7, "probe_silver": 0.7, "blind_answers": 0.3,
    "same_answer": 0.3, "parsed": 1.0, "truncated": 0.0, "no_spread": 0.2, "kl": 0.05, "entropy": 0.1,
    "ratio_error": 0.01, "accuracy_change": 0.0, "corrupted": 0.02, "flips": 0.1, "judge_precision": 0.9,
}  # fmt: skip


def test_a_healthy_iteration_raises_nothing() -> None:
    assert raise_alarms(HEALTHY, Limits()) == []


@pytest.mark.parametrize(
    ("figure", "value", "key"),
    [
        ("valid", 0.49, "min_valid"), ("answerable", 0.49, "min_answerable"),
        ("distinct", 0.09, "min_distinct"), ("kept", 0.01, "min_kept"),
        ("redundancy", 0.51, "max_redundancy"),
        ("same_question", 0.21, "max_same_question"), ("repeated", 0.96, "max_repeated"),
        ("probe_silver", 0.29, "min_probe_silver"), ("blind_answers", 0.81, "max_blind_answers"),
        ("truncated", 0.51, "max_truncated"), ("entropy", 0.0005, "min_entropy"),
        ("ratio_error", 0.51, "max_ratio_error"),
        ("low_confidence", 0.51, "max_low_confidence"), ("silver_accuracy", 0.29, "min_silver_accuracy"),
        ("same_answer", 0.81, "max_same_answer"), ("parsed", 0.49, "min_parsed"),
        ("no_spread", 0.91, "max_no_spread"), ("kl", 1.01, "max_kl"),
        ("accuracy_change", -0.01, "min_accuracy_change"),
        ("corrupted", 0.11, "max_corrupted"), ("judge_precision", 0.49, "min_judge_precision"),
        ("flips", 0.009, "min_flips"),
    ],
)  # fmt: skip
def test_each_figure_raises_its_own_alarm(figure: str, value: float, key: str) -> None:
    limits = Limits(min_flips=0.01)  # the one that is off by default
    (alarm,) = raise_alarms({**HEALTHY, figure: value}, limits)
    assert (alarm.figure, alarm.value, alarm.key) == (figure, value, f"health.limits.{key}")
    assert f"{figure} is {value:.3g}, health.limits.{key} {alarm.limit:g}: " in str(alarm)
    assert raise_alarms({**HEALTHY, figure: value}, Limits(**{key: None})) == []
    assert raise_alarms({**HEALTHY, figure: None}, limits) == []
    assert raise_alarms({**HEALTHY, figure: alarm.limit}, limits) == []  # the limit itself is healthy


def test_every_limit_is_watched() -> None:
    assert {watched.limit for watched in WATCHED} == set(Limits.model_fields)
    assert {watched.figure for watched in WATCHED} == set(HEALTHY)


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
        "distinct": 20, "kept": 40, "low_confidence": 0.25,
        "clusters": 16, "new_clusters": 8, "most_frequent": 12,
        "redundancy": 0.2, "repeated": 60,
        "judge": {"precision": {"value": 0.9}, "recall": None, "fooled_by": {}},
        "silver_accuracy": {"kept": {"value": 0.6}, "rejected": None}, "blind_answers": {"value": 0.4},
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
        "first": {"accuracy": {"value": accuracy}, "paired": paired},
        "second": {"accuracy": {"value": 1 - accuracy}, "paired": {**paired, "low": 0.05, "high": 0.1}},
        "mean of both": {"headline": 0.5, "accuracy": None},
    }
    (folder / "evaluation/summary.json").write_text(json.dumps({"benchmarks": measured}))
    (run / "config.yaml").write_text("images: {source: pictures}\n")
    for name in ("first", "second"):
        (folder / "evaluation" / name).mkdir()
        greedy = [sample(f"{i}", answer, right=True) for i, answer in enumerate(("yes", "yes", "no", None))]
        lost = {**sample("4", None, right=False), "status": "engine_error"}
        write_records(folder / f"evaluation/{name}/greedy.jsonl", [*greedy, lost])
        # Twenty votes of confidence 0.5 are in the band, and five of confidence 1 are not.
        votes = [(str(i), ("yes", "no")) for i in range(20)] + [
            (str(i), ("yes", "yes")) for i in range(20, 25)
        ]
        rows = [
            sample(item, said, right=name == "second" or item == "24", number=number)
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
    figures = iteration_figures(tmp_path, 1)
    assert figures == pytest.approx(
        {
            "valid": 0.8, "answerable": 0.75,
            "distinct": 0.25, "clusters": 0.2, "new_clusters": 0.1, "redundancy": 0.2,
            "same_question": 0.15,
            "repeated": 0.75, "kept": 0.5, "low_confidence": 0.25, "silver_accuracy": 0.6,
            "probe_silver": 0.0, "calibration_error": 0.125, "blind_answers": 0.4, "same_answer": 0.5,
            "parsed": 0.75, "truncated": 0.25, "no_spread": 0.5, "kl": 0.2, "entropy": 0.2,
            "ratio_error": 0.04, "grad_norm": 0.5, "questioner_tokens": 20.0, "reasoner_tokens": 40.0,
            "probe_accuracy": 0.5, "accuracy_change": -0.05,
            "judge_precision": 0.9, "judge_recall": None,
            "flips": None, "learned": None, "sharpened": None, "corrupted": None,
        }
    )  # fmt: skip
    write_iteration(tmp_path, 2, accuracy=0.3)
    second = iteration_figures(tmp_path, 2, probe="second")
    assert second["accuracy_change"] == 0.0 and second["flips"] == 0.0
    assert (second["probe_silver"], second["probe_accuracy"]) == (1.0, pytest.approx(0.7))


def test_the_best_iteration_is_the_first_benchmarks_and_the_earliest_of_equals(tmp_path: Path) -> None:
    for number, accuracy in enumerate((0.4, 0.7, 0.6, 0.7)):
        write_iteration(tmp_path, number, accuracy=accuracy)
    assert [best_iteration(tmp_path, last=last) for last in range(4)] == [0, 1, 1, 1]
    assert best_iteration(tmp_path, last=3, probe="second") == 0


def test_patience_counts_the_iterations_that_were_measured(tmp_path: Path) -> None:
    for number, accuracy in ((0, 0.7), (2, 0.6), (4, 0.5)):  # measured after every second iteration
        write_iteration(tmp_path, number, accuracy=accuracy)
    out = [out_of_patience(tmp_path, i, patience=2) for i in (1, 2, 3, 4)]
    assert out == [False, False, False, True]
