"""Text that happens to hold digits and is no number: times, dates, ranges, sizes, ratios, codes, formulas.

Each is read whole, before any arithmetic: `18-24` is `18 to 24`, and no difference.
Each function gives a key, or None for a text that is nothing of the kind.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from rewards.answers.numerals import WORDS, parse_ordinal
from rewards.answers.quantities import Quantity, parse_quantity

_HAN_CLOCK = re.compile(r"(上午|早上|下午|晚上)?\s*(\S{1,3}?)\s*[点點时時]\s*(?:(半)|(\S{1,3}?)\s*分)?")
_HAN_DAY = re.compile(r"(?:(\d{4})年)?(\d{1,2})\s*月(?:\s*(\d{1,2})\s*[日号])?")
# 10/2015 is a month, 120/80 mmHg a reading, 50/50 odds: their quotients would make different ones equal.
_MONTH_YEAR = re.compile(r"(0?[2-9]|01|1[0-2])/((?:19|20)\d\d)")
_YEAR_MONTH = re.compile(r"((?:19|20)\d\d)-(0[1-9]|1[0-2])")
_PAIR = re.compile(
    r"(\d{1,3})/\1(?:\s+[a-z]+)?|\d{2,3}/\d{2,3}\s*mm\s?hg|\d{1,2}/\d{1,2}\s+time", re.IGNORECASE
)
_HALF = r"(?:\s*([ap])\.?\s?m\b\.?)?"
_CLOCK = re.compile(rf"(\d{{1,2}})[:h]([0-5]\d)(?::([0-5]\d))?{_HALF}(?:\s*(?:hours|hrs|h))?")
_HOUR = re.compile(r"(\d{1,2}|[a-z]+)\s*(?:([ap])\.?\s?m\b\.?|o'? ?clock" + _HALF + ")")
_PAST = re.compile(
    r"(?:a\s+)?(half|quarter|\d{1,2}|[a-z]+)(?:\s+minutes)?\s+(past|to|after)\s+(\d{1,2}|[a-z]+)" + _HALF
)
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[t ](\d\d:\d\d(?::\d\d)?)")
_YEAR_FIRST = re.compile(r"(\d{4})(?:([-/.])|\s*年\s*)(\d{1,2})(?:\2|\s*月\s*)(\d{1,2})\s*[日号]?")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|(?<!\.)\d{2})")
_MONTHS_TEXT = "january february march april may june july august september october november december"
_MONTHS = _MONTHS_TEXT.split()
_MONTH = rf"({'|'.join(rf'{month[:3]}(?:{month[3:]})?' for month in _MONTHS)}|sept)\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_WEEKDAY = re.compile(r"(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+(?=.*\d)")
_MONTH_FIRST = re.compile(rf"{_MONTH}(?:\s+{_DAY}(?!\d))?(?:\s*,?\s+(\d{{4}}))?")
_DAY_FIRST = re.compile(rf"(?:the\s+)?{_DAY}[\s-]+(?:of\s+)?{_MONTH}(?:\s*,?[\s-]+(\d{{4}}))?")
_RANGE_WORD = re.compile(
    r"(?:from\s+|between\s+)?(.+?)\s*(?:\bto\b|\bthrough\b|\buntil\b|\.{2,3}|[~至到]|\u2026)\s*(.+)"
)
_BETWEEN = re.compile(r"between\s+(.+?)\s+and\s+(.+)")
_RANGE_SIGN = re.compile(r"(?<=[\w%°)\u20ac\u00a3])\s*-{1,3}\s*(?=[-+$€£¥₹.\w])")
_TIMES = re.compile(r"\s*(?:\\times(?![a-z])|\\cdot(?![a-z])|\*|(?<=[\d\s\w])x(?=\s*[\d.])|\bby\b)\s*")
_RATIO = re.compile(r"\d+(?:\.\d+)?(?:\s*:\s*\d+(?:\.\d+)?)+")
_PHONE = re.compile(r"\+?[\d(][\d\s().-]{5,}\d")
_LEADING_ZERO = re.compile(r"(?<![\d.,])0\d")
_TOKEN = re.compile(r"[\w./:#-]+", re.ASCII)
_LETTER_DIGIT = re.compile(r"[^\W\d_]+[-_.]?\d")
_FUNCTION_FIRST = re.compile(r"(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|pi)\d+\b")
_JOINTS = re.compile(r"(?<=\w)[-./:](?=\w)")
_SEQUENCE = re.compile(r"[A-Z](?:\s*(?:-|\u2192)\s*[A-Z]){2,}|[A-Z]{1,4}-\d+[A-Z]?")
_ELEMENTS_TEXT = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr "
    "Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Nd Sm Eu Gd Hf Ta W Re Os Ir Pt Au Hg Tl Pb "
    "Bi Po At Rn Fr Ra Ac Th Pa U Np Pu"
)
_ELEMENTS = frozenset(_ELEMENTS_TEXT.split())
_SPECIES = re.compile(
    r"(?:(?<![\d}])\d*)?(?:[A-Z][a-z]?(?:_?\{\d+\}|_\d|\d+)?|[()\[\]](?:_?\{\d+\}|_\d|\d+)?)+"
    r"(?:\^\{\d?[+-]\}|\^?\d?[+-](?=$|\s))?(?:\((?:s|l|g|aq)\))?"
)


def moment(clean: str) -> str | None:
    """A time of day, a date, or two numbers with a slash that are no fraction."""
    folded = clean.lower()
    if _PAIR.fullmatch(folded) and not re.match(r"[01]/", folded):
        return f"ratio:{folded}"
    if stamp := _STAMP.fullmatch(folded):
        return f"{_date(stamp[1])} {_clock(stamp[2])}"
    return _clock(folded) or _date(_WEEKDAY.sub("", folded))


def code(clean: str) -> str | None:
    """A label of letters and digits or of groups of digits: `A1B2`, `192.168.0.1`, `555 0123`."""
    if _SEQUENCE.fullmatch(clean):
        return "code:" + "".join(clean.split()).lower()
    if not any(character.isdigit() for character in clean):
        return None
    if _PHONE.fullmatch(clean) and len(re.sub(r"\D", "", clean)) >= 7:
        return "code:" + "-".join(re.findall(r"\d+", clean))
    if not _TOKEN.fullmatch(clean) or _FUNCTION_FIRST.match(clean) or re.fullmatch(r"\d+[a-z]-\d+", clean):
        return None  # 2n-1 is an expression
    joints = _JOINTS.findall(clean)
    if "_" not in clean and (
        _LETTER_DIGIT.search(clean) or len(joints) > 1 or (joints and _LEADING_ZERO.search(clean))
    ):
        return f"code:{clean.lower()}"
    return None


def formula(clean: str) -> str | None:
    """A formula or an equation of chemistry, as it is written: `Al2(SO4)3`, `2H2 + O2 → 2H2O`, `NH4+`."""
    said = []
    for part in re.split(r"\s+(\+|\u2192|=)\s+|(\u2192|=)", clean):
        if part in ("+", "=", "\u2192", None):
            said += [part] if part else []
            continue
        part = part.strip()
        names = re.findall(r"[A-Z][a-z]?", re.sub(r"\((?:s|l|g|aq)\)$", "", part))
        if not _SPECIES.fullmatch(part) or not names or not _ELEMENTS.issuperset(names):
            return None
        said.append(re.sub(r"[_{}^]", "", part))
    if len(said) == 1 and not re.search(r"\d|[+-]$", said[0]):
        carbonyl = len(clean) == 2 and clean.isupper() and clean.title() in _ELEMENTS
        return f"formula:{clean}" if carbonyl else None  # CO is not Co; any other is a word
    if len(said) == 1 and re.fullmatch(r"[A-Z\d]+", said[0]):
        return f"code:{said[0].lower()}"  # CO2 is co2, but Co2 is not
    return "formula:" + "".join(said)


def _clock(folded: str) -> str | None:
    """A time of day, on 24 hours where morning or afternoon is said, else as it stands on a dial."""
    if named_hour := re.fullmatch(r"(?:12(?::00)?\s*)?(noon|midday|midnight)", folded):
        return "time:24:00:00" if named_hour[1] == "midnight" else "time:24:12:00"
    if han := _HAN_CLOCK.fullmatch(folded):
        half = "" if not han[1] else "am" if han[1] in ("上午", "早上") else "pm"
        said = [parse_quantity(part or "0") for part in (han[2], "30" if han[3] else han[4])]
        folded = ":".join(f"{one.value!s:0>2}" for one in said if one and not one.unit) + half
    folded = re.sub(r"(?<=\d)\.(?=[0-5]\d\s*[ap]\.?\s?m)", ":", folded)
    if match := _CLOCK.fullmatch(folded):
        hour, minute, second, half = int(match[1]), int(match[2]), match[3], match[4]
    elif match := _HOUR.fullmatch(folded):
        hour, minute, second, half = _hour(match[1]), 0, None, match[2] or match[3]
    elif match := _PAST.fullmatch(folded):
        named = {"half": 30, "quarter": 15}
        minute, hour = named.get(match[1], _hour(match[1])), _hour(match[3])
        digits = match[1].isdigit() and match[3].isdigit()
        if not 0 < minute < 60 or hour > 24 or (match[2] == "to" and digits):
            return None
        hour, minute = (hour, minute) if match[2] != "to" else ((hour - 2) % 12 + 1, 60 - minute)
        second, half = None, match[4]
    else:
        return None
    if hour > 24 or (half and not 1 <= hour <= 12):
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    known = "24" if half or hour > 12 or hour == 0 else "12"
    seconds = f":{second}" if second and int(second) else ""
    return f"time:{known}:{hour:02}:{minute:02}{seconds}"


def _hour(text: str) -> int:
    return int(text) if text.isdigit() else WORDS.get(text, 99)


def _date(folded: str) -> str | None:
    """A calendar date: year, month, day; where day and month cannot be told apart, as it is written."""
    if match := _HAN_DAY.fullmatch(folded):
        return _day(match[1], match[2], match[3]) if match[1] or match[3] else None
    if match := _MONTH_YEAR.fullmatch(folded):
        return _day(match[2], match[1], None)
    if match := _YEAR_MONTH.fullmatch(folded):
        return _day(match[1], match[2], None)
    if match := _YEAR_FIRST.fullmatch(folded):
        return _day(match[1], match[3], match[4])
    if match := re.fullmatch(r"(?:year\s+)?((?:19|20)\d\d)\s+q([1-4])|q([1-4])\s+((?:19|20)\d\d)", folded):
        return f"date:{match[1] or match[4]} q{match[2] or match[3]}"
    if match := _YEAR_LAST.fullmatch(folded):
        first, last, year = int(match[1]), int(match[3]), match[4]
        if len(year) == 4 and (first > 12 or first == last):
            return _day(year, match[3], match[1])
        if len(year) == 4 and last > 12:
            return _day(year, match[1], match[3])
        return f"date:{first}/{last}/{year}" if max(first, last) <= 31 and match[2] != "." else None
    named, day_named = _MONTH_FIRST.fullmatch(folded), _DAY_FIRST.fullmatch(folded)
    if named:
        month_name, said_day, said_year = named.groups()
    elif day_named:
        said_day, month_name, said_year = day_named.groups()
    else:
        return None
    month = next(place for place, name in enumerate(_MONTHS, start=1) if name.startswith(month_name[:3]))
    return _day(said_year, str(month), said_day) if said_day or said_year else None


def _day(year: str | None, month: str, day: str | None) -> str | None:
    found = int(year or 0), int(month), int(day or 0)
    return "date:{}-{}-{}".format(*found) if 1 <= found[1] <= 12 and found[2] <= 31 else None


def joined(clean: str, number: Callable[[Quantity], str]) -> str | None:
    """A range, a size or a ratio; a unit said once, at the end or of money at the front, is all's.

    Args:
        clean: a cleaned text.
        number: gives the key of a number.
    """
    if between := _BETWEEN.fullmatch(clean):
        return _together("range", [between[1], between[2]], number)
    for cut in _RANGE_SIGN.finditer(clean):
        if found := _together("range", [clean[: cut.start()], clean[cut.end() :]], number):
            return found
    if (word := _RANGE_WORD.fullmatch(clean)) and (found := _together("range", [word[1], word[2]], number)):
        return found
    parts = _TIMES.split(clean)
    if 2 <= len(parts) <= 6 and (found := _together("size", parts, number)):
        return found
    return "ratio:" + "".join(clean.split()) if _RATIO.fullmatch(clean) else None


def _together(kind: str, parts: list[str], number: Callable[[Quantity], str]) -> str | None:
    quantities: list[Quantity] = []
    parts = [part.strip() for part in parts]
    for part in parts:
        found = parse_quantity(part) if not _LEADING_ZERO.search(part) else None
        if found is None or moment(part):
            return _moments(kind, parts)
        quantities.append(found)
    if kind == "range" and (half := re.search(r"\s*([ap]\.?m\.?)$", parts[-1])):
        return _moments(kind, [parts[0] + half[1], parts[1]])
    last, first = quantities[-1], quantities[0]
    unit = last.unit or (first.unit if re.match(r"[$€£¥₹₩]|rs", parts[0], re.IGNORECASE) else None)
    if last.written and not any(one.written for one in quantities[:-1]):
        scale = last.value / last.written  # 5-10 million
        quantities = [*(replace(one, value=one.value * scale) for one in quantities[:-1]), last]
    return f"{kind}:" + " ".join(number(replace(one, unit=one.unit or unit)) for one in quantities)


def _moments(kind: str, parts: list[str]) -> str | None:
    """Times, dates or ordinals that stand together: `8 am - 5 pm`, `6-8 pm`, `1st to 3rd`."""
    if kind != "range":
        return None
    if (half := re.search(r"\s*([ap]\.?m\.?)$", parts[-1])) and parts[0].isdigit():
        parts = [parts[0] + half[1], parts[1]]
    items = [
        f"ordinal:{parse_ordinal(part)}" if parse_ordinal(part) is not None else moment(part)
        for part in parts
    ]
    kinds = {str(item).partition(":")[0] for item in items}
    return f"{kind}:" + " ".join(map(str, items)) if len(kinds) == 1 and None not in items else None
