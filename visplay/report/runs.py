"""Several runs as one self-contained HTML page: what differs in them, and what came of it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visplay.errors import EvaluationError, RunError
from visplay.evaluation.comparison import Side, compare_all, find_side
from visplay.evaluation.verdict import difference, estimate, finite, is_synthetic, share, verdicts
from visplay.report.figures import COLORS, Figure, by_iteration, iteration_name, with_interval
from visplay.report.page import summed_up
from visplay.report.reading import RunData, read_run_data
from visplay.report.template import page
from visplay.storage import write_text

DASHES = ("solid", "dot", "dash", "dashdot")  # of further runs when the colours are used up
APART = 0.04  # iterations that neighbouring runs are drawn apart, so that one interval doesn't hide another
NOT_COMPARED = {"name", "output"}  # say where a run lies, not what it is
ABSENT = "not set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One run on one benchmark in words; `change` and `verdict` are of the last against its own base."""

    run: str
    base: str
    best: str
    last: str
    change: str
    verdict: str


def write_runs(path: Path, runs: Sequence[Path]) -> Path:
    """Write the page of several runs and return its path; missing folders are made.

    Raises:
        RunError: a folder is not a run's, one is named twice, or there are fewer than two.
        CorruptArtifact: a file in one of them cannot be read.
    """
    html = render_runs(runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, html)
    return path


def render_runs(runs: Sequence[Path]) -> str:
    """The page as HTML; raises as `write_runs`."""
    if len({run.resolve() for run in runs}) < max(2, len(runs)):
        raise RunError(f"two or more different runs are needed to compare, got {', '.join(map(str, runs))}")
    read = dict(zip(run_names(runs), map(read_run_data, runs), strict=True))
    sides, missing = _last_samples(dict(zip(read, runs, strict=True)), read)
    benchmarks = list(
        dict.fromkeys(n for run in read.values() for own in run.evaluations.values() for n in own)
    )
    figures = {
        "accuracy": [_accuracy(read, name) for name in benchmarks],
        "labels": [figure for figure in _labels(read) if figure is not None],
    }
    paired = compare_all(sides)
    return page(
        "runs.html",
        scripts=("charts.js",),
        summed_up={name: " ".join(summed_up(run)) for name, run in read.items()},
        standings={name: _standings(read, name) for name in benchmarks},
        synthetic=[name for name in benchmarks if is_synthetic(name)],
        paired={name: [row for row in paired if row[2].benchmark == name] for name in benchmarks},
        missing=missing,
        differing=differing({name: run.config for name, run in read.items()}),
        figures=figures,
        specs={f"{part}-{i}": f.spec for part, some in figures.items() for i, f in enumerate(some)},
    )


def run_names(runs: Sequence[Path]) -> list[str]:
    """Names that tell runs apart: of their folders, or their paths below the folder that all share."""
    names = [run.resolve().name for run in runs]
    if len(set(names)) == len(names):
        return names
    shared = os.path.commonpath([run.resolve() for run in runs])
    return [run.resolve().relative_to(shared).as_posix() for run in runs]


