"""What a question says of its answer: the things it counts, its unit, its unknown, an order."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rewards.answers.quantities import singular, word_set
from rewards.answers.units import Dimension, Unit, known_unit

_LONGEST = 4000
_SIGNS = str.maketrans({"∠": "\\angle ", "\u03b8": "theta", "\u03b1": "alpha", "\u03b2": "beta"})
_NOUN = r"(?!(?:are|is|do|does|did|can|were|was|in|on|of|there|have|has|will|would|the|you)\b)[^\W\d_]+"
_HOW_MANY = re.compile(
    r"(?:how many|number of|how much|count(?: all)?(?: of)?(?: the)?(?: number of)?(?: the)?|total of)"
    rf"\s+((?:{_NOUN}[ -]){{0,3}}{_NOUN})"
)
_AND_MORE = re.compile(
    r"(?:,\s*[^\W\d_]+)*,?\s+(?:and|or)\s+(?!how|what|which|who|where|is\b|are\b|do)((?:[^\W\d_]+\s?){1,3})"
)
_ASKED = re.compile(
    r"(?i:find|solve for|value of|what is|what's|determine|calculate|compute|evaluate|measure of|length of)"
    r"\s+(?:the\s+)?(?:(?:value|measure|length|size)\s+of\s+)?"
    r"(?:(?:radius|diameter|height|width|length|side|angle)\s+)?\$?(?:m?\s?\\angle\s*)?"
    r"(\d(?![\d.,])|\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\s?[A-Z]{1,3})?(?:\([A-Za-z\d]\))?)\$?"
)
_UNIT = re.compile(
    r"(?P<before>\d\s*|\b(?:in|nearest|many|much|number of)\s+|[(/]\s*(?:in\s+|unit:?\s*)?)"
    r"(?P<name>\\?[A-Za-zμΩ°%$€£]+(?:\^?[23])?(?:/[A-Za-z]+(?:\^?\d)?)?)(?![A-Za-z])"
    r"|(?P<sign>[%°$€£])|(?P<word>[A-Za-z]{4,})"
)
_SPELLED = [
    (re.compile(r"(?i)\bdegrees?\s+(c)(?:elsius)?(?![a-z])"), "°C"),
    (re.compile(r"(?i)\bdegrees?\s+(f)(?:ahrenheit)?(?![a-z])"), "°F"),
    (re.compile(r"(?i)\b(miles|feet|\w*met(?:er|re)s)\s+per\s+(hour|minute|second)\b"), r"\1/\2"),
]
_NO_UNIT = word_set("in a as at is an am pm mo second bar bars point mean mole moles min max unit units")
_TIMES = word_set("year month week day hour minute decade century")  # in the year 2010
_ASKS = re.compile(r"\b(?:find|what|how|which|determine|calculate|compute|evaluate|then)\b|[求则]")
_CONDITION = re.compile(r"\b(?:if|when|given|where|with|opposite)\b")
_PERCENT, _DEGREES = (("%", 1),), (("°", 1),)
_PERCENTAGE = re.compile(
    r"(?:what|which|how many|how much)\s+(?:(?:is|was|are|were)\s+)?(?:the\s+)?(?:[a-z]+\s+)?percent"
)
_PAIRED = re.compile(
    r"blood pressure|time signature|acuity|(?:what|which)(?:'s|\s+is|\s+was)?\s+(?:the\s+)?(?:\w+\s+)?date\b"
)
_WH = r"(?:how many|how much|what|which|who|where|when)"
_ORDER = re.compile(
    r"\b(?:order(?! (?:to|does|of magnitude)\b)|ascending|descending|sequence|ordered|respectively|arrange|"
    r"rank(?:ed|ing)?|sort(?:ed)?|left to right|right to left|top to bottom|bottom to top|first to last|"
    r"low to high|high to low|steps|path|\w+(?:est|most) to (?:the )?\w+(?:est|most)|"
    r"(?:counter-?|anti-?)?clockwise)\b|顺序|依次|排列"
)
_POINT = re.compile(r"(?<![xyz]-)\b[Cc]oordinates?\b|\b[Pp]oint\b|坐标")
_PLACE = r"(?:\d{4}|[A-Z]\w*)"
_FOR_EACH = re.compile(rf"\b(?:in|for|of) {_PLACE} and (?:for |in )?{_PLACE}(?!\w)")  # in 2010 and 2015
_UNKNOWN = r"\$?(?:m?\s?(?:∠|\\angle)\s?[A-Za-z\d]{1,3}|\\[a-z]+|[A-Z]{2,3}|[A-Za-z])\$?"
_SEVERAL = re.compile(
    rf"(?i:\b{_WH}\b.*\band {_WH}\b)"
    r"|(?i:\b(?:what (?:is|are|was|were)|find|determine|calculate) the "
    r"(?:(?!(?:in|on|used|shown|between|from)\b)\w+ )+?and (?:the )?(?!the |are |is |do )\w+\b"
    r"(?! \w+ing\b| made\b))"
    r"|(?i:find|solve for|values? of|what (?:is|are)|determine|calculate|compute)\s+(?:the\s+)?"
    rf"(?:values?\s+of\s+)?{_UNKNOWN}(?:,\s*{_UNKNOWN})*,?\s+and\s+{_UNKNOWN}(?!\w)"
)
_YES_OR_NO = re.compile(
    r"(?:^|[.?!:,]\s+)(?:is|are|do|does|did|was|were|can|could|has|have|had|will|would|should)\b"
    r"|true or false"
)
_OTHER = re.compile(
    r"\b(?:how|what|which|who|whom|whose|where|when|why|if so|if yes|if not|explain|state|name)\b"
)
_FURTHER = re.compile(
    r"\b(?:and|if so|if yes|if not)\b,?\s+(?:how|what|which|who|where|when|why|by|state|name|give)\b"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question says of its answer."""

    text: str = ""
    things: frozenset[str] = frozenset()  # that it counts, in the singular
    apart: frozenset[str] = frozenset()  # what tells them apart: red and blue of `red and blue balls`
    units: tuple[tuple[Dimension, Unit], ...] = ()  # of a bare number, by dimension
    percent: bool = False  # whether a bare number is a percentage
    says_percent: bool = False
    names: frozenset[str] = frozenset()  # unknowns that it asks for
    paired: bool = False  # whether 120/80 is a reading or a date
    ordered: bool = False  # whether for an order, so that a bare list has one
    point: bool = False  # whether for a point, so that bare numbers have an order
    several: bool = (
        False  # whether for several values, so that a list has an order unless it says what each is
    )
    verdict: bool = False  # whether for a yes or a no alone
    further: bool = False  # whether for a yes or a no and for more

    @property
    def in_order(self) -> bool:
        """Whether the order of names in a list counts."""
        return self.ordered or self.several

    def counts(self, thing: str) -> bool:
        """Whether the question names each word of what is counted, the last as something countable."""
        if not thing.isascii():
            return any(f"{many}{thing}" in self.text for many in ("几", "幾", "多少", "何", "몇", "몇 "))
        words = thing.casefold().split() if re.search("[a-z]{3}", thing) else thing.split()
        named = {singular(word) for word in re.findall(r"[^\W\d_]+", self.text)}
        return words[-1] in self.things and named.issuperset(words) and self.apart.isdisjoint(words)


