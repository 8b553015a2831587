"""Numbers in words and Chinese characters: `twenty-one`, `two thirds`, `二十一`, `三分之一`."""

import re
from fractions import Fraction

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SCALES |= {"hundred": 100, "dozen": 12, "lakh": 10**5, "crore": 10**7}
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
NO_NOUNS = frozenset(
    {*WORDS, *SCALES, *_ORDINALS, *_PARTS, *_PLURALS}
    | {"score", "gross", "pair", "couple", "squared", "cubed", "doubled", "tripled", "halved", "point"}
)
_HAN_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")}
_HAN_DIGITS |= {character: value for value, character in enumerate("〇壹贰叁肆伍陆柒捌玖")}
_HAN_DIGITS |= {"两": 2, "兩": 2}
_HAN_SCALES = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_HAN_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_HAN = re.compile(rf"(?:\d{{1,9}}|[{''.join(_HAN_DIGITS | _HAN_SCALES | _HAN_MYRIADS)}]){{1,19}}")
_HAN_PART = re.compile(r"(.{1,19}?)分之(.{1,19})")
_TOKENS = re.compile(r"\d{1,15}|[A-Za-z]+")

Read = tuple[Fraction, int]  # the value, and how many characters were read


def parse_ordinal(text: str) -> int | None:
    """Reads `first`, `1st`, `twenty-first`; None for anything else."""
    folded = re.sub(r"(?<=[a-z]) (?=[a-z])", "-", text.casefold())
    if folded in _ORDINALS:
        return _ORDINALS[folded]
    match = re.fullmatch(r"(\d{1,9})\s?(?:st|nd|rd|th)", folded)
    return int(match[1]) if match else None


def ordinals_in_words(text: str) -> str:
    """`2nd floor` as `second floor`."""

    def word(match: re.Match[str]) -> str:
        return _FIRST[int(match[1])] if int(match[1]) < len(_FIRST) else match[0]

    return re.sub(r"\b(\d{1,3})(?:st|nd|rd|th)\b", word, text)


def read_han(text: str) -> Read | None:
    """Reads Chinese numerals from the front: `二十一`, `12万5千`, `三点五`, `三分之一`, `三成`."""
    if part := _HAN_PART.match(text):
        below = Fraction(100) if part[1] == "百" else _han_number(part[1])
        above = read_han(part[2]) if "分之" not in part[2] else None
        return (above[0] / below, part.start(2) + above[1]) if below and above else None
    match = _HAN.match(text)
    if match is None:
        return None
    value, end = _han_number(match[0]), match.end()
    if value is None:
        return None
    if (point := re.match(rf"点([{''.join(_HAN_DIGITS)}]{{1,9}})(?!分)", text[end:])) and not text[
        0
    ].isdigit():
        digits = "".join(str(_HAN_DIGITS[character]) for character in point[1])
        return value + Fraction(int(digits), 10 ** len(digits)), end + point.end()
    return (value / 10, end + 1) if text[end:] == "成" and value <= 10 else (value, end)


def _han_number(text: str) -> Fraction | None:
    """The value of a whole text of Chinese numerals, digits between them included."""
    if text.isdecimal():
        return Fraction(int(text))
    whole = total = 0
    digit: int | None = None
    smallest = 10**5
    for token in re.findall(r"\d+|.", text):
        if token in _HAN_SCALES:
            if _HAN_SCALES[token] >= smallest:
                return None
            smallest = _HAN_SCALES[token]
            total, digit = total + (1 if digit is None else digit) * smallest, None
        elif token in _HAN_MYRIADS:
            if not total + (digit or 0):
                return None
            whole, total, digit, smallest = (
                (whole + total + (digit or 0)) * _HAN_MYRIADS[token],
                0,
                None,
                10**5,
            )
        elif digit:
            return None
        elif token.isdecimal() or token in _HAN_DIGITS:
            digit = int(token) if token.isdecimal() else _HAN_DIGITS[token]
        else:
            return None
    return Fraction(whole + total + (digit or 0))


def read_words(text: str) -> Read | None:
    """Reads number words from the front: `twenty-one dogs`, `half a dozen`, `two and a half`, `3 eighths`."""
    run = re.match(r"(?:\d{1,15}|[A-Za-z]+)(?:[ -](?:\d{1,15}(?![\d.,/])|[A-Za-z]+))*", text)
    tokens = (
        [(token.group().casefold(), token.end()) for token in _TOKENS.finditer(run.group())] if run else []
    )
    said = [word for word, _ in tokens]

    def end(count: int) -> int:
        return tokens[count - 1][1]

    if said[:2] in (["half", "a"], ["half", "an"]) and len(said) > 2:
        scale = SCALES.get(said[2])
        return (Fraction(scale, 2), end(3)) if scale else (Fraction(1, 2), end(2))
    if said == ["half"] or said[:1] == ["dozen"]:
        return Fraction(1, 2) if said == ["half"] else Fraction(12), end(1)
    article = said[:1] in (["a"], ["an"])
    if article and len(said) > 1 and said[1] in _PARTS:
        return Fraction(1, _PARTS[said[1]]), end(2)
    whole, used = _cardinal(said)
    if not used:
        return None
    rest = said[used:]
    if rest and (rest[0] in _PLURALS or (rest[0] in _PARTS and whole == 1)):
        return whole / {**_PLURALS, **_PARTS}[rest[0]], end(used + 1)
    if rest[:1] == ["point"]:
        digits = [WORDS.get(word, 10) for word in rest[1:10]]
        if digits and max(digits) < 10:
            return whole + Fraction(int("".join(map(str, digits))), 10 ** len(digits)), end(
                used + 1 + len(digits)
            )
        return None
    if rest[:1] == ["and"] and len(rest) > 2:
        above, more = (Fraction(1), 1) if rest[1] == "a" else _cardinal(rest[1:])
        part = {**_PARTS, **_PLURALS}.get("".join(rest[1 + more : 2 + more])) if more else None
        if part:
            return whole + above / part, end(used + 2 + more)
    return None if said[0].isdigit() and used == 1 else (whole, end(used))


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
            continue
        elif word == "hundred" and current:
            current *= 100
        elif word in SCALES and current:
            total, current = total + current * SCALES[word], 0
        elif not (word == "and" and used and following in WORDS and "hundred" in said[:index]):
            break
        if word != "and":
            used = index + 1
    return Fraction(total + current), used


def _may_follow(current: int, value: int) -> bool:
    """Whether `value` extends a number said so far: `twenty one`, `hundred five`, but not `two three`."""
    units = current % 100
    return units == 0 or (units >= 20 and units % 10 == 0 and 0 < value < 10)
