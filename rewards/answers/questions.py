"""What a question says of its answer: the things it counts, its units, its unknown, an order."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rewards.answers.quantities import singular, word_set
from rewards.answers.units import Dimension, Unit, known_unit

_LONGEST = 4000
_NOUN = r"(?!(?:are|is|do|does|did|can|were|was|in|on|of|there|have|has|will|would|the|you)\b)[^\W\d_]+"
_HOW_MANY = re.compile(
    r"(?:how many|number of|how much|count(?: all)?(?: of)?(?: the)?|total of)"
    rf"\s+((?:{_NOUN}[ -]){{0,3}}{_NOUN})"
)
_ASKED = re.compile(
    r"(?i:find|solve for|value of|what is|what's|determine|calculate|compute|evaluate|measure of|length of)"
    r"\s+(?:the\s+)?(?:(?:value|measure|length|size)\s+of\s+)?"
    r"\$?(\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\s?[A-Z]{1,3})?(?:\([A-Za-z\d]\))?)\$?"
)
_UNIT = re.compile(
    r"(?:\d\s*|\b(?:in|many|much)\s+|[(/]\s*)"
    r"(\\?[A-Za-zμΩ°%$€£]+(?:\^?[23])?(?:/[A-Za-z]+(?:\^?\d)?)?)(?![A-Za-z])|([%°$€£])|([A-Za-z]{4,})"
)
_NO_UNIT = word_set("in a as at is an am pm mo second bar bars point mean mole moles min max")
_ORDER = re.compile(
    r"\b(?:order|ascending|descending|sequence|coordinates?|ordered|respectively|rank(?:ed|ing)?|sort(?:ed)?|arrange|"
    r"left to right|top to bottom|point)\b|坐标|顺序|依次|排列"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question says of its answer."""

    text: str = ""
    things: frozenset[str] = frozenset()  # that it counts, in the singular
    units: tuple[tuple[Dimension, Unit], ...] = ()  # of a bare number, by dimension
    names: frozenset[str] = frozenset()  # unknowns that it asks for
    ordered: bool = False  # whether for an order or a point, so that a bare list has one
    percent: bool = False

    def counts(self, thing: str) -> bool:
        """Whether the question names each word of what is counted, the last as something countable."""
        if not thing.isascii():
            return any(f"{many}{thing}" in self.text for many in ("几", "幾", "多少", "何", "몇", "몇 "))
        words = thing.split()
        named = {singular(word) for word in re.findall(r"[^\W\d_]+", self.text)}
        return words[-1] in self.things and named.issuperset(words)


@lru_cache(maxsize=4096)
def asked(question: str | None) -> Asked:
    """Reads a question, untrusted; only its first 4,000 characters."""
    if not question:
        return Asked()
    question = question[:_LONGEST]
    text = question.lower()
    things = {singular(word) for word in re.findall(r"[^\W\d_]{3,}", text) if word != singular(word)}
    things |= {singular(word) for run in _HOW_MANY.finditer(text) for word in re.split("[ -]", run[1])}
    units: dict[Dimension, set[Unit]] = {}
    for match in _UNIT.finditer(question):
        name = match[1] or match[2] or match[3]
        unit = None if name.lower() in _NO_UNIT else known_unit(name)
        if unit and unit.dimension and (match[3] is None or name.islower()):
            units.setdefault(unit.dimension, set()).add(unit)
    power = 3 if re.search(r"\bvolume|capacity\b", text) else 2 if re.search(r"\barea\b", text) else 1
    found = {dimension: named.pop() for dimension, named in units.items() if len(named) == 1}
    if power > 1:
        raised: Dimension = (("m", power),)
        if length := found.pop((("m", 1),), None):
            found.setdefault(raised, Unit(raised, length.factor**power))
        found[(("unit", power),)] = Unit((("unit", power),), Fraction(1))
    if re.search(r"\bangle|degrees?\b|∠|\\angle", text):
        found.setdefault((("°", 1),), Unit((("°", 1),), Fraction(1)))
    percent = found.pop((("%", 1),), None) is not None or "percent" in text
    return Asked(
        text=text, things=frozenset(things), units=tuple(found.items()),
        names=frozenset(match[1].strip("$\\ ") for match in _ASKED.finditer(question)),
        ordered=_ORDER.search(text) is not None, percent=percent,
    )  # fmt: skip
