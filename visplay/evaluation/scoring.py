"""From a completion to a verdict: read the boxed answer, compare it by the gold's rule, never guess.

The comparison is the one that rewards use (`rewards.equivalent`); what a benchmark adds to it, a precision or
a tolerance relative to the gold number, is here.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import rewards
from rewards.answers.cleaning import plain
from rewards.answers.equivalence import answer_form
from rewards.answers.quantities import Quantity, parse_quantity
from visplay.evaluation.items import Gold

SCORER = "3"  # rises whenever a verdict may change, so that stored samples are scored again
Status = Literal["ok", "unparsed", "truncated", "engine_error", "judge_error"]
FAILED: tuple[Status, ...] = ("engine_error", "judge_error")  # these say nothing about the model
_PICTURE = re.compile(r"<image[ _]?(\d{1,2})>")  # an option that is a picture
_LONGEST_NUMBER = 64  # characters
_DECIMALS = re.compile(r"[+-]?\d*\.(\d{3,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What an output is worth.

    Attributes:
        status: `ok` where an answer was read; `truncated` where there is none because the length limit cut
            it off; `unparsed` where there is none otherwise; `engine_error` and `judge_error` where it is
            not the model that failed.
        answer: the boxed text, None where there is none.
        score: 0 to 1; None for the two errors.
        stage: what decided.
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
    """Score one completion; a rule `judge` is left for the judge, as `judge_error` until it has spoken.

    Args:
        text: what the model wrote, untrusted.
        gold: what it is held against.
        cut: whether the length limit ended it.
        form: where the prompt asked for the answer.
        question: what was asked; see `rewards.equivalent`.
    """
    answer = rewards.extract_answer(text, form)
    if gold.rule == "judge":
        # Free text needs no box; an answer that was cut off before it has nothing to judge.
        if answer is None and (cut or not text.strip()):
            return Score(status="truncated" if cut else "unparsed", answer=None, score=0.0, stage="empty")
        return Score(status="judge_error", answer=answer, score=None, stage="unjudged")
    if answer is None:
        return Score(status="truncated" if cut else "unparsed", answer=None, score=0.0, stage="empty")
    if gold.rule == "yes_no" and answer_form(answer).kind != "yes_no":
        return Score(status="unparsed", answer=answer, score=0.0, stage="neither yes nor no")
    verdicts = [compare(answer, one, gold, question=question) for one in gold.answers]
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
        exact = gold.rule == "open"  # digits must be left to compare, where no column says how many there are
        near = _at_precision(found, wanted, decimals=gold.decimals, two_digits=exact)
        return rewards.Verdict(equal=near, stage="precision")
    return verdict


def _says_less(answer: str, right: str, question: str | None) -> bool:
    """Whether one of two says the same without what a question or its picture may have said before.

    A number without the unit or the name that the other has; a list without the brackets that say that its
    order counts; a fraction rounded to three or more decimals; the value of a sum written out.
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
    """The values that a number may have in the unit of another; none where the units do not agree.

    A missing unit matches any, for a benchmark's question names it. p % is p, and also p / 100, where the
    other number is bare; a bare number is never multiplied to meet a bare one.
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
    """Whether a number is within a share of the gold number's magnitude (ChartQA, arXiv 2203.10244).

    Charts say `in millions` beside their numbers: where the gold has no magnitude, an answer may say it.
    """
    values = _values_in(found, wanted)
    if found.written is not None and wanted.written is None:
        values += _values_in(replace(found, value=found.written), wanted)
    limit = Fraction(str(share)) * abs(wanted.value)
    return any(abs(value - wanted.value) <= limit for value in values)


def _at_precision(found: Quantity, wanted: Quantity, *, decimals: int, two_digits: bool) -> bool:
    """Whether two numbers agree to half a unit of the last decimal, the units allowing it."""
    if two_digits and abs(wanted.value) < Fraction(10) ** (1 - decimals):
        return False
    limit = Fraction(1, 2) / Fraction(10) ** decimals
    return any(
        abs(value - wanted.value) <= limit and value * wanted.value >= 0
        for value in _values_in(found, wanted)
    )
