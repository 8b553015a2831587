"""Groundedness: does answering the question need the picture?

A question that is answered the same with the image greyed out teaches nothing about seeing. That language
alone answers many visual questions was measured for VQA (arXiv 1612.00837) and again for the benchmarks of
vision-language models (MMStar, arXiv 2403.20330); using it as a reward is this project's own.
"""

import random

from rewards.answers.equivalence import equivalent
from rewards.parsing import Question
from rewards.voting import Vote


def blind_agreement(vote: Vote, blind: Vote, *, asked: Question) -> float:
    """Returns the share of blind answers that equal the silver answer, in [0, 1]; 0 without a silver answer.

    Args:
        vote: the vote with the image.
        blind: the vote on the same question with the image greyed out.
        asked: the question.
    """
    options = asked.options or None
    for answer, share in blind.shares if vote.answer is not None else ():
        if equivalent(answer, vote.answer, question=asked.question, options=options).equal:
            return share
    return 0.0


PROBED = 0.25  # of the images of a step


def probed_groups(count: int, *, seed: int) -> list[bool]:
    """Chooses the images whose questions are also asked blind; whole groups, so that members compare.

    Args:
        count: number of groups.
        seed: of the choice.
    """
    chosen = set(random.Random(seed).sample(range(count), round(PROBED * count)))
    return [index in chosen for index in range(count)]
