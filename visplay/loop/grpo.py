"""The one bridge to TRL: GRPO updates of a LoRA adapter on rollouts that our engine makes.

TRL computes advantages (Eq. 2 of arXiv 2511.15661), the clipped loss, the KL term and the importance
correction; who generates, with which weights and for which reward, is decided here.
"""

import itertools
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from visplay.config.sections import Optimizer, Phase
from visplay.errors import PreflightError, TrainingDiverged
from visplay.models.policy import Policy, adapter_folder, save_adapter
from visplay.storage import read_piece, write_piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The G completions of one prompt and their rewards, [G] each."""

    completions: list[Completion]
    rewards: list[Reward]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """One step's groups, and what is to be known of them later, as rows of a table."""

    groups: list[Group]
    records: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a phase leaves: the last version, the metrics of each step and the records of all steps."""

    adapter: AdapterVersion
    history: list[dict[str, float]]
    records: list[dict[str, Any]]


# Takes the rows drawn for this step, the version to sample from and the step; gives a group for each row.
Rollout = Callable[[Sequence[int], AdapterVersion, int], Rollouts]


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
) -> Trained:
    """Train an adapter for one phase, or go on with one that was stopped (`finished_steps`).

    Args:
        policy: the base VLM.
        start: the adapter to go on from; also the reference of the KL term.
        engine: serves the policy; every new version is published to it.
        prompts: one per row, each with exactly one text block and its images.
        rollout: makes and rewards the groups.
        phase: steps, prompts per step, G.
        optimizer: learning rate, clipping, KL.
        scratch: folder for published versions, checkpoints and the records of finished steps.
        seed: decides the order of the prompts.
        on_step: called with the metrics of each step.

    Returns:
        The trained version, in `scratch`, with the metrics and records of each step, earlier ones included.

    Raises:
        PreflightError: fewer prompts than one step needs.
    """
    if len(prompts) < phase.prompts_per_step:
        raise PreflightError(
            f"a step draws {phase.prompts_per_step} different prompts and there are only {len(prompts)}; "
            "lower prompts_per_step, ask about more images or widen the informative band"
        )
    torch.manual_seed(seed)
    steps = _Steps(scratch, finished=finished_steps(scratch), on_step=on_step)
    published = _Published(engine, start=start, scratch=scratch, finished=len(steps.finished))
    if len(steps.finished) == phase.steps:
        peft_model = policy.with_adapter(replace(start, path=steps.checkpoint))
    else:
        peft_model = policy.with_adapter(start)
        trainer = _trainer(peft_model, policy, prompts, rollout, phase, optimizer, published, steps, seed)
        if steps.finished:  # where there is a reference adapter, transformers restores that one only
            peft_model.load_adapter(str(steps.checkpoint), "default", is_trainable=True)
        trainer.train(resume_from_checkpoint=str(steps.checkpoint) if steps.finished else None)
        if len(steps.finished) != phase.steps:  # TRL stops with a log line where its sampler yields no batch
            raise PreflightError(f"the trainer took {len(steps.finished)} of {phase.steps} steps and stopped")
    published.publish(peft_model)
    policy.without_adapter(peft_model)
    return Trained(
        adapter=published.version,
        history=[step["metrics"] for step in steps.finished],
        records=[record for step in steps.finished for record in step["records"]],
    )


def finished_steps(scratch: Path) -> list[dict[str, Any]]:
    """The steps up to the last checkpoint of a phase that was stopped: `metrics` and `records` of each.

    None where any of it, the checkpoint included, is not as it was written: the phase then begins again.
    """
    last = read_piece(scratch / "checkpoint.json")
    if last is None:
        return []
    steps = [read_piece(scratch / f"step-{step}.json") for step in range(1, last["step"] + 1)]
    return [] if None in steps else steps


def _trainer(
    peft_model: Any, policy: Policy, prompts: Sequence[Prompt], rollout: Rollout, phase: Phase,
    optimizer: Optimizer, published: "_Published", steps: "_Steps", seed: int,
) -> "_EngineGRPOTrainer":  # fmt: skip
    def rollout_func(messages: list[Any], _: GRPOTrainer) -> dict[str, list[Any]]:
        rows = [message[0]["row"] for message in messages]
        drawn = [next(same) for _, same in itertools.groupby(rows)]
        assert rows == [row for row in drawn for _ in range(phase.group_size)], "TRL repeats each row G times"
        rolled = rollout(drawn, published.version, published.steps)
        published.rest()
        _check_finite(rolled, step=published.steps + 1)
        steps.records = rolled.records
        completions = [c for group in rolled.groups for c in group.completions]
        assert len(completions) == len(rows), (len(completions), len(rows))
        return {
            "prompt_ids": [list(c.prompt_ids) for c in completions],
            "completion_ids": [list(c.token_ids) for c in completions],
            "logprobs": [list(c.logprobs) for c in completions],
            "reward": [r.total for group in rolled.groups for r in group.rewards],
        }

    trainer = _EngineGRPOTrainer(
        model=peft_model,
        processing_class=policy.processor,
        reward_funcs=_reward,
        args=_arguments(
            phase,
            optimizer,
            folder=steps.folder,
            seed=seed,
            on_cpu=_on_cpu(peft_model),
            chat=_one_start_token(policy.processor),
        ),
        train_dataset=_dataset(prompts),
        rollout_func=rollout_func,
        callbacks=[steps],
    )
    trainer.remove_callback(PrinterCallback)  # our own display shows each step
    trainer.publish_through(published)
    return trainer


class _EngineGRPOTrainer(GRPOTrainer):
    """GRPOTrainer that samples from our engine as it would from vLLM, importance correction included.

    The three private names below are TRL 1.16's; `tests/visplay/loop/test_grpo.py` holds them to it.
    """

    vllm_generation: Any

    def publish_through(self, published: "_Published") -> None:
        """Call `published.sync_weights()` once before the rollouts of each step."""
        published.model = self.model
        self.use_vllm = True
        self.vllm_generation = published
        self._last_loaded_step = -1


class _Published:
    """Publishes the policy's weights to the engine, each time as a new version."""

    model: Any

    def __init__(self, engine: RolloutEngine, *, start: AdapterVersion, scratch: Path, finished: int) -> None:
        self._engine, self._scratch = engine, scratch
        self.version = replace(start, version=start.version + finished)
        self.steps = finished - 1

    def sync_weights(self) -> None:
        """Publish the weights as they are before a step."""
        self.publish(self.model)

    def rest(self) -> None:
        """The rollouts of a step are there; the engine is not needed before the next publication."""
        self._engine.rest()

    def publish(self, peft_model: Any) -> None:
        """Save and publish the weights as they are now."""
        self.version = adapter_folder(self._scratch, self.version.name, self.version.version + 1)
        self.steps += 1
        save_adapter(peft_model, self.version)
        self._engine.publish(self.version)


