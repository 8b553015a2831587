"""`visplay` in processes of their own, forked from one that has imported what takes seconds to import."""

import multiprocessing
import os
import re
import resource
import sys
import time
from pathlib import Path

from visplay.cli.main import main

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["visplay.loop.selfplay", "visplay.report", "visplay.cli.printing"])


class Started:
    """A command under way.

    With `full_from` no file takes more than 100 bytes from the moment on when a folder of this name is made:
    libraries that write without Python fail, too, and in the middle of a file.
    """

    def __init__(self, arguments: list[str], folder: Path, *, full_from: str = "") -> None:
        folder.mkdir(exist_ok=True)
        pipes = [folder / f"{time.monotonic_ns()}-{name}" for name in ("stdout", "stderr")]
        for pipe in pipes:
            os.mkfifo(pipe)
        self._streams = [os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) for pipe in pipes]
        self.process = _context.Process(target=_run, args=(arguments, pipes, full_from), daemon=True)
        self.process.start()

    def wait_for(self, path: Path, seconds: float = 240) -> None:
        """Wait for a file that it makes."""
        deadline = time.monotonic() + seconds
        while not path.exists():
            assert self.process.is_alive() and time.monotonic() < deadline, (path, self.end())
            time.sleep(0.02)

    def end(self, number: int | None = None, seconds: float = 240) -> tuple[int, str, str]:
        """Send it a signal, if one is given, and wait: its exit code as a shell names it, stdout, stderr."""
        if number is not None:
            assert self.process.pid is not None
            os.kill(self.process.pid, number)
        self.process.join(seconds)
        code = self.process.exitcode
        assert code is not None, "it does not end"
        texts = [os.read(stream, 1 << 20).decode() for stream in self._streams]
        for stream in self._streams:
            os.close(stream)
        return 128 - code if code < 0 else code, texts[0], texts[1]


def _run(arguments: list[str], pipes: list[Path], full_from: str) -> None:
    for number, pipe in enumerate(pipes, start=1):
        os.dup2(os.open(pipe, os.O_WRONLY), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    if full_from:
        pattern = re.compile(full_from)

        def heard(event: str, given: tuple[object, ...]) -> None:
            if event == "os.mkdir" and pattern.search(str(given[0])):
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

        sys.addaudithook(heard)
    sys.argv = ["visplay", *arguments]
    main()
