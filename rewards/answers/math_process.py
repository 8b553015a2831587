"""The program that runs inside the mathematics worker; started by its path, never imported by the package.

It reads one JSON list of LaTeX texts per line. For one text it answers with its value, `?` if it has none and
`!` if it is no mathematics; for two texts with `=` or `!`.
Here, and only here, does model text reach a parser that builds Python objects. The process may not write
files, start programs or open sockets, and its memory is bounded.
"""

import faulthandler
import functools
import json
import os
import sys
import zlib
from dataclasses import replace
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
    _equal(r"\frac{1}{2}", "0.5")
    _value(r"\sqrt{x}")
    sys.addaudithook(_forbid)
    _report("ready")
    for line in sys.stdin:
        faulthandler.dump_traceback_later(_WATCHDOG_DEADLINES * deadline, exit=True, file=sys.stderr)
        try:
            texts = json.loads(line)
            answer = _value(*texts) if len(texts) == 1 else "=" if _equal(*texts) else "!"
        except Exception:
            # The one broad catch: sympy raises anything on hostile text; all of it means "not shown equal".
            answer = "!"
        faulthandler.cancel_dump_traceback_later()
        _report(answer)


def _equal(first: str, second: str) -> bool:
    from math_verify import verify

    left, right = _parse(first), _parse(second)
    # verify is not symmetric: an equation or interval may be unfolded on one side only.
    return bool(verify(left, right, timeout_seconds=None) or verify(right, left, timeout_seconds=None))


def _value(text: str) -> str:
    """Evaluates an expression, its variables at fixed points that depend on their names only.

    Two expressions that differ there are not equal, which is cheaper to see than to prove.
    """
    import sympy

    parsed = _parse(text)
    if not parsed:
        return "!"
    if not isinstance(parsed[0], sympy.Expr):
        return "!" if _always(parsed[0]) else "?"
    points = {symbol: 1.1 + zlib.crc32(symbol.name.encode()) % 997 / 613 for symbol in parsed[0].free_symbols}
    value = parsed[0].evalf(15, subs=points)
    return repr(float(value)) if value.is_Float or value.is_Rational else "?"


def _always(parsed: Any) -> bool:
    """Whether a relation holds, or fails, whatever its variables are: all such relations would be equal."""
    import sympy

    if isinstance(parsed, sympy.logic.boolalg.BooleanAtom):
        return True
    return isinstance(parsed, sympy.core.relational.Relational) and bool(
        sympy.simplify(parsed.lhs - parsed.rhs).is_constant()
    )


@functools.lru_cache(maxsize=1024)
def _parse(text: str) -> Any:
    # Boxed, because a bare `B` or `x` is not recognised; LaTeX only, because the other grammar calls eval.
    from math_verify import LatexExtractionConfig, parse

    boxed = "\\boxed{" + text + "}"
    # Units were taken off by a table of our own; its rule takes `ab` and `t` for units.
    normal = replace(LatexExtractionConfig().normalization_config, units=False)
    config = [LatexExtractionConfig(normalization_config=normal)]
    return parse(boxed, extraction_config=config, fallback_mode="no_fallback", parsing_timeout=None)


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


def _report(answer: str) -> None:
    sys.stdout.write(answer + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
