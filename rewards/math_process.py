"""The program that runs inside the mathematics worker; started by its path, never imported by the package.

It reads one JSON pair of LaTeX texts per line and answers with single letters: `a` once the first text is
parsed, `b` once the second is, then `=` or `!`. So whoever kills it knows which text it was stuck on.
Here, and only here, does model text reach a parser that builds Python objects. The process may not write
files, start programs or open sockets, and its memory is bounded.
"""

import faulthandler
import functools
import json
import os
import sys
from typing import Any

_FORBIDDEN_EVENTS = (
    "subprocess. os.system os.exec os.posix_spawn os.spawn os.fork socket. shutil. os.remove os.rename "
    "os.rmdir os.mkdir os.link os.symlink os.truncate os.chmod"
)
_FORBIDDEN = tuple(_FORBIDDEN_EVENTS.split())
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_WATCHDOG_DEADLINES = 10.0


def main(memory_bytes: int, deadline: float) -> None:
    """Answers pairs from standard input until it ends.

    Args:
        memory_bytes: limit of the address space.
        deadline: seconds the caller allows per pair; long past it, when nobody is left to kill this
            process, it ends itself.
    """
    _limit(memory_bytes)
    _compare(r"\frac{1}{2}", "0.5", report=lambda letter: None)
    sys.addaudithook(_forbid)
    _report("r")
    for line in sys.stdin:
        faulthandler.dump_traceback_later(_WATCHDOG_DEADLINES * deadline, exit=True, file=sys.stderr)
        try:
            first, second = json.loads(line)
            equal = _compare(first, second, report=_report)
        except Exception:
            # The one broad catch: sympy raises anything on hostile text; all of it means "not shown equal".
            equal = False
        faulthandler.cancel_dump_traceback_later()
        _report("=" if equal else "!")


def _compare(first: str, second: str, *, report: Any) -> bool:
    from math_verify import verify

    left, x = _parse(first), _number(first)
    report("a")
    right, y = _parse(second), _number(second)
    report("b")
    if not left or not right:
        return False
    if x is not None and y is not None and abs(x - y) > 1e-5 * max(1.0, abs(x), abs(y)):
        return False
    # verify is not symmetric: an equation or interval may be unfolded on one side only.
    return bool(verify(left, right, timeout_seconds=None) or verify(right, left, timeout_seconds=None))


@functools.lru_cache(maxsize=1024)
def _parse(text: str) -> Any:
    # Boxed, because a bare `B` or `x` is not recognised; LaTeX only, because the other grammar calls eval.
    from math_verify import LatexExtractionConfig, parse

    boxed = "\\boxed{" + text + "}"
    config = [LatexExtractionConfig()]
    return parse(boxed, extraction_config=config, fallback_mode="no_fallback", parsing_timeout=None)


@functools.lru_cache(maxsize=1024)
def _number(text: str) -> float | None:
    parsed = _parse(text)
    if not parsed or not getattr(parsed[0], "is_number", False):
        return None
    expression = parsed[0]
    value = expression.evalf(15)
    return float(value) if value.is_Float or value.is_Integer or value.is_Rational else None


def _limit(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows; the deadline still holds there
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _forbid(event: str, args: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(args[2], int) and args[2] & _WRITE_FLAGS
    if writes or event.startswith(_FORBIDDEN):
        raise PermissionError(f"{event} is not allowed in the mathematics worker")


def _report(letter: str) -> None:
    sys.stdout.write(letter + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
