r"""What the pocket VLM is taught before self-play: to see, to ask, to judge questions, to reason in two ways.

Reasoning traces come in two manners, as the texts that any base VLM has learned from do:

- *careful*: it goes through the things in scan order and keeps a tally,
  `top left red circle red yes 1, top blue star red no 1. \boxed{1}`;
- *a glance*: it answers at once, `At a glance. \boxed{2}`.

The glance is the habit where things must be counted (`HABIT`, by rung of the ladder), and just there it is
the weaker of the two; on the upper rungs it is a guess near the truth (`HASTE`). So the warmed-up Reasoner
can do better than it usually does, the more so the higher the rung, and that is what it has to learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from benchmarks.pocket_vlm.presuming import PRESUMING, draw_presuming
from rollouts.engine import Prompt
from visplay.config.prompts import JUDGE, Prompts
from visplay.pocket.oracle import (
    QUESTION_TYPES,
    RUNGS,
    Kind,
    Pattern,
    Query,
    answer_query,
    draw_question,
    parse_query,
)
from visplay.pocket.scenes import PLACES, Layout, Scene, Thing, sample_scene
from visplay.prompts import questioner_prompt, reasoner_prompt

LessonKind = Literal["caption", "matching", "reasoner", "questioner", "judge"]
TYPES = ("numerical", "yes/no", "short answer")
WORDS = Prompts(forms={})
# By rung of the ladder, the share of traces at a glance: while care is taught, and in the last lessons.
PRACTICE: dict[int, float] = {1: 0.2, 2: 0.2, 3: 0.2, 4: 0.2}
HABIT: dict[int, float] = {1: 0.1, 2: 0.7, 3: 0.75, 4: 0.92}
HASTE: dict[int, int] = {1: 0, 2: 0, 3: 2, 4: 3}  # a glance is off by so much at most
CAPTION_PROMPT = "List what is in each cell of the image."
# What the Reasoner is taught.
TAUGHT: dict[Kind, float] = {
    "count": 0.17, "sum": 0.08, "exists": 0.06, "absent": 0.05, "more": 0.1,
    "color": 0.04, "shape": 0.04, "where": 0.04, "color-at": 0.04, "shape-at": 0.04,
    "sum-of-three": 0.11, "difference": 0.1, "difference-of-sums": 0.13,
}  # fmt: skip
# What the untrained Questioner asks: seldom of what half of the scenes do not settle, and of the upper rungs.
ASKED: dict[Kind, float] = {
    "count": 0.2, "sum": 0.08, "exists": 0.17, "absent": 0.09, "more": 0.15,
    "color": 0.05, "shape": 0.05, "where": 0.05, "color-at": 0.04, "shape-at": 0.04,
    "sum-of-three": 0.03, "difference": 0.03, "difference-of-sums": 0.02,
}  # fmt: skip
# What is practised without a picture: matching, and adding up.
MATCHED: dict[Kind, float] = {
    "count": 0.14, "sum": 0.12, "exists": 0.08, "absent": 0.08, "more": 0.14,
    "color": 0.03, "shape": 0.03, "where": 0.03,
    "sum-of-three": 0.1, "difference": 0.1, "difference-of-sums": 0.15,
}  # fmt: skip
# What a judge is asked: as often as not of what the scene does not settle, with the same wording; seldom of
# what every scene settles, and of what is no question of this world.
ALWAYS, GARBLED = 0.2, 0.15
SETTLED: dict[Kind, float] = {"count": 0.3, "sum": 0.15, "exists": 0.2, "absent": 0.15, "more": 0.2}


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
    glances: dict[int, float] = HABIT,
    lower_case_share: float = 0.0,
) -> Lesson:
    """Draw one lesson of a kind about a scene and its picture; `glances` has shares by rung."""
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
    if kind == "judge":
        question, verdict = _judged(rng, scene)
        text = JUDGE.format(question=question)
        return Lesson(kind=kind, prompt=reasoner_prompt(image, text, words=WORDS), completion=verdict)
    if kind == "matching":
        return _matching(rng)
    asked, question = draw_question(rng, scene, TAUGHT)
    if lower_case_share and rng.random() < lower_case_share:
        question = question.lower()
    rung = RUNGS[asked]
    if rng.random() < glances[rung]:
        trace = glance(rng, scene, question, haste=HASTE[rung])
    else:
        trace = careful(scene, question)
    return Lesson(kind=kind, prompt=reasoner_prompt(image, question, words=WORDS), completion=trace)


def _judged(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    """A question and the trace of the verdict on it, balanced so that the wording gives no verdict away."""
    lot = rng.random()
    if lot < GARBLED:
        return garbled(rng, draw_question(rng, scene, TAUGHT)[1]), r"No question. \boxed{no}"
    if lot < GARBLED + ALWAYS:
        return draw_question(rng, scene, SETTLED)[1], r"Always. \boxed{yes}"
    while True:
        kind = PRESUMING[rng.integers(len(PRESUMING))]
        question = draw_presuming(rng, scene, kind=kind)
        if question is not None:
            return question, verdict(scene, question)


def garbled(rng: np.random.Generator, question: str) -> str:
    """The question with words left out, doubled, exchanged or cut off, so that it is none of this world."""
    words = question.rstrip("?").split()
    while parse_query(" ".join(words)) is not None:
        one, other = (int(i) for i in rng.integers(len(words), size=2))
        match rng.integers(4):
            case 0 if len(words) > 2:
                del words[one]
            case 1:
                words.insert(one, words[one])
            case 2:
                words[one], words[other] = words[other], words[one]
            case 3 if one > 1:
                del words[one:]
    return " ".join(words) + "?"


def _matching(rng: np.random.Generator) -> Lesson:
    """A careful trace without a picture: the things are given, whether they match and the count are learned.

    Comparing takes the most practice by far; here it costs no picture, and more things stand in a trace.
    """
    layout = Layout(things=(3, 9), colors=(2, 5))
    scene = sample_scene(split="warm-up", seed=int(rng.integers(2**31)), index=0, layout=layout)
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


def glance(rng: np.random.Generator, scene: Scene, question: str, *, haste: int = 0) -> str:
    """Answer at once; in haste it is any number, 0 at least, that is off by so much at most."""
    answer = answer_query(scene, _query(question))
    assert answer is not None, question
    if haste:
        answer = str(rng.integers(max(0, int(answer) - haste), int(answer) + haste + 1))
    return f"At a glance. \\boxed{{{answer}}}"


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
    end = f". \\boxed{{{answer_query(scene, query)}}}"
    if query.place is not None:
        return [(_sight(next(t for t in scene.things if t.place == query.place)), True), (end, False)]
    things, pattern = scene.things, (query.patterns or (Pattern(),))[0]
    if query.kind in ("color", "shape", "where"):
        things = things[: 1 + next(i for i, thing in enumerate(things) if pattern.matches(thing))]
    pieces, counts = _tallied(things, query)
    return [*pieces, (_difference(query, counts) + end, False)]


def verdict(scene: Scene, question: str) -> str:
    """The trace of a judge who looks whether the picture has what the question presumes."""
    query = _query(question)
    end = ". \\boxed{no}" if answer_query(scene, query) is None else ". \\boxed{yes}"
    if query.place is not None:
        here = [_sight(thing) for thing in scene.things if thing.place == query.place]
        return (here[0] if here else f"{PLACES[query.place]} none") + end
    pieces, counts = _tallied(scene.things, query)
    return "".join(text for text, _ in pieces) + _difference(query, counts) + end


def _tallied(things: Sequence[Thing], query: Query) -> tuple[list[tuple[str, bool]], list[int]]:
    """The things, each gone through for what is looked for; a tally for each side of a comparison."""
    patterns = query.patterns or (Pattern(),)
    half = len(patterns) // 2
    compared = query.kind in ("more", "difference", "difference-of-sums")
    sides = (patterns[:half], patterns[half:]) if compared else (patterns,)
    pieces, counts = [], [0] * len(sides)
    for number, thing in enumerate(things):
        pieces.append((f"{', ' if number else ''}{_sight(thing)}", True))
        for side, looked_for in enumerate(sides):
            text = ""
            for pattern in looked_for:  # of a sum's colours a thing has one at most
                text += f" {_sought(pattern)} {'yes' if pattern.matches(thing) else 'no'}"
                if pattern.matches(thing):
                    counts[side] += 1
                    break
            pieces.append((f"{text} {counts[side]}", False))
    return pieces, counts


def _difference(query: Query, counts: Sequence[int]) -> str:
    return f". {counts[0]} - {counts[1]}" if query.kind in ("difference", "difference-of-sums") else ""


def _sought(pattern: Pattern) -> str:
    return f"{pattern.color or ''} {pattern.shape or ''}".strip() or "any"


def is_glance(completion: str) -> bool:
    """Whether a Reasoner's answer was given at a glance; telemetry, not a reward."""
    return completion.lstrip().startswith("At a glance")


def _sight(thing: Thing) -> str:
    return f"{PLACES[thing.place]} {thing}"


def _query(question: str) -> Query:
    query = parse_query(question)
    assert query is not None, question
    return query
