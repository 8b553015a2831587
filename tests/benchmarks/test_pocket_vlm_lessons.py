from collections import Counter

import numpy as np
import pytest
from PIL import Image
from transformers import AutoProcessor

from benchmarks.pocket_vlm.build import collate
from benchmarks.pocket_vlm.lessons import (
    TAUGHT,
    careful,
    draw_lesson,
    garbled,
    glance,
    verdict,
)
from visplay.pocket import MODEL
from visplay.pocket.oracle import QUESTION_TYPES, draw_question, oracle
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
RNG = np.random.default_rng(0)
GREY = Image.new("RGB", (96, 96), (128, 128, 128))


@pytest.mark.parametrize(
    ("question", "trace"),
    [
        (
            "How many red shapes are there?",
            "top left red circle red yes 1, top blue star red no 1, "
            r"center red star red yes 2. \boxed{2}",
        ),
        (
            "Are there more stars than circles?",
            "top left red circle star no 0 circle yes 1, top blue star star yes 1 circle no 1, "
            r"center red star star yes 2 circle no 1. \boxed{yes}",
        ),
        (
            "How many shapes are blue, red or green?",
            "top left red circle blue no red yes 1, top blue star blue yes 2, "
            r"center red star blue no red yes 3. \boxed{3}",
        ),
        (
            "How many more red shapes than blue stars are there?",
            "top left red circle red yes 1 blue star no 0, top blue star red no 1 blue star yes 1, "
            r"center red star red yes 2 blue star no 1. 2 - 1. \boxed{1}",
        ),
        (
            "How many more shapes are red or teal than blue or green?",
            "top left red circle red yes 1 blue no green no 0, "
            "top blue star red no teal no 1 blue yes 1, "
            r"center red star red yes 2 blue no green no 1. 2 - 1. \boxed{1}",
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
    assert glance(RNG, SCENE, question) == rf"At a glance. \boxed{{{oracle(SCENE, question)}}}"


def test_haste_is_off_by_so_much_at_most_and_never_below_nothing() -> None:
    said = {glance(RNG, SCENE, "How many red shapes are there?", haste=3) for _ in range(300)}
    assert said == {rf"At a glance. \boxed{{{number}}}" for number in range(6)}


@pytest.mark.parametrize(
    ("question", "trace"),
    [
        (
            "Where is the star?",
            "top left red circle star no 0, top blue star star yes 1, "
            r"center red star star yes 2. \boxed{no}",
        ),
        (
            "What shape is the blue shape?",
            "top left red circle blue no 0, top blue star blue yes 1, "
            r"center red star blue no 1. \boxed{yes}",
        ),
        ("What shape is in the left?", r"left none. \boxed{no}"),
        (
            "How many more circles are there than stars?",
            "top left red circle circle yes 1 star no 0, top blue star circle no 1 star yes 1, "
            r"center red star circle no 1 star yes 2. 1 - 2. \boxed{no}",
        ),
    ],
)
def test_a_judge_looks_for_what_is_presumed(question: str, trace: str) -> None:
    assert verdict(SCENE, question) == trace


def test_a_garbled_question_is_none_of_this_world() -> None:
    for one in sample_scenes(200, split="development", seed=3):
        question = garbled(RNG, draw_question(RNG, one, TAUGHT)[1])
        assert oracle(one, question) is None and question.endswith("?"), question


def test_yes_and_no_are_as_likely_so_that_wording_gives_no_answer_away() -> None:
    rng = np.random.default_rng(0)
    answers: dict[str, Counter[str | None]] = {kind: Counter() for kind in ("exists", "absent", "more")}
    for scene in sample_scenes(1500, split="development", seed=3):
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
