"""Experiments and measurements; each module is a command."""

import visplay  # noqa: F401 - keeps other packages quiet, so it comes before them
