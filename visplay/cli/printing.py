"""Tables in the terminal, 80 columns wide: evaluations, comparisons, a run, and the list of runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rewards import Question
from visplay.config.loading import read_config
from visplay.errors import RunError, VisplayError
from visplay.evaluation.comparison import Compared
from visplay.evaluation.metrics import Figures
from visplay.evaluation.verdict import (
    blind,
    difference,
    estimate,
    headline,
    is_synthetic,
    majority,
    points,
    quantity,
    share,
    sum_up,
    verdicts,
)
from visplay.loop.alarms import is_finished
from visplay.runs.results import health_rows, read_curations, read_summaries
from visplay.runs.run import Run, require_format
from visplay.storage import read_jsonl

if TYPE_CHECKING:  # it loads torch, which most of these commands need not
    from visplay.loop.asking import Asked


def print_figures(name: str, summary: Mapping[str, Figures], console: Console | None = None) -> None:
    """Print one line for each benchmark, and below the table what else is known; withheld figures say why."""
    console = console or Console()
    console.print(_figures_table(name, "benchmark", summary))
    notes = [(b, line) for b, figures in summary.items() for line in _notes(figures)]
    _print_lines((f"{benchmark}: {line}" for benchmark, line in notes), console)


def print_result(run: Path, console: Console | None = None) -> None:
    """Print figures by benchmark and iteration, label quality where it is known, and the run in a few words.

    Raises:
        CorruptArtifact: its configuration cannot be read.
    """
    console = console or Console()
    summaries, curations = read_summaries(run), read_curations(run)
    for name in summaries[min(summaries)] if summaries else ():
        measured = {
            "base" if i == 0 else str(i): summary[name] for i, summary in summaries.items() if name in summary
        }
        title = name + (" (synthetic)" if is_synthetic(name) else "")
        console.print(_figures_table(title, "iteration", measured))
        _print_lines(_against_base(name, summaries), console)
    if curations:
        console.print(_label_table(curations))
    config = read_config(run / "config.yaml") if (run / "config.yaml").is_file() else {}
    health = health_rows(read_jsonl(run / "metrics.jsonl"))
    console.print(
        *sum_up(summaries, curations=curations, health=health, config=config), markup=False, highlight=False
    )


def _figures_table(title: str, first: str, rows: Mapping[str, Figures]) -> Table:
    """One line per benchmark; a figure of fewer questions than the accuracy gives their number."""
    voted = dict.fromkeys(name for own in rows.values() for name, found in [majority(own)] if found)
    table = plain_table(
        title, first, "n", "accuracy", " ".join(voted) or "maj@k", "blind", "parsed", "cut off"
    )
    for name, own in rows.items():
        table.add_row(
            name, str(own.get("n", "")), headline(own), _of_fewer(majority(own)[1], own),
            _of_fewer(blind(own), own), share(own.get("parse_rate")), share(own.get("truncation_rate")),
        )  # fmt: skip
    return table


def plain_table(title: str, *columns: str, left: Sequence[str] = ()) -> Table:
    """A table whose first column, and those of `left`, are flush left."""
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 or column in left else "right", no_wrap=True)
    return table


def _of_fewer(found: dict[str, Any] | None, figures: Figures) -> str:
    if found is None:
        return ""
    return share(found["value"]) + (f"\nof {found['n']}" if found["n"] != figures["n"] else "")


def _against_base(name: str, summaries: Mapping[int, Mapping[str, Figures]]) -> Iterator[str]:
    found = verdicts(summaries)
    for i, figures in ((i, own[name]) for i, own in summaries.items() if name in own):
        if figures.get("withheld"):
            yield f"{i or 'base'}: no figure, {figures['withheld']}"
        elif verdict := found.get((i, name)):
            yield f"{i}: {verdict.word}, {difference(figures['paired'])} points to the base"


def _notes(figures: Figures) -> list[str]:
    """What does not fit into the table, one line each."""
    notes = [f"no figure, {figures['withheld']}"] if figures.get("withheld") else []
    if figures.get("majority_class") is not None:
        notes.append(f"the most frequent right answer alone {share(figures['majority_class'])}")
    if split := figures.get("hallusion"):
        notes.append(", ".join(f"{key} {share(value)}" for key, value in split.items()))
    if grey := figures.get("blind"):
        notes.append(f"blind {headline(grey)}, n = {grey['n']}")
    sampled = figures.get("sampled") or {}
    named = [f"{key} {share(value['value'])}" for key, value in sampled.items() if isinstance(value, dict)]
    if named:
        notes.append(f"{', '.join(named)}, n = {sampled['n']}")
    return notes


def print_comparison(
    first: str, second: str, compared: Sequence[Compared], console: Console | None = None
) -> None:
    """Print the verdict on each benchmark, with what the difference is made of."""
    columns = ("benchmark", "n", "before", "after", "difference", "p, Holm", "verdict")
    table = plain_table(f"{second} against {first}", *columns, left=("verdict",))
    notes = []
    for one in compared:
        if one.paired is None or one.before is None or one.after is None or one.verdict is None:
            table.add_row(one.benchmark, str(one.n), "", "", "", "", "can't tell")
            notes.append(f"{one.benchmark}: no figure, {one.withheld}")
            continue
        table.add_row(
            one.benchmark, str(one.n), share(one.before.value), share(one.after.value),
            difference(one.paired), "<0.001" if one.verdict.p < 0.001 else f"{one.verdict.p:.3f}",
            one.verdict.word,
        )  # fmt: skip
        notes.append(
            f"{one.benchmark}: {len(one.gained)} to right, {len(one.lost)} to wrong; "
            f"detectable {points(one.paired.minimum_detectable).lstrip('+')} points"
        )
        if one.parts:
            notes.append(
                f"{one.benchmark}: of {points(one.parts.total)} points {points(one.parts.truncation)} come "
                f"from answers cut off, {points(one.parts.format)} from unreadable ones, "
                f"{points(one.parts.answers)} from the answers themselves"
            )
    for one in compared:
        notes += [f"{one.benchmark}: {count} rows not compared, {why}" for why, count in one.left_out.items()]
    console = console or Console()
    console.print(table)
    _print_lines(notes, console)


def _label_table(curations: Mapping[int, Mapping[str, Any]]) -> Table:
    columns = ("iteration", "valid", "answerable", "distinct", "kept", "kept, true", "rejected,\ntrue")
    table = plain_table("silver labels", *columns)
    for iteration, health in curations.items():
        silver, answerable = health["silver_accuracy"] or {}, health["answerable"]
        table.add_row(
            str(iteration),
            share(health["valid"] / max(1, health["questions"])),
            share(None if answerable is None else answerable / max(1, health["valid"])),
            quantity(health["distinct"]), quantity(health["kept"]),
            estimate(silver.get("kept")), share((silver.get("rejected") or {}).get("value")),
        )  # fmt: skip
    return table


def _print_lines(lines: Iterable[str], console: Console) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_asked(rows: list["Asked"], console: Console | None = None) -> None:
    """Print questions and votes; what a model wrote can neither style nor steer the terminal."""
    shown = Table(show_lines=True)
    for column in ("type", "question", "votes", "silver answer", "c", "for training"):
        shown.add_column(column, overflow="fold")
    for row in rows:
        vote = row.vote
        votes = [f"{round(share * vote.samples)} x {answer}" for answer, share in vote.shares] if vote else []
        question = row.question
        cells = [
            question.type if isinstance(question, Question) else "",
            question.question if isinstance(question, Question) else question.reason,
            "\n".join(votes), vote.answer or "" if vote else "", f"{vote.confidence if vote else 0.0:.2f}",
            row.reject or "kept",
        ]  # fmt: skip
        shown.add_row(*(Text(_printable(cell)) for cell in cells))
    (console or Console()).print(shown)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def print_runs(folder: Path, console: Console | None = None) -> None:
    """Print one line per run below `folder`, newest first.

    Raises:
        RunError: the folder holds no run.
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
    _print_lines(unreadable, console)


def _state(run: Run) -> tuple[str, str, str, str]:
    """State and current step, finished iterations, accuracy before and after, and the benchmark."""
    folder = run.folder
    require_format(folder)
    steps = [entry["step"] for entry in run.journal()]
    config = read_config(folder / "config.yaml")
    planned = int(config["iterations"])
    done = sum(1 for step in steps if step.endswith("/health"))
    state = "running" if run.is_open() else "finished" if is_finished(folder, config, steps) else "stopped"
    if state != "finished" and steps:
        state += f", {steps[-1].rpartition('/')[2]}"
    return state, f"{done}/{planned}", *_accuracy(folder)


def _accuracy(folder: Path) -> tuple[str, str]:
    """Greedy accuracy of the base and of the last iteration on the first benchmark, and its id."""
    summaries = read_summaries(folder)
    if not summaries:
        return "", ""
    first, last = (next(iter(summaries[i].items())) for i in (min(summaries), max(summaries)))
    before, after = ((figures.get("accuracy") or {}).get("value") for _, figures in (first, last))
    return f"{share(before)} to {share(after)}", first[0]


def _changed(folder: Path) -> float:
    journal = folder / "journal.jsonl"
    return (journal if journal.exists() else folder).stat().st_mtime
