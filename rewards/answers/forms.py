r"""The grammar of answers: each form is read whole to the last character, and what is no form is text.

`docs/answer-equivalence.md` lists the forms, with an example of equal and of unequal each.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from rewards.answers.algebra import Expression, equation_key, read_expression
from rewards.answers.choices import bare_letter
from rewards.answers.cleaning import UNIT_MARK, plain, unwrapped
from rewards.answers.field import Value, value_of
from rewards.answers.notations import code, formula, joined, moment
from rewards.answers.numerals import ordinals_in_words, parse_ordinal
from rewards.answers.quantities import Quantity, parse_quantity
from rewards.answers.questions import Asked
from rewards.answers.units import Unit, known_unit
from rewards.answers.yes_no import yes_or_no

_MAX_ITEMS = 32
_ASSIGNED = re.compile(
    r"((?:m?\s*\\angle\s*)?\\?[A-Za-z]+(?:_\{?\w+\}?)?'?(?:\([A-Za-z\d]{1,4}\))?"
    r"|[A-Za-z]+(?: [A-Za-z]+){1,4})"
    r"\s*=\s*([^=\s].*)"
)
_UNIT_START = re.compile(r"(?<=[\d)}\]\s])(?=[^\W\d_]|[°%])|(?<=\\pi)\s+(?=[^\W\d_])")
_SURE_UNIT = re.compile(
    r"(?:[cmdk]m|kg|ft|[kM]?Hz|[kM]?Pa|[°%].*|[^\W\d_]{3,}(?:\s+[^\W\d_]{3,})*|[\u4e00-\u9fff].*|.*/.*)"
    r"(?:\^?\{?-?\d\}?)?"
)
_MATHEMATICAL = re.compile(
    r"[\\+*/^()|]|\d|[^\W\d_]\s*-\s*[^\W_]|^-\s*[a-z]$|\b(?:squared|cubed|pi|sin|cos|tan|log|ln|sqrt|exp)\b"
    r"|\b(?:alpha|beta|gamma|delta|theta|lambda|phi|omega|sigma)\b",
    re.IGNORECASE,
)
_SAID_TWICE = re.compile(r"(.+?)\s*\(([^()]+)\)")
_ARTICLE = re.compile(r"(?:the|a|an)\s+(?=\S)")
_PLACE = re.compile(
    r"(?:(?:on|at|to|in|towards?)\s+)?(?:the\s+)?(?:very\s+)?(left|right|top|bottom|middle|center|centre|front|back)"
    r"(?:[ -]?hand)?(?:\s+(?:side|part|edge))?"
)
_BARE_COMMA = re.compile(r"(?<!\d),|,(?!\d{3}(?!\d))")
_NAMED_PAIR = re.compile(r"\(([A-Za-z](?:\s*,\s*[A-Za-z])+)\)\s*=\s*\(([^()]*)\)")
_MATRIX = re.compile(r"\\begin\{([a-zB]?matrix|array|cases)\}(?:\{[lcr|]+\})?(.*)\\end\{\1\}", re.DOTALL)
_BELOW = {"<": "(", "<=": "["}
_ABOVE = {"<": ")", "<=": "]"}
_TURNED = {">": "<", ">=": "<="}
_ORDERED = ("range", "ratio", "yes_no")


@dataclass(frozen=True, slots=True)
class Form:
    """An answer in canonical form; two answers with one key are the same.

    Attributes:
        key: its canonical text, which begins with its kind; empty for an empty answer.
        bare: of a value, the key of its number without unit and name.
    """

    key: str
    bare: str = ""

    @property
    def kind(self) -> str:
        """What it is: `letter`, `yes_no`, `value`, `list`, `text` and so on; `empty` for nothing."""
        return self.key.partition(":")[0] or "empty"


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads texts as the answers to one question."""

    question: Asked

    def form(self, text: str, *, alone: bool = True, nested: bool = False) -> Form:
        """Finds the form of a cleaned text; the order of the forms is the order of precedence.

        Args:
            text: cleaned, with `UNIT_MARK` before upright units.
            alone: whether there are no options, so that a letter may be an answer's.
            nested: whether it is an item of a list.
        """
        text = re.sub(r"^year (?=\d{4}$)", "", text)
        clean = text.replace(UNIT_MARK, "")
        if nested and len(clean) == 1 and clean.isalpha():
            return Form(f"letter:{clean}")
        if alone and (letter := bare_letter(clean)) and len(letter) == 1:
            return Form(f"letter:{letter}")
        if said := yes_or_no(clean.lower()):
            return Form(f"yes_no:{said}")
        article = _ARTICLE.match(clean.lower())
        bare = clean[article.end() :] if article else clean
        if when := moment(bare):
            return Form(when)
        if value := self.named_value(text):
            return value
        if (found := parse_quantity(clean) or _said_twice(clean)) or (
            article and (found := parse_quantity(bare))
        ):
            return self.number(found)
        if infinite := re.fullmatch(r"([+-]?)\s*\\?(?:infty|inf|infinity)", clean.lower()):
            return Form(f"value:{infinite[1].strip('+')}inf")
        if (place := parse_ordinal(bare)) is not None:
            return Form(f"ordinal:{place}")
        for key in (
            joined(bare, lambda one: self.number(one).key) if "=" not in bare else None,
            self.relation(clean) if re.search(r"[<>]|\\[lg](?:eq?|t)(?![a-z])", clean) else None,
            None if nested else self.several(text),
            formula(clean),
            code(bare),
            self.relation(clean),
        ):
            if key:
                return Form(key)
        if measured := self.expression(text):
            return measured
        if found := parse_quantity(clean, counted=True):
            return self.number(found)
        return Form(_words(clean))

    def number(self, found: Quantity, name: str = "") -> Form:
        """The form of a number that was read, perhaps with the name of what it is."""
        return self.value(found.value, unit=found.unit, thing=found.thing, name=name)

    def value(self, value: Fraction | Value, *, unit: Unit | None, thing: str = "", name: str = "") -> Form:
        """The form of a number or an expression, in base units unless the question names its unit."""
        said, dimension = value, unit.dimension if unit else ()
        factor = unit.factor if unit else Fraction(1)
        if dimension == (("%", 1),):
            factor, dimension = (factor if self.question.percent else factor / 100), ()
        elif dimension and (wanted := self.question.unit(dimension)):
            factor, dimension = factor / wanted.factor, ()
        if factor != 1:
            value = value * factor if isinstance(value, Fraction) else value * value_of(factor)
        thing = "" if thing and self.question.counts(thing) else thing
        name = "" if name == "x" or name in self.question.names else name
        key = _key(value)
        measured = "".join(f" {base}^{power}" for base, power in dimension)
        shown = f"{name + '=' if name else ''}{key}{measured}{' of ' + thing if thing else ''}"
        return Form(f"value:{shown}", "" if thing else _key(said))

    def named_value(self, text: str) -> Form | None:
        """`x = 5`, `AB = 5 cm`, `width = 9`: a name and the value of it."""
        match = _ASSIGNED.fullmatch(text)
        if match is None or "=" in match[2]:
            return None
        name = re.sub(r"\s+", " ", re.sub(r"[_{}\\]", "", match[1])).strip()
        clean = match[2].replace(UNIT_MARK, "").strip()
        if found := parse_quantity(clean):
            return self.number(found, name if len(name) == 1 else name.lower() if " " in name else name)
        form = self.expression(match[2], name=name)
        return form if form and name.isascii() else None

    def expression(self, text: str, name: str = "") -> Form | None:
        """An expression, its unit behind it where it has one; with a name, only one without variables."""
        clean = text.replace(UNIT_MARK, "")
        if clean.lower() == "n/a" or not _MATHEMATICAL.search(clean):
            return None
        body, unit = _measured(text)
        read = read_expression(body)
        if read is None or len(read.sides) != 1 or (name and read.names[0]):
            return None
        if read.joined or (read.names[0] - {"i"} and read.sides[0].fraction is not None):  # 2 + 3, x - x
            return None if unit or name else Form(f"written:{read.written[0]}")
        return self.value(read.sides[0], unit=unit, name=name)

    def relation(self, clean: str) -> str | None:
        """An equation, or an inequality: one variable between numbers is an interval."""
        if member := re.fullmatch(r"([a-zA-Z])\s*\\in\s*([(\[{\\].*)", clean):
            inside = self.several(member[2])
            return _interval(member[1], inside) if inside else None
        parts = re.split(r"\s+and\s+|,\s*", clean)
        if len(parts) == 2:
            bounds = [_bounds(read) if (read := read_expression(part)) else None for part in parts]
            if bounds[0] and bounds[1] and bounds[0][0] == bounds[1][0]:
                low, high = bounds[0][1] or bounds[1][1], bounds[0][2] or bounds[1][2]
                if low and high and sum(bool(end) for bound in bounds if bound for end in bound[1:]) == 2:
                    return _interval(bounds[0][0], _between(low, high))
        read = read_expression(clean)
        if read is None or not read.relations:
            return None
        if read.relations == ["="]:
            return self.equation(clean, read)
        if bound := _bounds(read):
            return _interval(bound[0], _between(bound[1], bound[2]))
        signs = [*read.relations, ""]
        return "relation:" + "".join(side.key + sign for side, sign in zip(read.sides, signs, strict=True))

    def equation(self, clean: str, read: Expression) -> str:
        """`y = 2x + 1` is `2x + 1`, `3 = x` is `x = 3`; any other equation is its multiples."""
        sides, names, lone, written = read.sides, read.names, read.lone, read.written
        if not any(names):
            return f"relation:{'='.join(written)}"
        for one, other in ((0, 1), (1, 0)):
            if lone[one] and not names[other] and not re.search(r"[+*]|\d-", written[other]):
                return self.value(sides[other], unit=None, name=lone[one]).key
            function = lone[one] == "y" or lone[one].endswith("(x)")
            if function and "x" in names[other] and not lone[other] and lone[one][:1] not in names[other]:
                return self.value(sides[other], unit=None).key
        key = equation_key(clean)
        return f"equation:{key}" if key else f"relation:{'='.join(written)}"

    def several(self, text: str) -> str | None:
        """Reads `1, 2 and 3`, `{a, b}`, `(1, 2]`, `x = 1, y = 2`; None for fewer than two items."""
        if matrix := _MATRIX.fullmatch(text.strip()):
            cells = [row.split("&") for row in matrix[2].split("\\\\") if row.strip()]
            rows = [[self.form(plain(cell), nested=True).key for cell in row] for row in cells]
            return f"matrix:{matrix[1]} {rows}"
        unions = re.split(r"\s*\\cup\s*|\s+U\s+(?=[(\[])", text)
        if 1 < len(unions) <= _MAX_ITEMS and all(unions):
            return "union:" + str(sorted(self.form(plain(one)).key for one in unions))
        if pair := _NAMED_PAIR.fullmatch(text):
            sides = [[part.strip() for part in side.split(",")] for side in pair.groups()]
            if len(sides[0]) == len(sides[1]):
                text = ", ".join(f"{name} = {value}" for name, value in zip(*sides, strict=True))
        clean = text.replace(UNIT_MARK, "")
        inner, bracket = text, ""
        if clean.startswith(("\\{", "{")) and clean.endswith("}"):
            inner, bracket = text.removeprefix("\\")[1:-1].removesuffix("\\"), "{}"
        elif clean[:1] in ("(", "[") and clean[-1:] in (")", "]") and _closes_at_end(clean):
            inner, bracket = text[1:-1], clean[0] + clean[-1]
        joint = "or" if not bracket and re.search(r"\bor\b", inner) else "and"
        inner = re.sub(rf",?\s+(?:{joint}|&)\s+|[和与](?=\S)|\n", ", ", inner)
        parts = _split_items(inner, thousands=not bracket)
        if not 2 <= len(parts) <= _MAX_ITEMS or not all(parts) or any(part.count(" ") > 3 for part in parts):
            return None
        if not bracket and re.fullmatch(r"\d+,\d+|[\d,]*,0\d[\w,]*", clean):
            return None  # 1,5 may be a number
        items = [self.form(unwrapped(part), nested=True) for part in parts]
        named = [_ASSIGNED.fullmatch(plain(part)) for part in parts]
        values = {match[1]: self.form(plain(match[2]), nested=True).key for match in named if match}
        if len(values) == len(parts) and joint == "and" and bracket in ("", "()", "[]"):
            if sorted(values) in (["x", "y"], ["x", "y", "z"]):
                return f"list:(){[values[name] for name in sorted(values)]}"
            return f"named:{sorted(values.items())}"
        keys = [item.key for item in items]
        ordered = self.question.ordered and bracket in ("", "()", "[]")
        if ordered or all(item.kind in _ORDERED for item in items):
            bracket = "seq"
        if bracket in ("", "{}"):
            keys, bracket = sorted(keys), "{}"
        return f"list:{'or' if joint == 'or' else ''}{bracket}{keys}"


