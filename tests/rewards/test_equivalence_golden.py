"""Every row of the hand-made table of answer pairs; its policy is docs/answer-equivalence.md."""

import itertools
from pathlib import Path

import pytest

from rewards import equivalent
from rewards.answers.equivalence import answer_form

TABLE = Path(__file__).parents[1] / "golden" / "answer_pairs.tsv"


def rows():
    table = []
    for number, line in enumerate(TABLE.read_text(encoding="utf-8").splitlines()[1:], start=2):
        policy, a, b, equal, options, question = [*line.split("\t"), "", ""][:6]
        row = pytest.param(
            a,
            b,
            {"yes": True, "no": False}[equal],
            options.split("|") if options else None,
            question or None,
            id=f"line {number}: {policy}",
        )
        table.append(row)
    return table


@pytest.mark.parametrize(("a", "b", "equal", "options", "question"), rows())
def test_golden_pair(a, b, equal, options, question):
    verdict = equivalent(a, b, options=options, question=question)
    assert verdict.equal is equal, verdict
    assert equivalent(b, a, options=options, question=question) == verdict


def test_equality_is_an_equivalence_on_all_texts_of_the_table():
    texts = sorted({text for row in rows() for text in row.values[:2]})
    classes: dict[str, list[str]] = {}
    for text in texts:
        classes.setdefault(answer_form(text).key, []).append(text)
    classes.pop("", None)
    for members in classes.values():
        first, last = members[0], members[-1]
        assert all(equivalent(one, one).equal for one in members)
        assert all(equivalent(first, one).equal and equivalent(one, first).equal for one in members)
        assert equivalent(first, last).equal and equivalent(last, first).equal
    leaders = [members[0] for members in classes.values()]
    assert not any(equivalent(one, other).equal for one, other in itertools.pairwise(leaders))


def test_the_table_is_as_large_as_it_says():
    assert len(rows()) >= 150
