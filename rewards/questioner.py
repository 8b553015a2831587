"""The Questioner's reward: pay for questions the Reasoner is unsure of, charge for repeating oneself."""

from collections.abc import Sequence

import numpy as np

from rewards.diversity import grouped_cluster_shares
from rewards.parsing import ParseFailure, Question
from rewards.presets import Preset
from rewards.reward import Reward
from rewards.uncertainty import answer_entropy, entropy_difficulty, minority_share, uncertainty
from rewards.voting import Vote


def questioner_rewards(
    groups: Sequence[Sequence[Question | ParseFailure]],
    confidences: Sequence[Sequence[float]],
    *,
    preset: Preset,
    votes: Sequence[Sequence[Vote | None]] | None = None,
) -> list[list[Reward]]:
    """Rewards each question: `max(floor, valid ? difficulty : invalid_reward - penalties)`.

    With the preset `paper` this is Eq. 8 of arXiv 2511.15661: `valid * max(0, r_unc - r_div)`.

    Args:
        groups: for each image, its group of parsed completions.
        confidences: for each question, the vote's confidence in [0, 1]; not read for a ParseFailure.
        preset: the values to use.
        votes: the votes themselves, same shape; needed by the difficulty `entropy`.

    Returns:
        Rewards in the shape of `groups`, with the parts `validity` (0 or 1), `uncertainty` (the difficulty,
        0 if invalid) and `redundancy` (the penalty, lambda included).

    Raises:
        ValueError: shapes differ, or votes are needed and absent.
    """
    sizes, given = [len(group) for group in groups], [len(row) for row in confidences]
    if sizes != given:
        raise ValueError(f"confidences must have the shape of groups, {sizes}, got {given}")
    if preset.difficulty == "entropy" and votes is None:
        raise ValueError("rewards.difficulty 'entropy' needs the votes of every question")
    texts = [[item.question if isinstance(item, Question) else "" for item in group] for group in groups]
    shares = _redundancy(texts, preset)
    rewards: list[list[Reward]] = []
    for row, group in enumerate(groups):
        rewarded = []
        for column, item in enumerate(group):
            valid = isinstance(item, Question)
            ballot = votes[row][column] if votes is not None else None
            difficulty = _difficulty(confidences[row][column], ballot, preset) if valid else 0.0
            redundancy = preset.redundancy_weight * shares[row][column]
            total = (difficulty if valid else preset.invalid_reward) - redundancy
            if preset.floor is not None:
                total = max(preset.floor, total)
            parts = {"validity": float(valid), "uncertainty": difficulty, "redundancy": redundancy}
            rewarded.append(Reward(total=total, parts=parts))
        rewards.append(rewarded)
    return rewards


def _redundancy(texts: Sequence[Sequence[str]], preset: Preset) -> list[list[float]]:
    batch = preset.redundancy_scope == "batch"
    scopes = [[text for group in texts for text in group]] if batch else texts
    shares = grouped_cluster_shares(
        scopes, threshold=preset.redundancy_threshold, merge_duplicates=preset.merge_duplicates
    )
    if not batch:
        return [part.tolist() for part in shares]
    ends = np.cumsum([len(group) for group in texts])
    return [part.tolist() for part in np.split(shares[0], ends[:-1])]


def _difficulty(confidence: float, ballot: Vote | None, preset: Preset) -> float:
    if preset.difficulty == "minority":
        return minority_share(confidence)
    if preset.difficulty == "uncertainty":
        return uncertainty(confidence)
    if ballot is None or ballot.answer is None:
        return 0.0
    entropy = answer_entropy([share for _, share in ballot.shares])
    return entropy_difficulty(entropy, target=preset.entropy_target, width=preset.entropy_width)
