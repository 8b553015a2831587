"""The tables and the chart of `benchmarks.gate`: what its runs have left, read again."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow.parquet as pq

from benchmarks.charts import Curve, draw
from benchmarks.pocket_vlm.wide import KNOWN
from visplay.evaluation.comparison import compare_samples
from visplay.evaluation.records import Record, read_records
from visplay.evaluation.verdict import difference, estimate
from visplay.pocket.oracle import RUNGS, parse_query
from visplay.runs.results import read_curations, read_summaries

Figure = Callable[[dict[str, Any]], float]
CURATED: dict[str, Figure] = {
    "silver answers kept, % right": lambda s: s["silver_accuracy"]["kept"]["value"],
    "answerable, % of the valid questions": lambda s: s["answerable"] / s["valid"],
    "different questions, % of the valid": lambda s: s["distinct"] / s["valid"],
    "kept, % of the valid questions": lambda s: s["kept"] / s["valid"],
    "judge: answerable, % of what it let pass": lambda s: s["judge"]["precision"]["value"],
    "judge: let pass, % of what is answerable": lambda s: s["judge"]["recall"]["value"],
}
DRAWN = 6  # charts


def curves(run: Path) -> dict[str, Curve]:
    """Each figure by iteration."""
    summaries = read_summaries(run)
    played = _played(run)
    found: dict[str, Curve] = {
        f"{name}, % right": {i: s[name]["accuracy"]["value"] for i, s in summaries.items()}
        for name in summaries[0]
    }
    for title, figure in CURATED.items():
        judged = not title.startswith("judge")
        found[title] = {
            i: figure(summary) for i, summary in read_curations(run).items() if judged or summary.get("judge")
        }
    for i in read_curations(run):
        for title, value in _contents(run, i).items():
            found.setdefault(title, {})[i] = value
    for rung in summaries[0][played]["groups"].get("rung", {}):
        found[f"{played}, rung {rung}, % right"] = {
            i: s[played]["groups"]["rung"][rung]["value"] for i, s in summaries.items()
        }
    return found


def _contents(run: Path, iteration: int) -> dict[str, float]:
    """Of the valid questions of a curation and of those kept: confidence, and the share of each rung."""
    path = run / f"iteration-{iteration}/curation/candidates.parquet"
    rows = pq.read_table(path, columns=["question", "confidence", "valid", "kept"]).to_pylist()
    found = {}
    for name in ("valid", "kept"):
        chosen = [row for row in rows if row[name]]
        if voted := [row["confidence"] for row in chosen if row["confidence"] is not None]:
            found[f"confidence of the {name} questions, mean, %"] = mean(voted)
        queries = [parse_query(row["question"]) for row in chosen]
        kinds = [query.kind for query in queries if query]
        rungs = [RUNGS[kind] for kind in kinds if kind in RUNGS]
        for rung in sorted(set(RUNGS.values())) if len(rungs) == len(kinds) and queries else ():
            found[f"of rung {rung}, % of the {name} questions"] = rungs.count(rung) / len(queries)
        if queries:
            found[f"outside the grammar, % of the {name} questions"] = 1 - len(kinds) / len(queries)
            known = sum(kind in KNOWN for kind in kinds)
            found[f"of the wide world's known kinds, % of the {name} questions"] = known / len(queries)
    return found


def _played(run: Path) -> str:
    """The benchmark of the scenes that were played on."""
    return next(iter(read_summaries(run)[0]))


def print_curves(runs: dict[str, list[Path]]) -> None:
    """A table of each figure: arms by iterations, mean over seeds, each seed at 1, 5 and the end."""
    found = {arm: [curves(run) for run in folders] for arm, folders in runs.items()}
    for title in next(iter(found.values()))[0]:
        known = [i for each in found.values() for one in each for i in one.get(title, ())]
        if not known:
            continue
        first, last = min(known), max(known)
        print(f"\n{title}\n| arm (seeds) | " + " | ".join(map(str, range(first, last + 1))) + " |")
        print("|---" * (last - first + 2) + "|")
        for arm, each in found.items():
            cells = []
            for i in range(first, last + 1):
                values = [100 * one[title][i] for one in each if i in one.get(title, ())]
                shown = f"{mean(values):.1f}" if values else ""
                if i in (1, 5, last) and len(values) > 1:
                    shown += f" ({', '.join(f'{value:.1f}' for value in values)})"
                cells.append(shown)
            print(f"| {arm} ({len(each)}) | " + " | ".join(cells) + " |")


def print_ends(runs: dict[str, list[Path]]) -> None:
    """Of each run the best iteration and the last, and the paired difference between them."""
    print("\n| run | best on development scenes | last | from best to last |\n|---|---|---|---|")
    for run in (run for folders in runs.values() for run in folders):
        summaries, played = read_summaries(run), _played(run)
        best, last = _best(run), max(summaries)
        ends = [f"{i}: {estimate(summaries[i][played]['accuracy'])}" for i in (best, last)]
        sides = [run / f"iteration-{i}/evaluation/{played}/greedy.jsonl" for i in (best, last)]
        print(f"| {run.name} | {ends[0]} | {ends[1]} | {_between(*map(read_records, sides))} |")


def print_steps(runs: dict[str, list[Path]]) -> None:
    """Of each run the paired difference of each iteration to the one before it."""
    rows = []
    for run in (run for folders in runs.values() for run in folders):
        records = _greedy(run)
        steps = [_between(records[i - 1], records[i]) for i in records if i - 1 in records]
        rows.append(f"| {run.name} | " + " | ".join(steps) + " |")
    print("\nto the iteration before, points\n", *rows, sep="\n")


def print_against(runs: dict[str, list[Path]], other: str, *, output: Path) -> None:
    """Paired differences of each arm to another, by iteration: seed by seed, and over the seeds of both.

    On development scenes, then on held-out ones where both were asked. The interval over seeds takes the
    answers of all seeds to a question as one cluster, so it is about other questions and not other seeds.
    """
    _print_against(runs, other, _greedy, "development scenes")
    _print_against(
        runs, other,
        lambda run: {i: records for i, _, records in _held_out(run, output, _played(run))}, "held-out scenes",
    )  # fmt: skip


def _print_against(
    runs: dict[str, list[Path]], other: str, answers: Callable[[Path], dict[int, list[Record]]], scenes: str
) -> None:
    theirs = {_seed(run): answers(run) for run in runs[other]}
    print(f"\ndifference to {other}, {scenes}, points")
    for arm, folders in runs.items():
        ours = {_seed(run): answers(run) for run in folders if arm != other}
        seeds = [seed for seed in ours if seed in theirs]
        for chosen in [[seed] for seed in seeds] + ([seeds] if len(seeds) > 1 else []):
            common = set.intersection(*({*ours[seed]} & {*theirs[seed]} for seed in chosen))
            cells = [
                f"{i}: {_between(_of_seeds(theirs, chosen, i), _of_seeds(ours, chosen, i))}"
                for i in sorted(common - {0})
            ]
            print(f"| {arm}, seeds {', '.join(chosen)} | " + " | ".join(cells) + " |")


def _seed(run: Path) -> str:
    return run.name.rsplit("-", 1)[1]


def _greedy(run: Path) -> dict[int, list[Record]]:
    """Each iteration's answers to the scenes that were played on."""
    played = _played(run)
    path = "iteration-{}/evaluation/{}/greedy.jsonl"
    return {i: list(read_records(run / path.format(i, played))) for i in read_summaries(run)}


