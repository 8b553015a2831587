"""Experiments and measurements; each module is a command."""

from visplay.launcher import quieten

quieten()  # before other packages are imported
