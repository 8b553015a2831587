"""Rewards that make self-play collapse, for the tests of what notices it."""

from collections import Counter
from collections.abc import Sequence

from rewards import extract_answer
from visplay.loop.asking import Asked
from visplay.loop.reasoner import Answered


def says_yes(rows: Sequence[Answered]) -> list[float]:
    """1 for "yes", whatever was asked."""
    return [float((extract_answer(row.completion) or "").lower() == "yes") for row in rows]


def repeats(group: Sequence[Asked]) -> list[float]:
    """The share of the group that asks in the same words."""
    texts = [row.asks.question if row.asks else "" for row in group]
    counts = Counter(texts)
    return [counts[text] / len(texts) if text else 0.0 for text in texts]
