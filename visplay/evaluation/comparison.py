"""Compare two checkpoints on the same rows: the verdict, and the rows that changed."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from rollouts.engine import image_id
from visplay.errors import EvaluationError, VisplayError
from visplay.evaluation.benchmarks import load_benchmark
from visplay.evaluation.items import Item
from visplay.evaluation.metrics import COVERAGE, shared_clusters
from visplay.evaluation.records import GREEDY, Record, read_records
from visplay.evaluation.scoring import FAILED
from visplay.evaluation.spec import shipped_specs
from visplay.evaluation.statistics import (
    Decomposition,
    Estimate,
    PairedDifference,
    Verdict,
    accuracy_interval,
    decompose,
    judged,
    paired_difference,
)
from visplay.evaluation.target import find_target
from visplay.runs.results import read_json

LoadPicture = Callable[[Record], Image.Image | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One checkpoint's stored samples.

    Attributes:
        name: the name in tables and pages.
        reads: benchmark id -> a function that reads its samples from the start.
        picture: returns the first picture of a sample, or None if it is not available.
    """

    name: str
    reads: Mapping[str, Callable[[], Iterator[Record]]]
    picture: LoadPicture = field(default=lambda record: None)


class Row(NamedTuple):
    """The fields of a sample that a comparison needs, without texts; `asked` identifies question and gold."""

    item: str
    cluster: str
    asked: int
    status: str
    score: float

    @property
    def right(self) -> bool:
        """Whether the answer counts as right."""
        return self.score >= 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One benchmark on both sides.

    Attributes:
        benchmark: the benchmark's id.
        n: number of rows compared.
        left_out: the reason why other rows are not compared -> their number.
        before: accuracy of the first side on the rows that both have.
        after: accuracy of the second side on these rows.
        paired: the paired difference; None if too many rows failed or are missing.
        verdict: the verdict on the second side against the first; None if `paired` is None.
        parts: the decomposition of the difference.
        rates: the shares (before, after) of `parsed` and `truncated` rows.
        withheld: the reason why there is no verdict, or "".
        gained: keys of the items that changed from wrong to right.
        lost: keys of the items that changed from right to wrong.
    """

    benchmark: str
    n: int
    left_out: dict[str, int]
    before: Estimate | None = None
    after: Estimate | None = None
    paired: PairedDifference | None = None
    verdict: Verdict | None = None
    parts: Decomposition | None = None
    rates: dict[str, tuple[float, float]] = field(default_factory=dict)
    withheld: str = ""
    gained: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def word(self) -> str:
        """The verdict as a word."""
        return self.verdict.word if self.verdict else "can't tell"


def compare(first: Side, second: Side) -> list[Compared]:
    """Compare two sides on every benchmark that both have.

    Raises:
        EvaluationError: they have no benchmark in common.
    """
    common = [name for name in first.reads if name in second.reads]
    if not common:
        raise EvaluationError(
            f"{first.name} has {', '.join(first.reads)} and {second.name} has {', '.join(second.reads)}: no "
            "benchmark in common; evaluate both on the same benchmarks"
        )
    found = [compare_samples(name, first.reads[name](), second.reads[name]()) for name in common]
    known = iter(judged([one.paired for one in found if one.paired]))  # Holm's correction covers all of them
    return [replace(one, verdict=next(known)) if one.paired else one for one in found]


def samples_of(side: Side, benchmark: str, wanted: Sequence[str]) -> dict[str, Record]:
    """The full samples of these items."""
    left = set(wanted)
    return {r["item"]: r for r in side.reads[benchmark]() if r["item"] in left} if left else {}


def compare_stored(before: str | Path, after: str | Path | None = None) -> list[Compared]:
    """Compare stored samples, named as for `visplay compare`; RUN or RUN@ITERATION alone with its base.

    Raises:
        EvaluationError: no samples are stored there, or both have no benchmark in common.
    """
    return compare(*find_sides(str(before), str(after) if after else None))


def compare_samples(benchmark: str, before: Iterable[Record], after: Iterable[Record]) -> Compared:
    """Compare two sides on one benchmark; `compare` adds the verdict, which depends on all benchmarks."""
    first, second = _read_rows(before), _read_rows(after)
    met = [(row, second[item]) for item, row in first.items() if item in second]
    same = [(old, new) for old, new in met if old.asked == new.asked]
    pairs = [(old, new) for old, new in same if not {old.status, new.status} & set(FAILED)]
    failed = len(same) - len(pairs)
    counts = {
        "another question or gold answer": len(met) - len(same),
        "on the first side only": len(first) - len(met),
        "on the second side only": len(second) - len(met),
        "failed on one side": failed,
    }
    left_out = {reason: count for reason, count in counts.items() if count}
    withheld = ""
    if not pairs:
        withheld = "no row was answered on both sides"
    elif len(pairs) < COVERAGE * len(same):
        withheld = f"{failed} of {len(same)} rows failed on one side; {COVERAGE:.0%} must count"
    if withheld:
        return Compared(benchmark=benchmark, n=len(pairs), left_out=left_out, withheld=withheld)
    was, now = [old for old, _ in pairs], [new for _, new in pairs]
    old_scores, new_scores = [row.score for row in was], [row.score for row in now]
    clusters = shared_clusters([row.cluster for row in was])
    return Compared(
        benchmark=benchmark,
        n=len(pairs),
        left_out=left_out,
        before=accuracy_interval(old_scores, clusters=clusters),
        after=accuracy_interval(new_scores, clusters=clusters),
        paired=paired_difference(old_scores, new_scores, clusters=clusters),
        parts=decompose([(row.status, row.right) for row in was], [(row.status, row.right) for row in now]),
        rates={
            "parsed": (_share(was, "ok"), _share(now, "ok")),
            "truncated": (_share(was, "truncated"), _share(now, "truncated")),
        },
        gained=[old.item for old, new in pairs if new.right and not old.right],
        lost=[old.item for old, new in pairs if old.right and not new.right],
    )


def _read_rows(records: Iterable[Record]) -> dict[str, Row]:
    return {
        record["item"]: Row(
            item=record["item"], cluster=record["cluster"], status=record["status"],
            asked=hash((record["question"], *record["gold"]["answers"])), score=float(record["score"] or 0.0),
        )
        for record in records
    }  # fmt: skip


def _share(rows: Sequence[Row], status: str) -> float:
    return sum(row.status == status for row in rows) / len(rows)


def find_sides(before: str, after: str | None = None) -> tuple[Side, Side]:
    """Find both sides, the second first; RUN or RUN@ITERATION alone is compared with the base of its run."""
    base = f"{before if Path(before).is_dir() else before.rpartition('@')[0]}@0"
    second = find_side(after or before)
    return find_side(before if after else base), second


def find_side(text: str, *, fetch: bool = True) -> Side:
    """Find the samples of a folder of `visplay evaluate`, RUN or RUN@ITERATION; `fetch`: pictures of the hub.

    Raises:
        EvaluationError: no samples are stored there.
    """
    path = Path(text)
    if (path / "evaluation.json").is_file():
        return _of_evaluation(path, fetch=fetch)
    if (Path(text.rpartition("@")[0] or text) / "journal.jsonl").is_file():
        target = find_target(text, trust_remote_code=True)  # only its samples are read
        return _of_evaluation(
            Path(str(target.folder)) / f"iteration-{target.iteration}" / "evaluation",
            name=target.name, fetch=fetch,
        )  # fmt: skip
    missing = "holds no stored samples" if path.exists() else "does not exist"
    raise EvaluationError(f"{text} {missing}; name two folders of visplay evaluate, a run or RUN@ITERATION")


def _of_evaluation(folder: Path, *, name: str = "", fetch: bool) -> Side:
    files = sorted(folder.glob(f"*/{GREEDY}.jsonl"))
    if not files or not (folder / "evaluation.json").is_file():
        raise EvaluationError(
            f"{folder} has no finished benchmark that this version can read; measure it with visplay evaluate"
        )
    about = read_json(folder / "evaluation.json")
    shipped: dict[str, dict[str, Item]] = {}

    def picture(record: Record) -> Image.Image | None:
        # A digest is ours, but the file may have been edited: nothing but hex digits makes a path.
        digests = [d for d in record.get("pictures") or [] if re.fullmatch("[0-9a-f]{64}", str(d))]
        for digest in digests:
            if (file := folder / "pictures" / f"{digest}.png").is_file():
                return Image.open(file).convert("RGB")
        if record["benchmark"] not in shipped:
            shipped[record["benchmark"]] = _shipped_items(record["benchmark"], about, fetch=fetch)
        item = shipped[record["benchmark"]].get(record["item"])
        images = item.images() if item else ()
        return next((image for image in images if image_id(image) in digests), None)

    reads = {file.parent.name: partial(read_records, file) for file in files}
    return Side(name=name or str(about.get("name") or folder.name), reads=reads, picture=picture)


def _shipped_items(name: str, about: dict[str, Any], *, fetch: bool) -> dict[str, Item]:
    """The items that were asked, by their key, to show their pictures; empty for a custom benchmark.

    A custom benchmark may name code, and reading a folder must not run code that the folder names.
    """
    try:
        spec, source = shipped_specs()[name], about["sources"].get(name)
        items = [] if spec.source.hub and not (source or fetch) else load_benchmark(
            spec, limit=about["limit"], seed=about["seed"], split=about["split"],
            source=Path(source) if source else None,
        )  # fmt: skip
    except (VisplayError, LookupError, TypeError, ValueError, AttributeError):
        return {}  # not shipped, not available here, or of another version: the page has no pictures
    return {item.key: item for item in items}
