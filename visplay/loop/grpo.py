"""The one bridge to TRL: GRPO updates of a LoRA adapter on rollouts that our engine makes.

TRL computes advantages (Eq. 2 of arXiv 2511.15661), the clipped loss, the KL term and the importance
correction. Here each step's groups are sampled with the adapter as it stands, and scored by who called.
"""

import itertools
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from rewards import Reward
from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling
from visplay.config.sections import Optimizer, Phase
from visplay.errors import PreflightError, TrainingDiverged
from visplay.loop.arguments import grpo_arguments, reentrant
from visplay.models.memory import MAX_ADAPTERS
from visplay.models.policy import Policy, save_adapter
from visplay.runs.checkpoints import next_version
from visplay.seeds import mix_seed
from visplay.storage import read_part, write_part


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step's completions, scored together: batch-wide redundancy, quotas and memory need all.

    Attributes:
        rows: [P] which prompts were drawn.
        completions: [P][G] of each.
        step: from 0.
        before: the records of the phase's steps before this one.
    """

    rows: Sequence[int]
    completions: list[list[Completion]]
    step: int
    before: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a scorer gives: rewards [P][G], and what is to be known of the completions later, as rows."""

    rewards: list[list[Reward]]
    records: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a phase leaves: the last version, the metrics of each step and the records of all steps.

    The last version lies in the scratch folder and is not published.
    """

    adapter: AdapterVersion
    history: list[dict[str, float]]
    records: list[dict[str, Any]]


Scorer = Callable[[Batch], Scored]


class Sample(Protocol):
    """Draws completions [prompts][n] of one adapter version."""

    def __call__(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        """See `RolloutEngine.generate`."""
        ...


def train(
    *,
    policy: Policy,
    start: AdapterVersion,
    engine: RolloutEngine,
    sample: Sample,
    prompts: Sequence[Prompt],
    score: Scorer,
    phase: Phase,
    optimizer: Optimizer,
    corrected: bool,
    scratch: Path,
    seed: int,
    on_step: Callable[[dict[str, float]], None],
) -> Trained:
    """Train an adapter for one phase, or resume one that was stopped (`finished_steps`).

    Args:
        policy: the base VLM.
        start: the adapter to begin with; also the reference of the KL term.
        engine: serves the policy; every new version is published to it.
        sample: draws completions from it.
        prompts: drawn from in random order; each is asked for when its step comes.
        score: rewards a step's groups.
        phase: steps, prompts per step, G, temperature, length.
        optimizer: learning rate, clipping, KL.
        corrected: weigh tokens by the ratio of trainer to engine (importance correction), which takes one
            more forward pass over every batch; where both are the same weights, in the same process, it is 1.
        scratch: folder for published versions, checkpoints and the records of finished steps.
        seed: decides the order of the prompts and what is sampled.
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

    def rollout(messages: list[Any], _: GRPOTrainer) -> dict[str, list[Any]]:
        rows = [message[0]["row"] for message in messages]
        drawn = [next(same) for _, same in itertools.groupby(rows)]
        assert rows == [row for row in drawn for _ in range(phase.group_size)], "TRL repeats each row G times"
        # Untruncated: the log-probs feed the importance correction.
        sampling = Sampling(
            n=phase.group_size, temperature=phase.temperature, max_tokens=phase.max_tokens,
            seed=mix_seed(seed, "rollout", published.steps),
        )  # fmt: skip
        groups = sample([prompts[row] for row in drawn], adapter=published.version, sampling=sampling)
        scored = score(Batch(rows=drawn, completions=groups, step=published.steps, before=steps.all_records))
        engine.sleep()
        _check_finite(scored, step=published.steps + 1)
        steps.records = scored.records
        completions = [completion for group in groups for completion in group]
        assert len(completions) == len(rows), (len(completions), len(rows))
        return {
            "prompt_ids": [list(c.prompt_ids) for c in completions],
            "completion_ids": [list(c.token_ids) for c in completions],
            "logprobs": [list(c.logprobs) for c in completions],
            "reward": [reward.total for group in scored.rewards for reward in group],
        }

    if len(steps.finished) == phase.steps:
        peft_model = policy.with_adapter(replace(start, path=steps.checkpoint))
    else:
        peft_model = policy.with_adapter(start)
        arguments = grpo_arguments(
            phase, optimizer, corrected=corrected, folder=steps.folder, seed=seed, model=peft_model,
            chat=_one_start_token(policy.processor),
        )  # fmt: skip
        if arguments.gradient_checkpointing and not reentrant(arguments):
            policy.keep_gradients_out_of_inputs(peft_model)
        trainer = _EngineGRPOTrainer(
            model=peft_model, processing_class=policy.processor, reward_funcs=_reward, args=arguments,
            train_dataset=_dataset(prompts, policy.chat), rollout_func=rollout, callbacks=[steps],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)  # our own display shows each step
        trainer.publish_through(published)
        if steps.finished:  # where there is a reference adapter, transformers restores that one only
            peft_model.load_adapter(str(steps.checkpoint), "default", is_trainable=True)
        trainer.train(resume_from_checkpoint=str(steps.checkpoint) if steps.finished else None)
        if len(steps.finished) != phase.steps:  # TRL stops with a log line where its sampler yields no batch
            raise PreflightError(f"the trainer took {len(steps.finished)} of {phase.steps} steps and stopped")
    last = published.save(peft_model)
    policy.without_adapter(peft_model)
    history = [step["metrics"] for step in steps.finished]
    return Trained(adapter=last, history=history, records=steps.all_records)


