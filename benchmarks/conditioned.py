r"""Does the Questioner matter: a prompt with kept questions or without, trained or untrained?

The bases of the wide world were taught to ask a question like one of those that their prompt lists. The bank
has the kept questions of earlier iterations; half of the prompts list three of them, about other pictures and
no two with the same first words. Informative and recent ones are likelier.

    python -m benchmarks.conditioned runs/wide-0          # what a base asks with such a prompt and without
    python -m benchmarks.gate --world wide --images runs/wide-images --output runs/arms-0 --seeds 0 \
        --set model.path=runs/wide-0 --arms steady "steady, conditioned"
"""

import argparse
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq
import torch

import rewards
from benchmarks.pocket_vlm.lessons import TYPES, WORDS
from benchmarks.pocket_vlm.wide import BANKED, KNOWN, SHOWN, example, with_examples
from rewards import Question
from rollouts.engine import BASE, Prompt, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.sections import Model
from visplay.loop import curation, measuring, questioner, reasoner, watching
from visplay.loop.asking import Prompting, judge, parse, plain, vote
from visplay.loop.context import RunContext
from visplay.loop.curation import band
from visplay.models.policy import load_base
from visplay.pocket.oracle import oracle, parse_query
from visplay.pocket.scenes import render, sample_scene
from visplay.prompts import questioner_prompt
from visplay.runs.checkpoints import Roles

TRIED = 240  # questions of `describe`


def describe(engine: TransformersEngine, *, conditioned: bool) -> str:
    """What is asked of play scenes: shares in percent."""
    rng = np.random.default_rng(5)
    scenes = [sample_scene(split="play", seed=3, index=i, style="wide") for i in range(TRIED)]
    examples = [[example(rng) for _ in range(SHOWN)] for _ in scenes]
    prompts = [
        with_examples(render(scene), [text for _, text in own], WORDS)
        if conditioned
        else questioner_prompt(render(scene), types=TYPES, words=WORDS)
        for scene, own in zip(scenes, examples, strict=True)
    ]
    groups = engine.generate(prompts, adapter=BASE, sampling=Sampling(max_tokens=64, seed=5))
    answerable = known = like = 0
    for scene, own, group in zip(scenes, examples, groups, strict=True):
        question = rewards.parse_question(group[0].text, types=TYPES)
        query = parse_query(question.question) if isinstance(question, Question) else None
        if query and isinstance(question, Question):
            answerable += oracle(scene, question.question) is not None
            known += query.kind in KNOWN
            like += query.kind in [kind for kind, _ in own]
    shares = {"with an answer": answerable, "of a known kind": known, "of an example's kind": like}
    shown = ", ".join(f"{100 * count / TRIED:.0f} % {name}" for name, count in shares.items())
    return f"{'with' if conditioned else 'without'} examples (n = {TRIED}): {shown}"


def from_bank(ctx: RunContext, iteration: int) -> Prompting:
    """Prompts of which each second one lists kept questions of the iterations before this one."""
    bank: list[tuple[str, str, float]] = []
    for i in range(1, iteration):
        path = ctx.run.folder / f"iteration-{i}/curation/candidates.parquet"
        columns = ["image_key", "question", "confidence", "kept"]
        for row in pq.read_table(path, columns=columns).to_pylist():
            c = row["confidence"]
            if row["kept"]:
                weight = 4 * c * (1 - c) * 2 ** (-(iteration - i) / 2)
                bank.append((row["image_key"], row["question"], weight))

    def prompting(ctx: RunContext, pictures: Sequence[str], seed: int) -> list[Prompt]:
        prompts = plain(ctx, pictures, seed)
        rng = np.random.default_rng(seed)
        for place, key in enumerate(pictures):
            examples = drawn(rng, [entry for entry in bank if entry[0] != key])
            if rng.random() < BANKED and len(examples) == SHOWN:
                prompts[place] = with_examples(ctx.picture(key), examples, ctx.config.prompts, key=key)
        return prompts

    return prompting


def drawn(rng: np.random.Generator, bank: Sequence[tuple[str, str, float]]) -> list[str]:
    """Questions of the bank drawn by weight, no two with the same first two words; fewer if there are."""
    found: dict[str, str] = {}
    weights = np.array([weight for *_, weight in bank])
    for _ in range(10 * SHOWN if len(bank) else 0):
        question = bank[int(rng.choice(len(bank), p=weights / weights.sum()))][1]
        found.setdefault(" ".join(question.split()[:2]), question)
        if len(found) == SHOWN:
            break
    return list(found.values())


def conditioned(ctx: RunContext, roles: Roles) -> None:
    """Algorithm 1 with prompts that list kept questions."""
    for iteration in ctx.iterations():
        prompting = from_bank(ctx, iteration)
        roles = questioner.train(ctx, iteration, roles, ask=[parse, judge, vote], prompting=prompting)
        stages = [parse, judge, vote, band]
        examples = curation.curate(ctx, iteration, roles, ask=stages, prompting=prompting)
        roles = reasoner.train(ctx, iteration, roles, examples)
        measuring.measure(ctx, iteration, roles)
        roles = watching.finish(ctx, iteration, roles)


def main() -> None:
    """Print what a base asks with and without examples."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="folder of a base of the wide world")
    torch.set_num_threads(1)
    engine = TransformersEngine(*load_base(Model(path=parser.parse_args().model, dtype="float32")))
    for listed in (False, True):
        print(describe(engine, conditioned=listed), flush=True)


if __name__ == "__main__":
    main()
