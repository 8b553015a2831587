"""What a question asks for, apart from the things it asks about."""

import pytest

from rewards import ParseFailure, Question, preset, questioner_rewards, skill, skill_shares


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many red circles are there?", "how many  stars are there"),
        ("What color is the big dog?", "What color is the car?"),
        ("What is left of the blue star?", "What is right of the old man?"),
    ],
)
def test_the_things_asked_about_do_not_tell_skills_apart(one: str, other: str) -> None:
    assert skill(one) == skill(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many stars are there?", "How many more stars than circles are there?"),
        ("Is there a star?", "Is there no star?"),
        ("What color is the star?", "What shape is the star?"),
        ("How many shapes are red or blue?", "How many shapes are red, blue or green?"),
        ("Welche Farbe hat das Auto?", "Wie viele Autos gibt es?"),
    ],
)
def test_what_is_asked_tells_skills_apart(one: str, other: str) -> None:
    assert skill(one) != skill(other)


def test_shares_count_memory_and_questions_together() -> None:
    memory = ["How many stars are there?"] * 2 + ["Where is the star?"]
    asked = ["How many circles are there?", "", "Is there a star?"]
    assert skill_shares(asked, memory) == pytest.approx([3 / 5, 0.0, 1 / 5])
    assert skill_shares(["Is there a star?"], []) == [1.0]


def _ask(text: str) -> Question:
    return Question(type="numerical", question=text, answer="1", options=())


def test_a_memory_by_skill_charges_for_what_is_asked_most() -> None:
    values = preset("paper", memory_weight=0.5, memory_by="skill", redundancy_weight=0.0, memory_size=3)
    memory = ["Where is the star?"] * 9 + ["How many red stars are there?"] * 3  # the newest three count
    group = [_ask("How many circles are there?"), _ask("Where is the star?"), ParseFailure(reason="none")]
    paid = questioner_rewards([group], [[0.5, 0.5, 0.0]], preset=values, memory=memory)[0]
    assert [one.parts["memory"] for one in paid] == pytest.approx([0.5 * 4 / 5, 0.5 * 1 / 5, 0.0])
    assert paid[0].total == pytest.approx(1 - 0.4)


def test_an_unknown_memory_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"rewards.memory_by must be one of words, skill, got 'topic'"):
        preset("paper", memory_by="topic")
