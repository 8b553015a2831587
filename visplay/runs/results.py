"""Read a run's results without its images, its model or any code that its configuration names."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from visplay.config.loading import Config, check_config, read_config
from visplay.errors import CorruptArtifact, RunError
from visplay.runs.run import Run, require_format


def run_config(run: Path) -> Config:
    """Read the configuration of a run.

    Raises:
        RunError: the folder is not a run's.
    """
    if not (run / "config.yaml").is_file():
        raise RunError(f"{run} holds no config.yaml, so it is not a run's folder; give runs/NAME")
    require_format(run)
    return check_config(read_config(run / "config.yaml"))


def run_steps(run: Path) -> list[str]:
    """The finished steps of a run, oldest first."""
    return [entry["step"] for entry in Run(run).journal()]


def read_with(read: Callable[[Path], Any], path: Path) -> Any:
    """What `read` makes of a run's file; where it fails, a CorruptArtifact names the file."""
    try:
        return read(path)
    except (OSError, ValueError, LookupError, TypeError) as error:  # pyarrow's errors are ValueErrors
        raise CorruptArtifact(f"{path} cannot be read ({error}); restore it from a copy") from error


def read_json(path: Path) -> Any:
    """The value in a run's JSON file."""
    return read_with(lambda file: json.loads(file.read_bytes()), path)


def by_iteration(run: Path, pattern: str) -> list[tuple[int, Path]]:
    """The files of a run that match `iteration-*/PATTERN`, with their iterations, in order."""
    found = run.glob(f"iteration-*/{pattern}")
    return sorted((int(path.relative_to(run).parts[0].removeprefix("iteration-")), path) for path in found)


def read_summaries(run: Path) -> dict[int, dict[str, Any]]:
    """The finished evaluations of a run: iteration -> benchmark -> figures."""
    found = by_iteration(run, "evaluation/summary.json")
    return {
        i: dict(read_with(lambda file: json.loads(file.read_bytes())["benchmarks"], path))
        for i, path in found
    }


def read_curations(run: Path) -> dict[int, dict[str, Any]]:
    """The finished curations of a run: iteration -> figures of the labels."""
    found = by_iteration(run, "curation/summary.json")
    return {iteration: read_json(path) for iteration, path in found}


def health_rows(metrics: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The health figures in rows of `metrics.jsonl`: iteration -> figures."""
    return {row["iteration"]: row for row in metrics if row.get("phase") == "health"}
