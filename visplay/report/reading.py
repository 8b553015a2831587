"""What a report reads from a run folder; everything but the configuration may be missing."""

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
    """A step of a run that has begun and is not finished: it goes on now, or was stopped there.

    Attributes:
        iteration: of the step.
        phase: "questioner", "curation", "reasoner", "evaluation", ...
        done: how many optimizer steps, or pictures in curation, are finished; None where that is not kept.
        planned: of how many, or None where the configuration doesn't say.
        metrics: one row for each finished optimizer step.
        records: the rollouts or candidates so far.
    """

    iteration: int
    phase: str
    done: int | None
    planned: int | None
    metrics: list[dict[str, Any]]
    records: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """A run as it can be told so far.

    Attributes:
        name: of the run folder.
        config: the resolved configuration, plain data.
        config_text: the same as it stands in the file.
        metrics: rows of `metrics.jsonl`, then those of the optimizer steps under way.
        evaluations: iteration -> benchmark -> figures; iteration 0 is the base.
        curations: iteration -> figures of the labels.
        asked: iteration -> rows of the Questioner phase's `rollouts.parquet`.
        candidates: iteration -> rows of `candidates.parquet`.
        left_out: rows of these files that are not among the above, for there is no room for them in a page.
        answers: iteration -> rows of the Reasoner phase's `rollouts.parquet`.
        sources: picture's key -> its name in the source.
        alarms: iteration -> the alarms it raised, in words.
        changes: what was changed when the run was resumed, rows of `changes.jsonl`.
        underway: steps that are not finished; what they hold so far is in the rows above, too.
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
        """How many iterations the configuration asks for."""
        return int(self.config.get("iterations") or 0)

    @property
    def last(self) -> int:
        """The last iteration that was measured; 0 where only the base was, or nothing."""
        return max(self.evaluations, default=0)

    @property
    def health(self) -> dict[int, dict[str, Any]]:
        """Iteration -> what was watched of it."""
        return health_rows(self.metrics)

    @property
    def has_truth(self) -> bool:
        """Whether the pictures are synthetic ones whose true answers are known."""
        return any(figures.get("answerable") is not None for figures in self.curations.values())


def read_run_data(folder: Path) -> RunData:
    """Read what a run has left so far.

    Raises:
        RunError: the folder is not a run's.
        RunMismatch: it is an earlier version's.
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
    """What the scratch folders hold: `step-K.json` of a training phase, `pictures-*.json` of a curation."""
    for iteration, scratch in by_iteration(folder, f"*{PARTIAL}/{UNFINISHED}"):
        phase = scratch.parent.name.removesuffix(PARTIAL)
        if (scratch.parents[1] / phase).exists():
            continue  # finished, and not yet noted in the journal
        settings = config.get(phase) or {}
        steps = _parts(scratch, "step-*.json")
        records = [row for step in steps for row in step["records"]]
        planned, done = settings.get("steps"), len(steps) or None
        if phase == "curation":
            rows = [row for part in _parts(scratch, "pictures-*.json") for row in part]
            records = [row | {"kept": not row["reject_reason"]} for row in rows]
            planned = min(settings.get("images") or pictures, pictures)
            planned = planned if settings.get("margin", "all") == "all" else None  # it stops before
            done = len({row["image_key"] for row in rows}) or None
        yield Underway(
            iteration=iteration, phase=phase, done=done, planned=planned, records=records,
            metrics=[{"iteration": iteration, "phase": phase} | step["metrics"] for step in steps],
        )  # fmt: skip


def _phase_rows(
    folder: Path, phase: str, name: str, underway: list[Underway]
) -> tuple[dict[int, list[dict[str, Any]]], int]:
    """A phase's rows by iteration, finished or under way, and how many more there are."""
    rows, more = {}, 0
    for iteration, path in by_iteration(folder, f"{phase}/{name}"):
        rows[iteration], left_out = drawn_rows(path)
        more += left_out
    rows |= {step.iteration: step.records for step in underway if step.phase == phase and step.records}
    return rows, more


def drawn_rows(path: Path, *, most: int = MOST_ROLLOUTS) -> tuple[list[dict[str, Any]], int]:
    """Of each outcome the first `most` rows by the pictures' keys, and how many there are besides.

    A page has room for no others. Texts are read a row group at a time; of all rows only the columns that
    tell outcomes are held.
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
    """All rows, of these columns only; none where there is no such file."""
    if not path.is_file():
        return []
    file = pq.ParquetFile(path)
    rows: list[dict[str, Any]] = file.read([n for n in names if n in file.schema_arrow.names]).to_pylist()
    return rows


def _parts(folder: Path, pattern: str) -> list[Any]:
    """What the numbered checkpoint parts hold, in order; a damaged one is left out: the run does it again."""
    numbered = sorted(folder.glob(pattern), key=lambda path: int(path.stem.split("-")[-1]))
    return [part for path in numbered if (part := read_part(path)) is not None]
