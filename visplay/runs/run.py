"""The run directory: a sequence of steps, each an artifact that is there whole or not at all."""

import datetime
import hashlib
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

from visplay.config.loading import Config, dump_config, flat_config, read_config
from visplay.errors import CorruptArtifact, RunLocked, RunMismatch
from visplay.runs.verified import Verified
from visplay.storage import (
    PARTIAL,
    append_jsonl,
    checksums,
    damage,
    read_jsonl,
    signals_deferred,
    sync_folder,
    write_text,
)

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


FORMAT = 2  # of run folders
# Keys and sections that may differ when a run is resumed: how far it goes, what computes, watches and
# measures it. That the pictures are the same ones, wherever they lie, is seen to when they have been read.
MAY_CHANGE = {
    "name", "output", "iterations", "threads", "images.source", "images.split", "images.subset",
    "images.revision", "model.device", "engine",
    "optimizer.checkpoint_every", "optimizer.micro_batch_size", "evaluation", "health", "checkpoints",
    "report_to",
}  # fmt: skip
CHANGES_BITS = ("threads", "model.device", "engine", "optimizer.micro_batch_size")
UNFINISHED = "unfinished"  # inside a step's folder: what only a stopped step needs
SEAL = "checksums.json"  # inside a step's folder: written last, when everything else is on disk
PRUNING, PRUNED = "pruning", "pruned.json"  # the step that removes old adapters, and its list of them


