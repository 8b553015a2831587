"""What a person sees while a run goes on, and how long each kind of work took."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Advance(Protocol):
    """Told of finished work: what it was, and how many units of it."""

    def __call__(self, note: str, count: int = 1, /) -> None:
        """Count `count` more units as finished."""


class Stopwatch:
    """Seconds by kind of work. Spans may nest; the inner one's time is not the outer one's.

    Each thread has spans of its own. What threads do at the same time is counted for each of them, so that
    the sum may be more than has passed.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._of_thread = threading.local()
        self._open()

    @contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        """Count the time of this block as `kind`."""
        if not hasattr(self._of_thread, "kinds"):
            self._open()
        self._note()
        self._of_thread.kinds.append(kind)
        try:
            yield
        finally:
            self._note()
            self._of_thread.kinds.pop()

    def take(self) -> dict[str, float]:
        """The seconds since the last call, by kind; time outside any span is `other`.

        Spans that are open in other threads count for the next call.
        """
        self._note()
        with self._lock:
            taken, self.seconds = dict(self.seconds), defaultdict(float)
        return taken

    def _open(self) -> None:
        """Begin to count for this thread."""
        self._of_thread.kinds, self._of_thread.since = [], time.perf_counter()

    def _note(self) -> None:
        mine, now = self._of_thread, time.perf_counter()
        kind = mine.kinds[-1] if mine.kinds else "other"
        with self._lock:
            self.seconds[kind] += now - mine.since
        mine.since = now


class Display:
    """A live bar on a terminal; one plain line now and then where there is none."""

    def __init__(self, console: Console | None = None, *, every_seconds: float = 15.0) -> None:
        self.console = console or Console(stderr=True)
        self._every = every_seconds

    @classmethod
    def quiet(cls) -> "Display":
        """One that shows nothing."""
        return cls(Console(quiet=True))

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def telling(self, logger: str) -> Iterator[None]:
        """Say what is logged under this name by code that knows of no display; from any thread."""
        display = self

        class Said(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                display.say(record.getMessage())

        handler = Said(logging.WARNING)
        logging.getLogger(logger).addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger(logger).removeHandler(handler)

    @contextmanager
    def bar(self, title: str, *, total: int) -> Iterator[Advance]:
        """Yields `advance(note, count=1)`, to be told of finished units of work, `total` in all."""
        if not self.console.is_terminal:
            yield self._plain(title, total)
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(title, total=total, note="")

            def advance(note: str, count: int = 1, /) -> None:
                progress.update(task, advance=count, note=note)

            yield advance

    def _plain(self, title: str, total: int) -> Advance:
        start = last = time.monotonic()
        done = 0

        def advance(note: str, count: int = 1, /) -> None:
            nonlocal done, last
            done += count
            now = time.monotonic()
            if done == total or now - last >= self._every:
                rate = done / max(now - start, 1e-9)
                self.say(f"{title} {done}/{total} {note} {rate:.2f}/s {(total - done) / rate:.0f} s left")
                last = now

        return advance
