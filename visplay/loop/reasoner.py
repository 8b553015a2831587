"""Phase 3: the Reasoner learns to agree with the silver answers (Eq. 10)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

import rewards
from rewards import Question, Reward, Vote
from rollouts.engine import Completion, Prompt
from visplay.config.prompts import Prompts
from visplay.errors import TooFewExamples
from visplay.loop.asking import Asked
from visplay.loop.context import RunContext
from visplay.loop.phase import learning
from visplay.prompts import reasoner_prompt
from visplay.runs.checkpoints import Roles
from visplay.schema import ANSWERS, paid
from visplay.seeds import draw, mix_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class SilverExample:
    """A picture's key, a question about it and the vote on its answer."""

    picture: str
    question: Question
    vote: Vote

    def prompt(self, picture: Callable[[str], Image.Image], *, words: Prompts) -> Prompt:
        """Build the Reasoner's prompt from a template; `picture` loads the picture of a key."""
        kind, text = self.question.type, self.question.question
        return reasoner_prompt(picture(self.picture), text, words=words, kind=kind, key=self.picture)


def read_examples(folder: Path) -> list[SilverExample]:
    """The examples that a curation kept, from its `candidates.parquet`; empty if the file does not exist."""
    file = folder / "candidates.parquet"
    stored = pq.read_table(file, filters=[("kept", "==", True)]).to_pylist() if file.is_file() else []
    rows = [Asked.from_record(row) for row in stored]
    return [
        SilverExample(picture=row.picture, question=row.question, vote=row.vote)
        for row in rows
        if isinstance(row.question, Question) and row.vote is not None
    ]


def train(ctx: RunContext, iteration: int, roles: Roles, examples: Sequence[SilverExample]) -> Roles:
    """Train the Reasoner on the examples of curation; returns the roles with its new version.

    Args:
        ctx: the run's context.
        iteration: the iteration.
        roles: the current adapter versions.
        examples: the examples that this iteration kept.

    Raises:
        TooFewExamples: there are too few examples for one step.
    """
    config, seed = ctx.config.reasoner, ctx.seed(iteration, "reasoner")
    many = config.prompts_per_step
    if config.steps and len({(one.picture, one.question.question) for one in examples}) < many:
        raise TooFewExamples(iteration, kept=len(examples), needed=many)
    drawn = draw(examples, config.steps * many, seed=seed)
    with learning(ctx, iteration, "reasoner", roles, schema=ANSWERS) as phase:
        for step, adapter in phase.steps():
            own = drawn[step * many : (step + 1) * many]
            prompts = [example.prompt(ctx.picture, words=ctx.config.prompts) for example in own]
            answers = ctx.sample(prompts, adapter=adapter, sampling=phase.sampling(step))
            payments, records = reward(ctx, own, answers, step=step, seed=seed)
            phase.learn(prompts, answers, payments, records)
    return phase.roles


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One completion of the Reasoner in training.

    Attributes:
        example: the question, and the vote that determines the reward.
        completion: the unmodified text.
        tokens: number of tokens of the completion.
        cut: whether the length limit ended the completion.
    """

    example: SilverExample
    completion: str
    tokens: int
    cut: bool

    @classmethod
    def of(cls, example: SilverExample, completion: Completion) -> "Answered":
        """Create the row of a completion."""
        return cls(
            example=example, completion=completion.text, tokens=len(completion.token_ids),
            cut=completion.finish_reason == "length",
        )  # fmt: skip

    def record(self) -> dict[str, Any]:
        """Convert to a row of the schema `visplay.schema.ANSWERS`."""
        return {
            "image_key": self.example.picture, "question": self.example.question.question,
            "options": list(self.example.question.options), "completion": self.completion,
            "tokens": self.tokens, "cut": self.cut, "silver_answer": self.example.vote.answer,
        }  # fmt: skip


def reward(
    ctx: RunContext,
    examples: Sequence[SilverExample],
    completions: Sequence[Sequence[Completion]],
    *,
    step: int,
    seed: int,
) -> tuple[list[list[Reward]], list[dict[str, Any]]]:
    """Reward each answer that agrees with its example's silver answer.

    Returns:
        The rewards [P][G], and the rows of `rollouts.parquet`.
    """
    own = ctx.config.rewards
    values, terms = own.values(), own.terms("reasoner")
    rewarded: list[list[Reward]] = []
    records: list[dict[str, Any]] = []
    with ctx.watch("rewards"):
        for i, (example, group) in enumerate(zip(examples, completions, strict=True)):
            rows = [Answered.of(example, completion) for completion in group]
            payments = rewards.reasoner_rewards(
                [row.completion for row in rows], silver=example.vote, values=values, terms=terms,
                rows=rows, asked=example.question, form=ctx.config.prompts.answer_form,
            )  # fmt: skip
            if ctx.config.control == "random_reward":
                payments = rewards.random_rewards(payments, seed=mix_seed(seed, "lot", step, i))
            rewarded.append(payments)
            records += [
                {"step": step} | row.record() | paid(one.total, dict(one.parts))
                for row, one in zip(rows, payments, strict=True)
            ]
    return rewarded, records
