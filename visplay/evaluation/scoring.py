"""Score a completion: parse the boxed answer and compare it by the gold's rule, without guessing.

The comparison is the one that rewards use (`rewards.equivalent`). This module adds what benchmarks need: a
precision, or a tolerance relative to the gold number.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import rewards
from rewards.answers.choices import yes_or_no
from rewards.answers.cleaning import plain
from rewards.answers.equivalence import answer_form
from rewards.answers.quantities import Quantity, parse_quantity
from visplay.evaluation.items import Gold

SCORER = "3"  # increased whenever a verdict may change, so that stored samples are scored again
Status = Literal["ok", "unparsed", "truncated", "engine_error", "judge_error"]
FAILED: tuple[Status, ...] = ("engine_error", "judge_error")  # these say nothing about the model
_PICTURE = re.compile(r"<image[ _]?(\d{1,2})>")  # an option that is a picture
_LONGEST_NUMBER = 64  # characters
_DECIMALS = re.compile(r"[+-]?\d*\.(\d{3,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of a completion.

    Attributes:
        status: `ok` if an answer was parsed; `truncated` if there is none because the length limit cut it
            off; `unparsed` if there is none for another reason; `engine_error` and `judge_error` if the
            engine or the judge failed.
        answer: the boxed text, or None.
        score: 0 to 1; None for the two errors.
        stage: the rule that decided.
    """

    status: Status
    answer: str | None
    score: float | None
    stage: str

    @property
    def correct(self) -> bool:
        """Whether the answer counts as right."""
        return self.score is not None and self.score >= 0.5


def score_output(
    text: str, gold: Gold, *, cut: bool, form: rewards.AnswerForm = "boxed", question: str | None = None
) -> Score:
    """Score one completion; with the rule `judge` the status is `judge_error` until a judge has graded it.

    Args:
        text: the model's output, untrusted.
        gold: the reference.
        cut: whether the length limit ended the completion.
        form: where the prompt asks for the answer.
        question: the question; see `rewards.equivalent`.
    """
    answer = rewards.extract_answer(text, form)
    if gold.rule == "judge":
        # Free text needs no box; a truncated completion without a box has no answer to judge.
        if answer is None and (cut or not text.strip()):
            return Score(status="truncated" if cut else "unparsed", answer=None, score=0.0, stage="empty")
        return Score(status="judge_error", answer=answer, score=None, stage="unjudged")
    if answer is None:
        return Score(status="truncated" if cut else "unparsed", answer=None, score=0.0, stage="empty")
    said: str | None = answer
    if gold.rule == "yes_no":  # whatever follows: `Yes, 4 lines`
        said = yes_or_no(plain(answer).lower())
    if said is None:
        return Score(status="unparsed", answer=answer, score=0.0, stage="neither yes nor no")
    verdicts = [compare(said, one, gold, question=question) for one in gold.answers]
    first = next((verdict for verdict in verdicts if verdict.equal), verdicts[0])
    return Score(status="ok", answer=answer, score=float(first.equal), stage=first.stage)


def compare(answer: str, right: str, gold: Gold, *, question: str | None = None) -> rewards.Verdict:
    """Compare an answer with one right answer by the rule of the gold."""
    options = tuple(_PICTURE.sub(r"image \1", option) for option in gold.options)
    answer = _PICTURE.sub(r"image \1", answer)
    if gold.rule == "choice" and options:
        form = answer_form(answer, question=question, options=options)
        return rewards.Verdict(
            equal=form.key == f"letter:{right}", stage="letter" if form.kind == "letter" else "text"
        )
    verdict = rewards.equivalent(answer, right, question=question, options=options or None)
    if verdict.equal or gold.rule not in ("number", "open", "relaxed"):
        return verdict
    if _says_less(answer, right, question):
        return rewards.Verdict(equal=True, stage=verdict.stage)
    found, wanted = _quantity(answer), _quantity(right)
    if found is None or wanted is None:
        return verdict
    if gold.rule == "relaxed" and gold.tolerance is not None:
        return rewards.Verdict(equal=_near(found, wanted, share=gold.tolerance), stage="relaxed")
    if gold.decimals is not None:
        exact = gold.rule == "open"  # digits must remain to compare, because no column gives their number
        near = _at_precision(found, wanted, decimals=gold.decimals, two_digits=exact)
        return rewards.Verdict(equal=near, stage="precision")
    return verdict


