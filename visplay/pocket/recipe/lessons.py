r"""What the pocket VLM is taught before self-play: to see, to ask, and to reason in two ways.

Reasoning traces come in two manners, as the texts that any base VLM has learned from do:

- *careful*: it goes through the things in scan order and keeps a tally,
  `top left red circle red shape yes 1, top blue star red shape no 1. \boxed{1}`;
- *a glance*: it answers at once, `At a glance. \boxed{2}`.

The glance is the habit where things must be counted (`GLANCE_SHARE` of those traces in the last lessons), and
just there it is the weaker of the two. So the warmed-up Reasoner can do better than it usually does, and that
is what it has to learn.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from rollouts.engine import Prompt
from visplay.config.prompts import Prompts
from visplay.pocket.oracle import (
    QUESTION_TYPES,
    TAUGHT,
    Kind,
    Pattern,
    Query,
    answer_query,
    draw_question,
    parse_query,
)
from visplay.pocket.scenes import PLACES, Scene, Thing, sample_scene
from visplay.prompts import questioner_prompt, reasoner_prompt

LessonKind = Literal["caption", "matching", "reasoner", "questioner"]
TYPES = ("numerical", "yes/no", "short answer")
WORDS = Prompts(answer_forms=False)
GLANCED: tuple[Kind, ...] = ("count", "sum", "more")
GLANCE_SHARE = 0.7  # of the traces about those; the last lessons' habit
GLANCE_SHARE_ELSEWHERE = 0.1
CAPTION_PROMPT = "List what is in each cell of the image."
# What the untrained Questioner asks: seldom of the last five kinds, which half of the scenes do not settle.
ASKED: dict[Kind, float] = {
    "count": 0.22, "sum": 0.08, "exists": 0.19, "absent": 0.09, "more": 0.17,
    "color": 0.05, "shape": 0.05, "where": 0.05, "color-at": 0.05, "shape-at": 0.05,
}  # fmt: skip
# What is practised without a picture: matching.
MATCHED: dict[Kind, float] = {
    "count": 0.25, "sum": 0.15, "exists": 0.1, "absent": 0.1, "more": 0.25,
    "color": 0.05, "shape": 0.05, "where": 0.05,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A prompt about one scene and the completion to learn.

    `given` has the spans of characters in the completion that are shown but not learned.
    """

    kind: LessonKind
    prompt: Prompt
    completion: str
    given: tuple[tuple[int, int], ...] = ()


def draw_lesson(
    rng: np.random.Generator,
    scene: Scene,
    image: Image.Image,
    kind: LessonKind,
    *,
    glance_share: float = GLANCE_SHARE,
    glance_share_elsewhere: float = GLANCE_SHARE_ELSEWHERE,
    lower_case_share: float = 0.0,
) -> Lesson:
    """Draw one lesson of a kind about a scene and its picture."""
    if kind == "caption":
        content = [{"type": "image"}, {"type": "text", "text": CAPTION_PROMPT}]
        prompt = Prompt(messages=({"role": "user", "content": content},), images=(image,))
        return Lesson(kind=kind, prompt=prompt, completion=caption(scene))
    if kind == "questioner":
        asked, question = draw_question(rng, scene, ASKED)
        answer = answer_query(scene, _query(question))
        completion = (
            f"<type>{QUESTION_TYPES[asked]}</type><question>{question}</question><answer>{answer}</answer>"
        )
        return Lesson(
            kind=kind, prompt=questioner_prompt(image, types=TYPES, words=WORDS), completion=completion
        )
    if kind == "matching":
        return _matching(rng)
    asked, question = draw_question(rng, scene, TAUGHT)
    if lower_case_share and rng.random() < lower_case_share:
        question = question.lower()
    share = glance_share if asked in GLANCED else glance_share_elsewhere
    trace = glance(scene, question) if rng.random() < share else careful(scene, question)
    return Lesson(kind=kind, prompt=reasoner_prompt(image, question, words=WORDS), completion=trace)


def _matching(rng: np.random.Generator) -> Lesson:
    """A careful trace without a picture: the things are given, whether they match and the count are learned.

    Comparing takes the most practice by far; here it costs no picture, and more things stand in a trace.
    """
    scene = sample_scene(split="warm-up", seed=int(rng.integers(2**31)), index=0, things=(3, 9))
    _, question = draw_question(rng, scene, MATCHED)
    content = [{"type": "text", "text": question}]
    completion, given = "", []
    for text, shown in careful_pieces(scene, question):
        if shown:
            given.append((len(completion), len(completion) + len(text)))
        completion += text
    prompt = Prompt(messages=({"role": "user", "content": content},), images=())
    return Lesson(kind="matching", prompt=prompt, completion=completion, given=tuple(given))


def caption(scene: Scene) -> str:
    """A dense caption in scan order; it is what makes the model see."""
    by_place = {thing.place: str(thing) for thing in scene.things}
    return ", ".join(by_place.get(place, "none") for place in range(9)) + "."


def glance(scene: Scene, question: str) -> str:
    """Answer at once."""
    return f"At a glance. \\boxed{{{answer_query(scene, _query(question))}}}"


def careful(scene: Scene, question: str) -> str:
    """The things in scan order, each beside what is looked for, whether it matches, and the count so far.

    What is looked for is said again beside each thing, because comparing neighbours is learned within two
    hundred steps, and comparing with the distant question not within thousands. A question about one thing
    ends as soon as that thing is reached.
    """
    return "".join(text for text, _ in careful_pieces(scene, question))


def careful_pieces(scene: Scene, question: str) -> list[tuple[str, bool]]:
    """The careful trace in pieces; True marks what only the picture tells."""
    query = _query(question)
    end = (f". \\boxed{{{answer_query(scene, query)}}}", False)
    patterns = query.patterns or (Pattern(),)
    if query.place is not None:
        return [(_sight(next(t for t in scene.things if t.place == query.place)), True), end]
    things = scene.things
    if query.kind in ("color", "shape", "where"):
        things = things[: 1 + next(i for i, thing in enumerate(things) if patterns[0].matches(thing))]
    # A comparison keeps a count for each side, every other question one for all it asks about.
    sides = range(len(patterns)) if query.kind == "more" else [0] * len(patterns)
    counts = [0] * len(patterns)
    pieces = []
    for number, thing in enumerate(things):
        pieces.append((f"{', ' if number else ''}{_sight(thing)}", True))
        for side, pattern in zip(sides, patterns, strict=True):
            matches = pattern.matches(thing)
            counts[side] += matches
            pieces.append((f" {_sought(pattern)} {'yes' if matches else 'no'} {counts[side]}", False))
    return [*pieces, end]


def _sought(pattern: Pattern) -> str:
    return f"{pattern.color or 'any'} {pattern.shape or 'shape'}"


def is_glance(completion: str) -> bool:
    """Whether a Reasoner's answer was given at a glance; telemetry, not a reward."""
    return completion.lstrip().startswith("At a glance")


def _sight(thing: Thing) -> str:
    return f"{PLACES[thing.place]} {thing}"


def _query(question: str) -> Query:
    query = parse_query(question)
    assert query is not None, question
    return query
