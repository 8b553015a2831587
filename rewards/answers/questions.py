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
_ASKS = re.compile(r"\b(?:find|what|how|which|determine|calculate|compute|evaluate)\b|[求则]")
_PERCENT, _DEGREES = (("%", 1),), (("°", 1),)
_PAIRED = re.compile(r"blood pressure|time signature|acuity|\bdate\b")
_WH = r"(?:how many|how much|what|which|who|where|when)"
_ORDER = re.compile(
    r"\b(?:order|ascending|descending|sequence|coordinates?|ordered|respectively|rank(?:ed|ing)?|sort(?:ed)?|"
    r"arrange|left to right|right to left|top to bottom|bottom to top|first to last|low to high|high to low|"
    r"steps|path|\w+(?:est|most) to (?:the )?\w+(?:est|most)|(?:counter-?|anti-?)?clockwise|point)\b"
    rf"|\b{_WH}\b.*\band {_WH}\b|\bwhat are the [\w ]+? and (?:the )?\w|坐标|顺序|依次|排列"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question says of its answer."""

    text: str = ""
    things: frozenset[str] = frozenset()  # that it counts, in the singular
    units: tuple[tuple[Dimension, Unit], ...] = ()  # of a bare number, by dimension
    names: frozenset[str] = frozenset()  # unknowns that it asks for
    paired: bool = False  # whether 120/80 is a reading or a date
    ordered: bool = False  # whether for an order or a point, so that a bare list has one
    percent: bool = False

    def counts(self, thing: str) -> bool:
        """Whether the question names each word of what is counted, the last as something countable."""
        if not thing.isascii():
            return any(f"{many}{thing}" in self.text for many in ("几", "幾", "多少", "何", "몇", "몇 "))
        words = thing.split()
        named = {singular(word) for word in re.findall(r"[^\W\d_]+", self.text)}
        return words[-1] in self.things and named.issuperset(words)


def _counted(text: str) -> frozenset[str]:
    """The things that a question counts: none where it counts several, each in its own right."""
    runs = [(run[1].partition(" than ")[0], text[run.end() :]) for run in _HOW_MANY.finditer(text)]
    several = len({singular(run.split()[-1]) for run, _ in runs}) > 1 or any(
        re.search(r"\b(?:and|or)\b", run) or re.match(r"(?:,\s*[^\W\d_]+)*,?\s+(?:and|or)\s", rest)
        for run, rest in runs
    )
    if runs:
        words = [] if several else [word for run, _ in runs for word in re.split("[ -]", run)]
        return frozenset(map(singular, words))
    return frozenset(singular(word) for word in re.findall(r"[^\W\d_]{3,}", text) if word != singular(word))


@lru_cache(maxsize=4096)
def asked(question: str | None) -> Asked:
    """Reads a question, untrusted; only its first 4,000 characters."""
    if not question:
        return Asked()
    question = question[:_LONGEST]
    text = question.lower()
    asks = text[max((match.end() for match in _ASKS.finditer(text)), default=0) :]  # what is not only given
    named: dict[Dimension, set[Unit]] = {}
    given: dict[Dimension, set[Unit]] = {}
    for match in _UNIT.finditer(question):
        name = match[1] or match[2] or match[3]
        unit = None if name.lower() in _NO_UNIT else known_unit(name)
        if unit and unit.dimension and (match[3] is None or name.islower()):
            units = given if question[match.start()].isdigit() else named
            units.setdefault(unit.dimension, set()).add(unit)
    percent = named.pop(_PERCENT, None) is not None or "percent" in text or {*given} == {_PERCENT}
    if re.search(r"\bangle|degrees?\b|∠|\\angle", asks):
        named.setdefault(_DEGREES, {Unit(_DEGREES, Fraction(1))})
    elif not named and not percent:
        given.pop(_DEGREES, None)
        named = given
    # Where a question is about several quantities, each answer has to say its unit.
    sure = len(named) + percent == 1
    found = {dimension: own.pop() for dimension, own in named.items() if sure and len(own) == 1}
    power = 3 if re.search(r"\bvolume|capacity\b", text) else 2 if re.search(r"\barea\b", text) else 1
    if power > 1:
        raised: Dimension = (("m", power),)
        if length := found.pop((("m", 1),), None):
            found.setdefault(raised, Unit(raised, length.factor**power))
        found[(("unit", power),)] = Unit((("unit", power),), Fraction(1))
    names = {match[1].strip("$\\ ") for match in _ASKED.finditer(question)}
    names = names if sum(len(name) == 1 or not name.islower() for name in names) < 2 else set()
    return Asked(
        text=text, things=_counted(text), units=tuple(found.items()), names=frozenset(names),
        paired=_PAIRED.search(text) is not None, ordered=_ORDER.search(text) is not None,
        percent=percent and sure,
    )  # fmt: skip
