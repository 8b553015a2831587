"""Canaries: what stops a run, what is said and goes on, in 32 bits and in 16."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rollouts.engine import BASE, AdapterVersion, Completion, Prompt, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model
from visplay.errors import PreflightError
from visplay.models import preflight
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import run_canaries
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import canary_prompt

pytestmark = pytest.mark.slow


class Off(TransformersEngine):
    """An engine whose log-probs are off by a number of nats, or that serves the base for every adapter."""

    nats = 0.0
    ignores = False

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        groups = super().generate(prompts, adapter=BASE if self.ignores else adapter, sampling=sampling)
        return [
            [
                replace(c, logprobs=tuple(x - self.nats for x in c.logprobs), adapter=adapter) for c in group
            ]
            for group in groups
        ]  # fmt: skip


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def held(request: pytest.FixtureRequest) -> Policy:
    return Policy(*load_base(Model(path="pocket", dtype=request.param)), lora=Lora(rank=16))


def run(
    held: Policy, *, nats: float = 0.0, ignores: bool = False, tolerance: float | None = None
) -> tuple[Any, list[str]]:
    engine = Off(held.shared_base(), held.processor)
    engine.nats, engine.ignores = nats, ignores
    said: list[str] = []
    picture = render(next(iter(sample_scenes(1, split="development", seed=0))))
    prompt = canary_prompt(picture, Prompts(forms={}))
    found = run_canaries(engine, policy=held, prompt=prompt, tolerance=tolerance, say=said.append)
    return found, said


def test_engine_and_trainer_of_one_base_agree(held: Policy) -> None:
    found, said = run(held)
    assert found.disagreement < (1e-5 if held.model.dtype == torch.float32 else 0.05)
    assert found.adapter_effect > 10 * found.disagreement and not said


def test_rounding_of_16_bits_is_said_and_what_is_beyond_doubt_stops(
    held: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "PROBE_SHARE", 0.5)
    apart = 0.06  # less than half of what the probe adapter changes
    if held.model.dtype == torch.float32:
        with pytest.raises(PreflightError, match=r"0\.06 nats apart, .*set engine.backend=transformers"):
            run(held, nats=apart)
    else:
        found, (line,) = run(held, nats=apart)
        assert found.disagreement > 0.05 and "the importance correction makes up for it" in line
    assert run(held, nats=apart, tolerance=0.5)[1] == []
    with pytest.raises(PreflightError, match=r"0\.01; give both the same weights"):
        run(held, nats=apart, tolerance=0.01)
    with pytest.raises(PreflightError):
        run(held, nats=3.0)


def test_an_adapter_that_is_not_applied_stops_in_any_precision(held: Policy) -> None:
    with pytest.raises(PreflightError, match=r"it is not applied; check lora\.targets"):
        run(held, ignores=True)


def test_the_probe_adapter_lies_where_servers_see_it(held: Policy, tmp_path: Path) -> None:
    published: list[Path | None] = []

    class Noting(TransformersEngine):
        def publish(self, adapter: AdapterVersion) -> None:
            published.append(adapter.path)
            super().publish(adapter)

    prompt = canary_prompt(render(next(iter(sample_scenes(1, split="development", seed=0)))), Prompts())
    engine = Noting(held.shared_base(), held.processor)
    run_canaries(engine, policy=held, prompt=prompt, folder=tmp_path / "run" / "servers")
    assert published and all(path and path.is_relative_to(tmp_path / "run" / "servers") for path in published)
    assert list((tmp_path / "run" / "servers").iterdir()) == []
