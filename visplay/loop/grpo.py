"""The one bridge to TRL: GRPO updates of a LoRA adapter on rollouts that our engine makes.

TRL computes advantages (Eq. 2 of arXiv 2511.15661), the clipped loss, the KL term and the importance
correction. Here each step's groups are sampled with the adapter as it stands, and scored by who called.
Of many ranks the first one calls `train`, and the others `follow` it: they learn, and do nothing else.
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
from transformers import PrinterCallback

from rewards import Reward
from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling
from visplay.config.sections import Optimizer, Phase
from visplay.errors import PreflightError, TrainingDiverged
from visplay.loop.arguments import grpo_arguments, reentrant
from visplay.loop.trainer import EngineGRPOTrainer, Rolled, Steps, finished_steps
from visplay.models.memory import MAX_ADAPTERS
from visplay.models.policy import Policy, adapter_state, save_adapter
from visplay.ranks import ALONE, Ranks
from visplay.runs.checkpoints import next_version
from visplay.seeds import mix_seed


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What all ranks know of a phase; rank 0 decides it, files included.

    Attributes:
        start: the adapter to begin with; also the reference of the KL term.
        phase: steps, prompts per step, G, temperature, length.
        optimizer: learning rate, clipping, KL.
        corrected: see `train`.
        scratch: folder of the phase.
        seed: of the phase.
        prompts: how many there are.
        finished: the steps that an earlier process has finished.
    """

    start: AdapterVersion
    phase: Phase
    optimizer: Optimizer
    corrected: bool
    scratch: Path
    seed: int
    prompts: int
    finished: list[dict[str, Any]]


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
    ranks: Ranks = ALONE,
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
        ranks: that learn; this one is the first of them.

    Returns:
        The trained version, in `scratch`, with the metrics and records of each step, earlier ones included.

    Raises:
        PreflightError: fewer prompts than one step needs.
        RankLost: another rank is gone.
    """
    if len(prompts) < phase.prompts_per_step:
        raise PreflightError(
            f"a step draws {phase.prompts_per_step} different prompts and there are only {len(prompts)}; "
            "lower prompts_per_step, ask about more images or widen the informative band"
        )
    lesson = Lesson(
        start=start, phase=phase, optimizer=optimizer, corrected=corrected, scratch=scratch, seed=seed,
        prompts=len(prompts), finished=finished_steps(scratch),
    )  # fmt: skip
    ranks.tell(replace(lesson, finished=[{"metrics": s["metrics"]} for s in lesson.finished]))
    steps = Steps(scratch, finished=lesson.finished, on_step=on_step, ranks=ranks)
    player = _Player(
        policy=policy, engine=engine, sample=sample, prompts=prompts, score=score, lesson=lesson, steps=steps
    )
    _learn(policy, lesson, steps, ranks=ranks, player=player)
    history = [step["metrics"] for step in steps.finished]
    return Trained(adapter=player.version, history=history, records=steps.all_records)


def follow(policy: Policy, ranks: Ranks) -> None:
    """Learn what rank 0 trains, phase by phase, until it says that there is no more.

    Args:
        policy: this rank's copy of the base.
        ranks: this one is not the first of them.

    Raises:
        RankLost: another rank is gone.
    """
    while lesson := ranks.tell():
        steps = Steps(lesson.scratch, finished=lesson.finished, on_step=lambda _: None, ranks=ranks)
        _learn(policy, lesson, steps, ranks=ranks)


def _learn(
    policy: Policy, lesson: Lesson, steps: Steps, *, ranks: Ranks, player: "_Player | None" = None
) -> None:
    """A phase as every rank runs it."""
    torch.manual_seed(lesson.seed)
    if len(steps.finished) == lesson.phase.steps:
        peft_model = policy.with_adapter(replace(lesson.start, path=steps.checkpoint))
    else:
        peft_model = policy.with_adapter(lesson.start)
        arguments = grpo_arguments(
            lesson.phase, lesson.optimizer, corrected=lesson.corrected, folder=steps.folder, seed=lesson.seed,
            model=peft_model, chat=_one_start_token(policy.processor), ranks=ranks,
        )  # fmt: skip
        if arguments.gradient_checkpointing and not reentrant(arguments):
            policy.keep_gradients_out_of_inputs(peft_model)
        trainer = EngineGRPOTrainer(
            model=peft_model, processing_class=policy.processor, args=arguments, callbacks=[steps],
            train_dataset=Dataset.from_dict({"row": list(range(lesson.prompts))}), ranks=ranks, player=player,
        )  # fmt: skip
        if player is not None:
            player.model = peft_model
        trainer.remove_callback(PrinterCallback)  # our own display shows each step
        if steps.finished:  # where there is a reference adapter, transformers restores that one only
            peft_model.load_adapter(str(steps.checkpoint), "default", is_trainable=True)
        trainer.train(resume_from_checkpoint=str(steps.checkpoint) if steps.finished else None)
        if len(steps.finished) != lesson.phase.steps:  # TRL logs a line where its sampler yields no batch
            raise PreflightError(f"the trainer took {len(steps.finished)} of {lesson.phase.steps} steps")
    state = adapter_state(peft_model)
    if player is not None:
        player.save(peft_model, state)
    if ranks.sharded:
        policy.dismiss()
    else:
        policy.without_adapter(peft_model)


class _Player:
    """Rolls out each step with the adapter as it stands, published to the engine as a new version."""

    def __init__(
        self,
        *,
        policy: Policy,
        engine: RolloutEngine,
        sample: Sample,
        prompts: Sequence[Prompt],
        score: Scorer,
        lesson: Lesson,
        steps: Steps,
    ) -> None:
        self._chat, self._engine, self._sample = policy.chat, engine, sample
        self._prompts, self._score, self._lesson, self._steps = prompts, score, lesson, steps
        finished, start = len(steps.finished), lesson.start
        self.version = replace(start, version=start.version + finished)
        self._on_disk: list[AdapterVersion] = []
        for left in lesson.scratch.glob(f"{start.name}-*/"):  # by a process that was killed
            shutil.rmtree(left)
        self.model: Any = None

    def __call__(self, rows: list[int], state: dict[str, torch.Tensor]) -> list[Rolled]:
        """See `trainer.Player`."""
        lesson, step = self._lesson, len(self._steps.finished)
        self._publish(state)
        drawn = [next(same) for _, same in itertools.groupby(rows)]
        group_size = lesson.phase.group_size
        assert rows == [row for row in drawn for _ in range(group_size)], "TRL repeats each row G times"
        # Untruncated: the log-probs feed the importance correction.
        sampling = Sampling(
            n=group_size, temperature=lesson.phase.temperature, max_tokens=lesson.phase.max_tokens,
            seed=mix_seed(lesson.seed, "rollout", step),
        )  # fmt: skip
        asked = [self._prompts[row] for row in drawn]
        groups = self._sample(asked, adapter=self.version, sampling=sampling)
        before = self._steps.all_records
        scored = self._score(Batch(rows=drawn, completions=groups, step=step, before=before))
        self._engine.sleep()
        _check_finite(scored, step=step + 1)
        self._steps.records = scored.records
        rolled = [
            Rolled(
                messages=self._chat.messages(prompt), images=list(prompt.images),
                prompt_ids=list(completion.prompt_ids), completion_ids=list(completion.token_ids),
                logprobs=list(completion.logprobs), reward=reward.total,
            )
            for prompt, group, rewards in zip(asked, groups, scored.rewards, strict=True)
            for completion, reward in zip(group, rewards, strict=True)
        ]  # fmt: skip
        assert len(rolled) == len(rows), (len(rolled), len(rows))
        return rolled

    def save(self, peft_model: Any, state: dict[str, torch.Tensor]) -> None:
        """Save the weights as they are now as the next version."""
        self.version = next_version(self.version, self._lesson.scratch)
        save_adapter(peft_model, self.version, state=state)

    def _publish(self, state: dict[str, torch.Tensor]) -> None:
        """Publish the weights as they are before a step; remove versions that no engine holds any more."""
        self.save(self.model, state)
        self._engine.publish(self.version)
        self._on_disk.append(self.version)
        for old in self._on_disk[:-MAX_ADAPTERS]:
            assert old.path is not None
            shutil.rmtree(old.path)
        del self._on_disk[:-MAX_ADAPTERS]


def _check_finite(scored: Scored, *, step: int) -> None:
    """TRL takes what is not finite for an advantage of 0, so a broken reward would teach nothing unseen."""
    for reward in (reward for group in scored.rewards for reward in group):
        if not math.isfinite(reward.total):
            raise TrainingDiverged(
                f"step {step}: a reward is {reward.total}, its parts {reward.parts}; the steps before it are "
                "kept. Fix the reward of your own that is named there, then start the same command again"
            )


def _one_start_token(processor: Any) -> dict[str, str]:
    """Keeps TRL from writing two start tokens, one by the template and one by the tokenizer.

    Such are Gemma's. TRL tokenizes the templated text, and takes the token types of that for our prompt ids.
    """
    tokenizer = processor.tokenizer
    start = tokenizer.bos_token
    twice = start and tokenizer(start)["input_ids"].count(tokenizer.bos_token_id) == 2
    return {"bos_token": ""} if twice else {}
