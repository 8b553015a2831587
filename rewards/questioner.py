"""The Questioner's reward: uncertainty of the Reasoner's votes, less redundancy (Eq. 8, arXiv 2511.15661)."""

from collections.abc import Sequence
from typing import Protocol

from rewards.diversity import cluster_shares, merged_cluster_shares
from rewards.parsing import Question
from rewards.reward import Reward, Term, Values
from rewards.voting import Vote, minority_share, uncertainty

REDUNDANCY_THRESHOLD = 0.5  # cut of the average linkage, in units of BLEU distance; the paper's
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
    terms: Sequence[Term] = (),
) -> list[list[Reward]]:
    """Rewards each question.

    `paper`: `max(0, validity * uncertainty + terms - penalties)`, 0 for an invalid question.
    `official`: `validity * min(c, 1 - c) + terms - penalties`, or -1 less the penalties for an invalid one.

    Args:
        groups: [images][G] candidates.
        values: the numbers to use.
        terms: custom rewards, added if the question is valid.

    Returns:
        [images][G]. The parts are `validity` (0, or the judge's, or 1), `uncertainty` (before it is
        multiplied with the validity), `redundancy` (a penalty, weight included), and each term by its name.
    """
    charged = _redundancies(groups, values)
    rewards: list[list[Reward]] = []
    for row, group in enumerate(groups):
        extra = {term.name: term.values(group) for term in terms}
        rewarded = []
        for column, item in enumerate(group):
            valid = item.asks is not None
            share = 0.0 if not valid else 1.0 if item.validity is None else item.validity
            difficulty = _difficulty(item.vote, values) if valid else 0.0
            added = {name: found[column] if valid else 0.0 for name, found in extra.items()}
            gain = share * difficulty + sum(added.values()) if valid else INVALID[values.questioner]
            total = gain - charged[row][column]
            if values.questioner == "paper" and total < 0:  # not max(): that of 0 and NaN is 0
                total = 0.0
            known = {"validity": share, "uncertainty": difficulty, "redundancy": charged[row][column]}
            rewarded.append(Reward(total=total, parts=known | added))
        rewards.append(rewarded)
    return rewards


def _redundancies(groups: Sequence[Sequence[Candidate]], values: Values) -> list[list[float]]:
    """The penalty for similar questions, weight included, in the shape of the groups."""
    texts = [[item.asks.question if item.asks else "" for item in group] for group in groups]
    sizes = [len(group) for group in groups]
    flat = [text for group in texts for text in group]
    shares_of = merged_cluster_shares if values.questioner == "paper" else cluster_shares
    spans = [flat] if values.redundancy_scope == "batch" else texts
    shares = [s for span in spans for s in shares_of(span, threshold=REDUNDANCY_THRESHOLD).tolist()]
    return _regrouped([values.redundancy_weight * share for share in shares], sizes)


def _difficulty(vote: Vote | None, values: Values) -> float:
    confidence = vote.confidence if vote else 0.0
    if values.questioner == "official":
        return minority_share(confidence)
    return uncertainty(confidence, target=values.target_confidence)


def _regrouped(values: Sequence[float], sizes: Sequence[int]) -> list[list[float]]:
    remaining = iter(values)
    return [[next(remaining) for _ in range(size)] for size in sizes]
