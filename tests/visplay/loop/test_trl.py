"""What we rely on of TRL, shown by driving its trainer as `visplay/loop/grpo.py` does.

A newer TRL that does otherwise fails here, with the fact that no longer holds and what stands on it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from datasets import Dataset
from transformers import TrainerCallback
from trl.trainer.grpo_config import GRPOConfig

from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model, Optimizer, Phase
from visplay.loop.arguments import grpo_arguments
from visplay.loop.trainer import EngineGRPOTrainer, Rolled
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b, trainer_logprobs
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import reasoner_prompt
from visplay.ranks import ALONE
from visplay.runs.checkpoints import numbered

PHASE = Phase(steps=2, prompts_per_step=2, group_size=2, max_tokens=4, temperature=0.7)
OFF = 0.3  # nats by which the log-probs that we return lie below the trainer's

pytestmark = pytest.mark.slow


def fact(said: str, *, where: str = "visplay/loop/trainer.py") -> str:
    return f"TRL {trl.__version__} does otherwise: {said}. {where} stands on it"


@dataclass
class Seen(TrainerCallback):
    """What a trainer did, in order."""

    model: Any = None
    events: list[tuple[str, int]] = field(default_factory=list)
    asked: list[list[int]] = field(default_factory=list)
    returned: list[dict[str, list[Any]]] = field(default_factory=list)
    rewarded: list[dict[str, Any]] = field(default_factory=list)
    logs: list[dict[str, float]] = field(default_factory=list)
    trainer: Any = None
    adapters: set[str] = field(default_factory=set)
    wrapped: bool = False

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.logs.append(dict(logs))


@contextmanager
def held_to(said: str) -> Iterator[None]:
    """Whatever an unknown TRL raises is said to be that fact's."""
    try:
        yield
    # A name that is gone, an argument that is new, a shape that differs: all of it is for the same reader.
    except Exception as error:
        raise AssertionError(fact(f"{said} ({type(error).__name__}: {error})")) from error


