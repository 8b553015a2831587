r"""What the pocket VLM is taught before self-play: to see, to ask, and to reason in two ways.

Reasoning traces come in two manners, as the texts that any base VLM has learned from do:

- *careful*: it goes through the things in scan order and keeps a tally,
  `top left red circle 1, top blue star 1, center red star 2. \boxed{2}`;
- *a glance*: it answers at once, `At a glance. \boxed{2}`.

The glance is the habit (`GLANCE_SHARE` of the traces in the last lessons) and the weaker of the two wherever
things must be counted. So the warmed-up Reasoner can do better than it usually does, and that is what it has
to learn.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from rollouts.engine import Prompt
from visplay.pocket.oracle import (
    QUESTION_TYPES,
    Kind,
    Pattern,
    Query,
    answer_query,
    parse_query,
    sample_question,
)
from visplay.pocket.scenes import PLACES, Scene, Thing
from visplay.roles import questioner_prompt, reasoner_prompt

LessonKind = Literal["caption", "reasoner", "questioner"]
TYPES = ("numerical", "yes/no", "short answer")
GLANCE_SHARE = 0.7
CAPTION_PROMPT = "List what is in each cell of the image."
# What the untrained Questioner asks: mostly what is easily seen.
ASKED: dict[Kind, float] = {
    "count": 0.14, "sum": 0.06, "exists": 0.20, "absent": 0.10, "more": 0.10,
    "color": 0.08, "shape": 0.08, "where": 0.08, "color-at": 0.08, "shape-at": 0.08,
}  # fmt: skip
# What the Reasoner is taught, and what held-out scenes are asked: counting and comparing more often.
TAUGHT: dict[Kind, float] = {
    "count": 0.26, "sum": 0.12, "exists": 0.10, "absent": 0.07, "more": 0.15,
    "color": 0.06, "shape": 0.06, "where": 0.06, "color-at": 0.06, "shape-at": 0.06,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A prompt about one scene and the completion to learn."""

    kind: LessonKind
    prompt: Prompt
    completion: str


def draw_question(rng: np.random.Generator, scene: Scene, kinds: dict[Kind, float]) -> tuple[Kind, str]:
    """Draw a question that the scene settles, its kind by the weights of `kinds`."""
    while True:
        kind = list(kinds)[rng.choice(len(kinds), p=list(kinds.values()))]
        question = sample_question(rng, scene, kind=kind)
        if question is not None:
            return kind, question


def draw_lesson(
    rng: np.random.Generator,
    scene: Scene,
    image: Image.Image,
    kind: LessonKind,
    *,
    glance_share: float = GLANCE_SHARE,
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
        return Lesson(kind=kind, prompt=questioner_prompt(image, types=TYPES), completion=completion)
    _, question = draw_question(rng, scene, TAUGHT)
    if lower_case_share and rng.random() < lower_case_share:
        question = question.lower()
    trace = glance(scene, question) if rng.random() < glance_share else careful(scene, question)
    return Lesson(kind=kind, prompt=reasoner_prompt(image, question), completion=trace)


def caption(scene: Scene) -> str:
    """A dense caption in scan order; it is what makes the model see."""
    by_place = {thing.place: str(thing) for thing in scene.things}
    return ", ".join(by_place.get(place, "none") for place in range(9)) + "."


def glance(scene: Scene, question: str) -> str:
    """Answer at once."""
    return f"At a glance. \\boxed{{{answer_query(scene, _query(question))}}}"


def careful(scene: Scene, question: str) -> str:
    """Go through the things in scan order, keep a tally for each pattern, then answer.

    Every word depends on what was last looked at and on what the question says: no step has to search. A
    question about one thing is answered as soon as that thing is reached.
    """
    query = _query(question)
    if query.place is not None:
        seen = [_sight(thing) for thing in scene.things if thing.place == query.place]
    elif query.kind in ("color", "shape", "where"):
        patterns = query.patterns or (Pattern(),)
        reached = next(i for i, thing in enumerate(scene.things) if patterns[0].matches(thing))
        seen = [_sight(thing) for thing in scene.things[: reached + 1]]
    else:
        seen = _tallies(scene, query)
    return f"{', '.join(seen)}. \\boxed{{{answer_query(scene, query)}}}"


def _tallies(scene: Scene, query: Query) -> list[str]:
    """Each thing with the counts so far: one for all patterns of a sum, one each for a comparison."""
    groups = [(p,) for p in query.patterns] if query.kind == "more" else [query.patterns]
    counts = [0] * len(groups)
    lines = []
    for thing in scene.things:
        counts = [
            count + any(p.matches(thing) for p in group) for count, group in zip(counts, groups, strict=True)
        ]
        lines.append(f"{_sight(thing)} {' '.join(map(str, counts))}")
    return lines


def is_glance(completion: str) -> bool:
    """Whether a Reasoner's answer was given at a glance; telemetry, not a reward."""
    return completion.lstrip().startswith("At a glance")


def _sight(thing: Thing) -> str:
    return f"{PLACES[thing.place]} {thing}"


def _query(question: str) -> Query:
    query = parse_query(question)
    assert query is not None, question
    return query
