"""Numbers as people write them: digits, words, fractions, percent, magnitudes, units -> value and unit."""

import re
import unicodedata
from dataclasses import dataclass, replace
from fractions import Fraction

from rewards.answers.numerals import SCALES, WORDS, Read, read_han, read_words
from rewards.answers.units import Unit, counted, known_unit, vague_unit

_LONGEST = 64
_MAX_EXPONENT = 300
_MIN_ROUNDING_DECIMALS = 3
_NO_UNITS = "and or of to by x plus minus than out per vs in on at for not times from with is"
_STOPWORDS = frozenset(_NO_UNITS.split())
_COMMON_UNITS = "cm mm km dm nm kg mg ml cl dl ms ft in lb yd mi oz hr px ha mb gb kb"
_COMMON = frozenset(_COMMON_UNITS.split())
_ABOUT = re.compile(
    r"(?:about|approximately|approx\.?|around|roughly|exactly|≈|~|\\approx)\s*", re.IGNORECASE
)
_MINUS = re.compile(r"(?:minus|negative)\s+", re.IGNORECASE)
_MIXED = re.compile(
    r"(\d{1,15})(?:\s+|\s*(?=\\))(?:(\d{1,15})\s*/\s*(\d{1,15})|\\frac\s*\{(\d+)\}\s*\{(\d+)\})"
)
_FRACTION = re.compile(
    r"(\d{1,15})\s*/\s*(\d{1,15})(?![\d/])|\\frac\s*\{\s*([+-]?\d{1,15})\s*\}\s*\{\s*(\d{1,15})\s*\}"
    r"|\\frac\s*(\d)\s*(\d)"
)
_REPEATING = re.compile(r"(\d{0,9})\.(\d{0,9})\\(?:overline|bar|dot)\s*\{(\d{1,9})\}")
_DECIMAL = re.compile(
    r"(\d{1,3}(?:,\d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d+)?(\.\d*)?"
)
_EXPONENT = re.compile(
    r"[eE]([+-]?\d{1,4})(?![\w.])|\s*(?:\u00d7|\\times|\\cdot|\*|x)\s*10\s*\^\s*\{?([+-]?\d{1,4})\}?"
)
_POWER_OF_TEN = re.compile(r"10\s*\^\s*(?:\{([+-]?\d{1,4})\}|([+-]?\d{1,4}))")
_LABEL = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+){0,2}")
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
_PIECE = re.compile(r"(\d+(?:\.\d+)?)\s*([^\W\d]+)(?:,?\s*(?:and\s+)?|$)")
PERCENT = known_unit("%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with its unit.

    Attributes:
        value: as written, magnitudes multiplied in, before any conversion of units; 50 % is 50.
        unit: None where none is said.
        decimals: digits after the point; None for fractions, words and magnitudes.
        written: the value before its magnitude, 1.2 of `1.2 million`; None where there is no magnitude.
    """

    value: Fraction
    unit: Unit | None = None
    decimals: int | None = None
    written: Fraction | None = None

    @property
    def latex(self) -> str:
        """The value in digits, without its unit."""
        if not self.decimals:
            return str(self.value)
        digits = str(abs(self.value.numerator) * 10**self.decimals // self.value.denominator)
        digits = digits.rjust(self.decimals + 1, "0")
        sign = "-" if self.value < 0 else ""
        return f"{sign}{digits[: -self.decimals]}.{digits[-self.decimals :]}"


def parse_quantity(text: str) -> Quantity | None:
    """Reads a whole text as one number with an optional unit, or gives None.

    Args:
        text: cleaned of LaTeX wrappers; see `rewards.answers.cleaning`.
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
        money, rest = currency.group(2).rstrip("."), currency.group(1) + rest[currency.end() :]
    if rest.startswith(("+", "-")):
        sign, rest = (-sign if rest[0] == "-" else sign), rest[1:].lstrip()
    found = _read_digits(rest) or read_han(rest) or read_words(rest)
    if found is None:
        return _sum_of_units(text)
    value, decimals, used = found
    scale, used = _magnitude(rest, used, money=bool(money))
    tail, unit = rest[used:], known_unit(money) if money else None
    if tail.strip():
        # `\frac{1}{2}mg` may be a product of variables
        said = _unit(tail) if "frac" not in rest[:used] or tail[0] in " \u00b0%" else None
        if said is None or (unit is not None and not unit.factors(said)):
            return _sum_of_units(text)
        unit = unit or said
    if scale == 1:
        return Quantity(value=sign * value, unit=unit, decimals=decimals)
    return Quantity(value=sign * value * scale, unit=unit, written=sign * value)


def same_quantity(a: Quantity, b: Quantity, *, tolerance: float | None) -> bool:
    """Compares two numbers: units that differ are converted, a missing unit matches any.

    A percentage also matches the bare fraction it stands for. A decimal with at least three digits after
    the point matches a fraction that it is the rounding of. Otherwise numbers are exact.

    Args:
        a: a number.
        b: another one.
        tolerance: relative to the larger of the two magnitudes; None for exact.
    """
    for value in values_in(a, b):
        decimals = (a.decimals, b.decimals) if value == a.value else (None, None)
        if _close(value, b.value, *decimals, tolerance):
            return True
    return False


def values_in(found: Quantity, wanted: Quantity) -> tuple[Fraction, ...]:
    """The values that a number may have in the unit of another; none where the units do not agree.

    A missing unit matches any. p % is p, and also p / 100, where the other number is bare; a bare number is
    never multiplied to meet a bare one.
    """
    if found.unit and wanted.unit:
        return tuple(found.value * f / g for f, g in found.unit.factors(wanted.unit))
    unit = found.unit or wanted.unit
    if unit is not None and unit.strict:
        return ()
    if unit is not None and unit == PERCENT:
        return found.value, found.value / 100 if found.unit else found.value * 100
    return (found.value,)


def _close(
    x: Fraction, y: Fraction, x_decimals: int | None, y_decimals: int | None, tolerance: float | None
) -> bool:
    if x == y:
        return True
    if tolerance is not None:
        return abs(x - y) <= Fraction(tolerance) * max(abs(x), abs(y))
    if (x_decimals is None) == (y_decimals is None):
        return False
    decimal, fraction, digits = (y, x, y_decimals) if x_decimals is None else (x, y, x_decimals)
    return digits is not None and digits >= _MIN_ROUNDING_DECIMALS and round(fraction, digits) == decimal


def _magnitude(text: str, used: int, *, money: bool) -> tuple[int, int]:
    """The factor that a magnitude behind the number stands for, and where it ends; 1 without one."""
    if (han := _HAN_MAGNITUDE.match(text, used)) and (han[1] or han[2]):
        return _HAN_FACTORS[han[1]] * _HAN_FACTORS[han[2]], han.end()
    match = _MAGNITUDE.match(text, used)
    if match is None:
        return 1, used
    space, word = match.groups()
    singular = word.casefold().removesuffix("s") if len(word) > 3 else word.casefold()
    if word == "K" and space:
        return 1, used
    if word in _LETTERS:
        return _LETTERS[word], match.end()
    if money and word in _OF_MONEY:
        return _OF_MONEY[word], match.end()
    return (_MAGNITUDES[singular], match.end()) if singular in _MAGNITUDES else (1, used)


def _sum_of_units(text: str) -> Quantity | None:
    """Reads `1 hour 30 minutes`: pieces of one dimension, each unit smaller than the one before."""
    pieces: list[Quantity] = []
    place = 0
    while match := _PIECE.match(text, place):
        unit = known_unit(match[2])
        if unit is None:
            return None
        pieces.append(Quantity(value=Fraction(match[1]), unit=unit))
        place = match.end()
    if place < len(text) or len(pieces) < 2:
        return None
    total, smallest = Fraction(0), pieces[-1]
    for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
        values = values_in(piece, smallest)
        smaller = following is None or any(
            v < 1 for v in values_in(replace(following, value=Fraction(1)), piece)
        )
        if not values or not smaller:
            return None
        total += values[0]
    return replace(smallest, value=total)


def _read_digits(text: str) -> Read | None:
    """Returns value, decimals and the number of characters read."""
    if match := _MIXED.match(text):
        whole, top, bottom, latex_top, latex_bottom = match.groups()
        over, under = int(top or latex_top), int(bottom or latex_bottom)
        return (int(whole) + Fraction(over, under), None, match.end()) if under else None
    if match := _FRACTION.match(text):
        over, under = (int(part) for part in match.groups() if part is not None)
        return (Fraction(over, under), None, match.end()) if under else None
    if match := _REPEATING.match(text):
        whole, before, again = match[1] or "0", match[2], match[3]
        scale = 10 ** len(before)
        period = Fraction(int(again), scale * (10 ** len(again) - 1))
        return Fraction(int(whole + before), scale) + period, None, match.end()
    if match := _POWER_OF_TEN.match(text):
        return _scaled(Fraction(1), int(match.group(1) or match.group(2)), None, match.end())
    match = _DECIMAL.match(text)
    if match is None or not any(character.isdigit() for character in match.group()):
        return None
    whole, point = match.group(1) or "0", (match.group(2) or ".")[1:]
    value = Fraction(int(whole.replace(",", "").replace(" ", "")))
    if point:
        value += Fraction(int(point), 10 ** len(point))
    if exponent := _EXPONENT.match(text, match.end()):
        return _scaled(value, int(exponent.group(1) or exponent.group(2)), len(point), exponent.end())
    return value, len(point), match.end()


def _scaled(value: Fraction, exponent: int, decimals: int | None, end: int) -> Read | None:
    if abs(exponent) > _MAX_EXPONENT:
        return None
    scale = Fraction(10) ** exponent
    return value * scale, decimals if decimals is None else max(0, decimals - exponent), end


def _unit(tail: str) -> Unit | None:
    """Reads what stands behind a number; None if it is not a unit or a thing that is counted."""
    attached = not tail[0].isspace()
    if unit := known_unit(tail):
        name = tail.strip()
        label = name.isascii() and name.isupper() and len(name) == 1
        product = name in ("h", "l", "s") or (
            name.islower() and len(name) == 2 and name not in _COMMON
        )  # 5cd
        return replace(unit, strict=attached and (label or product))
    name = "-".join(tail.strip().strip(".").casefold().replace("{", "").replace("}", "").split())
    # `3个` needs no space; `3D` and `2π` are no number of things
    stands_apart = not attached or tail[0] == "-" or unicodedata.category(tail[0]) == "Lo"
    if not stands_apart or not _LABEL.fullmatch(name.replace("-", " ")):
        return vague_unit(tail.strip())
    words = name.split("-")
    if read_han(name):
        return None  # 1万二千
    said = tail.strip()
    if said.isascii() and said.isalpha() and not (said.islower() or said.isupper() or said.istitle()):
        return counted(said)  # MBps, and not Mbps
    if _STOPWORDS.intersection(words) or words[0] in WORDS or (len(name) == 1 and name.isascii()):
        return None
    return vague_unit(tail.strip()) or counted("-".join(map(_singular, words)))


def _singular(word: str) -> str:
    if len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]
