"""Judges of questions (`judge.function`).

A judge gets the run's context, the rows with a well-formed question, and the round. It returns a validity in
[0, 1] for each row. A row below `judge.least` gets no votes and the reward of an invalid question, and is not
trained on. Otherwise the validity multiplies the row's uncertainty reward.
"""

from collections.abc import Sequence

import rewards
from rewards.parsing import AnswerForm
from rollouts.engine import BASE, AdapterVersion, Sampling
from visplay.loop.asking import Asked, Round
from visplay.loop.context import RunContext
from visplay.planning.work import VERDICT_LIMIT
from visplay.prompts import reasoner_prompt

VERDICT = Sampling(temperature=0, max_tokens=VERDICT_LIMIT, logprobs=False)


def ask_base(ctx: RunContext, rows: Sequence[Asked], round: Round) -> list[float]:
    """1 if the base says that the picture answers the question, else 0; training does not change the base."""
    return _verdicts(ctx, rows, judge=BASE)


def ask_reasoner(ctx: RunContext, rows: Sequence[Asked], round: Round) -> list[float]:
    """The same verdicts from the Reasoner at the start of the phase."""
    return _verdicts(ctx, rows, judge=round.roles["reasoner"])


def _verdicts(ctx: RunContext, rows: Sequence[Asked], *, judge: AdapterVersion) -> list[float]:
    """One greedy verdict per question, [rows]."""
    words = ctx.config.prompts
    prompts = [
        reasoner_prompt(
            ctx.picture(row.picture), words.judge.format(question=row.asks.question), words=words,
            key=row.picture,
        )
        for row in rows
        if row.asks
    ]  # fmt: skip
    groups = ctx.sample(prompts, adapter=judge, sampling=VERDICT)
    return [float(_says_yes(group[0].text, words.answer_form)) for group in groups]


def _says_yes(text: str, form: AnswerForm) -> bool:
    answer = rewards.extract_answer(text, form)
    return answer is not None and rewards.equivalent(answer, "yes").equal
