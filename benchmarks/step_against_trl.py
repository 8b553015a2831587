"""A Reasoner step of ours against one of TRL's own GRPOTrainer with its own generation, checkpoints included.

    python -m benchmarks.step_against_trl --rounds 10

Both train the pocket VLM, one thread, with the same arguments of TRL's (`visplay.training.arguments`), the
same adapter to begin with, the same pictures and prompts, G, lengths and rewards.
They take turns, a phase of a few steps each; times are from step to step, the first step of a phase left out.
The learning rate is so small that lengths stay what they are. `--profile` shows where ours spends its time.
"""

import argparse
import cProfile
import itertools
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from benchmarks.transformers_engine import Phase3, questions
from visplay.config.sections import Lora, Model, Optimizer, Phase
from visplay.models.policy import Policy, load_base
from visplay.runs.checkpoints import numbered
from visplay.training import learner
from visplay.training.arguments import grpo_arguments

GROUP, LENGTH = 8, 96


@dataclass
class Marks(TrainerCallback):
    """When each step was over, and how long its completions were."""

    times: list[float] = field(default_factory=list)
    lengths: list[float] = field(default_factory=list)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "reward" in logs:
            self.times.append(time.perf_counter())
            self.lengths.append(logs["completions/mean_length"])


def trl_alone(
    folder: Path, *, steps: int, prompts: int, optimizer: Optimizer, mixed: bool
) -> tuple[list[float], float]:
    """Seconds of each step but the first, by TRL, and the mean length of a completion in tokens."""
    torch.manual_seed(0)
    policy = Policy(*load_base(Model(path="pocket", dtype="float32")), lora=Lora(rank=16))
    start = numbered(folder, "shared", 0)
    policy.create_adapter(start, seed=0)
    model = policy.with_adapter(start)
    asked = questions(steps * prompts, mixed=mixed)
    arguments = grpo_arguments(
        Phase(steps=steps, prompts_per_step=prompts, group_size=GROUP, max_tokens=LENGTH),
        optimizer, corrected=False, folder=folder / "trainer", seed=0, model=model,
    )  # fmt: skip
    arguments.save_total_limit = 1

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [float(len(ids) % 2) for ids in completion_ids]

    marks = Marks()
    # TRL puts the pictures' blocks into the prompts itself.
    texts = [
        [
            {"role": m["role"], "content": "".join(b.get("text", "") for b in m["content"])}
            for m in prompt.messages
        ]
        for prompt in asked
    ]
    rows = Dataset.from_dict({"prompt": texts, "images": [list(prompt.images) for prompt in asked]})
    trainer = GRPOTrainer(
        model=model, reward_funcs=reward, args=arguments, processing_class=policy.processor,
        callbacks=[marks], train_dataset=rows,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return _between(marks.times), statistics.mean(marks.lengths)


def ours(
    folder: Path, *, steps: int, prompts: int, optimizer: Optimizer, mixed: bool
) -> tuple[list[float], float]:
    """The same by visplay, with the transformers engine."""
    phase = Phase3(corrected=False, mixed=mixed)
    phase.run(folder, steps=steps, prompts=prompts, optimizer=optimizer)
    return phase.seconds()[0], statistics.mean(row["completions/mean_length"] for row in phase.rows)


def unkept(folder: Path, **shape: Any) -> tuple[list[float], float]:
    """Ours, of which the last step alone writes a checkpoint."""
    last: list[Callable[[], None]] = []
    work = learner.in_background

    def skip(write: Callable[[], None]) -> Future[None]:
        last.append(write)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def written(*_: Any) -> None:
        work(last[-1]).result()

    with (
        mock.patch.object(learner, "in_background", skip),
        mock.patch.object(learner.Learner, "__exit__", written),
    ):
        return ours(folder, **shape)


def _between(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10, help="phases of each")
    parser.add_argument("--steps", type=int, default=6, help="of a phase")
    parser.add_argument("--prompts", type=int, default=8, help="of a step, each answered 8 times")
    parser.add_argument("--micro", type=int, default=64, help="optimizer.micro_batch_size")
    parser.add_argument("--kl", type=float, default=1e-2, help="optimizer.kl")
    parser.add_argument("--sizes", choices=["one", "mixed"], default="one", help="of pictures and questions")
    parser.add_argument("--checkpoints", action="store_true", help="ours against ours without checkpoints")
    parser.add_argument("--profile", action="store_true", help="one phase of ours, function by function")
    options = parser.parse_args()
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    torch.set_num_threads(1)
    optimizer = Optimizer(learning_rate=1e-6, micro_batch_size=options.micro, kl=options.kl)
    shape: dict[str, Any] = {
        "steps": options.steps, "prompts": options.prompts, "optimizer": optimizer,
        "mixed": options.sizes == "mixed",
    }  # fmt: skip
    if options.profile:
        with tempfile.TemporaryDirectory() as folder, cProfile.Profile() as profile:
            ours(Path(folder), **shape)
        pstats.Stats(profile).sort_stats("cumulative").print_stats(120)
        return
    other: Any = ("without checkpoints", unkept) if options.checkpoints else ("TRL", trl_alone)
    seconds: dict[str, list[float]] = {"ours": [], other[0]: []}
    lengths: dict[str, list[float]] = {"ours": [], other[0]: []}
    for _ in range(options.rounds):
        for name, run in (("ours", ours), other):
            with tempfile.TemporaryDirectory() as folder:
                times, length = run(Path(folder), **shape)
            seconds[name] += times
            lengths[name].append(length)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        length = statistics.mean(lengths[name])
        print(f"{name}: {median:.3f} s a step, {length:.1f} tokens a completion (n = {len(seconds[name])})")
    print(f"ratio of medians, ours to {other[0]}: {medians['ours'] / medians[other[0]]:.3f}")


if __name__ == "__main__":
    main()
