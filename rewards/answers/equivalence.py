"""Do two answers say the same? Each has a key, and they are the same where their keys are.

So equality is symmetric and transitive, and a vote needs no comparisons.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rewards.answers.choices import bare_letter, option_label, option_place, pieces, unlabelled, with_label
from rewards.answers.cleaning import UNIT_MARK, unwrapped, without_lead_in
from rewards.answers.forms import Form, Reader
from rewards.answers.questions import Asked, asked
from rewards.answers.units import known_unit

_LONGEST, _LONGEST_OPTION, _LONGEST_CACHED = 200, 2000, 4000
_ONE_LETTER_UNIT = re.compile(r"(.*[\d)}])\s*([A-Za-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether two answers are equivalent, and what decided.

    Attributes:
        equal: the decision.
        stage: the kind of the two answers, `text` where their kinds differ, `empty` where one is missing.
    """

    equal: bool
    stage: str


def equivalent(
    a: str | None,
    b: str | None,
    *,
    question: str | None = None,
    options: Sequence[str] | None = None,
) -> Verdict:
    """Decides whether two answers are the same answer; never raises on their text.

    Args:
        a: an answer, untrusted; None for unparsed, which is equivalent to nothing.
        b: the other one.
        question: what was asked: `3 dogs` is `3` where it counts dogs, `5 cm` is `5` where it asks for cm.
        options: texts of a multiple-choice question's options, A first.
    """
    if a is None or b is None:
        return Verdict(equal=False, stage="empty")
    labels = tuple(options) if options is not None else ()
    left, right = (answer_form(text, question=question, options=labels) for text in (a, b))
    equal = bool(left.key) and left.key == right.key
    return Verdict(equal=equal, stage=left.kind if left.kind == right.kind else "text")


def answer_form(text: str, *, question: str | None = None, options: tuple[str, ...] = ()) -> Form:
    """The canonical form of an answer; never raises, whatever the text.

    Args:
        text: an answer, untrusted.
        question: what was asked; None for unknown.
        options: texts of a multiple-choice question's options, A first.
    """
    read = _answer_form.__wrapped__ if len(text) > _LONGEST_CACHED else _answer_form
    return read(text, question or None, options)


@lru_cache(maxsize=65_536)
def _answer_form(text: str, question: str | None, options: tuple[str, ...]) -> Form:
    if options and (chosen := _chosen(text, options, question)):
        return Form(f"letter:{chosen}")
    return _form(text, asked(question), alone=not options)


def _chosen(text: str, options: tuple[str, ...], question: str | None) -> str:
    """The labels of the options that an answer names, or an empty text.

    By a label alone, by an option's own text, by a label with that option's text, then by the rules, and last
    as several options, each named in one of these ways.
    """
    clean = unwrapped(text) if len(text) <= _LONGEST_OPTION else text
    for said in dict.fromkeys((text, clean, without_lead_in(clean))):
        if (place := _one_of(said, options, question)) is not None:
            return option_label(place)
    parts = pieces(without_lead_in(clean)) if len(clean) <= _LONGEST else []
    named = [place for part in parts if (place := _one_of(part, options, question)) is not None]
    return ",".join(map(option_label, sorted(set(named)))) if len(named) == len(parts) else ""


def _one_of(said: str, options: tuple[str, ...], question: str | None) -> int | None:
    label = bare_letter(said) if len(said) <= _LONGEST else ""
    if label and option_place(label) < len(options):
        return option_place(label)
    texts = [exact for exact, _, _ in _option_keys(options, question)]
    if (place := _only(texts, _squeezed(said))) is not None:
        return place
    if (place := _only([text.lower() for text in texts], _squeezed(said).lower())) is not None:
        return place
    if len(said) > _LONGEST_OPTION:
        return None
    for label, rest in with_label(said):
        place = option_place(label)
        if place < len(options) and place == _by_rules(rest, options, question):
            return place
    return _by_rules(said, options, question)


def _by_rules(said: str, options: tuple[str, ...], question: str | None) -> int | None:
    keys = _option_keys(options, question)
    squeezed = _squeezed(said).lower()
    if (place := _only([exact.lower() for exact, _, _ in keys], squeezed)) is not None:
        return place
    form = _form(said, asked(question), alone=False)
    if (place := _only([key for _, key, _ in keys], form.key)) is not None or not form.bare:
        return place
    bare = form.key == f"value:{form.bare}"  # a number without a unit, where each option has one
    if bare and all(key != f"value:{core}" for _, key, core in keys):
        return _only([core for _, _, core in keys], form.bare)
    return None


def _only(keys: Sequence[str], key: str) -> int | None:
    return list(keys).index(key) if key and list(keys).count(key) == 1 else None


def _squeezed(text: str) -> str:
    return " ".join(text.split()).rstrip(". ").strip()


@lru_cache(maxsize=4096)
def _option_keys(options: tuple[str, ...], question: str | None) -> tuple[tuple[str, str, str], ...]:
    """Of each option its own text, its key, and its number without its unit."""
    texts = list(
        unlabelled([unwrapped(option) if len(option) <= _LONGEST_OPTION else option for option in options])
    )
    measured = [_ONE_LETTER_UNIT.fullmatch(text) for text in texts]
    read = list(texts)
    if len({found and found[2] for found in measured}) == 1 and measured[0] and known_unit(measured[0][2]):
        read = [f"{found[1]} {UNIT_MARK}{found[2]}" for found in measured if found]  # 3\sqrt{2}m, 6m
    forms = [_form(text, asked(question), alone=False) for text in read]
    exact = [_squeezed(text.replace(UNIT_MARK, "")) for text in texts]
    return tuple((text, form.key, form.bare) for text, form in zip(exact, forms, strict=True))


def _form(text: str, question: Asked, *, alone: bool) -> Form:
    if len(text) > _LONGEST:
        key = " ".join(text.lower().split())
        return Form(f"text:{key}" if key else "")
    whole = unwrapped(text)
    if alone:
        parts = pieces(whole)
        letters = [bare_letter(part) for part in parts]
        if (
            1 < len(parts) == len({*letters} - {""})
            and re.search(r"\band\b|[,&和与及、]", whole)
            and whole[:1] not in "(["
        ):
            return Form("list:{}" + str(sorted(f"letter:{letter}" for letter in letters)))
    return Reader(question).form(without_lead_in(whole), alone=alone)
