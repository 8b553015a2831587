import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visplay.alarms import WATCHED, best_iteration, check, iteration_figures
from visplay.config import Limits

HEALTHY: dict[str, float | None] = {
    "valid": 0.98, "distinct": 0.4, "kept": 0.6, "low_confidence": 0.02, "silver_accuracy": 0.7,
    "same_answer": 0.3, "parsed": 1.0, "no_spread": 0.2, "kl": 0.05, "accuracy_change": 0.0,
}  # fmt: skip


def test_a_healthy_iteration_raises_nothing() -> None:
    assert check(HEALTHY, Limits()) == []


@pytest.mark.parametrize(
    ("figure", "value", "key"),
    [
        ("valid", 0.49, "min_valid"), ("distinct", 0.09, "min_distinct"), ("kept", 0.01, "min_kept"),
        ("low_confidence", 0.51, "max_low_confidence"), ("silver_accuracy", 0.29, "min_silver_accuracy"),
        ("same_answer", 0.81, "max_same_answer"), ("parsed", 0.49, "min_parsed"),
        ("no_spread", 0.91, "max_no_spread"), ("kl", 1.01, "max_kl"),
        ("accuracy_change", -0.01, "min_accuracy_change"),
    ],
)  # fmt: skip
def test_each_figure_raises_its_own_alarm(figure: str, value: float, key: str) -> None:
    (alarm,) = check({**HEALTHY, figure: value}, Limits())
    assert (alarm.figure, alarm.value, alarm.key) == (figure, value, f"health.limits.{key}")
    assert f"{figure} is {value:.3g}, health.limits.{key} {alarm.limit:g}: " in str(alarm)
    assert check({**HEALTHY, figure: value}, Limits(**{key: None})) == []
    assert check({**HEALTHY, figure: None}, Limits()) == []
    assert check({**HEALTHY, figure: alarm.limit}, Limits()) == []  # the limit itself is healthy


def test_every_limit_is_watched() -> None:
    assert {watched.limit for watched in WATCHED} == set(Limits.model_fields)
    assert {watched.figure for watched in WATCHED} == set(HEALTHY)


def write_iteration(run: Path, number: int, *, accuracy: float, verdict: str = "can't tell") -> None:
    folder = run / f"iteration-{number}"
    for name in ("curation", "questioner", "reasoner", "evaluation"):
        (folder / name).mkdir(parents=True)
    asked = {
        "questions": 100, "valid": 80, "distinct": 20, "kept": 40, "low_confidence": 0.25,
        "silver_accuracy": {"kept": {"value": 0.6}, "rejected": None},
    }  # fmt: skip
    (folder / "curation/summary.json").write_text(json.dumps(asked))
    steps = [{"frac_reward_zero_std": 0.2, "kl": 0.3}, {"frac_reward_zero_std": 0.4, "kl": 0.1}]
    (folder / "questioner/metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    (folder / "reasoner/metrics.jsonl").write_text(
        json.dumps({"frac_reward_zero_std": 0.5, "kl": 0.2}) + "\n"
    )
    paired = {"difference": -0.05, "verdict": verdict}
    measured = {
        "first": {"accuracy": {"value": accuracy}, "paired": paired},
        "second": {"accuracy": {"value": 1 - accuracy}, "paired": {"difference": 0.1, "verdict": "better"}},
    }
    (folder / "evaluation/summary.json").write_text(json.dumps({"benchmarks": measured}))
    rows = [{"answer": answer} for answer in ("yes", "yes", "no", None)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "evaluation/samples.parquet")


def test_figures_follow_from_what_the_iteration_stored(tmp_path: Path) -> None:
    write_iteration(tmp_path, 1, accuracy=0.5, verdict="worse")
    figures = iteration_figures(tmp_path, 1)
    assert figures == pytest.approx(
        {
            "valid": 0.8, "distinct": 0.25, "kept": 0.5, "low_confidence": 0.25, "silver_accuracy": 0.6,
            "same_answer": 0.5, "parsed": 0.75, "no_spread": 0.5, "kl": 0.2, "accuracy_change": -0.05,
        }
    )  # fmt: skip
    write_iteration(tmp_path, 2, accuracy=0.5)
    assert iteration_figures(tmp_path, 2)["accuracy_change"] == 0.0


def test_the_best_iteration_is_the_first_benchmarks_and_the_earliest_of_equals(tmp_path: Path) -> None:
    for number, accuracy in enumerate((0.4, 0.7, 0.6, 0.7)):
        write_iteration(tmp_path, number, accuracy=accuracy)
    assert [best_iteration(tmp_path, last=last) for last in range(4)] == [0, 1, 1, 1]
