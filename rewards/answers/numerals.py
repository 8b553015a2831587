"""Numbers in words and Chinese characters: `twenty-one`, `two thirds`, `二十一`, `三分之一`."""

import re
from fractions import Fraction

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
NO_NOUNS = frozenset({*WORDS, *SCALES, *_ORDINALS, *_PARTS, *_PLURALS}) | frozenset(
    {"score", "gross", "pair", "couple", "squared", "cubed", "doubled", "tripled", "halved", "point"}
)
_HAN_DIGITS = "零一二三四五六七八九"
_HAN_ONES = {"": 0} | {character: value for value, character in enumerate(_HAN_DIGITS) if value}
_HAN_NUMBERS = {
    f"{ten}十{one}": 10 * (_HAN_ONES[ten] or 1) + _HAN_ONES[one] for ten in _HAN_ONES for one in _HAN_ONES
}
_HAN_NUMBERS |= _HAN_ONES | {"零": 0, "两": 2, "兩": 2, "百": 100, "一百": 100}
_HAN = re.compile(r"[零一二三四五六七八九十两兩百]{1,3}")
_RUN = re.compile(r"(?:\d{1,15}|[A-Za-z]+)(?:[ -](?:\d{1,15}(?![\d.,/])|[A-Za-z]+))*")
_TOKENS = re.compile(r"\d{1,15}|[A-Za-z]+")

Read = tuple[Fraction, int]  # the value, and how many characters were read


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
    value = _HAN_NUMBERS.get(match[0]) if match else None
    if match is None or value is None:
        return None
    behind = text[match.end() : match.end() + 2]
    if behind != "分之" and behind[:1] != "点":
        return Fraction(value), match.end()
    start = match.end() + len("点" if behind[:1] == "点" else behind)
    more = _HAN.match(text, start)
    above = _HAN_NUMBERS.get(more[0]) if more else None
    if more is None or above is None or (behind[:1] == "点" and above > 9):
        return None
    return (Fraction(above, value) if behind == "分之" else value + Fraction(above, 10)), more.end()


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
        following = said[index + 1] if index + 1 < len(said) else ""
        if word.isdigit() and not current and (not used or following in SCALES):
            current += int(word)
        elif word in WORDS and _may_follow(current, WORDS[word]):
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


def _may_follow(current: int, value: int) -> bool:
    """Whether `value` extends a number said so far: `twenty one`, `hundred five`, but not `two three`."""
    units = current % 100
    return units == 0 or (units >= 20 and units % 10 == 0 and 0 < value < 10)
