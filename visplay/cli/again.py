"""The command that resumes what this process does."""

import shlex
import sys
from pathlib import Path

import psutil

from visplay.launcher import launched


def this_command() -> str:
    """What was typed; under a launcher, its command line, which is to be given on each node again."""
    typed = ["visplay", *sys.argv[1:]]
    if launched() and sys.argv[1:]:
        parent = psutil.Process().parent()
        line = parent.cmdline() if parent else []
        if sys.argv[-1] in line:  # else who started us is no launcher with a command line of its own
            by_script = Path(line[0]).name.startswith("python") and not line[1].startswith("-")
            typed = [Path(line[by_script]).name, *line[1 + by_script :]]
    return shlex.join(typed)
