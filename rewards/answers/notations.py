"""Text that happens to hold digits and is no number: times, dates, ranges, sizes, ratios, codes, formulas.

Each function gives a key, or None for what is nothing of the kind: `18-24` is `18 to 24`, and no difference.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from rewards.answers.quantities import WORDS, Quantity, parse_quantity, word_set

# 120/80 mmHg is a reading, 50/50 odds: their quotients would make different ones equal.
_PAIR = re.compile(r"(\d{1,3})/\1(?:\s+[a-z]+)?|\d{2,3}/\d{2,3}\s*mm\s?hg|\d{1,2}/\d{1,2}\s+time")
_CLOCK = re.compile(
    r"(\d{1,2}|[a-z]+)(?:([:.h])([0-5]\d)(?::([0-5]\d))?)?(?:\s*(?:([ap])\.?\s?m\b\.?|o'? ?clock))?"
)
_MONTH = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"(?P<d>\d{1,2})(?:st|nd|rd|th)?(?!\d)"
_YEAR = r"(?P<y>(?:19|20)\d\d)"
_DATES = (
    r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})",
    r"(?:(?P<y>\d{4})年)?(?P<m>\d{1,2})月(?:(?P<d>\d{1,2})[日号])?",
    rf"(?P<m>0?[2-9]|01|1[0-2])/{_YEAR}",  # 10/2015 is a month, and 1/2015 a fraction
    rf"{_YEAR}-(?P<m>0[1-9]|1[0-2])",
    rf"{_MONTH}(?:\s+{_DAY})?(?:\s*,?\s+(?P<y>\d{{4}}))?",
    rf"(?:the\s+)?{_DAY}[\s-]+(?:of\s+)?{_MONTH}(?:\s*,?[\s-]+(?P<y>\d{{4}}))?",
)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|(?<!\.)\d{2})")
_RANGE_WORD = re.compile(
    r"(?:from\s+|between\s+)?(.+?)\s*(?:\b(?:to|through|until)\b|\.{2,3}|[~至到…])\s*(.+)"
)
_BETWEEN = re.compile(r"between\s+(.+?)\s+and\s+(.+)")
_RANGE_SIGN = re.compile(r"(?<=[\w%°)\u20ac\u00a3])\s*-{1,3}\s*(?=[-+$€£¥₹.\w])")
_TIMES = re.compile(r"\s*(?:\\times(?![a-z])|\\cdot(?![a-z])|\*|(?<=[\d\s\w])x(?=\s*[\d.])|\bby\b)\s*")
_RATIO = re.compile(r"\d+(?:\.\d+)?(?:\s*:\s*\d+(?:\.\d+)?)+")
_LEADING_ZERO = re.compile(r"(?<![\d.,])0\d")
_TOKEN = re.compile(r"[\w./:#-]+", re.ASCII)
_LETTER_DIGIT = re.compile(r"[^\W\d_]+[-_.]?\d")
# 2n-1 and x-1 are expressions.
_NO_CODE = re.compile(r"(?:sin|cos|tan|log|ln|exp|sqrt|pi)\d+\b.*|(?:\d+[a-z]|[nxyz])-\d+(?:\.\d+)?[a-z]?")
_JOINTS = re.compile(r"(?<=\w)[-./:](?=\w)")
_SEQUENCE = re.compile(r"[A-Z](?:\s*(?:-|\u2192)\s*[A-Z]){2,}|[A-Z]{1,4}-\d+[A-Z]?")
_SPECIES = re.compile(
    r"\d*(?:[A-Z][a-z]?(?:_?\{\d+\}|_\d|\d+)?|[()\[\]](?:_?\{\d+\}|_\d|\d+)?)+"
    r"(?:\^\{\d?[+-]\}|\^?\d?[+-](?=$|\s))?(?:\((?:s|l|g|aq)\))?"
)
_ALSO_ELEMENTS = word_set("CO CS HF NB NI OS PB PO SC SI SN")  # CO is not Co


def moment(clean: str) -> str | None:
    """A time of day, a date, or two numbers with a slash that are no fraction."""
    folded = re.sub(r"(?<=\d)\s*:\s*(?=\d)", ":", clean.lower())
    if _PAIR.fullmatch(folded) and not re.match(r"[01]/", folded):
        return f"ratio:{folded}"
    return _clock(folded) or _date(folded)


def _clock(folded: str) -> str | None:
    """A time of day, on 24 hours where morning or afternoon is said, else on 12 hours."""
    if folded in ("noon", "midday", "midnight", "12 noon", "12 midnight"):
        return "time:24:00:00" if "night" in folded else "time:24:12:00"
    match = _CLOCK.fullmatch(folded)
    if match is None or not (match[3] or match[5] or "clock" in folded) or (match[2] == "." and not match[5]):
        return None
    hour = int(match[1]) if match[1].isdigit() else WORDS.get(match[1], 99)
    if hour > 24 or (match[5] and not 1 <= hour <= 12):
        return None
    if match[5]:
        hour = hour % 12 + (12 if match[5] == "p" else 0)
    known = "24" if match[5] or hour > 12 or hour == 0 else "12"
    return f"time:{known}:{hour:02}:{match[3] or '00'}" + (f":{match[4]}" if int(match[4] or 0) else "")


def _date(folded: str) -> str | None:
    """A calendar date: year, month, day; where day and month cannot be told apart, as it is written."""
    if match := _YEAR_LAST.fullmatch(folded):
        first, last, year = int(match[1]), int(match[3]), match[4]
        if max(first, last) > 31 or min(first, last) > 12 or match[2] == ".":
            return None
        if len(year) == 2 or (max(first, last) <= 12 and first != last):
            return f"date:{first}/{last}/{year}"
        return f"date:{int(year)}-{min(first, last)}-{max(first, last)}"
    said = next((match.groupdict() for form in _DATES if (match := re.fullmatch(form, folded))), {})
    if "name" in said:
        said["m"] = str("janfebmaraprmayjunjulaugsepoctnovdec".index(said["name"][:3]) // 3 + 1)
    year, month, day = (int(said.get(part) or 0) for part in "ymd")
    return f"date:{year}-{month}-{day}" if 1 <= month <= 12 and day <= 31 and (year or day) else None


def code(clean: str) -> str | None:
    """A label of letters and digits or of groups of digits: `A1B2`, `192.168.0.1`."""
    if _SEQUENCE.fullmatch(clean):
        return "code:" + "".join(clean.split()).lower()
    if not re.search(r"\d", clean) or not _TOKEN.fullmatch(clean) or _NO_CODE.fullmatch(clean):
        return None
    joints = _JOINTS.findall(clean)
    coded = _LETTER_DIGIT.search(clean) or len(joints) > 1 or (joints and _LEADING_ZERO.search(clean))
    return f"code:{clean.lower()}" if coded and "_" not in clean else None


def formula(clean: str) -> str | None:
    """A formula or an equation of chemistry, as it is written: `Al2(SO4)3`, `2H2 + O2 → 2H2O`, `NH4+`."""
    plus = r"|(?<=[\w)}])\+(?=\d*[A-Z(])" if "\u2192" in clean else ""
    parts = re.split(r"\s+[+=\u2192]\s+|\s*[=\u2192]\s*" + plus, clean)
    if clean in _ALSO_ELEMENTS:
        return f"formula:{clean}"
    few = len(re.findall("[A-Za-z]", clean)) < 2 or not re.search(r"[A-Za-z)]_?\{?\d", clean)
    if few or not all(map(_SPECIES.fullmatch, parts)):
        return None
    said = re.sub(r"[\s_{}^]", "", clean)
    return f"code:{said.lower()}" if re.fullmatch(r"[A-Z\d]+", said) else f"formula:{said}"


def joined(clean: str, number: Callable[[Quantity], str]) -> str | None:
    """A range, a size or a ratio; a unit said once, at the end or of money at the front, is all's.

    Args:
        clean: a cleaned text.
        number: gives the key of a number.
    """
    pairs = [(match[1], match[2]) for form in (_BETWEEN, _RANGE_WORD) if (match := form.fullmatch(clean))]
    pairs += [(clean[: cut.start()], clean[cut.end() :]) for cut in _RANGE_SIGN.finditer(clean)]
    for pair in pairs:
        if found := _together("range", pair, number):
            return found
    parts = [] if re.match(r"0x[\da-fA-F]", clean) else _TIMES.split(clean)
    if 2 <= len(parts) <= 6 and (found := _together("size", parts, number)):
        return found
    return "ratio:" + "".join(clean.split()) if _RATIO.fullmatch(clean) else None


def _together(kind: str, said: Sequence[str], number: Callable[[Quantity], str]) -> str | None:
    parts = [part.strip() for part in said]
    read = [None if _LEADING_ZERO.search(part) or moment(part) else parse_quantity(part) for part in parts]
    quantities = [one for one in read if one]
    if len(quantities) < len(parts):
        moments = [moment(part) for part in parts]
        return f"range:{moments}" if kind == "range" and all(moments) else None
    last, first = quantities[-1], quantities[0]
    unit = last.unit or (first.unit if re.match(r"[$€£¥₹₩]|rs", parts[0], re.IGNORECASE) else None)
    if last.written and not any(one.written for one in quantities[:-1]):
        scale = last.value / last.written  # 5-10 million
        quantities = [*(replace(one, value=one.value * scale) for one in quantities[:-1]), last]
    return f"{kind}:" + " ".join(number(replace(one, unit=one.unit or unit)) for one in quantities)
