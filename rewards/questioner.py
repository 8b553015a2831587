"""The Questioner's reward: pay for questions the Reasoner is unsure of, charge for repeating oneself."""

from collections.abc import Sequence
from typing import Any, TypeVar

from rewards.diversity.redundancy import (
    cluster_shares,
    merged_cluster_shares,
    remember,
    remembered_similarity,
)
from rewards.grounding import blind_agreement
from rewards.parsing import ParseFailure, Question
from rewards.presets import Preset
from rewards.quotas import quota_excess
from rewards.reward import Reward, Term
from rewards.skills import skill_shares
from rewards.uncertainty import answer_entropy, entropy_difficulty, minority_share, uncertainty
from rewards.voting import Vote

_T = TypeVar("_T")


def questioner_rewards(
    groups: Sequence[Sequence[Question | ParseFailure]],
    confidences: Sequence[Sequence[float]],
    *,
    preset: Preset,
    votes: Sequence[Sequence[Vote | None]] | None = None,
    blind: Sequence[Sequence[Vote | None]] | None = None,
    memory: Sequence[str] = (),
    validity: Sequence[Sequence[float | None]] | None = None,
    terms: Sequence[Term] = (),
    rows: Sequence[Sequence[Any]] | None = None,
) -> list[list[Reward]]:
    """Rewards each question: `max(floor, gain - penalties)`.

    The gain is the difficulty plus the terms, or `invalid_reward` for a completion that holds no valid
    question. With the preset `paper` this is Eq. 8 of arXiv 2511.15661, `valid * max(0, r_unc - r_div)`.

    Args:
        groups: for each image, its group of parsed completions.
        confidences: for each question, the vote's confidence in [0, 1]; not read for a ParseFailure.
        preset: the values to use.
        votes: the votes themselves, same shape; needed by the difficulty `entropy` and by groundedness.
        blind: votes with the image greyed out, same shape; None where a question was not probed.
        memory: earlier questions, oldest first, for `memory_weight`.
        validity: a judge's, in [0, 1], same shape: it multiplies the difficulty; None where none judged.
        terms: rewards of one's own, added where the question is valid.
        rows: what the terms see, same shape; None shows them the groups.

    Returns:
        Rewards in the shape of `groups`. The parts: `validity` (0, or the judge's, or 1), `uncertainty` (the
        difficulty, before it is multiplied with the validity),
        `redundancy` (the penalty, lambda included), those of `memory`, `quota` and `groundedness` that are
        switched on (penalties, weights included), and each term by its name (weight included).

    Raises:
        ValueError: shapes differ, or votes are needed and absent.
    """
    _check_shapes(groups, confidences=confidences, votes=votes, blind=blind, validity=validity, rows=rows)
    if votes is None and (
        preset.difficulty == "entropy" or (preset.groundedness_weight and blind is not None)
    ):
        raise ValueError("rewards.difficulty 'entropy' and rewards.groundedness_weight need the votes")
    penalties = _penalties(groups, votes, blind, memory, preset)
    rewards: list[list[Reward]] = []
    for row, (group, confidence) in enumerate(zip(groups, confidences, strict=True)):
        extra = {term.name: term.values(group if rows is None else rows[row]) for term in terms}
        ballots = votes[row] if votes is not None else [None] * len(group)
        rewarded = []
        for column, item in enumerate(group):
            valid = isinstance(item, Question)
            judged = validity[row][column] if validity is not None else None
            share = 0.0 if not valid else 1.0 if judged is None else judged
            difficulty = _difficulty(confidence[column], ballots[column], preset) if valid else 0.0
            charged = {name: values[row][column] for name, values in penalties.items()}
            added = {name: values[column] if valid else 0.0 for name, values in extra.items()}
            gain = share * difficulty + sum(added.values()) if valid else preset.invalid_reward
            total = gain - sum(charged.values())
            if preset.floor is not None:
                total = max(preset.floor, total)
            parts = {"validity": share, "uncertainty": difficulty, **charged, **added}
            rewarded.append(Reward(total=total, parts=parts))
        rewards.append(rewarded)
    return rewards


def _penalties(
    groups: Sequence[Sequence[Question | ParseFailure]],
    votes: Sequence[Sequence[Vote | None]] | None,
    blind: Sequence[Sequence[Vote | None]] | None,
    memory: Sequence[str],
    preset: Preset,
) -> dict[str, list[list[float]]]:
    """Returns each penalty that is switched on, weight included, in the shape of the groups."""
    texts = [[item.question if isinstance(item, Question) else "" for item in group] for group in groups]
    sizes = [len(group) for group in groups]
    flat = [text for group in texts for text in group]
    threshold = preset.redundancy_threshold
    batch = preset.redundancy_scope == "batch"
    shares_of = merged_cluster_shares if preset.merge_duplicates else cluster_shares
    spans = [flat] if batch else texts
    shares_in_order = [share for span in spans for share in shares_of(span, threshold=threshold).tolist()]
    found = {"redundancy": [preset.redundancy_weight * share for share in shares_in_order]}
    if preset.memory_weight:
        found["memory"] = [preset.memory_weight * value for value in _likeness(flat, memory, preset)]
    if preset.quota_weight:
        types = [item.type if isinstance(item, Question) else None for group in groups for item in group]
        found["quota"] = [preset.quota_weight * e for e in quota_excess(types, preset.type_quotas)]
    if preset.groundedness_weight and votes is not None and blind is not None:
        asked = (item for group in groups for item in group)
        ballots = ((vote for row in rows for vote in row) for rows in (votes, blind))
        found["groundedness"] = [
            preset.groundedness_weight
            * blind_agreement(seen, unseen, question=item.question, options=item.options)
            if seen and unseen and isinstance(item, Question)
            else 0.0
            for item, seen, unseen in zip(asked, *ballots, strict=True)
        ]
    return {name: _regrouped(values, sizes) for name, values in found.items()}


def _likeness(questions: Sequence[str], memory: Sequence[str], preset: Preset) -> list[float]:
    """How like what was asked before each question is, in [0, 1]."""
    if preset.memory_by == "skill":
        return skill_shares(questions, memory[max(0, len(memory) - preset.memory_size) :])
    kept = remember([], memory, size=preset.memory_size)
    found: list[float] = remembered_similarity(
        questions, kept, threshold=preset.redundancy_threshold
    ).tolist()
    return found


def _difficulty(confidence: float, ballot: Vote | None, preset: Preset) -> float:
    if preset.difficulty == "minority":
        return minority_share(confidence)
    if preset.difficulty == "uncertainty":
        return uncertainty(confidence, target=preset.target_confidence)
    if ballot is None or ballot.answer is None:
        return 0.0
    entropy = answer_entropy([share for _, share in ballot.shares])
    return entropy_difficulty(entropy, target=preset.entropy_target, width=preset.entropy_width)


def _regrouped(values: Sequence[_T], sizes: Sequence[int]) -> list[list[_T]]:
    remaining = iter(values)
    return [[next(remaining) for _ in range(size)] for size in sizes]


def _check_shapes(
    groups: Sequence[Sequence[Question | ParseFailure]], **others: Sequence[Sequence[object]] | None
) -> None:
    sizes = [len(group) for group in groups]
    for name, rows in others.items():
        if rows is not None and sizes != [len(row) for row in rows]:
            raise ValueError(
                f"{name} must have the shape of groups, {sizes}, got {[len(row) for row in rows]}"
            )
