"""Faults for tests: what a bad disk does to files, a disk full at one file, a run that stops at will."""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.visplay.scripted import BACKEND
from tests.visplay.small import ORACLE, SMALL
from visplay.config.loading import Config, check_config
from visplay.errors import VisplayError
from visplay.loop.selfplay import selfplay
from visplay.progress import Advance, Display
from visplay.runs.shutdown import graceful_shutdown

AGAIN = "visplay train CONFIG"
FAULTY: dict[str, Any] = {  # three steps a phase: one done, one under way, one to come
    **SMALL,
    "engine": {"backend": BACKEND},
    "questioner": {**SMALL["questioner"], "steps": 3},
    "curation": {"questions_per_image": 1, "margin": "all"},
    "reasoner": {**SMALL["reasoner"], "steps": 3, "prompts_per_step": 2, "max_tokens": 64},
    "evaluation": {**SMALL["evaluation"], "limit": 6, "maj_limit": 2, "blind_limit": 2},
}
# Where a run is stopped, and the bar that begins after the step it was stopped in.
STOPS = {"evaluation": 1, "questioner": 2, "curation": 1, "reasoner": 2}
NEXT = {
    "evaluation": "questioner", "questioner": "curation", "curation": "reasoner", "reasoner": "evaluation",
}  # fmt: skip
PAGE = Path(__file__).parents[3] / "docs" / "faults.md"
Seen = list[tuple[str, str, str, str]]  # fault, where, what is said, after the fix
PICTURES = 66  # curation goes through 64 and then 2


class Stop(Exception):
    """The run was to stop here."""


class StopsAt(Display):
    """A display that stops the run where a bar has come so far; 0 is its beginning."""

    def __init__(self, title: str = "", times: int = 0) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.said: list[str] = []
        self._title, self._times = title, times

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def bar(self, title: str, *, total: int) -> Iterator[Advance]:
        done = 0

        title = title if title in NEXT else "evaluation"  # its bars are called after benchmark and round

        def advance(note: str, count: int = 1, tokens: int = 0, /) -> None:
            nonlocal done
            done += 1
            if (title, done) == (self._title, self._times):
                raise Stop

        if (title, 0) == (self._title, self._times):
            raise Stop
        yield advance


class Disk:
    """Lets files whose path fits a pattern not be opened for writing, as if the disk were full there."""

    def __init__(self) -> None:
        self.pattern: re.Pattern[str] | None = None
        self.error = errno.ENOSPC
        sys.addaudithook(self._heard)  # stays for the life of the process

    @contextmanager
    def failing(self, pattern: str, error: int = errno.ENOSPC) -> Iterator[None]:
        self.pattern, self.error = re.compile(pattern), error
        try:
            yield
        finally:
            self.pattern = None

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.pattern is None or event != "open" or not isinstance(arguments[0], str | os.PathLike):
            return
        path, mode, flags = os.fspath(arguments[0]), arguments[1], arguments[2]
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else False
        writes = writes or (isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR)))
        if writes and self.pattern.search(path):
            raise OSError(self.error, os.strerror(self.error), path)


def settings(pictures: Path, output: Path, **values: object) -> Config:
    return check_config(
        {**FAULTY, "images": {"source": str(pictures), "oracle": ORACLE}, "output": str(output), **values}
    )


def error_of(config: Config, display: Display | None = None) -> str:
    """What `visplay train` says where a run cannot go on, with the run's folder as RUN."""
    display = display or StopsAt()
    with pytest.raises(VisplayError) as caught, graceful_shutdown(AGAIN, say=display.say):
        selfplay(config, display=display)
    text = str(caught.value).replace(str(config.folder), "RUN")
    return f"{type(caught.value).__name__}: {text}"


def stop_at(config: Config, title: str, times: int = 0) -> list[str]:
    """Let a run go on up to a bar; what it said on the way."""
    display = StopsAt(title, times)
    with pytest.raises(Stop):
        selfplay(config, display=display)
    return [line.replace(str(config.folder), "RUN") for line in display.said]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, *, at: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)


DAMAGE = {"cut in half": cut, "a bit flipped": flip}


def state(run: Path) -> dict[str, str]:
    """Digest of every file, but of what tells times, places and versions, by its path in the run."""
    skipped = (
        "timings.jsonl", "versions.json", "changes.jsonl", "lock", "config.yaml",
        "report.html", "pictures.jsonl",
    )  # fmt: skip
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in skipped
    }


def journal_lines(run: Path) -> list[str]:
    return (run / "journal.jsonl").read_text().splitlines()


def steps_of(run: Path) -> list[str]:
    return [json.loads(line)["step"] for line in journal_lines(run)]


def copied(run: Path, pictures: Path, tmp_path: Path) -> Config:
    config = settings(pictures, tmp_path)
    shutil.copytree(run, config.folder)
    return config


def check_same(config: Config, whole: Path) -> None:
    """The finished steps are those of the undisturbed run, to the bit."""
    steps = steps_of(config.folder)
    assert len(steps) > 1 and steps == steps_of(whole)[: len(steps)]
    for step in steps:
        assert state(config.folder / step) == state(whole / step), step


def check_table(seen: Seen, request: pytest.FixtureRequest) -> None:
    """Hold what a module's tests saw against its table in the docs, or write it there.

    Skipped unless all tests of the module ran; the one that calls this is its last.
    """
    module = Path(request.node.path)
    asked = {item.name.split("[")[0] for item in request.session.items if item.path == module}
    if asked != {name for name in vars(request.module) if name.startswith("test_")}:
        pytest.skip("only some of the faults were tried")
    if request.session.testsfailed:
        pytest.skip("other tests failed: what was seen is not all there is")
    begin, end = f"<!-- made by tests/visplay/loop/{module.name} -->\n", "<!-- end -->"
    page = PAGE.read_text()
    before, rest = page.split(begin)
    now = f"{before}{begin}{_table(seen)}{end}{rest.partition(end)[2]}"
    if request.config.getoption("--rewrite-docs"):
        PAGE.write_text(now)
    else:
        assert page == now, "docs/faults.md does not say what was seen: run with --rewrite-docs"


def _table(seen: Seen) -> str:
    """The rows; faults of the same outcome at one place, and places of the same faults, share one."""
    faults: dict[tuple[str, str, str], list[str]] = {}
    for fault, where, said, after in seen:
        faults.setdefault((where, said, after), []).append(fault)
    places: dict[tuple[str, str, str], list[str]] = {}
    for (where, said, after), found in faults.items():
        places.setdefault((", ".join(sorted(set(found))), said, after), []).append(where)
    lines = ["| fault | where | what is said | after the fix |", "|---|---|---|---|"]
    for (fault, said, after), found in places.items():
        shown = ", ".join(f"`{place}`" for place in found)
        lines.append(f"| {fault} | {shown} | {said} | {after} |")
    return "\n".join(lines) + "\n"
