"""An update does what it should, and a phase that is cut goes on; of TRL `test_trl.py` tells."""

import math
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.pocket_vlm.lessons import is_glance
from rollouts.engine import BASE, AdapterVersion, Prompt, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model, Optimizer, Phase
from visplay.errors import PreflightError, TrainingDiverged
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import reasoner_prompt
from visplay.runs.checkpoints import numbered
from visplay.seeds import mix_seed
from visplay.training.learner import Learner, finished_steps
from visplay.training.trl import Rollout

pocket = Model(path="pocket", dtype="float32")
slow = pytest.mark.slow


def prompts(count: int) -> list[Prompt]:
    pictures = [render(scene) for scene in sample_scenes(count, split="development", seed=4)]
    return [
        reasoner_prompt(picture, "How many shapes are there?", key=str(i), words=Prompts())
        for i, picture in enumerate(pictures)
    ]


class Killed(Exception):
    """Stands for the end of the process."""


def train_glances(
    folder: Path,
    *,
    steps: int,
    kl: float = 0.0,
    seed: int = 0,
    killed_at: int | None = None,
    infinite_at: int | None = None,
    reference: Literal["start", "base"] = "start",
    moved: bool = False,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Policy, AdapterVersion, Learner, list[AdapterVersion]]:
    """Reward answers that are given at a glance, which greedy decoding could do or not."""
    options = {"micro_batch_size": 16} | options
    policy = Policy(*load_base(pocket), lora=Lora(rank=8, alpha=16, dropout=dropout))
    engine = TransformersEngine(*load_base(pocket))
    start = numbered(folder, "shared", 0)
    policy.create_adapter(start, seed=seed)
    if moved:
        moved_weights = {name: w + 0.02 for name, w in weights(start).items()}
        save_file(moved_weights, folder_of(start) / "adapter_model.safetensors")
    engine.publish(start)
    phase = Phase(steps=steps, prompts_per_step=4, group_size=8, max_tokens=48)
    asked = prompts(steps * 4)
    versions: list[AdapterVersion] = []
    with Learner(
        policy, start=start, phase=phase, corrected=True, folder=folder / "unfinished", seed=seed,
        optimizer=Optimizer(learning_rate=2e-3, kl=kl, reference=reference, **options),
    ) as learner:  # fmt: skip
        for step in learner.steps():
            assert len(learner.records) == 4 * 8 * step
            if step == killed_at:
                raise Killed
            versions.append(learner.publish(engine))
            own = asked[4 * step : 4 * (step + 1)]
            sampling = Sampling(n=8, max_tokens=48, seed=mix_seed(seed, "rollout", step))
            groups = engine.generate(own, adapter=versions[-1], sampling=sampling)
            worth = math.inf if step == infinite_at else 1.0
            learner.update(
                [
                    Rollout(prompt=prompt, completion=one, reward=worth if is_glance(one.text) else 0.0)
                    for prompt, group in zip(own, groups, strict=True)
                    for one in group
                ]
            )
            learner.save([{"step": step, "glance": is_glance(c.text)} for group in groups for c in group])
    return policy, start, learner, versions


def folder_of(version: AdapterVersion) -> Path:
    assert version.path is not None
    return version.path


def weights(version: AdapterVersion) -> dict[str, torch.Tensor]:
    return load_file(folder_of(version) / "adapter_model.safetensors")


@slow
def test_an_infinite_reward_stops_the_phase_and_costs_no_step_before_it(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match=r"step 3: a reward is inf; the steps before it are kept"):
        train_glances(tmp_path, steps=4, infinite_at=2)
    assert len(finished_steps(tmp_path / "unfinished")) == 2
    _, _, trained, _ = train_glances(tmp_path, steps=4)  # the mended reward goes on from there
    assert [row["step"] for row in trained.history] == [1, 2, 3, 4]
    assert all(torch.isfinite(tensor).all() for tensor in weights(trained.trained).values())


@slow
def test_rewarded_behaviour_becomes_likelier_and_the_ratio_is_one(tmp_path: Path) -> None:
    policy, start, trained, versions = train_glances(tmp_path, steps=8)
    history = trained.history
    assert [row["step"] for row in history] == list(range(1, 9))
    assert [v.version for v in versions] == list(range(1, 9)) and trained.trained.version == 9
    early = sum(row["reward"] for row in history[:2]) / 2
    late = sum(row["reward"] for row in history[-2:]) / 2
    assert late > early + 0.1, [row["reward"] for row in history]
    for row in history:  # engine and trainer see the same distribution at every step
        assert row["sampling/importance_sampling_ratio/min"] == pytest.approx(1, abs=1e-3)
        assert row["sampling/importance_sampling_ratio/max"] == pytest.approx(1, abs=1e-3)
    before, after = weights(start), weights(trained.trained)
    assert before.keys() == after.keys() and not any("ref" in name for name in after)
    assert any(not torch.equal(before[name], after[name]) for name in after)
    assert all("text_model" in name for name in after)  # the vision tower is left alone
    assert type(policy.model).__name__ == "Idefics3ForConditionalGeneration"  # the bare base again


