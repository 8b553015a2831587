"""What the Reasoner is measured on: questions with known answers that no phase ever sees."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from visplay.errors import BenchmarkError
from visplay.evaluation.items import Gold, Item, read_item
from visplay.evaluation.sources import Rows, check_data, open_rows
from visplay.evaluation.spec import Source, Spec, find_spec
from visplay.pocket.lessons import TAUGHT, draw_question
from visplay.pocket.oracle import oracle, parse_query
from visplay.pocket.scenes import StyleName, render, sample_scenes

Split = Literal["held-out", "development"]


def load_benchmark(
    name: str | Spec,
    *,
    limit: int | None,
    seed: int,
    split: Split = "held-out",
    source: Path | None = None,
) -> list[Item]:
    """At most `limit` items of a benchmark, drawn by `seed`, in the order of the source.

    Args:
        name: a shipped benchmark's id, a YAML file of one's own, or a spec.
        limit: how many; None for all.
        seed: draws the subset and, on pocket, the scenes.
        split: of package benchmarks; the others have one only.
        source: a local copy to read in place of the spec's source.

    Raises:
        BenchmarkError: no such benchmark, or its data cannot be had or read.
    """
    spec = find_spec(name) if isinstance(name, str) else name
    if spec.parts:
        raise BenchmarkError(f"{spec.id} is the mean of {', '.join(spec.parts)}; load those")
    if spec.source.package and source is None:
        return PACKAGED[spec.source.package](spec.rows if limit is None else limit, seed, split)
    rows = rows_of(spec, source=source)
    items = [read_item(spec, rows, number) for number in draw(len(rows), limit=limit, seed=seed)]
    twice = len(items) - len({item.key for item in items})
    if twice:
        raise BenchmarkError(f"{spec.id}: {twice} rows share a key; make {spec.key!r} name each row once")
    return items


def rows_of(spec: Spec, *, source: Path | None) -> Rows:
    """The rows of a benchmark that is not carried by a package."""
    if spec.source.package and source is None:
        raise BenchmarkError(f"{spec.id} comes from a package, not from a file")
    return open_rows(Source(path=source) if source else spec.source, shown=spec.id)


def draw(count: int, *, limit: int | None, seed: int) -> Sequence[int]:
    """At most `limit` of the numbers below `count`, in rising order."""
    if limit is None or limit >= count:
        return range(count)
    return sorted(random.Random(seed).sample(range(count), limit))


def data_differences(spec: Spec, *, source: Path | None) -> list[str]:
    """What differs between a benchmark's spec and its data, one line each; every row is read once.

    Raises:
        BenchmarkError: the data cannot be had at all.
    """
    if spec.source.package and source is None:
        count = len(load_benchmark(spec, limit=None, seed=0))
        return [] if count == spec.rows else [f"rows: the spec says {spec.rows}, the package has {count}"]
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


def _pocket(style: StyleName) -> Callable[[int | None, int, Split], list[Item]]:
    def load(limit: int | None, seed: int, split: Split) -> list[Item]:
        items = []
        for scene in sample_scenes(limit or 1, split=split, seed=seed, style=style):
            kind, question = draw_question(np.random.default_rng([seed, 9, scene.index]), scene, TAUGHT)
            answer = oracle(scene, question)
            assert answer is not None
            items.append(
                Item(
                    key=f"{split}-{seed}-{scene.index}", images=lambda scene=scene: (render(scene),),  # type: ignore[misc]
                    question=question, gold=Gold(rule="text", answers=(answer,)), kind=kind,
                    cluster=str(scene.index), groups={"kind": kind}, row=scene.index,
                )
            )  # fmt: skip
        return items

    return load


def _easy_vqa(limit: int | None, seed: int, split: Split) -> list[Item]:
    """The test split of easy-vqa 1.0 (MIT), or, for development, its train split."""
    try:
        import easy_vqa
    except ImportError as error:
        raise BenchmarkError("the benchmark easy-vqa needs its package: pip install easy-vqa==1.0") from error
    if split == "held-out":
        (questions, answers, images), paths = easy_vqa.get_test_questions(), easy_vqa.get_test_image_paths()
    else:
        (questions, answers, images), paths = easy_vqa.get_train_questions(), easy_vqa.get_train_image_paths()
    rows = list(zip(range(len(questions)), questions, answers, images, strict=True))
    drawn = [rows[number] for number in draw(len(rows), limit=limit, seed=seed)]
    return [
        Item(
            key=f"{split}-{row}", images=lambda path=paths[image]: (Image.open(path).convert("RGB"),),  # type: ignore[misc]
            question=question, gold=Gold(rule="text", answers=(answer,)), kind=_easy_vqa_kind(question),
            cluster=str(image), groups={"kind": _easy_vqa_kind(question)}, row=row,
        )
        for row, question, answer, image in drawn
    ]  # fmt: skip


def _easy_vqa_kind(question: str) -> str:
    query = parse_query(question)  # its wording is part of the pocket grammar
    return query.kind if query else "other"


PACKAGED: dict[str, Callable[[int | None, int, Split], list[Item]]] = {
    "pocket-dusk": _pocket("dusk"),
    "pocket-clean": _pocket("clean"),
    "easy-vqa": _easy_vqa,
}
