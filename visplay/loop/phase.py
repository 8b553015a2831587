"""One trained phase of one role, as a step of the run."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from rewards import Reward
from rollouts.engine import AdapterVersion, Completion, Prompt, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.sections import Phase
from visplay.errors import TrainingDiverged
from visplay.loop.context import RunContext
from visplay.progress import Advance
from visplay.runs.checkpoints import Roles, promote
from visplay.runs.run import UNFINISHED
from visplay.seeds import mix_seed
from visplay.storage import write_parquet
from visplay.training.learner import Learner, in_background
from visplay.training.trl import Rollout

LARGEST = 3e38  # largest reward that 32 bits can represent


@dataclass(kw_only=True)
class Learning:
    """A phase in progress.

    Attributes:
        ctx: the run's context.
        role: the role whose adapter is trained.
        settings: the settings of the phase.
        seed: the seed of the phase.
        roles: the adapter version of each role; after the phase they include the trained version.
        learner: trains the adapter; None if all steps are done.
        advance: moves the progress bar.
        pending: the update of the previous step, which `optimizer.ahead` runs during the next sampling.
    """

    ctx: RunContext
    role: str
    settings: Phase
    seed: int
    roles: Roles
    learner: Learner | None = None
    advance: Advance = lambda *_: None
    pending: "Future[None] | None" = None
    _sampled: list[dict[str, Any]] = field(default_factory=list)  # records of the pending step

    @property
    def records(self) -> list[dict[str, Any]]:
        """Rows of the steps before this one, oldest first."""
        return [*self.learner.records, *self._sampled] if self.learner else []

    def steps(self) -> Iterator[tuple[int, AdapterVersion]]:
        """Yield the steps that are not done yet, from 0, with the published adapter that samples each.

        This is the current adapter. With `optimizer.ahead: 1` it is one step older from step 1 on.
        """
        if not self.learner:
            return
        begun = self.learner.done
        for step in range(begun, self.settings.steps):
            if not self.ctx.config.optimizer.ahead:
                adapter = self.learner.publish(self.ctx.engine)
            elif step == begun:
                again = self.learner.publish_again if step else self.learner.publish
                adapter = again(self.ctx.engine)
            else:
                adapter = self.learner.version
            yield step, adapter
        self._join()

    def sampling(self, step: int) -> Sampling:
        """Sampling of a step's rollouts without top-k: their log-probs are used in the importance ratio."""
        phase = self.settings
        return Sampling(
            n=phase.group_size, temperature=phase.temperature, max_tokens=phase.max_tokens,
            seed=mix_seed(self.seed, "rollout", step),
        )  # fmt: skip

    def learn(
        self,
        prompts: Sequence[Prompt],
        groups: Sequence[Sequence[Completion]],
        rewards: Sequence[Sequence[Reward]],
        records: Sequence[dict[str, Any]],
    ) -> None:
        """Finish a step: learn from its rewarded completions [P][G] and write its checkpoint.

        Raises:
            TrainingDiverged: a reward, the loss or the gradient is not finite.
        """
        assert self.learner
        self._join()
        learner, step = self.learner, self.learner.done
        for reward in (reward for group in rewards for reward in group):
            if not abs(reward.total) < LARGEST:
                raise TrainingDiverged(
                    f"step {step + 1}: a reward is {reward.total} with the parts {dict(reward.parts)}; the "
                    "steps before it are kept. Fix the reward that is named, then run the same command again"
                )
        rollouts = [
            Rollout(prompt=prompt, completion=completion, reward=reward.total)
            for prompt, group, paid in zip(prompts, groups, rewards, strict=True)
            for completion, reward in zip(group, paid, strict=True)
        ]

        def update() -> None:
            learner.update(rollouts)
            learner.save(records)

        if not self.ctx.config.optimizer.ahead:
            self.ctx.engine.sleep()
            update()
            self.show(learner.history[-1])
        else:
            if step > 0:  # the next step's rollouts use the adapter before this update
                learner.publish(self.ctx.engine)
            self._sampled, self.pending = list(records), in_background(update)

    def show(self, row: dict[str, float]) -> None:
        """Show a step's metrics and send them to trackers."""
        self.advance(f"reward {row['reward']:.3f}")
        with self.ctx.watch("telemetry"):
            self.ctx.tracker.log_step(self.role, row)

    def _join(self) -> None:
        """Wait for the pending update."""
        if self.pending and self.learner:
            self.pending.result()
            self.pending, self._sampled = None, []
            self.show(self.learner.history[-1])


@contextmanager
def learning(
    ctx: RunContext, iteration: int, role: str, roles: Roles, *, schema: pa.Schema
) -> Iterator[Learning]:
    """Train a role for one phase: the block executes the steps that are not done yet.

    The step's folder contains `adapter/`, the rewarded completions as `rollouts.parquet`, and `metrics.jsonl`
    with one row per optimizer step.
    """
    name, settings, seed = f"iteration-{iteration}/{role}", ctx.phase(role), ctx.seed(iteration, role)
    phase = Learning(ctx=ctx, role=role, settings=settings, seed=seed, roles=roles)
    if settings.steps == 0:
        yield phase
        return
    with ctx.working(name) as work:
        if work is None:
            yield phase
        else:
            with (
                ctx.display.bar(role, total=settings.steps) as phase.advance,
                ctx.watch("optimisation"),
                Learner(
                    ctx.policy, start=roles[role], phase=settings, optimizer=ctx.config.optimizer,
                    corrected=not isinstance(ctx.engine, TransformersEngine), seed=seed,
                    folder=work.folder / UNFINISHED, ranks=ctx.ranks,
                ) as phase.learner,
            ):  # fmt: skip
                for row in phase.learner.history:
                    phase.show(row)
                yield phase
            write_parquet(work.folder / "rollouts.parquet", phase.learner.records, schema)
            promote(phase.learner.trained, into=work.folder)
            work.rows.extend({"iteration": iteration, "phase": role, **row} for row in phase.learner.history)
    phase.roles = ctx.adopt(roles, role, ctx.run.folder / name)
