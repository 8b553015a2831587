"""Does the Questioner matter: a prompt with kept questions or without, trained or untrained?

The bases of the wide world were taught to ask in few lessons, and half of their questions have no answer.
So a Questioner's adapter is taught first, by supervised steps: to ask of a picture what its scene answers, in
the base's habitual mix of kinds; and, where its prompt lists three earlier questions, to ask one like them.
Every arm starts from this adapter, and the Reasoner from an untrained one.

    python -m benchmarks.conditioned runs/wide-0          # writes runs/wide-0/questioner
    python -m benchmarks.gate --world wide --set model.path=runs/wide-0 --arms bare conditioned ...

The bank has the kept questions of earlier iterations. Half of the prompts list three of them, about other
pictures and no two with the same first words; informative and recent ones are likelier.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

import rewards
from benchmarks.pocket_vlm.build import collate
from benchmarks.pocket_vlm.lessons import TYPES, WORDS, Lesson
from benchmarks.pocket_vlm.wide import KNOWN, asked
from rewards import Question
from rollouts.engine import BASE, AdapterVersion, Prompt, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model
from visplay.loop import curation, measuring, questioner, reasoner, watching
from visplay.loop.asking import Prompting, judge, parse, plain, vote
from visplay.loop.context import RunContext
from visplay.loop.curation import band
from visplay.models.policy import load_base, save_adapter, with_new_adapter
from visplay.pocket.oracle import QUESTION_TYPES, WIDE, Kind, draw_question, oracle, parse_query
from visplay.pocket.scenes import Scene, render, sample_scene
from visplay.prompts import questioner_prompt
from visplay.runs.checkpoints import Roles, promote

SHOWN = 3  # questions of the bank in a prompt
FOLDER = "questioner"  # of the taught adapter, in the base's folder
TRIED = 240  # questions that tell how well it was taught


def with_examples(image: Image.Image, examples: Sequence[str], words: Prompts, *, key: str = "") -> Prompt:
    """The Questioner's prompt with earlier questions; their braces are not placeholders."""
    shown = " ".join(examples).replace("{", "(").replace("}", ")")
    longer = words.model_copy(update={"questioner": f"{words.questioner} Ask like one of these: {shown}"})
    return questioner_prompt(image, types=TYPES, words=longer, key=key)


def lesson(rng: np.random.Generator, scene: Scene) -> Lesson:
    """A lesson in asking: every second time with examples, whose kinds are drawn evenly."""
    image = render(scene)
    if rng.random() < 0.5:
        kind, question = draw_question(rng, scene, asked())
        prompt = questioner_prompt(image, types=TYPES, words=WORDS)
    else:
        examples = [_example(rng) for _ in range(SHOWN)]
        shown = [kind for kind, _ in examples]
        weights = {kind: shown.count(kind) + 0.01 for kind in WIDE}  # a scene may settle none of them
        total = sum(weights.values())
        kind, question = draw_question(rng, scene, {kind: own / total for kind, own in weights.items()})
        prompt = with_examples(image, [text for _, text in examples], WORDS)
    answer = oracle(scene, question)
    completion = (
        f"<type>{QUESTION_TYPES[kind]}</type><question>{question}</question><answer>{answer}</answer>"
    )
    return Lesson(kind="questioner", prompt=prompt, completion=completion)


def _example(rng: np.random.Generator) -> tuple[Kind, str]:
    scene = sample_scene(split="warm-up", seed=int(rng.integers(2**31)), index=0, style="wide")
    return draw_question(rng, scene, dict.fromkeys(WIDE, 1 / len(WIDE)))


def teach(path: Path, *, steps: int, batch: int, rate: float) -> None:
    """Teach the adapter, and print what it asks with and without examples."""
    base, processor = load_base(Model(path=str(path), dtype="float32"))
    model = with_new_adapter(base, Lora())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        rng = np.random.default_rng([7, step])
        scenes = [
            sample_scene(split="warm-up", seed=1, index=step * batch + i, style="wide") for i in range(batch)
        ]
        lessons = sorted((lesson(rng, scene) for scene in scenes), key=_length)
        total = 0.0
        for part in (lessons[: batch // 2], lessons[batch // 2 :]):  # bare prompts are shorter
            inputs = collate(part, processor=processor)
            pixels = np.stack([np.asarray(one.prompt.images[0]) for one in part])
            tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
            inputs["pixel_values"] = ((tensor / 255 - 0.5) / 0.5)[:, None]
            loss = model(**inputs).loss / 2
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if (step + 1) % 25 == 0:
            print(f"step {step + 1}/{steps}, loss {total:.3f}", flush=True)
    save_adapter(model, AdapterVersion(name="questioner", version=0, path=path / FOLDER))
    engine = TransformersEngine(model.eval(), processor)
    for conditioned in (False, True):
        print(describe(engine, conditioned=conditioned), flush=True)


def _length(taught: Lesson) -> int:
    return len(str(taught.prompt.messages)) + len(taught.completion)


def describe(engine: TransformersEngine, *, conditioned: bool) -> str:
    """What is asked of play scenes: shares in percent."""
    rng = np.random.default_rng(5)
    scenes = [sample_scene(split="play", seed=3, index=i, style="wide") for i in range(TRIED)]
    examples = [[_example(rng) for _ in range(SHOWN)] for _ in scenes]
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


def taught(ctx: RunContext, roles: Roles) -> Roles:
    """The roles with the taught adapter as the Questioner's.

    Raises:
        FileNotFoundError: the base's folder has none.
    """

    def work(folder: Path) -> list[dict[str, object]]:
        source = Path(ctx.config.model.source) / FOLDER
        own = AdapterVersion(name="questioner", version=roles["questioner"].version, path=source)
        promote(own, into=folder)
        return []

    return ctx.adopt(roles, "questioner", ctx.step("iteration-0/taught", work))


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
            if rng.random() < 0.5 and len(examples) == SHOWN:
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


def bare(ctx: RunContext, roles: Roles, *, banked: bool = False) -> None:
    """Algorithm 1 from the taught adapter."""
    roles = taught(ctx, roles)
    for iteration in ctx.iterations():
        prompting = from_bank(ctx, iteration) if banked else plain
        roles = questioner.train(ctx, iteration, roles, ask=[parse, judge, vote], prompting=prompting)
        stages = [parse, judge, vote, band]
        examples = curation.curate(ctx, iteration, roles, ask=stages, prompting=prompting)
        roles = reasoner.train(ctx, iteration, roles, examples)
        measuring.measure(ctx, iteration, roles)
        roles = watching.finish(ctx, iteration, roles)


def conditioned(ctx: RunContext, roles: Roles) -> None:
    """The same with prompts that list kept questions."""
    bare(ctx, roles, banked=True)


def main() -> None:
    """Teach the adapter of a base."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder of a base of the wide world")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32, help="lessons a step")
    parser.add_argument(
        "--rate", type=float, default=2e-3, help="learning rate, which falls to 0 by a cosine"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    teach(chosen.model, steps=chosen.steps, batch=chosen.batch, rate=chosen.rate)


if __name__ == "__main__":
    main()
