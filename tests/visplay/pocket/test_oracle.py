import re

import numpy as np
import pytest

from benchmarks.pocket_vlm.presuming import PRESUMING, draw_presuming
from visplay.pocket.oracle import (
    FORMS,
    answer_query,
    oracle,
    parse_query,
    sample_question,
)
from visplay.pocket.scenes import COLORS, CROWDED, PLACES, SHAPES, Scene, Thing, sample_scenes


def scene(*things: tuple[str, int]) -> Scene:
    placed = [Thing(color=words.split()[0], shape=words.split()[1], place=place) for words, place in things]
    return Scene(things=tuple(placed), split="development", seed=0, index=0, style="clean")


# top left red circle, top blue star, center red star, bottom right green triangle
FOUR = scene(("red circle", 0), ("blue star", 1), ("red star", 4), ("green triangle", 8))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How many red shapes are there?", "2"),
        ("How many stars are in the image?", "2"),
        ("How many red stars are there?", "1"),
        ("How many shapes are there?", "4"),
        ("How many gray rectangles are there?", "0"),
        ("How many shapes are red or green?", "3"),
        ("How many shapes are teal or gray?", "0"),
        ("Is there a red circle?", "yes"),
        ("Is there a blue circle in the image?", "no"),
        ("Is no rectangle present?", "yes"),
        ("Is there not a star?", "no"),
        ("Are there more red shapes than blue shapes?", "yes"),
        ("Are there more circles than stars?", "no"),
        ("Are there more circles than triangles?", "no"),
        ("What color is the circle?", "red"),
        ("What is the color of the triangle?", "green"),
        ("What shape is the blue shape?", "star"),
        ("What is the green shape?", "triangle"),
        ("Where is the red star?", "center"),
        ("Where is the triangle?", "bottom right"),
        ("What color is the shape in the top left?", "red"),
        ("What shape is in the bottom right?", "triangle"),
        ("How many shapes are red, blue or gray?", "3"),
        ("How many more red shapes are there than blue shapes?", "1"),
        ("How many more stars than triangles are there?", "1"),
        ("How many more shapes are red or blue than green or teal?", "2"),
        ("How many shapes are in the top row?", "2"),
        ("How many shapes are in the middle row?", "1"),
        ("How many shapes are in the left column?", "1"),
        ("How many shapes are in the middle column?", "2"),
        ("How many shapes have the color of the shape in the center?", "2"),
        ("How many shapes have the color of the shape in the top?", "1"),
        ("What is left of the shape in the top?", "red circle"),
        ("What is right of the shape in the top left?", "blue star"),
        ("What is above the shape in the center?", "blue star"),
        ("What is below the shape in the top?", "red star"),
        ("How many shapes are in the corners?", "2"),
        ("What color is most common?", "red"),
        ("  HOW   many Red shapes are there ", "2"),
    ],
)
def test_oracle_answers(question: str, answer: str) -> None:
    assert oracle(FOUR, question) == answer


@pytest.mark.parametrize(
    "question",
    [
        "What color is the star?",  # there are two
        "What color is the rectangle?",  # there is none
        "Where is the shape?",
        "What shape is in the left?",  # an empty cell
        "How many shapes are red or red?",
        "Are there more stars than stars?",
        "How many shapes are red, blue or red?",
        "How many more circles are there than stars?",  # there are fewer
        "How many more circles than triangles are there?",  # there are as many
        "How many more shapes are red or blue than green or red?",
        "How many shapes are in the left row?",  # rows are top, middle and bottom
        "How many shapes are in the top column?",  # columns are left, middle and right
        "How many shapes have the color of the shape in the left?",  # an empty cell
        "What is above the shape in the top left?",  # beyond the edge
        "What is left of the shape in the bottom right?",  # an empty cell
        "What is right of the shape in the left?",
        "What is behind the star?",
        "What shape is most common?",
        "How many dogs are there?",
        "Describe the image.",
        "How many red shapes are there? And blue?",
        "",
        "__import__('os').system('true')",
    ],
)
def test_oracle_declines(question: str) -> None:
    assert oracle(FOUR, question) is None


def test_a_lone_shape_is_the_shape() -> None:
    lone = scene(("teal rectangle", 3))
    assert oracle(lone, "what color is the shape?") == "teal"
    assert oracle(lone, "what shape does the image contain?") == "rectangle"


def test_what_is_most_common_is_settled_where_it_is_one_alone() -> None:
    assert oracle(scene(("red star", 0), ("blue star", 1)), "What color is most common?") is None
    three = scene(("red star", 0), ("blue star", 1), ("blue circle", 2))
    assert oracle(three, "What color is most common?") == "blue"


def test_whatever_is_sampled_is_read_back_and_settled() -> None:
    rng = np.random.default_rng(0)
    drawn = 0
    for one in sample_scenes(60, split="development", seed=3):
        for kind in FORMS:
            question = sample_question(rng, one, kind=kind)
            if question is None:
                continue
            query = parse_query(question)
            assert query is not None and query.kind == kind, question
            assert answer_query(one, query) is not None
            drawn += 1
    assert drawn > 400


def test_wording_does_not_tell_whether_a_picture_settles_what_is_presumed() -> None:
    """By kind and form of words, settled as often as not; scenes as the warm-up has them."""
    rng = np.random.default_rng(0)
    scenes = [*sample_scenes(400, split="development", seed=3)]
    scenes += sample_scenes(400, split="development", seed=3, start=400, layout=CROWDED)
    counts: dict[str, list[int]] = {}
    for one in scenes:
        for kind in PRESUMING:
            question = draw_presuming(rng, one, kind=kind)
            if question is not None:
                form = re.sub("|".join((*COLORS, *SHAPES, *PLACES, "shape")), "_", question.lower())
                counts.setdefault(form, []).append(oracle(one, question) is not None)
    assert len(counts) > 12
    for form, settled in counts.items():
        if len(settled) > 100:
            assert 0.4 < sum(settled) / len(settled) < 0.6, (form, len(settled))


def test_the_wording_of_easy_vqa_is_in_the_grammar() -> None:
    import easy_vqa

    questions, _, _ = easy_vqa.get_test_questions()
    assert [q for q in set(questions) if parse_query(q) is None] == []