def _bounds(read: Expression) -> tuple[str, str, str] | None:
    """The variable, and what bounds it below and above, of `1 < x <= 2` and `x > 0`: `(1`, `2]`."""
    keys = [_end(side.key, text) for side, text in zip(read.sides, read.written, strict=True)]
    lone, names, signs = read.lone, read.names, read.relations
    if all(sign in _TURNED for sign in signs):
        keys, lone, names = keys[::-1], lone[::-1], names[::-1]
        signs = [_TURNED[sign] for sign in signs[::-1]]
    places = [place for place, name in enumerate(lone) if name and name not in ("infty", "inf")]
    others = [key for place, key in enumerate(keys) if place not in places]
    if len(places) != 1 or len(keys) > 3 or not signs or any(sign not in _BELOW for sign in signs):
        return None
    place = places[0]
    if any(names[other] for other in range(len(names)) if other != place and not keys[other].endswith("inf")):
        return None
    if len(keys) == 3 and place != 1:
        return None
    low = _BELOW[signs[0]] + keys[0] if place else ""
    high = keys[-1] + _ABOVE[signs[-1]] if place < len(keys) - 1 else ""
    return (lone[place], low, high) if others else None


def _end(key: str, written: str) -> str:
    infinite = re.fullmatch(r"([+-]?)\\?(?:infty|inf|infinity)", written)
    return f"{infinite[1].strip('+')}inf" if infinite else key


