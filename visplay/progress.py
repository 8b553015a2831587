"""Show the progress of a run, and measure the time of each kind of work."""

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
    """Called with finished work: a note, the number of units, and generated tokens not counted elsewhere."""

    def __call__(self, note: str, count: int = 1, tokens: int = 0, /) -> None:
        """Count `count` more units as finished."""


class Stopwatch:
    """Seconds by kind of work. Spans may nest; the time of an inner span is not counted in the outer one.

    Each thread has separate spans. Concurrent work is counted in each thread, so the sum may exceed the
    elapsed time.
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
        """Count the time in this thread since the last call; returns its open spans."""
        mine, now = self._of_thread, time.perf_counter()
        if not hasattr(mine, "kinds"):
            mine.kinds, mine.since = [], now
        with self._lock:
            self.seconds[mine.kinds[-1] if mine.kinds else "other"] += now - mine.since
        mine.since = now
        kinds: list[str] = mine.kinds
        return kinds


class Display:
    """A progress bar on a terminal, or a plain line from time to time without a terminal.

    A bar shows the finished share, generated tokens per second, the remaining time and, inside a step of a
    run (`step`), the name of the step.
    """

    def __init__(self, console: Console | None = None, *, every_seconds: float = 15.0) -> None:
        self.console = console or Console(stderr=True)
        self._every = every_seconds
        self._tokens = 0
        self._place = ""

    @classmethod
    def quiet(cls) -> "Display":
        """A display that shows nothing."""
        return cls(Console(quiet=True))

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def generated(self, tokens: int) -> None:
        """Add a number of generated tokens."""
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
        """Show messages that are logged under this name, from any thread."""
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self.say(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger(logger).addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger(logger).removeHandler(handler)

    @contextmanager
    def bar(self, title: str, *, total: int) -> Iterator[Advance]:
        """Yields `advance(note, count=1, tokens=0)`, to call for finished units of work, `total` in all."""
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