@slow
def test_the_kl_term_is_to_the_start_of_the_phase_or_to_the_base(tmp_path: Path) -> None:
    history = train_glances(tmp_path / "start", steps=3, kl=0.1, moved=True)[2].history
    assert history[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert history[-1]["kl"] > 1e-5
    history = train_glances(tmp_path / "base", steps=1, kl=0.1, moved=True, reference="base")[2].history
    assert history[0]["kl"] > 1e-5


@slow
@pytest.mark.parametrize(
    ("kills", "options"),
    [
        ((0, 2, 3), {}),
        ((1,), {"updates_per_batch": 2, "grpo": {"loss_type": "bnpo"}}),
        ((2,), {"reference": "base", "dropout": 0.1,
                "grpo": {"entropy_coef": 0.01, "lr_scheduler_type": "cosine"}}),
    ],
)  # fmt: skip
def test_killed_in_a_phase_it_goes_on_after_the_last_finished_step(
    tmp_path: Path, kills: tuple[int, ...], options: dict[str, Any]
) -> None:
    """With dropout, and with losses whose micro-batches are shuffled, too."""
    train_three = partial(train_glances, steps=3, kl=0.1, **options)
    undisturbed = train_three(tmp_path / "whole")[2]
    before = weights(undisturbed.trained)
    for killed_at in kills:
        cut = tmp_path / f"cut-{killed_at}"
        if killed_at < 3:
            with pytest.raises(Killed):
                train_three(cut, killed_at=killed_at)
        else:  # after the last step, before the phase's result was kept
            shutil.copytree(tmp_path / "whole", cut)
        *_, trained, versions = train_three(cut)
        assert [version.version for version in versions] == list(range(killed_at + 1, 4))  # no step twice
        assert trained.history == undisturbed.history and trained.records == undisturbed.records
        assert trained.trained.version == undisturbed.trained.version == 4
        assert all(torch.equal(before[name], w) for name, w in weights(trained.trained).items())


@slow
def test_updates_after_the_first_are_clipped_against_the_batch_as_it_was(tmp_path: Path) -> None:
    many = {"updates_per_batch": 4, "micro_batch_size": 4, "grpo": {"epsilon": 0.01, "epsilon_high": 0.01}}
    one = train_glances(tmp_path / "one", steps=1, **many | {"updates_per_batch": 1})[2].history
    four = train_glances(tmp_path / "four", steps=1, **many)[2].history
    assert one[0]["clip_ratio/region_mean"] == 0 < four[0]["clip_ratio/region_mean"]
    assert one[0]["reward"] == four[0]["reward"]
    with pytest.raises(PreflightError, match="times 5 updates_per_batch must divide"):
        train_glances(tmp_path / "five", steps=1, updates_per_batch=5)


def test_a_phase_leaves_the_base_as_it_found_it() -> None:
    policy = Policy(*load_base(pocket), lora=Lora(rank=4, alpha=8))
    model = policy.model
    model.forward = model.forward  # as TRL's fused head does
    model.enable_input_require_grads()  # as gradient checkpointing does
    with tempfile.TemporaryDirectory() as folder:
        start = numbered(Path(folder), "shared", 0)
        policy.create_adapter(start, seed=0)
        policy.without_adapter(policy.with_adapter(start))
    assert "forward" not in vars(policy.model) and not policy.model._require_grads_hooks
    assert not any("lora" in name for name, _ in policy.model.named_parameters())


def test_engine_and_trainer_share_one_base_and_not_its_adapters() -> None:
    policy = Policy(*load_base(pocket), lora=Lora(rank=4, alpha=8))
    engine = TransformersEngine(policy.shared_base(), policy.processor)
    mine, theirs = (dict(model.named_parameters()) for model in (policy.model, engine._model))
    assert len(mine) > 100 and all(mine[name].data_ptr() == theirs[name].data_ptr() for name in mine)
    with tempfile.TemporaryDirectory() as folder:
        version = numbered(Path(folder), "shared", 1)
        policy.create_adapter(version, seed=0)
        randomize_lora_b(version, size=0.1)
        engine.publish(version)
        sampling = Sampling(temperature=0, max_tokens=24)
        (prompt,) = prompts(1)
        with_it = engine.generate([prompt], adapter=version, sampling=sampling)[0][0]
        trained = policy.with_adapter(version)  # another adapter on the other tree of the same tensors
        again = engine.generate([prompt], adapter=version, sampling=sampling)[0][0]
        alone = engine.generate([prompt], adapter=BASE, sampling=sampling)[0][0]
        policy.without_adapter(trained)
    assert with_it.logprobs == again.logprobs != alone.logprobs
