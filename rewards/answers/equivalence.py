"""Do two answers say the same? Each has a key, and they are the same where their keys are.

So equality is symmetric and transitive, and a vote needs no comparisons.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rewards.answers.choices import bare_letter, option_label, option_place, pieces, unlabelled, with_label
from rewards.answers.cleaning import unwrapped, without_lead_in
from rewards.answers.forms import Form, Reader
from rewards.answers.questions import Asked, asked

_LONGEST, _LONGEST_OPTION, _LONGEST_CACHED = 200, 2000, 4000


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
    a: str | None, b: str | None, *, question: str | None = None, options: Sequence[str] | None = None
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
    """The canonical form of an answer, which never raises; see `equivalent` for what the arguments say."""
    read = _answer_form.__wrapped__ if len(text) > _LONGEST_CACHED else _answer_form
    return read(text, question or None, options)


@lru_cache(maxsize=65_536)
def _answer_form(text: str, question: str | None, options: tuple[str, ...]) -> Form:
    if options and (chosen := _chosen(text, options, question)):
        return Form(f"letter:{chosen}")
    return _form(text, asked(question), alone=not options)


def _chosen(text: str, options: tuple[str, ...], question: str | None) -> str:
    """The labels of the options that an answer names: of one, else of several, else an empty text."""
    clean = unwrapped(text) if len(text) <= _LONGEST_OPTION else text
    for said in dict.fromkeys((text, clean, without_lead_in(clean))):
        if (place := _one_of(said, options, question)) is not None:
            return option_label(place)
    parts = pieces(without_lead_in(clean)) if len(clean) <= _LONGEST else []
    named = [place for part in parts if (place := _one_of(part, options, question)) is not None]
    places = named if asked(question).in_order else sorted(set(named))
    return ",".join(map(option_label, places)) if len(named) == len(parts) else ""


def _one_of(said: str, options: tuple[str, ...], question: str | None) -> int | None:
    """By an option's own text, by a label alone, by a label with that option's text, then by the rules."""
    if (place := _by_text(said, options, question)) is not None or len(said) > _LONGEST_OPTION:
        return place
    label = bare_letter(said) if len(said) <= _LONGEST else ""
    if label and option_place(label) < len(options):
        return option_place(label)
    for label, rest in with_label(said):
        place = option_place(label)
        named = _by_text(rest, options, question)
        if place < len(options) and place == (_by_rules(rest, options, question) if named is None else named):
            return place
    return _by_rules(said, options, question)


def _by_text(said: str, options: tuple[str, ...], question: str | None) -> int | None:
    """The option that the answer repeats word for word, or up to capitals."""
    texts, squeezed = [exact for exact, _, _ in _option_keys(options, question)], _squeezed(said)
    place = _only(texts, squeezed)
    return _only([text.lower() for text in texts], squeezed.lower()) if place is None else place


def _by_rules(said: str, options: tuple[str, ...], question: str | None) -> int | None:
    keys = _option_keys(options, question)
    form = _form(said, asked(question), alone=False)
    if (place := _only([key for _, key, _ in keys], form.key)) is not None or not form.bare:
        return place
    bare = form.key == f"value:{form.bare}"  # a number without a unit, where each option has one
    measured = all(key != f"value:{core}" for _, key, core in keys)
    return _only([core for _, _, core in keys], form.bare) if bare and measured else None


def _only(keys: Sequence[str], key: str) -> int | None:
    return keys.index(key) if key and keys.count(key) == 1 else None


def _squeezed(text: str) -> str:
    return " ".join(text.split()).rstrip(". ").strip()


@lru_cache(maxsize=4096)
def _option_keys(options: tuple[str, ...], question: str | None) -> tuple[tuple[str, str, str], ...]:
    """The text, the key, and the number without unit of each option."""
    texts = unlabelled([unwrapped(one) if len(one) <= _LONGEST_OPTION else one for one in options])
    forms = [_form(text, asked(question), alone=False) for text in texts]
    return tuple((_squeezed(text), form.key, form.bare) for text, form in zip(texts, forms, strict=True))


def _form(text: str, question: Asked, *, alone: bool) -> Form:
    if len(text) > _LONGEST:
        key = " ".join(text.lower().split())
        return Form(f"text:{key}" if key else "")
    whole = unwrapped(text)
    single = whole[:1] not in "([" or re.match(r"\([A-Z]\)", whole)
    if alone and single and re.search(r"\band\b|[,;&\n和与及、]", whole):
        letters = [bare_letter(part) for part in pieces(whole)]
        if all(letters) and 1 < len(letters) == len(set(letters)):
            return Form(f"list:seq{letters}" if question.in_order else f"list:{{}}{sorted(letters)}")
    return Reader(question).form(without_lead_in(whole), alone=alone)
