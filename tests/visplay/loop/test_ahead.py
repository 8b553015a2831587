"""Rollouts of the next step while this one is learnt (`optimizer.ahead`)."""

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rewards import Reward
from rollouts.engine import AdapterVersion, Completion, EngineUnavailable, Prompt, Sampling
from rollouts.scripted_engine import ScriptedEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Engine, Lora, Model, Optimizer, Phase
from visplay.errors import ConfigError
from visplay.loop import grpo
from visplay.loop.arguments import check_ahead, check_fields
from visplay.loop.background import in_background
from visplay.models.policy import Policy, load_base
from visplay.pocket.scenes import render, sample_scenes
from visplay.progress import Stopwatch
from visplay.prompts import reasoner_prompt
from visplay.runs.checkpoints import numbered

POCKET = Model(path="pocket", dtype="float32")
SERVED = Engine(backend="server", replicas=1)
RATIO = "sampling/importance_sampling_ratio/mean"
G, P = 4, 2


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (Engine(backend="transformers"), r"engine transformers .* set engine\.backend=server"),
        (Engine(backend="vllm"), r"engine vllm .* set engine\.backend=server"),
        (Engine(), r"engine transformers .* set engine\.backend=server"),
        (Engine(backend="server", replicas=1, sleep=True), r"engine\.devices.* set engine\.sleep=false"),
    ],
)
def test_an_engine_that_cannot_work_beside_the_trainer_is_refused(engine: Engine, said: str) -> None:
    on_cpu = Model(path="pocket", device="cpu")
    with pytest.raises(ConfigError, match=rf"optimizer\.ahead: .*{said}.* or optimizer\.ahead=0"):
        check_ahead(Optimizer(ahead=1), on_cpu, engine)
    check_ahead(Optimizer(), on_cpu, engine)


def test_servers_and_engines_of_ones_own_may_work_ahead() -> None:
    for engine in (SERVED, Engine(backend="mine:start")):
        check_ahead(Optimizer(ahead=1), POCKET, engine)


def test_the_correction_cannot_be_switched_off() -> None:
    off: dict[str, Any] = {"vllm_importance_sampling_correction": False}
    with pytest.raises(ConfigError, match=r"optimizer\.ahead.* leave it out"):
        check_fields(Optimizer(ahead=1, grpo=off))
    check_fields(Optimizer(grpo=off))


def test_an_error_in_the_background_is_raised_where_the_result_is_asked_for() -> None:
    def fail() -> None:
        raise EngineUnavailable("gone")

    assert in_background(lambda: 3).result() == 3
    with pytest.raises(EngineUnavailable, match="gone"):
        in_background(fail).result()


