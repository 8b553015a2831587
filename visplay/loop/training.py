"""One trained phase of one role, as a step of the run; the roles' files say what is asked and what pays."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from rollouts.engine import Prompt
from rollouts.transformers_engine import TransformersEngine
from visplay.loop import grpo
from visplay.loop.context import RunContext
from visplay.runs.checkpoints import Roles, promote
from visplay.runs.run import UNFINISHED
from visplay.storage import write_parquet

# What a phase trains on and how it is paid; called when the phase is not done yet.
Prepare = Callable[[], tuple[Sequence[Prompt], grpo.Scorer]]


def train_role(
    ctx: RunContext, iteration: int, role: str, roles: Roles, *, prepare: Prepare, schema: pa.Schema
) -> Roles:
    """Train a role for one phase; returns the roles with its new version in place.

    The step's folder holds `adapter/`, the rewarded completions as `rollouts.parquet`, and `metrics.jsonl`
    with a row for each optimizer step.

    Args:
        ctx: of the run.
        iteration: which.
        role: whose adapter is trained, with the settings of its section of the configuration.
        roles: who plays which role as the phase begins.
        prepare: gives the prompts, drawn from in random order, and the scorer of their completions.
        schema: columns of `rollouts.parquet`.
    """
    phase = ctx.phase(role)
    if phase.steps == 0:
        return roles

    def work(folder: Path) -> list[dict[str, Any]]:
        prompts, score = prepare()
        with ctx.display.bar(role, total=phase.steps) as advance, ctx.watch("optimisation"):

            def log_step(row: dict[str, float]) -> None:
                advance(f"reward {row['reward']:.3f}")
                with ctx.watch("telemetry"):
                    ctx.tracker.log_step(role, row)

            trained = grpo.train(
                policy=ctx.policy, start=roles[role], engine=ctx.engine, sample=ctx.sample, prompts=prompts,
                score=score, phase=phase, optimizer=ctx.config.optimizer,
                corrected=not isinstance(ctx.engine, TransformersEngine), scratch=folder / UNFINISHED,
                seed=ctx.seed(iteration, role), on_step=log_step, waiting=lambda: ctx.watch("waiting"),
                ranks=ctx.ranks,
            )  # fmt: skip
        write_parquet(folder / "rollouts.parquet", trained.records, schema)
        promote(trained.adapter, into=folder)
        return [{"iteration": iteration, "phase": role, **row} for row in trained.history]

    return ctx.adopt(roles, role, ctx.step(f"iteration-{iteration}/{role}", work))


class Prompts(Sequence[Prompt]):
    """Prompts that are made when they are asked for, so that a phase holds no picture that it does not use.

    Args:
        rows: what each is made of.
        make: makes one.
    """

    def __init__(self, rows: Sequence[Any], make: Callable[[Any], Prompt]) -> None:
        self._rows, self._make = rows, make

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        """The prompt at a place."""
        return self._make(self._rows[place])
