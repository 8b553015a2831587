"""Alarms: figures of one iteration against their limits, and which iteration to go back to."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from visplay.config import Limits
from visplay.storage import read_jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A figure that is watched.

    Attributes:
        figure: key of `iteration_figures`.
        limit: key of `health.limits`.
        side: whether the limit is the least or the most that is healthy.
        meaning: what a figure beyond it says about the run.
    """

    figure: str
    limit: str
    side: Literal["least", "most"]
    meaning: str


# What is known to go wrong, each with what one sees of it.
WATCHED = (
    Watched(
        figure="valid", limit="min_valid", side="least",
        meaning="the Questioner no longer writes well-formed questions",
    ),
    Watched(
        figure="distinct", limit="min_distinct", side="least",
        meaning="the Questioner asks the same again and again (R-Zero's collapse without its penalty)",
    ),
    Watched(
        figure="kept", limit="min_kept", side="least",
        meaning="hardly any question is informative: votes agree, or scatter, on nearly all",
    ),
    Watched(
        figure="low_confidence", limit="max_low_confidence", side="most",
        meaning="votes scatter: the questions may be ambiguous instead of hard",
    ),
    Watched(
        figure="silver_accuracy", limit="min_silver_accuracy", side="least",
        meaning="most silver answers that training used are wrong",
    ),
    Watched(
        figure="same_answer", limit="max_same_answer", side="most",
        meaning="the Reasoner gives one answer to nearly everything",
    ),
    Watched(
        figure="parsed", limit="min_parsed", side="least",
        meaning="the Reasoner no longer boxes its answers",
    ),
    Watched(
        figure="no_spread", limit="max_no_spread", side="most",
        meaning="most groups have equal rewards and teach nothing",
    ),
    Watched(
        figure="kl", limit="max_kl", side="most", meaning="the policy has run far from the phase's start",
    ),
    Watched(
        figure="accuracy_change", limit="min_accuracy_change", side="least",
        meaning="the Reasoner is worse than the base, as far as interval and exact test can say",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A figure beyond its limit."""

    figure: str
    value: float
    limit: float
    key: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.figure} is {self.value:.3g}, {self.key} {self.limit:g}: {self.meaning}"


def check(figures: Mapping[str, float | None], limits: Limits) -> list[Alarm]:
    """The figures beyond their limits; a figure that is not known raises none, a limit of None is off."""
    found = []
    for watched in WATCHED:
        value, limit = figures[watched.figure], getattr(limits, watched.limit)
        if value is None or limit is None:
            continue
        if value < limit if watched.side == "least" else value > limit:
            found.append(
                Alarm(
                    figure=watched.figure, value=value, limit=limit, key=f"health.limits.{watched.limit}",
                    meaning=watched.meaning,
                )
            )  # fmt: skip
    return found


def iteration_figures(run: Path, iteration: int) -> dict[str, float | None]:
    """What is watched of one iteration, each from its stored rows; None where it is not known.

    Shares are in [0, 1]: `valid` of all questions; `distinct` and `kept` of the valid ones; `low_confidence`
    (c < 0.25) of those voted on; `silver_accuracy` of the kept ones whose truth is known; `same_answer`, the
    largest share of one answer, and `parsed` over all benchmarks; `no_spread` of the training groups, mean
    of the worse phase. `kl` is the larger of both phases' last steps, in nats. `accuracy_change` is the
    largest loss against the base that is called worse, in [-1, 0]; 0 where none is.
    """
    folder = run / f"iteration-{iteration}"
    asked = json.loads((folder / "curation" / "summary.json").read_text())
    silver = (asked["silver_accuracy"] or {}).get("kept")
    phases = [read_jsonl(folder / name / "metrics.jsonl") for name in ("questioner", "reasoner")]
    trained = [rows for rows in phases if rows]
    samples = pq.read_table(folder / "evaluation" / "samples.parquet", columns=["answer"])
    answers = samples["answer"].to_pylist()
    measured = json.loads((folder / "evaluation" / "summary.json").read_text())["benchmarks"]
    return {
        "valid": asked["valid"] / asked["questions"],
        "distinct": asked["distinct"] / max(1, asked["valid"]),
        "kept": asked["kept"] / max(1, asked["valid"]),
        "low_confidence": asked["low_confidence"],
        "silver_accuracy": silver["value"] if silver else None,
        "same_answer": _largest_share(answers),
        "parsed": sum(answer is not None for answer in answers) / len(answers),
        "no_spread": max((_mean(rows, "frac_reward_zero_std") for rows in trained), default=None),
        "kl": max((rows[-1]["kl"] for rows in trained if "kl" in rows[-1]), default=None),
        "accuracy_change": min(
            (b["paired"]["difference"] for b in measured.values() if b["paired"]["verdict"] == "worse"),
            default=0.0,
        ),
    }


def best_iteration(run: Path, *, last: int) -> int:
    """The iteration, up to `last`, that is most accurate on the first benchmark; the earliest of equals."""
    accuracy = []
    for iteration in range(last + 1):
        path = run / f"iteration-{iteration}" / "evaluation" / "summary.json"
        first = next(iter(json.loads(path.read_text())["benchmarks"].values()))
        accuracy.append(first["accuracy"]["value"])
    return accuracy.index(max(accuracy))


def _largest_share(answers: Sequence[str | None]) -> float | None:
    counts = Counter(answer for answer in answers if answer is not None)
    return max(counts.values()) / len(answers) if counts else None


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)
