"""The Reasoner's reward: agree with the silver answer (Eq. 10, arXiv 2511.15661)."""

import re
from collections.abc import Sequence
from typing import Any

from rewards.answers.equivalence import equivalent
from rewards.parsing import AnswerForm, Question, extract_answer
from rewards.reward import Reward, Term, Values
from rewards.voting import Vote


def reasoner_rewards(
    completions: Sequence[str],
    *,
    silver: Vote,
    values: Values,
    asked: Question,
    form: AnswerForm = "boxed",
    terms: Sequence[Term] = (),
    rows: Sequence[Any] | None = None,
) -> list[Reward]:
    r"""Rewards each completion: `(1 - format_weight) * accuracy + format_weight * format + terms`.

    Args:
        completions: raw texts; the answer is extracted here.
        silver: the vote that gave the silver answer.
        values: the numbers to use.
        asked: the question that is answered, with its options.
        form: where the answer is read; see `extract_answer`.
        terms: custom rewards, added to the reward of every completion.
        rows: the rows for the terms, one per completion; None passes the texts.

    Returns:
        One reward per completion, with the parts `parsed` (0 or 1), `accuracy` (1 for the silver answer, else
        0), `format` (1 for a `<think>` block followed by the box and nothing else) and each term by its name
        (weight included).
    """
    extra = {term.name: term.values(completions if rows is None else rows) for term in terms}
    rewards = []
    for place, text in enumerate(completions):
        answer = extract_answer(text, form)
        accuracy = 0.0
        if answer is not None and silver.answer is not None:
            same = equivalent(answer, silver.answer, question=asked.question, options=asked.options or None)
            accuracy = float(same.equal)
        formed = float(follows_format(text, form))
        total = (1 - values.format_weight) * accuracy + values.format_weight * formed
        added = {name: found[place] for name, found in extra.items()}
        parts = {"parsed": float(answer is not None), "accuracy": accuracy, "format": formed, **added}
        rewards.append(Reward(total=total + sum(added.values()), parts=parts))
    return rewards


def follows_format(text: str, form: AnswerForm = "boxed") -> bool:
    r"""Says whether a completion is one `<think>` block, then the answer in its place, then nothing.

    Where the template opened the block, the completion begins inside it.
    """
    stripped = text.strip()
    opened = stripped.count("<think>")
    if opened > 1 or stripped.count("</think>") != 1 or (opened and not stripped.startswith("<think>")):
        return False
    tail = stripped.partition("</think>")[2].strip()
    answer = re.escape(extract_answer(tail, form) or "")
    if form == "tagged":
        once = tail.count("<answer>") == 1
        return bool(answer) and once and re.fullmatch(r"<answer>.*</answer>", tail, re.DOTALL) is not None
    return bool(answer) and re.fullmatch(rf"\\boxed\s*\{{\s*{answer}\s*\}}", tail) is not None
