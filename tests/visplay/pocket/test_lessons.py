from collections import Counter

import numpy as np
import pytest
from PIL import Image
from transformers import AutoProcessor

from visplay.pocket import MODEL
from visplay.pocket.oracle import QUESTION_TYPES, TAUGHT, draw_question, oracle
from visplay.pocket.recipe.build import collate
from visplay.pocket.recipe.lessons import careful, draw_lesson, glance
from visplay.pocket.scenes import Scene, Thing, sample_scenes

SCENE = Scene(
    things=(
        Thing(color="red", shape="circle", place=0),
        Thing(color="blue", shape="star", place=1),
        Thing(color="red", shape="star", place=4),
    ),
    split="development",
    seed=0,
    index=0,
    style="clean",
)
GREY = Image.new("RGB", (96, 96), (128, 128, 128))


@pytest.mark.parametrize(
    ("question", "trace"),
    [
        (
            "How many red shapes are there?",
            "top left red circle red shape yes 1, top blue star red shape no 1, "
            r"center red star red shape yes 2. \boxed{2}",
        ),
        (
            "Are there more stars than circles?",
            "top left red circle any star no 0 any circle yes 1, "
            "top blue star any star yes 1 any circle no 1, "
            r"center red star any star yes 2 any circle no 1. \boxed{yes}",
        ),
        (
            "How many shapes are blue or green?",
            "top left red circle blue shape no 0 green shape no 0, "
            "top blue star blue shape yes 1 green shape no 1, "
            r"center red star blue shape no 1 green shape no 1. \boxed{1}",
        ),
        (
            "Where is the blue star?",
            r"top left red circle blue star no 0, top blue star blue star yes 1. \boxed{top}",
        ),
        ("What color is the shape in the center?", r"center red star. \boxed{red}"),
    ],
)
def test_careful_traces(question: str, trace: str) -> None:
    assert careful(SCENE, question) == trace
    assert glance(SCENE, question) == rf"At a glance. \boxed{{{oracle(SCENE, question)}}}"


def test_yes_and_no_are_as_likely_so_that_wording_gives_no_answer_away() -> None:
    rng = np.random.default_rng(0)
    answers: dict[str, Counter[str | None]] = {kind: Counter() for kind in ("exists", "absent", "more")}
    for scene in sample_scenes(3000, split="development", seed=3):
        kind, question = draw_question(rng, scene, TAUGHT)
        if QUESTION_TYPES[kind] == "yes/no":
            answers[kind][oracle(scene, question)] += 1
    for kind, counts in answers.items():
        share = counts["yes"] / counts.total()
        assert 0.38 < share < 0.62, (kind, counts)


def test_a_matching_lesson_needs_no_picture_and_learns_only_what_is_not_given() -> None:
    processor = AutoProcessor.from_pretrained(MODEL)
    lesson = draw_lesson(np.random.default_rng(4), SCENE, GREY, "matching")
    batch = collate([lesson], processor=processor)
    learned = [
        token for token, label in zip(batch["input_ids"][0], batch["labels"][0], strict=True) if label >= 0
    ]
    text = processor.tokenizer.decode(learned)
    shown = [lesson.completion[first:last] for first, last in lesson.given]
    assert len(shown) >= 3 and not lesson.prompt.images
    assert all(words.strip(" ,") not in text for words in shown)
    assert text.count("yes") + text.count("no") >= len(shown) and r"\boxed" in text