def finished_steps(scratch: Path) -> list[dict[str, Any]]:
    """The steps up to the last checkpoint of a phase that was stopped: `metrics` and `records` of each.

    None where any of it, the checkpoint included, is not as it was written: the phase then begins again.
    """
    last = read_part(scratch / "checkpoint.json")
    if last is None:
        return []
    steps = [read_part(scratch / f"step-{step}.json") for step in range(1, last["step"] + 1)]
    return [] if None in steps else steps


class _EngineGRPOTrainer(GRPOTrainer):
    """GRPOTrainer that samples from our engine as it would from vLLM, importance correction included.

    The private names below are TRL 1.16's; `tests/visplay/loop/test_trl.py` fails where another has others.
    """

    vllm_generation: Any

    def _get_per_token_logps_and_entropies(self, *args: Any, **inputs: Any) -> Any:
        """As TRL's, which does not know `batch_num_images`, by which LLaVA-OneVision counts pictures.

        Where every prompt has one picture the model does without it.
        """
        counts = inputs.pop("batch_num_images", None)
        if counts is not None and (counts > 1).any():
            raise PreflightError(
                "TRL cannot train this VLM on prompts with several pictures; take guards.anchors whose "
                "items have one"
            )
        return super()._get_per_token_logps_and_entropies(*args, **inputs)

    def publish_through(self, published: "_Published") -> None:
        """Call `published.sync_weights()` once before the rollouts of each step."""
        published.model = self.model
        self.use_vllm = True
        self.vllm_generation = published
        self._last_loaded_step = -1


class _Published:
    """Publishes the policy's weights to the engine before each step, each time as a new version."""

    model: Any

    def __init__(self, engine: RolloutEngine, *, start: AdapterVersion, scratch: Path, finished: int) -> None:
        self._engine, self._scratch = engine, scratch
        self.version = replace(start, version=start.version + finished)
        self.steps = finished - 1
        self._on_disk: list[AdapterVersion] = []
        for left in scratch.glob(f"{start.name}-*/"):  # by a process that was killed
            shutil.rmtree(left)

    def sync_weights(self) -> None:
        """Publish the weights as they are before a step; remove versions that no engine holds any more."""
        self.version = self.save(self.model)
        self.steps += 1
        self._engine.publish(self.version)
        self._on_disk.append(self.version)
        for old in self._on_disk[:-MAX_ADAPTERS]:
            assert old.path is not None
            shutil.rmtree(old.path)
        del self._on_disk[:-MAX_ADAPTERS]

    def save(self, peft_model: Any) -> AdapterVersion:
        """Save the weights as they are now as the next version."""
        version = next_version(self.version, self._scratch)
        save_adapter(peft_model, version)
        return version


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
    def all_records(self) -> list[dict[str, Any]]:
        """Of the finished steps, oldest first."""
        return [record for step in self.finished for record in step["records"]]

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
        write_part(self._scratch / f"step-{state.global_step}.json", step)
        self._on_step(row)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note that this step's checkpoint is whole, and drop the one before."""
        note = self._scratch / "checkpoint.json"
        write_part(note, {"step": state.global_step}, covers=self.checkpoint)
        self._drop_others()

    def _drop_others(self) -> None:
        for other in self.folder.glob("checkpoint-*"):
            if other != self.checkpoint:
                shutil.rmtree(other)


def _check_finite(scored: Scored, *, step: int) -> None:
    """TRL takes what is not finite for an advantage of 0, so a broken reward would teach nothing unseen."""
    for reward in (reward for group in scored.rewards for reward in group):
        if not math.isfinite(reward.total):
            raise TrainingDiverged(
                f"step {step}: a reward is {reward.total}, its parts {reward.parts}; the steps before it are "
                "kept. Fix the reward of your own that is named there, then start the same command again"
            )


def _reward(prompts: Any, completions: Any, reward: list[float], **_: Any) -> list[float | None]:
    return list(reward)


_reward.__name__ = "reward"


def _dataset(prompts: Sequence[Prompt], chat: Chat) -> Dataset:
    """TRL's columns, made when a row is read: `prompt`, messages that carry their row, and `images`."""

    def rows(asked: dict[str, list[int]]) -> dict[str, list[Any]]:
        made = [prompts[row] for row in asked["row"]]
        messages = [
            [{**message, "row": row} for message in chat.messages(prompt)]
            for row, prompt in zip(asked["row"], made, strict=True)
        ]
        return {"prompt": messages, "images": [list(prompt.images) for prompt in made]}

    return Dataset.from_dict({"row": list(range(len(prompts)))}).with_transform(rows)


def _one_start_token(processor: Any) -> dict[str, str]:
    """Keeps TRL from writing two start tokens, one by the template and one by the tokenizer.

    Such are Gemma's. TRL tokenizes the templated text, and takes the token types of that for our prompt ids.
    """
    tokenizer = processor.tokenizer
    start = tokenizer.bos_token
    twice = start and tokenizer(start)["input_ids"].count(tokenizer.bos_token_id) == 2
    return {"bos_token": ""} if twice else {}
