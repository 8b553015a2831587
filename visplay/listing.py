"""What runs there are, and how far each has come."""

from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from visplay.config import read_config
from visplay.errors import RunError
from visplay.evaluation.table import read_summaries
from visplay.run import Run


def print_runs(folder: Path, console: Console | None = None) -> None:
    """Print one line per run below `folder`, newest first.

    Raises:
        RunError: no run lies there.
    """
    found = [path.parent for path in folder.glob("*/journal.jsonl")]
    if not found:
        raise RunError(f"there is no run in {folder}; name the folder that `output` named")
    table = Table(title=f"runs in {folder}", title_justify="left")
    for column in ("run", "state", "iterations", "last finished step", "greedy %, base -> last", "changed"):
        table.add_column(column)
    for path in sorted(found, key=_changed, reverse=True):
        table.add_row(*_line(path))
    (console or Console()).print(table)


def _line(folder: Path) -> tuple[str, ...]:
    run = Run(folder)
    steps = [entry["step"] for entry in run.journal()]
    planned = int(read_config(folder / "config.yaml")["iterations"])
    done = sum(1 for step in steps if step.endswith("/evaluation") and step != "iteration-0/evaluation")
    state = "running" if run.is_open() else "finished" if done >= planned else "stopped"
    changed = datetime.fromtimestamp(_changed(folder)).strftime("%Y-%m-%d %H:%M")
    return folder.name, state, f"{done} of {planned}", steps[-1] if steps else "", _accuracy(folder), changed


def _accuracy(folder: Path) -> str:
    summaries = read_summaries(folder)
    if not summaries:
        return ""
    first, last = (next(iter(summaries[i].items())) for i in (min(summaries), max(summaries)))
    before, after = (100 * figures["accuracy"]["value"] for _, figures in (first, last))
    return f"{first[0]} {before:.1f} -> {after:.1f}"


def _changed(folder: Path) -> float:
    return (folder / "journal.jsonl").stat().st_mtime