@lru_cache(maxsize=4096)
def asked(question: str | None) -> Asked:
    """Reads a question, untrusted; only its first 4,000 characters."""
    if not question:
        return Asked()
    question = question[:_LONGEST]
    text = question.lower()
    things, apart = _counted(text)
    units, percent = _units(question, text)
    names = {match[1].strip("$\\ ") for match in _ASKED.finditer(question.translate(_SIGNS))}
    names = names if sum(len(name) == 1 or not name.islower() for name in names) < 2 else set()
    verdict = _YES_OR_NO.search(text) is not None
    return Asked(
        text=text, things=things, apart=apart, units=tuple(units.items()), percent=percent,
        says_percent="percent" in text, names=frozenset(names), paired=_PAIRED.search(text) is not None,
        ordered=_ORDER.search(text) is not None,
        point=_POINT.search(question) is not None or _FOR_EACH.search(question) is not None,
        several=_SEVERAL.search(question) is not None or (not things and _HOW_MANY.search(text) is not None),
        verdict=verdict and _OTHER.search(text) is None,
        further=verdict and _FURTHER.search(text) is not None,
    )  # fmt: skip


def _counted(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The things that a question counts, none where it counts several, and what tells them apart."""
    runs = list(_HOW_MANY.finditer(text))
    runs = [run for run in runs if run[0].startswith("how")] or runs
    if not runs:
        words = re.findall(r"[^\W\d_]{3,}", text)
        return frozenset(singular(word) for word in words if word != singular(word)), frozenset()
    things: set[str] = set()
    heads, apart, several = set(), set(), False
    for run in runs:
        said = re.split("[ -]", run[1].partition(" than ")[0])
        plural = next((place for place, word in enumerate(said, 1) if word != singular(word)), len(said))
        head = said[:plural]
        more = _AND_MORE.match(text, run.start(1) + len(" ".join(head)))
        several |= more is not None and any(word != singular(word) for word in more[1].split())
        if {"and", "or"} & {*head}:
            apart |= {*head[:-1]}
        things |= {singular(word) for word in head}
        heads.add(singular(head[-1]))
    several |= len(heads) > 1
    return frozenset() if several else frozenset(things), frozenset(apart)


def _units(question: str, text: str) -> tuple[dict[Dimension, Unit], bool]:
    """The unit of a bare number, by dimension, and whether it is a percentage.

    What is counted (`how many km`) decides, else what is stated (`in km`), else a plural (`kilometers`), else
    what is given (`5 km`); where that is of several dimensions, each answer has to say its unit.
    """
    for pattern, plain in _SPELLED:
        question = pattern.sub(plain, question)
    tiers: tuple[dict[Dimension, set[Unit]], ...] = ({}, {}, {}, {})
    counted, stated, plurals, given = tiers
    for match in _UNIT.finditer(question):
        name, before = (
            match["name"] or match["sign"] or match["word"],
            (match["before"] or "").strip().lower(),
        )
        unit = None if name.lower() in _NO_UNIT else known_unit(name)
        singly = match["word"] and (not name.islower() or name in (singular(name), "feet"))
        if unit is None or not unit.dimension or singly or name.lower() in _TIMES:
            continue
        if before.isdigit() or (match["sign"] and re.match(r"\s?\d", question[match.end() :])):
            tier = given
        else:
            tier = (
                counted if before in ("many", "much", "number of") else plurals if match["word"] else stated
            )
        tier.setdefault(unit.dimension, set()).add(unit)
    asks = text[max((match.end() for match in _ASKS.finditer(text)), default=0) :]
    if not counted and re.search(
        r"\bangle|degrees?\b(?!\s+[cf])|∠|\\angle", _CONDITION.split(asks, maxsplit=1)[0]
    ):
        stated.setdefault(_DEGREES, {Unit(_DEGREES, Fraction(1))})
    if len(given) > 1:
        given.pop(_DEGREES, None)
    if "percent" in text:
        (counted if _PERCENTAGE.search(text) else stated).setdefault(_PERCENT, set())
    named = next(filter(None, tiers), {})
    percent = {*named} == {_PERCENT}
    sure = len(named) == 1 and not percent
    found = {dimension: own.pop() for dimension, own in named.items() if sure and len(own) == 1}
    power = 3 if re.search(r"\bvolume|capacity\b", text) else 2 if re.search(r"\barea\b", text) else 1
    if power > 1:
        raised: Dimension = (("m", power),)
        if length := found.pop((("m", 1),), None):
            found.setdefault(raised, Unit(raised, length.factor**power))
        found[(("unit", power),)] = Unit((("unit", power),), Fraction(1))
    return found, percent
