"""The run folder: a sequence of steps; each step writes its artifact atomically."""

import datetime
import errno
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from visplay.config.loading import Config, dump_config, read_config
from visplay.config.yaml_text import flat_config
from visplay.errors import CorruptArtifact, RunError, RunLocked, RunMismatch
from visplay.storage import PARTIAL, append_jsonl, read_jsonl, sync_files, sync_folder, write_text

PACKAGES = (
    "visplay", "torch", "torchvision", "transformers", "trl", "peft", "datasets", "accelerate", "vllm",
)  # fmt: skip

FORMAT = 4  # of run folders
# Keys and sections that may differ when a run is resumed: its length, hardware, health checks and benchmarks.
# The pictures may have moved; that they are the same ones is checked after they have been read.
MAY_CHANGE = {
    "name", "output", "iterations", "threads", "images.source", "model.device", "engine",
    "optimizer.micro_batch_size", "evaluation", "health", "report_to",
}  # fmt: skip
CHANGES_BITS = ("threads", "model.device", "engine", "optimizer.micro_batch_size")
UNFINISHED = "unfinished"  # inside a step's folder: files that only a stopped step needs


class Run:
    """One run's folder.

    `step(name)` gives a scratch folder to write into. When the block ends without an error, the folder is
    synced to disk, the step is recorded in `journal.jsonl`, and the folder is renamed. The journal's line
    makes the step finished; if a kill prevents the renaming, `opened` completes it. A finished step is not
    repeated. A stopped step finds its files in `UNFINISHED` in its scratch folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / "lock")

    @contextmanager
    def opened(
        self,
        config: Config,
        *,
        say: Callable[[str], None] = lambda _: None,
        engine: str | None = None,
    ) -> Iterator["Run"]:
        """Take the lock, write or compare the configuration, and clean up after a killed process.

        `say` gets the changes since the last start, which `changes.jsonl` keeps. `engine` is the resolved
        `engine.backend`; it is recorded with the versions.

        Raises:
            RunError: the folder cannot be created, or has content that is not a run.
            RunLocked: another process works on this run.
            RunMismatch: the folder holds a run with another configuration, or of another version.
            CorruptArtifact: the configuration or the journal is damaged, or a finished step is missing.
        """
        self._make_folder()
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RunLocked(f"another process works on {self.folder}") from error
        try:
            changed = self._compare(config)
            for leftover in self.folder.rglob(f"*{PARTIAL}"):
                if leftover.is_file():  # an incomplete write; steps resume from scratch folders
                    leftover.unlink()
            self._put_in_place()
            if self.journal():
                self.collect_metrics()
            today = datetime.date.today().isoformat()
            started = {"step": self._last_step(), "date": today} | ({"engine": engine} if engine else {})
            starts = [*read_starts(self.folder), started | _versions()]
            write_text(  # the first file, which marks the folder as a run's
                self.folder / "versions.json", json.dumps({"format": FORMAT, "starts": starts}, indent=2)
            )
            self._note_changes(changed, say=say)
            write_text(self.folder / "config.yaml", dump_config(config))
            yield self
        finally:
            self._lock.release()

    def journal(self) -> list[dict[str, Any]]:
        """The finished steps, oldest first.

        Raises:
            CorruptArtifact: a line is damaged.
        """
        path = self.folder / "journal.jsonl"
        entries = read_jsonl(path)
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, dict) or not isinstance(entry.get("step"), str):
                raise CorruptArtifact(f"{path}, line {number} names no step; restore the file")
        return entries

    def has(self, name: str) -> bool:
        """Whether a step is finished."""
        return any(entry["step"] == name for entry in self.journal())

    @contextmanager
    def step(self, name: str) -> Iterator[Path]:
        """A scratch folder that becomes `folder/name` if the block succeeds, and otherwise stays."""
        target, scratch = self._places(name)
        (scratch / UNFINISHED).mkdir(parents=True, exist_ok=True)
        for half_done in set(scratch.iterdir()) - {scratch / UNFINISHED}:
            shutil.rmtree(half_done) if half_done.is_dir() else half_done.unlink()
        yield scratch
        sync_files(scratch, without=(UNFINISHED,))
        if target.exists():  # its line was removed from the journal
            shutil.rmtree(target)
        append_jsonl(self.folder / "journal.jsonl", {"step": name})
        self._put_in_place()

    def _put_in_place(self) -> None:
        """Rename the folder of the last recorded step if necessary, and check that all steps exist.

        Raises:
            CorruptArtifact: a step is missing.
        """
        entries = self.journal()
        for entry in entries[-1:]:
            target, scratch = self._places(entry["step"])
            if scratch.is_dir():
                os.replace(scratch, target)
                sync_folder(target.parent)
            shutil.rmtree(target / UNFINISHED, ignore_errors=True)
        for number, entry in enumerate(entries, start=1):
            if not (self.folder / entry["step"]).is_dir():
                raise CorruptArtifact(
                    f"{self.folder / entry['step']} is missing. Restore it, or remove line {number} and all "
                    f"lines after it from {self.folder / 'journal.jsonl'}: these steps are then repeated"
                )

    def collect_metrics(self) -> None:
        """Collect the `metrics.jsonl` of all finished steps in the run's."""
        files = [self.folder / entry["step"] / "metrics.jsonl" for entry in self.journal()]
        write_text(self.folder / "metrics.jsonl", "".join(f.read_text() for f in files if f.exists()))

    def is_open(self) -> bool:
        """Whether any process works on this run now; the lock may belong to another user."""
        if self._lock.is_locked:
            return True
        try:
            with (self.folder / "lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _make_folder(self) -> None:
        """Create the folder; an existing folder must be empty or a run's, and is otherwise not changed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if isinstance(error, FileExistsError | NotADirectoryError) or error.errno == errno.ENAMETOOLONG:
                raise RunError(
                    f"{self.folder} cannot be the run's folder ({error}); set name or output"
                ) from error
            raise
        found = {path.name for path in self.folder.iterdir()} - {"lock", f"versions.json{PARTIAL}"}
        if found and not {"versions.json", "journal.jsonl"} & found:
            raise RunError(
                f"{self.folder} has files ({', '.join(sorted(found)[:3])}) but no run of visplay, so no run "
                "is started there; set another name (name=...) or output, or empty it"
            )

    def _places(self, name: str) -> tuple[Path, Path]:
        target = self.folder / name
        return target, target.with_name(target.name + PARTIAL)

    def _last_step(self) -> str:
        last = self.journal()[-1:]
        return str(last[0]["step"]) if last else ""

    def _note_changes(self, changed: dict[str, tuple[Any, Any]], *, say: Callable[[str], None]) -> None:
        if not changed:
            return
        after = self._last_step()
        for key, (before, now) in changed.items():
            row = {"after": after, "key": key, "before": before, "now": now}
            append_jsonl(self.folder / "changes.jsonl", row)
        told = ", ".join(f"{key}: {before!r} -> {now!r}" for key, (before, now) in changed.items())
        bits = any(_listed(key, CHANGES_BITS) for key in changed)
        say(
            f"changed after {after or 'the first start'}: {told}"
            + ("; from now on results may differ in their last bits from an unchanged run" if bits else "")
        )

    def _compare(self, config: Config) -> dict[str, tuple[Any, Any]]:
        """The permitted differences from the configuration of the last start, by key."""
        path = self.folder / "config.yaml"
        require_format(self.folder)
        if not path.exists():
            return {}
        try:
            before = flat_config(read_config(path))
        except CorruptArtifact as error:
            raise CorruptArtifact(
                f"{error}. Restore it, or remove it: the given configuration is then used as the run's own."
            ) from error
        after = flat_config(config.model_dump(mode="json"))
        changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        allowed = MAY_CHANGE - (set() if config.optimizer.by_rows else {"optimizer.micro_batch_size"})
        begun = self.journal() or any(self.folder.rglob(f"*{PARTIAL}"))
        if begun and not all(_listed(key, allowed) for key in changed):
            raise RunMismatch(
                f"{self.folder} has a run with another configuration:\n"
                + "\n".join(f"  {key}: {before.get(key)!r} -> {after.get(key)!r}" for key in changed)
                + f"\nOnly {', '.join(sorted(allowed))} may change. Set the others back, give the run "
                "another name (name=...), or remove the folder."
            )
        return {key: (before.get(key), after.get(key)) for key in changed}


def require_format(folder: Path) -> None:
    """Check that a run's folder has this version's format.

    Raises:
        RunMismatch: another version wrote it.
    """
    try:
        noted = json.loads((folder / "versions.json").read_bytes())
    except (OSError, ValueError):
        return  # no step is finished, or `read_starts` reports the damage
    found = noted.get("format") if isinstance(noted, dict) else None
    if found != FORMAT:
        raise RunMismatch(
            f"{folder} was written by another version of visplay: its format is {found}, this one reads and "
            f"writes {FORMAT}. Use that version, or start a run with another name (name=...)"
        )


def outside_runs(path: Path) -> Path:
    """Check that a path, to which a command writes, is outside all run folders; returns the path.

    Raises:
        RunError: the path is inside a run's folder; the message names the run.
    """
    for folder in (path.resolve(), *path.resolve().parents):
        if (folder / "versions.json").is_file() and (folder / "config.yaml").is_file():
            raise RunError(
                f"{path} is in the folder of the run {folder}, whose files only the run itself writes; "
                "choose a path outside of it"
            )
    return path


def begun(folder: Path) -> datetime.date | None:
    """The day on which a run was started; None if it is not recorded."""
    first = read_starts(folder)[:1]
    return datetime.date.fromisoformat(first[0]["date"]) if first and "date" in first[0] else None


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """Each start of a run: the last step that was finished before it, the day, the packages' versions."""
    path = folder / "versions.json"
    try:
        starts: list[dict[str, Any]] = json.loads(path.read_bytes())["starts"] if path.exists() else []
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{path} is damaged: {error}; restore it, or remove it") from error
    return starts


def _listed(key: str, names: Collection[str]) -> bool:
    return key in names or key.split(".")[0] in names


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
