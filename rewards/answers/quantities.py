"""Numbers as people write them: digits, words, fractions, percent, magnitudes, units -> value and unit."""

import re
from dataclasses import dataclass
from fractions import Fraction

from rewards.answers.numerals import NO_NOUNS, SCALES, Read, read_han, read_words
from rewards.answers.units import Unit, known_unit

_LONGEST = 64
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
_OVER = r"(\d{1,15})\s*/\s*(\d{1,15})(?![\d/])|\\frac\s*\{\s*([+-]?\d{1,15})\s*\}\s*\{\s*(\d{1,15})\s*\}"
_FRACTION = re.compile(_OVER + r"|\\frac\s*(\d)\s*(\d)")
_MIXED = re.compile(rf"(\d{{1,15}})(?:\s+|\s*(?=\\))(?:{_OVER})")
_REPEATING = re.compile(r"(\d{0,9})\.(\d{0,9})(?:\\(?:overline|bar|dot)\s*\{(\d{1,9})\}|\((\d{1,9})\)(?!\d))")
_DOTS = re.compile(r"(\d{0,9})\.(\d{0,9}?)((\d{1,6}?)\4{2,})(?:\.{3}|…|\\[cl]?dots)$")
_DECIMAL = re.compile(
    r"([1-9]\d{0,2}(?:,\d{3})+(?![\d,])|[1-9]\d?(?:,\d{2})+,\d{3}(?!\d)"
    r"|[1-9]\d{0,2}(?: \d{3})+(?!\d)|\d+)?(\.\d+|\.(?=$))?"
)
_TEN = r"10\s*(?:\^|\*\*)\s*(?:\{([+-]?\d{1,3})\}|([+-]?\d{1,3}))(?!\d)"
_POWER_OF_TEN = re.compile(_TEN)
_EXPONENT = re.compile(rf"[eE]([+-]?\d{{1,3}})(?![\w.])|\s*(?:\\times|\\cdot|\*|[xX])\s*{_TEN}")
_THING = re.compile(r"(?:\s+|(?=[^\x00-\u2fff]))[^\W\d_]+(?:[ -][^\W\d_]+){0,2}")
_CURRENCY = re.compile(
    r"([+-]?)\s*(us\$|rs\.?|usd|eur|gbp|jpy|cny|rmb|inr|chf|[$€£¥₹₩₽₿])\s*(?=[\d.+-])", re.IGNORECASE
)
# A letter is a magnitude by case and place: `5k`, `5K`, `5M`, `5 M`; `5 K` is a temperature, `5m` a length,
# and small letters are magnitudes of money only.
_MAGNITUDES = {"k": 10**3, "mn": 10**6, "mil": 10**6, "bn": 10**9, "tn": 10**12} | SCALES
_LETTERS = {"K": 10**3, "M": 10**6, "B": 10**9, "MM": 10**6}
_OF_MONEY = {"m": 10**6, "b": 10**9, "t": 10**12, "T": 10**12}
_HAN_MAGNITUDES = {"百": 10**2, "千": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_MAGNITUDE = re.compile(rf"(\s*)([A-Za-z]+(?![A-Za-z/^\\Ωμ])|[{''.join(_HAN_MAGNITUDES)}])")
_DECADE = re.compile(r"(?:the\s+)?(?:1\d|20)\d0'?s")
_MEASURE = frozenset("个個箇개つ")  # a Chinese, Japanese or Korean number has one, whatever is counted
_UNITS = (("unit", 1),)


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
    found = read_words(rest) or _read_digits(rest) or read_han(rest)
    if found is None:
        article = re.fullmatch(r"an? (?!and)([^\W\d_]{3,})", text)  # an hour
        unit = known_unit(article[1]) if article else None
        return Quantity(value=Fraction(1), unit=unit) if unit else None
    value, used = found
    scale, used = _magnitude(rest, used, money=bool(money))
    tail, unit, thing = rest[used:], known_unit(money) if money else None, ""
    if tail.strip() and tail not in _MEASURE:
        said = None if "frac" in rest[:used] and tail[0] not in " \u00b0%" else known_unit(tail)
        if said is None or (unit is not None and unit.dimension != said.dimension):
            apart = tail[0].isspace() or rest[used - 1].isascii()
            thing = _thing(tail) if counted and unit is None and apart else ""
            if not thing:
                return None
        unit = unit or said
    unit = None if unit and unit.dimension == _UNITS else unit  # 5 units
    written = sign * value if scale != 1 else None
    return Quantity(value=sign * value * scale, unit=unit, thing=thing, written=written)


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
    irregular = {"people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot"}
    if word in irregular:
        return irregular[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]


def _magnitude(text: str, used: int, *, money: bool) -> tuple[int, int]:
    """The factor that a magnitude behind the number stands for, and where it ends; 1 without one."""
    match = _MAGNITUDE.match(text, used)
    if match is None or (match[2] == "K" and match[1]):
        return 1, used
    word = match[2]
    folded = word.casefold().removesuffix("s") if len(word) > 3 else word.casefold()
    of_money = _OF_MONEY if money else {}
    factor = _LETTERS.get(word) or of_money.get(word) or (_MAGNITUDES | _HAN_MAGNITUDES).get(folded)
    return (factor, match.end()) if factor else (1, used)


def _read_digits(text: str) -> Read | None:
    """Returns the value and the number of characters read."""
    if match := _MIXED.match(text) or _FRACTION.match(text):
        *whole, over, under = (int(part) for part in match.groups() if part is not None)
        return (sum(whole) + Fraction(over, under), match.end()) if under else None
    if match := _REPEATING.match(text) or _DOTS.match(text):
        before, again = match[2], (match[3] or match[4]) if match.re is _REPEATING else match[4]
        period = Fraction(int(again), 10 ** len(before) * (10 ** len(again) - 1))
        return Fraction(f"{match[1] or 0}.{before or 0}") + period, match.end()
    if match := _POWER_OF_TEN.match(text):
        return Fraction(10) ** int(match[1] or match[2]), match.end()
    match = _DECIMAL.match(text)
    if match is None or not (match[1] or (match[2] or ".") != "."):
        return None
    value = Fraction((match[1] or "0").replace(",", "").replace(" ", "") + (match[2] or "").rstrip("."))
    if exponent := _EXPONENT.match(text, match.end()):
        return value * Fraction(10) ** int(exponent[1] or exponent[2] or exponent[3]), exponent.end()
    return value, match.end()
