"""Which questions are worth learning from: those whose silver answers are right, by labelled questions.

The paper keeps 0.25 <= c <= 0.75 (Eq. 9) whatever the votes are worth there. Where a probe is measured, its
majority votes say how often a silver answer of a confidence, and one to a question of a skill, is right.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rewards
from rewards import Preset
from visplay.config.loading import Config
from visplay.evaluation.statistics import accuracy_interval
from visplay.loop.signs import probe_votes
from visplay.runs.results import read_summaries

FEWEST = 20  # votes inside a band, below which nothing is said of it
FEWEST_OF_SKILL = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What is kept.

    Attributes:
        low, high: bounds of the confidence, inclusive, in [0, 1].
        right: of the probe's silver answers inside, the share that is right, with interval and n; None where
            the band does not come from a probe.
        closed: skills (`rewards.skill`) that are not trained on, each with that share and its n.
    """

    low: float
    high: float
    right: dict[str, Any] | None = None
    closed: dict[str, dict[str, Any]] | None = None


def calibrated(votes: Sequence[tuple[float, bool]], *, least: float, high: float) -> Gate | None:
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
            return Gate(low=low, high=high, right=asdict(accuracy_interval(found)))
    return None


def closed_skills(votes: Sequence[tuple[str, bool]], *, least: float) -> dict[str, dict[str, Any]]:
    """The skills in which fewer than `least` of at least FEWEST_OF_SKILL silver answers are right.

    Args:
        votes: of labelled questions: the question, and whether the majority answer is right.
        least: in [0, 1].
    """
    by_skill: dict[str, list[bool]] = defaultdict(list)
    for question, right in votes:
        by_skill[rewards.skill(question)].append(right)
    return {
        skill: asdict(accuracy_interval(found))
        for skill, found in sorted(by_skill.items())
        if len(found) >= FEWEST_OF_SKILL and sum(found) < least * len(found)
    }


def gate_of(config: Config, preset: Preset, run: Path, iteration: int) -> tuple[Gate, str]:
    """The gate of an iteration's curation, and what is to be said of it; nothing as a rule.

    With `curation.min_silver` and `curation.min_skill` it is calibrated on the samples of the probe
    (`health.probe`) that the last measured iteration before this one has left, else, or where these do not
    carry a band, that is the preset's.
    """
    own, curation = Gate(low=preset.low, high=preset.high), config.curation
    if curation.min_silver is None and curation.min_skill is None:
        return own, ""
    measured = [i for i in read_summaries(run) if i < iteration]
    if not measured:
        return own, "curation.min_silver, min_skill: no probe was measured; the band is the preset's"
    votes = list(probe_votes(run, measured[-1], probe=config.health.probe).values())
    if not votes:
        return own, (
            "curation.min_silver, min_skill: the probe left no votes (evaluation.maj_limit); the band is the "
            "preset's and no skill is closed"
        )
    answered = [ballot for ballot in votes if ballot.vote.answer is not None]
    closed = None
    if curation.min_skill is not None:
        closed = closed_skills(
            [(ballot.question, ballot.right) for ballot in answered], least=curation.min_skill
        )
    band, said = own, ""
    if curation.min_silver is not None:
        found = calibrated(
            [(ballot.vote.confidence, ballot.right) for ballot in answered],
            least=curation.min_silver, high=preset.high,
        )  # fmt: skip
        band = found or own
        if found is None:
            said = (
                f"curation.min_silver: in no band are {curation.min_silver:.0%} of the probe's {len(votes)} "
                f"silver answers right; it stays {own.low:g} to {own.high:g}"
            )
    return Gate(low=band.low, high=band.high, right=band.right, closed=closed), said