def _of_seeds(found: dict[str, dict[int, list[Record]]], seeds: list[str], iteration: int) -> list[Record]:
    """The answers of several seeds; a question's are one cluster."""
    return [
        {**record, "item": f"{seed} {record['item']}"}
        for seed in seeds for record in found[seed][iteration]
    ]  # fmt: skip


def _best(run: Path) -> int:
    summaries, played = read_summaries(run), _played(run)
    return max(summaries, key=lambda i: (summaries[i][played]["accuracy"]["value"], -i))


def _between(before: list[Record], after: list[Record]) -> str:
    paired = compare_samples("", before, after).paired
    return difference(paired) if paired else ""


def ask_held_out(run: Path, *, every_iteration: bool, output: Path, questions: int) -> None:
    """Ask base, best by development and last iteration, or all, about held-out questions."""
    last = max(read_summaries(run))
    for iteration in range(last + 1) if every_iteration else sorted({0, _best(run), last}):
        folder = held_out_folder(run, iteration, output)
        if not (folder / "summary.json").is_file():
            subprocess.run(
                [sys.executable, "-m", "visplay", "evaluate", f"{run}@{iteration}",
                 "-b", ",".join(read_summaries(run)[0]), "--limit", str(questions), "--out", str(folder)],
                check=True,
            )  # fmt: skip


def held_out_folder(run: Path, iteration: int, output: Path) -> Path:
    """Where the held-out answers of an iteration lie; all runs share the base's."""
    return output / "held-out" / (f"{run.name}-{iteration}" if iteration else "base")


def _held_out(run: Path, output: Path, benchmark: str) -> Iterator[tuple[int, dict[str, Any], list[Record]]]:
    """What there is: iteration, figures, samples."""
    for iteration in read_summaries(run):
        folder = held_out_folder(run, iteration, output)
        if (folder / "summary.json").is_file():
            figures = json.loads((folder / "summary.json").read_text())["benchmarks"][benchmark]
            yield iteration, figures, list(read_records(folder / benchmark / "greedy.jsonl"))


def print_held_out(runs: list[Path], *, output: Path) -> None:
    """Accuracy on held-out scenes, and paired differences to the iteration before and to the base."""
    rows = []
    for run in runs:
        for benchmark in read_summaries(run)[0]:
            measured = list(_held_out(run, output, benchmark))
            for place, (iteration, figures, records) in enumerate(measured):
                before = _between(measured[place - 1][2], records) if place else ""
                base = _between(measured[0][2], records) if place else ""
                rungs = " ".join(
                    f"{100 * found['value']:.0f}" for found in figures["groups"].get("rung", {}).values()
                )
                rows.append(
                    f"| {run.name} | {benchmark} | {iteration} | {estimate(figures['accuracy'])} | {before} "
                    f"| {base} | {rungs} |"
                )
    if rows:
        print("\n| run | held-out | iteration | right | to the one before | to the base | by rung |")
        print("|---|---|---|---|---|---|---|", *rows, sep="\n")


def draw_curves(runs: dict[str, list[Path]], path: Path) -> None:
    """The first six figures."""
    found = {arm: [curves(run) for run in folders] for arm, folders in runs.items()}
    draw(found, list(next(iter(found.values()))[0])[:DRAWN], path)
