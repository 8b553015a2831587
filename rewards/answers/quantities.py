"""Numbers as people write them: digits, words, fractions, percent, units -> an exact value and its unit."""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

_LONGEST = 64
_MAX_EXPONENT = 300
_MIN_ROUNDING_DECIMALS = 3

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORDS = {word: value for value, word in enumerate(_SMALL.split())}
_WORDS |= {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4}
_PARTS |= {"fourths": 4, "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "eighth": 8, "eighths": 8}
_PARTS |= {"tenth": 10, "tenths": 10}
_ORDINAL_WORDS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_ORDINALS = _ORDINAL_WORDS.split()
_HAN_DIGITS = {"零": 0, "\u3007": 0, "一": 1, "二": 2, "两": 2, "兩": 2, "三": 3, "四": 4}
_HAN_DIGITS |= {"五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000}

# dimension: unit names with their factor to the dimension's first unit
_UNIT_TABLE = """
%: %=1 percent=1 pct=1 percentage=1 per-cent=1
length: m=1 meter=1 metre=1 mm=0.001 millimeter=0.001 millimetre=0.001 cm=0.01 centimeter=0.01
length: centimetre=0.01 dm=0.1 km=1000 kilometer=1000 kilometre=1000 inch=0.0254 in=0.0254 ft=0.3048
length: foot=0.3048 feet=0.3048 yd=0.9144 yard=0.9144 mile=1609.344 mi=1609.344 厘米=0.01 米=1 公里=1000
mass: kg=1 kilogram=1 g=0.001 gram=0.001 mg=0.000001 milligram=0.000001 lb=0.45359237 pound=0.45359237
mass: ton=1000 tonne=1000 oz=0.028349523125 ounce=0.028349523125
time: s=1 sec=1 second=1 ms=0.001 millisecond=0.001 min=60 minute=60 h=3600 hr=3600 hour=3600 day=86400
time: week=604800
volume: l=1 liter=1 litre=1 ml=0.001 milliliter=0.001 millilitre=0.001
area: m^2=1 m2=1 square-meter=1 square-metre=1 cm^2=0.0001 cm2=0.0001 square-centimeter=0.0001 km^2=1000000
area: square-kilometer=1000000
solid: m^3=1 m3=1 cubic-meter=1 cubic-metre=1 cm^3=0.000001 cm3=0.000001 cubic-centimeter=0.000001
speed: m/s=1 meter-per-second=1 mps=1 km/h=5/18 kmh=5/18 kph=5/18 kilometer-per-hour=5/18 mph=0.44704
speed: mile-per-hour=0.44704
angle: °=1 deg=1 degree=1
celsius: °c=1 degree-celsius=1 celsius=1
fahrenheit: °f=1 degree-fahrenheit=1 fahrenheit=1
dollar: $=1 dollar=1 usd=1 us$=1 cent=0.01 ¢=0.01
euro: €=1 euro=1 eur=1
sterling: £=1 gbp=1
yen: ¥=1 yen=1 yuan=1 rmb=1 元=1
"""
_UNITS: dict[str, tuple[str, Fraction]] = {
    name: (line.split(":")[0], Fraction(factor))
    for line in _UNIT_TABLE.strip().splitlines()
    for name, _, factor in (entry.partition("=") for entry in line.split(":")[1].split())
}
_FIXED = frozenset(_UNITS)  # "ms", "gas", "lens": a known unit or a short word loses no letter
_NO_UNITS = "and or of to by x plus minus than out per vs in on at for not times from with"
_STOPWORDS = frozenset(_NO_UNITS.split())

_ABOUT = re.compile(
    r"(?:about|approximately|approx\.?|around|roughly|exactly|≈|~|\\approx)\s*", re.IGNORECASE
)
_MINUS = re.compile(r"(?:minus|negative)\s+", re.IGNORECASE)
_MIXED = re.compile(
    r"(\d{1,15})(?:\s+|\s*(?=\\))(?:(\d{1,15})\s*/\s*(\d{1,15})|\\frac\s*\{(\d+)\}\s*\{(\d+)\})"
)
_FRACTION = re.compile(
    r"(\d{1,15})\s*/\s*(\d{1,15})|\\frac\s*\{\s*([+-]?\d{1,15})\s*\}\s*\{\s*(\d{1,15})\s*\}|\\frac\s*(\d)\s*(\d)"
)
_DECIMAL = re.compile(r"(\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d+)?(\.\d*)?")
_EXPONENT = re.compile(
    r"[eE]([+-]?\d{1,4})(?![\w.])|\s*(?:\u00d7|\\times|\\cdot|\*|x)\s*10\s*\^\s*\{?([+-]?\d{1,4})\}?"
)
_POWER_OF_TEN = re.compile(r"10\s*\^\s*(?:\{([+-]?\d{1,4})\}|([+-]?\d{1,4}))")
_LABEL = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+){0,2}")
_WORD_RUN = re.compile(r"[A-Za-z]+(?:[ -][A-Za-z]+)*")
_HAN = re.compile("[" + "".join(_HAN_DIGITS) + "".join(_HAN_SCALES) + "]{1,9}")
_CURRENCY = re.compile(r"([+-]?)\s*(us\$|[$€£¥])\s*(?=[\d.+-])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with its unit.

    Attributes:
        value: as written, before any conversion of units; 50 % is 50.
        unit: normalised name, empty for none.
        decimals: digits after the point; None for fractions and words.
    """

    value: Fraction
    unit: str
    decimals: int | None

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
        text: cleaned of LaTeX wrappers; see `rewards.answers.canonical`.
    """
    if not text or len(text) > _LONGEST:
        return None
    rest = _ABOUT.sub("", text, count=1) if _ABOUT.match(text) else text
    sign, unit = 1, ""
    if _MINUS.match(rest):
        sign, rest = -1, _MINUS.sub("", rest, count=1)
    if currency := _CURRENCY.match(rest):
        unit, rest = currency.group(2).casefold(), currency.group(1) + rest[currency.end() :]
    if rest.startswith(("+", "-")):
        sign, rest = (-sign if rest[0] == "-" else sign), rest[1:].lstrip()
    found = _read_digits(rest) or _read_han(rest) or _read_words(rest)
    if found is None:
        return None
    value, decimals, used = found
    tail = rest[used:]
    scale, _, after = tail.strip().partition(" ")
    if scale.casefold() in _SCALES:
        value, decimals, tail = value * _SCALES[scale.casefold()], None, " " + after
    label = _unit(tail) if tail.strip() else ""
    if label is None or (label and unit and label != unit):
        return None
    return Quantity(value=sign * value, unit=unit or label, decimals=decimals)


def parse_ordinal(text: str) -> int | None:
    """Reads `first`, `1st`, `Twelfth`; None for anything else."""
    folded = text.casefold()
    if folded in _ORDINALS:
        return _ORDINALS.index(folded)
    match = re.fullmatch(r"(\d{1,9})(?:st|nd|rd|th)", folded)
    return int(match.group(1)) if match else None


def same_quantity(a: Quantity, b: Quantity, *, tolerance: float | None) -> bool:
    """Compares two numbers: units that differ are converted, a missing unit matches any.

    A percentage also matches the bare fraction it stands for. A decimal with at least three digits after
    the point matches a fraction that it is the rounding of. Otherwise numbers are exact.

    Args:
        a: a number.
        b: another one.
        tolerance: relative to the larger of the two magnitudes; None for exact.
    """
    (left_kind, left_factor), (right_kind, right_factor) = dimension(a), dimension(b)
    if a.unit and b.unit:
        if left_kind != right_kind:
            return False
        if left_factor != right_factor:
            return _close(a.value * left_factor, b.value * right_factor, None, None, tolerance)
    elif left_kind != right_kind and "%" in (left_kind, right_kind):
        left = a.value / 100 if left_kind == "%" else a.value
        right = b.value / 100 if right_kind == "%" else b.value
        if _close(left, right, None, None, tolerance):
            return True
    return _close(a.value, b.value, a.decimals, b.decimals, tolerance)


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


def dimension(quantity: Quantity) -> tuple[str, Fraction]:
    """The dimension of a quantity's unit and the factor to that dimension's first unit."""
    return _UNITS.get(quantity.unit, (quantity.unit, Fraction(1)))


def _read_digits(text: str) -> tuple[Fraction, int | None, int] | None:
    """Returns value, decimals and the number of characters read."""
    if match := _MIXED.match(text):
        whole, top, bottom, latex_top, latex_bottom = match.groups()
        over, under = int(top or latex_top), int(bottom or latex_bottom)
        return (int(whole) + Fraction(over, under), None, match.end()) if under else None
    if match := _FRACTION.match(text):
        over, under = (int(part) for part in match.groups() if part is not None)
        return (Fraction(over, under), None, match.end()) if under else None
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


def _scaled(
    value: Fraction, exponent: int, decimals: int | None, end: int
) -> tuple[Fraction, int | None, int] | None:
    if abs(exponent) > _MAX_EXPONENT:
        return None
    scale = Fraction(10) ** exponent
    return value * scale, decimals if decimals is None else max(0, decimals - exponent), end


def _read_han(text: str) -> tuple[Fraction, int | None, int] | None:
    match = _HAN.match(text)
    if match is None:
        return None
    total = digit = 0
    for character in match.group():
        if character in _HAN_SCALES:
            total += (digit or 1) * _HAN_SCALES[character]
            digit = 0
        elif digit:
            return None
        else:
            digit = _HAN_DIGITS[character]
    return Fraction(total + digit), None, match.end()


def _read_words(text: str) -> tuple[Fraction, int | None, int] | None:
    """Reads number words from the front: `twenty-one dogs`, `half a dozen`, `two thirds`."""
    run = _WORD_RUN.match(text)
    if run is None:
        return None
    words = [(word.group().casefold(), word.end()) for word in re.finditer(r"[A-Za-z]+", run.group())]
    joined = " ".join(word for word, _ in words)
    for phrase, value in (("half a dozen", 6), ("a dozen", 12), ("one dozen", 12), ("dozen", 12)):
        if joined == phrase or joined.startswith(phrase + " "):
            return Fraction(value), None, words[phrase.count(" ")][1]
    if joined == "half":
        return Fraction(1, 2), None, words[0][1]
    if len(words) > 1 and words[0][0] in ("a", "an", "one") and words[1][0] in _PARTS:
        return Fraction(1, _PARTS[words[1][0]]), None, words[1][1]
    total = current = used = 0
    for index, (word, end) in enumerate(words):
        if word in _WORDS and _may_follow(current, _WORDS[word]):
            current += _WORDS[word]
        elif word == "hundred" and current:
            current *= 100
        elif word in _SCALES and current:
            total, current = total + current * _SCALES[word], 0
        elif used and word in _PARTS and word.endswith("s"):
            return Fraction(total + current, _PARTS[word]), None, end
        elif not (word == "and" and used and index + 1 < len(words) and words[index + 1][0] in _WORDS):
            break
        if word != "and":
            used = end
    return (Fraction(total + current), None, used) if used else None


def _may_follow(current: int, value: int) -> bool:
    """Whether `value` extends a number said so far: `twenty one`, `hundred five`, but not `two three`."""
    units = current % 100
    return units == 0 or (units >= 20 and units % 10 == 0 and 0 < value < 10)


def _unit(tail: str) -> str | None:
    """Normalises what stands behind a number; None if it is not a unit or a thing that is counted."""
    name = "-".join(tail.strip().strip(".").casefold().replace("{", "").replace("}", "").split())
    if name.startswith("°-"):
        name = name.replace("°-", "°")
    candidates = (name, name.replace("-", ""), _singular(name), "-".join(map(_singular, name.split("-"))))
    for candidate in candidates:
        if candidate in _UNITS:
            return candidate
    first = tail[0]
    # `3个` needs no space; `3D` and `2π` are no number of things
    stands_apart = first.isspace() or first == "-" or unicodedata.category(first) == "Lo"
    if not stands_apart or not _LABEL.fullmatch(name.replace("-", " ")):
        return None
    words = name.split("-")
    return None if _STOPWORDS.intersection(words) or words[0] in _WORDS else candidates[-1]


def _singular(word: str) -> str:
    if word in _FIXED or len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]
