from collections import Counter

import numpy as np
import pytest
from PIL import Image

from benchmarks.pocket_vlm.build import WIDE_STAGES, Recipe, collate, tokenizer_of
from benchmarks.pocket_vlm.vlm import build_processor
from benchmarks.pocket_vlm.wide import KNOWN, LIKED, OPENINGS, draw_wide, trace, verdict
from rewards import extract_answer, parse_question
from visplay.pocket.oracle import WIDE, Kind, oracle, parse_query, sample_question
from visplay.pocket.scenes import Scene, Thing, sample_scenes

# top left red circle, top blue star, center red star
SCENE = Scene(
    things=(
        Thing(color="red", shape="circle", place=0),
        Thing(color="blue", shape="star", place=1),
        Thing(color="red", shape="star", place=4),
    ),
    split="development",
    seed=0,
    index=0,
    style="wide",
)
GREY = Image.new("RGB", (96, 96), (128, 128, 128))
EVENLY: dict[Kind, float] = dict.fromkeys(WIDE, 1 / len(WIDE))


@pytest.mark.parametrize(
    ("question", "steps"),
    [
        ("What color is the shape in the center?", r"Spot center red star. \boxed{red}"),
        (
            "Where is the blue star?",
            r"Find top left red circle blue star no 0, top blue star blue star yes 1. \boxed{top}",
        ),
        (
            "How many red shapes are there?",
            "Count top left red circle red yes 1, top blue star red no 1, center red star red yes 2. "
            r"\boxed{2}",
        ),
        ("Is there a circle?", r"Any top left red circle circle yes 1. \boxed{yes}"),
        (
            "How many shapes are in the top row?",
            r"Row top left red circle 1, top blue star 2, top right none 2. \boxed{2}",
        ),
        (
            "How many shapes are in the middle column?",
            r"Down top blue star 1, center red star 2, bottom none 2. \boxed{2}",
        ),
        ("What is below the shape in the top?", r"Beside top, center red star. \boxed{red star}"),
        (
            "How many more red shapes than blue stars are there?",
            "Less top left red circle red yes 1 blue star no 0, top blue star red no 1 blue star yes 1, "
            r"center red star red yes 2 blue star no 1. 2 - 1. \boxed{1}",
        ),
        (
            "How many shapes are blue, red or green?",
            "Sum top left red circle blue no red yes 1, top blue star blue yes 2, "
            r"center red star blue no red yes 3. \boxed{3}",
        ),
        (
            "How many shapes have the color of the shape in the center?",
            r"Like center red star. top left red circle red yes 1, top blue star red no 1, "
            r"center red star red yes 2. \boxed{2}",
        ),
        ("What color is most common?", r"Most top left red 1, top blue 1, center red 2. \boxed{red}"),
        (
            "How many shapes are in the corners?",
            r"Corner top left red circle 1, top right none 1, bottom left none 1, "
            r"bottom right none 1. \boxed{1}",
        ),
    ],
)  # fmt: skip
def test_traces(question: str, steps: str) -> None:
    assert trace(SCENE, question) == steps


@pytest.mark.parametrize(
    ("question", "steps"),
    [
        ("What color is the shape in the left?", r"Spot left none. \boxed{no}"),
        (
            "Where is the star?",
            "Find top left red circle star no 0, top blue star star yes 1, center red star star yes 2. "
            r"\boxed{no}",
        ),
        (
            "How many more circles are there than stars?",
            "Less top left red circle circle yes 1 star no 0, top blue star circle no 1 star yes 1, "
            r"center red star circle no 1 star yes 2. 1 - 2. \boxed{no}",
        ),
        ("What is above the shape in the top left?", r"Beside top left, edge. \boxed{no}"),
        ("What is left of the shape in the left?", r"Beside left none. \boxed{no}"),
        ("How many shapes have the color of the shape in the left?", r"Like left none. \boxed{no}"),
    ],
)
def test_a_judge_goes_through_the_same_steps_to_their_end(question: str, steps: str) -> None:
    assert verdict(SCENE, question) == steps


def test_every_trace_of_every_kind_ends_in_the_truth_and_begins_in_its_own_way() -> None:
    rng = np.random.default_rng(0)
    drawn: Counter[str] = Counter()
    for scene in sample_scenes(150, split="warm-up", seed=0, style="wide"):
        for kind in WIDE:
            question = sample_question(rng, scene, kind=kind)
            if question is not None:
                text = trace(scene, question)
                assert text.startswith(f"{OPENINGS[kind]} ")
                assert extract_answer(text) == oracle(scene, question), text
                drawn[kind] += 1
    assert set(drawn) == set(WIDE) and min(drawn.values()) > 50, drawn
    assert len(set(OPENINGS.values())) == len(WIDE)


@pytest.mark.slow
def test_no_two_kinds_share_the_first_token_and_traces_are_short() -> None:
    recipe = Recipe(stages=WIDE_STAGES, style="wide", scenes=8)
    tokenizer = tokenizer_of(recipe)
    first = {kind: tokenizer(f"{word} ")["input_ids"][0] for kind, word in OPENINGS.items()}
    assert len(set(first.values())) == len(WIDE)
    rng, processor = np.random.default_rng(0), build_processor(tokenizer)
    scenes = list(sample_scenes(200, split="warm-up", seed=0, style="wide"))
    lessons = [draw_wide(rng, scene, GREY, "reasoner", taught=EVENLY) for scene in scenes]
    learned = (collate(lessons, processor=processor)["labels"] != -100).sum(dim=1)
    assert learned.max() <= 100 and learned.float().mean() < 40


def test_the_questioner_likes_what_the_reasoner_knows() -> None:
    rng = np.random.default_rng(0)
    asked: Counter[str] = Counter()
    for scene in sample_scenes(1200, split="warm-up", seed=0, style="wide"):
        lesson = draw_wide(rng, scene, GREY, "questioner", taught=EVENLY)
        if "Ask like one of these: " in str(lesson.prompt.messages):
            continue
        question = parse_question(lesson.completion, types=("numerical", "yes/no", "short answer"))
        query = parse_query(getattr(question, "question", ""))
        assert query is not None, lesson.completion
        asked[query.kind] += 1
    assert 0.84 <= sum(asked[kind] for kind in KNOWN) / asked.total() <= 0.92
    assert abs(LIKED - 0.88) < 0.03 and set(asked) == set(WIDE)


def test_what_is_matched_has_the_things_given_and_the_rest_learned() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        lesson = draw_wide(rng, SCENE, GREY, "matching", taught=EVENLY)
        assert not lesson.prompt.images and lesson.given
        assert all(
            lesson.completion[start:end].strip() and "yes" not in lesson.completion[start:end]
            for start, end in lesson.given
        )