def differing(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Key -> its value in each run, in the order of `configs`, of every key that is not the same in all."""
    flat = [_flat({k: v for k, v in config.items() if k not in NOT_COMPARED}) for config in configs.values()]
    keys = dict.fromkeys(key for own in flat for key in own)
    rows = {key: [own.get(key, ABSENT) for own in flat] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def _flat(config: Mapping[str, Any], start: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{start}{key}.")
        else:
            found[f"{start}{key}"] = "null" if value is None else str(value)
    return found


def _last_samples(
    folders: Mapping[str, Path], read: Mapping[str, RunData]
) -> tuple[list[Side], dict[str, str]]:
    """The samples of each run's last measured iteration, and why a run has none."""
    sides, missing = [], {}
    for name, run in read.items():
        if not run.evaluations:
            missing[name] = "nothing is measured yet"
            continue
        try:
            found = find_side(str(folders[name] / f"iteration-{run.last}" / "evaluation"))
        except EvaluationError:
            missing[name] = f"no samples of {_at(run.last)} are stored"
            continue
        sides.append(Side(name=f"{name}@{iteration_name(run.last)}", reads=found.reads))
    return sides, missing


def _standings(read: Mapping[str, RunData], benchmark: str) -> list[Standing]:
    rows = []
    for name, run in read.items():
        known = {i: own[benchmark] for i, own in run.evaluations.items() if benchmark in own}
        if not known:
            rows.append(Standing(run=name, base="", best="", last="", change="not measured", verdict=""))
            continue
        found = {i: f["accuracy"] for i, f in known.items() if f.get("accuracy")}
        best = max(found, key=lambda i: (found[i]["value"], -i), default=None)
        last = max(known)
        paired, verdict = known[last].get("paired"), verdicts(run.evaluations).get((last, benchmark))
        rows.append(
            Standing(
                run=name, base=estimate(found.get(0)),
                best="" if best is None else f"{estimate(found[best])} {_at(best)}",
                last=f"{estimate(found.get(last))} {_at(last)}",
                change=f"{difference(paired)} points" if paired else known[last].get("withheld") or "",
                verdict=verdict.word if verdict else "",
            )
        )  # fmt: skip
    return rows


def _at(iteration: int) -> str:
    return "base" if iteration == 0 else f"iteration {iteration}"


def _accuracy(read: Mapping[str, RunData], benchmark: str) -> Figure:
    series = {
        name: {
            i: own[benchmark]["accuracy"]
            for i, own in sorted(run.evaluations.items())
            if benchmark in own and own[benchmark].get("accuracy")
        }
        for name, run in read.items()
    }
    title = benchmark + (" (synthetic)" if is_synthetic(benchmark) else "")
    return _curves(title, "One greedy answer; bars are 95 % intervals.", "accuracy, %", series)


def _labels(read: Mapping[str, RunData]) -> list[Figure | None]:
    """Silver accuracy of the kept, then answerable, distinct and kept as shares; None where no run has it."""

    def shares(part: str, whole: str) -> dict[str, dict[int, dict[str, float]]]:
        return {name: {i: point for i, c in run.curations.items() if (point := _share(c, part, whole))}
                for name, run in read.items()}  # fmt: skip

    true = {
        name: {
            i: kept
            for i, c in run.curations.items()
            if (kept := (c.get("silver_accuracy") or {}).get("kept"))
        }
        for name, run in read.items()
    }
    count = "A count, so without interval."
    return [
        _curves(title, note, y_title, series) if any(series.values()) else None
        for title, note, y_title, series in (
            ("Silver answers that are true, kept for training", "Bars are 95 % intervals.", "true, %", true),
            ("Answerable", count, "of the well-formed, %", shares("answerable", "valid")),
            ("Distinct", count, "of the well-formed, %", shares("distinct", "valid")),
            ("Kept", count, "of the questions, %", shares("kept", "questions")),
        )
    ]  # fmt: skip


def _share(labels: Mapping[str, Any], part: str, whole: str) -> dict[str, float] | None:
    some, all_ = finite(labels.get(part)), finite(labels.get(whole))
    return None if some is None or not all_ else dict.fromkeys(("value", "low", "high"), some / all_)


def _curves(title: str, note: str, y_title: str, series: Mapping[str, Mapping[int, Any]]) -> Figure:
    """A line for each run, in the run's own colour on every chart."""
    iterations = sorted({i for points in series.values() for i in points})
    data = []
    for number, (name, points) in enumerate(series.items()):
        if not points:
            continue
        line = with_interval(dict(points), name, color=COLORS[number % len(COLORS)])
        apart = APART * (number - (len(series) - 1) / 2)
        line["x"] = [i + apart for i in points]
        line["line"]["dash"] = DASHES[number // len(COLORS) % len(DASHES)]
        data.append(line)
    layout = by_iteration(y_title)
    layout["xaxis"] |= {
        "type": "linear", "tickvals": iterations, "ticktext": [iteration_name(i) for i in iterations],
        "range": [min(iterations, default=0) - 0.3, max(iterations, default=0) + 0.3], "zeroline": False,
    }  # fmt: skip
    bare = all(p["low"] == p["high"] for points in series.values() for p in points.values())

    def worded(point: Mapping[str, float]) -> str:
        return share(point["value"]) if bare else estimate(point)

    return Figure(
        title=title, note=note, spec={"data": data, "layout": layout},
        columns=("iteration", *series),
        rows=[
            (iteration_name(i), *(worded(points[i]) if i in points else "" for points in series.values()))
            for i in iterations
        ],
    )  # fmt: skip
