"""The table that a run ends with: did the Reasoner become better, as far as the samples can say?"""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def print_result(run: Path, console: Console | None = None) -> None:
    """Print accuracy by iteration and benchmark, and label quality where it is known."""
    console = console or Console()
    summaries = read_summaries(run)
    if not summaries:
        console.print("no evaluation is finished yet")
        return
    for name in summaries[0]:
        console.print(_benchmark_table(name, {i: summary[name] for i, summary in summaries.items()}))
    labels = _label_table(run)
    if labels.row_count:
        console.print(labels)


def read_summaries(run: Path) -> dict[int, dict[str, Any]]:
    """The finished evaluations of a run: iteration -> benchmark -> figures."""
    found = {}
    for path in run.glob("iteration-*/evaluation/summary.json"):
        iteration = int(path.parts[-3].removeprefix("iteration-"))
        found[iteration] = json.loads(path.read_text())["benchmarks"]
    return dict(sorted(found.items()))


def _benchmark_table(name: str, by_iteration: dict[int, dict[str, Any]]) -> Table:
    first = next(iter(by_iteration.values()))
    synthetic = " (synthetic)" if name.startswith("pocket") or name == "easy-vqa" else ""
    table = Table(title=f"{name}{synthetic}, n = {first['n']}", title_justify="left")
    majority = next(key for key in first if key.startswith("maj@"))
    for column in (
        "iteration",
        "greedy %",
        _titled(first, majority),
        _titled(first, "blind"),
        "parsed",
        "tokens",
        "against the base",
        "verdict",
    ):
        table.add_column(column, justify="left" if column == "verdict" else "right")
    for iteration, row in by_iteration.items():
        paired = row["paired"]
        table.add_row(
            "base" if iteration == 0 else str(iteration),
            percent_interval(row["accuracy"]),
            _percent(row[majority]),
            _percent(row["blind"]),
            f"{100 * row['parse_rate']:.1f}",
            f"{row['mean_tokens']:.1f}",
            points(paired) if paired else "",
            paired["verdict"] if paired else "",
        )
    return table


def _titled(figures: dict[str, Any], column: str) -> str:
    """The column's title, with its n where it was asked of fewer questions than the accuracy."""
    asked = figures[column]
    return column if asked is None or asked["n"] == figures["n"] else f"{column}, n = {asked['n']}"


def _label_table(run: Path) -> Table:
    table = Table(title="silver labels", title_justify="left")
    columns = ("iteration", "valid", "answerable", "distinct", "kept", "right: kept", "right: rejected")
    for column in columns:
        table.add_column(column, justify="right")
    for path in sorted(run.glob("iteration-*/curation/summary.json")):
        health = json.loads(path.read_text())
        valid = health["valid"]
        silver = health["silver_accuracy"] or {}
        table.add_row(
            path.parts[-3].removeprefix("iteration-"),
            f"{valid} of {health['questions']}",
            "unknown"
            if health["answerable"] is None
            else f"{100 * health['answerable'] / max(1, valid):.1f} %",
            str(health["distinct"]),
            str(health["kept"]),
            percent_interval(silver.get("kept")),
            percent_interval(silver.get("rejected")),
        )
    return table


def percent_interval(estimate: dict[str, float] | None) -> str:
    """`81.2 [78.7, 83.5]`, in percent."""
    if estimate is None:
        return "unknown"
    return f"{100 * estimate['value']:.1f} [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"


def points(paired: dict[str, Any]) -> str:
    """`+2.2 [+0.7, +3.7]`, a paired difference in percentage points."""
    difference, low, high = (100 * paired[name] for name in ("difference", "low", "high"))
    return f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]"


def _percent(estimate: dict[str, float] | None) -> str:
    return "" if estimate is None else f"{100 * estimate['value']:.1f}"