class Run:
    """One run's folder.

    `step(name)` gives a scratch folder to write into. When the block ends without an error the folder is
    sealed with the checksums of its files, renamed into place and noted in `journal.jsonl`. A step that the
    journal has is not done again; one that was sealed but not noted when its process was killed is noted by
    `adopt`, and one that was stopped finds what it had written to `UNFINISHED` in its scratch folder.
    A seal names the one before it, so that a step is adopted only behind the step that it was made from.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / "lock")
        self._verified = Verified(folder)
        self._read: tuple[Any, list[dict[str, Any]]] = None, []  # the journal: its size and time, its entries
        self._pruned: dict[str, list[str]] = {}  # pruning step -> what it lists

    @contextmanager
    def opened(
        self,
        config: Config,
        *,
        say: Callable[[str], None] = lambda _: None,
        engine: str | None = None,
        verify: bool = False,
    ) -> Iterator["Run"]:
        """Take the lock, write or compare the configuration, clear what a killed process left behind.

        `say` is told what has changed since the last start; `changes.jsonl` keeps it. `engine` is what
        `engine.backend` was resolved to; it is noted beside the versions. Files of finished steps are hashed
        where their size or time is another than when they last were (`visplay.runs.verified`), with `verify`
        one and all.

        Raises:
            RunLocked: another process works on this run.
            RunMismatch: the folder holds a run with another configuration.
            CorruptArtifact: the configuration, the journal or a finished step was changed afterwards.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RunLocked(f"another process works on {self.folder}") from error
        try:
            changed = self._compare(config)
            for leftover in self.folder.rglob(f"*{PARTIAL}"):
                if leftover.is_file():  # a write cut short; scratch folders hold what a step goes on from
                    leftover.unlink()
            self._verify(fully=verify)
            if self.journal():
                self.collect_metrics()
            self._note_changes(changed, say=say)
            write_text(self.folder / "config.yaml", dump_config(config))
            today = datetime.date.today().isoformat()
            started = {"step": self._last_step(), "date": today} | ({"engine": engine} if engine else {})
            starts = [*read_starts(self.folder), started | _versions()]
            write_text(
                self.folder / "versions.json", json.dumps({"format": FORMAT, "starts": starts}, indent=2)
            )
            yield self
        finally:
            self._lock.release()

    def journal(self) -> list[dict[str, Any]]:
        """The finished steps, oldest first.

        Raises:
            CorruptArtifact: a line is not as it was written.
        """
        path = self.folder / "journal.jsonl"
        try:
            status = path.stat()
            stamp = status.st_size, status.st_mtime_ns
        except FileNotFoundError:
            stamp = None
        if stamp is None or stamp != self._read[0]:
            self._read = stamp, self._entries(path)
        return list(self._read[1])

    def _entries(self, path: Path) -> list[dict[str, Any]]:
        mend = (
            "Restore the file, or remove that line and all after it: steps whose files are as they were are "
            "noted again and not done again."
        )
        try:
            entries = read_jsonl(path)
        except CorruptArtifact as error:
            raise CorruptArtifact(f"{error}. {mend}") from error
        for number, entry in enumerate(entries, start=1):
            if (
                not isinstance(entry, dict)
                or "step" not in entry
                or entry.get("check") != _line_digest(entry)
            ):
                raise CorruptArtifact(f"{path}, line {number} is not as it was written. {mend}")
        return entries

    def has(self, name: str) -> bool:
        """Whether a step is finished."""
        return any(entry["step"] == name for entry in self.journal())

    def adopt(self, name: str) -> bool:
        """Note a step that was sealed when its process was killed; False where there is none."""
        target, scratch = self._places(name)
        for folder in (scratch, target):
            if self._is_sealed(folder):
                self._finish(name, sealed=folder)
                return True
        return False

    @contextmanager
    def step(self, name: str) -> Iterator[Path]:
        """A scratch folder that becomes `folder/name` when the block succeeds, and stays when it doesn't."""
        _, scratch = self._places(name)
        (scratch / UNFINISHED).mkdir(parents=True, exist_ok=True)
        for half_done in set(scratch.iterdir()) - {scratch / UNFINISHED}:
            shutil.rmtree(half_done) if half_done.is_dir() else half_done.unlink()
        yield scratch
        files = checksums(scratch, sync=True, without=(UNFINISHED,))
        write_text(scratch / SEAL, json.dumps({"after": self._last_seal(), "files": files}, indent=2))
        self._finish(name, sealed=scratch)

    def collect_metrics(self) -> None:
        """Gather the numbers of all finished steps, each in its `metrics.jsonl`, in the run's own."""
        files = [self.folder / entry["step"] / "metrics.jsonl" for entry in self.journal()]
        write_text(self.folder / "metrics.jsonl", "".join(f.read_text() for f in files if f.exists()))

    def pruned(self) -> list[str]:
        """The folders of adapters that finished pruning steps list, relative to the run's own."""
        steps = [entry["step"] for entry in self.journal() if entry["step"].endswith(f"/{PRUNING}")]
        try:
            for step in set(steps) - self._pruned.keys():
                self._pruned[step] = json.loads((self.folder / step / PRUNED).read_bytes())
        except (OSError, ValueError) as error:
            raise CorruptArtifact(
                f"the list of a pruning step cannot be read: {error}; restore it"
            ) from error
        return [folder for step in steps for folder in self._pruned[step]]

    def remove_pruned(self) -> None:
        """Remove what pruning steps list; done again where a kill came between."""
        for folder in self.pruned():
            if (self.folder / folder).exists():
                shutil.rmtree(self.folder / folder)

    def is_open(self) -> bool:
        """Whether a process, this one or another, works on this run now."""
        if self._lock.is_locked:
            return True
        try:
            with self._lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _places(self, name: str) -> tuple[Path, Path]:
        target = self.folder / name
        return target, target.with_name(target.name + PARTIAL)

    def _last_seal(self) -> str:
        last = self.journal()[-1:]
        return str(last[0]["seal"]) if last else ""

    def _is_sealed(self, folder: Path) -> bool:
        try:
            seal = json.loads((folder / SEAL).read_bytes())
            return seal["after"] == self._last_seal() and not damage(folder, seal["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _finish(self, name: str, *, sealed: Path) -> None:
        """Move a sealed folder to its place, unless it is there, and note it."""
        target, scratch = self._places(name)
        if sealed == scratch:
            shutil.rmtree(scratch / UNFINISHED, ignore_errors=True)
            if target.exists():  # its line was taken out of the journal
                shutil.rmtree(target)
        entry = {"step": name, "seal": hashlib.sha256((sealed / SEAL).read_bytes()).hexdigest()}
        with signals_deferred():
            if sealed == scratch:
                os.replace(scratch, target)
                sync_folder(target.parent)
            append_jsonl(self.folder / "journal.jsonl", entry | {"check": _line_digest(entry)})
        self._verified.note(target, entry, json.loads((target / SEAL).read_bytes())["files"])

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
            + ("; from here on bits may differ from a run that was not changed" if bits else "")
        )

    def _compare(self, config: Config) -> dict[str, tuple[Any, Any]]:
        """What differs from the configuration of the last start, by key, where it may differ."""
        path = self.folder / "config.yaml"
        if not path.exists():
            return {}
        require_format(self.folder)
        try:
            before = flat_config(read_config(path))
        except CorruptArtifact as error:
            raise CorruptArtifact(
                f"{error}. Restore it, or remove it: the configuration that you give is then taken for the "
                "run's own."
            ) from error
        after = flat_config(config.model_dump(mode="json"))
        changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        if not all(_listed(key, MAY_CHANGE) for key in changed):
            raise RunMismatch(
                f"{self.folder} holds a run with another configuration:\n"
                + "\n".join(f"  {key}: {before.get(key)!r} -> {after.get(key)!r}" for key in changed)
                + f"\nOnly {', '.join(sorted(MAY_CHANGE))} may change. Set the others back, give the run "
                "another name (name=...), or remove the folder."
            )
        return {key: (before.get(key), after.get(key)) for key in changed}

    def damage(self, entry: dict[str, Any], *, fully: bool) -> list[Path]:
        """The files of a step in the journal that are not what was written; none where all are.

        `fully` hashes every file; without it those are hashed whose size or time has changed.
        """
        folder = self.folder / entry["step"]
        if not folder.is_dir():
            return [folder]
        try:
            seal = (folder / SEAL).read_bytes()
        except OSError:
            return [folder / SEAL]
        if hashlib.sha256(seal).hexdigest() != entry["seal"]:
            return [folder / SEAL]
        files: dict[str, str] = json.loads(seal)["files"]
        if pruned := {self.folder / name for name in self.pruned()}:
            files = {name: files[name] for name in files if not pruned & set((folder / name).parents)}
        asked = list(files) if fully else self._verified.unknown(folder, entry, files)
        found = damage(folder, {name: files[name] for name in asked})
        if asked and not found:
            self._verified.hold(folder, entry, files)
        return [folder / name for name in found]

    def _verify(self, *, fully: bool) -> None:
        self._verified.read()
        for number, entry in enumerate(self.journal(), start=1):
            damaged = self.damage(entry, fully=fully)
            if damaged:
                more = f", nor are {len(damaged) - 1} more files there" if len(damaged) > 1 else ""
                raise CorruptArtifact(
                    f"{damaged[0]} is not as it was when its step ended{more}. Restore it, or remove line "
                    f"{number} and all lines after it from {self.folder / 'journal.jsonl'}: then this step "
                    "is done again, and a later one if it was made from something else."
                )
        self._verified.write()


def require_format(folder: Path) -> None:
    """See that a run's folder is of this version's format.

    Raises:
        RunMismatch: it was written by an earlier one.
    """
    try:
        noted = json.loads((folder / "versions.json").read_bytes())
    except (OSError, ValueError):
        return  # nothing was finished, or the journal's checks tell what is damaged
    if isinstance(noted, dict) and "format" not in noted:
        raise RunMismatch(
            f"{folder} was written by visplay {noted.get('visplay', '0.1')}, whose runs hold evaluations "
            "and questions in another form, drawn by other seeds. Resume and read it with that version, or "
            "start a run of another name (name=...)"
        )


def begun(folder: Path) -> datetime.date | None:
    """The day a run began; None where nothing notes it."""
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


def _line_digest(entry: dict[str, Any]) -> str:
    """Of a line of the journal."""
    said = json.dumps([entry["step"], entry.get("seal")])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
