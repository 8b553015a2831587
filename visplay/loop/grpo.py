"""The one bridge to TRL: GRPO updates of a LoRA adapter on rollouts that our engine makes.

TRL computes advantages (Eq. 2 of arXiv 2511.15661), the clipped loss, the KL term and the importance
correction. Here each step's groups are sampled with the adapter as it stands, and scored by who called.
Of many ranks the first one calls `train`, and the others `follow` it: they learn, and do nothing else.

With `optimizer.ahead` a step's groups are sampled and scored while the step before it is learnt, with the
adapter as it stood before that one. It is one step old, exactly, and the correction makes up for it.
"""

import itertools
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
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
from visplay.loop.background import in_background
from visplay.loop.trainer import BEHIND, EngineGRPOTrainer, Rolled, Steps, finished_steps
from visplay.models.memory import MAX_ADAPTERS
from visplay.models.policy import Policy, adapter_state, save_adapter
from visplay.ranks import ALONE, Ranks
from visplay.runs.checkpoints import next_version, numbered
from visplay.seeds import mix_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step's completions, scored together: batch-wide redundancy, quotas and memory need all.

    Attributes:
        rows: [P] which prompts were drawn.
        completions: [P][G] of each.
        step: from 0.
        before: the records of the phase's steps before this one; all of them with `optimizer.ahead`, too.
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
        start: the adapter to begin with; the reference of the KL term, but for `optimizer.reference: base`.
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
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train an adapter for one phase, or resume one that was stopped (`finished_steps`).

    Args:
        policy: the base VLM.
        start: the adapter to begin with; the reference of the KL term, but for `optimizer.reference: base`.
        engine: serves the policy; every new version is published to it.
        sample: draws completions from it; with `optimizer.ahead` in another thread, as are the next two.
        prompts: drawn from in random order; each is asked for when its step comes.
        score: rewards a step's groups.
        phase: steps, prompts per step, G, temperature, length.
        optimizer: learning rate, clipping, KL.
        corrected: weigh tokens by the ratio of trainer to engine (importance correction), which takes one
            more forward pass over every batch; where both are the same weights, in the same process, it is 1.
            With `optimizer.ahead` it is always done.
        scratch: folder for published versions, checkpoints and the records of finished steps.
        seed: decides the order of the prompts and what is sampled.
        on_step: called with the metrics of each step.
        waiting: entered while a step waits for rollouts that were begun ahead.
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
        start=start, phase=phase, optimizer=optimizer, corrected=corrected or optimizer.ahead > 0,
        scratch=scratch, seed=seed, prompts=len(prompts), finished=finished_steps(scratch),
    )  # fmt: skip
    ranks.tell(replace(lesson, finished=[{"metrics": s["metrics"]} for s in lesson.finished]))
    steps = Steps(scratch, finished=lesson.finished, on_step=on_step, ranks=ranks)
    player = _Player(
        policy=policy, engine=engine, sample=sample, prompts=prompts, score=score, lesson=lesson, steps=steps,
        waiting=waiting,
    )  # fmt: skip
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
        if lesson.optimizer.kl > 0 and not lesson.optimizer.keeps_start:
            peft_model.delete_adapter("ref")  # without it TRL switches LoRA off, which leaves the base
        if player is not None:
            player.model, player.order = peft_model, trainer.rows_from(len(steps.finished))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Played:
    """A step's rollouts, scored.

    Attributes:
        rows: [P * G] of the prompts.
        adapter: who wrote them.
        rolled: [P * G] what TRL learns from.
        records: what is known of them.
    """

    rows: list[int]
    adapter: AdapterVersion
    rolled: list[Rolled]
    records: list[dict[str, Any]]


