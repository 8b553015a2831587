"""Groundedness: does answering the question need the picture?

A question that is answered the same with the image greyed out teaches nothing about seeing. That language
alone answers many visual questions was measured for VQA (arXiv 1612.00837) and again for the benchmarks of
vision-language models (MMStar, arXiv 2403.20330); using it as a reward is this project's own.
"""

import random
from collections.abc import Sequence

from rewards.answers.equivalence import equivalent
from rewards.voting import Vote


def blind_agreement(
    vote: Vote, blind: Vote, *, question: str | None = None, options: Sequence[str] | None = None
) -> float:
    """Returns the share of blind answers that equal the silver answer, in [0, 1]; 0 without a silver answer.

    Args:
        vote: the vote with the image.
        blind: the vote on the same question with the image greyed out.
        question: what was asked; see `equivalent`.
        options: texts of a multiple-choice question's options, A first.
    """
    for answer, share in blind.shares if vote.answer is not None else ():
        if equivalent(answer, vote.answer, question=question, options=options).equal:
            return share
    return 0.0


def is_grounded(
    vote: Vote,
    blind: Vote,
    *,
    limit: float,
    question: str | None = None,
    options: Sequence[str] | None = None,
) -> bool:
    """Says whether curation may keep a question: its blind agreement is below the limit.

    Args:
        vote: the vote with the image.
        blind: the vote on the same question with the image greyed out.
        limit: in [0, 1].
        question: what was asked; see `equivalent`.
        options: texts of a multiple-choice question's options, A first.
    """
    return blind_agreement(vote, blind, question=question, options=options) < limit


def probed_groups(count: int, *, fraction: float, seed: int) -> list[bool]:
    """Chooses the images whose questions are also asked blind; whole groups, so that members compare.

    Args:
        count: number of groups.
        fraction: of the groups to choose, in [0, 1]; the number is rounded.
        seed: of the choice.
    """
    chosen = set(random.Random(seed).sample(range(count), round(fraction * count)))
    return [index in chosen for index in range(count)]
