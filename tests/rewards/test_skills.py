"""What a question asks for, apart from the things it asks about."""

import pytest

from rewards import skill
from rewards.skills import skill_shares


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
