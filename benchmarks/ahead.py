"""Steps with rollouts a step ahead (`optimizer.ahead`) and without, in turn.

python -m benchmarks.ahead stub       a stub server, which sleeps where vLLM computes, as on a GPU of its own
python -m benchmarks.ahead server     a vLLM server beside the trainer on the same cores; ratio and reward

Each round trains a phase of each kind on the same prompts and seed. A step's seconds are those between the
ends of two steps, the first one of a phase left out, for which nothing can be ahead.
"""

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.pocket_vlm.lessons import is_glance
from benchmarks.stub_vllm import StubServer, stub_servers
from rewards import Reward
from rollouts.engine import RolloutEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Engine, Lora, Model, Optimizer, Phase
from visplay.loop import grpo
from visplay.models.engines import start_engine
from visplay.models.generation import generate
from visplay.models.policy import Policy, load_base
from visplay.pocket.scenes import render, sample_scenes
from visplay.progress import Stopwatch
from visplay.prompts import reasoner_prompt
from visplay.runs.checkpoints import numbered

POCKET = Model(path="pocket", dtype="float32", device="cpu")
LORA = Lora(rank=8, alpha=16)
RATIO = "sampling/importance_sampling_ratio"
SECONDS = 0.06  # per token of a sequence, at the stub: rollouts then take about as long as a step's learning
STEPS, ROUNDS = {"stub": 6, "server": 12}, {"stub": 2, "server": 1}


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[RolloutEngine]:
    """The engine."""
    with stub_servers(*([StubServer(seconds_per_token=SECONDS)] if kind == "stub" else [])) as urls:
        served = Engine(backend="server", urls=urls, replicas=0 if urls else 1)
        engine = start_engine(POCKET, served, lora_rank=LORA.rank, logs=folder)
        try:
            yield engine
        finally:
            engine.close()


def phase(
    engine: RolloutEngine, folder: Path, *, steps: int, ahead: int, seed: int
) -> tuple[list[dict[str, float]], dict[str, float], list[float]]:
    """Metrics of each step, seconds by kind of work, seconds of each step but the first."""
    policy = Policy(*load_base(POCKET), lora=LORA)
    name = f"{'ahead' if ahead else 'now'}{seed}"  # a name of its own: the engine serves all phases
    start = numbered(folder, name, 0)
    policy.create_adapter(start, seed=seed)
    engine.publish(start)
    pictures = [render(scene) for scene in sample_scenes(steps * 4, split="development", seed=4 + seed)]
    prompts = [
        reasoner_prompt(picture, "How many shapes are there?", key=str(i), words=Prompts())
        for i, picture in enumerate(pictures)
    ]
    watch, ends = Stopwatch(), []

    def sample(asked: Any, **how: Any) -> Any:
        with watch("generation"):
            return generate(engine, asked, **how)

    def score(batch: grpo.Batch) -> grpo.Scored:
        paid = [[float(is_glance(c.text)) for c in group] for group in batch.completions]
        return grpo.Scored(
            rewards=[[Reward(total=total, parts={}) for total in group] for group in paid], records=[]
        )

    with watch("optimisation"):
        trained = grpo.train(
            policy=policy, start=start, engine=engine, sample=sample, prompts=prompts, score=score,
            phase=Phase(steps=steps, prompts_per_step=4, group_size=8, max_tokens=48),
            optimizer=Optimizer(learning_rate=2e-3, micro_batch_size=16, ahead=ahead), corrected=True,
            scratch=folder / f"{name}-unfinished", seed=seed,
            on_step=lambda _: ends.append(time.perf_counter()), waiting=lambda: watch("waiting"),
        )  # fmt: skip
    return trained.history, watch.take(), [b - a for a, b in itertools.pairwise(ends)]


def main(kind: str) -> None:
    torch.set_num_threads(1)
    steps = STEPS[kind]
    with tempfile.TemporaryDirectory() as root, opened(kind, Path(root)) as engine:
        seconds: dict[int, list[float]] = {0: [], 1: []}
        for seed in range(ROUNDS[kind]):
            for ahead in (0, 1):
                history, work, each = phase(engine, Path(root), steps=steps, ahead=ahead, seed=seed)
                seconds[ahead] += each
                print(
                    f"ahead={ahead}: {statistics.median(each):.2f} s a step (median; {min(each):.2f} to "
                    f"{max(each):.2f}); a step's work "
                    + ", ".join(f"{name} {spent / steps:.2f} s" for name, spent in sorted(work.items())),
                    flush=True,
                )
                if kind == "stub":  # whose log-probs are made up
                    continue
                late = history[1:]
                print(
                    f"  ratio: mean {statistics.fmean(row[f'{RATIO}/mean'] for row in late):.4f} (furthest "
                    f"{max((row[f'{RATIO}/mean'] for row in late), key=lambda x: abs(x - 1)):.4f}), tokens "
                    f"{min(row[f'{RATIO}/min'] for row in late):.3f} to "
                    f"{max(row[f'{RATIO}/max'] for row in late):.3f}; reward, first and last third: "
                    f"{statistics.fmean(row['reward'] for row in history[: steps // 3]):.3f}, "
                    f"{statistics.fmean(row['reward'] for row in history[-(steps // 3) :]):.3f}",
                    flush=True,
                )
    now, then = (statistics.median(seconds[ahead]) for ahead in (0, 1))
    print(f"{kind}: {now:.2f} s a step without, {then:.2f} s with, {now / then:.2f} times as fast")


if __name__ == "__main__":
    main(sys.argv[1])