class _Steps(TrainerCallback):
    """Keeps what each step leaves, times aside, so that equal runs give equal numbers.

    `step-N.json` is written when step N is over; `checkpoint.json` names the last step whose checkpoint is
    whole, and older checkpoints go only after that.
    """

    def __init__(
        self, scratch: Path, *, finished: list[dict[str, Any]], on_step: Callable[[dict[str, float]], None]
    ) -> None:
        self._scratch, self.finished, self._on_step = scratch, finished, on_step
        self.folder = scratch / "trainer"
        self.records: list[dict[str, Any]] = []  # of the step in flight
        self._drop_others()  # cut short by a kill
        for step in finished:
            on_step(step["metrics"])

    @property
    def checkpoint(self) -> Path:
        """TRL's checkpoint after the finished steps."""
        return self.folder / f"checkpoint-{len(self.finished)}"

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Keep one row per optimizer step."""
        if "reward" not in logs:
            return  # the summary at the end of training
        row = {"step": float(state.global_step)}
        kept = {k: v for k, v in logs.items() if k not in ("step_time", "epoch", "num_tokens")}
        # transformers logs None for what is not finite
        row |= {k: math.nan if v is None else float(v) for k, v in kept.items()}
        for name in ("loss", "grad_norm"):
            if not math.isfinite(row[name]):
                raise TrainingDiverged(
                    f"step {state.global_step}: {name} is {row[name]}; the steps before it are kept. Start a "
                    "run of another name with a lower optimizer.learning_rate or a higher optimizer.kl"
                )
        step = {"metrics": row, "records": self.records}
        self.finished.append(step)
        write_piece(self._scratch / f"step-{state.global_step}.json", step)
        self._on_step(row)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note that this step's checkpoint is whole, and drop the one before."""
        note = self._scratch / "checkpoint.json"
        write_piece(note, {"step": state.global_step}, vouch_for=self.checkpoint)
        self._drop_others()

    def _drop_others(self) -> None:
        for other in self.folder.glob("checkpoint-*"):
            if other != self.checkpoint:
                shutil.rmtree(other)


def _check_finite(rolled: Rollouts, *, step: int) -> None:
    """TRL takes what is not finite for an advantage of 0, so a broken reward would teach nothing unseen."""
    for reward in (reward for group in rolled.groups for reward in group.rewards):
        if not math.isfinite(reward.total):
            raise TrainingDiverged(
                f"step {step}: a reward is {reward.total}, its parts {reward.parts}; the steps before it are "
                "kept. Mend the reward of your own that is named there, then start the same command again"
            )


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


def _one_start_token(processor: Any) -> dict[str, str]:
    """Keeps TRL from writing two start tokens, one by the template and one by the tokenizer.

    Such are Gemma's. TRL tokenizes the templated text, and takes the token types of that for our prompt ids.
    """
    tokenizer = processor.tokenizer
    start = tokenizer.bos_token
    twice = start and tokenizer(start)["input_ids"].count(tokenizer.bos_token_id) == 2
    return {"bos_token": ""} if twice else {}


def _arguments(
    phase: Phase, optimizer: Optimizer, *, folder: Path, seed: int, on_cpu: bool, chat: dict[str, str]
) -> GRPOConfig:
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
        chat_template_kwargs=chat,
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
        save_strategy="steps",
        save_steps=optimizer.checkpoint_every,
        report_to="none",
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
        remove_unused_columns=False,
    )


def _on_cpu(model: Any) -> bool:
    return next(model.parameters()).device.type == "cpu"
