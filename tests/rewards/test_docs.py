"""What the page on equivalence promises, line by line."""

import re
from pathlib import Path

import pytest

from rewards import equivalent

PAGE = (Path(__file__).parents[2] / "docs" / "answer-equivalence.md").read_text(encoding="utf-8")
FORMS = re.findall(r"^\| (.+?) \| `(.+?)` = `(.+?)` \| `(.+?)` ≠ `(.+?)` \|$", PAGE, re.MULTILINE)
ASKED = re.findall(r'"(.+?)": `(.+?)` = `(.+?)` \|$', PAGE, re.MULTILINE)


@pytest.mark.parametrize(("form", "a", "b", "c", "d"), FORMS)
def test_a_form_has_an_example_of_equal_and_of_unequal(form, a, b, c, d):
    assert equivalent(a, b).equal
    assert not equivalent(c, d).equal


@pytest.mark.parametrize(("question", "a", "b"), ASKED)
def test_a_question_adds_what_the_page_says(question, a, b):
    assert equivalent(a, b, question=question).equal
    assert not equivalent(a, b).equal


def test_the_page_lists_the_forms():
    assert len(FORMS) == PAGE.count("≠") and len(FORMS) >= 40
    assert len(ASKED) == 6