def test_work_in_the_background_does_not_hold_up_the_end_of_the_process() -> None:
    code = (
        "import time; from visplay.loop.background import in_background; "
        "in_background(lambda: time.sleep(60))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_a_stopwatch_keeps_the_spans_of_threads_apart() -> None:
    watch, inside = Stopwatch(), threading.Event()

    def work() -> None:
        with watch("generation"):
            inside.set()
            time.sleep(0.2)

    with watch("optimisation"):
        done = in_background(work)
        inside.wait()
        with watch("waiting"):
            done.result()
    taken = watch.take()
    assert taken["generation"] == pytest.approx(0.2, abs=0.15)
    assert taken["waiting"] == pytest.approx(taken["generation"], abs=0.1)
    assert taken["optimisation"] < 0.1


class Killed(Exception):
    """Stands for the end of the process."""


def train(
    folder: Path,
    *,
    steps: int,
    ahead: int = 1,
    prompts: int | None = None,
    killed_at: int | None = None,
    every: int = 1,
    seconds: Callable[[int], float] = lambda step: 0.0,
) -> tuple[grpo.Trained, list[tuple[int, str]]]:
    """A phase whose completions follow from the weights that they are asked of; with who was asked, by step.

    Args:
        folder: of the phase.
        steps: of the phase.
        ahead: `optimizer.ahead`.
        prompts: how many there are; by default each is drawn once.
        killed_at: before this step's rollouts.
        every: `optimizer.checkpoint_every`.
        seconds: that the rollouts of a step take.
    """
    policy = Policy(*load_base(POCKET), lora=Lora(rank=4, alpha=8))
    start = numbered(folder, "shared", 0)
    policy.create_adapter(start, seed=0)

    def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> list[str]:
        assert adapter.path is not None
        held = hashlib.sha256((adapter.path / "adapter_model.safetensors").read_bytes()).hexdigest()
        lots = [
            hashlib.sha256(f"{held} {prompt.key} {sampling.seed} {i}".encode()).digest() for i in range(G)
        ]
        return [f"\\boxed{{{lot[0] % 4}}}" for lot in lots]

    engine = ScriptedEngine(script, chat=policy.chat)
    engine.publish(start)
    asked: list[tuple[int, str]] = []
    step = finished = len(grpo.finished_steps(folder / "unfinished"))

    def sample(
        prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        nonlocal step
        if step == killed_at:
            raise Killed
        time.sleep(seconds(step))
        asked.append((step, str(adapter)))
        step += 1
        return engine.generate(prompts, adapter=adapter, sampling=sampling)

    def score(batch: grpo.Batch) -> grpo.Scored:
        assert [record["step"] for record in batch.before] == [
            s for s in range(batch.step) for _ in range(P * G)
        ]
        return grpo.Scored(
            rewards=[
                [Reward(total=float("1" in c.text), parts={}) for c in group] for group in batch.completions
            ],
            records=[{"step": batch.step, "text": c.text} for group in batch.completions for c in group],
        )

    pictures = [render(scene) for scene in sample_scenes(prompts or steps * P, split="development", seed=4)]
    trained = grpo.train(
        policy=policy, start=start, engine=engine, sample=sample,
        prompts=[
            reasoner_prompt(picture, "How many shapes are there?", key=str(i), words=Prompts())
            for i, picture in enumerate(pictures)
        ],
        score=score, phase=Phase(steps=steps, prompts_per_step=P, group_size=G, max_tokens=8),
        optimizer=Optimizer(learning_rate=2e-3, micro_batch_size=4, ahead=ahead, checkpoint_every=every),
        corrected=False, scratch=folder / "unfinished", seed=0, on_step=lambda _: None,
    )  # fmt: skip
    assert [at for at, _ in asked] == list(range(finished, steps))
    return trained, asked


def same(one: grpo.Trained, other: grpo.Trained) -> bool:
    """Whether two phases left the same to the bit."""
    assert one.adapter.path is not None and other.adapter.path is not None
    mine, theirs = (
        load_file(a.path / "adapter_model.safetensors") for a in (one.adapter, other.adapter) if a.path
    )
    return (
        one.history == other.history
        and one.records == other.records
        and one.adapter.version == other.adapter.version
        and all(torch.equal(weights, theirs[name]) for name, weights in mine.items())
    )


@pytest.mark.slow
def test_each_step_but_the_first_is_rolled_out_with_weights_one_step_old(tmp_path: Path) -> None:
    trained, asked = train(tmp_path / "a", steps=4)
    assert asked == [(0, "shared@1"), (1, "shared@1"), (2, "shared@2"), (3, "shared@3")]
    assert [row["staleness"] for row in trained.history] == [0, 1, 1, 1]
    assert all(RATIO in row for row in trained.history)  # the correction is on
    again, _ = train(tmp_path / "b", steps=4, seconds=lambda step: (0.0, 0.5, 0.0, 1.5)[step])
    assert same(trained, again)
    now, asked = train(tmp_path / "c", steps=4, ahead=0)
    assert [version for _, version in asked] == ["shared@1", "shared@2", "shared@3", "shared@4"]
    assert not any("staleness" in row or RATIO in row for row in now.history)
    assert now.records[: 2 * P * G] != trained.records[: 2 * P * G]
    assert now.records[: P * G] == trained.records[: P * G]


@pytest.mark.slow
@pytest.mark.parametrize(("killed_at", "every"), [(0, 1), (1, 1), (2, 1), (4, 1), (4, 2)])
def test_a_phase_that_was_killed_ends_equal_to_the_bit(tmp_path: Path, killed_at: int, every: int) -> None:
    whole, asked = train(tmp_path / "whole", steps=5, every=every)
    with pytest.raises(Killed):  # the error of the other thread, when its rollouts are asked for
        train(tmp_path / "cut", steps=5, every=every, killed_at=killed_at)
    finished = len(grpo.finished_steps(tmp_path / "cut" / "unfinished"))
    assert finished == killed_at // every * every
    resumed, again = train(tmp_path / "cut", steps=5, every=every)
    assert again == asked[finished:]  # the same versions, those of the first step too
    assert same(whole, resumed)


@pytest.mark.slow
def test_prompts_that_are_drawn_more_than_once_come_in_the_order_of_trl(tmp_path: Path) -> None:
    """Three steps an epoch, of which the last begins in another process."""
    train(tmp_path / "whole", steps=7, prompts=7)
    with pytest.raises(Killed):
        train(tmp_path / "cut", steps=7, prompts=7, killed_at=4)
    train(tmp_path / "cut", steps=7, prompts=7)
