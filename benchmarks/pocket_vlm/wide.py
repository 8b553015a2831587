"""Lessons of the wide world: twelve kinds of question, each with a careful trace that begins in its own way.

No trace is wrong or hasty. How well the base answers a kind is set by how often it is taught.
"""

import numpy as np
from PIL import Image

from benchmarks.pocket_vlm.lessons import (
    CAPTION_PROMPT,
    TYPES,
    WORDS,
    Lesson,
    LessonKind,
    _tallied,
    caption,
    garbled,
)  # fmt: skip
from rollouts.engine import Prompt
from visplay.config.prompts import JUDGE
from visplay.pocket.oracle import (
    QUESTION_TYPES,
    WIDE,
    Kind,
    Pattern,
    Query,
    answer_query,
    distance,
    draw_presuming,
    draw_question,
    neighbor,
    parse_query,
    thing_at,
)  # fmt: skip
from visplay.pocket.scenes import PLACES, Layout, Scene, sample_scene
from visplay.prompts import questioner_prompt, reasoner_prompt

# The word that begins the trace of each kind; no two share their first token.
OPENINGS: dict[Kind, str] = {
    "color-at": "Spot", "where": "Find", "count": "Count", "exists": "Any", "row": "Row", "same": "Pair",
    "beside": "Beside", "difference": "Less", "sum-of-three": "Sum", "nearest": "Near", "most": "Most",
    "once": "Once",
}  # fmt: skip
KNOWN: tuple[Kind, ...] = ("color-at", "where", "count", "exists")  # what the Questioner likes to ask
# Of what a judge is asked, as often as not of what the scene does not settle; and of what every scene does.
PRESUMED: dict[Kind, float] = {
    "color-at": 0.4, "where": 0.4, "same": 0.05, "beside": 0.05, "difference": 0.05, "nearest": 0.05,
}  # fmt: skip
SETTLED: dict[Kind, float] = {"count": 0.45, "exists": 0.45, "row": 0.05, "sum-of-three": 0.05}
MATCHED: dict[Kind, float] = {"where": 0.25, "count": 0.5, "exists": 0.25}
GARBLED, ALWAYS = 0.15, 0.2
LIKED = 0.88  # of what the Questioner asks is of KNOWN kinds


def asked() -> dict[Kind, float]:
    """The Questioner's habit: weights of the kinds it is taught to ask."""
    rest = len(WIDE) - len(KNOWN)
    return {kind: LIKED / len(KNOWN) if kind in KNOWN else (1 - LIKED) / rest for kind in WIDE}


def draw_wide(
    rng: np.random.Generator, scene: Scene, image: Image.Image, kind: LessonKind, *, taught: dict[Kind, float]
) -> Lesson:
    """Draw one lesson about a scene and its picture; `taught` weighs the kinds that the Reasoner is asked."""
    match kind:
        case "caption":
            content = [{"type": "image"}, {"type": "text", "text": CAPTION_PROMPT}]
            prompt = Prompt(messages=({"role": "user", "content": content},), images=(image,))
            return Lesson(kind=kind, prompt=prompt, completion=caption(scene))
        case "matching":
            return _matching(rng)
        case "questioner":
            chosen, question = draw_question(rng, scene, asked())
            answer = answer_query(scene, _query(question))
            completion = (
                f"<type>{QUESTION_TYPES[chosen]}</type><question>{question}</question>"
                f"<answer>{answer}</answer>"
            )
            prompt = questioner_prompt(image, types=TYPES, words=WORDS)
            return Lesson(kind=kind, prompt=prompt, completion=completion)
        case "judge":
            question, completion = _judged(rng, scene)
            prompt = reasoner_prompt(image, JUDGE.format(question=question), words=WORDS)
            return Lesson(kind=kind, prompt=prompt, completion=completion)
    _, question = draw_question(rng, scene, taught)
    return Lesson(
        kind=kind, prompt=reasoner_prompt(image, question, words=WORDS), completion=trace(scene, question)
    )


def trace(scene: Scene, question: str) -> str:
    """The careful trace of a question that the scene settles, and its answer in a box."""
    query = _query(question)
    text = "".join(piece for piece, _ in pieces(scene, query))
    return f"{text}. \\boxed{{{answer_query(scene, query)}}}"


