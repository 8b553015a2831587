"""From stored samples to figures: every number of an evaluation, and none where too many rows failed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import rewards
from visplay.evaluation.items import Gold
from visplay.evaluation.records import Record
from visplay.evaluation.scoring import FAILED
from visplay.evaluation.spec import Spec
from visplay.evaluation.statistics import (
    accuracy_interval,
    maj_at_k,
    mean_interval,
    pass_at_k,
    score_interval,
)

COVERAGE = 0.99  # below it there is no headline
Figures = dict[str, Any]


def figures_of(records: Sequence[Record], *, headline: str = "accuracy") -> Figures:
    """The figures of one benchmark from its samples, one each item.

    A row that the engine or the judge failed on is in no denominator; where more than one in a hundred
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
    scores, clusters = [record["score"] for record in known], shared_clusters(known)
    parsed = [record for record in known if record["status"] == "ok"]
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in known:
        for name, value in ({"kind": record["kind"]} | record["groups"]).items():
            if value:
                groups[name][value].append(record["score"])
    estimate = score_interval(scores, clusters=clusters)
    figures |= {
        "headline": estimate.value,
        "accuracy": asdict(estimate),
        "parse_rate": len(parsed) / len(known),
        "truncation_rate": sum(record["finish"] == "length" for record in known) / len(known),
        "accuracy_given_parsed": sum(r["score"] for r in parsed) / len(parsed) if parsed else None,
        "mean_tokens": sum(record["tokens"] for record in known) / len(known),
        "majority_class": majority_class(known),
        "chance": chance(known),
        "groups": {
            name: {value: {"value": sum(s) / len(s), "n": len(s)} for value, s in sorted(by.items())}
            for name, by in sorted(groups.items())
            if len(by) <= 60  # ids of figures and problems are groups to compute with, not to read
        },
    }
    if headline == "hallusion":
        figures["hallusion"] = hallusion(known)
        figures["headline"] = figures["hallusion"]["mean"]
    return figures


def shared_clusters(records: Sequence[Record]) -> list[str] | None:
    """[rows] the cluster of each row, or None where no two rows share one."""
    clusters = [record["cluster"] for record in records]
    return clusters if len(set(clusters)) < len(clusters) else None


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
    """Accuracy of always giving the answer that is right most often."""
    counts = Counter(record["gold"]["answers"][0].casefold() for record in records)
    return max(counts.values()) / counts.total()


def chance(records: Sequence[Record]) -> float | None:
    """Expected accuracy of choosing an option by lot; None unless every row has options."""
    options = [len(record["gold"].get("options", ())) for record in records]
    return sum(1 / count for count in options) / len(options) if all(options) else None


def sampled_figures(records: Sequence[Record]) -> Figures:
    """avg@k, maj@k and pass@k for k = 1, 2, 4, ... up to the samples there are of each item.

    avg@k is the mean over all samples; pass@k the unbiased estimate from all of them; maj@k the vote of the
    first k, equivalent answers counted together, unparsed ones for nothing.
    """
    by_item: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_item[record["item"]].append(record)
    whole = {
        item: sorted(own, key=lambda record: int(record["sample"]))
        for item, own in by_item.items()
        if all(record["status"] not in FAILED for record in own)
    }
    figures: Figures = {"n": len(by_item), "coverage": len(whole) / max(1, len(by_item)), "samples": 0}
    if not whole or figures["coverage"] < COVERAGE:
        return figures
    most = min(len(own) for own in whole.values())
    figures["samples"] = most
    rows = list(whole.values())
    clusters = shared_clusters([own[0] for own in rows])
    right = [[record["correct"] for record in own[:most]] for own in rows]
    labels = [_labels(own[:most]) for own in rows]
    average = [sum(row) / most for row in right]
    figures[f"avg@{most}"] = asdict(mean_interval(average, clusters=clusters))
    k = 1
    while k <= most:
        passed = [pass_at_k(most, sum(row), k) for row in right]
        voted = [maj_at_k(label, row, k=k) for label, row in zip(labels, right, strict=True)]
        figures[f"pass@{k}"] = asdict(mean_interval(passed, clusters=clusters))
        figures[f"maj@{k}"] = asdict(accuracy_interval(voted, clusters=clusters))
        k = k * 2 if k * 2 <= most or k == most else most
    return figures


def _labels(records: Sequence[Record]) -> list[str | None]:
    """[samples] one label for equivalent answers, None for unparsed ones."""
    options = Gold.from_json(records[0]["gold"]).options or None
    answers = [record["answer"] for record in records]
    seen: list[str] = []
    labels: list[str | None] = []
    for answer in answers:
        if answer is None:
            labels.append(None)
            continue
        match = next((one for one in seen if rewards.equivalent(answer, one, options=options).equal), None)
        if match is None:
            seen.append(answer)
        labels.append(match or answer)
    return labels


def mean_of_parts(spec: Spec, figures: dict[str, Figures]) -> Figures | None:
    """The mean headline of a benchmark's parts; None unless all are there with a headline."""
    parts = [figures.get(part, {}).get("headline") for part in spec.parts]
    known = [part for part in parts if part is not None]
    return {"headline": sum(known) / len(known)} if known and len(known) == len(parts) else None
