"""Which confidences are worth learning from: a band whose silver answers are right, by labelled questions.

The paper keeps 0.25 <= c <= 0.75 (Eq. 9) whatever the votes are worth there. Where a probe is measured, its
majority votes say how often a silver answer of a confidence is right, and the band follows from that.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rewards import Preset
from visplay.config.loading import Config
from visplay.evaluation.metrics import samples_by_item, vote_of
from visplay.evaluation.records import SAMPLED, read_records
from visplay.evaluation.statistics import accuracy_interval
from visplay.loop.alarms import is_measured
from visplay.runs.results import read_summaries

FEWEST = 20  # votes inside a band, below which nothing is said of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Confidences that are kept.

    Attributes:
        low, high: bounds, inclusive, in [0, 1].
        right: of the probe's silver answers inside, the share that is right, with interval and n; None where
            the band does not come from a probe.
    """

    low: float
    high: float
    right: dict[str, Any] | None = None


def calibrated(votes: Sequence[tuple[float, bool]], *, least: float, high: float) -> Band | None:
    """The widest band up to `high` whose silver answers are right in at least the share `least`.

    Args:
        votes: of labelled questions: confidence, and whether the majority answer is right.
        least: in [0, 1].
        high: upper bound, in [0, 1].

    Returns:
        None where no band of at least FEWEST votes is right enough.
    """
    inside = [(confidence, right) for confidence, right in votes if confidence <= high]
    for low in sorted({confidence for confidence, _ in inside}):
        found = [right for confidence, right in inside if confidence >= low]
        if len(found) >= FEWEST and sum(found) >= least * len(found):
            return Band(low=low, high=high, right=asdict(accuracy_interval(found)))
    return None


def band_of(config: Config, preset: Preset, run: Path, iteration: int) -> tuple[Band, str]:
    """The band of an iteration's curation, and what is to be said of it; nothing as a rule.

    With `curation.min_silver` it is calibrated on the samples of the probe (`health.probe`) that the last
    measured iteration before this one has left, else, or where these do not carry one, it is the preset's.
    """
    own, least = Band(low=preset.low, high=preset.high), config.curation.min_silver
    if least is None:
        return own, ""
    measured = [i for i in range(iteration) if is_measured(run, i)]
    if not measured:
        return own, "curation.min_silver: no probe was measured; the band is the preset's"
    probe = config.health.probe or next(iter(read_summaries(run)[measured[-1]]))
    samples = run / f"iteration-{measured[-1]}" / "evaluation" / probe / f"{SAMPLED}.jsonl"
    votes = [vote_of(item) for item in samples_by_item(read_records(samples))] if samples.is_file() else []
    found = calibrated(
        [(vote.confidence, right) for vote, right in votes if vote.answer is not None],
        least=least, high=preset.high,
    )  # fmt: skip
    if found is None:
        return own, (
            f"curation.min_silver: in no band are {least:.0%} of the probe's {len(votes)} silver answers "
            f"right; it stays {own.low:g} to {own.high:g}"
        )
    return found, ""