def _says_less(answer: str, right: str, question: str | None) -> bool:
    """Whether two answers agree if one omits what the question or its picture may already state.

    These pairs agree: a number with and without unit or name, a list with and without the brackets that make
    its order count, a fraction and its value to three or more decimals, a sum and its value.
    """
    if max(len(answer), len(right)) > _LONGEST_NUMBER:
        return False
    found, wanted = _quantity(answer), _quantity(right)
    if found and wanted:
        bare = (found.unit is None) != (wanted.unit is None)
        if bare and wanted.value in _values_in(found, wanted):
            return True
        decimal = _DECIMALS.fullmatch(plain(answer))
        rounded = decimal and wanted.value.denominator > 1 and "." not in right and wanted.unit == found.unit
        return bool(rounded and decimal and round(wanted.value, len(decimal[1])) == found.value)
    forms = [answer_form(text, question=question) for text in (answer, right)]
    if all(form.bare for form in forms) and forms[0].bare == forms[1].bare:
        return any(form.key == f"value:{form.bare}" for form in forms)
    for said, other in ((answer, plain(right)), (right, plain(answer))):
        inside = plain(said)
        if (
            other[:1] in ("(", "[")
            and inside[:1] not in ("(", "[", "{", "\\")
            and re.search("[,;]|and", inside)
        ):
            bracketed = f"{other[0]}{inside.replace(' and ', ', ')}{other[-1]}"
            if rewards.equivalent(bracketed, other, question=question).equal:
                return True
    sum_of, equals, result = plain(answer).rpartition("=")
    plainly = bool(equals) and re.fullmatch(r"[\d\s.+*/()=-]+", sum_of) is not None
    return plainly and rewards.equivalent(result, right, question=question).equal


def _values_in(found: Quantity, wanted: Quantity) -> tuple[Fraction, ...]:
    """The values that a number may have in the unit of another; empty if the units do not agree.

    A missing unit matches any unit, because the question names it. If the other number has no unit, p % is p
    and also p / 100. A number without a unit is never rescaled to match another one without a unit.
    """
    if found.thing != wanted.thing and found.thing and wanted.thing:
        return ()
    if found.unit and wanted.unit:
        same = found.unit.dimension == wanted.unit.dimension
        return (found.value * found.unit.factor / wanted.unit.factor,) if same else ()
    unit = found.unit or wanted.unit
    if unit is not None and unit.dimension == (("%", 1),):
        return found.value, found.value / 100 if found.unit else found.value * 100
    return (found.value,)


def _quantity(text: str) -> Quantity | None:
    clean = plain(text) if len(text) <= _LONGEST_NUMBER else ""
    return parse_quantity(clean) if clean else None


def _near(found: Quantity, wanted: Quantity, *, share: float) -> bool:
    """Whether a number is within a relative tolerance of the gold number (ChartQA, arXiv 2203.10244).

    Charts may state `in millions` beside their numbers: an answer may give a magnitude that the gold omits.
    """
    values = _values_in(found, wanted)
    if found.written is not None and wanted.written is None:
        values += _values_in(replace(found, value=found.written), wanted)
    limit = Fraction(str(share)) * abs(wanted.value)
    return any(abs(value - wanted.value) <= limit for value in values)


def _at_precision(found: Quantity, wanted: Quantity, *, decimals: int, two_digits: bool) -> bool:
    """Whether two numbers with compatible units agree to half a unit of the last decimal."""
    if two_digits and abs(wanted.value) < Fraction(10) ** (1 - decimals):
        return False
    limit = Fraction(1, 2) / Fraction(10) ** decimals
    return any(
        abs(value - wanted.value) <= limit and value * wanted.value >= 0
        for value in _values_in(found, wanted)
    )
