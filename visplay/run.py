"""The run directory: a sequence of steps, each an artifact that is there whole or not at all."""

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from visplay.config import Config, dump_config, flat_config, read_config
from visplay.errors import CorruptArtifact, RunLocked, RunMismatch

PACKAGES = (
    "visplay",
    "torch",
    "torchvision",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "vllm",
)


# Keys and sections that may differ when a run is continued: how far it goes, and what decides no result.
MAY_CHANGE = {"name", "output", "iterations", "threads", "optimizer.checkpoint_every", "health", "report_to"}
UNFINISHED = "unfinished"  # inside a step's folder: what only a stopped step needs


class Run:
    """One run's folder.

    `step(name)` gives a scratch folder to write into; when the block ends without an error the folder is
    renamed into place and noted in `journal.jsonl` with a checksum. A step that the journal has is not
    done again, and one that was stopped finds what it had written to `UNFINISHED` in its scratch folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / "lock")

    @contextmanager
    def opened(self, config: Config) -> Iterator["Run"]:
        """Take the lock, write or compare the configuration, clear what a killed process left behind.

        Raises:
            RunLocked: another process works on this run.
            RunMismatch: the folder holds a run with another configuration.
            CorruptArtifact: a finished step was changed afterwards.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RunLocked(f"another process works on {self.folder}") from error
        try:
            self._compare(config)
            for leftover in self.folder.rglob("*.partial"):
                if leftover.is_file():  # a write cut short; scratch folders hold what a step goes on from
                    leftover.unlink()
            for entry in self.journal():
                self._verify(entry)
            write_text(self.folder / "config.yaml", dump_config(config))
            write_text(self.folder / "versions.json", json.dumps(_versions(), indent=2))
            yield self
        finally:
            self._lock.release()

    def journal(self) -> list[dict[str, Any]]:
        """The finished steps, oldest first."""
        return read_jsonl(self.folder / "journal.jsonl")

    def has(self, name: str) -> bool:
        """Whether a step is finished."""
        return any(entry["step"] == name for entry in self.journal())

    @contextmanager
    def step(self, name: str) -> Iterator[Path]:
        """A scratch folder that becomes `folder/name` when the block succeeds, and stays when it doesn't."""
        target = self.folder / name
        scratch = target.with_name(target.name + ".partial")
        (scratch / UNFINISHED).mkdir(parents=True, exist_ok=True)
        for half_done in set(scratch.iterdir()) - {scratch / UNFINISHED}:
            shutil.rmtree(half_done) if half_done.is_dir() else half_done.unlink()
        if target.exists():  # renamed, but not noted, when a process was killed
            shutil.copytree(target, scratch, dirs_exist_ok=True)
            shutil.rmtree(target)
        yield scratch
        shutil.rmtree(scratch / UNFINISHED)
        digest = _digest(scratch)
        os.replace(scratch, target)
        append_jsonl(self.folder / "journal.jsonl", {"step": name, "sha256": digest})

    def collect_metrics(self) -> None:
        """Gather the numbers of all finished steps, each in its `metrics.jsonl`, in the run's own."""
        files = [self.folder / entry["step"] / "metrics.jsonl" for entry in self.journal()]
        write_text(self.folder / "metrics.jsonl", "".join(f.read_text() for f in files if f.exists()))

    def is_open(self) -> bool:
        """Whether a process, this one or another, works on this run now."""
        if self._lock.is_locked:
            return True
        try:
            with self._lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _compare(self, config: Config) -> None:
        path = self.folder / "config.yaml"
        if not path.exists():
            return
        before, after = flat_config(read_config(path)), flat_config(config.model_dump(mode="json"))
        changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        if any(key not in MAY_CHANGE and key.split(".")[0] not in MAY_CHANGE for key in changed):
            raise RunMismatch(
                f"{self.folder} holds a run with another configuration:\n"
                + "\n".join(f"  {key}: {before.get(key)!r} -> {after.get(key)!r}" for key in changed)
                + f"\nOnly {', '.join(sorted(MAY_CHANGE))} may change. Set the others back, give the run "
                "another name (name=...), or remove the folder."
            )

    def _verify(self, entry: dict[str, Any]) -> None:
        path = self.folder / entry["step"]
        if not path.is_dir() or _digest(path) != entry["sha256"]:
            raise CorruptArtifact(
                f"{path} is not as it was when its step ended. Restore it, or remove its line and all lines "
                f"after it from {self.folder / 'journal.jsonl'} to do those steps again."
            )


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    scratch = path.with_name(path.name + ".partial")
    with scratch.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Append one JSON line and wait until it is on disk; a last line cut short by a kill is overwritten."""
    with path.open("ab+") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.write((json.dumps(row) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON-lines file; a last line cut short by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
