"""How much there is to learn from a question, judged by how the Reasoner's votes split."""


def uncertainty(confidence: float, *, target: float = 0.5) -> float:
    """How near the votes are to the confidence that pays most: 1 there, falling in a straight line to 0.

    With the target 0.5 this is `1 - |2c - 1|`: 1 where the votes split evenly, 0 where they agree (Eq. 5,
    arXiv 2511.15661). Above it `c / target` and `(1 - c) / (1 - target)` pay for questions on which the
    Reasoner is surer, whose silver answers are more often right.

    Args:
        confidence: c, the vote share of the silver answer, in [0, 1]; 0 where nothing was parsed.
        target: the confidence that pays most, in (0, 1).
    """
    c = _checked(confidence)
    return c / target if c <= target else (1.0 - c) / (1.0 - target)


def minority_share(confidence: float) -> float:
    """Returns `min(c, 1 - c)`, the difficulty that VisPlay's released code uses: half of `uncertainty`."""
    return min(_checked(confidence), 1.0 - confidence)


def in_informative_band(confidence: float, low: float, high: float) -> bool:
    """Says whether a question is worth learning from: `low <= c <= high` (Eq. 9, arXiv 2511.15661)."""
    return low <= _checked(confidence) <= high


def _checked(confidence: float) -> float:
    if not 0.0 <= confidence <= 1.0:
        raise ValueError(f"confidence must be in [0, 1], got {confidence}")
    return confidence
