"""Numbers as people write them: digits, words, fractions, percent, magnitudes, units -> value and unit."""

import re
from dataclasses import dataclass
from fractions import Fraction

from rewards.answers.numerals import NO_NOUNS, SCALES, Read, read_han, read_words
from rewards.answers.units import Unit, known_unit

_LONGEST = 64
_MAX_EXPONENT = 300
_NOT_COUNTED_TEXT = (
    "and or of to by x plus minus than out per vs in on at for not times from with is below above zero over "
    "under about more less most least off pi theta alpha beta gamma delta lambda mu phi psi omega sigma rho "
    "tau epsilon eta infinity inf e mod am pm bc ad remainder r sqrt log sin cos tan ln exp factorial "
    "degrees the a an n no if then but as each ones tens dozens"
)
_NOT_COUNTED = frozenset(_NOT_COUNTED_TEXT.split())
_ABOUT = re.compile(
    r"(?:about|approximately|approx\.?|around|roughly|exactly|≈|~(?=\s*\d)|\\approx|[约約])\s*", re.IGNORECASE
)
_MINUS = re.compile(r"(?:(?:minus|negative)\s+|负)", re.IGNORECASE)
_MIXED = re.compile(
    r"(\d{1,15})(?:\s+|\s*(?=\\))(?:(\d{1,15})\s*/\s*(\d{1,15})|\\frac\s*\{(\d{1,15})\}\s*\{(\d{1,15})\})"
)
_FRACTION = re.compile(
    r"(\d{1,15})\s*/\s*(\d{1,15})(?![\d/])|\\frac\s*\{\s*([+-]?\d{1,15})\s*\}\s*\{\s*(\d{1,15})\s*\}"
    r"|\\frac\s*(\d)\s*(\d)"
)
_REPEATING = re.compile(r"(\d{0,9})\.(\d{0,9})(?:\\(?:overline|bar|dot)\s*\{(\d{1,9})\}|\((\d{1,9})\)(?!\d))")
_DOTS = re.compile(r"(\d{0,9})\.(\d{0,9}?)(\d{1,6}?)\3{2,}(?:\.{3}|…|\\[cl]?dots)$")
_DECIMAL = re.compile(
    r"([1-9]\d{0,2}(?:,\d{3})+(?![\d,])|[1-9]\d?(?:,\d{2})+,\d{3}(?!\d)"
    r"|[1-9]\d{0,2}(?: \d{3})+(?!\d)|\d+)?(\.\d*)?"
)
_EXPONENT = re.compile(
    r"[eE]([+-]?\d{1,4})(?![\w.])"
    r"|\s*(?:\u00d7|\\times|\\cdot|\*|[xX])\s*10\s*(?:\^|\*\*)\s*\{?([+-]?\d{1,4})\}?"
)
_POWER_OF_TEN = re.compile(r"10\s*(?:\^|\*\*)\s*(?:\{([+-]?\d{1,4})\}|([+-]?\d{1,4}))(?!\d)")
_THING = re.compile(r"(?:\s+|(?=[^\x00-\u2fff]))[^\W\d_]+(?:[ -][^\W\d_]+){0,2}")
_CURRENCY = re.compile(
    r"([+-]?)\s*(us\$|rs\.?|usd|eur|gbp|jpy|cny|rmb|inr|chf|[$€£¥₹₩₽₿])\s*(?=[\d.+-])", re.IGNORECASE
)
# A letter is a magnitude by case and place: `5k`, `5K`, `5M`, `5 M`; `5 K` is a temperature, `5m` a length,
# and small letters are magnitudes of money only.
_MAGNITUDES = {"k": 10**3, "mn": 10**6, "mln": 10**6, "mil": 10**6, "bn": 10**9, "bln": 10**9, "tn": 10**12}
_MAGNITUDES |= {"trn": 10**12} | SCALES
_LETTERS = {"K": 10**3, "M": 10**6, "B": 10**9, "MM": 10**6}
_OF_MONEY = {"m": 10**6, "b": 10**9, "t": 10**12, "T": 10**12}
_MAGNITUDE = re.compile(r"(\s*)([A-Za-z]+)(?![A-Za-z/^\\\\Ωμ])")
_DECADE = re.compile(r"(?:the\s+)?(?:1\d|20)\d0'?s")
_HAN_MAGNITUDE = re.compile("\\s*([百千]?)([万萬亿億]?)")
_HAN_FACTORS = {"": 1, "百": 10**2, "千": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_MIXED_HAN = re.compile(r"\d+(?:[十百千万萬亿億]\d|分之)")
_PIECE = re.compile(r"(an?|\d+(?:\.\d+)?)\s*([^\W\d]+|')(?:,?\s*(?:and\s+)?|$)")
_MEASURE = frozenset("个個箇개つ")  # a Chinese, Japanese or Korean number has one, whatever is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with its unit.

    Attributes:
        value: as written, magnitudes multiplied in, before any conversion of units; 50 % is 50.
        unit: None where none is said.
        thing: what is counted, in small letters and the singular: `dog`; empty for none.
        written: the value before its magnitude, 1.2 of `1.2 million`; None where there is no magnitude.
    """

    value: Fraction
    unit: Unit | None = None
    thing: str = ""
    written: Fraction | None = None


def parse_quantity(text: str, *, counted: bool = False) -> Quantity | None:
    """Reads a whole text as one number with an optional unit, or gives None.

    Args:
        text: cleaned of LaTeX wrappers; see `rewards.answers.cleaning`.
        counted: whether one to three words of no known unit may say what is counted.
    """
    if not text or len(text) > _LONGEST or _DECADE.fullmatch(text):
        return None
    rest = _ABOUT.sub("", text, count=1) if _ABOUT.match(text) else text
    sign, money = 1, ""
    if _MINUS.match(rest):
        sign, rest = -1, _MINUS.sub("", rest, count=1)
    if rest.startswith("-") and _CURRENCY.match(rest[1:].lstrip()):
        sign, rest = -sign, rest[1:].lstrip()
    if currency := _CURRENCY.match(rest):
        money, rest = currency[2].rstrip("."), currency[1] + rest[currency.end() :]
    if rest.startswith(("+", "-")):
        sign, rest = (-sign if rest[0] == "-" else sign), rest[1:].lstrip()
    mixed = read_han(rest) if _MIXED_HAN.match(rest) else None
    found = mixed or read_words(rest) or _read_digits(rest) or read_han(rest)
    if found is None:
        return _sum_of_units(text)
    value, used = found
    scale, used = _magnitude(rest, used, money=bool(money))
    tail, unit, thing = rest[used:], known_unit(money) if money else None, ""
    if tail.strip() and tail not in _MEASURE:
        said = None if "frac" in rest[:used] and tail[0] not in " \u00b0%" else known_unit(tail)
        per_unit = re.fullmatch(r"\s*(?:/|per\s)\s*(.+)", tail) if money else None
        below = known_unit(per_unit[1]) if per_unit else None
        if unit and below:
            powers = tuple((base, -power) for base, power in below.dimension)
            said = unit = Unit(tuple(sorted((*unit.dimension, *powers))), unit.factor / below.factor)
        if said is None or (unit is not None and unit.dimension != said.dimension):
            apart = tail[0].isspace() or rest[used - 1].isascii()
            thing = _thing(tail) if counted and unit is None and apart else ""
            if not thing:
                return _sum_of_units(text)
        unit = unit or said
    if unit and unit.dimension == (("unit", 1),):
        unit = None  # 5 units
    return Quantity(
        value=sign * value * scale, unit=unit, thing=thing, written=sign * value if scale != 1 else None
    )


def values_in(found: Quantity, wanted: Quantity) -> tuple[Fraction, ...]:
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


def _thing(tail: str) -> str:
    """What is counted, where it is said in plain words: no operator, no numeral, no name of mathematics."""
    if not _THING.fullmatch(tail) or read_han(tail.strip()):
        return ""
    words = tail.casefold().replace("-", " ").split()
    if any(word in _NOT_COUNTED or word in NO_NOUNS or len(word) < 2 for word in words if word.isascii()):
        return ""
    return " ".join(singular(word) for word in words)


def singular(word: str) -> str:
    """`dogs` -> `dog`, `boxes` -> `box`, `people` -> `person`."""
    irregular = {"people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot",
                 "mice": "mouse", "geese": "goose", "teeth": "tooth"}  # fmt: skip
    if word in irregular:
        return irregular[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]


def _magnitude(text: str, used: int, *, money: bool) -> tuple[int, int]:
    """The factor that a magnitude behind the number stands for, and where it ends; 1 without one."""
    if (han := _HAN_MAGNITUDE.match(text, used)) and (han[1] or han[2]):
        return _HAN_FACTORS[han[1]] * _HAN_FACTORS[han[2]], han.end()
    match = _MAGNITUDE.match(text, used)
    if match is None:
        return 1, used
    space, word = match.groups()
    folded = word.casefold().removesuffix("s") if len(word) > 3 else word.casefold()
    if word == "K" and space:
        return 1, used
    if word in _LETTERS:
        return _LETTERS[word], match.end()
    if money and word in _OF_MONEY:
        return _OF_MONEY[word], match.end()
    return (_MAGNITUDES[folded], match.end()) if folded in _MAGNITUDES else (1, used)


def _sum_of_units(text: str) -> Quantity | None:
    """Reads `1 hour 30 minutes`, `an hour and a half`: one dimension, each unit smaller than the last."""
    if half := re.fullmatch(r"(an?\s+[a-z]+)\s+and\s+a\s+half", text):
        whole = _sum_of_units(half[1])
        return Quantity(value=whole.value * 3 / 2, unit=whole.unit) if whole else None
    pieces: list[tuple[Fraction, Unit]] = []
    place = 0
    while match := _PIECE.match(text, place):
        unit = known_unit(match[2])
        if unit is None or (
            pieces and (unit.dimension, False) != (pieces[0][1].dimension, match[1][0] == "a")
        ):
            return None
        if pieces and not unit.factor < pieces[-1][1].factor:
            return None
        pieces.append((Fraction(1) if match[1][0] == "a" else Fraction(match[1]), unit))
        place = match.end()
    if place < len(text) or not pieces or (len(pieces) < 2 and text[0] != "a"):
        return None
    smallest = pieces[-1][1]
    total = sum((value * unit.factor / smallest.factor for value, unit in pieces), Fraction(0))
    return Quantity(value=total, unit=smallest)


def _read_digits(text: str) -> Read | None:
    """Returns the value and the number of characters read."""
    if match := _MIXED.match(text):
        whole, top, bottom, latex_top, latex_bottom = match.groups()
        over, under = int(top or latex_top), int(bottom or latex_bottom)
        return (int(whole) + Fraction(over, under), match.end()) if under else None
    if match := _FRACTION.match(text):
        over, under = (int(part) for part in match.groups() if part is not None)
        return (Fraction(over, under), match.end()) if under else None
    if match := _REPEATING.match(text) or _DOTS.match(text):
        whole, before, again = match[1] or "0", match[2], match[3] or match[4]
        scale = 10 ** len(before)
        period = Fraction(int(again), scale * (10 ** len(again) - 1))
        return Fraction(int(whole + before), scale) + period, match.end()
    if match := _POWER_OF_TEN.match(text):
        return _scaled(Fraction(1), int(match[1] or match[2]), match.end())
    match = _DECIMAL.match(text)
    if match is None or not (match[1] or (match[2] and len(match[2]) > 1)):
        return None
    whole, point = match[1] or "0", (match[2] or ".")[1:]
    if match[2] == "." and text[match.end() :]:
        return None
    value = Fraction(int(whole.replace(",", "").replace(" ", "")))
    if point:
        value += Fraction(int(point), 10 ** len(point))
    if exponent := _EXPONENT.match(text, match.end()):
        return _scaled(value, int(exponent[1] or exponent[2]), exponent.end())
    return value, match.end()


def _scaled(value: Fraction, exponent: int, end: int) -> Read | None:
    return (value * Fraction(10) ** exponent, end) if abs(exponent) <= _MAX_EXPONENT else None
