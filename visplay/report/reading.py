"""Read from a run folder what a report shows; everything except the configuration may be missing."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from visplay.errors import CorruptArtifact, RunError
from visplay.runs.results import by_iteration, health_rows, read_curations, read_summaries
from visplay.runs.run import UNFINISHED, require_format
from visplay.storage import PARTIAL, read_jsonl, read_part

MOST_ROLLOUTS = 20_000  # questions and attempts in a page


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """A step of a run that is not finished: it is running, or the run was stopped in it.

    Attributes:
        iteration: the iteration of the step.
        phase: "questioner", "curation", "reasoner", "evaluation", ...
        done: finished optimizer steps, or pictures in curation; None where they are not counted.
        planned: their planned number; None where the configuration doesn't set it.
        metrics: one row for each finished optimizer step.
        seconds_left: the expected time until it is finished; None where it is unknown.
        tokens_per_second: tokens of training completions by the clock; None where they are unknown.
        records: the rollouts or candidates of the step so far.
    """

    iteration: int
    phase: str
    done: int | None
    planned: int | None
    metrics: list[dict[str, Any]]
    seconds_left: float | None
    tokens_per_second: float | None
    records: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """The content of a run folder, finished or not.

    Attributes:
        name: the name of the run folder.
        config: the resolved configuration, plain data.
        config_text: the text of the configuration file.
        metrics: rows of `metrics.jsonl`, then those of the steps in progress.
        evaluations: iteration -> benchmark -> figures; iteration 0 is the base.
        curations: iteration -> figures of the labels.
        asked: iteration -> rows of the Questioner phase's `rollouts.parquet`.
        candidates: iteration -> rows of `candidates.parquet`.
        left_out: number of rows of these files that exceed the limit of a page and were not read.
        answers: iteration -> rows of the Reasoner phase's `rollouts.parquet`.
        sources: a picture's key -> its name in the source.
        alarms: iteration -> messages of the alarms that it raised.
        changes: settings that were changed when the run was resumed, rows of `changes.jsonl`.
        underway: steps that are not finished; the rows above include theirs.
    """

    name: str
    config: dict[str, Any]
    config_text: str
    metrics: list[dict[str, Any]]
    evaluations: dict[int, dict[str, Any]]
    curations: dict[int, dict[str, Any]]
    asked: dict[int, list[dict[str, Any]]]
    candidates: dict[int, list[dict[str, Any]]]
    left_out: int
    answers: dict[int, list[dict[str, Any]]]
    sources: dict[str, str]
    alarms: dict[int, list[str]]
    changes: list[dict[str, Any]]
    underway: list[Underway]

    @property
    def planned(self) -> int:
        """Number of iterations in the configuration."""
        return int(self.config.get("iterations") or 0)

    @property
    def last(self) -> int:
        """The last iteration that was measured; 0 if only the base or nothing was measured."""
        return max(self.evaluations, default=0)

    @property
    def health(self) -> dict[int, dict[str, Any]]:
        """Iteration -> its health figures."""
        return health_rows(self.metrics)

    @property
    def has_truth(self) -> bool:
        """Whether the pictures are synthetic ones whose true answers are known."""
        return any(figures.get("answerable") is not None for figures in self.curations.values())


def read_run_data(folder: Path) -> RunData:
    """Read the results of a run so far.

    Raises:
        RunError: the folder is not a run's.
        RunMismatch: the run was written by an earlier version.
        CorruptArtifact: one of its files cannot be read.
    """
    if not (folder / "config.yaml").is_file():
        raise RunError(f"{folder} holds no config.yaml, so it is not a run's folder; give runs/NAME")
    require_format(folder)
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        config = yaml.safe_load(text) or {}
        manifest = _columns(folder / "manifest.parquet", "key", "source")
        underway = list(_underway(folder, config, pictures=len(manifest)))
        asked, more = _phase_rows(folder, "questioner", "rollouts.parquet", underway)
        candidates, more_candidates = _phase_rows(folder, "curation", "candidates.parquet", underway)
        answers, more_answers = _phase_rows(folder, "reasoner", "rollouts.parquet", underway)
        return RunData(
            name=folder.resolve().name,
            config=config,
            config_text=text,
            metrics=read_jsonl(folder / "metrics.jsonl") + [row for step in underway for row in step.metrics],
            evaluations=read_summaries(folder),
            curations=read_curations(folder),
            asked=asked,
            candidates=candidates,
            left_out=more + more_candidates + more_answers,
            answers=answers,
            sources={row["key"]: row["source"] for row in manifest},
            alarms={
                iteration: json.loads(path.read_text(encoding="utf-8"))["alarms"]
                for iteration, path in by_iteration(folder, "health/alarms.json")
            },
            changes=read_jsonl(folder / "changes.jsonl"),
            underway=underway,
        )
    except (ValueError, OSError, KeyError, yaml.YAMLError) as error:  # pyarrow's errors are ValueErrors
        raise CorruptArtifact(f"{folder} holds a file that cannot be read: {error}") from error


def _underway(folder: Path, config: dict[str, Any], *, pictures: int) -> Iterator[Underway]:
    """Read the scratch folders: `step-K.json` of a training phase, `pictures-*.json` of a curation."""
    for iteration, scratch in by_iteration(folder, f"*{PARTIAL}/{UNFINISHED}"):
        phase = scratch.parent.name.removesuffix(PARTIAL)
        if (scratch.parents[1] / phase).exists():
            continue  # it is finished, but the journal does not list it yet
        settings = config.get(phase) or {}
        steps = _parts(scratch, "step-*.json")
        records = [row for step in steps for row in step["records"]]
        planned, done = settings.get("steps"), len(steps) or None
        if phase == "curation":
            rows = [row for part in _parts(scratch, "pictures-*.json") for row in part]
            records = [row | {"kept": not row["reject_reason"]} for row in rows]
            planned = min(settings.get("images") or pictures, pictures)
            planned = planned if settings.get("margin", "all") == "all" else None  # it stops early
            done = len({row["image_key"] for row in rows}) or None
        pattern = "pictures-*.json" if phase == "curation" else "step-*.json"
        written = sorted(path.stat().st_mtime for path in scratch.glob(pattern))
        took = float(np.median(np.diff(written))) if len(written) > 1 else 0.0  # a pause is one gap
        made = [step["metrics"].get("completions/mean_length", 0) * len(step["records"]) for step in steps]
        yield Underway(
            iteration=iteration, phase=phase, done=done, planned=planned, records=records,
            seconds_left=took * len(written) * (planned - done) / done if took and planned and done else None,
            tokens_per_second=sum(made) / len(made) / took if took and sum(made) else None,
            metrics=[{"iteration": iteration, "phase": phase} | step["metrics"] for step in steps],
        )  # fmt: skip


def _phase_rows(
    folder: Path, phase: str, name: str, underway: list[Underway]
) -> tuple[dict[int, list[dict[str, Any]]], int]:
    """A phase's rows by iteration, finished or in progress, and the number of rows that were not read."""
    rows, more = {}, 0
    for iteration, path in by_iteration(folder, f"{phase}/{name}"):
        rows[iteration], left_out = drawn_rows(path)
        more += left_out
    rows |= {step.iteration: step.records for step in underway if step.phase == phase and step.records}
    return rows, more


