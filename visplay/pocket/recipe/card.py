"""The model card of a pocket VLM: how it was made, and how well it sees, measured anew."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import rewards
from rewards import Question
from rollouts.engine import BASE, Prompt, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.sections import Model
from visplay.data.images import greyed_out
from visplay.evaluation.statistics import Estimate, accuracy_interval
from visplay.evaluation.wording import estimate as show
from visplay.models.policy import load_base
from visplay.pocket.oracle import TAUGHT, draw_question, oracle
from visplay.pocket.recipe.build import Recipe, Stage
from visplay.pocket.recipe.lessons import CAPTION_PROMPT, TYPES, WORDS, caption, is_glance
from visplay.pocket.scenes import Scene, StyleName, render, sample_scenes
from visplay.prompts import questioner_prompt, reasoner_prompt
from visplay.storage import write_text

GREEDY = Sampling(temperature=0, max_tokens=96)


def write_card(folder: Path, *, recipe: Recipe, scenes: int = 600) -> Path:
    """Measure the checkpoint in `folder` on `scenes` scenes it never saw, and write `README.md` beside it."""
    engine = TransformersEngine(*load_base(Model(path=str(folder), dtype="float32")))
    figures = {style: _answers(engine, style, scenes) for style in ("clean", "dusk")}
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
`visplay pocket build DIR --seed {recipe.seed}`: from random weights, {recipe.steps:,} steps on
{recipe.scenes:,} clean scenes, AdamW, learning rate {recipe.learning_rate:g} with a cosine:

| steps | lessons in a batch | traces at a glance: where things are counted, elsewhere |
|---|---|---|
{stages}

No held-out scene, no dusky picture and nothing of easy-vqa was used.

## How well it sees
Greedy answers to {scenes} questions about {scenes} scenes it never saw, with 95 % intervals (Wilson):

| | clean | dusk |
|---|---|---|
| with the picture | {show(figures["clean"]["sighted"])} | {show(figures["dusk"]["sighted"])} |
| with a mid-grey picture | {show(figures["clean"]["blind"])} | {show(figures["dusk"]["blind"])} |
| cells right in a dense caption | {show(figures["clean"]["cells"])} | {show(figures["dusk"]["cells"])} |

Sampled at temperature 1, {4 * scenes} answers each:

| | clean | dusk |
|---|---|---|
| share of answers at a glance | {figures["clean"]["glances"]:.1%} | {figures["dusk"]["glances"]:.1%} |
| right, at a glance | {show(figures["clean"]["glance"])} | {show(figures["dusk"]["glance"])} |
| right, carefully | {show(figures["clean"]["careful"])} | {show(figures["dusk"]["careful"])} |

As a Questioner, at temperature 1, {4 * scenes} questions each:

| | clean | dusk |
|---|---|---|
| well-formed | {show(figures["clean"]["valid"])} | {show(figures["dusk"]["valid"])} |
| of these, answerable | {show(figures["clean"]["answerable"])} | {show(figures["dusk"]["answerable"])} |
"""
    write_text(folder / "README.md", text)
    return folder / "README.md"


def _glances(stage: Stage) -> str:
    if "reasoner" not in stage.lessons:
        return "no traces about pictures"
    return f"{stage.glance_share:.0%}, {stage.glance_share_elsewhere:.0%}"


def _answers(engine: TransformersEngine, style: StyleName, count: int) -> dict[str, Any]:
    scenes = list(sample_scenes(count, split="warm-up-check", seed=0, style=style))
    pictures = [render(scene) for scene in scenes]
    rng = np.random.default_rng(0)
    questions = [draw_question(rng, scene, TAUGHT)[1] for scene in scenes]
    truths = [oracle(scene, question) for scene, question in zip(scenes, questions, strict=True)]
    seen = [reasoner_prompt(p, q, words=WORDS) for p, q in zip(pictures, questions, strict=True)]
    unseen = [
        reasoner_prompt(greyed_out(p), q, words=WORDS) for p, q in zip(pictures, questions, strict=True)
    ]
    sampled = engine.generate(seen, adapter=BASE, sampling=Sampling(n=4, max_tokens=96))
    manners: dict[bool, list[bool]] = defaultdict(list)
    for group, truth in zip(sampled, truths, strict=True):
        for completion in group:
            manners[is_glance(completion.text)].append(rewards.extract_answer(completion.text) == truth)
    return {
        "sighted": _greedy(engine, seen, truths),
        "blind": _greedy(engine, unseen, truths),
        "cells": _cells(engine, scenes),
        "glances": len(manners[True]) / (4 * count),
        "glance": accuracy_interval(manners[True]) if manners[True] else None,
        "careful": accuracy_interval(manners[False]) if manners[False] else None,
        **_asked(engine, scenes),
    }


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


def _asked(engine: TransformersEngine, scenes: Sequence[Scene]) -> dict[str, Estimate]:
    prompts = [questioner_prompt(render(scene), types=TYPES, words=WORDS) for scene in scenes]
    groups = engine.generate(prompts, adapter=BASE, sampling=Sampling(n=4, max_tokens=96))
    valid, answerable = [], []
    for scene, group in zip(scenes, groups, strict=True):
        for completion in group:
            question = rewards.parse_question(completion.text, types=TYPES)
            valid.append(isinstance(question, Question))
            if isinstance(question, Question):
                answerable.append(oracle(scene, question.question) is not None)
    return {"valid": accuracy_interval(valid), "answerable": accuracy_interval(answerable)}
