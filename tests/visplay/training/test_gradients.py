"""One step is what TRL's own `train()` makes of the same rollouts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rollouts.engine import AdapterVersion
from tests.visplay.training.reference import (
    POCKET,
    apart,
    by_learner,
    by_trl,
    pictured,
    policy_of,
    rollouts_of,
    sgd,
)
from visplay.config.sections import Phase
from visplay.models.policy import Policy
from visplay.training.trl import Tokens

pytestmark = pytest.mark.slow
PHASE = Phase(steps=1, prompts_per_step=2, group_size=4, max_tokens=24)
LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo")


Fresh = tuple[Policy, AdapterVersion]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """A base and the adapter that each phase begins with."""
    return policy_of(POCKET, tmp_path_factory.mktemp("start"))


@pytest.mark.parametrize("updates", [1, 4])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_is_trls(loss: str, updates: int, tmp_path: Path, fresh: Fresh) -> None:
    own: dict[str, Any] = {"loss_type": loss, "epsilon": 0.01}
    optimizer = sgd(micro_batch_size=8, updates_per_batch=updates, grpo=own)
    policy, start = fresh
    rollouts = rollouts_of(policy, pictured(2), group=4)
    ours, rows = by_learner(tmp_path, rollouts, policy, start, phase=PHASE, optimizer=optimizer)
    theirs, logged = by_trl(tmp_path, rollouts, policy, start, phase=PHASE, optimizer=optimizer)
    assert len(logged) == updates and float(theirs.norm()) > 0
    assert apart(ours, theirs) < 1e-5
    for name in ("loss", "grad_norm", "kl"):
        mean = sum(row[name] for row in logged) / updates
        assert rows[0][name] == pytest.approx(mean, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("options", [
    {"importance_sampling_level": "sequence"}, {"scale_rewards": "none"}, {"use_bias_correction_kl": True},
])  # fmt: skip
def test_so_are_steps_in_micro_batches_with_a_correction(
    options: dict[str, Any], tmp_path: Path, fresh: Fresh
) -> None:
    optimizer = sgd(micro_batch_size=2, updates_per_batch=2, grpo=options)
    policy, start = fresh
    rollouts = rollouts_of(policy, pictured(2), group=4)
    given = {"phase": PHASE, "optimizer": optimizer, "corrected": True}
    ours, _ = by_learner(tmp_path, rollouts, policy, start, **given)
    theirs, _ = by_trl(tmp_path, rollouts, policy, start, **given)
    assert apart(ours, theirs) < 1e-5


@pytest.mark.parametrize("mode", ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"])
def test_the_importance_ratio_of_the_pass_that_trains_is_trls(
    mode: str, tmp_path: Path, fresh: Fresh
) -> None:
    """TRL takes a pass of its own for it; log-probs of -9 a token are far from the trainer's."""
    bounds = {f"vllm_importance_sampling_{name}": value for name, value in
              (("mode", mode), ("clip_min", 1e-12), ("clip_max", 0.5))}  # fmt: skip
    policy, start = fresh
    rollouts = rollouts_of(policy, pictured(2), group=4, longest=6)
    given = {"phase": PHASE, "optimizer": sgd(micro_batch_size=4, grpo=bounds), "corrected": True}
    ours, rows = by_learner(tmp_path, rollouts, policy, start, **given)
    theirs, logged = by_trl(tmp_path, rollouts, policy, start, **given)
    assert float(theirs.norm()) > 0 and apart(ours, theirs) < 1e-5
    ratio = "sampling/importance_sampling_ratio"
    names = [f"{ratio}/{how}" for how in ("min", "mean", "max")] + ["sampling/sampling_logp_difference/mean"]
    assert [rows[0][name] for name in names] == pytest.approx([logged[0][name] for name in names], rel=1e-4)
    assert rows[0][f"{ratio}/min"] < rows[0][f"{ratio}/max"]


def plain_policy_gradient(tokens: Tokens) -> torch.Tensor:
    """REINFORCE: minus advantage times log-prob, mean over tokens, then over completions."""
    worth = tokens.advantages.unsqueeze(1) * tokens.logps * tokens.mask
    return -(worth.sum(dim=1) / tokens.mask.sum(dim=1).clamp(min=1)).mean()


def centred(rewards: list[list[float]]) -> list[list[float]]:
    """Each reward less the mean of its group, over the group's spread, as TRL has it."""
    groups = torch.tensor(rewards)
    means, spreads = groups.mean(dim=1, keepdim=True), groups.std(dim=1, keepdim=True)
    found: list[list[float]] = ((groups - means) / (spreads + 1e-4)).tolist()
    return found


def test_a_loss_and_an_advantage_of_ones_own_take_the_place_of_trls(tmp_path: Path, fresh: Fresh) -> None:
    """On-policy the gradient of GRPO without a KL term is that of REINFORCE with centred rewards."""
    here = "tests.visplay.training.test_gradients:"
    policy, start = fresh
    rollouts = rollouts_of(policy, pictured(2), group=4)
    theirs, _ = by_learner(tmp_path / "trl", rollouts, policy, start, phase=PHASE, optimizer=sgd(kl=0.0))
    own = sgd(kl=0.0, loss=f"{here}plain_policy_gradient", advantage=f"{here}centred")
    ours, rows = by_learner(tmp_path / "own", rollouts, policy, start, phase=PHASE, optimizer=own)
    assert apart(ours, theirs) < 1e-5 and rows[0]["entropy"] > 0
    other = sgd(kl=0.0, advantage=f"{here}all_alike")
    nothing, _ = by_learner(tmp_path / "none", rollouts, policy, start, phase=PHASE, optimizer=other)
    assert float(nothing.norm()) == 0


def all_alike(rewards: list[list[float]]) -> list[list[float]]:
    return [[0.0] * len(group) for group in rewards]
