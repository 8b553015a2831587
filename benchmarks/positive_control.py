"""Do gold labels raise a base of the wide world, and does it matter what is asked?

Before any arm of self-play: GRPO on the `Learner` of the loop, rewarded with true answers. `even` asks
as many questions of each kind, `weak` as many of each kind that the Questioner seldom asks, `base` what
that Questioner asks itself, where the oracle has an answer. Every mix gets as many examples. All on play and
development scenes; a finished iteration is not done again.

    python -m benchmarks.positive_control runs/wide-0 --mix even weak base --out runs/control-0
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import rewards
from benchmarks.pocket_vlm.lessons import TYPES, WORDS
from benchmarks.pocket_vlm.wide import KNOWN
from rewards import Question
from rollouts.engine import BASE, AdapterVersion, Prompt, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.sections import Lora, Model, Optimizer, Phase
from visplay.evaluation.items import Item
from visplay.evaluation.prompts import item_prompt
from visplay.models.policy import Policy
from visplay.pocket.benchmark import wide
from visplay.pocket.oracle import WIDE, draw_question, oracle
from visplay.pocket.scenes import Scene, render, sample_scene
from visplay.prompts import questioner_prompt, reasoner_prompt
from visplay.storage import append_jsonl, read_jsonl
from visplay.training.learner import Learner
from visplay.training.trl import Rollout

MIXES = ("even", "weak", "base")
LONGEST = 100  # tokens of an answer
Example = tuple[Prompt, str]  # a prompt and the true answer to it


def only_right(rewards: list[list[float]]) -> list[list[float]]:
    """Advantages [P][G] as TRL's, those below 0 set to 0: a step learns from right answers alone."""
    found = []
    for group in rewards:
        mean = sum(group) / len(group)
        spread = math.sqrt(sum((reward - mean) ** 2 for reward in group) / (len(group) - 1))
        found.append([max(0.0, (reward - mean) / (spread + 1e-4)) for reward in group])
    return found


class Asker:
    """An endless stream of questions of a mix, with their true answers."""

    def __init__(self, mix: str, engine: TransformersEngine, seed: int) -> None:
        self.mix, self.engine, self.seed = mix, engine, seed

    def stream(self, start: int = 0) -> Iterator[Example]:
        """Examples from the play scenes from `start` on, a question for each."""
        kinds = [kind for kind in WIDE if self.mix == "even" or kind not in KNOWN]
        while True:
            scenes = [
                sample_scene(split="play", seed=self.seed, index=start + i, style="wide") for i in range(32)
            ]
            if self.mix == "base":
                questions = self._asked(scenes, start)
            else:
                rng = np.random.default_rng([self.seed, 11, start])
                questions = [
                    draw_question(rng, one, dict.fromkeys(kinds, 1 / len(kinds)))[1] for one in scenes
                ]
            for scene, question in zip(scenes, questions, strict=True):
                answer = oracle(scene, question)
                if answer is not None:
                    yield reasoner_prompt(render(scene), question, words=WORDS), answer
            start += len(scenes)

    def _asked(self, scenes: list[Scene], start: int) -> list[str]:
        prompts = [questioner_prompt(render(scene), types=TYPES, words=WORDS) for scene in scenes]
        sampling = Sampling(max_tokens=64, seed=self.seed + start)
        parsed = [
            rewards.parse_question(group[0].text, types=TYPES)
            for group in self.engine.generate(prompts, adapter=BASE, sampling=sampling)
        ]
        return [found.question if isinstance(found, Question) else "" for found in parsed]


def right(engine: TransformersEngine, items: list[Item], adapter: AdapterVersion) -> str:
    """`1` for every item that is answered correctly, greedily, and `0` for the others."""
    engine.publish(adapter)
    prompts = [item_prompt(item, words=WORDS) for item in items]
    groups = engine.generate(prompts, adapter=adapter, sampling=Sampling(temperature=0, max_tokens=LONGEST))
    answers = [rewards.extract_answer(group[0].text) for group in groups]
    return "".join("01"[answer == item.gold.answers[0]] for answer, item in zip(answers, items, strict=True))


def show(items: list[Item], flags: str) -> str:
    """The percentage right, and by kind."""
    by_kind = {
        kind: [f == "1" for item, f in zip(items, flags, strict=True) if item.kind == kind] for kind in WIDE
    }
    parts = " ".join(f"{kind} {100 * sum(own) / len(own):.0f}" for kind, own in by_kind.items())
    return f"{100 * flags.count('1') / len(flags):.1f} ({parts})"


