"""Numbers in words and Chinese characters: `twenty-one`, `two and a half`, `two thirds`, `二十一`."""

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
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4}
_PARTS |= {"fourths": 4, "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "eighth": 8, "eighths": 8}
_PARTS |= {"tenth": 10, "tenths": 10}
_ORDINAL_WORDS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_ORDINALS = _ORDINAL_WORDS.split()
_HAN_DIGITS = {"零": 0, "\u3007": 0, "一": 1, "二": 2, "两": 2, "兩": 2, "三": 3, "四": 4}
_HAN_DIGITS |= {"五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000}
_HAN_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_HAN = re.compile("[" + "".join(_HAN_DIGITS | _HAN_SCALES | _HAN_MYRIADS) + "]{1,19}")
_WORD_RUN = re.compile(r"[A-Za-z]+(?:[ -][A-Za-z]+)*")

Read = tuple[Fraction, int | None, int]  # value, decimals, characters read


def parse_ordinal(text: str) -> int | None:
    """Reads `first`, `1st`, `Twelfth`; None for anything else."""
    folded = text.casefold()
    if folded in _ORDINALS:
        return _ORDINALS.index(folded)
    match = re.fullmatch(r"(\d{1,9})(?:st|nd|rd|th)", folded)
    return int(match.group(1)) if match else None


def ordinals_in_words(text: str) -> str:
    """`2nd floor` as `second floor`."""

    def word(match: re.Match[str]) -> str:
        return _ORDINALS[int(match[1])] if int(match[1]) < len(_ORDINALS) else match[0]

    return re.sub(r"\b(\d{1,3})(?:st|nd|rd|th)\b", word, text)


def read_han(text: str) -> Read | None:
    """Reads Chinese numerals from the front of a text."""
    match = _HAN.match(text)
    if match is None:
        return None
    whole = total = digit = 0
    for character in match.group():
        if character in _HAN_SCALES:
            total += (digit or 1) * _HAN_SCALES[character]
            digit = 0
        elif character in _HAN_MYRIADS:
            if not total + digit:
                return None
            whole, total, digit = whole + (total + digit) * _HAN_MYRIADS[character], 0, 0
        elif digit:
            return None
        else:
            digit = _HAN_DIGITS[character]
    return Fraction(whole + total + digit), None, match.end()


def read_words(text: str) -> Read | None:
    """Reads number words from the front: `twenty-one dogs`, `half a dozen`, `two and a half`."""
    run = _WORD_RUN.match(text)
    if run is None:
        return None
    words = [(word.group().casefold(), word.end()) for word in re.finditer(r"[A-Za-z]+", run.group())]
    said = [word for word, _ in words]
    if said[:3] == ["half", "a", "dozen"]:
        return Fraction(6), None, words[2][1]
    if said == ["half"]:
        return Fraction(1, 2), None, words[0][1]
    if said == ["dozen"]:
        return Fraction(12), None, words[0][1]
    if len(said) > 1 and said[0] in ("a", "an", "one") and said[1] in _PARTS:
        return Fraction(1, _PARTS[said[1]]), None, words[1][1]
    total = current = used = 0
    for index, (word, end) in enumerate(words):
        if word in WORDS and _may_follow(current, WORDS[word]):
            current += WORDS[word]
        elif word == "a" and index == 0 and len(said) > 1 and said[1] in SCALES:
            current = 1
        elif word == "hundred" and current:
            current *= 100
        elif word in SCALES and current:
            total, current = total + current * SCALES[word], 0
        elif (
            used
            and said[index : index + 2] == ["and", "a"]
            and "".join(said[index + 2 : index + 3]) in _PARTS
        ):
            part = Fraction(1, _PARTS[said[index + 2]])
            return total + current + part, None, words[index + 2][1]
        elif (
            used
            and word == "and"
            and index + 2 < len(said)
            and said[index + 2] in _PARTS
            and said[index + 1] in WORDS
        ):
            part = Fraction(WORDS[said[index + 1]], _PARTS[said[index + 2]])
            return total + current + part, None, words[index + 2][1]
        elif used and word in _PARTS and word.endswith("s"):
            return Fraction(total + current, _PARTS[word]), None, end
        elif not (word == "and" and used and index + 1 < len(words) and said[index + 1] in WORDS):
            break
        if word != "and":
            used = end
    return (Fraction(total + current), None, used) if used else None


def _may_follow(current: int, value: int) -> bool:
    """Whether `value` extends a number said so far: `twenty one`, `hundred five`, but not `two three`."""
    units = current % 100
    return units == 0 or (units >= 20 and units % 10 == 0 and 0 < value < 10)
