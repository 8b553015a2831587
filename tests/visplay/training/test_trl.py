"""What we rely on in TRL, fact by fact; a newer TRL that does otherwise fails here with the fact.

`test_gradients.py` holds the numbers of a whole step to TRL's own `train()`.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from rollouts.engine import AdapterVersion, Completion
from tests.visplay.training.own_loss import CASES, advantages, compare_with_trl
from tests.visplay.training.reference import POCKET, pictured, policy_of
from visplay.config.sections import Optimizer, Phase
from visplay.models.policy import Policy
from visplay.models.preflight import trainer_logprobs
from visplay.training.arguments import grpo_arguments
from visplay.training.ranks import ALONE
from visplay.training.trl import EngineGRPOTrainer, Rollout

PHASE = Phase(steps=2, prompts_per_step=2, group_size=2, max_tokens=4, temperature=0.7)
OFF = 0.3  # nats by which the log-probs that we give lie below the trainer's

pytestmark = pytest.mark.slow


def fact(said: str, *, where: str = "visplay/training/trl.py") -> str:
    return f"TRL {trl.__version__} does otherwise: {said}. {where} stands on it"


@pytest.mark.parametrize(
    "name", ["_generate_and_score_completions", "_get_per_token_logps_and_entropies", "compute_loss", "log"]
)
def test_the_methods_that_are_called_or_overridden_are_there(name: str) -> None:
    assert callable(getattr(GRPOTrainer, name, None)), fact(f"GRPOTrainer has {name}")


class Driven:
    """A trainer after one batch, and what it made of it."""

    def __init__(self, folder: Path, *, corrected: bool) -> None:
        policy, start = policy_of(POCKET, folder)
        self.policy, self.model = policy, policy.with_adapter(start)
        optimizer = Optimizer(kl=0.1, micro_batch_size=2, learning_rate=1e-3)
        arguments = grpo_arguments(
            PHASE, optimizer, corrected=corrected, folder=folder / "trainer", seed=0, model=self.model
        )
        self.wrapped_before = "forward" in vars(policy.model)
        self.trainer: Any = EngineGRPOTrainer(policy, self.model, arguments, ranks=ALONE)
        self.adapters = set(self.model.peft_config)
        self.wrapped = "forward" in vars(self.model.get_base_model())
        self.rollouts = self._rollouts(policy)
        model, _, _ = self.trainer.prepared(updates=2)
        self.batch = self.trainer.batch(self.rollouts)
        (window,) = self.trainer.windows(self.batch, updates=1)
        self.losses = [float(self.trainer.loss(model, micro, of=len(window)).detach()) for micro in window]
        self.row = self.trainer.metrics(loss=sum(self.losses))
        self.trainer.pictures.__exit__()

    def _rollouts(self, policy: Policy) -> list[Rollout]:
        found = []
        for prompt in pictured(2):
            ids = tuple(policy.chat.encode([prompt])["input_ids"][0].tolist())
            for i in range(PHASE.group_size):
                tokens = [10 + len(found), 20 + len(found), policy.chat.end_ids[0]]
                self.model.eval()
                theirs = trainer_logprobs(self.model, policy.chat, prompt, tokens, 0.7)
                completion = Completion(
                    text="", prompt_ids=ids, token_ids=tuple(tokens), finish_reason="stop",
                    logprobs=tuple(value - OFF for value in theirs),
                    adapter=AdapterVersion(name="shared", version=1),
                )  # fmt: skip
                found.append(Rollout(prompt=prompt, completion=completion, reward=float(i)))
        return found


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Driven:
    return Driven(tmp_path_factory.mktemp("trl"), corrected=True)


def test_what_rollouts_return_reaches_the_batch_unchanged(driven: Driven) -> None:
    rows = [list(one.completion.token_ids) for one in driven.rollouts]
    assert driven.batch["completion_ids"].tolist() == rows, fact("completions stay as they were given")
    prompts = [list(one.completion.prompt_ids) for one in driven.rollouts]
    kept = [
        ids[mask.bool()].tolist()
        for ids, mask in zip(driven.batch["prompt_ids"], driven.batch["prompt_mask"], strict=True)
    ]
    assert kept == prompts, fact("prompts are not tokenized again")


def test_advantages_are_of_the_group(driven: Driven) -> None:
    rewards = torch.tensor([one.reward for one in driven.rollouts])
    ours = advantages(rewards, group_size=PHASE.group_size, scale="group")
    assert driven.batch["advantages"].tolist() == pytest.approx(ours.tolist(), abs=1e-5), fact(
        "an advantage is the reward less its group's mean, over the group's standard deviation"
    )


@pytest.mark.parametrize(
    "name",
    [
        "loss", "reward", "reward_std", "frac_reward_zero_std", "kl", "entropy",
        "completions/mean_length", "completions/clipped_ratio", "sampling/importance_sampling_ratio/mean",
        "sampling/importance_sampling_ratio/min", "sampling/importance_sampling_ratio/max",
        "sampling/sampling_logp_difference/mean",
    ],
)  # fmt: skip
def test_a_step_logs_the_metrics_that_alarms_and_report_read(driven: Driven, name: str) -> None:
    assert name in driven.row, fact(
        f"each step logs {name!r}; it logs {sorted(driven.row)}",
        where="visplay/loop/alarms.py and visplay/report/figures.py",
    )


def test_metrics_say_what_their_names_do(driven: Driven) -> None:
    """Each group has rewards 0 and 1; engine and trainer are OFF apart before the first update."""
    row = driven.row
    assert row["completions/mean_length"] == 3, fact("lengths are in tokens, the end token among them")
    assert row["reward"] == pytest.approx(0.5), fact("reward is the mean over a step's completions")
    assert row["frac_reward_zero_std"] == 0, fact("it is the share of groups whose rewards are all equal")
    # Of 0, 1, 0, 1; within each group it would be the root of 1/2.
    assert row["reward_std"] == pytest.approx(math.sqrt(1 / 3), abs=1e-5), fact(
        "reward_std is over all completions of a step", where="visplay/report/figures.py"
    )
    assert row["kl"] == pytest.approx(0, abs=1e-6), fact("KL is to the adapter that a phase starts with")
    ratios = [row[f"sampling/importance_sampling_ratio/{name}"] for name in ("min", "mean", "max")]
    assert ratios == pytest.approx([math.exp(OFF)] * 3, rel=2e-3), fact(
        "the importance ratio is exp(trainer - engine) of temperature-scaled log-probs, token by token"
    )
    assert row["sampling/sampling_logp_difference/mean"] == pytest.approx(OFF, abs=2e-3)


def test_the_reference_is_a_copy_of_the_adapter_named_ref(driven: Driven) -> None:
    assert driven.adapters == {"default", "ref"}, fact(
        f"with beta > 0 the adapters are 'default' and 'ref'; they are {sorted(driven.adapters)}"
    )


def test_the_fused_head_is_a_forward_of_the_instance_and_comes_off(driven: Driven) -> None:
    assert driven.wrapped and not driven.wrapped_before, fact(
        "its fused LM head is an attribute `forward` of the base", where="Policy.without_adapter"
    )
    driven.policy.without_adapter(driven.model)
    assert "forward" not in vars(driven.policy.model)


def test_without_a_correction_nothing_is_weighed(tmp_path: Path) -> None:
    row = Driven(tmp_path, corrected=False).row
    named = [name for name in row if name.startswith("sampling/")]
    assert not named, fact(f"vllm_importance_sampling_correction=False leaves sampling/ out; logged {named}")


def test_the_loss_is_what_its_formula_says(driven: Driven) -> None:
    """Six loss types, by token and by sequence, with and without KL and five corrections."""
    apart = compare_with_trl(driven.trainer, CASES)
    for name, distance in apart.items():
        limit = 1e-6 if name != "gradient" else 1e-7
        assert distance < limit, fact(f"{name} follows the formulas of own_loss.py; {distance} apart")


def test_the_number_of_gpus_is_what_is_written_there(tmp_path: Path) -> None:
    arguments = GRPOConfig(output_dir=str(tmp_path), use_cpu=True)
    assert arguments.device == torch.device("cpu")
    arguments._n_gpu = 3
    assert arguments.n_gpu == 3, fact("n_gpu reads _n_gpu", where="visplay/training/arguments.py")