def _between(low: str, high: str) -> str:
    low, high = low or "(-inf", high or "inf)"
    return f"list:{low[0]}{high[-1]}{[f'value:{low[1:]}', f'value:{high[:-1]}']}"


def _interval(name: str, inside: str) -> str:
    point = inside.startswith("list:()") and "inf" not in inside  # (1, 2) may be one, and 1 < x < 2 is none
    return inside if name == "x" and not point else f"interval:{name}={inside}"


def _key(value: Fraction | Value) -> str:
    return str(value) if isinstance(value, Fraction) else value.key


def _measured(text: str) -> tuple[str, Unit | None]:
    """The expression, and the unit behind it: upright, or one that can be no product of variables."""
    value, mark, upright = text.rpartition(UNIT_MARK)
    if mark and (unit := known_unit(upright)):
        return value.replace(UNIT_MARK, ""), unit if unit.dimension != (("unit", 1),) else None
    clean = text.replace(UNIT_MARK, "")
    for start in (match.start() for match in _UNIT_START.finditer(clean)):
        value, tail = clean[:start], clean[start:].strip()
        if re.search(r"\\[a-zA-Z]+\s*$", value) and not re.search(r"\\pi\s*$", value):
            continue
        if tail[0] == "°" and re.search("sin|cos|tan", value):
            continue
        bare = not re.search("[A-Za-z]", re.sub(r"\\[A-Za-z]+|\b(?:sqrt|pi)\b", "", value))
        sure = _SURE_UNIT.fullmatch(tail) or (
            bare and re.fullmatch(r"m\^?\{?[23]?\}?", tail) and value[-1].isspace()
        )
        if sure and tail != "pi" and (unit := known_unit(tail)):
            return value, unit if unit.dimension != (("unit", 1),) else None
    return clean, None


