"""Benchmarks that packages carry: held-out pocket scenes and easy-vqa, as functions that specs name."""

import numpy as np
from PIL import Image

from visplay.errors import BenchmarkError
from visplay.evaluation.benchmarks import Split, draw
from visplay.evaluation.items import Gold, Item
from visplay.pocket.oracle import (
    DUSK,
    LADDER,
    RUNGS,
    WIDE,
    Kind,
    draw_question,
    oracle,
    parse_query,
    sample_question,
)
from visplay.pocket.scenes import Scene, StyleName, render, sample_scene, sample_scenes


def dusk(limit: int | None, seed: int, split: Split) -> list[Item]:
    """Questions about dusky scenes."""
    return _scenes("dusk", limit, seed, split, DUSK)


def clean(limit: int | None, seed: int, split: Split) -> list[Item]:
    """Questions about clean scenes."""
    return _scenes("clean", limit, seed, split, DUSK)


def ladder(limit: int | None, seed: int, split: Split) -> list[Item]:
    """Questions of four rungs, as many of each, about crowded scenes."""
    return _scenes("ladder", limit, seed, split, LADDER)


def wide(limit: int | None, seed: int, split: Split) -> list[Item]:
    """Questions of the twelve kinds of the wide world, as many of each."""
    items: list[Item] = []
    index = 0
    while len(items) < (limit or 1):
        scene, kind = (
            sample_scene(split=split, seed=seed, index=index, style="wide"),
            WIDE[len(items) % len(WIDE)],
        )
        question = sample_question(np.random.default_rng([seed, 9, index]), scene, kind=kind)
        index += 1
        if question is not None:  # else the next scene is asked a question of this kind
            items.append(_item(scene, kind, question))
    return items


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
        items.append(_item(scene, kind, question))
    return items


def _item(scene: Scene, kind: Kind, question: str) -> Item:
    answer = oracle(scene, question)
    assert answer is not None
    rung = {"rung": str(RUNGS[kind])} if kind in RUNGS and scene.style != "wide" else {}
    return Item(
        key=f"{scene.split}-{scene.seed}-{scene.index}", images=lambda: (render(scene),), question=question,
        gold=Gold(rule="text", answers=(answer,)), kind=kind, cluster=str(scene.index),
        groups={"kind": kind} | rung, row=scene.index,
    )  # fmt: skip


def _kind(question: str) -> str:
    query = parse_query(question)  # its wording is part of the pocket grammar
    return query.kind if query else "other"
