"""The Questioner's reward: uncertainty of the Reasoner's votes, less redundancy (Eq. 8, arXiv 2511.15661)."""

from collections.abc import Sequence
from typing import Protocol

from rewards.diversity import cluster_shares, merged_cluster_shares
from rewards.parsing import Question
from rewards.reward import Reward, Term, Values
from rewards.skills import skill_shares
from rewards.voting import Vote, minority_share, uncertainty

REDUNDANCY_THRESHOLD = 0.5  # cut of the average linkage, in units of BLEU distance; the paper's
MEMORY_SIZE = 4096  # newest questions that are remembered
INVALID = {"paper": 0.0, "official": -1.0}  # replaces the gain for invalid questions


class Candidate(Protocol):
    """What the reward reads of one completion of the Questioner."""

    @property
    def asks(self) -> Question | None:
        """The question; None where it is malformed or rejected."""

    @property
    def vote(self) -> Vote | None:
        """The Reasoner's votes on it."""

    @property
    def validity(self) -> float | None:
        """A judge's, in [0, 1]; None where none judged."""


def questioner_rewards(
    groups: Sequence[Sequence[Candidate]],
    *,
    values: Values,
    memory: Sequence[str] = (),
    terms: Sequence[Term] = (),
) -> list[list[Reward]]:
    """Rewards each question.

    `paper`: `max(0, validity * uncertainty + terms - penalties)`, 0 for an invalid question.
    `official`: `validity * min(c, 1 - c) + terms - penalties`, or -1 less the penalties for an invalid one.

    Args:
        groups: [images][G] candidates.
        values: the numbers to use.
        memory: earlier questions, oldest first, for `memory_weight`.
        terms: custom rewards, added if the question is valid.

    Returns:
        [images][G]. The parts are `validity` (0, or the judge's, or 1), `uncertainty` (before it is
        multiplied with the validity), `redundancy` and, if it is on, `memory` (penalties, weights included),
        and each term by its name.
    """
    penalties = _penalties(groups, memory, values)
    rewards: list[list[Reward]] = []
    for row, group in enumerate(groups):
        extra = {term.name: term.values(group) for term in terms}
        rewarded = []
        for column, item in enumerate(group):
            valid = item.asks is not None
            share = 0.0 if not valid else 1.0 if item.validity is None else item.validity
            difficulty = _difficulty(item.vote, values) if valid else 0.0
            charged = {name: found[row][column] for name, found in penalties.items()}
            added = {name: found[column] if valid else 0.0 for name, found in extra.items()}
            gain = share * difficulty + sum(added.values()) if valid else INVALID[values.questioner]
            total = gain - sum(charged.values())
            if values.questioner == "paper" and total < 0:  # not max(): that of 0 and NaN is 0
                total = 0.0
            parts = {"validity": share, "uncertainty": difficulty, **charged, **added}
            rewarded.append(Reward(total=total, parts=parts))
        rewards.append(rewarded)
    return rewards


def _penalties(
    groups: Sequence[Sequence[Candidate]], memory: Sequence[str], values: Values
) -> dict[str, list[list[float]]]:
    """Each penalty that is on, weight included, in the shape of the groups."""
    texts = [[item.asks.question if item.asks else "" for item in group] for group in groups]
    sizes = [len(group) for group in groups]
    flat = [text for group in texts for text in group]
    shares_of = merged_cluster_shares if values.questioner == "paper" else cluster_shares
    spans = [flat] if values.redundancy_scope == "batch" else texts
    shares = [s for span in spans for s in shares_of(span, threshold=REDUNDANCY_THRESHOLD).tolist()]
    found = {"redundancy": [values.redundancy_weight * share for share in shares]}
    if values.memory_weight:
        alike = skill_shares(flat, memory[max(0, len(memory) - MEMORY_SIZE) :])
        found["memory"] = [values.memory_weight * share for share in alike]
    return {name: _regrouped(flat_values, sizes) for name, flat_values in found.items()}


def _difficulty(vote: Vote | None, values: Values) -> float:
    confidence = vote.confidence if vote else 0.0
    if values.questioner == "official":
        return minority_share(confidence)
    return uncertainty(confidence, target=values.target_confidence)


def _regrouped(values: Sequence[float], sizes: Sequence[int]) -> list[list[float]]:
    remaining = iter(values)
    return [[next(remaining) for _ in range(size)] for size in sizes]
