"""Lessons of the wide world: twelve kinds of question, each with a careful trace that begins in its own way.

No trace is wrong or hasty. How well the base answers a kind is set by how often it is taught.
"""

from collections import Counter
from collections.abc import Sequence

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
from benchmarks.pocket_vlm.presuming import draw_presuming
from rollouts.engine import Prompt
from visplay.config.prompts import JUDGE, Prompts
from visplay.pocket.oracle import (
    CORNERS,
    QUESTION_TYPES,
    WIDE,
    Kind,
    Pattern,
    Query,
    answer_query,
    draw_question,
    neighbor,
    parse_query,
    thing_at,
)  # fmt: skip
from visplay.pocket.scenes import PLACES, Layout, Scene, sample_scene
from visplay.prompts import questioner_prompt, reasoner_prompt

# The word that begins the trace of each kind; no two share their first token.
OPENINGS: dict[Kind, str] = {
    "color-at": "Spot", "where": "Find", "count": "Count", "exists": "Any", "row": "Row", "column": "Down",
    "beside": "Beside", "difference": "Less", "sum-of-three": "Sum", "alike": "Like", "most": "Most",
    "corners": "Corner",
}  # fmt: skip
KNOWN: tuple[Kind, ...] = ("color-at", "where", "count", "exists")  # what the Questioner likes to ask
# Of what a judge is asked, as often as not of what the scene does not settle; and of what every scene does.
PRESUMED: dict[Kind, float] = {
    "color-at": 0.4, "where": 0.4, "alike": 0.05, "beside": 0.05, "difference": 0.1,
}  # fmt: skip
SETTLED: dict[Kind, float] = {
    "count": 0.45, "exists": 0.44, "row": 0.03, "column": 0.03, "corners": 0.02, "sum-of-three": 0.03,
}  # fmt: skip
# What is practised without a picture: comparing, counting, and places beside each other.
MATCHED: dict[Kind, float] = {
    "where": 0.1, "count": 0.14, "exists": 0.08, "row": 0.06, "column": 0.06, "beside": 0.08,
    "difference": 0.12, "sum-of-three": 0.12, "alike": 0.08, "most": 0.08, "corners": 0.08,
}  # fmt: skip
GARBLED, ALWAYS = 0.15, 0.2
LIKED = 0.88  # of what the Questioner asks is of KNOWN kinds
SHOWN, BANKED = 3, 0.5  # earlier questions in a prompt, and the share of prompts that list them


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
            return _asking(rng, scene, image)
        case "judge":
            question, completion = _judged(rng, scene)
            prompt = reasoner_prompt(image, JUDGE.format(question=question), words=WORDS)
            return Lesson(kind=kind, prompt=prompt, completion=completion)
    _, question = draw_question(rng, scene, taught)
    return Lesson(
        kind=kind, prompt=reasoner_prompt(image, question, words=WORDS), completion=trace(scene, question)
    )


def _asking(rng: np.random.Generator, scene: Scene, image: Image.Image) -> Lesson:
    """A question of a liked kind; where the prompt lists earlier ones, of one of their kinds."""
    prompt, weights = questioner_prompt(image, types=TYPES, words=WORDS), asked()
    if rng.random() < BANKED:
        earlier = [example(rng) for _ in range(SHOWN)]
        prompt = with_examples(image, [text for _, text in earlier], WORDS)
        kinds = [kind for kind, _ in earlier]
        weights = {kind: kinds.count(kind) + 0.01 for kind in WIDE}  # the scene may settle none of them
    total = sum(weights.values())
    chosen, question = draw_question(rng, scene, {kind: own / total for kind, own in weights.items()})
    answer = answer_query(scene, _query(question))
    completion = (
        f"<type>{QUESTION_TYPES[chosen]}</type><question>{question}</question><answer>{answer}</answer>"
    )
    return Lesson(kind="questioner", prompt=prompt, completion=completion)


def with_examples(image: Image.Image, examples: Sequence[str], words: Prompts, *, key: str = "") -> Prompt:
    """The Questioner's prompt with earlier questions; their braces are not placeholders."""
    shown = " ".join(examples).replace("{", "(").replace("}", ")")
    longer = words.model_copy(update={"questioner": f"{words.questioner} Ask like one of these: {shown}"})
    return questioner_prompt(image, types=TYPES, words=longer, key=key)


def example(rng: np.random.Generator) -> tuple[Kind, str]:
    """A question about a scene of its own, its kind drawn evenly."""
    scene = sample_scene(split="warm-up", seed=int(rng.integers(2**31)), index=0, style="wide")
    return draw_question(rng, scene, dict.fromkeys(WIDE, 1 / len(WIDE)))


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
    found = [thing for thing in scene.things if query.patterns and query.patterns[0].matches(thing)]
    match query.kind:
        case "color-at":
            return [(opening, False), *_cell(scene, query.place)]
        case "row" | "column" | "corners":
            first, count = 3 * (query.row or 0), 0
            places = CORNERS if query.kind == "corners" else (first, first + 1, first + 2)
            if query.column is not None:
                places = (query.column, query.column + 3, query.column + 6)
            steps = [(opening, False)]
            for place in places:
                count += thing_at(scene, place) is not None
                steps += [(", ", False)] * (place > places[0]) + [*_cell(scene, place), (f" {count}", False)]
            return steps
        case "alike":
            steps, model = [(opening, False), *_cell(scene, query.place)], thing_at(scene, query.place)
            if model is None:
                return steps
            counted = Query(kind="count", patterns=(Pattern(color=model.color),))
            return [*steps, (". ", False), *_tallied(scene.things, counted)[0]]
        case "most":
            steps, counts = [(opening, False)], Counter[str]()
            for number, thing in enumerate(scene.things):
                counts[thing.color] += 1
                seen = f"{', ' if number else ''}{PLACES[thing.place]} {thing.color}"
                steps += [(seen, True), (f" {counts[thing.color]}", False)]
            return steps
        case "beside":
            own, place = thing_at(scene, query.place), neighbor(query.place or 0, query.side or "")
            steps = [(opening, False), (PLACES[query.place or 0], False)]
            if own is None:
                return [*steps, (" none", True)]
            return [*steps, (", ", False), *([("edge", False)] if place is None else _cell(scene, place))]
    things = scene.things
    if query.kind in ("where", "exists") and found and not whole:
        things = things[: things.index(found[0]) + 1]
    tallied, totals = _tallied(things, query)
    end = f". {totals[0]} - {totals[1]}" if query.kind == "difference" else ""
    return [(opening, False), *tallied, (end, False)]


def _cell(scene: Scene, place: int | None) -> list[tuple[str, bool]]:
    return [(PLACES[place or 0], False), (f" {thing_at(scene, place) or 'none'}", True)]


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
