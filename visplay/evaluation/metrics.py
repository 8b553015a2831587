"""Compute the figures of an evaluation from stored samples; withhold them if too many rows failed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import rewards
from visplay.evaluation.records import Record
from visplay.evaluation.scoring import FAILED
from visplay.evaluation.spec import Spec
from visplay.evaluation.statistics import (
    accuracy_interval,
    pass_at_k,
)

COVERAGE = 0.99  # smallest share of rows without errors for a headline
Figures = dict[str, Any]


def figures_of(records: Sequence[Record], *, headline: str = "accuracy") -> Figures:
    """Compute the figures of one benchmark from one sample per item.

    Rows on which the engine or the judge failed are in no denominator. If more than one row in a hundred
    failed, `headline` and `accuracy` are None and `withheld` says why.
    """
    known = [record for record in records if record["status"] not in FAILED]
    statuses = Counter(record["status"] for record in records)
    coverage = len(known) / len(records) if records else 0.0
    figures: Figures = {
        "n": len(records), "coverage": coverage, "statuses": dict(sorted(statuses.items())),
        "headline": None, "accuracy": None,
    }  # fmt: skip
    if not known or coverage < COVERAGE:
        failed = ", ".join(f"{statuses[name]} {name}" for name in FAILED if statuses[name])
        figures["withheld"] = (
            f"{failed or 'no rows'} of {len(records)}; {COVERAGE:.0%} of the rows must count"
        )
        return figures
    scores, clusters = [record["score"] for record in known], _clusters(known)
    parsed = [record for record in known if record["status"] == "ok"]
    estimate = accuracy_interval(scores, clusters=clusters)
    figures |= {
        "headline": estimate.value,
        "accuracy": asdict(estimate),
        "parse_rate": len(parsed) / len(known),
        "truncation_rate": sum(record["finish"] == "length" for record in known) / len(known),
        "accuracy_given_parsed": sum(r["score"] for r in parsed) / len(parsed) if parsed else None,
        "mean_tokens": sum(record["tokens"] for record in known) / len(known),
        "majority_class": majority_class(known),
        "chance": chance(known),
        "groups": _groups(known),
    }
    if headline == "hallusion":
        figures["hallusion"] = hallusion(known)
        figures["headline"] = figures["hallusion"]["mean"]
    return figures


def _groups(records: Sequence[Record]) -> dict[str, dict[str, Figures]]:
    """Accuracy by each value of each group, e.g. by kind of question."""
    groups: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for name, value in (record["groups"] or {"kind": record["kind"]}).items():
            if value:
                groups[name][value].append(record)
    return {
        name: {
            value: asdict(accuracy_interval([r["score"] for r in own], clusters=_clusters(own)))
            for value, own in sorted(by.items())
        }
        for name, by in sorted(groups.items())
        if len(by) <= 60  # ids of figures and problems are groups for computation, not for display
    }


def shared_clusters(clusters: Sequence[str]) -> Sequence[str] | None:
    """The cluster of each row, [rows], or None if no two rows share one."""
    return clusters if len(set(clusters)) < len(clusters) else None


def _clusters(records: Sequence[Record]) -> Sequence[str] | None:
    return shared_clusters([record["cluster"] for record in records])


def hallusion(records: Sequence[Record]) -> dict[str, float]:
    """HallusionBench's figures (arXiv 2310.14566): per question, figure and question pair, and their mean."""
    by_figure: dict[tuple[str, ...], list[bool]] = defaultdict(list)
    by_question: dict[tuple[str, ...], list[bool]] = defaultdict(list)
    for record in records:
        at = record["groups"]
        place = (at["category"], at["subcategory"], at["set_id"])
        if not (at["category"] == "VS" and at["figure_id"] == "0"):  # there is no figure
            by_figure[(*place, at["figure_id"])].append(record["correct"])
        by_question[(*place, at["question_id"])].append(record["correct"])
    figures = {
        "aAcc": sum(record["correct"] for record in records) / len(records),
        "fAcc": sum(map(all, by_figure.values())) / max(1, len(by_figure)),
        "qAcc": sum(map(all, by_question.values())) / len(by_question),
    }
    return figures | {"mean": sum(figures.values()) / 3}


def majority_class(records: Iterable[Record]) -> float:
    """Accuracy of the constant answer that is right most often."""
    counts = Counter(record["gold"]["answers"][0].casefold() for record in records)
    return max(counts.values()) / counts.total()


def chance(records: Sequence[Record]) -> float | None:
    """Expected accuracy of a random option; None unless every row has options."""
    options = [len(record["gold"].get("options", ())) for record in records]
    return sum(1 / count for count in options) / len(options) if all(options) else None


def sampled_figures(records: Sequence[Record]) -> Figures:
    """Compute avg@k, maj@k and pass@k for k = 1, 2, 4, ... up to the number of samples per item.

    avg@k is the mean over all samples. pass@k is the unbiased estimate from all samples. maj@k is the share
    of items whose vote over the first k samples (`rewards.vote`, as in training) is right.
    """
    rows, asked = samples_by_item(records), len({record["item"] for record in records})
    figures: Figures = {"n": asked, "coverage": len(rows) / max(1, asked), "samples": 0}
    if not rows or figures["coverage"] < COVERAGE:
        return figures
    most = min(len(own) for own in rows)
    figures["samples"] = most
    clusters = _clusters([own[0] for own in rows])
    right = [[record["correct"] for record in own[:most]] for own in rows]
    average = [sum(row) / most for row in right]
    figures[f"avg@{most}"] = asdict(accuracy_interval(average, clusters=clusters))
    k = 1
    while k <= most:
        passed = [pass_at_k(most, sum(row), k) for row in right]
        voted = [vote_of(own[:k])[1] for own in rows]
        figures[f"pass@{k}"] = asdict(accuracy_interval(passed, clusters=clusters))
        figures[f"maj@{k}"] = asdict(accuracy_interval(voted, clusters=clusters))
        k = k * 2 if k * 2 <= most or k == most else most
    return figures


def samples_by_item(records: Iterable[Record]) -> list[list[Record]]:
    """Each item's samples in their order, [items][samples], without items that have a failed sample."""
    by_item: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_item[record["item"]].append(record)
    return [
        sorted(own, key=lambda record: int(record["sample"]))
        for own in by_item.values()
        if all(record["status"] not in FAILED for record in own)
    ]


def vote_of(samples: Sequence[Record]) -> tuple[rewards.Vote, bool]:
    """The vote of one item's samples, and whether its answer is right; a vote without an answer is wrong."""
    options = samples[0]["gold"].get("options")
    vote = rewards.vote(
        [record["answer"] for record in samples], question=samples[0].get("question"), options=options
    )
    # The silver answer is spelled as in one of the samples, which has been compared with the gold.
    right = next((r["correct"] for r in samples if r["answer"] == vote.answer is not None), False)
    return vote, right


def mean_of_parts(spec: Spec, figures: dict[str, Figures]) -> Figures | None:
    """The mean headline of a benchmark's parts; None unless all parts have one."""
    parts = [figures.get(part, {}).get("headline") for part in spec.parts]
    known = [part for part in parts if part is not None]
    return {"headline": sum(known) / len(known)} if known and len(known) == len(parts) else None
