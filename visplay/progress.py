"""What a person sees while a run goes on, and how long each kind of work took."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


class Advance(Protocol):
    """Told of finished work: what it was, how many units of it, and tokens generated that nobody told of."""

    def __call__(self, note: str, count: int = 1, tokens: int = 0, /) -> None:
        """Count `count` more units as finished."""


class Stopwatch:
    """Seconds by kind of work. Spans may nest; the inner one's time is not the outer one's.

    Each thread has spans of its own. What threads do at the same time is counted for each of them, so that
    the sum may be more than has passed.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock, self._of_thread = threading.Lock(), threading.local()
        self._note()

    @contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        """Count the time of this block as `kind`."""
        self._note().append(kind)
        try:
            yield
        finally:
            self._note().pop()

    def take(self) -> dict[str, float]:
        """The seconds since the last call, by kind; time outside any span is `other`.

        Spans that are open in other threads count for the next call.
        """
        self._note()
        with self._lock:
            taken, self.seconds = dict(self.seconds), defaultdict(float)
        return taken

    def _note(self) -> list[str]:
        """Count what has passed in this thread since the last note; returns its open spans."""
        mine, now = self._of_thread, time.perf_counter()
        if not hasattr(mine, "kinds"):
            mine.kinds, mine.since = [], now
        with self._lock:
            self.seconds[mine.kinds[-1] if mine.kinds else "other"] += now - mine.since
        mine.since = now
        kinds: list[str] = mine.kinds
        return kinds


class Display:
    """A live bar on a terminal; one plain line now and then where there is none.

    A bar tells how much is done, tokens generated per second, the time left for it and, inside a step of
    a run (`step`), which one it is.
    """

    def __init__(self, console: Console | None = None, *, every_seconds: float = 15.0) -> None:
        self.console = console or Console(stderr=True)
        self._every = every_seconds
        self._tokens = 0
        self._place = ""

    @classmethod
    def quiet(cls) -> "Display":
        """One that shows nothing."""
        return cls(Console(quiet=True))

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def generated(self, tokens: int) -> None:
        """So many more tokens were generated."""
        self._tokens += tokens

    @contextmanager
    def step(self, place: str) -> Iterator[None]:
        """Bars inside belong to a step of a run, e.g. `iteration 1`."""
        before, self._place = self._place, place
        try:
            yield
        finally:
            self._place = before

    @contextmanager
    def telling(self, logger: str) -> Iterator[None]:
        """Say what is logged under this name by code that knows of no display; from any thread."""
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self.say(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger(logger).addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger(logger).removeHandler(handler)

    @contextmanager
    def bar(self, title: str, *, total: int) -> Iterator[Advance]:
        """Yields `advance(note, count=1, tokens=0)`, to be told of finished units of work, `total` in all."""
        title = f"{self._place}, {title}" if self._place else title
        since, before, done = time.monotonic(), self._tokens, 0
        last = since
        columns = (TextColumn("{task.description}"), BarColumn(16), TextColumn("{task.fields[said]}"))
        progress = Progress(*columns, console=self.console, transient=True)
        task = progress.add_task(title, total=total, said=f"0/{total}")

        def advance(note: str, count: int = 1, tokens: int = 0, /) -> None:
            nonlocal done, last
            self.generated(tokens)
            done += count
            now = time.monotonic()
            taken = max(now - since, 1e-9)
            left = taken * max(total - done, 0) / done if done else None
            made = self._tokens - before
            parts = [f"{done}/{total}", note, f"{made / taken:,.0f} tok/s" if made else ""]
            if left is not None:
                parts.append(f"{span(left)} left")
            said = " ".join(part for part in parts if part)
            progress.update(task, completed=done, said=said)
            if not self.console.is_terminal and (done == total or now - last >= self._every):
                self.say(f"{title} {said}")
                last = now

        with progress if self.console.is_terminal else nullcontext():
            yield advance


def span(seconds: float) -> str:
    """A time in one or two units: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
