"""An evaluation's figures in the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from visplay.evaluation.figures import Figures


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
        for line in _notes(figures):
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
