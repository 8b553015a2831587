"""Figures in the terminal: of an evaluation, a comparison, a run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from visplay.evaluation.comparison import Compared
from visplay.evaluation.metrics import Figures
from visplay.evaluation.spec import shipped_specs
from visplay.evaluation.wording import percent_interval, points_interval
from visplay.runs.results import read_summaries


def print_figures(name: str, summary: dict[str, Figures], console: Console | None = None) -> None:
    """Print one line for each benchmark, and below the table what else is known; withheld figures say why."""
    table = Table(title=name, title_justify="left")
    for column in ("benchmark", "n", "% (95 % interval)", "parsed", "cut off", "majority class"):
        table.add_column(column, justify="left" if column == "benchmark" else "right")
    for benchmark, figures in summary.items():
        own = figures.get("accuracy")
        table.add_row(
            benchmark,
            str(figures.get("n", "")),
            percent(figures["headline"]) + (f" ({interval(own)})" if own else ""),
            percent(figures.get("parse_rate")),
            percent(figures.get("truncation_rate")),
            percent(figures.get("majority_class")),
        )
    console = console or Console()
    console.print(table)
    for benchmark, figures in summary.items():
        for line in [*_notes(figures), *_published(benchmark)]:
            console.print(f"{benchmark}: {line}", markup=False, highlight=False, soft_wrap=True)


def _notes(figures: Figures) -> list[str]:
    """What does not fit into the table, one line each."""
    notes = []
    if figures.get("withheld"):
        notes.append(f"no figure, {figures['withheld']}")
    if split := figures.get("hallusion"):
        notes.append(", ".join(f"{key} {percent(value)}" for key, value in split.items()))
    for control, own in figures.get("controls", {}).items():
        notes.append(f"{control} {percent(own['headline'])} % ({interval(own['accuracy'])}), n = {own['n']}")
    sampled = figures.get("sampled") or {}
    named = [f"{key} {percent(value['value'])}" for key, value in sampled.items() if isinstance(value, dict)]
    if named:
        notes.append(f"{', '.join(named)} %, n = {sampled['n']}")
    if judged := figures.get("judge"):
        notes.append(f"judge and rules, {agreement_text(judged)}")
    return notes


def _published(benchmark: str) -> list[str]:
    """What others published of untrained models: is the harness right?"""
    spec = shipped_specs().get(benchmark)
    if spec is None or not spec.published:
        return []
    named = ", ".join(f"{model} {figure:.1f}" for model, figure in spec.published.items())
    return [f"published of untrained models: {named}; independent re-runs lie up to 5 points lower"]


def print_comparison(
    first: str, second: str, compared: Sequence[Compared], console: Console | None = None
) -> None:
    """Print the verdict on each benchmark, with what the difference is made of."""
    table = Table(title=f"{second} against {first}", title_justify="left")
    for column in ("benchmark", "n", "before", "after", "difference", "p, Holm", "verdict"):
        table.add_column(column, justify="left" if column in ("benchmark", "verdict") else "right")
    notes = []
    for one in compared:
        if one.paired is None or one.before is None or one.after is None or one.p_adjusted is None:
            table.add_row(one.benchmark, str(one.n), "", "", "", "", one.verdict)
            notes.append(f"{one.benchmark}: no figure, {one.withheld}")
            continue
        paired = one.paired
        table.add_row(
            one.benchmark, str(one.n), percent(one.before.value), percent(one.after.value),
            f"{signed(paired.difference)} [{signed(paired.low)}, {signed(paired.high)}]",
            "<0.001" if one.p_adjusted < 0.001 else f"{one.p_adjusted:.3f}", one.verdict,
        )  # fmt: skip
        notes.append(
            f"{one.benchmark}: {len(one.gained)} to right, {len(one.lost)} to wrong; "
            f"detectable {100 * paired.minimum_detectable:.1f} points"
        )
        if one.parts:
            notes.append(
                f"{one.benchmark}: of {signed(one.parts.total)} points {signed(one.parts.truncation)} come "
                f"from answers cut off, {signed(one.parts.format)} from unreadable ones, "
                f"{signed(one.parts.answers)} from the answers themselves"
            )
    for one in compared:
        notes += [f"{one.benchmark}: {count} rows not compared, {why}" for why, count in one.left_out.items()]
    console = console or Console()
    console.print(table)
    for line in notes:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def signed(value: float) -> str:
    """A difference in points, with its sign."""
    return f"{100 * value:+.1f}"


def agreement_text(judged: dict[str, Any]) -> str:
    """Agreement of judge and rules in words."""
    kappa = "not defined" if judged["kappa"] is None else f"{judged['kappa']:.2f}"
    return f"n = {judged['n']}: they agree on {percent(judged['agreement'])} %, kappa {kappa}"


def percent(value: float | None) -> str:
    """A share as percent with one decimal, or a dash."""
    return "-" if value is None else f"{100 * value:.1f}"


def interval(estimate: dict[str, Any] | None) -> str:
    """The interval of an estimate."""
    return "-" if estimate is None else f"{100 * estimate['low']:.1f} to {100 * estimate['high']:.1f}"


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
            _share(row[majority]),
            _share(row["blind"]),
            f"{100 * row['parse_rate']:.1f}",
            f"{row['mean_tokens']:.1f}",
            points_interval(paired) if paired else "",
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


def _share(estimate: dict[str, float] | None) -> str:
    return "" if estimate is None else f"{100 * estimate['value']:.1f}"
