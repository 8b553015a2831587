"""The grammar of the pocket world's questions, and an oracle that answers any question in it.

FORMS has every form of words once: the sampler fills it in and the oracle reads it back, so the
oracle also answers questions that the sampler would never have drawn.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from visplay.pocket.scenes import COLORS, PLACES, SHAPES, Scene, Thing

Kind = Literal[
    "count", "sum", "exists", "absent", "more", "color", "shape", "where", "color-at", "shape-at",
    "sum-of-three", "difference", "difference-of-sums",
    "row", "column", "beside", "alike", "most", "corners",
]  # fmt: skip
# {a} and {b} are things in the singular, {as} and {bs} in the plural: "circle", "red shapes", "red circle".
FORMS: dict[Kind, tuple[str, ...]] = {
    "count": ("how many {as} are there", "how many {as} are in the image"),
    "sum": ("how many shapes are {color} or {other}",),
    "exists": (
        "is there a {a}", "is there a {a} in the image", "does the image contain a {a}", "is a {a} present",
    ),
    "absent": (
        "is there not a {a}", "is there not a {a} in the image", "does the image not contain a {a}",
        "is no {a} present",
    ),
    "more": ("are there more {as} than {bs}",),
    "color": ("what color is the {a}", "what is the color of the {a}"),
    "shape": (
        "what is the {a}", "what shape is the {a}", "what shape is in the image", "what shape is present",
        "what shape does the image contain",
    ),
    "where": ("where is the {a}",),
    "color-at": ("what color is the shape in the {place}",),
    "shape-at": ("what shape is in the {place}",),
    "sum-of-three": ("how many shapes are {color}, {other} or {third}",),
    "difference": ("how many more {as} are there than {bs}", "how many more {as} than {bs} are there"),
    "difference-of-sums": ("how many more shapes are {color} or {other} than {third} or {fourth}",),
    "row": ("how many shapes are in the {row} row",),
    "column": ("how many shapes are in the {column} column",),
    "beside": ("what is {side} the shape in the {place}",),
    "alike": ("how many shapes have the color of the shape in the {place}",),
    "most": ("what color is most common",),
    "corners": ("how many shapes are in the corners",),
}  # fmt: skip
QUESTION_TYPES: dict[Kind, str] = {
    "count": "numerical", "sum": "numerical", "exists": "yes/no", "absent": "yes/no", "more": "yes/no",
    "color": "short answer", "shape": "short answer", "where": "short answer", "color-at": "short answer",
    "shape-at": "short answer", "sum-of-three": "numerical", "difference": "numerical",
    "difference-of-sums": "numerical", "row": "numerical", "column": "numerical", "beside": "short answer",
    "alike": "numerical", "most": "short answer", "corners": "numerical",
}  # fmt: skip

# The rungs of the ladder: one thing; one count or two; three, or a difference; a difference of sums.
RUNGS: dict[Kind, int] = {
    "exists": 1, "absent": 1, "color": 1, "shape": 1, "where": 1, "color-at": 1, "shape-at": 1,
    "count": 2, "sum": 2, "more": 2,
    "sum-of-three": 3, "difference": 3,
    "difference-of-sums": 4,
}  # fmt: skip
# The kinds of the wide world; its benchmark asks the same number of questions of each.
WIDE: tuple[Kind, ...] = (
    "color-at", "where", "count", "exists", "row", "column", "beside", "difference", "sum-of-three",
    "alike", "most", "corners",
)  # fmt: skip

# What dusky and clean scenes are asked when they measure: counting and comparing more often.
DUSK: dict[Kind, float] = {
    "count": 0.26, "sum": 0.12, "exists": 0.10, "absent": 0.07, "more": 0.15,
    "color": 0.06, "shape": 0.06, "where": 0.06, "color-at": 0.06, "shape-at": 0.06,
}  # fmt: skip
# What the ladder's scenes are asked: as much of each rung.
LADDER: dict[Kind, float] = {
    "exists": 0.05, "absent": 0.05, "color": 0.03, "shape": 0.03, "where": 0.03, "color-at": 0.03,
    "shape-at": 0.03, "count": 0.1, "sum": 0.08, "more": 0.07, "sum-of-three": 0.12, "difference": 0.13,
    "difference-of-sums": 0.25,
}  # fmt: skip

_COLOR = "|".join(COLORS)
_SHAPE = "|".join((*SHAPES, "shape"))
_PLACE = "|".join(sorted(PLACES, key=len, reverse=True))
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "middle", "right")
CORNERS = (0, 2, 6, 8)  # indices of PLACES
SIDES = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}  # columns, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A description of things; None matches any."""

    color: str | None = None
    shape: str | None = None

    def matches(self, thing: Thing) -> bool:
        """Whether the thing has this colour and this shape."""
        return self.color in (None, thing.color) and self.shape in (None, thing.shape)

    def noun(self, *, plural: bool = False) -> str:
        """The pattern in words: `red circle`, `shapes`."""
        words = f"{self.color or ''} {self.shape or 'shape'}".strip()
        return words + "s" if plural else words


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question that has been read; the fields after `kind` as far as its kind has them.

    Attributes:
        kind: of question.
        patterns: the things it names.
        place: an index of PLACES.
        row: an index of ROWS.
        column: an index of COLUMNS.
        side: a key of SIDES.
    """

    kind: Kind
    patterns: tuple[Pattern, ...] = ()
    place: int | None = None
    row: int | None = None
    column: int | None = None
    side: str | None = None


def _compile(form: str) -> re.Pattern[str]:
    fields = {
        "a": rf"(?:(?P<a_color>{_COLOR}) )?(?P<a_shape>{_SHAPE})",
        "as": rf"(?:(?P<a_color>{_COLOR}) )?(?P<a_shape>{_SHAPE})s",
        "bs": rf"(?:(?P<b_color>{_COLOR}) )?(?P<b_shape>{_SHAPE})s",
        "color": rf"(?P<a_color>{_COLOR})",
        "other": rf"(?P<b_color>{_COLOR})",
        "third": rf"(?P<c_color>{_COLOR})",
        "fourth": rf"(?P<d_color>{_COLOR})",
        "place": rf"(?P<place>{_PLACE})",
        "row": rf"(?P<row>{'|'.join(ROWS)})",
        "column": rf"(?P<column>{'|'.join(COLUMNS)})",
        "side": rf"(?P<side>{'|'.join(SIDES)})",
    }
    return re.compile(form.format(**fields))


_READERS: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, _compile(form)) for kind, forms in FORMS.items() for form in forms
)


def parse_query(question: str) -> Query | None:
    """Read a question of the grammar, ignoring case, spacing and the final mark; None for any other text."""
    words = " ".join(question.lower().split()).rstrip("?. ")
    for kind, reader in _READERS:
        match = reader.fullmatch(words)
        if match is None:
            continue
        found = match.groupdict()
        patterns = tuple(
            Pattern(color=found.get(f"{x}_color"), shape=_specific(found.get(f"{x}_shape")))
            for x in "abcd"
            if found.get(f"{x}_color") or found.get(f"{x}_shape")
        )
        named = (("place", PLACES), ("row", ROWS), ("column", COLUMNS))
        indices = {name: among.index(found[name]) for name, among in named if found.get(name)}
        return Query(kind=kind, patterns=patterns, side=found.get("side"), **indices)
    return None


def _specific(shape: str | None) -> str | None:
    return None if shape == "shape" else shape


def oracle(scene: Scene, question: str) -> str | None:
    """The true answer; None if this is no question of this world or the scene does not settle it.

    "What color is the circle?" is settled only where there is exactly one circle, "How many more ... than
    ...?" only where there are more.
    """
    query = parse_query(question)
    return None if query is None else answer_query(scene, query)


def answer_query(scene: Scene, query: Query) -> str | None:
    """The true answer to a query that has been read; None where the scene does not settle it."""
    matching = [[thing for thing in scene.things if p.matches(thing)] for p in query.patterns]
    if query.kind not in ("count", "exists", "absent") and len(set(query.patterns)) < len(query.patterns):
        return None  # red or red; more circles than circles
    match query.kind:
        case "count" | "sum" | "sum-of-three":
            return str(sum(map(len, matching)))
        case "exists" | "absent":
            return "yes" if bool(matching[0]) == (query.kind == "exists") else "no"
        case "more":
            return "yes" if len(matching[0]) > len(matching[1]) else "no"
        case "difference" | "difference-of-sums":
            half = len(matching) // 2
            more = sum(map(len, matching[:half])) - sum(map(len, matching[half:]))
            return str(more) if more > 0 else None
        case "color-at" | "shape-at":
            one = thing_at(scene, query.place)
            return (one.color if query.kind == "color-at" else one.shape) if one else None
        case "row":
            return str(sum(thing.place // 3 == query.row for thing in scene.things))
        case "column":
            return str(sum(thing.place % 3 == query.column for thing in scene.things))
        case "beside":
            own = thing_at(scene, query.place)
            found = thing_at(scene, neighbor(own.place, query.side or "")) if own else None
            return str(found) if found else None
        case "alike":
            model = thing_at(scene, query.place)
            return str(sum(thing.color == model.color for thing in scene.things)) if model else None
        case "most":
            return only_largest(Counter(thing.color for thing in scene.things))
        case "corners":
            return str(sum(thing.place in CORNERS for thing in scene.things))
    things = matching[0] if query.patterns else list(scene.things)
    if len(things) != 1:
        return None
    thing = things[0]
    return {"color": thing.color, "shape": thing.shape, "where": PLACES[thing.place]}[query.kind]


def thing_at(scene: Scene, place: int | None) -> Thing | None:
    """What the scene has at a place."""
    return next((thing for thing in scene.things if thing.place == place), None)


def neighbor(place: int, side: str) -> int | None:
    """The place on that side of a place; None beyond the edge."""
    column, row = place % 3 + SIDES[side][0], place // 3 + SIDES[side][1]
    return 3 * row + column if 0 <= column < 3 and 0 <= row < 3 else None


def only_largest(values: Mapping[Any, int]) -> Any:
    """The key of the largest value; None where several share it, or there is none."""
    best = [key for key, value in values.items() if value == max(values.values())]
    return best[0] if len(best) == 1 else None


def sample_question(rng: np.random.Generator, scene: Scene, *, kind: Kind) -> str | None:
    """Draw a question of a kind that this scene settles; None where a few tries find none.

    A yes/no question is drawn for either answer with equal odds, so that the wording gives no answer away.
    """
    wanted = str(rng.choice(["yes", "no"])) if QUESTION_TYPES[kind] == "yes/no" else None
    for _ in range(24):
        form = FORMS[kind][rng.integers(len(FORMS[kind]))]
        question = form.format(**draw_fields(rng, scene), **draw_further(rng, scene, form))
        query = parse_query(question)
        if query is None or gives_itself_away(query):
            continue
        answer = answer_query(scene, query)
        if answer is not None and wanted in (None, answer):
            return question[0].upper() + question[1:] + "?"
    return None


def gives_itself_away(query: Query) -> bool:
    """`What color is the red circle?` answers itself, and a scene always contains `a shape`."""
    pattern = query.patterns[0] if query.patterns else Pattern()
    match query.kind:
        case "color":
            return pattern.color is not None
        case "shape":
            return pattern.shape is not None
        case "exists" | "absent":
            return pattern == Pattern()
        case "more" | "difference":
            return Pattern() in query.patterns
    return False


def draw_fields(
    rng: np.random.Generator, scene: Scene, *, masks: Sequence[int | None] = (None, None),
    place: int | None = None,
) -> dict[str, str]:  # fmt: skip
    """Words for every field of every form; mostly of what the scene shows, so that counts are seldom 0."""
    a, b = (_draw_pattern(rng, scene, mask=mask) for mask in masks)
    color, other, third, fourth = (_draw_pattern(rng, scene, mask=0).color or "red" for _ in range(4))
    if place is None:
        place = int(rng.choice([thing.place for thing in scene.things]))
    return {
        "a": a.noun(), "as": a.noun(plural=True), "bs": b.noun(plural=True), "color": color, "other": other,
        "third": third, "fourth": fourth, "place": PLACES[place],
    }  # fmt: skip


def draw_further(rng: np.random.Generator, scene: Scene, form: str) -> dict[str, str]:
    """Words for the fields that few forms have; the other fields draw nothing."""
    further: dict[str, str] = {}
    for name, words in (("row", ROWS), ("column", COLUMNS), ("side", tuple(SIDES))):
        if f"{{{name}}}" in form:
            further[name] = words[rng.integers(len(words))]
    return further


def _draw_pattern(rng: np.random.Generator, scene: Scene, *, mask: int | None = None) -> Pattern:
    """A colour (mask 0), a shape (1), both (2) or neither (3)."""
    mask = int(rng.choice(4, p=[0.38, 0.32, 0.22, 0.08])) if mask is None else mask
    # As rng.choice draws, at half its cost.
    color, shape = list(COLORS)[rng.integers(len(COLORS))], SHAPES[rng.integers(len(SHAPES))]
    if rng.random() < 0.75:
        thing = scene.things[rng.integers(len(scene.things))]
        color, shape = thing.color, thing.shape
    return Pattern(color=color if mask in (0, 2) else None, shape=shape if mask in (1, 2) else None)


def draw_question(rng: np.random.Generator, scene: Scene, kinds: dict[Kind, float]) -> tuple[Kind, str]:
    """Draw a question that the scene settles, its kind by the weights of `kinds`."""
    while True:
        kind = list(kinds)[rng.choice(len(kinds), p=list(kinds.values()))]
        question = sample_question(rng, scene, kind=kind)
        if question is not None:
            return kind, question
