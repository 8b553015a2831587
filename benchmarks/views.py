"""Are ten votes right more often when they are shared out over views of a picture, and what do they cost?

The base of the package answers the same questions about development scenes greedily, with ten votes on one
picture, and with as many on five views of it:

    python -m benchmarks.views --questions 400
"""

import argparse
import time

import numpy as np
import torch

import rewards
from benchmarks.pocket_vlm.lessons import WORDS
from rollouts.engine import BASE, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.method import METHODS
from visplay.config.sections import Model
from visplay.data.views import VIEWS
from visplay.evaluation.statistics import accuracy_interval
from visplay.evaluation.verdict import estimate
from visplay.models.policy import load_base
from visplay.pocket.oracle import DUSK, LADDER, Kind, draw_question, oracle
from visplay.pocket.scenes import StyleName, render, sample_scenes
from visplay.prompts import reasoner_prompt

WORLDS: dict[StyleName, dict[Kind, float]] = {"dusk": DUSK, "ladder": LADDER}
SETS = {"one picture": ["as it is"], "five views": METHODS["steady"]["votes"]["views"]}
VOTES, TOKENS = 10, 160


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=400, help="about as many scenes, in each world")
    count = parser.parse_args().questions
    torch.set_num_threads(1)
    engine = TransformersEngine(*load_base(Model(path="pocket", dtype="float32")))
    print("| | right | right, of 0.5 <= c <= 0.95 | right, of c >= 0.6 | seconds |\n|---|---|---|---|---|")
    for style, kinds in WORLDS.items():
        scenes = list(sample_scenes(count, split="development", seed=11, style=style))
        rng = np.random.default_rng(0)
        questions = [draw_question(rng, scene, kinds)[1] for scene in scenes]
        truths = [oracle(scene, text) for scene, text in zip(scenes, questions, strict=True)]
        pictures = [render(scene) for scene in scenes]
        asked = list(zip(pictures, questions, strict=True))
        greedy = engine.generate(
            [reasoner_prompt(picture, text, words=WORDS) for picture, text in asked],
            adapter=BASE, sampling=Sampling(temperature=0, max_tokens=TOKENS),
        )  # fmt: skip
        said = [rewards.extract_answer(group[0].text) for group in greedy]
        right = [answer == truth for answer, truth in zip(said, truths, strict=True)]
        print(f"| {style}, one greedy answer | {estimate(accuracy_interval(right))} | | | |")
        for title, names in SETS.items():
            begun = time.perf_counter()
            answers: list[list[str | None]] = [[] for _ in questions]
            prompts = [
                reasoner_prompt(VIEWS[name](picture), text, words=WORDS)
                for name in names
                for picture, text in asked
            ]
            sampling = Sampling(
                n=VOTES // len(names), temperature=1, top_k=40, max_tokens=TOKENS, seed=3
            )  # fmt: skip
            for place, group in enumerate(engine.generate(prompts, adapter=BASE, sampling=sampling)):
                answers[place % count] += [rewards.extract_answer(one.text) for one in group]
            votes = [(rewards.vote(own), truth) for own, truth in zip(answers, truths, strict=True)]
            judged = [(vote.confidence, vote.answer == truth) for vote, truth in votes]
            cells = [
                [ok for _, ok in judged],
                [ok for confidence, ok in judged if 0.5 <= confidence <= 0.95],
                [ok for confidence, ok in judged if confidence >= 0.6],
            ]
            shown = " | ".join(estimate(accuracy_interval(flags)) for flags in cells)
            print(f"| {style}, {title} | {shown} | {time.perf_counter() - begun:.0f} |", flush=True)


if __name__ == "__main__":
    main()
