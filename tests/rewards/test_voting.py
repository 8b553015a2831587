import itertools

import pytest

from rewards import Vote, equivalent, in_informative_band, vote
from rewards.voting import minority_share, uncertainty


def test_majority_confidence_and_shares():
    found = vote(["7", "8", "7.0", "seven", None, "8", "red", "7", "x", "7"])
    assert found.answer == "7"
    assert found.confidence == pytest.approx(0.5)
    assert found.shares == (("7", 0.5), ("8", 0.2), ("red", 0.1), ("x", 0.1))
    assert (found.parsed, found.samples) == (9, 10)


def test_unparsed_samples_count_in_the_denominator_unless_told_otherwise():
    answers = ["B", "B", None, None, None, "A"]
    assert vote(answers).confidence == pytest.approx(2 / 6)
    dropped = vote(answers, count_unparsed=False)
    assert (dropped.confidence, dropped.samples) == (pytest.approx(2 / 3), 3)


def test_no_parsed_answer_gives_no_silver_answer():
    empty = Vote(answer=None, confidence=0.0, shares=(), parsed=0, samples=3)
    assert vote([None, None, " "]) == empty
    assert vote([]).confidence == 0.0


def test_a_tie_goes_to_the_answer_whose_first_vote_came_first():
    assert vote(["red", "blue", "blue", "red"]).answer == "red"
    assert vote(["blue", "red", "blue", "red"]).answer == "blue"


def test_the_order_of_the_answers_changes_nothing_else():
    answers = ["50%", "50", "0.5", "50%", None]
    found = {vote(list(order)).shares for order in itertools.permutations(answers)}
    assert found == {(("50%", 0.6), ("50", 0.2))}  # a half, and fifty


def test_letters_and_option_texts_are_one_answer():
    found = vote(["B", "dog", "(b)", "A"], options=["cat", "dog"])
    assert found.confidence == pytest.approx(0.75)


def test_the_question_says_what_is_counted_and_measured():
    answers = ["3 dogs", "3", "three", "3 cats"]
    assert vote(answers).shares == (("3", 0.5), ("3 dogs", 0.25), ("3 cats", 0.25))
    assert vote(answers, question="How many dogs are there?").confidence == pytest.approx(0.75)
    lengths = ["5 cm", "5", "50 mm", "5 m"]
    assert vote(lengths).confidence == pytest.approx(0.5)
    assert vote(lengths, question="How long is it in cm?").confidence == pytest.approx(0.75)


def test_nothing_is_equivalent_to_an_unparsed_answer():
    assert not equivalent(None, None).equal
    assert not equivalent(None, "7").equal


@pytest.mark.parametrize(
    ("confidence", "expected"), [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.6, 0.8), (0.75, 0.5), (1.0, 0.0)]
)
def test_uncertainty_is_a_tent(confidence, expected):
    assert uncertainty(confidence) == pytest.approx(expected, abs=1e-12)
    assert minority_share(confidence) == pytest.approx(expected / 2, abs=1e-12)


@pytest.mark.parametrize(
    ("confidence", "expected"), [(0.0, 0.0), (0.4, 0.5), (0.8, 1.0), (0.9, 0.5), (1.0, 0.0)]
)
def test_a_target_confidence_moves_the_top_of_the_tent(confidence, expected):
    assert uncertainty(confidence, target=0.8) == pytest.approx(expected, abs=1e-12)


def test_the_band_includes_its_bounds():
    assert [in_informative_band(c, 0.25, 0.75) for c in (0.24, 0.25, 0.5, 0.75, 0.76)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_a_confidence_outside_0_to_1_is_an_error():
    with pytest.raises(ValueError, match=r"confidence must be in \[0, 1\], got 1.1"):
        uncertainty(1.1)
