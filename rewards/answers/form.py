"""What an answer is, in canonical form, and when two forms are the same without any parser."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rewards.answers.quantities import Quantity, parse_quantity, same_quantity
from rewards.answers.units import Unit

Kind = Literal[
    "empty", "letter", "yes_no", "number", "ordinal", "time", "date", "range", "size", "ratio", "code",
    "equation", "named", "list", "math", "text",
]  # fmt: skip

_JOINED = re.compile(
    r"(?<=[\d)}\].])\s*(?:[+*/\u00d7÷-]|\\(?:cdot|times|div)(?![a-z]))\s*(?=[\d({\[.\\+-])|\\frac"
)
_VARIABLE = re.compile(r"[A-DF-HJ-Za-df-hj-z]")  # e and i are numbers
_NAME = re.compile(r"(?:\\?[A-Za-z]+\s*){1,3}(?:_\{?\w+\}?)?'?(?:\([^()]*\))?")
_SUBSCRIPT = re.compile(r"_\{[^{}]*\}")
_CLOSED = re.compile(r"(?:[\d\s.,()\[\]{}+*/\u00d7÷^-]|\\(?:cdot|times|div|frac)(?![a-z]))*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """An answer in canonical form; two forms with the same kind and key are the same answer.

    Attributes:
        kind: what the answer is.
        key: its canonical text.
        quantity: set for numbers.
        items: of a list, range or equation its parts; of a lettered text the text.
        bracket: of a list: empty, `{}`, `()`, `[]`, `(]` or `[)`; of an equation its sign.
        latex: the cleaned text without its unit, for the mathematics stage.
        name: what the value is of, `x` in `x = 5`; of a letter the letter.
        unit: of mathematics; that of a number is in its quantity.
    """

    kind: Kind
    key: str
    quantity: Quantity | None = None
    items: tuple["Form", ...] = ()
    bracket: str = ""
    latex: str = ""
    name: str = ""
    unit: Unit | None = None

    @property
    def mathematical(self) -> bool:
        """Whether the mathematics stage may be asked about it."""
        if self.kind in ("list", "named"):
            return all(item.mathematical for item in self.items)
        return self.kind in ("math", "number")

    @property
    def counts(self) -> Unit | None:
        """The unit of a number or of mathematics."""
        return self.quantity.unit if self.quantity else self.unit

    @property
    def arithmetic(self) -> bool:
        """Whether plain numbers stand joined by signs, not worked out: `3 + 4`, `2^2 * 3`."""
        return bool(self.kind == "math" and _CLOSED.fullmatch(self.latex) and _JOINED.search(self.latex))


def number_form(quantity: Quantity, *, name: str = "") -> Form:
    """The form of a number."""
    rounded = f"|{quantity.decimals}" if (quantity.decimals or 0) > 2 else ""
    unit = quantity.unit
    counted = f"{unit.readings}{'!' if unit.strict else ''}" if unit else ""
    key = f"{name}={quantity.value}|{counted}{rounded}"
    return Form(kind="number", key=key, quantity=quantity, latex=quantity.latex, name=name)


def same(a: Form, b: Form, *, tolerance: float | None = None) -> bool | None:
    """Compares two forms; None where only mathematics could tell."""
    if a.kind == b.kind:
        if a.key == b.key:
            return a.kind != "empty"
        if a.kind == "letter":
            return a.name == b.name and (not a.items or not b.items or bool(same(a.items[0], b.items[0])))
        if a.quantity and b.quantity:
            named_apart = a.name and b.name and a.name != b.name
            return not named_apart and same_quantity(a.quantity, b.quantity, tolerance=tolerance)
        if a.kind in ("range", "size", "equation"):
            alike = a.bracket == b.bracket and len(a.items) == len(b.items)
            return alike and all(same(x, y) for x, y in zip(a.items, b.items, strict=True))
        if a.kind == "list":
            return _same_list(a, b, tolerance)
        if a.kind == "named":
            alike = [item.name for item in a.items] == [item.name for item in b.items]
            return alike and _all(a, b, tolerance)
    for one, other in ((a, b), (b, a)):
        if one.kind == "letter" and one.items:
            return same(one.items[0], other, tolerance=tolerance) if other.kind != "letter" else False
        if one.kind == "equation" and one.bracket == "=" and other.kind == "number":
            last = one.items[-1]
            value = parse_quantity(last.latex) if last.kind == "text" else last.quantity
            return bool(value and same(number_form(value), other, tolerance=tolerance))
        if one.kind == "named" and other.kind == "list" and other.bracket in ("", "()", "[]"):
            # x = 1, y = 2 is (1, 2), in the order of the alphabet; so a bare list's order counts here.
            lettered = all(re.fullmatch(r"[A-Za-z]\d?", item.name) for item in one.items)
            return lettered and len(one.items) == len(other.items) and _all(one, other, tolerance)
    return _open(a, b)


def _open(a: Form, b: Form) -> bool | None:
    """None where mathematics may compare two forms of which the fast path knows nothing."""
    kinds = a.kind, b.kind
    if "math" not in kinds or not ((a.mathematical and b.mathematical) or "letter" in kinds):
        return False
    bounds = [
        one for one, other in ((a, b), (b, a)) if one.kind == "math" and other.kind in ("list", "named")
    ]
    if any(
        "<" in one.latex or ">" in one.latex or r"\l" in one.latex or r"\g" in one.latex for one in bounds
    ):
        return None if {a.bracket, b.bracket} & {"()", "[]", "(]", "[)"} else False
    if any(_says_more(one) and "=" not in other.latex for one, other in ((a, b), (b, a))):
        return False  # x + 1 = 2 is not 2
    if a.arithmetic and b.arithmetic:
        return False  # as they are written: 3 * 4 and 2 * 6 are different factors, whatever their product
    if a.name and b.name and a.name != b.name and "letter" not in kinds:
        return False
    if a.counts and b.counts:
        return None if a.counts.factors(b.counts) else False
    strict = (a.counts and a.counts.strict) or (b.counts and b.counts.strict)
    return False if strict else None


def _says_more(form: Form) -> bool:
    """Whether an equation is more than a name for its right side: `x + 1 = 2`, `x = y`, and not `y = 2x`."""
    left, equals, right = _SUBSCRIPT.sub("", form.latex).partition("=")
    if not equals or left[-1:] in ("<", ">", "!"):
        return False
    return _NAME.fullmatch(left.strip()) is None or _VARIABLE.fullmatch(right.strip()) is not None


def _all(a: Form, b: Form, tolerance: float | None) -> bool | None:
    """Items in their order; the names of the items do not matter here."""
    left, right = ([replace(item, name="") for item in form.items] for form in (a, b))
    verdicts = [same(x, y, tolerance=tolerance) for x, y in zip(left, right, strict=True)]
    return _joint(verdicts, a, b)


def _joint(verdicts: Sequence[bool | None], a: Form, b: Form) -> bool | None:
    if all(verdicts):
        return True
    return None if False not in verdicts and a.mathematical and b.mathematical else False


def _same_list(a: Form, b: Form, tolerance: float | None) -> bool | None:
    brackets = {a.bracket, b.bracket}
    # A bare list has no order of its own; beside `[1, 2]`, how data write lists, it is read as written.
    unordered = brackets <= {"", "{}"} or brackets == {"", "()"}
    if len(brackets) > 1 and brackets not in ({"", "{}"}, {"", "()"}, {"", "[]"}):
        return False
    if len(a.items) != len(b.items):
        return False
    if unordered:
        return _joint(_matched(a.items, b.items, tolerance), a, b)
    return _all(a, b, tolerance)


def _matched(left: Sequence[Form], right: Sequence[Form], tolerance: float | None) -> list[bool | None]:
    """True for each pair of equals; for what is left over on either side, None where it may have one."""
    free, single = list(right), []
    for item in left:
        equal = next(
            (place for place, other in enumerate(free) if same(item, other, tolerance=tolerance)), None
        )
        if equal is None:
            single.append(item)
        else:
            free.pop(equal)
    unsure = [[same(item, other, tolerance=tolerance) is None for other in free] for item in single]
    hopeful = [any(row) for row in (*unsure, *zip(*unsure, strict=True))]
    return [True] * (len(left) - len(single)) + [None if maybe else False for maybe in hopeful]
