"""Options, gold answers and judges' replies in the forms that data sets and judges write."""

import numpy as np
import pytest

from visplay.errors import BenchmarkError
from visplay.evaluation.items import Gold, gold_letter, open_rows, read_item, read_options
from visplay.evaluation.judge import read_score
from visplay.evaluation.scoring import score_output
from visplay.evaluation.spec import Source, Spec
from visplay.prompts import with_options

COLOURS = ("red", "green", "blue", "pink")


@pytest.mark.parametrize(
    "cell",
    [
        ["cat", "dog", None],
        ["cat", "dog", float("nan"), ""],
        '["cat", "dog", null]',
        "['cat', 'dog', None]",
        "['cat' 'dog']",
        "['cat'\n 'dog']",
        {"A": "cat", "B": "dog"},
        "{'A': 'cat', 'B': 'dog'}",
        {"label": ["A", "B"], "text": ["cat", "dog"]},
        [{"label": "A", "text": "cat"}, {"label": "B", "text": "dog"}],
        np.array(["cat", "dog"]),
    ],
)
def test_options_in_every_form(cell):
    assert read_options(cell) == ("cat", "dog")


@pytest.mark.parametrize("cell", [["cat", None, "dog"], {"B": "cat", "D": "dog"}])
def test_options_that_cannot_be_labelled_are_refused_with_their_row(cell):
    spec = Spec(id="own", source=Source(path="x"), answer="answer", options="options")
    rows = open_rows(Source(items=[{"question": "?", "answer": "A", "options": cell}]), shown="own")
    with pytest.raises(BenchmarkError, match="own: row 0: "):
        read_item(spec, rows, 0)


def test_options_beyond_z_have_two_letters():
    many = [f"place {number}" for number in range(28)]
    assert with_options("Where?", many).splitlines()[-2:] == ["AA. place 26", "AB. place 27"]
    assert gold_letter("place 27", many, named="either") == "AB"
    gold = Gold(rule="choice", answers=("AB",), options=tuple(many))
    assert score_output(r"\boxed{AB}", gold, cut=False).correct
    assert score_output(r"\boxed{place 27}", gold, cut=False).correct


@pytest.mark.parametrize("answer", ["B, D", "BD", "(B)(D)", "green, pink", "['B', 'D']", "D and B"])
def test_several_right_options_in_every_form(answer):
    assert gold_letter(answer, COLOURS, named="either") == "B,D"
    gold = Gold(rule="choice", answers=("B,D",), options=COLOURS)
    for said in ("B, D", "D and B", "BD", "green and pink", "B. green, D. pink"):
        assert score_output(rf"\boxed{{{said}}}", gold, cut=False).correct, said
    for said in ("B", "B, C", "B, C, D", "green", "B. green, D. red"):
        assert not score_output(rf"\boxed{{{said}}}", gold, cut=False).correct, said


@pytest.mark.parametrize(
    ("said", "right", "rule", "correct"),
    [
        ("8 cm", "8", "number", True),  # the question of a benchmark says the unit
        ("8 cm", "9", "number", False),
        ("8 cm", "8 m", "number", False),
        ("x = 8", "8", "open", True),
        ("3 + 5 = 8", "8", "open", True),
        ("0.143", "1/7", "open", True),
        ("0.14", "1/7", "open", False),
        ("2, 3", "[2, 3]", "open", True),
        ("3, 2", "[2, 3]", "open", False),
        ("8 apples", "8", "open", False),
        (r"4\sqrt{2} cm", r"4\sqrt{2}", "open", True),
    ],
)
def test_a_gold_answer_may_leave_out_what_its_question_says(said, right, rule, correct):
    score = score_output(rf"\boxed{{{said}}}", Gold(rule=rule, answers=(right,)), cut=False)
    assert score.correct is correct


def test_the_question_counts_for_scoring():
    gold = Gold(rule="open", answers=("8",))
    said = {"text": r"\boxed{8 apples}", "gold": gold, "cut": False}
    assert score_output(**said, question="How many apples are in the bowl?").correct
    assert not score_output(**said, question="How many pears are in the bowl?").correct


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("score: 1", 1.0), ("Score: 0.5", 0.5), ("**score: 0**", 0.0), ("score = 1.", 1.0),
        ("score: 1 out of 10", None), ("score: 1 of 5 points", None), ("score: 0,5", None),
        ("score: 1/2", None),
        ("score: 7", None), ("score: 1 (the same colour)", 1.0), ("score: 1 (of 10)", None),
        ("score: 0.3\nscore: 1 point of two", None), ("no verdict", None),
    ],
)  # fmt: skip
def test_a_score_stands_alone(reply, score):
    assert read_score(reply) == score