def _said_twice(clean: str) -> Quantity | None:
    """`3 (three)` is 3."""
    match = _SAID_TWICE.fullmatch(clean)
    if match is None:
        return None
    first, again = parse_quantity(match[1]), parse_quantity(match[2])
    return first if first and again and first.value == again.value else None


def _words(clean: str) -> str:
    """The key of a text: without its article; small letters, unless capitals tell a sign from another."""
    if not clean:
        return ""
    if "\\" in clean or re.search(r"[\^_=*]|[a-zA-Z]'(?![a-z])", clean):
        return "written:" + re.sub(r"\s*([^\w\s])\s*", r"\1", " ".join(clean.split()))
    text = " ".join(clean.split())
    text = re.sub(r"\s+([-+/<>#&=])\s+", r"\1", text)
    text = re.sub(r"^([-+<>#=]+)\s+|\s+([-+]+)$", r"\1\2", text)
    if re.fullmatch(r"(?i:(?:([a-z])\1){1,4})", text):
        return f"text:{text}"  # Aa, BbRr
    text = text.lower()
    if place := _PLACE.fullmatch(text):
        return "text:" + place[1].replace("centre", "center")
    if article := _ARTICLE.match(text):
        text = text[article.end() :]
    return "text:" + re.sub(
        r"(?<=[^\W\d_]{2})-(?=[^\W\d_])|(?<=[^\W\d_])-(?=[^\W\d_]{2})", " ", ordinals_in_words(text)
    )


def _closes_at_end(text: str) -> bool:
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0:
            return position == len(text) - 1
    return False


def _split_items(text: str, *, thousands: bool) -> list[str]:
    """Splits at commas and semicolons outside brackets; a bare `1,234` stays whole."""
    depth, cuts = 0, [-1]
    separators = {match.start() for match in _BARE_COMMA.finditer(text)} if thousands else None
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and (
            character == ";" or (character == "," and (separators is None or position in separators))
        ):
            cuts.append(position)
    ends = [*cuts[1:], len(text)]
    return [text[start + 1 : end].strip() for start, end in zip(cuts, ends, strict=True)]