def control(mix: str, asked: argparse.Namespace, items: list[Item]) -> None:
    """Iterations of gold labels on one mix; each ends with a line of `MIX.jsonl`."""
    folder = asked.out / mix
    folder.mkdir(parents=True, exist_ok=True)
    log = asked.out / f"{mix}.jsonl"
    policy = Policy.of(
        Model(path=asked.model, dtype="float32"), lora=Lora(rank=asked.rank, alpha=2 * asked.rank)
    )
    engine = TransformersEngine(policy.shared_base(), policy.processor)
    adapter = AdapterVersion(name="reasoner", version=0, path=folder / "start")
    if not (folder / "start").exists():
        policy.create_adapter(adapter, seed=asked.seed)
    phase = Phase(
        steps=asked.steps, prompts_per_step=asked.prompts, group_size=asked.group, max_tokens=LONGEST
    )
    done = read_jsonl(log)
    if not done:
        done = [{"iteration": 0, "mix": mix, "seed": asked.seed, "right": right(engine, items, adapter)}]
        append_jsonl(log, *done)
    print(f"{mix}, base: {show(items, done[0]['right'])}", flush=True)
    for iteration in range(1, asked.iterations + 1):
        own = folder / f"iteration-{iteration}"
        own.mkdir(exist_ok=True)
        optimizer = Optimizer(
            learning_rate=asked.learning_rate[min(iteration, len(asked.learning_rate)) - 1],
            kl=0.0, micro_batch_size=64,
            advantage=None if asked.all_advantages else "benchmarks.positive_control:only_right",
            grpo={"lr_scheduler_type": "cosine", "warmup_steps": 3},
        )  # fmt: skip
        begun, paid = time.perf_counter(), []
        asker = Asker(mix, engine, asked.seed)
        with Learner(
            policy, start=adapter, phase=phase, optimizer=optimizer, corrected=False, folder=own,
            seed=1000 * asked.seed + iteration,
        ) as learner:  # fmt: skip
            examples = asker.stream(start=10_000 * iteration + 200 * learner.done)
            for step in learner.steps():
                current = learner.publish(engine)
                batch = [next(examples) for _ in range(asked.prompts)]
                sampling = Sampling(n=asked.group, max_tokens=LONGEST, seed=10_000 * iteration + step)
                groups = engine.generate([prompt for prompt, _ in batch], adapter=current, sampling=sampling)
                rollouts = [
                    Rollout(
                        prompt=prompt,
                        completion=one,
                        reward=float(rewards.extract_answer(one.text) == answer),
                    )
                    for (prompt, answer), group in zip(batch, groups, strict=True)
                    for one in group
                ]
                learner.update(rollouts)
                learner.save()
                paid += [rollout.reward for rollout in rollouts]
            adapter = learner.trained
        if iteration < len(done):
            continue
        flags = right(engine, items, adapter)
        reward = sum(paid) / len(paid) if paid else None
        done.append(
            {"iteration": iteration, "mix": mix, "seed": asked.seed, "reward": reward, "right": flags}
        )
        append_jsonl(log, done[-1])
        spent = time.perf_counter() - begun
        print(f"{mix}, {iteration}: {show(items, flags)}, reward {reward}, {spent:.0f} s", flush=True)


def main() -> None:
    """Train with gold labels on each mix, and print what it gives."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="folder of a base of the wide world")
    parser.add_argument("--mix", nargs="+", choices=MIXES, default=["even"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--prompts", type=int, default=32, help="a step")
    parser.add_argument("--group", type=int, default=8, help="answers to each")
    parser.add_argument(
        "--learning-rate", type=float, nargs="+", default=[2e-3, 2e-3, 1e-3, 1e-3, 5e-4], metavar="RATE",
        help="of each iteration, the last one for all that follow (default: 2e-3 twice, 1e-3 twice, 5e-4)",
    )  # fmt: skip
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument(
        "--all-advantages", action="store_true", help="learn from wrong answers, too, as GRPO does"
    )
    parser.add_argument("--development", type=int, default=360, help="development questions")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    settings = {
        name: str(value) for name, value in vars(asked).items() if name not in ("mix", "iterations", "out")
    }
    (asked.out / "settings.json").write_text(json.dumps(settings))
    for mix in asked.mix:
        control(mix, asked, wide(asked.development, 0, "development"))


if __name__ == "__main__":
    main()
