"""What the Reasoner is measured on: questions with known answers that no phase ever sees."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from visplay.errors import ConfigError
from visplay.pocket.lessons import TAUGHT, draw_question
from visplay.pocket.oracle import oracle, parse_query
from visplay.pocket.scenes import StyleName, render, sample_scenes

Split = Literal["held-out", "development"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One benchmark question.

    Attributes:
        key: unique within the benchmark.
        image: gives the RGB picture.
        question: as the benchmark words it.
        answer: the gold answer.
        kind: the group it is reported in.
        cluster: items that share a picture share this.
    """

    key: str
    image: Callable[[], Image.Image]
    question: str
    answer: str
    kind: str
    cluster: str


def load_benchmark(name: str, *, limit: int, seed: int, split: Split = "held-out") -> list[Item]:
    """At most `limit` items of a benchmark, drawn by `seed`.

    Raises:
        ConfigError: no such benchmark, or the package that carries it is not installed.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"evaluation.benchmarks: no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name](limit, seed, split)


def _pocket(style: StyleName) -> Callable[[int, int, Split], list[Item]]:
    def load(limit: int, seed: int, split: Split) -> list[Item]:
        items = []
        for scene in sample_scenes(limit, split=split, seed=seed, style=style):
            kind, question = draw_question(np.random.default_rng([seed, 9, scene.index]), scene, TAUGHT)
            answer = oracle(scene, question)
            assert answer is not None
            items.append(
                Item(
                    key=f"{split}-{seed}-{scene.index}", image=lambda scene=scene: render(scene),  # type: ignore[misc]
                    question=question, answer=answer, kind=kind, cluster=str(scene.index),
                )
            )  # fmt: skip
        return items

    return load


def _easy_vqa(limit: int, seed: int, split: Split) -> list[Item]:
    """The test split of easy-vqa 1.0 (MIT), or, for development, its train split."""
    try:
        import easy_vqa
    except ImportError as error:
        raise ConfigError("the benchmark easy-vqa needs its package: pip install easy-vqa==1.0") from error
    if split == "held-out":
        (questions, answers, images), paths = easy_vqa.get_test_questions(), easy_vqa.get_test_image_paths()
    else:
        (questions, answers, images), paths = easy_vqa.get_train_questions(), easy_vqa.get_train_image_paths()
    rows = list(zip(range(len(questions)), questions, answers, images, strict=True))
    drawn = sorted(random.Random(seed).sample(rows, min(limit, len(rows))))
    return [
        Item(
            key=f"{split}-{row}", image=lambda path=paths[image]: Image.open(path).convert("RGB"),  # type: ignore[misc]
            question=question, answer=answer, kind=_easy_vqa_kind(question),
            cluster=str(image),
        )
        for row, question, answer, image in drawn
    ]  # fmt: skip


def _easy_vqa_kind(question: str) -> str:
    query = parse_query(question)  # its wording is part of the pocket grammar
    return query.kind if query else "other"


BENCHMARKS: dict[str, Callable[[int, int, Split], list[Item]]] = {
    "pocket-dusk": _pocket("dusk"),
    "pocket-clean": _pocket("clean"),
    "easy-vqa": _easy_vqa,
}
