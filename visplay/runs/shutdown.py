"""End a command on a signal or failure with one clear line: the reason, and how to resume."""

import errno
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rollouts.engine import EngineUnavailable, RequestRefused
from visplay.errors import AdapterMismatch, EngineError, RankLost, VisplayError
from visplay.launcher import is_lost

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_PLACE = {
    errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY,
}  # fmt: skip
# Libraries with their own I/O (safetensors, torch, shutil.copytree) report these errors as text only.
_FULL_IN_WORDS = (
    "no space left", "disk quota exceeded", "file too large", "inline_container", "pytorchstreamwriter",
)  # fmt: skip
_CLOSED_IN_WORDS = ("read-only file system", "permission denied")
_MEMORY_IN_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory")


class Stopped(BaseException):
    """A signal requested the end; it is not an Exception, so that no handler treats it as a failure."""

    def __init__(self, signum: int) -> None:
        self.signum = signum


@contextmanager
def graceful_shutdown(again: str, *, say: Callable[[str], None]) -> Iterator[None]:
    """Exit with one clear line on Ctrl-C, SIGTERM, a full or closed disk, a lost engine or lack of memory.

    A second signal ends the process immediately.

    Args:
        again: the command that resumes.
        say: prints a line.

    Raises:
        VisplayError: replaces a library's error; it has the reason and the command.
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
    """The reason and the fix of an error that a user can fix; None for other errors."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        number = error.errno if isinstance(error, OSError) else None
        if number in _FULL or _in_words(error, _FULL_IN_WORDS):
            return f"the disk is full ({_brief(error)}); make room, then"
        if number in _CLOSED or _in_words(error, _CLOSED_IN_WORDS):
            return f"a file cannot be written or read ({_brief(error)}); fix that, then"
        if number in _NO_PLACE:
            return f"a path cannot be used ({_brief(error)}); name another, or make room there, then"
        if number == errno.EIO:
            return f"the disk failed ({_brief(error)}); fix it, then"
        no_memory = isinstance(error, MemoryError) or number == errno.ENOMEM
        if no_memory or _in_words(error, _MEMORY_IN_WORDS):
            return (
                "out of memory: add a smaller optimizer.micro_batch_size=N (in training) or "
                "engine.batch_size=N (in sampling) to the command (both may change in a resumed "
                "run), or free memory, then"
            )
        error = error.__cause__
    return None


def _in_words(error: BaseException, words: tuple[str, ...]) -> bool:
    """Match the text only if the error has no number, and never in texts of ours or of a model."""
    known = isinstance(error, OSError | RuntimeError) or type(error).__name__ == "SafetensorError"
    return known and any(word in str(error).lower() for word in words)


def _brief(error: BaseException) -> str:
    return str(error).splitlines()[0][:300]


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` in the main thread on SIGINT and SIGTERM; the next signal ends the process.

    This loses nothing, because a run can be resumed after a kill at any instant.
    """

    def leave(signum: int, frame: object) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        raise Stopped(signum)

    before = {number: signal.signal(number, leave) for number in SIGNALS}
    try:
        yield
    except Exception as error:  # e.g. pydantic wraps errors that are raised in it
        raise (error.__cause__ if isinstance(error.__cause__, Stopped) else error)  # noqa: B904
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
