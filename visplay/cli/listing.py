"""What runs there are, and how far each has come."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from visplay.cli.printing import plain_table
from visplay.config.loading import read_config
from visplay.errors import RunError, VisplayError
from visplay.evaluation.verdict import share
from visplay.loop.alarms import out_of_patience
from visplay.runs.results import read_summaries
from visplay.runs.run import Run, require_format


def print_runs(folder: Path, console: Console | None = None) -> None:
    """Print one line per run below `folder`, newest first.

    Raises:
        RunError: no run lies there.
    """
    found = {path.parent for name in ("journal.jsonl", "config.yaml") for path in folder.glob(f"*/{name}")}
    if not found:
        raise RunError(f"there is no run in {folder}; name the folder that `output` named")
    columns = ("state", "done", "base to last", "on", "changed")
    table = plain_table(f"runs in {folder}", "run", *columns, left=("state", "on"))
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    console, unreadable = console or Console(), []
    for path in sorted(found, key=_changed, reverse=True):
        changed = datetime.fromtimestamp(_changed(path)).strftime("%m-%d %H:%M")
        try:
            table.add_row(escape(path.name), *map(escape, _state(Run(path))), changed)
        except (VisplayError, OSError, ValueError, KeyError, TypeError) as error:
            # One damaged run must not hide the others; what its files hold may be of any shape.
            table.add_row(escape(path.name), "unreadable", "", "", "", changed)
            unreadable.append(f"{path.name}: {error}")
    console.print(table)
    for line in unreadable:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _state(run: Run) -> tuple[str, str, str, str]:
    """State with the step that it has come to, iterations done, accuracy before and after, and on what."""
    folder = run.folder
    require_format(folder)
    steps = [entry["step"] for entry in run.journal()]
    config = read_config(folder / "config.yaml")
    planned = int(config["iterations"])
    done = sum(1 for step in steps if step.endswith("/health"))
    state = "running" if run.is_open() else "finished" if _is_finished(folder, config, steps) else "stopped"
    if state != "finished" and steps:
        state += f", {steps[-1].rpartition('/')[2]}"
    return state, f"{done}/{planned}", *_accuracy(folder)


def _is_finished(folder: Path, config: dict[str, Any], steps: Sequence[str]) -> bool:
    """Whether the loop's last step is there."""
    return f"iteration-{_last_iteration(folder, config, steps)}/health" in steps


def _last_iteration(folder: Path, config: dict[str, Any], steps: Sequence[str]) -> int:
    """The planned one, or that at which `health.patience` ended the run."""
    planned, health = int(config["iterations"]), config.get("health") or {}
    for iteration in range(1, planned):
        if f"iteration-{iteration}/health" not in steps:
            break
        if out_of_patience(folder, iteration, patience=health.get("patience"), probe=health.get("probe")):
            return iteration
    return planned


def _accuracy(folder: Path) -> tuple[str, str]:
    """Greedy accuracy of the base and of the last iteration on the first benchmark, and which it is."""
    summaries = read_summaries(folder)
    if not summaries:
        return "", ""
    first, last = (next(iter(summaries[i].items())) for i in (min(summaries), max(summaries)))
    before, after = ((figures.get("accuracy") or {}).get("value") for _, figures in (first, last))
    return f"{share(before)} to {share(after)}", first[0]


def _changed(folder: Path) -> float:
    journal = folder / "journal.jsonl"
    return (journal if journal.exists() else folder).stat().st_mtime
