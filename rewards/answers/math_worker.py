"""A persistent process that decides mathematical equality with math-verify, under a hard deadline.

math-verify's own time-out is an alarm signal, which threads cannot use, and sympy can be made to run for
ever. So the process is killed when it misses the deadline and a fresh one takes its place.
"""

import functools
import json
import os
import re
import selectors
import subprocess
import sys
import threading
import warnings
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import IO, TypeVar

_PROGRAM = Path(__file__).with_name("math_process.py")
_REMEMBERED = 65_536
_LONGEST_LINE = 64  # the process writes each line at once, and shorter than a pipe's atomic write
_APART = 1e-5
_PLAIN = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?(?:/\d{1,15})?")
_K = TypeVar("_K")
_V = TypeVar("_V")


class MathWorker:
    """Decides pairs of LaTeX texts; starts its process when first asked, stops it by its handle.

    Safe to call from many threads (one pair at a time) and after a fork (the child starts its own process).

    Args:
        deadline: seconds allowed for one pair, > 0.
        start_deadline: seconds allowed for the process to start, > 0.
        memory_bytes: limit of the process's address space.
    """

    def __init__(
        self, *, deadline: float = 1.0, start_deadline: float = 60.0, memory_bytes: int = 2 * 1024**3
    ) -> None:
        self.deadline = deadline
        self.start_deadline = start_deadline
        self.memory_bytes = memory_bytes
        self.starts = 0
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize[..., MathWorker] | None = None
        self._ready = False
        self._usable = True
        self._verdicts: OrderedDict[tuple[str, str], bool | None] = OrderedDict()
        self._values: OrderedDict[str, str] = OrderedDict()

    def __call__(self, first: str, second: str) -> bool | None:
        """Says whether two LaTeX texts are equal; None if that could not be decided in time.

        Symmetric. Verdicts and values are remembered, and a text that hung the process is not tried again.
        """
        pair = (first, second) if first <= second else (second, first)
        if os.getpid() != self._owner:
            self._forget_parent()
        with self._lock:
            if pair not in self._verdicts:
                _remember(self._verdicts, pair, self._decide(*pair))
            return self._verdicts[pair]

    @property
    def pid(self) -> int | None:
        """Process id of the running worker, None where there is none."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Ends the process, if there is one; the next question starts another."""
        if self._finalizer:
            self._finalizer()
        self._process = self._finalizer = None
        self._ready = False

    def _decide(self, first: str, second: str) -> bool | None:
        values = [self._value(first), self._value(second)]
        if "" in values:
            return None
        if "!" in values:
            return False
        if "?" not in values:
            x, y = (float(value) for value in values)
            if abs(x - y) > _APART * max(abs(x), abs(y)):
                return False
        answer = self._ask(first, second)
        return answer == "=" if answer else None

    def _value(self, text: str) -> str:
        """Returns a number's text, `?` for mathematics without a value, `!` for none, empty for a hang."""
        if _PLAIN.fullmatch(text):
            whole, _, under = text.partition("/")
            return repr(float(whole) / float(under or 1)) if float(under or 1) else "!"
        if text not in self._values:
            _remember(self._values, text, self._ask(text))
        return self._values[text]

    def _ask(self, *texts: str) -> str:
        """Returns the process's answer, or an empty string if there was none in time."""
        if not self._usable:
            return ""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._start()
        if not self._ready and self._read(self.start_deadline) != "ready":
            self.stop()
            self._usable = False
            warnings.warn("math-verify could not be started; answers are compared as text only", stacklevel=6)
            return ""
        self._ready = True
        try:
            assert self._process is not None and self._process.stdin is not None
            self._process.stdin.write(json.dumps(texts).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._read(self.deadline)
        except BrokenPipeError:
            answer = ""
        if not answer:
            # Start the next one at once: it loads while the caller goes on.
            self.stop()
            self._start()
        return answer

    def _start(self) -> None:
        # The search path is handed over, the environment is not: the process has no use for its secrets.
        search_path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM), str(self.memory_bytes), str(self.deadline)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": search_path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            bufsize=0,
            start_new_session=True,
        )
        self._finalizer = weakref.finalize(self, _end, self._process)
        self._ready = False
        self.starts += 1

    def _read(self, seconds: float) -> str:
        """Returns the next line, or an empty string at the deadline and at the process's end."""
        assert self._process is not None and self._process.stdout is not None
        if not _readable(self._process.stdout, seconds):
            return ""
        return self._process.stdout.read(_LONGEST_LINE).decode(errors="replace").strip()

    def _forget_parent(self) -> None:
        # After a fork the pipe belongs to the parent: leave its process alone.
        if self._finalizer:
            self._finalizer.detach()
        self._process = self._finalizer = None
        self._ready = False
        self._owner = os.getpid()
        self._lock = threading.Lock()


@functools.cache
def shared_worker() -> MathWorker:
    """Returns the one worker of this process, made on first use and stopped when the interpreter ends."""
    return MathWorker()


def _readable(stream: IO[bytes], seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(max(0.0, seconds)))


def _remember(table: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    table[key] = value
    if len(table) > _REMEMBERED:
        table.popitem(last=False)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()
    process.wait()
