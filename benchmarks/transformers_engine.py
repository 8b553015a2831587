"""Trainer and transformers engine in one process: what is saved where both are the same weights.

    python benchmarks/transformers_engine.py step     a Reasoner step with the correction and without
    python benchmarks/transformers_engine.py memory   memory with one copy of the base and with two

`step` trains the pocket VLM for a few steps, in turn with TRL's importance correction (as with any engine)
and without (as with this one): ratio of the medians, and whether rollouts and gradients are the same.
Gradients are read off the adapter: with plain gradient descent at rate 1, one step is the gradient.
"""

import argparse
import ctypes
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file

from benchmarks.larger import write_larger
from benchmarks.stepping import Groups, run_phase
from rollouts.engine import Prompt
from rollouts.transformers_engine import TransformersEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model, Optimizer, Phase
from visplay.models.policy import Policy, load_base
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import reasoner_prompt
from visplay.runs.checkpoints import numbered

MIB = 1 << 20


@dataclass
class Phase3:
    """One Reasoner phase of the pocket VLM, with the clock on generation apart."""

    corrected: bool
    mixed: bool = False
    generating: float = 0.0
    marks: list[tuple[float, float]] = field(default_factory=list)  # seconds in all, of generation
    rows: list[dict[str, float]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def run(self, folder: Path, *, steps: int, prompts: int, optimizer: Optimizer) -> dict[str, torch.Tensor]:
        """Train it; returns the adapter's tensors."""
        torch.manual_seed(0)
        policy = Policy(*load_base(Model(path="pocket", dtype="float32")), lora=Lora(rank=16))
        start = numbered(folder, "shared", 0)
        policy.create_adapter(start, seed=0)
        engine = TransformersEngine(policy.shared_base(), policy.processor)
        asked = questions(steps * prompts, mixed=self.mixed)

        def sample(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            groups = engine.generate(*arguments, **options)
            self.generating += time.perf_counter() - began
            self.texts += [completion.text for group in groups for completion in group]
            return groups

        def on_step(row: dict[str, float]) -> None:
            self.rows.append(row)
            self.marks.append((time.perf_counter(), self.generating))

        trained = run_phase(
            policy, start=start, engine=engine, sample=sample, prompts=asked, score=by_parity,
            phase=Phase(steps=steps, prompts_per_step=prompts, group_size=8, max_tokens=96),
            optimizer=optimizer, corrected=self.corrected, folder=folder / "unfinished", on_step=on_step,
        ).trained  # fmt: skip
        assert trained.path is not None
        return load_file(trained.path / "adapter_model.safetensors")

    def seconds(self) -> tuple[list[float], list[float]]:
        """Of each step but the first: in all, and without generation."""
        pairs = list(zip(self.marks, self.marks[1:], strict=False))
        return [b[0] - a[0] for a, b in pairs], [b[0] - a[0] - (b[1] - a[1]) for a, b in pairs]


def questions(count: int, *, mixed: bool = False) -> list[Prompt]:
    """So many prompts, each with a picture of its own; `mixed` ones of several sizes and of 5 to 35 words."""
    scenes = sample_scenes(count, split="development", seed=0)
    words, text = Prompts(forms={}), "How many shapes are there?"
    if not mixed:
        return [reasoner_prompt(render(scene), text, words=words) for scene in scenes]
    return [
        reasoner_prompt(
            render(scene).resize((64 + 24 * (i % 9), 64 + 24 * (i * 5 % 9))),
            text + " Look at the picture once more." * (i * 7 % 6), words=words,
        )
        for i, scene in enumerate(scenes)
    ]  # fmt: skip


def step(rounds: int) -> None:
    torch.set_num_threads(1)
    whole: dict[bool, list[float]] = {True: [], False: []}
    training: dict[bool, list[float]] = {True: [], False: []}
    optimizer = Optimizer(learning_rate=1e-3, micro_batch_size=64)
    for _ in range(rounds):
        for corrected in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                phase = Phase3(corrected)
                phase.run(Path(folder), steps=6, prompts=8, optimizer=optimizer)
            in_all, without_generation = phase.seconds()
            whole[corrected] += in_all
            training[corrected] += without_generation
    for name, times in (("whole step", whole), ("without generation", training)):
        before, after = (statistics.median(times[corrected]) for corrected in (True, False))
        count = len(times[True])
        ratio = f"ratio {after / before:.3f} (medians of {count})"
        print(f"{name}: {before:.2f} s corrected, {after:.2f} s not, {ratio}")
    same()


def same() -> None:
    """One step of plain gradient descent both ways: rollouts, gradients and log-probs."""
    plain = Optimizer(
        learning_rate=1.0,
        micro_batch_size=16,
        grpo={"optim": "sgd", "weight_decay": 0.0, "max_grad_norm": 1e9},
    )
    changed, phases = [], []
    for corrected in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            phases.append(Phase3(corrected))
            after = phases[-1].run(Path(folder), steps=1, prompts=4, optimizer=plain)
            before = load_file(Path(folder) / "shared-0" / "adapter_model.safetensors")
        changed.append(torch.cat([(after[name] - before[name]).flatten() for name in sorted(after)]))
    with_it, without = changed
    print(f"rollouts equal: {phases[0].texts == phases[1].texts} ({len(phases[0].texts)} completions)")
    print(f"gradients apart: {float((with_it - without).norm() / with_it.norm()):.1e} of their norm")
    print(f"grad_norm: {phases[0].rows[0]['grad_norm']:.9f} and {phases[1].rows[0]['grad_norm']:.9f}")
    apart = phases[0].rows[0]["sampling/sampling_logp_difference/max"]
    print(f"log-probs of engine and trainer apart: at most {apart:.1e} nats")


def memory() -> None:
    """Each in a process of its own: a base VLM, its engine and one training step."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        # Stored in another type than it is used in, else both copies are one mapping of the file.
        write_larger(Path(folder) / "model", dtype=torch.bfloat16)
        for way in ("two", "one"):
            command = [
                sys.executable,
                __file__,
                "resident",
                "--way",
                way,
                "--model",
                str(Path(folder) / "model"),
            ]
            found[way] = int(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
            )
        size = 2 * sum(file.stat().st_size for file in (Path(folder) / "model").glob("*.safetensors"))
    saved = found["two"] - found["one"]
    print(
        f"resident with two copies {found['two'] / MIB:.0f} MiB, with one {found['one'] / MIB:.0f}: "
        f"{saved / MIB:.0f} less, {saved / size:.2f} of the base's {size / MIB:.0f}"
    )


def resident(way: str, model: str) -> None:
    config = Model(path=model, dtype="float32")
    policy = Policy(*load_base(config), lora=Lora(rank=8))
    base = policy.shared_base() if way == "one" else load_base(config)[0]
    engine = TransformersEngine(base, policy.processor)
    with tempfile.TemporaryDirectory() as folder:
        start = numbered(Path(folder), "shared", 0)
        policy.create_adapter(start, seed=0)
        pictures = [render(scene) for scene in sample_scenes(2, split="development", seed=0)]
        prompts = [reasoner_prompt(picture, "How many?", words=Prompts()) for picture in pictures]
        run_phase(
            policy, start=start, engine=engine, prompts=prompts, score=by_parity,
            phase=Phase(steps=1, prompts_per_step=2, group_size=2, max_tokens=8),
            optimizer=Optimizer(micro_batch_size=2), corrected=False, folder=Path(folder) / "unfinished",
        )  # fmt: skip
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what loading left free in the allocator is nobody's
        print(psutil.Process().memory_full_info().uss)


def by_parity(groups: Groups) -> list[list[float]]:
    """1 for completions of an odd number of tokens."""
    return [[float(len(one.token_ids) % 2) for one in group] for group in groups]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["step", "memory", "resident"])
    parser.add_argument("--rounds", type=int, default=3, help="of `step`: phases of six steps each way")
    parser.add_argument("--way", choices=["one", "two"], default="one", help="copies of the base")
    parser.add_argument("--model", default="pocket", help="of `resident`")
    options = parser.parse_args()
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    if options.what == "step":
        step(options.rounds)
    elif options.what == "memory":
        memory()
    else:
        resident(options.way, options.model)


if __name__ == "__main__":
    main()
