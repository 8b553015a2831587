"""The model card of a pocket VLM: how it was made, and how well it sees, measured anew."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import rewards
from benchmarks.pocket_vlm.build import Recipe, Stage
from benchmarks.pocket_vlm.lessons import CAPTION_PROMPT, TYPES, WORDS, caption, is_glance
from benchmarks.pocket_vlm.presuming import PRESUMING, draw_presuming
from rewards import Question
from rollouts.engine import BASE, Prompt, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.prompts import JUDGE
from visplay.config.sections import Model
from visplay.data.images import greyed_out
from visplay.evaluation.statistics import Estimate, accuracy_interval
from visplay.evaluation.verdict import estimate as show
from visplay.models.policy import load_base
from visplay.pocket.oracle import (
    DUSK,
    LADDER,
    RUNGS,
    Kind,
    draw_question,
    oracle,
)
from visplay.pocket.scenes import Scene, StyleName, render, sample_scenes
from visplay.prompts import questioner_prompt, reasoner_prompt
from visplay.storage import write_text

LONGEST = 200  # tokens; a careful trace about seven things and four colours has 130
GREEDY = Sampling(temperature=0, max_tokens=LONGEST)
STYLES: dict[StyleName, dict[Kind, float]] = {"clean": DUSK, "dusk": DUSK, "ladder": LADDER}


def write_card(folder: Path, *, recipe: Recipe, scenes: int = 600) -> Path:
    """Measure the checkpoint in `folder` on `scenes` scenes it never saw, and write `README.md` beside it."""
    engine = TransformersEngine(*load_base(Model(path=str(folder), dtype="float32")))
    figures = {style: _answers(engine, style, scenes) for style in STYLES}

    def row(title: str, key: str) -> str:
        return f"| {title} | " + " | ".join(show(figures[style][key]) for style in STYLES) + " |"

    parameters = sum(p.numel() for p in load_base(Model(path=str(folder)))[0].parameters())
    stages = "\n".join(
        f"| {stage.steps} | {', '.join(f'{n} {kind}' for kind, n in stage.lessons.items())} "
        f"| {_glances(stage)} |"
        for stage in recipe.stages
    )
    text = f"""---
license: apache-2.0
pipeline_tag: image-text-to-text
---
# The pocket VLM

A synthetic laboratory model: an Idefics3 of {parameters / 1e6:.1f} million parameters that sees coloured
shapes on a 3 x 3 grid, asks questions about them and answers them. It knows nothing else.

## How it was made
`python -m benchmarks.pocket_vlm DIR --seed {recipe.seed}`: from random weights, {recipe.steps:,} steps on
{recipe.scenes:,} clean scenes, AdamW, learning rate {recipe.learning_rate:g} with a cosine:

| steps | lessons in a batch | traces at a glance, by rung |
|---|---|---|
{stages}

No held-out scene, no dusky picture and nothing of easy-vqa was used.

## How well it sees
Greedy answers to {scenes} questions about {scenes} scenes it never saw, with 95 % intervals (Wilson):

| | clean | dusk | ladder |
|---|---|---|---|
{row("with the picture", "sighted")}
{row("with a mid-grey picture", "blind")}
{row("cells right in a dense caption", "cells")}

Sampled at temperature 1, {4 * scenes} answers each:

| | clean | dusk | ladder |
|---|---|---|---|
| share of answers at a glance | {" | ".join(f"{figures[style]['glances']:.1%}" for style in STYLES)} |
{row("right, at a glance", "glance")}
{row("right, carefully", "careful")}

The same on the ladder's scenes by rung:

| rung | answers at a glance | right | right, at a glance | right, carefully |
|---|---|---|---|---|
{_rungs(figures["ladder"]["manners"])}

As a Questioner, at temperature 1, {4 * scenes} questions each:

| | clean | dusk | ladder |
|---|---|---|---|
{row("well-formed", "valid")}
{row("of these, answerable", "answerable")}

As a judge of questions, greedy, one verdict each: right on questions whose wording does not tell whether the
picture settles them, {scenes} each; and on those that the Questioner asked:

