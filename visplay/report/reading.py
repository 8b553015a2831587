"""What a report reads from a run folder; everything but the configuration may be missing."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from visplay.errors import CorruptArtifact, RunError
from visplay.evaluation.table import read_summaries
from visplay.storage import read_jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A run as it can be told so far.

    Attributes:
        name: of the run folder.
        config: the resolved configuration, plain data.
        config_text: the same as it stands in the file.
        metrics: rows of `metrics.jsonl`.
        evaluations: iteration -> benchmark -> figures; iteration 0 is the base.
        curations: iteration -> figures of the labels.
        candidates: iteration -> rows of `candidates.parquet`.
        answers: iteration -> rows of the Reasoner phase's `rollouts.parquet`.
        sources: picture's key -> its name in the source.
        alarms: iteration -> the alarms it raised, in words.
    """

    name: str
    config: dict[str, Any]
    config_text: str
    metrics: list[dict[str, Any]]
    evaluations: dict[int, dict[str, Any]]
    curations: dict[int, dict[str, Any]]
    candidates: dict[int, list[dict[str, Any]]]
    answers: dict[int, list[dict[str, Any]]]
    sources: dict[str, str]
    alarms: dict[int, list[str]]

    @property
    def planned(self) -> int:
        """How many iterations the configuration asks for."""
        return int(self.config.get("iterations") or 0)

    @property
    def last(self) -> int:
        """The last iteration that was measured; 0 where only the base was, or nothing."""
        return max(self.evaluations, default=0)

    @property
    def has_truth(self) -> bool:
        """Whether the pictures are synthetic ones whose true answers are known."""
        return any(figures.get("answerable") is not None for figures in self.curations.values())


def read_story(folder: Path) -> Story:
    """Read what a run has left so far.

    Raises:
        RunError: the folder is not a run's.
        CorruptArtifact: one of its files cannot be read.
    """
    if not (folder / "config.yaml").is_file():
        raise RunError(f"{folder} holds no config.yaml, so it is not a run's folder; give runs/NAME")
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        manifest = _rows(folder / "manifest.parquet", columns=["key", "source"])
        return Story(
            name=folder.resolve().name,
            config=yaml.safe_load(text) or {},
            config_text=text,
            metrics=read_jsonl(folder / "metrics.jsonl"),
            evaluations=read_summaries(folder),
            curations={
                iteration: json.loads(path.read_text(encoding="utf-8"))
                for iteration, path in _by_iteration(folder, "curation/summary.json")
            },
            candidates={i: _rows(path) for i, path in _by_iteration(folder, "curation/candidates.parquet")},
            answers={i: _rows(path) for i, path in _by_iteration(folder, "reasoner/rollouts.parquet")},
            sources={row["key"]: row["source"] for row in manifest},
            alarms={
                iteration: json.loads(path.read_text(encoding="utf-8"))["alarms"]
                for iteration, path in _by_iteration(folder, "health/alarms.json")
            },
        )
    except (ValueError, OSError, KeyError, yaml.YAMLError) as error:  # pyarrow's errors are ValueErrors
        raise CorruptArtifact(f"{folder} holds a file that cannot be read: {error}") from error


def _by_iteration(folder: Path, name: str) -> list[tuple[int, Path]]:
    """The files of that name in the folders of finished steps, by iteration."""
    found = [
        (int(path.relative_to(folder).parts[0].removeprefix("iteration-")), path)
        for path in folder.glob(f"iteration-*/{name}")
    ]
    return sorted(found)


def _rows(path: Path, *, columns: list[str] | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist() if path.is_file() else []
    return rows
