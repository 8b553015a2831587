"""Rewards that make self-play collapse, for the tests of what notices it."""

from collections import Counter
from collections.abc import Sequence

from rewards import ParseFailure, Question, Vote, extract_answer


def says_yes(completions: Sequence[str], silver: Vote) -> list[float]:
    """1 for "yes", whatever was asked."""
    return [float((extract_answer(text) or "").lower() == "yes") for text in completions]


def repeats(group: Sequence[Question | ParseFailure], confidences: Sequence[float]) -> list[float]:
    """The share of the group that asks in the same words."""
    texts = [item.question if isinstance(item, Question) else "" for item in group]
    counts = Counter(texts)
    return [counts[text] / len(texts) if text else 0.0 for text in texts]
