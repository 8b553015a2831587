r"""The grammar of answers: each form is read whole to the last character, and what is no form is text.

`docs/answer-equivalence.md` lists the forms, with an example of equal and of unequal each.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise

from rewards.answers.algebra import Expression, fraction_of, key_of, read_expression, times
from rewards.answers.choices import bare_letter, yes_or_no
from rewards.answers.cleaning import unwrapped
from rewards.answers.notations import code, formula, joined, moment
from rewards.answers.quantities import Quantity, ordinals_in_words, parse_ordinal, parse_quantity
from rewards.answers.questions import Asked
from rewards.answers.units import Unit, known_unit

_MAX_ITEMS = 32
_ASSIGNED = re.compile(
    r"(m?\s*\\angle\s*\d|(?:m?\s*\\angle\s*)?\\?[A-Za-z]+(?:_\{?\w+\}?)?'?(?:\([A-Za-z\d]{1,4}\))?"
    r"|[A-Za-z]+(?: [A-Za-z]+){1,4})\s*=\s*([^=\s].*)"
)
_UNIT_START = re.compile(r"(?<=[\d)}\]\s])(?=[^\W\d_]|[°%])|(?<=\\pi)\s+(?=[^\W\d_])")
_SURE_UNIT = re.compile(
    r"(?:[cmdk]m|kg|ft|[kM]?Hz|[kM]?Pa|[°%].*|[^\W\d_]{3,}(?:\s+[^\W\d_]{3,})*|[\u4e00-\u9fff].*|.*/.*)"
    r"(?:\^?\{?-?\d\}?)?"
)
_METRES = re.compile(r"[^A-Za-z]*\s(?:m\^?\{?[23]?\}?)")
_MATHEMATICAL = re.compile(
    r"(?i)[\\+*/^()|]|\d|[^\W\d_]\s*-\s*[^\W_]|^-\s*[a-z]$|\b(?:squared|cubed|pi|sin|cos|tan|log|ln|sqrt|exp)\b"
    r"|\b(?:alpha|beta|gamma|delta|theta|lambda|phi|omega|sigma)\b"
)
_ARTICLE = re.compile(r"^(?:the\s+(?=[\w$€£¥(\"'-])|an?\s+(?=[^\W\d_](?:[^\W\d_]|-[^\W\d_])))", re.IGNORECASE)
_PLACE = re.compile(
    r"(?:(?:on|at|to|in)\s+)?(?:the\s+)?(left|right|top|bottom|middle|center|centre|front|back)"
    r"(?:[ -]?hand)?(?:\s+(?:side|part|edge))?"
)
_INFINITE = re.compile(r"([+-]?)\s*\\?(?:infty|inf|infinity)", re.IGNORECASE)
_RELATION = re.compile(r"[<>]|\\[lg](?:eq?|t)(?![a-z])")
_CUT, _CUT_OF_NUMBERS = re.compile("[,;]"), re.compile(r";|(?<!\d),|,(?!\d{3}(?!\d))")
_IN_ORDER = re.compile(r"(?:in (?:that|this) order|respectively)$")
# Words whose capitals tell what they are: Aa and BbRr, mR and mW, R/2r and M/2m.
_CASED = re.compile(
    r"(?:([A-Za-z])(?i:\1))+|[a-z]{1,2}[A-Z][A-Za-z]?|(?=.*(?:\d|(?<![A-Za-z])[A-Za-z](?![A-Za-z])))"
    r"(?:\d*[A-Za-z]{1,3}|\d+)(?:/(?:\d*[A-Za-z]{1,3}|\d+))+"
)
_TURNED = {">": "<", ">=": "<="}


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

    def form(self, clean: str, *, alone: bool = True, nested: int = 0) -> Form:
        """Finds the form of a cleaned text; the order of the forms is the order of precedence.

        A letter may be an answer where it stands `alone`, without options; a `nested` text is one of a list.
        """
        if nested and len(clean) == 1 and clean.isalpha() and clean.isascii():
            return Form(f"letter:{clean}")
        if alone and len(letter := bare_letter(clean)) == 1:
            return Form(f"letter:{letter}")
        said = yes_or_no(clean.lower(), plain=not self.question.verdict)
        if said and not (self.question.further and re.search(r"[,;.(-]\s*\w", clean)):
            return Form(f"yes_no:{said}")
        bare = _ARTICLE.sub("", clean)
        if self.question.paired and re.fullmatch(r"\d{1,3}/\d{1,3}", bare):  # 120/80 is no 3/2
            return Form(f"ratio:{bare}")
        if when := moment(bare):
            return Form(when)
        if value := self.named_value(clean):
            return value
        if found := parse_quantity(clean) or parse_quantity(bare):
            return self.number(found)
        if infinite := _INFINITE.fullmatch(clean):
            return Form(f"value:{infinite[1].strip('+')}inf")
        if (place := parse_ordinal(bare)) is not None:
            return Form(f"ordinal:{place}")
        key = None if "=" in bare else joined(bare, lambda one: self.number(one).key)
        key = key or (self.relation(clean) if _RELATION.search(clean) else None)
        if not nested or (nested == 1 and clean.startswith(("(", "["))):
            key = key or self.several(clean, nested + 1)
        if key := key or formula(clean) or code(bare) or self.relation(clean):
            return Form(key)
        if measured := self.expression(clean):
            return measured
        if found := parse_quantity(clean, counted=True):
            return self.number(found)
        return Form(_words(clean))

    def number(self, found: Quantity, name: str = "") -> Form:
        """The form of a number that was read, perhaps with the name of what it is."""
        return self.value(found.value, unit=found.unit, thing=found.thing, name=name)

    def value(self, value: Fraction | Decimal, *, unit: Unit | None, thing: str = "", name: str = "") -> Form:
        """The form of a number or an expression, in base units unless the question names its unit."""
        said, dimension = key_of(value), unit.dimension if unit else ()
        factor = unit.factor if unit else Fraction(1)
        if dimension == (("%", 1),):
            if self.question.percent:
                dimension = ()
            elif not self.question.says_percent:
                factor, dimension = factor / 100, ()
        elif dimension and (wanted := dict(self.question.units).get(dimension)):
            factor, dimension = factor / wanted.factor, ()
        key = key_of(value * factor if isinstance(value, Fraction) else times(value, factor))
        thing = "" if thing and self.question.counts(thing) else thing
        name = "" if name == "x" or name in self.question.names else name
        measured = "".join(f" {base}^{power}" for base, power in dimension)
        shown = f"{name + '=' if name else ''}{key}{measured}{' of ' + thing if thing else ''}"
        return Form(f"value:{shown}", "" if thing else said)

    def named_value(self, text: str) -> Form | None:
        """`x = 5`, `AB = 5 cm`, `width = 9`: a name and the value of it."""
        match = _ASSIGNED.fullmatch(text)
        if match is None or "=" in match[2]:
            return None
        name = " ".join(re.sub(r"[_{}\\]", "", match[1]).split())
        angle = re.fullmatch(r"m?\s*angle\s*(\w+)", name)
        name = name.lower() if " " in name else name
        name = angle[1] if angle and angle[1] in self.question.names else name
        if found := parse_quantity(match[2]):
            return self.number(found, name)
        return self.expression(match[2], name=name) if name.isascii() else None

    def expression(self, clean: str, name: str = "") -> Form | None:
        """An expression, its unit behind it where it has one; with a name, only one without variables."""
        if clean.lower() == "n/a" or not _MATHEMATICAL.search(clean):
            return None
        body, unit = _measured(clean)
        read = read_expression(body)
        if read is None or len(read.sides) != 1 or (name and read.names[0]):
            return None
        if read.joined or (read.names[0] and fraction_of(read.sides[0]) is not None):  # 2 + 3, x - x
            return None if unit or name else Form(f"written:{read.written[0]}")
        return self.value(read.sides[0], unit=unit, name=name)

    def relation(self, clean: str) -> str | None:
        """An equation, or an inequality, which may be turned round: `x > 3` is `3 < x`."""
        read = read_expression(clean)
        if read is None or not read.relations:
            return None
        if read.relations == ["="]:
            return self.equation(read)
        keys, signs = [key_of(side) for side in read.sides], read.relations
        if all(sign in _TURNED for sign in signs):
            keys, signs = keys[::-1], [_TURNED[sign] for sign in signs[::-1]]
        return f"relation:{keys}{signs}"

    def equation(self, read: Expression) -> str:
        """`y = 2x + 1` is `2x + 1`, `3 = x` is `x = 3`; any other is its two sides."""
        sides, names, lone, written = read.sides, read.names, read.lone, read.written
        for one, other in ((0, 1), (1, 0)):
            if lone[one] and not names[other] and not re.search(r"[+*]|\d-", written[other]):
                return self.value(sides[other], unit=None, name=lone[one]).key
            function = lone[one] == "y" or lone[one].endswith("(x)")
            if function and "x" in names[other] and not lone[other] and lone[one][:1] not in names[other]:
                return self.value(sides[other], unit=None).key
        return f"equation:{sorted(map(key_of, sides))}" if any(names) else f"relation:{'='.join(written)}"

    def several(self, clean: str, depth: int = 1) -> str | None:
        """Reads `1, 2 and 3`, `{a, b}`, `(1, 2]`, `x = 1, y = 2`; None for fewer than two items."""
        if "\\begin" in clean:
            return None
        inner, bracket = clean, ""
        if clean.startswith(("\\{", "{")) and clean.endswith("}"):
            inner, bracket = clean.removeprefix("\\")[1:-1].removesuffix("\\"), "{}"
        elif re.fullmatch(r"(?s)[(\[].*[)\]]", clean) and min(_depths(clean)[:-1]) > _depths(clean)[-1] == 0:
            inner, bracket = clean[1:-1], clean[0] + clean[-1]
        joint = "or" if not bracket and re.search(r"\bor\b", inner) else "and"
        roots = [re.match(r"([a-z])\s*=", part) for part in re.split(r",\s*|\s*\bor\b\s*", inner)]
        if joint == "or" and all(roots) and len({root[1] for root in roots if root}) == 1:
            inner, joint = re.sub(r"\bor\b", "and", inner), "and"  # the roots of an equation
        inner = re.sub(rf",?\s+(?:{joint}|&)\s+|[和与](?=\S)|,\n", ", ", inner).replace(";\n", ";")
        parts, marks = _split_items(inner.replace("\n", ";"), thousands=not bracket)
        if len(marks) > 1 or _IN_ORDER.search(clean):  # rows of a table
            return None
        if not 2 <= len(parts) <= _MAX_ITEMS or not all(parts) or any(part.count(" ") > 3 for part in parts):
            return None
        if not bracket and re.fullmatch(r"\W*\d+(?:[. ]\d{3})*,\d+(?:\s*\D*)|[\d,]*,0\d[\w,]*", clean):
            return None  # 1,5 may be a number
        items = [self.form(unwrapped(part), nested=depth) for part in parts]
        keys = [item.key for item in items]
        numbers = [item.kind == "value" for item in items]
        asked = self.question
        valued = (asked.several or (asked.point and all(numbers))) and not _told_apart(keys)
        ordered = (asked.ordered or valued) and bracket in ("", "()", "[]")
        paired = len(items) > 3 and all(one != other for one, other in pairwise(numbers))  # red, 3, blue, 5
        if "\n" in clean and {item.kind for item in items} == {"text"}:
            return None  # lines of a sign
        if ordered or paired or all(item.kind in ("range", "ratio", "yes_no") for item in items):
            bracket = "seq"
        keys, bracket = (sorted(keys), "{}") if bracket in ("", "{}") else (keys, bracket)
        return f"list:{'or' if joint == 'or' else ''}{bracket}{keys}"


def _measured(clean: str) -> tuple[str, Unit | None]:
    """The expression, and the unit behind it: one that can be no product of variables."""
    for start in (match.start() for match in _UNIT_START.finditer(clean)):
        value, tail = clean[:start], clean[start:].strip()
        command = re.search(r"\\[a-zA-Z]+\s*$", value) and not re.search(r"\\pi\s*$", value)
        if command or tail == "pi" or (tail[0] == "°" and re.search("sin|cos|tan", value)):
            continue
        letters = re.sub(r"\\[A-Za-z]+|\b(?:sqrt|pi)\b", "", value)
        sure = _SURE_UNIT.fullmatch(tail) or _METRES.fullmatch(letters + tail)
        if sure and (unit := known_unit(tail)):
            return value, unit if unit.dimension != (("unit", 1),) else None
    return clean, None


def _words(clean: str) -> str:
    """The key of a text: without its article; small letters, unless capitals tell a sign from another."""
    text = " ".join(clean.split())
    if "\\" in text or re.search(r"[\^_=*]|[a-zA-Z]'(?![a-z])", text):
        return "written:" + re.sub(r"\s*([^\w\s])\s*", r"\1", text)
    text = re.sub(r"\s+([-+/<>#&=])\s+|^([-+<>#=]+)\s+|\s+([-+]+)$", r"\1\2\3", text)
    text = " ".join(
        word if _CASED.fullmatch(word) and not _any_case(word) else word.lower() for word in text.split()
    )
    if place := _PLACE.fullmatch(text):
        text = place[1].replace("centre", "center")
    text = ordinals_in_words(_ARTICLE.sub("", text))
    text = re.sub(r"(?<=[^\W\d_]{2})-(?=[^\W\d_])|(?<=[^\W\d_])-(?=[^\W\d_]{2})", " ", text)
    return f"text:{text}" if text else ""


def _told_apart(keys: list[str]) -> bool:
    """Whether each item says of what it is: `x = 3, y = 4`, `3 dogs, 2 cats`, `width 3, height 4`."""
    said = [re.sub(r"[-~]?\d[\d/.]*", "", key, count=1) for key in keys]
    return all(re.search(r"\d", key) for key in keys) and len({*said}) == len(said)


def _depths(text: str) -> list[int]:
    """How many brackets are open at each character; a closing one counts as outside."""
    return list(accumulate((one in "([{") - (one in ")]}") for one in text))


def _any_case(word: str) -> bool:
    """Whether it says the same in small letters: `pH`, `mL`, `N/A`."""
    unit = known_unit(word)
    return word.lower() in ("ph", "n/a") or (unit is not None and unit == known_unit(word.lower()))


def _split_items(text: str, *, thousands: bool) -> tuple[list[str], set[str]]:
    """Splits at commas and semicolons outside brackets, and gives those; a bare `1,234` stays whole."""
    depths, found = _depths(text), (_CUT_OF_NUMBERS if thousands else _CUT).finditer(text)
    marks = [cut.start() for cut in found if depths[cut.start()] == 0]
    parts = [text[start + 1 : end].strip() for start, end in pairwise([-1, *marks, len(text)])]
    return parts, {text[mark] for mark in marks}
