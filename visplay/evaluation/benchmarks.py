"""Load benchmarks: questions with known answers, which no training phase uses."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from visplay.config.names import named
from visplay.errors import BenchmarkError
from visplay.evaluation.items import Item, Rows, check_data, open_rows, read_item
from visplay.evaluation.spec import Source, Spec, find_spec

Split = Literal["held-out", "development"]


def load_benchmark(
    name: str | Spec,
    *,
    limit: int | None,
    seed: int,
    split: Split = "held-out",
    source: Path | None = None,
) -> list[Item]:
    """Load at most `limit` items of a benchmark, drawn with `seed`, in the order of the source.

    Args:
        name: a shipped benchmark's id, a custom YAML file, or a spec.
        limit: the largest number of items; None loads all.
        seed: seed for the subset and, on pocket, for the scenes.
        split: the split of a benchmark that a function makes; other benchmarks have one split only.
        source: a local copy to read instead of the spec's source.

    Raises:
        BenchmarkError: no such benchmark exists, or its data is not available or not readable.
    """
    spec = find_spec(name) if isinstance(name, str) else name
    if spec.parts:
        raise BenchmarkError(f"{spec.id} is the mean of {', '.join(spec.parts)}; load those")
    if spec.source.function and source is None:
        load = named(spec.source.function, key=f"{spec.id}: source.function")
        made: list[Item] = load(spec.rows if limit is None else limit, seed, split)
        return made
    rows = rows_of(spec, source=source)
    items = [read_item(spec, rows, number) for number in draw(len(rows), limit=limit, seed=seed)]
    if not items:
        raise BenchmarkError(f"{spec.id}: its source has no rows; name a source with rows")
    twice = len(items) - len({item.key for item in items})
    if twice:
        raise BenchmarkError(f"{spec.id}: {twice} rows share a key; make {spec.key!r} name each row once")
    return items


def rows_of(spec: Spec, *, source: Path | None) -> Rows:
    """Open the rows of a benchmark that comes from a file."""
    if spec.source.function and source is None:
        raise BenchmarkError(f"{spec.id} comes from a function, not from a file")
    return open_rows(Source(path=source) if source else spec.source, shown=spec.id)


def draw(count: int, *, limit: int | None, seed: int) -> Sequence[int]:
    """Draw at most `limit` of the numbers below `count`, in increasing order."""
    if limit is None or limit >= count:
        return range(count)
    return sorted(random.Random(seed).sample(range(count), limit))


def data_differences(spec: Spec, *, source: Path | None) -> list[str]:
    """List the differences between a benchmark's spec and its data, one line each; reads every row once.

    Raises:
        BenchmarkError: the data is not available.
    """
    if spec.source.function and source is None:
        count = len(load_benchmark(spec, limit=None, seed=0))
        return [] if count == spec.rows else [f"rows: the spec says {spec.rows}, the function gives {count}"]
    rows = rows_of(spec, source=source)
    found = check_data(spec, rows)
    keys: set[str] = set()
    for number in range(len(rows)):
        try:
            item = read_item(spec, rows, number)
        except BenchmarkError as error:
            found.append(str(error))
            continue
        if item.key in keys:
            found.append(f"row {number}: its key {item.key!r} was seen before")
        keys.add(item.key)
        if spec.rule == "choice" and item.gold.rule != "choice":
            found.append(f"row {number}: gold {item.gold.answers[0]!r} names none of its options")
    return found
