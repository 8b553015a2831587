"""Do two answers say the same? Cheapest stage first, and the verdict names the stage that decided."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache

_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?")
_LETTER = re.compile(r"\(?([A-Za-z])[.):]?\)?(\s.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether two answers are equivalent, and which stage decided.

    Attributes:
        equal: the decision.
        stage: `empty`, `letter`, `yes_no`, `number`, `text`, `math`, `judge` and the like.
    """

    equal: bool
    stage: str


def equivalent(
    a: str | None, b: str | None, *, options: Sequence[str] | None = None, tolerance: float | None = None
) -> Verdict:
    """Decides whether two answers are the same answer; symmetric in a and b.

    Args:
        a: an answer, untrusted; None for unparsed, which is equivalent to nothing.
        b: the other one.
        options: texts of a multiple-choice question's options, A first.
        tolerance: relative tolerance between numbers, e.g. 0.05; None for exact.
    """
    if a is None or b is None:
        return Verdict(equal=False, stage="empty")
    labels = tuple(options) if options else ()
    left, right = _canonical(a, labels), _canonical(b, labels)
    if left[0] == right[0] == "number" and tolerance is not None:
        x, y = float(left[1]), float(right[1])
        return Verdict(equal=abs(x - y) <= tolerance * max(abs(x), abs(y)), stage="number")
    return Verdict(equal=left == right, stage=left[0])


@lru_cache(maxsize=65536)
def _canonical(text: str, options: tuple[str, ...]) -> tuple[str, str]:
    plain = unicodedata.normalize("NFKC", text).strip().strip("$").rstrip(".").strip()
    folded = " ".join(plain.casefold().split())
    for index, option in enumerate(options):
        if folded == " ".join(option.casefold().split()):
            return "letter", chr(65 + index)
    letter = _LETTER.fullmatch(plain)
    if letter and (options or not letter.group(2)):
        return "letter", letter.group(1).upper()
    if folded in ("yes", "true"):
        return "yes_no", "yes"
    if folded in ("no", "false"):
        return "yes_no", "no"
    if len(plain) < 64 and _NUMBER.fullmatch(plain):
        try:
            return "number", str(Decimal(plain.replace(",", "")).normalize())
        except InvalidOperation:
            pass
    return "text", folded
