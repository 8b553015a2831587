"""The end of an iteration: check its figures against their limits, and roll back if configured."""

import json
from pathlib import Path
from typing import Any

from visplay.errors import HealthAlarm
from visplay.loop.alarms import best_iteration, is_measured, iteration_figures, probe_of, raise_alarms
from visplay.loop.context import RunContext
from visplay.runs.checkpoints import Roles, next_roles, note_roles, promote_back, roles_after
from visplay.storage import write_text


def finish(ctx: RunContext, iteration: int, roles: Roles) -> Roles:
    """End an iteration: record the roles, and check its figures against `health.limits`.

    Returns:
        The roles of the next iteration: unchanged, or those after the best iteration (`roll_back`).

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
                alarms = raise_alarms(figures, health)
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
            "All results are kept; to resume despite the alarms, add health.action=warn"
        )
    if found["rolled_back_to"] is not None:
        ctx.display.say(f"resuming from the adapters of iteration {found['rolled_back_to']}")
        roles = next_roles(folder, run=run.folder)
        for adapter in roles.values():
            ctx.publish(adapter)
    return roles
