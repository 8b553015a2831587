"""Eq. 5, 6, 8 and 10 and what may be added to them, with values worked out by hand."""

import math
from dataclasses import dataclass

import pytest

from rewards import (
    Question,
    Term,
    Values,
    Vote,
    questioner_rewards,
    reasoner_rewards,
    vote,
)
from visplay.errors import ConfigError

CAR = "What is the color of the car?"
DOGS = "How many dogs can be seen here?"
ASKED = Question(type="t", question=DOGS, answer="?")


@dataclass(frozen=True)
class Row:
    """One candidate of the Questioner's."""

    asks: Question | None
    vote: Vote | None = None
    validity: float | None = None


def split(confidence: float) -> Vote:
    """Ten answers of which `confidence` agree, and no two others do."""
    agreeing = round(10 * confidence)
    return vote(["7"] * agreeing + [f"other {number}" for number in range(10 - agreeing)])


def row(question: str | None, confidence: float = 0.5, **more: object) -> Row:
    asks = None if question is None else Question(type="t", question=question, answer="?")
    return Row(asks, split(confidence), **more)


def paid(*group: Row, terms=(), **values) -> list[float]:
    rewards = questioner_rewards([group], values=Values(**values), terms=terms)[0]
    return [reward.total for reward in rewards]


def test_eq_8_is_uncertainty_less_redundancy_and_never_below_zero():
    group = [row(CAR, 0.5), row(CAR, 0.9), row(DOGS, 0.8), row(None)]
    # copies are 2 of 4; the others 1 of 4; 1 - |2c - 1| is 1, 0.2 and 0.4
    assert paid(*group) == pytest.approx([1 - 0.5, 0.0, 0.4 - 0.25, 0.0])
    assert paid(*group, redundancy_weight=0.2) == pytest.approx([1 - 0.1, 0.2 - 0.1, 0.4 - 0.05, 0.0])
    parts = questioner_rewards([group], values=Values())[0][1].parts
    assert parts == pytest.approx({"validity": 1.0, "uncertainty": 0.2, "redundancy": 0.5})


def test_the_official_reward_spans_the_batch_and_has_no_lower_bound():
    groups = [[row(CAR, 0.7), row(None)], [row(CAR, 0.9), row(DOGS, 0.4)]]
    values = Values(questioner="official", redundancy_scope="batch")
    found = questioner_rewards(groups, values=values)
    # copies are 2 of 4, the others 1 of 4; min(c, 1 - c) is 0.3, 0.1 and 0.4; an invalid one has -1
    assert [one.total for group in found for one in group] == pytest.approx(
        [0.3 - 0.5, -1 - 0.25, 0.1 - 0.5, 0.4 - 0.25]
    )
    # a question of two words is no copy of itself for the released code: its BLEU is 0.32
    assert paid(row("What color?"), row("What color?"), questioner="official") == pytest.approx([0.0, 0.0])


def test_a_target_confidence_pays_most_there():
    found = paid(row(CAR, 0.8), row(DOGS, 0.4), target_confidence=0.8, redundancy_weight=0.0)
    assert found == pytest.approx([1.0, 0.5])


def test_a_judge_multiplies_what_is_to_be_learned():
    found = paid(row(CAR, 0.5, validity=0.75), row(DOGS, 0.8, validity=0.5), redundancy_weight=0.2)
    assert found == pytest.approx([0.75 - 0.1, 0.2 - 0.1])


def test_nothing_beyond_the_paper_is_charged_by_default():
    item = row(CAR)
    (reward,) = questioner_rewards([[item]], values=Values())[0]
    assert set(reward.parts) == {"validity", "uncertainty", "redundancy"}


def test_a_term_is_weighted_named_and_counts_for_valid_questions_only():
    brief = Term(name="brief", weight=0.1, function=lambda rows: [5.0] * len(rows))
    group = [row(CAR), row(None)]
    rewards = questioner_rewards([group], values=Values(), terms=[brief])[0]
    assert [reward.total for reward in rewards] == pytest.approx([1.0 - 0.5 + 0.5, 0.0])
    assert [reward.parts["brief"] for reward in rewards] == [0.5, 0.0]


def test_a_term_must_give_one_value_per_row():
    wrong = Term(name="wrong", weight=1.0, function=lambda rows: [])
    with pytest.raises(ConfigError, match="wrong must give one value per row, 1, got 0"):
        paid(row(CAR), terms=[wrong])


@pytest.mark.parametrize("kind", ["paper", "official"])
def test_what_is_no_number_reaches_the_total(kind):
    """So that the loop can refuse it; a bound at zero would hide it."""
    term = Term(name="mine", weight=1.0, function=lambda rows: [math.nan])
    assert math.isnan(paid(row(CAR), terms=[term], questioner=kind)[0])
    reward = reasoner_rewards(["\\boxed{7}"], silver=vote(["7"]), values=Values(), asked=ASKED, terms=[term])
    assert math.isnan(reward[0].total)


def test_eq_10_pays_for_the_silver_answer():
    texts = ["\\boxed{3 dogs}", "\\boxed{4}", "three"]
    found = reasoner_rewards(texts, silver=vote(["3", "3", "4"]), values=Values(), asked=ASKED)
    assert [reward.total for reward in found] == [1.0, 0.0, 0.0]
    assert [reward.parts["parsed"] for reward in found] == [1.0, 1.0, 0.0]
    unknown = reasoner_rewards(texts, silver=vote([None]), values=Values(), asked=ASKED)
    assert [reward.total for reward in unknown] == [0.0, 0.0, 0.0]


def test_options_of_the_question_name_the_silver_answer():
    asked = Question(type="t", question="Which?", answer="?", options=("cat", "dog"))
    found = reasoner_rewards(["\\boxed{dog}"], silver=vote(["B"]), values=Values(), asked=asked)
    assert found[0].total == 1.0


def test_the_format_has_its_share():
    texts = ["<think>two and one</think>\\boxed{3}", "\\boxed{3}", "<think>so</think>\\boxed{4}"]
    found = reasoner_rewards(texts, silver=vote(["3"]), values=Values(format_weight=0.1), asked=ASKED)
    assert [reward.total for reward in found] == pytest.approx([1.0, 0.9, 0.1])