def verdict(scene: Scene, question: str) -> str:
    """The same steps, to their end, and whether the scene settles the question."""
    query = _query(question)
    text = "".join(piece for piece, _ in pieces(scene, query, whole=True))
    return f"{text}. \\boxed{{{'no' if answer_query(scene, query) is None else 'yes'}}}"


def pieces(scene: Scene, query: Query, *, whole: bool = False) -> list[tuple[str, bool]]:
    """The steps of a trace, those True that only the picture tells; `whole` goes on past what is found."""
    opening = f"{OPENINGS[query.kind]} "
    match query.kind:
        case "color-at":
            return [(opening, False), (_cell(scene, query.place), True)]
        case "row":
            found, steps = 0, []
            for place in range(3 * (query.row or 0), 3 * (query.row or 0) + 3):
                found += thing_at(scene, place) is not None
                steps += [(f"{', ' if steps else ''}{_cell(scene, place)}", True), (f" {found}", False)]
            return [(opening, False), *steps]
        case "same":
            cells = [(thing_at(scene, place), place) for place in (query.place, query.spot)]
            shown = [f"{PLACES[place or 0]} {thing.color if thing else 'none'}" for thing, place in cells]
            return [(opening, False), (", ".join(shown), True)]
        case "most" | "once":
            counts: dict[str, int] = {}
            steps = []
            for thing in scene.things:
                word = thing.color if query.kind == "most" else thing.shape
                counts[word] = counts.get(word, 0) + 1
                steps += [
                    (f"{', ' if steps else ''}{PLACES[thing.place]} {word}", True),
                    (f" {counts[word]}", False),
                ]
            return [(opening, False), *steps]
        case "beside" | "nearest":
            found = [thing for thing in scene.things if query.patterns[0].matches(thing)]
            start = ", ".join(f"{thing} {PLACES[thing.place]}" for thing in found) or "none"
            steps = [(opening, False), (start, True)]
            if len(found) != 1:
                return steps
            if query.kind == "beside":
                place = neighbor(found[0].place, query.side or "")
                return [*steps, (", edge" if place is None else f", {_cell(scene, place)}", True)]
            for thing in scene.things:
                if thing != found[0]:
                    steps += [
                        (f", {PLACES[thing.place]} {thing}", True),
                        (f" {distance(found[0], thing)}", False),
                    ]
            return steps
    things, patterns = scene.things, query.patterns or (Pattern(),)
    if query.kind in ("where", "exists") and not whole:
        hits = [number for number, thing in enumerate(things) if patterns[0].matches(thing)]
        things = things[: hits[0] + 1] if hits else things
    tallied, counts = _tallied(things, query)
    end = f". {counts[0]} - {counts[1]}" if query.kind == "difference" else ""
    return [(opening, False), *tallied, (end, False)]


def _cell(scene: Scene, place: int | None) -> str:
    return f"{PLACES[place or 0]} {thing_at(scene, place) or 'none'}"


def _judged(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    """A question and the trace of the verdict on it, balanced so that the wording gives no verdict away."""
    lot = rng.random()
    if lot < GARBLED:
        return garbled(rng, draw_question(rng, scene, asked())[1]), r"No question. \boxed{no}"
    if lot < GARBLED + ALWAYS:
        return draw_question(rng, scene, SETTLED)[1], r"Always. \boxed{yes}"
    while True:
        kind = list(PRESUMED)[rng.choice(len(PRESUMED), p=list(PRESUMED.values()))]
        question = draw_presuming(rng, scene, kind=kind)
        if question is not None:
            return question, verdict(scene, question)


def _matching(rng: np.random.Generator) -> Lesson:
    """A careful trace without a picture: the things are given, what matches and the count are learned."""
    layout = Layout(things=(3, 7), colors=(2, 4))
    scene = sample_scene(split="warm-up", seed=int(rng.integers(2**31)), index=0, layout=layout)
    _, question = draw_question(rng, scene, MATCHED)
    query, completion, given = _query(question), "", []
    for text, shown in pieces(scene, query):
        if shown:
            given.append((len(completion), len(completion) + len(text)))
        completion += text
    completion += f". \\boxed{{{answer_query(scene, query)}}}"
    prompt = Prompt(messages=({"role": "user", "content": [{"type": "text", "text": question}]},), images=())
    return Lesson(kind="matching", prompt=prompt, completion=completion, given=tuple(given))


def _query(question: str) -> Query:
    query = parse_query(question)
    assert query is not None, question
    return query
