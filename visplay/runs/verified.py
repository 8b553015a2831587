"""Which files of finished steps need not be hashed again: those with the size and time they were hashed with.

`verified.jsonl` in the run's folder has a line for each step. It is no part of what a run is: without it, or
where a file was copied, written to or touched, that file is hashed again.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from visplay.errors import CorruptArtifact
from visplay.storage import append_jsonl, file_stamp, read_jsonl, write_text


class Verified:
    """The sizes and times of a run's files when they were last found to be what was written."""

    def __init__(self, run: Path) -> None:
        self._path = run / "verified.jsonl"
        self._lines: dict[str, dict[str, Any]] = {}  # by step
        self._new = False

    def read(self) -> None:
        """Read what is noted; where it is damaged nothing is."""
        try:
            self._lines = {line["step"]: line for line in read_jsonl(self._path)}
        except (CorruptArtifact, KeyError, TypeError):
            self._lines = {}

    def unknown(self, folder: Path, entry: dict[str, Any], files: Iterable[str]) -> list[str]:
        """The files of a step in the journal that must be hashed: changed, missing, or not noted."""
        line = self._lines.get(entry["step"], {})
        noted = line.get("files") if line.get("seal") == entry["seal"] else None
        if not isinstance(noted, dict):
            return list(files)
        return [name for name in files if (stamp := _stamp(folder, name)) is None or noted.get(name) != stamp]

    def hold(self, folder: Path, entry: dict[str, Any], files: Iterable[str]) -> None:
        """Hold that a step's files, hashed just now, are what was written; `write` keeps it."""
        self._lines[entry["step"]] = self._line(folder, entry, files)
        self._new = True

    def note(self, folder: Path, entry: dict[str, Any], files: Iterable[str]) -> None:
        """The same of the step that was finished last, kept at once."""
        line = self._lines[entry["step"]] = self._line(folder, entry, files)
        append_jsonl(self._path, line)

    def write(self) -> None:
        """Write what is held, if any of it is new."""
        if self._new:
            write_text(self._path, "".join(f"{json.dumps(line)}\n" for line in self._lines.values()))
        self._new = False

    def _line(self, folder: Path, entry: dict[str, Any], files: Iterable[str]) -> dict[str, Any]:
        stamps = {name: stamp for name in files if (stamp := _stamp(folder, name)) is not None}
        return {"step": entry["step"], "seal": entry["seal"], "files": stamps}


def _stamp(folder: Path, name: str) -> list[int] | None:
    return file_stamp(f"{folder}/{name}")  # a Path for each of thousands of files takes a second
