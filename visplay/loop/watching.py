"""The end of an iteration: its figures against their limits, the way back, and what is kept on disk."""

import json
from pathlib import Path
from typing import Any

from visplay.errors import HealthAlarm
from visplay.loop.alarms import best_iteration, is_measured, iteration_figures, probe_of, raise_alarms
from visplay.loop.context import RunContext
from visplay.runs.checkpoints import Roles, next_roles, note_roles, promote_back, roles_after, superseded
from visplay.runs.run import PRUNED, PRUNING
from visplay.storage import write_text


def finish(ctx: RunContext, iteration: int, roles: Roles) -> Roles:
    """End an iteration: note who plays which role, hold its figures against `health.limits`, prune adapters.

    Returns:
        Who plays which role from now on: as it was, or as it was after the best iteration (`roll_back`).

    Raises:
        HealthAlarm: a figure is beyond its limit and `health.action` is `stop`.
    """
    health, run = ctx.config.health, ctx.run

    def work(folder: Path) -> list[dict[str, Any]]:
        figures: dict[str, float | None] = {}
        alarms: list[str] = []
        back = None
        told = is_measured(run.folder, iteration) or not ctx.config.evaluation.benchmarks
        if told:
            with ctx.watch("telemetry"):
                figures = iteration_figures(run.folder, iteration, config=ctx.config)
                alarms = [str(alarm) for alarm in raise_alarms(figures, health)]
            best = best_iteration(run.folder, last=iteration, probe=probe_of(ctx.config))
            back = best if alarms and health.action == "roll_back" and best < iteration else None
        following = roles
        if back is not None:
            following = promote_back(roles, roles_after(run.folder, iteration=back)[1], into=folder)
        note_roles(folder, roles, following, run=run.folder)
        write_text(folder / "alarms.json", json.dumps({"alarms": alarms, "rolled_back_to": back}, indent=2))
        return [{"iteration": iteration, "phase": "health", **figures, "alarms": len(alarms)}]

    folder = ctx.step(f"iteration-{iteration}/health", work)
    found = json.loads((folder / "alarms.json").read_text())
    for alarm in found["alarms"]:
        ctx.display.say(f"alarm, iteration {iteration}: {alarm}")
    if found["alarms"] and health.action == "stop":
        raise HealthAlarm(
            f"iteration {iteration} raised alarms: {'; '.join(found['alarms'])}. "
            "All of it is kept; to resume all the same, add health.action=warn"
        )
    if found["rolled_back_to"] is not None:
        ctx.display.say(f"resuming from the adapters of iteration {found['rolled_back_to']}")
        roles = next_roles(folder, run=run.folder)
        for adapter in roles.values():
            ctx.publish(adapter)
    _prune(ctx, iteration, roles)
    return roles


def best_words(ctx: RunContext, last: int) -> str:
    """Which iteration was the best so far, and how to have its adapters."""
    best = best_iteration(ctx.run.folder, last=last, probe=probe_of(ctx.config))
    return (
        f"The best iteration was {best}; its adapters are exported by: visplay export {ctx.run.folder} OUT "
        f"--iteration {best}"
    )


def _prune(ctx: RunContext, iteration: int, roles: Roles) -> None:
    """Remove adapters that `checkpoints.keep_last` lets go; what a pruning step lists is no longer missed."""
    keep_last, run = ctx.config.checkpoints.keep_last, ctx.run

    def work(folder: Path) -> list[dict[str, Any]]:
        best = best_iteration(run.folder, last=iteration, probe=probe_of(ctx.config))
        kept = {0, best, *range(max(0, iteration - keep_last + 1), iteration + 1)} if keep_last else set()
        listed = superseded(run.folder, last=iteration, kept=kept, current=roles)
        write_text(folder / PRUNED, json.dumps(listed, indent=2))
        return []

    if keep_last is not None:
        ctx.step(f"iteration-{iteration}/{PRUNING}", work)
    run.remove_pruned()
