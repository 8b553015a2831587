"""Numbers as people write them: digits, words, Chinese characters, magnitudes, units -> value and unit."""

import re
from dataclasses import dataclass
from fractions import Fraction

from rewards.answers.units import Unit, known_unit


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SCALES = {"hundred": 100, "dozen": 12, "thousand": 10**3, "million": 10**6, "billion": 10**9}
SCALES |= {"trillion": 10**12, "lakh": 10**5, "crore": 10**7}
WORDS = {word: value for value, word in enumerate(_SMALL.split())}
WORDS |= {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
_FIRST_TEXT = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_FIRST = _FIRST_TEXT.split()
_ORDINALS = {word: value for value, word in enumerate(_FIRST)}
_ORDINALS |= {f"{word}th": value for word, value in WORDS.items() if 12 < value < 20}
_ORDINALS |= {f"{word[:-1]}ieth": value for word, value in WORDS.items() if value >= 20}
_ORDINALS |= {f"{ten}-{_FIRST[unit]}": WORDS[ten] + unit for ten in _TENS.split() for unit in range(1, 10)}
_ORDINALS |= {"hundredth": 100, "thousandth": 1000, "millionth": 10**6}
_PARTS = {word: value for word, value in _ORDINALS.items() if value > 2 and "-" not in word}
_PARTS |= {"half": 2, "quarter": 4}
_PLURALS = {f"{word}s": value for word, value in _PARTS.items()} | {"halves": 2}
_HAN_ONES = {"": 0} | {character: value for value, character in enumerate("一二三四五六七八九", start=1)}
_HAN_NUMBERS = {
    f"{ten}十{one}": 10 * (_HAN_ONES[ten] or 1) + _HAN_ONES[one] for ten in _HAN_ONES for one in _HAN_ONES
}
_HAN_NUMBERS |= _HAN_ONES | {"零": 0, "两": 2, "兩": 2, "百": 100, "一百": 100}
_HAN = re.compile(r"(H{1,3})(?:(分之|点)(H{1,3})?)?".replace("H", "[零一二三四五六七八九十两兩百]"))
_RUN = re.compile(r"(?:\d{1,15}|[A-Za-z]+)(?:[ -](?:\d{1,15}(?![\d.,/])|[A-Za-z]+))*")
_TOKENS = re.compile(r"\d{1,15}|[A-Za-z]+")

Read = tuple[Fraction, int]  # the value, and how many characters were read
_LONGEST = 64
_NOT_COUNTED = word_set(
    "and or of to by x plus minus than out per vs in on at for not times from with is below above zero over "
    "under about more less most least off pi theta alpha beta gamma delta lambda mu phi psi omega sigma rho "
    "tau epsilon eta infinity inf e mod am pm bc ad remainder r sqrt log sin cos tan ln exp factorial "
    "degrees the a an n no if then but as each ones tens dozens "
    "score gross pair couple squared cubed doubled tripled halved point"
).union(WORDS, SCALES, _ORDINALS, _PARTS, _PLURALS)
_ABOUT = re.compile(
    r"(?i)(?:about|approx(?:\.|imately)?|around|roughly|exactly|≈|~(?=\s*\d)|\\approx|[约約])\s*"
)
_MINUS = re.compile(r"(?:(?:minus|negative)\s+|负)", re.IGNORECASE)
_OVER = r"(\d{1,15})\s*/\s*(\d{1,15})(?![\d/])|\\frac\s*\{\s*([+-]?\d{1,15})\s*\}\s*\{\s*(\d{1,15})\s*\}"
_FRACTION = re.compile(_OVER + r"|\\frac\s*(\d)\s*(\d)")
_MIXED = re.compile(rf"(\d{{1,15}})(?:\s+|\s*(?=\\))(?:{_FRACTION.pattern.replace('[+-]?', '')})")
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
_CURRENCY = re.compile(r"(?i)([+-]?)\s*(us\$|rs\.?|usd|eur|gbp|jpy|cny|rmb|inr|chf|[$€£¥₹₩₽₿])\s*(?=[\d.+-])")
# A letter is a magnitude by case and place: `5k`, `5K`, `5M`, `5 M`; `5 K` is a temperature, `5m` a length,
# and small letters are magnitudes of money only.
_MAGNITUDES = {"k": 10**3, "mn": 10**6, "mil": 10**6, "bn": 10**9, "tn": 10**12} | SCALES
_LETTERS = {"K": 10**3, "M": 10**6, "B": 10**9, "MM": 10**6}
_OF_MONEY = {"m": 10**6, "b": 10**9, "t": 10**12, "T": 10**12}
_MAGNITUDES |= {"百": 10**2, "千": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_MAGNITUDE = re.compile(r"(\s*)([A-Za-z]+(?![A-Za-z/^\\Ωμ])|[百千万萬亿億])")
_PLAIN = re.compile(r"[A-Z]{2,}s|\w*[a-z]{3}\w*")  # TVs and iPhones, but neither MBq nor AaBb
_DECADE = re.compile(r"(?:the\s+)?(?:1\d|20)\d0'?s")
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
    about = _ABOUT.match(text)
    rest, sign, money = text[about.end() if about else 0 :], 1, ""
    if minus := _MINUS.match(rest):
        sign, rest = -1, rest[minus.end() :]
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
    tail, unit, thing = rest[used:], (known_unit(money) or known_unit(money.lower())) if money else None, ""
    if money and unit is None:
        return None
    if tail.strip() and tail not in _MEASURE:
        said = None if "frac" in rest[:used] and tail[0] not in " \u00b0%" else known_unit(tail)
        if said is None or (unit is not None and unit.dimension != said.dimension):
            apart = tail[0].isspace() or rest[used - 1].isascii()
            if not (thing := _thing(tail) if counted and unit is None and apart else ""):
                return None
        unit = unit or said
    unit = None if unit and unit.dimension == (("unit", 1),) else unit  # 5 units
    written = sign * value if scale != 1 else None
    return Quantity(value=sign * value * scale, unit=unit, thing=thing, written=written)


def _thing(tail: str) -> str:
    """What is counted, where it is said in plain words: no operator, no numeral, no name of mathematics."""
    said = tail.replace("-", " ").split()
    words = [
        word.casefold()
        if word in (word.lower(), word.upper(), word.title()) or _PLAIN.fullmatch(word)
        else word
        for word in said
    ]
    plain = not any(word in _NOT_COUNTED or len(word) < 2 for word in words if word.isascii())
    read = plain and _THING.fullmatch(tail) and not read_han(tail.strip())
    return " ".join(map(singular, words)) if read else ""


def singular(word: str) -> str:
    """`dogs` -> `dog`, `boxes` -> `box`, `people` -> `person`."""
    irregular = {"people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot"}
    if word in irregular or len(word) < 4:
        return irregular.get(word, word)
    return re.sub(r"(?:(?<=[cs]h|ss)es|(?<=x)es|(?<!s)s)$", "", re.sub("ies$", "ys", word))


def _magnitude(text: str, used: int, *, money: bool) -> tuple[int, int]:
    """The factor that a magnitude behind the number stands for, and where it ends; 1 without one."""
    match = _MAGNITUDE.match(text, used)
    if match is None or (match[2] == "K" and match[1]):
        return 1, used
    word = match[2]
    folded = word.casefold().removesuffix("s") if len(word) > 3 else word.casefold()
    factor = (_LETTERS | (_OF_MONEY if money else {})).get(word) or _MAGNITUDES.get(folded)
    return (factor, match.end()) if factor else (1, used)


def _read_digits(text: str) -> Read | None:
    """Returns the value and the number of characters read."""
    if match := _MIXED.match(text) or _FRACTION.match(text):
        *whole, over, under = (int(part) for part in match.groups() if part is not None)
        return (sum(whole) + Fraction(over, under), match.end()) if under else None
    if match := _REPEATING.match(text) or _DOTS.match(text):
        before, again = match[2], match[4] or match[3]
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


def parse_ordinal(text: str) -> int | None:
    """Reads `first`, `1st`, `twenty-first`; None for anything else."""
    folded = re.sub(r"(?<=[a-z]) (?=[a-z])", "-", text.casefold())
    match = re.fullmatch(r"(\d{1,9})\s?(?:st|nd|rd|th)", folded)
    return int(match[1]) if match else _ORDINALS.get(folded)


def ordinals_in_words(text: str) -> str:
    """`2nd floor` as `second floor`."""
    return re.sub(r"\b(\d|1[0-2])(?:st|nd|rd|th)\b", lambda match: _FIRST[int(match[1])], text)


def read_han(text: str) -> Read | None:
    """Reads Chinese numerals up to a hundred from the front: `二十一`, `三分之一`, `三点五`."""
    match = _HAN.match(text)
    value = _HAN_NUMBERS.get(match[1]) if match else None
    if match is None or value is None or not match[2]:
        return None if match is None or value is None else (Fraction(value), match.end())
    more = _HAN_NUMBERS.get(match[3])
    if more is None or (more > 9 if match[2] == "点" else not value):
        return None
    return (Fraction(more, value) if match[2] == "分之" else value + Fraction(more, 10)), match.end()


def read_words(text: str) -> Read | None:
    """Reads number words from the front: `twenty-one dogs`, `half an hour`, `two and a half`, `3 eighths`."""
    run = _RUN.match(text)
    found = list(_TOKENS.finditer(run[0])) if run else []
    said = [token[0].casefold() for token in found]
    if not said:
        return None
    ends = [token.end() for token in found]
    parts = _PARTS | _PLURALS
    if said[0] == "half" and (len(said) == 1 or (said[1] in ("a", "an") and len(said) > 2)):
        return Fraction(1, 2), ends[min(1, len(said) - 1)]
    if said[0] in ("a", "an") and len(said) > 1 and said[1] in _PARTS:
        return Fraction(1, _PARTS[said[1]]), ends[1]
    whole, used = _cardinal(said)
    rest = said[used:]
    if not used:
        return None
    if rest and (rest[0] in _PLURALS or (rest[0] in _PARTS and whole == 1)):
        return whole / parts[rest[0]], ends[used]
    if rest[:1] == ["point"]:
        digits = [WORDS.get(word, 10) for word in rest[1:10]]
        fraction = "".join(map(str, digits)) if digits and max(digits) < 10 else ""
        return (whole + Fraction(f"0.{fraction}"), ends[used + len(digits)]) if fraction else None
    if rest[:1] == ["and"] and len(rest) > 2:  # two and a half
        above, more = (Fraction(1), 1) if rest[1] == "a" else _cardinal(rest[1:])
        if more and (part := parts.get("".join(rest[1 + more : 2 + more]))):
            return whole + above / part, ends[used + 1 + more]
    return None if said[0].isdigit() and used == 1 else (whole, ends[used - 1])


def _cardinal(said: list[str]) -> tuple[Fraction, int]:
    """The value of the number words in front, and how many they are."""
    total = current = used = 0
    for index, word in enumerate(said):
        following, units = "".join(said[index + 1 : index + 2]), current % 100
        extends = not units or (units >= 20 and units % 10 == 0 and 0 < WORDS.get(word, 0) < 10)
        if word.isdigit() and not current and (not used or following in SCALES):
            current += int(word)
        elif word in WORDS and extends:  # twenty one, hundred five, but not two three
            current += WORDS[word]
        elif word == "a" and index == 0 and following in SCALES:
            current = 1
        elif word == "hundred" and current:
            current *= 100
        elif word in SCALES and current:
            total, current = total + current * SCALES[word], 0
        elif not (word == "and" and used and following in WORDS and "hundred" in said[:index]):
            break
        used = index + 1 if word not in ("a", "and") else used
    return Fraction(total + current), used
