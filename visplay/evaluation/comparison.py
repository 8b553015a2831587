"""Two checkpoints on the same rows: better, worse, or can't tell; and which rows changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

from visplay.errors import EvaluationError
from visplay.evaluation.metrics import COVERAGE
from visplay.evaluation.records import Record
from visplay.evaluation.sample_logs import Side, find_side
from visplay.evaluation.scoring import FAILED
from visplay.evaluation.statistics import (
    Decomposition,
    Estimate,
    PairedDifference,
    decompose,
    holm,
    paired_difference,
    score_interval,
)

Verdict = Literal["better", "worse", "can't tell"]


@dataclass(slots=True, kw_only=True)
class Columns:
    """A side's samples of one benchmark without their texts; all lists are [rows]."""

    items: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    golds: list[int] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One benchmark on both sides.

    Attributes:
        benchmark: its id.
        n: rows compared.
        left_out: why other rows are not, with their number.
        before: accuracy of the first side on the rows that both have.
        after: accuracy of the second.
        paired: their difference; None where too many rows failed or are missing.
        p_adjusted: McNemar's p after Holm's correction over the benchmarks.
        verdict: of the second side against the first, after that correction.
        parts: what the difference is made of.
        rates: (before, after) of `parsed` and `truncated` rows.
        withheld: why there is no verdict, or "".
        gained: (item on the first side, on the second) of what went from wrong to right.
        lost: the same of what went from right to wrong.
    """

    benchmark: str
    n: int
    left_out: dict[str, int]
    before: Estimate | None = None
    after: Estimate | None = None
    paired: PairedDifference | None = None
    p_adjusted: float | None = None
    verdict: Verdict = "can't tell"
    parts: Decomposition | None = None
    rates: dict[str, tuple[float, float]] = field(default_factory=dict)
    withheld: str = ""
    gained: list[tuple[str, str]] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)


def compare(first: Side, second: Side) -> list[Compared]:
    """Compare two sides on every benchmark that both have.

    Raises:
        EvaluationError: they have no benchmark in common.
    """
    common = [name for name in first.reads if name in second.reads]
    if not common:
        raise EvaluationError(
            f"{first.name} has {', '.join(first.reads)} and {second.name} has {', '.join(second.reads)}: no "
            "benchmark in common; evaluate both on the same ones"
        )
    return _corrected([compare_samples(name, first.reads[name](), second.reads[name]()) for name in common])


def compare_all(sides: Sequence[Side]) -> list[tuple[str, str, Compared]]:
    """Compare each two of several sides on every benchmark that both have: (first, second, what of it).

    Holm's correction is for all of these comparisons together.
    """
    pairs = [
        (first, second, name)
        for first, second in combinations(sides, 2)
        for name in first.reads
        if name in second.reads
    ]
    found = _corrected([compare_samples(name, a.reads[name](), b.reads[name]()) for a, b, name in pairs])
    return [(a.name, b.name, one) for (a, b, _), one in zip(pairs, found, strict=True)]


def read_columns(records: Iterable[Record]) -> Columns:
    """Keep of each sample what a comparison needs."""
    columns = Columns()
    for record in records:
        columns.items.append(record["item"])
        columns.rows.append(int(record.get("row", -1)))
        columns.clusters.append(record["cluster"])
        foreign = record.get("foreign", False)  # another tool writes its gold answers in its own way
        same = (record["question"], *record["gold"]["answers"])
        columns.golds.append(0 if foreign else hash(same))
        columns.statuses.append(record["status"])
        columns.scores.append(record["score"])
    return columns


def samples_of(side: Side, benchmark: str, wanted: Sequence[str]) -> dict[str, Record]:
    """The full samples of these items."""
    left = set(wanted)
    return {r["item"]: r for r in side.reads[benchmark]() if r["item"] in left} if left else {}


def compare_stored(before: str | Path, after: str | Path) -> list[Compared]:
    """Compare stored samples, each named as `visplay compare` takes it: a folder, RUN or RUN@ITERATION, logs.

    Raises:
        EvaluationError: there are none, or no benchmark is in both.
    """
    return compare(find_side(str(before)), find_side(str(after)))


def compare_samples(benchmark: str, before: Iterable[Record], after: Iterable[Record]) -> Compared:
    """Compare two sides on one benchmark; the verdict is for `compare`, which knows the other ones."""
    first, second = read_columns(before), read_columns(after)
    pairs, left_out = _pairs(first, second)
    usable = [
        (i, j) for i, j in pairs if first.statuses[i] not in FAILED and second.statuses[j] not in FAILED
    ]
    failed = len(pairs) - len(usable)
    left_out |= {"failed on one side": failed} if failed else {}
    withheld = ""
    if not usable:
        withheld = "no row was answered on both sides"
    elif len(usable) < COVERAGE * len(pairs):
        withheld = f"{failed} of {len(pairs)} rows failed on one side; {COVERAGE:.0%} must count"
    if withheld:
        return Compared(benchmark=benchmark, n=len(usable), left_out=left_out, withheld=withheld)
    old = [float(first.scores[i] or 0.0) for i, _ in usable]
    new = [float(second.scores[j] or 0.0) for _, j in usable]
    clusters: list[str] | None = [first.clusters[i] for i, _ in usable]
    clusters = clusters if clusters and len(set(clusters)) < len(clusters) else None
    was = [(first.statuses[i], old[k] >= 0.5) for k, (i, _) in enumerate(usable)]
    now = [(second.statuses[j], new[k] >= 0.5) for k, (_, j) in enumerate(usable)]
    names = [(first.items[i], second.items[j]) for i, j in usable]
    return Compared(
        benchmark=benchmark,
        n=len(usable),
        left_out=left_out,
        before=score_interval(old, clusters=clusters),
        after=score_interval(new, clusters=clusters),
        paired=paired_difference(old, new, clusters=clusters),
        parts=decompose(was, now),
        rates={
            "parsed": (_share(was, "ok"), _share(now, "ok")),
            "truncated": (_share(was, "truncated"), _share(now, "truncated")),
        },
        gained=[pair for pair, (_, a), (_, b) in zip(names, was, now, strict=True) if b and not a],
        lost=[pair for pair, (_, a), (_, b) in zip(names, was, now, strict=True) if a and not b],
    )


def _pairs(first: Columns, second: Columns) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """Index pairs of the rows that are the same item, and how many are not, by reason."""
    place = {item: j for j, item in enumerate(second.items)}
    met = [(i, place[item]) for i, item in enumerate(first.items) if item in place]
    found = [
        (i, j) for i, j in met if 0 in (golds := (first.golds[i], second.golds[j])) or golds[0] == golds[1]
    ]
    if not met:  # another tool's samples have no items of ours, but the number of the row
        by_row = {row: j for j, row in enumerate(second.rows) if row >= 0}
        met = found = [(i, by_row[row]) for i, row in enumerate(first.rows) if row >= 0 and row in by_row]
    counts = {
        "another question or gold answer": len(met) - len(found),
        "on the first side only": len(first.items) - len(met),
        "on the second side only": len(second.items) - len(met),
    }
    return found, {reason: count for reason, count in counts.items() if count}


def _corrected(found: Sequence[Compared]) -> list[Compared]:
    """The same with p-values after Holm's correction, and the verdicts that they carry."""
    adjusted = iter(holm([one.paired.p_value for one in found if one.paired]))
    return [
        replace(one, p_adjusted=(p := next(adjusted)), verdict=_verdict(one.paired, p)) if one.paired else one
        for one in found
    ]


def _share(rows: Sequence[tuple[str, bool]], status: str) -> float:
    return sum(own == status for own, _ in rows) / len(rows)


def _verdict(paired: PairedDifference | None, p_adjusted: float) -> Verdict:
    if paired is None or p_adjusted >= 0.05:
        return "can't tell"
    return "better" if paired.low > 0 else "worse" if paired.high < 0 else "can't tell"
