"""Judges of questions (`judge.function`).

A judge is given the run's context, the rows that hold a well-formed question, and the round; it
returns a validity in [0, 1] for each row. A row below `judge.least` gets no votes and the reward of an
invalid question, and is not trained on; above it the validity multiplies what its difficulty pays.
"""

from collections.abc import Sequence

import rewards
from rewards.parsing import AnswerForm
from rollouts.engine import BASE, AdapterVersion, Sampling
from visplay.loop.asking import Asked, Round
from visplay.loop.context import RunContext
from visplay.planning.work import VERDICT_LIMIT
from visplay.prompts import reasoner_prompt


def ask_base(ctx: RunContext, rows: Sequence[Asked], round: Round) -> list[float]:
    """The share of the base's verdicts that the picture settles the question; no phase changes this judge."""
    return _verdicts(ctx, rows, round, judge=BASE)


def ask_reasoner(ctx: RunContext, rows: Sequence[Asked], round: Round) -> list[float]:
    """The same by the Reasoner as it stood when the phase began."""
    return _verdicts(ctx, rows, round, judge=round.roles["reasoner"])


def _verdicts(ctx: RunContext, rows: Sequence[Asked], round: Round, *, judge: AdapterVersion) -> list[float]:
    """The share of `judge.samples` verdicts that say yes, in [0, 1], [rows] (RISE, arXiv 2605.20914)."""
    words, samples = ctx.config.prompts, ctx.config.judge.samples
    sampling = Sampling(
        n=samples,
        temperature=1.0 if samples > 1 else 0.0,
        max_tokens=VERDICT_LIMIT,
        seed=round.seed_of("judge"),
    )
    prompts = [
        reasoner_prompt(
            ctx.picture(row.picture), words.judge.format(question=row.asks.question), words=words,
            key=row.picture,
        )
        for row in rows
        if row.asks
    ]  # fmt: skip
    groups = ctx.sample(prompts, adapter=judge, sampling=sampling)
    return [
        sum(_says_yes(completion.text, words.answer_form) for completion in group) / samples
        for group in groups
    ]


def _says_yes(text: str, form: AnswerForm) -> bool:
    answer = rewards.extract_answer(text, form)
    return answer is not None and rewards.equivalent(answer, "yes").equal
