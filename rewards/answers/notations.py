"""Text that happens to hold digits: times, dates, ranges, sizes, ratios, codes.

Each is recognised before any arithmetic and compared as what it is: `18-24` is `18 to 24`, and no difference.
"""

import re
from dataclasses import replace

from rewards.answers.form import Form, Kind, number_form
from rewards.answers.numerals import WORDS, parse_ordinal
from rewards.answers.quantities import Quantity, parse_quantity

_HAN_CLOCK = re.compile(r"(上午|早上|下午|晚上)?\s*(\S{1,3}?)\s*[点點时時]\s*(?:(半|\S{1,3}?)\s*分?)?")
_HAN_DAY = re.compile(r"(\d{1,2})\s*月\s*(\d{1,2})\s*[日号]")
# 10/2015 is a month, 120/80 mmHg a reading, 50/50 odds: their quotients would make different ones equal.
_MONTH_YEAR = re.compile(r"(0?[2-9]|01|1[0-2])/((?:19|20)\d\d)")
_PAIR = re.compile(
    r"(?:(\d{1,3})/\1(?:\s+[a-z]+)?|\d{2,3}/\d{2,3}\s*mm\s?hg|\d{1,2}/\d{1,2}\s+time)", re.IGNORECASE
)
_HALF = r"(?:\s*([ap])\.?\s?m\b\.?)?"
_CLOCK = re.compile(rf"(\d{{1,2}})[:h]([0-5]\d)(?::([0-5]\d))?{_HALF}(?:\s*(?:hours|hrs|h))?")
_HOUR = re.compile(r"(\d{1,2}|[a-z]+)\s*(?:([ap])\.?\s?m\b\.?|o'? ?clock" + _HALF + ")")
_PAST = re.compile(
    r"(?:a\s+)?(half|quarter|\d{1,2}|[a-z]+)(?:\s+minutes)?\s+(past|to|after)\s+(\d{1,2}|[a-z]+)" + _HALF
)
_YEAR_FIRST = re.compile(r"(\d{4})(?:([-/.])|\s*年\s*)(\d{1,2})(?:\2|\s*月\s*)(\d{1,2})\s*[日号]?")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|(?<!\.)\d{2})")
_MONTH_NAMES = "january february march april may june july august september october november december"
_MONTHS = _MONTH_NAMES.split()
_MONTH = rf"({'|'.join(rf'{month[:3]}(?:{month[3:]})?' for month in _MONTHS)}|sept)\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_MONTH_FIRST = re.compile(rf"{_MONTH}(?:\s+{_DAY}(?!\d))?(?:\s*,?\s+(\d{{4}}))?")
_DAY_FIRST = re.compile(rf"(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}(?:\s*,?\s+(\d{{4}}))?")
_RANGE_WORD = re.compile(
    r"(?:from\s+|between\s+)?(.+?)\s*(?:\bto\b|\bthrough\b|\buntil\b|\.{2,3}|[~至到]|\u2026)\s*(.+)"
)
_BETWEEN = re.compile(r"between\s+(.+?)\s+and\s+(.+)")
_RANGE_SIGN = re.compile(r"(?<=[\w%°)\u20ac\u00a3])\s*-{1,3}\s*(?=[-+$€£¥₹.\d])")
_TIMES = re.compile(r"\s*(?:\u00d7|\\times(?![a-z])|\*|(?<=[\d\s\w])x(?=\s*[\d.])|\bby\b)\s*")
_RATIO = re.compile(r"\d+(?:\.\d+)?(?:\s*:\s*\d+(?:\.\d+)?)+")
_RELATION = re.compile(r"<=|>=|!=|[=<>≤≥≠≈]|\\(?:leq?|geq?|lt|gt|neq?|approx)(?![a-z])")
_NO_VARIABLE = re.compile(
    r"\\(?:frac|sqrt|cdot|times|div|pi)(?![a-z])|[^A-Za-z\\]|\bsqrt\b|\bpi\b|(?<=\d)x(?=\d)"
)
_FRACTION = re.compile(r"\\frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_PHONE = re.compile(r"\+?[\d(][\d\s().-]{5,}\d")
_LEADING_ZERO = re.compile(r"(?<![\d.,])0\d")
_TOKEN = re.compile(r"[\w./:#-]+")
_LETTER_DIGIT = re.compile(r"[^\W\d_]+[-_.]?\d")
_FUNCTION_FIRST = re.compile(r"(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|pi)\d+\b")
_JOINTS = re.compile(r"(?<=\w)[-./:](?=\w)")
_SEQUENCE = re.compile(r"[A-Z](?:\s*-\s*[A-Z]){2,}|[A-Z]{1,4}-\d+[A-Z]?")


def moment(clean: str) -> Form | None:
    """The form of a time of day, a date, or two numbers with a slash that are no fraction, or None."""
    folded = clean.casefold()
    if _PAIR.fullmatch(folded) and not re.match(r"[01]/", folded):
        return _written("ratio", folded)
    return _clock(folded) or _date(folded)


def notation(clean: str) -> Form | None:
    """The form of a text that writes something down in digits that is no number; None for all else."""
    if not any(character.isdigit() for character in clean):
        return _named_range(clean)
    return _equation(clean) or _range(clean) or _size(clean) or _ratio(clean)


def code(clean: str) -> Form | None:
    """The form of a label of letters and digits or of groups of digits: `A1B2`, `192.168.0.1`, `555 0123`."""
    if _SEQUENCE.fullmatch(clean):
        return _written("code", "".join(clean.split()).casefold())
    if not any(character.isdigit() for character in clean):
        return None
    if _PHONE.fullmatch(clean) and len(re.sub(r"\D", "", clean)) >= 7:
        return _written("code", "-".join(re.findall(r"\d+", clean)))
    tight = clean.replace("{", "").replace("}", "").replace("_", "")
    if not _TOKEN.fullmatch(tight) or _FUNCTION_FIRST.match(tight):
        return None
    joints = _JOINTS.findall(tight)
    if re.fullmatch(r"\d+[a-z]-\d+", tight):
        return None  # 2n-1 is an expression
    if _LETTER_DIGIT.search(tight) or len(joints) > 1 or (joints and _LEADING_ZERO.search(tight)):
        return _written("code", tight.casefold())
    return None


def _written(kind: Kind, key: str) -> Form:
    return Form(kind=kind, key=key)


def _clock(folded: str) -> Form | None:
    """A time of day, on 24 hours where morning or afternoon is said, else as it stands on a dial."""
    if named_hour := re.fullmatch(r"(?:12(?::00)?\s*)?(noon|midday|midnight)", folded):
        return _written("time", "24:00:00" if named_hour[1] == "midnight" else "24:12:00")
    if han := _HAN_CLOCK.fullmatch(folded):
        half = "" if not han[1] else "am" if han[1] in ("上午", "早上") else "pm"
        said = [parse_quantity(part or "0") for part in (han[2], (han[3] or "").replace("半", "30"))]
        folded = ":".join(f"{one.value!s:0>2}" for one in said if one and not one.unit) + half
    folded = re.sub(r"(?<=\d)\.(?=[0-5]\d\s*[ap]\.?\s?m)", ":", folded)
    if match := _CLOCK.fullmatch(folded):
        hour, minute, second, half = int(match[1]), int(match[2]), match[3], match[4]
    elif match := _HOUR.fullmatch(folded):
        hour, minute, second, half = _hour(match[1]), 0, None, match[2] or match[3]
    elif match := _PAST.fullmatch(folded):
        named = {"half": 30, "quarter": 15}
        minute, hour = named.get(match[1], _hour(match[1])), _hour(match[3])
        if not 0 < minute < 60 or hour > 24 or (match[2] == "to" and match[1] not in named):
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
    return _written("time", f"{known}:{hour:02}:{minute:02}{seconds}")


def _hour(text: str) -> int:
    return int(text) if text.isdigit() else WORDS.get(text, 99)


def _date(folded: str) -> Form | None:
    """A calendar date: year, month, day; where day and month cannot be told apart, as it is written."""
    if match := _HAN_DAY.fullmatch(folded):
        return _day(0, int(match[1]), int(match[2]))
    if match := _MONTH_YEAR.fullmatch(folded):
        return _day(int(match[2]), int(match[1]), 0)
    if match := _YEAR_FIRST.fullmatch(folded):
        return _day(int(match[1]), int(match[3]), int(match[4]))
    if match := _YEAR_LAST.fullmatch(folded):
        first, last, year = int(match[1]), int(match[3]), match[4]
        if len(year) == 4 and (first > 12 or first == last):
            return _day(int(year), last, first)
        if len(year) == 4 and last > 12:
            return _day(int(year), first, last)
        return (
            _written("date", f"{first}/{last}/{year}") if max(first, last) <= 31 and match[2] != "." else None
        )
    named, day_named = _MONTH_FIRST.fullmatch(folded), _DAY_FIRST.fullmatch(folded)
    if named:
        month_name, said_day, said_year = named.groups()
    elif day_named:
        said_day, month_name, said_year = day_named.groups()
    else:
        return None
    month = next(place for place, name in enumerate(_MONTHS, start=1) if name.startswith(month_name[:3]))
    if not said_day and not said_year:
        return None  # the name of a month, a text
    return _day(int(said_year or 0), month, int(said_day or 0))


def _day(year: int, month: int, day: int) -> Form | None:
    return _written("date", f"{year}-{month}-{day}") if 1 <= month <= 12 and day <= 31 else None


def _equation(clean: str) -> Form | None:
    """`3 + 4 = 7`: a relation without a variable, compared side by side and not by its truth."""
    signs = list(_RELATION.finditer(clean))
    if not signs or _NO_VARIABLE.sub("", clean).strip():
        return None
    ends = [sign.end() for sign in signs]
    sides = [
        clean[a:b].strip() for a, b in zip([0, *ends], [*(s.start() for s in signs), len(clean)], strict=True)
    ]
    items = tuple(_side(side) for side in sides if side)
    if len(items) < 2:
        return None
    sign = " ".join(sign.group() for sign in signs)
    key = sign + " ".join(f"{item.kind}:{item.key}" for item in items)
    return Form(kind="equation", key=key, items=items, bracket=sign)


def _side(text: str) -> Form:
    """One side of an equation as it is written: 2/2 is not 1/1 there."""
    written = "".join(_FRACTION.sub(r"\1/\2", text).split())
    quantity = parse_quantity(text) if "/" not in written else None
    return number_form(quantity) if quantity else Form(kind="text", key=written, latex=text)


def _range(clean: str) -> Form | None:
    if between := _BETWEEN.fullmatch(clean):
        return _joined("range", [between[1], between[2]])
    cuts = list(_RANGE_SIGN.finditer(clean))
    for cut in cuts:
        if found := _joined("range", [clean[: cut.start()], clean[cut.end() :]]):
            return found
    return _named_range(clean)


def _named_range(clean: str) -> Form | None:
    match = _RANGE_WORD.fullmatch(clean)
    return _joined("range", [match[1], match[2]]) if match else None


def _size(clean: str) -> Form | None:
    parts = _TIMES.split(clean)
    return _joined("size", parts) if 2 <= len(parts) <= 6 else None


def _ratio(clean: str) -> Form | None:
    return _written("ratio", "".join(clean.split())) if _RATIO.fullmatch(clean) else None


def _joined_moments(kind: Kind, parts: list[str]) -> Form | None:
    """Times, dates or ordinals that stand together: `8 am - 5 pm`, `1st to 3rd`."""
    items = [_moment_or_place(part.strip()) for part in parts]
    if kind != "range" or len({item.kind for item in items}) > 1 or items[0].kind == "text":
        return None
    return Form(kind=kind, key=" ".join(item.key for item in items), items=tuple(items))


def _moment_or_place(text: str) -> Form:
    place = parse_ordinal(text)
    return _written("ordinal", str(place)) if place is not None else moment(text) or _written("text", text)


def _joined(kind: Kind, parts: list[str]) -> Form | None:
    """Numbers that stand together; a unit said once, at the end or of money at the front, is all's."""
    quantities: list[Quantity] = []
    for part in parts:
        found = parse_quantity(part.strip()) if not _LEADING_ZERO.search(part) else None
        if found is None or moment(part.strip()):
            return _joined_moments(kind, parts)
        quantities.append(found)
    last, first = quantities[-1], quantities[0]
    unit = last.unit or (first.unit if re.match(r"[$€£¥₹₩]|rs", parts[0].strip(), re.IGNORECASE) else None)
    if last.written and not any(one.written for one in quantities[:-1]):
        scale = last.value / last.written if last.written else 1  # 5-10 million
        quantities = [replace(one, value=one.value * scale, written=one.value) for one in quantities[:-1]] + [
            last
        ]
    items = tuple(number_form(replace(one, unit=one.unit or unit)) for one in quantities)
    return Form(kind=kind, key=" ".join(item.key for item in items), items=items)