class _Player:
    """Rolls out each step with the adapter as it stands, published to the engine as a new version.

    With `optimizer.ahead` it begins the next step's rollouts, in another thread, before it hands over this
    step's. A process that resumes begins those of its first step once more, with the version that they had.
    """

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
        waiting: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._chat, self._engine, self._sample = policy.chat, engine, sample
        self._prompts, self._score, self._lesson, self._steps = prompts, score, lesson, steps
        self._waiting = waiting
        finished, start = len(steps.finished), lesson.start
        self.version = replace(start, version=start.version + finished)
        self._on_disk: list[AdapterVersion] = []
        for left in lesson.scratch.glob(f"{start.name}-*/"):  # by a process that was killed
            shutil.rmtree(left)
        self.model: Any = None
        self.order: Iterator[list[int]] = iter(())  # rows of this process's steps
        self._begun: Future[_Played] | None = None  # of the step that comes next

    def __call__(self, rows: list[int], state: dict[str, torch.Tensor]) -> list[Rolled]:
        """See `trainer.Player`."""
        step, before = len(self._steps.finished), self._steps.all_records
        if self._lesson.optimizer.ahead:
            played = self._play_ahead(step, state, before=before)
        else:
            self._publish(state)
            played = self._play(step, rows, adapter=self.version, before=before)
            self._engine.sleep()
        assert played.rows == rows, f"step {step + 1}: rolled out {played.rows}, TRL drew {rows}"
        self._steps.records = played.records
        return played.rolled

    def _play_ahead(
        self, step: int, state: dict[str, torch.Tensor], *, before: list[dict[str, Any]]
    ) -> _Played:
        """The rollouts of this step; those of the next one are begun, with the weights as they are now."""
        if step == 0:
            self._publish(state)
        elif self._begun is None:
            self._publish_again()
        begun = self._begun or self._begin(step, before=before)
        with self._waiting():
            played = begun.result()
        if step > 0:  # not before that, for an engine publishes when it has nothing under way
            self._publish(state)
        self._steps.behind = self.version.path
        self._steps.extra = {"staleness": float(self.version.version - played.adapter.version)}
        more = step + 1 < self._lesson.phase.steps
        self._begun = self._begin(step + 1, before=[*before, *played.records]) if more else None
        return played

    def _begin(self, step: int, *, before: list[dict[str, Any]]) -> "Future[_Played]":
        return in_background(partial(self._play, step, next(self.order), adapter=self.version, before=before))

    def _play(
        self, step: int, rows: list[int], *, adapter: AdapterVersion, before: list[dict[str, Any]]
    ) -> _Played:
        """Roll out and score a step; what comes of it hangs on the arguments alone, not on the time."""
        lesson = self._lesson
        drawn = [next(same) for _, same in itertools.groupby(rows)]
        group_size = lesson.phase.group_size
        assert rows == [row for row in drawn for _ in range(group_size)], "TRL repeats each row G times"
        # Untruncated: the log-probs feed the importance correction.
        sampling = Sampling(
            n=group_size, temperature=lesson.phase.temperature, max_tokens=lesson.phase.max_tokens,
            seed=mix_seed(lesson.seed, "rollout", step),
        )  # fmt: skip
        asked = [self._prompts[row] for row in drawn]
        groups = self._sample(asked, adapter=adapter, sampling=sampling)
        scored = self._score(Batch(rows=drawn, completions=groups, step=step, before=before))
        _check_finite(scored, step=step + 1)
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
        return _Played(rows=rows, adapter=adapter, rolled=rolled, records=scored.records)

    def save(self, peft_model: Any, state: dict[str, torch.Tensor]) -> None:
        """Save the weights as they are now as the next version."""
        self.version = next_version(self.version, self._lesson.scratch)
        save_adapter(peft_model, self.version, state=state)

    def _publish(self, state: dict[str, torch.Tensor]) -> None:
        """Publish the weights as they are before a step; remove versions that no engine holds any more."""
        self.save(self.model, state)
        self._hold()

    def _publish_again(self) -> None:
        """Publish the version before the weights as they are now, as the process before this one did."""
        self.version = numbered(self._lesson.scratch, self.version.name, self.version.version)
        assert self.version.path is not None
        shutil.copytree(self._steps.checkpoint / BEHIND, self.version.path)
        self._hold()

    def _hold(self) -> None:
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
