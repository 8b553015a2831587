"""Judges of questions: is this one answerable from its picture? `judge.function` names one.

A judge is given the run's context, the rows that hold a well-formed question, and the round; it returns a
validity in [0, 1] for each row. A row below `judge.least` gets no votes and the reward of an invalid
question, and is not trained on.
"""

from collections.abc import Sequence

import rewards
from rollouts.engine import BASE, Sampling
from visplay.loop.asking import Round
from visplay.loop.context import RunContext
from visplay.loop.rows import Asked
from visplay.prompts import reasoner_prompt

QUESTION = "Can the question {question!r} be answered with certainty from the image alone, yes or no?"
TOKENS = 256  # of a verdict


def ask_base(ctx: RunContext, rows: Sequence[Asked], round: Round) -> list[float]:
    """1 where the base model, which no phase changes, says that the picture settles the question; else 0."""
    prompts = [
        reasoner_prompt(ctx.picture(row.picture), QUESTION.format(question=row.asks.question))
        for row in rows
        if row.asks
    ]
    verdicts = ctx.sample(prompts, adapter=BASE, sampling=Sampling(temperature=0, max_tokens=TOKENS))
    answers = [rewards.extract_answer(group[0].text) for group in verdicts]
    return [float(answer is not None and rewards.equivalent(answer, "yes").equal) for answer in answers]
