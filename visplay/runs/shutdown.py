"""How a command ends when it is told to, or has to: one clear line, what is done is kept, how to resume."""

import errno
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rollouts.engine import EngineUnavailable, RequestRefused
from visplay.errors import AdapterMismatch, EngineError, RankLost, VisplayError
from visplay.launcher import is_lost

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SECONDS_UNHEARD = 8.0  # in a call that lets no handler run, before the process is ended from a thread
SECONDS_TO_LEAVE = 40.0  # for engines to stop the servers that they started
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_PLACE = {
    errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY,
}  # fmt: skip
# Libraries that write by themselves (safetensors, torch, shutil.copytree) say it in words only.
_FULL_IN_WORDS = (
    "no space left", "disk quota exceeded", "file too large", "inline_container", "pytorchstreamwriter",
)  # fmt: skip
_CLOSED_IN_WORDS = ("read-only file system", "permission denied")
_MEMORY_IN_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory")


class Stopped(BaseException):
    """A signal asked us to leave; not an Exception, so that nothing on the way takes it for a failure."""

    def __init__(self, signum: int) -> None:
        self.signum = signum


@contextmanager
def graceful_shutdown(again: str, *, say: Callable[[str], None]) -> Iterator[None]:
    """Leave on Ctrl-C, SIGTERM, a full or closed disk, a lost engine or lack of memory with one clear line.

    A write in progress is finished first. A second signal ends the process at once, wherever it is.

    Args:
        again: the command that resumes.
        say: prints a line.

    Raises:
        VisplayError: with the reason and the command, in place of what a library raised.
        SystemExit: 128 + the signal's number.
    """
    how = f"resume with: {again}"
    try:
        with _stopped_by_signals():
            yield
    except Stopped as stopped:
        say(f"stopped; all finished steps are kept; {how}")
        raise SystemExit(128 + stopped.signum) from None
    except AdapterMismatch:
        raise
    except RankLost as error:
        raise RankLost(f"{error}; all finished steps are kept; {how}") from error
    except (EngineUnavailable, EngineError) as error:
        raise EngineError(f"{error}; what is done is kept; when the engine answers again, {how}") from error
    except RequestRefused as error:
        raise EngineError(f"{error}; what is done is kept; change that, then {how}") from error
    except Exception as error:
        if is_lost(error):  # in the middle of a trainer's collective
            raise RankLost(
                f"another rank is gone ({_brief(error)}); all finished steps are kept; {how}"
            ) from error
        mend = what_to_do(error)
        if isinstance(error, VisplayError) or mend is None:
            raise
        raise VisplayError(f"{mend} {how}") from error


def what_to_do(error: BaseException | None) -> str | None:
    """What went wrong and what to do, for what a user can mend; None for the rest."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        number = error.errno if isinstance(error, OSError) else None
        if number in _FULL or _in_words(error, _FULL_IN_WORDS):
            return f"the disk is full ({_brief(error)}); make room, then"
        if number in _CLOSED or _in_words(error, _CLOSED_IN_WORDS):
            return f"a file cannot be written or read ({_brief(error)}); change that, then"
        if number in _NO_PLACE:
            return f"a path cannot be used ({_brief(error)}); name another, or make room there, then"
        if number == errno.EIO:
            return f"the disk failed ({_brief(error)}); mend it, then"
        no_memory = isinstance(error, MemoryError) or number == errno.ENOMEM
        if no_memory or _in_words(error, _MEMORY_IN_WORDS):
            return (
                "out of memory: add a smaller optimizer.micro_batch_size=N (in training) or "
                "engine.batch_size=N (in sampling) to the command, both may change in a run that is "
                "resumed; or free memory, then"
            )
        error = error.__cause__
    return None


def _in_words(error: BaseException, words: tuple[str, ...]) -> bool:
    """Only where no number says what it is, and not what a text of ours or a model's might hold."""
    known = isinstance(error, OSError | RuntimeError) or type(error).__name__ == "SafetensorError"
    return known and any(word in str(error).lower() for word in words)


def _brief(error: BaseException) -> str:
    return str(error).splitlines()[0][:300]


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` in the main thread on SIGINT and SIGTERM, and see from another that it gets through."""
    heard = threading.Event()

    def leave(signum: int, frame: object) -> None:
        heard.set()
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)  # the next one is the watcher's
        raise Stopped(signum)

    receive, send = os.pipe()
    os.set_blocking(send, False)
    watcher = threading.Thread(target=_watch, args=(receive, heard), daemon=True, name="signals")
    before: dict[int, Any] = {}
    earlier_wakeup = signal.set_wakeup_fd(send, warn_on_full_buffer=False)
    watcher.start()
    number: int
    try:
        for number in SIGNALS:
            before[number] = signal.signal(number, leave)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(earlier_wakeup)
        os.close(send)
        watcher.join()
        os.close(receive)


def _watch(receive: int, heard: threading.Event) -> None:
    """End the process on a second signal, or where the first one is not heard or not followed in time.

    Nothing is lost by that: a run outlives a kill at any instant.
    """
    first = _signal(receive, None)
    if first is None:
        return
    if not heard.wait(SECONDS_UNHEARD):
        _end(first)
    second = _signal(receive, SECONDS_TO_LEAVE)
    if second is not None:
        _end(second)


def _signal(receive: int, seconds: float | None) -> int | None:
    """The next of our signals; None where the block ended before. After `seconds`, SIGTERM."""
    while True:
        ready, _, _ = select.select([receive], [], [], seconds)
        if not ready:
            return signal.SIGTERM
        came = os.read(receive, 1)
        if not came:
            return None
        if came[0] in SIGNALS:
            return came[0]


def _end(signum: int) -> None:
    os.write(sys.stderr.fileno(), b"\nleft at once; the same command resumes\n")
    os._exit(128 + signum)