def drive(folder: Path, *, corrected: bool) -> Seen:
    """Two steps with completions made by hand, at log-probs that are OFF from the trainer's."""
    policy = Policy(*load_base(Model(path="pocket", dtype="float32")), lora=Lora(rank=4, alpha=8))
    start = numbered(folder, "shared", 0)
    policy.create_adapter(start, seed=0)
    randomize_lora_b(start, size=0.02)
    pictures = [render(scene) for scene in sample_scenes(4, split="development", seed=4)]
    prompts = [reasoner_prompt(p, "How many shapes are there?", words=Prompts()) for p in pictures]
    model, chat, seen = policy.with_adapter(start), policy.chat, Seen()
    tokens = [[10 + i, 20 + i, chat.end_ids[0]] for i in range(PHASE.prompts_per_step * PHASE.group_size)]

    def play(rows: list[int], state: dict[str, torch.Tensor]) -> list[Rolled]:
        seen.events.append(("asked", seen.trainer.state.global_step))
        seen.asked.append(rows)
        asked = [prompts[row] for row in rows]
        was_training = model.training
        model.eval()
        theirs = [trainer_logprobs(model, chat, p, t, 0.7) for p, t in zip(asked, tokens, strict=True)]
        model.train(was_training)
        made = {
            "prompt_ids": [chat.encode([prompt])["input_ids"][0].tolist() for prompt in asked],
            "completion_ids": [list(row) for row in tokens],
            "logprobs": [[value - OFF for value in row] for row in theirs],
            "reward": [float(i % PHASE.group_size) for i in range(len(rows))],
        }
        seen.returned.append(made)
        return [
            Rolled(
                messages=chat.messages(prompt), images=list(prompt.images),
                **{name: values[i] for name, values in made.items()},
            )
            for i, prompt in enumerate(asked)
        ]  # fmt: skip

    def reward(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        seen.rewarded.append(columns)
        return list(columns["reward"])

    arguments = grpo_arguments(
        PHASE, Optimizer(kl=0.1, micro_batch_size=2, learning_rate=1e-3), corrected=corrected,
        folder=folder / "trainer", seed=0, model=model, chat={},
    )  # fmt: skip
    with held_to("EngineGRPOTrainer can be made and trained with a rollout_func"):
        trainer = EngineGRPOTrainer(
            model=model, processing_class=policy.processor, args=arguments, callbacks=[seen],
            train_dataset=Dataset.from_dict({"row": list(range(len(prompts)))}), ranks=ALONE, player=play,
        )  # fmt: skip
        trainer.reward_funcs = [reward]
        seen.trainer = trainer
        seen.wrapped = "forward" in vars(model.get_base_model())
        seen.adapters = set(model.peft_config)
        trainer.train()
    policy.without_adapter(model)
    seen.model = policy.model
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return drive(tmp_path_factory.mktemp("trl"), corrected=True)


def test_a_step_is_played_once_before_it_is_learned(seen: Seen) -> None:
    """Each step has two micro-batches."""
    assert seen.events == [("asked", 0), ("asked", 1)], fact(
        "_generate_and_score_completions is called once a step, and with use_vllm and _last_loaded_step set "
        f"TRL publishes nothing by itself; seen: {seen.events}"
    )


def test_a_step_asks_for_each_prompt_group_size_times_in_a_row(seen: Seen) -> None:
    drawn: list[int] = []
    for rows in seen.asked:
        first, second = rows[0], rows[PHASE.group_size]
        assert rows == [first] * PHASE.group_size + [second] * PHASE.group_size and first != second, fact(
            "_generate_and_score_completions gets prompts_per_step rows, each group_size times in a row; "
            f"got rows {rows}"
        )
        drawn += [first, second]
    assert sorted(drawn) == [0, 1, 2, 3], fact(f"no prompt comes twice before all have come; got {drawn}")


def test_what_rollouts_return_reaches_the_reward_unchanged(seen: Seen) -> None:
    assert len(seen.rewarded) == PHASE.steps, fact("rewards are asked for once a step, for all completions")
    for columns, made in zip(seen.rewarded, seen.returned, strict=True):
        assert columns.get("reward") == made["reward"], fact(
            "what rollout_func returns beside ids and log-probs is an argument of the reward, in its order"
        )
        assert columns.get("completion_ids") == made["completion_ids"], fact("completions stay as returned")


def test_prompts_are_not_tokenized_again(seen: Seen) -> None:
    returned = [ids for made in seen.returned for ids in made["prompt_ids"] + made["completion_ids"]]
    assert seen.logs[PHASE.steps - 1]["num_tokens"] == sum(map(len, returned)), fact(
        "the prompt_ids that rollout_func returns, pictures expanded, are those trained on"
    )


@pytest.mark.parametrize(
    "name",
    [
        "loss", "grad_norm", "reward", "reward_std", "frac_reward_zero_std", "kl", "entropy",
        "completions/mean_length", "completions/clipped_ratio", "sampling/importance_sampling_ratio/mean",
        "sampling/importance_sampling_ratio/min", "sampling/importance_sampling_ratio/max",
        "sampling/sampling_logp_difference/mean", "step_time", "epoch", "num_tokens",
    ],
)  # fmt: skip
def test_a_step_logs_the_metrics_that_alarms_and_report_read(seen: Seen, name: str) -> None:
    assert all(name in row for row in seen.logs[: PHASE.steps]), fact(
        f"each step logs {name!r}; it logs {sorted(seen.logs[0])}",
        where="visplay/loop/alarms.py, visplay/loop/grpo.py and visplay/report/figures.py",
    )


def test_metrics_say_what_their_names_do(seen: Seen) -> None:
    """Each group has rewards 0 and 1; engine and trainer are OFF apart before the first update."""
    row = seen.logs[0]
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


def test_the_reference_is_a_copy_of_the_adapter_named_ref(seen: Seen) -> None:
    assert seen.adapters == {"default", "ref"}, fact(
        f"with beta > 0 the adapters are 'default' and 'ref'; they are {sorted(seen.adapters)}"
    )


def test_the_fused_head_is_a_forward_of_the_instance_and_comes_off(seen: Seen) -> None:
    assert seen.wrapped, fact(
        "its fused LM head is an attribute `forward` of the base", where="Policy.without_adapter"
    )
    assert "forward" not in vars(seen.model)


def test_without_a_correction_nothing_is_weighed(tmp_path: Path) -> None:
    seen = drive(tmp_path, corrected=False)
    named = [name for name in seen.logs[0] if name.startswith("sampling/")]
    assert not named, fact(f"vllm_importance_sampling_correction=False leaves sampling/ out; logged {named}")
    assert [event for event, _ in seen.events] == ["asked"] * PHASE.steps


def test_the_number_of_gpus_is_what_is_written_there(tmp_path: Path) -> None:
    arguments = GRPOConfig(output_dir=str(tmp_path), use_cpu=True)
    assert arguments.device == torch.device("cpu")
    arguments._n_gpu = 3
    assert arguments.n_gpu == 3, fact("n_gpu reads _n_gpu", where="visplay/loop/arguments.py")
