"""The one bridge to TRL: GRPO updates of a LoRA adapter on rollouts that our engine makes.

TRL computes advantages (Eq. 2 of arXiv 2511.15661), the clipped loss, the KL term and the importance
correction; who generates, with which weights and for which reward, is decided here.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from datasets import Image as ImageFeature
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from rewards import Reward
from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine
from visplay.config import Optimizer, Phase
from visplay.errors import PreflightError
from visplay.policy import Policy, adapter_folder, save_adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The G completions of one prompt and their rewards, [G] each."""

    completions: list[Completion]
    rewards: list[Reward]


# Takes the rows drawn for this step, the version to sample from and the step; gives a group for each row.
Rollout = Callable[[Sequence[int], AdapterVersion, int], list[Group]]


def train(
    *,
    policy: Policy,
    start: AdapterVersion,
    engine: RolloutEngine,
    prompts: Sequence[Prompt],
    rollout: Rollout,
    phase: Phase,
    optimizer: Optimizer,
    scratch: Path,
    seed: int,
    on_step: Callable[[dict[str, float]], None],
) -> tuple[AdapterVersion, list[dict[str, float]]]:
    """Train an adapter for one phase.

    Args:
        policy: the base VLM.
        start: the adapter to go on from; also the reference of the KL term.
        engine: serves the policy; every new version is published to it.
        prompts: one per row, each with exactly one text block and its images.
        rollout: makes and rewards the groups.
        phase: steps, prompts per step, G.
        optimizer: learning rate, clipping, KL.
        scratch: folder for published versions.
        seed: decides the order of the prompts.
        on_step: called with the metrics of each step.

    Returns:
        The trained version, in `scratch`, and the metrics of each step.

    Raises:
        PreflightError: fewer prompts than one step needs.
    """
    if len(prompts) < phase.prompts_per_step:
        raise PreflightError(
            f"a step draws {phase.prompts_per_step} different prompts and there are only {len(prompts)}; "
            "lower prompts_per_step, ask about more images or widen the informative band"
        )
    torch.manual_seed(seed)
    peft_model = policy.with_adapter(start)
    published = _Published(peft_model, engine, start=start, scratch=scratch)

    def rollout_func(messages: list[Any], _: GRPOTrainer) -> dict[str, list[Any]]:
        rows = [message[0]["row"] for message in messages]
        drawn = [next(same) for _, same in itertools.groupby(rows)]
        assert rows == [row for row in drawn for _ in range(phase.group_size)], "TRL repeats each row G times"
        groups = rollout(drawn, published.version, published.steps)
        completions = [c for group in groups for c in group.completions]
        assert len(completions) == len(rows), (len(completions), len(rows))
        return {
            "prompt_ids": [list(c.prompt_ids) for c in completions],
            "completion_ids": [list(c.token_ids) for c in completions],
            "logprobs": [list(c.logprobs) for c in completions],
            "reward": [r.total for group in groups for r in group.rewards],
        }

    history: list[dict[str, float]] = []
    trainer = _EngineGRPOTrainer(
        model=peft_model,
        processing_class=policy.processor,
        reward_funcs=_reward,
        args=_arguments(phase, optimizer, folder=scratch / "trainer", seed=seed, on_cpu=_on_cpu(peft_model)),
        train_dataset=_dataset(prompts),
        rollout_func=rollout_func,
        callbacks=[_Reporter(history, on_step)],
    )
    trainer.remove_callback(PrinterCallback)  # our own display shows each step
    trainer.publish_through(published)
    trainer.train()
    if len(history) != phase.steps:  # TRL stops with a log line where its sampler yields no batch
        raise PreflightError(f"the trainer took {len(history)} of {phase.steps} steps and stopped")
    published.sync_weights()
    policy.without_adapter(peft_model)
    return published.version, history


class _EngineGRPOTrainer(GRPOTrainer):
    """GRPOTrainer that samples from our engine as it would from vLLM, importance correction included.

    The three private names below are TRL 1.16's; `tests/visplay/test_grpo.py` holds them to it.
    """

    vllm_generation: Any

    def publish_through(self, published: "_Published") -> None:
        """Call `published.sync_weights()` once before the rollouts of each step."""
        self.use_vllm = True
        self.vllm_generation = published
        self._last_loaded_step = -1


class _Published:
    """Publishes the policy's weights to the engine, each time as a new version."""

    def __init__(
        self, peft_model: Any, engine: RolloutEngine, *, start: AdapterVersion, scratch: Path
    ) -> None:
        self._model, self._engine, self._scratch = peft_model, engine, scratch
        self.version = start
        self.steps = -1

    def sync_weights(self) -> None:
        """Save and publish the weights as they are now."""
        self.version = adapter_folder(self._scratch, self.version.name, self.version.version + 1)
        self.steps += 1
        save_adapter(self._model, self.version)
        self._engine.publish(self.version)


class _Reporter(TrainerCallback):
    """Collects what TRL logs at each step, times aside, so that equal runs give equal numbers."""

    def __init__(self, history: list[dict[str, float]], on_step: Callable[[dict[str, float]], None]) -> None:
        self._history, self._on_step = history, on_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Keep one row per optimizer step."""
        if "reward" not in logs:
            return  # the summary at the end of training
        row = {"step": float(state.global_step)}
        row |= {k: float(v) for k, v in logs.items() if k not in ("step_time", "epoch", "num_tokens")}
        self._history.append(row)
        self._on_step(row)


def _reward(prompts: Any, completions: Any, reward: list[float], **_: Any) -> list[float | None]:
    return list(reward)


_reward.__name__ = "reward"


def _dataset(prompts: Sequence[Prompt]) -> Dataset:
    """TRL's columns: `prompt`, as messages of plain text that carry their row, and `images`."""
    rows = []
    for row, prompt in enumerate(prompts):
        (message,) = prompt.messages
        (text,) = [block["text"] for block in message["content"] if block["type"] == "text"]
        rows.append([{"role": message["role"], "content": text, "row": row}])
    dataset = Dataset.from_dict({"prompt": rows, "images": [list(p.images) for p in prompts]})
    return dataset.cast_column("images", [ImageFeature()])


def _arguments(phase: Phase, optimizer: Optimizer, *, folder: Path, seed: int, on_cpu: bool) -> GRPOConfig:
    batch = phase.prompts_per_step * phase.group_size
    micro = min(optimizer.micro_batch_size, batch)
    if batch % micro:
        raise PreflightError(
            f"optimizer.micro_batch_size {micro} must divide prompts_per_step * group_size = {batch}"
        )
    return GRPOConfig(
        output_dir=str(folder),
        max_steps=phase.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=batch // micro,
        steps_per_generation=batch // micro,
        num_generations=phase.group_size,
        max_completion_length=phase.max_tokens,
        temperature=phase.temperature,
        learning_rate=optimizer.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        beta=optimizer.kl,
        epsilon=optimizer.clip_low,
        epsilon_high=optimizer.clip_high,
        loss_type="grpo",
        scale_rewards="group",
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode="token_truncate",
        gradient_checkpointing=not on_cpu,
        bf16=False,
        use_cpu=on_cpu,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
        remove_unused_columns=False,
    )


def _on_cpu(model: Any) -> bool:
    return next(model.parameters()).device.type == "cpu"