def drawn_rows(path: Path, *, most: int = MOST_ROLLOUTS) -> tuple[list[dict[str, Any]], int]:
    """Read the first `most` rows of each outcome, ordered by picture key, and count the others.

    This bounds the size of a page. Texts are read one row group at a time. Only the columns that define
    outcomes are held for all rows.
    """
    file = pq.ParquetFile(path)
    if file.metadata.num_rows <= most:
        rows: list[dict[str, Any]] = file.read().to_pylist()
        return rows, 0
    outcomes: dict[tuple[Any, ...], list[tuple[str, int]]] = {}
    for number, row in enumerate(_columns(path, "image_key", "kept", "reject_reason")):
        outcome = row.get("kept"), row.get("reject_reason")
        outcomes.setdefault(outcome, []).append((row["image_key"], number))
    chosen = np.array(sorted(number for found in outcomes.values() for _, number in sorted(found)[:most]))
    rows, start = [], 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        wanted = chosen[(chosen >= start) & (chosen < start + count)] - start
        if len(wanted):
            rows += file.read_row_group(group).take(wanted).to_pylist()
        start += count
    return rows, start - len(rows)


def _columns(path: Path, *names: str) -> list[dict[str, Any]]:
    """These columns of all rows; an empty list if the file does not exist."""
    if not path.is_file():
        return []
    file = pq.ParquetFile(path)
    rows: list[dict[str, Any]] = file.read([n for n in names if n in file.schema_arrow.names]).to_pylist()
    return rows


def _parts(folder: Path, pattern: str) -> list[Any]:
    """The contents of the numbered checkpoint parts in order, without damaged ones, which the run redoes."""
    numbered = sorted(folder.glob(pattern), key=lambda path: int(path.stem.split("-")[-1]))
    return [part for path in numbered if (part := read_part(path)) is not None]
