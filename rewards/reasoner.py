"""The Reasoner's reward: agree with the silver answer (Eq. 10, arXiv 2511.15661)."""

import re
from collections.abc import Sequence
from typing import Any

from rewards.answers.equivalence import Judge, equivalent
from rewards.parsing import AnswerForm, extract_answer
from rewards.presets import Preset
from rewards.reward import Reward, Term
from rewards.voting import Vote


def reasoner_rewards(
    completions: Sequence[str],
    *,
    silver: Vote,
    preset: Preset,
    question: str | None = None,
    options: Sequence[str] | None = None,
    judge: Judge | None = None,
    form: AnswerForm = "boxed",
    terms: Sequence[Term] = (),
    rows: Sequence[Any] | None = None,
) -> list[Reward]:
    r"""Rewards each completion: `accuracy_weight * accuracy + format_weight * format + terms`.

    Args:
        completions: raw texts; the answer is extracted here.
        silver: the vote that gave the silver answer.
        preset: the values to use.
        question: what was asked; see `equivalent`.
        options: texts of a multiple-choice question's options, A first.
        judge: see `equivalent`.
        form: where the answer is read; see `extract_answer`.
        terms: rewards of one's own, added to every completion's.
        rows: what the terms see of each completion; None shows them the texts.

    Returns:
        One reward per completion, with the parts `parsed` (0 or 1), `accuracy`, `format` (1 for a `<think>`
        block followed by the box and nothing else) and each term by its name (weight included). Accuracy is
        1 for the silver answer, else 0; with `soft` it is the answer's vote share to the power of
        `soft_exponent` (EvoLMM, arXiv 2511.16672), 0 for an answer that got no vote.
    """
    if preset.reasoner == "soft":
        values = [(answer, share**preset.soft_exponent) for answer, share in silver.shares]
    else:
        values = [(silver.answer, 1.0)] if silver.answer is not None else []
    extra = {term.name: term.values(completions if rows is None else rows) for term in terms}
    rewards = []
    for place, text in enumerate(completions):
        answer = extract_answer(text, form)
        accuracy = 0.0
        if answer is not None:
            for known, value in values:
                if equivalent(answer, known, question=question, options=options, judge=judge).equal:
                    accuracy = value
                    break
        formed = float(follows_format(text, form))
        total = preset.accuracy_weight * accuracy + preset.format_weight * formed
        added = {name: values[place] for name, values in extra.items()}
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
