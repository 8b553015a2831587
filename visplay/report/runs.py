"""Several runs as one self-contained HTML page: what differs in them, and what came of it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visplay.config.yaml_text import flat_config
from visplay.errors import EvaluationError, RunError
from visplay.evaluation.comparison import Side, compare_all, find_side
from visplay.evaluation.verdict import difference, estimate, is_synthetic, verdicts
from visplay.report.figures import iteration_name
from visplay.report.page import summed_up
from visplay.report.reading import RunData, read_run_data
from visplay.report.template import page, save_page

NOT_COMPARED = {"name", "output"}  # say where a run lies, not what it is
ABSENT = "not set"


def write_runs(path: Path, runs: Sequence[Path]) -> Path:
    """Write the page of several runs and return its path; missing folders are made.

    Raises:
        RunError: a folder is not a run's, one is named twice, or there are fewer than two.
        CorruptArtifact: a file in one of them cannot be read.
    """
    return save_page(path, render_runs(runs))


def render_runs(runs: Sequence[Path]) -> str:
    """The page as HTML; raises as `write_runs`."""
    if len({run.resolve() for run in runs}) < max(2, len(runs)):
        raise RunError(f"two or more different runs are needed to compare, got {', '.join(map(str, runs))}")
    read = dict(zip(run_names(runs), map(read_run_data, runs), strict=True))
    sides, missing = _last_samples(dict(zip(read, runs, strict=True)), read)
    benchmarks = list(
        dict.fromkeys(n for run in read.values() for own in run.evaluations.values() for n in own)
    )
    paired = compare_all(sides)
    return page(
        "runs.html",
        scripts=(),
        summed_up={name: " ".join(summed_up(run)) for name, run in read.items()},
        standings={name: _standings(read, name) for name in benchmarks},
        synthetic=[name for name in benchmarks if is_synthetic(name)],
        paired={name: [row for row in paired if row[2].benchmark == name] for name in benchmarks},
        missing=missing,
        differing=differing({name: run.config for name, run in read.items()}),
        specs={},
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
    kept = [{k: v for k, v in config.items() if k not in NOT_COMPARED} for config in configs.values()]
    flat = [{k: "null" if v is None else str(v) for k, v in flat_config(own).items()} for own in kept]
    keys = dict.fromkeys(key for own in flat for key in own)
    rows = {key: [own.get(key, ABSENT) for own in flat] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


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


def _standings(read: Mapping[str, RunData], benchmark: str) -> list[dict[str, str]]:
    """Each run on one benchmark, in words; `change` and `verdict` are of the last against its own base."""
    rows = []
    for name, run in read.items():
        known = {i: own[benchmark] for i, own in run.evaluations.items() if benchmark in own}
        if not known:
            rows.append(
                {"run": name, "base": "", "best": "", "last": "", "change": "not measured", "verdict": ""}
            )
            continue
        found = {i: f["accuracy"] for i, f in known.items() if f.get("accuracy")}
        best = max(found, key=lambda i: (found[i]["value"], -i), default=None)
        last = max(known)
        paired, verdict = known[last].get("paired"), verdicts(run.evaluations).get((last, benchmark))
        rows.append(
            {
                "run": name,
                "base": estimate(found.get(0)),
                "best": "" if best is None else f"{estimate(found[best])} {_at(best)}",
                "last": f"{estimate(found.get(last))} {_at(last)}",
                "change": f"{difference(paired)} points" if paired else known[last].get("withheld") or "",
                "verdict": verdict.word if verdict else "",
            }
        )
    return rows


def _at(iteration: int) -> str:
    return "base" if iteration == 0 else f"iteration {iteration}"
