"""Benchmarks that packages carry: held-out pocket scenes and easy-vqa, as functions that specs name."""

import numpy as np
from PIL import Image

from visplay.errors import BenchmarkError
from visplay.evaluation.benchmarks import Split, draw
from visplay.evaluation.items import Gold, Item
from visplay.pocket.oracle import DUSK, LADDER, RUNGS, Kind, draw_question, oracle, parse_query
from visplay.pocket.scenes import StyleName, render, sample_scenes


def dusk(limit: int | None, seed: int, split: Split) -> list[Item]:
    """Questions about dusky scenes."""
    return _scenes("dusk", limit, seed, split, DUSK)


def clean(limit: int | None, seed: int, split: Split) -> list[Item]:
    """Questions about clean scenes."""
    return _scenes("clean", limit, seed, split, DUSK)


def ladder(limit: int | None, seed: int, split: Split) -> list[Item]:
    """Questions of four rungs, as many of each, about crowded scenes."""
    return _scenes("ladder", limit, seed, split, LADDER)


def easy_vqa(limit: int | None, seed: int, split: Split) -> list[Item]:
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
            question=question, gold=Gold(rule="text", answers=(answer,)), kind=_kind(question),
            cluster=str(image), groups={"kind": _kind(question)}, row=row,
        )
        for row, question, answer, image in drawn
    ]  # fmt: skip


def _scenes(
    style: StyleName, limit: int | None, seed: int, split: Split, kinds: dict[Kind, float]
) -> list[Item]:
    items = []
    for scene in sample_scenes(limit or 1, split=split, seed=seed, style=style):
        kind, question = draw_question(np.random.default_rng([seed, 9, scene.index]), scene, kinds)
        answer = oracle(scene, question)
        assert answer is not None
        items.append(
            Item(
                key=f"{split}-{seed}-{scene.index}", images=lambda scene=scene: (render(scene),),  # type: ignore[misc]
                question=question, gold=Gold(rule="text", answers=(answer,)), kind=kind,
                cluster=str(scene.index), groups={"kind": kind, "rung": str(RUNGS[kind])}, row=scene.index,
            )
        )  # fmt: skip
    return items


def _kind(question: str) -> str:
    query = parse_query(question)  # its wording is part of the pocket grammar
    return query.kind if query else "other"
