"""Judges of questions (`judge.function`) and of answers that the rules call different (`votes.judge`).

A judge of questions is given the run's context, the rows that hold a well-formed question, and the round; it
returns a validity in [0, 1] for each row. A row below `judge.least` gets no votes and the reward of an
invalid question, and is not trained on.
"""

from collections.abc import Sequence

import rewards
from rollouts.engine import BASE, Prompt, Sampling
from visplay.loop.asking import Round
from visplay.loop.context import RunContext
from visplay.loop.rows import Asked
from visplay.prompts import reasoner_prompt

QUESTION = "Can the question {question!r} be answered with certainty from the image alone, yes or no?"
SAME = (
    "Question: {question!r}. Are {one!r} and {other!r} the same answer to it, in other words or form? "
    "Reply with \\boxed{{yes}} or \\boxed{{no}}."
)
TOKENS = 256  # of a verdict


def ask_base(ctx: RunContext, rows: Sequence[Asked], round: Round) -> list[float]:
    """1 where the base model, which no phase changes, says that the picture settles the question; else 0."""
    prompts = [
        reasoner_prompt(
            ctx.picture(row.picture), QUESTION.format(question=row.asks.question), words=ctx.config.prompts
        )
        for row in rows
        if row.asks
    ]
    verdicts = ctx.sample(prompts, adapter=BASE, sampling=Sampling(temperature=0, max_tokens=TOKENS))
    form = ctx.config.prompts.answer_form
    answers = [rewards.extract_answer(group[0].text, form) for group in verdicts]
    return [float(answer is not None and rewards.equivalent(answer, "yes").equal) for answer in answers]


def same_to_base(ctx: RunContext, question: str, one: str, other: str) -> bool | None:
    """Whether the base model, shown no picture, takes two answers for one; None where it does not say."""
    text = SAME.format(question=question, one=one, other=other)
    content = [{"type": "text", "text": text}]
    prompt = Prompt(messages=({"role": "user", "content": content},))
    ((verdict,),) = ctx.sample([prompt], adapter=BASE, sampling=Sampling(temperature=0, max_tokens=TOKENS))
    answer = rewards.extract_answer(verdict.text)
    known = {said: rewards.equivalent(answer, said).equal for said in ("yes", "no")} if answer else {}
    return True if known.get("yes") else False if known.get("no") else None