| | clean | dusk | ladder |
|---|---|---|---|
{row("right, with the picture", "verdicts")}
{row("right, with a mid-grey picture", "blind_verdicts")}
{row("answerable, of what it lets pass", "precision")}
{row("let pass, of what is answerable", "recall")}
"""
    write_text(folder / "README.md", text)
    return folder / "README.md"


def _glances(stage: Stage) -> str:
    if "reasoner" not in stage.lessons:
        return "no traces about pictures"
    return ", ".join(f"{share:.0%}" for share in stage.glances.values())


Manners = dict[tuple[int, bool], list[bool]]  # by rung and whether at a glance: right or not


def _rungs(manners: Manners) -> str:
    lines = []
    for rung in sorted(set(RUNGS.values())):
        hasty, careful = manners[rung, True], manners[rung, False]
        cells = [
            f"{len(hasty) / (len(hasty) + len(careful)):.1%}",
            *(show(accuracy_interval(flags)) if flags else "" for flags in (hasty + careful, hasty, careful)),
        ]
        lines.append(f"| {rung} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _answers(engine: TransformersEngine, style: StyleName, count: int) -> dict[str, Any]:
    scenes = list(sample_scenes(count, split="warm-up-check", seed=0, style=style))
    pictures = [render(scene) for scene in scenes]
    rng = np.random.default_rng(0)
    kinds, questions = zip(*(draw_question(rng, scene, STYLES[style]) for scene in scenes), strict=True)
    truths = [oracle(scene, question) for scene, question in zip(scenes, questions, strict=True)]
    seen, unseen = _shown(pictures, questions)
    sampled = engine.generate(seen, adapter=BASE, sampling=Sampling(n=4, max_tokens=LONGEST))
    manners: Manners = defaultdict(list)
    for kind, group, truth in zip(kinds, sampled, truths, strict=True):
        for completion in group:
            right = rewards.extract_answer(completion.text) == truth
            manners[RUNGS[kind], is_glance(completion.text)].append(right)
    by_manner = {
        hasty: [flag for (_, manner), flags in manners.items() if manner is hasty for flag in flags]
        for hasty in (True, False)
    }
    return {
        "sighted": _greedy(engine, seen, truths),
        "blind": _greedy(engine, unseen, truths),
        "cells": _cells(engine, scenes),
        "glances": len(by_manner[True]) / (4 * count),
        "glance": accuracy_interval(by_manner[True]) if by_manner[True] else None,
        "careful": accuracy_interval(by_manner[False]) if by_manner[False] else None,
        "manners": manners,
        **_verdicts(engine, scenes, pictures),
        **_asked(engine, scenes, pictures),
    }


def _shown(pictures: Sequence[Image.Image], questions: Sequence[str]) -> tuple[list[Prompt], list[Prompt]]:
    """The questions with their pictures, and with mid-grey ones."""
    pairs = list(zip(pictures, questions, strict=True))
    return (
        [reasoner_prompt(picture, text, words=WORDS) for picture, text in pairs],
        [reasoner_prompt(greyed_out(picture), text, words=WORDS) for picture, text in pairs],
    )


def _greedy(engine: TransformersEngine, prompts: Sequence[Prompt], truths: Sequence[str | None]) -> Estimate:
    groups = engine.generate(prompts, adapter=BASE, sampling=GREEDY)
    return accuracy_interval(
        [rewards.extract_answer(g[0].text) == truth for g, truth in zip(groups, truths, strict=True)]
    )


def _cells(engine: TransformersEngine, scenes: Sequence[Scene]) -> Estimate:
    content = [{"type": "image"}, {"type": "text", "text": CAPTION_PROMPT}]
    message = {"role": "user", "content": content}
    prompts = [Prompt(messages=(message,), images=(render(scene),)) for scene in scenes]
    right = []
    for scene, group in zip(scenes, engine.generate(prompts, adapter=BASE, sampling=GREEDY), strict=True):
        want, got = (text.rstrip(".").split(", ") for text in (caption(scene), group[0].text))
        right += [cell == got[i] if i < len(got) else False for i, cell in enumerate(want)]
    return accuracy_interval(right)


def _verdicts(
    engine: TransformersEngine, scenes: Sequence[Scene], pictures: Sequence[Image.Image]
) -> dict[str, Estimate]:
    """A judge's verdicts on questions that a picture settles as often as not, with the same wording."""
    rng = np.random.default_rng(1)
    chosen, questions = [], []
    for place, scene in enumerate(scenes):
        for _ in range(24):
            question = draw_presuming(rng, scene, kind=PRESUMING[rng.integers(len(PRESUMING))])
            if question is not None:
                chosen.append(place)
                questions.append(question)
                break
    truths = [
        "no" if oracle(scenes[place], question) is None else "yes"
        for place, question in zip(chosen, questions, strict=True)
    ]
    seen, unseen = _shown([pictures[i] for i in chosen], [JUDGE.format(question=q) for q in questions])
    return {"verdicts": _greedy(engine, seen, truths), "blind_verdicts": _greedy(engine, unseen, truths)}


def _asked(
    engine: TransformersEngine, scenes: Sequence[Scene], pictures: Sequence[Image.Image]
) -> dict[str, Estimate | None]:
    """What the Questioner asks, and what the judge says of it."""
    prompts = [questioner_prompt(picture, types=TYPES, words=WORDS) for picture in pictures]
    groups = engine.generate(prompts, adapter=BASE, sampling=Sampling(n=4, max_tokens=96))
    valid, asked = [], []
    for place, group in enumerate(groups):
        for completion in group:
            question = rewards.parse_question(completion.text, types=TYPES)
            valid.append(isinstance(question, Question))
            if isinstance(question, Question):
                asked.append((place, question.question))
    settled = [oracle(scenes[place], question) is not None for place, question in asked]
    seen, _ = _shown(
        [pictures[place] for place, _ in asked], [JUDGE.format(question=question) for _, question in asked]
    )
    verdicts = [
        rewards.extract_answer(group[0].text) == "yes"
        for group in engine.generate(seen, adapter=BASE, sampling=GREEDY)
    ]
    passed = [truth for truth, verdict in zip(settled, verdicts, strict=True) if verdict]
    answerable = [verdict for truth, verdict in zip(settled, verdicts, strict=True) if truth]
    return {
        "valid": accuracy_interval(valid),
        "answerable": accuracy_interval(settled),
        "precision": accuracy_interval(passed) if passed else None,
        "recall": accuracy_interval(answerable) if answerable else None,
    }
