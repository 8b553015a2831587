"""Sampling the next step while this one is learned (`optimizer.ahead`)."""

import hashlib
import inspect
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from rollouts.engine import AdapterVersion, EngineUnavailable, Prompt, Sampling
from tests.scripted_engine import ScriptedEngine
from tests.visplay.contexts import context
from tests.visplay.small import SMALL
from visplay.config.loading import check_config
from visplay.config.sections import Engine, Model, Optimizer
from visplay.errors import ConfigError
from visplay.loop import questioner
from visplay.loop.asking import parse, vote
from visplay.loop.context import first_roles
from visplay.models.policy import Policy
from visplay.pocket.truth import write_pictures
from visplay.storage import read_jsonl
from visplay.training.arguments import check_ahead, check_fields
from visplay.training.learner import finished_steps, in_background

RATIO = "sampling/importance_sampling_ratio/mean"
STEPS = 4


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (Engine(backend="transformers"), r"engine transformers .* set engine\.backend=server"),
        (Engine(backend="vllm"), r"engine vllm .* set engine\.backend=server"),
        (Engine(), r"engine transformers .* set engine\.backend=server"),
    ],
)
def test_an_engine_that_cannot_work_beside_the_trainer_is_refused(engine: Engine, said: str) -> None:
    on_cpu = Model(path="pocket", device="cpu")
    with pytest.raises(ConfigError, match=rf"optimizer\.ahead: .*{said}.* or optimizer\.ahead=0"):
        check_ahead(Optimizer(ahead=1), on_cpu, engine)
    check_ahead(Optimizer(), on_cpu, engine)
    for other in (Engine(backend="server", replicas=1), Engine(backend="mine:start")):
        check_ahead(Optimizer(ahead=1), on_cpu, other)


def test_the_correction_cannot_be_switched_off() -> None:
    off: dict[str, Any] = {"vllm_importance_sampling_correction": False}
    with pytest.raises(ConfigError, match=r"optimizer\.ahead.* leave it out"):
        check_fields(Optimizer(ahead=1, grpo=off))
    check_fields(Optimizer(grpo=off))


def test_an_error_in_the_background_is_raised_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise EngineUnavailable("gone")

    with pytest.raises(EngineUnavailable, match="gone"):
        in_background(fail).result()


def test_work_in_the_background_does_not_hold_up_the_end_of_the_process() -> None:
    program = (  # the function alone, for its module takes seconds to import
        "import threading, time\n"
        "from collections.abc import Callable\nfrom concurrent.futures import Future\n"
        f"{inspect.getsource(in_background)}\nin_background(lambda: time.sleep(500))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=400)


class Killed(Exception):
    """Stands for the end of the process."""


def ask(folder: Path, *, ahead: int = 1, killed_at: int | None = None) -> list[str]:
    """A Questioner's phase whose completions follow from the weights; returns who was asked, step by step."""
    pictures = folder.parent / "pictures"
    if not pictures.exists():
        write_pictures(pictures, count=8, seed=1, style="dusk")
    config = check_config(
        SMALL | {
            "images": {"source": str(pictures)}, "output": str(folder), "adapters": "shared",
            "questioner": SMALL["questioner"] | {"steps": STEPS}, "engine": {"backend": "mine:start"},
            "optimizer": {"learning_rate": 2e-3, "micro_batch_size": 8, "ahead": ahead},
        }
    )  # fmt: skip
    asked: list[str] = []
    scratch = config.folder / "iteration-1" / "questioner.partial" / "unfinished"
    done = len(finished_steps(scratch))

    def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        if "ask one question" not in str(prompt.messages):
            return ["\\boxed{1}"] * sampling.n
        assert adapter.path is not None
        held = hashlib.sha256((adapter.path / "adapter_model.safetensors").read_bytes()).hexdigest()
        texts = [f"{held} {prompt.key} {sampling.seed} {i}".encode() for i in range(sampling.n)]
        lots = [hashlib.sha256(text).digest()[0] for text in texts]
        return [
            f"<type>numerical</type><question>How many {'red' if lot % 2 else 'blue'} shapes are there?"
            "</question><answer>1</answer>" if lot % 4 else "nothing"
            for lot in lots
        ]  # fmt: skip

    policy = Policy.of(config.model, lora=config.lora)
    engine = ScriptedEngine(script, chat=policy.chat)
    sample = engine.generate

    def generate(prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling) -> Any:
        if "ask one question" in str(prompts[0].messages):
            if done + len(asked) == killed_at:
                raise Killed
            asked.append(str(adapter))
        return sample(prompts, adapter=adapter, sampling=sampling)

    engine.generate = generate
    ctx = context(config, engine, policy=policy)
    with ctx.run.opened(config):
        questioner.train(ctx, 1, first_roles(ctx), ask=[parse, vote])
    return asked


def left(folder: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], list[dict[str, Any]]]:
    """Adapter, rows and metrics of the phase."""
    step = folder / "run" / "iteration-1" / "questioner"
    return (
        load_file(step / "adapter" / "adapter_model.safetensors"),
        pq.read_table(step / "rollouts.parquet").to_pylist(),
        read_jsonl(step / "metrics.jsonl"),
    )


def same(one: Path, other: Path) -> bool:
    """Whether two phases left the same to the bit."""
    (mine, rows, metrics), (theirs, others, logged) = left(one), left(other)
    return rows == others and metrics == logged and all(torch.equal(w, theirs[n]) for n, w in mine.items())


@pytest.mark.slow
def test_each_step_but_the_first_is_sampled_with_weights_one_step_old(tmp_path: Path) -> None:
    assert ask(tmp_path / "a") == ["shared@1", "shared@1", "shared@2", "shared@3"]
    metrics = left(tmp_path / "a")[2]
    assert [row["staleness"] for row in metrics] == [0, 1, 1, 1] and all(RATIO in row for row in metrics)
    assert ask(tmp_path / "now", ahead=0) == ["shared@1", "shared@2", "shared@3", "shared@4"]
    assert not same(tmp_path / "a", tmp_path / "now")


@pytest.mark.slow
def test_a_phase_that_was_killed_ends_equal_to_the_bit(tmp_path: Path) -> None:
    asked = ask(tmp_path / "whole")
    for killed_at in (0, 1, 3):
        folder = tmp_path / f"cut-{killed_at}"
        with pytest.raises(Killed):
            ask(folder, killed_at=killed_at)
        scratch = folder / "run" / "iteration-1" / "questioner.partial" / "unfinished"
        finished = len(finished_steps(scratch))
        assert finished <= killed_at  # a step may be in the background when the process ends
        assert ask(folder) == asked[finished:]
        assert same(tmp_path / "whole", folder)
