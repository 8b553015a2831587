"""What can go wrong, as one tree below `VisplayError`; every message names the key, the value and the fix.

Invariants of our own code are `assert`s, and a wrong argument in a call is a `ValueError`; neither is in
this tree, which is for what a user can fix.
"""

import difflib
from collections.abc import Iterable


class VisplayError(Exception):
    """Base of every error that a user of visplay can fix."""


class ConfigError(VisplayError):
    """A configuration key is unknown, or its value cannot be used."""


class ImageSourceError(VisplayError):
    """The image source is missing, holds no readable picture, or changed since it was read."""


class BenchmarkError(VisplayError):
    """A benchmark's spec is wrong, or its data is missing or differs from the spec."""


class EvaluationError(VisplayError):
    """A model, a stored evaluation or a judge that was named cannot be used."""


class RunError(VisplayError):
    """The run folder cannot be used as it is."""


class RunLocked(RunError):
    """Another process holds the run folder."""


class RunMismatch(RunError):
    """The run folder was begun with another configuration."""


class CorruptArtifact(RunError):
    """A stored artifact is incomplete, or is not what was written."""


class EngineError(VisplayError):
    """The rollout engine could not answer."""


class AdapterMismatch(EngineError):
    """A completion was made by another adapter version than the one asked for."""


class RankLost(VisplayError):
    """Another process of a run that a launcher started on many ranks is gone."""


class TrainingDiverged(VisplayError):
    """The loss or the gradients are no longer finite."""


class HealthAlarm(VisplayError):
    """An iteration's figures are beyond `health.limits`, and `health.action` is `stop`."""


class TooFewExamples(VisplayError):
    """Curation kept too few examples for a single step of the Reasoner."""

    def __init__(self, iteration: int, kept: int, needed: int) -> None:
        super().__init__(iteration, kept, needed)  # its arguments, so that it can be pickled and copied
        self.iteration = iteration

    def __str__(self) -> str:
        iteration, kept, needed = self.args
        return (
            f"iteration {iteration} kept {kept} silver examples and one step needs {needed}; ask about more "
            "images, ask more questions of each, or widen curation.low and curation.high"
        )


class PreflightError(VisplayError):
    """A check before the first step found that the run cannot work."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: `; did you mean 'NAME'?`, or all known names where none is near."""
    names = sorted(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else f"; known: {', '.join(names)}"
