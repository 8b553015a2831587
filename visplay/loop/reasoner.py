"""Phase 3: teach the Reasoner to agree with the silver answers (Eq. 10)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rewards
from rewards import Reward
from rollouts.engine import Completion
from visplay.errors import TooFewExamples
from visplay.loop.asking import answer_judge
from visplay.loop.context import RunContext
from visplay.loop.examples import SilverExample, TrainingExample, draw_examples, read_examples
from visplay.loop.grpo import Batch, Scored, Scorer
from visplay.loop.training import Prompts, train_role
from visplay.runs.checkpoints import Roles
from visplay.schema import ANSWERS, paid
from visplay.seeds import mix_seed


def train(ctx: RunContext, iteration: int, roles: Roles, examples: Sequence[SilverExample]) -> Roles:
    """Train the Reasoner on what curation kept, with the shares of `guards` beside it.

    Args:
        ctx: of the run.
        iteration: which.
        roles: who is trained.
        examples: what this iteration kept.

    Raises:
        TooFewExamples: not even one step could be filled.
    """
    phase, seed = ctx.config.reasoner, ctx.seed(iteration, "reasoner")

    def prepare() -> tuple[Prompts, Scorer]:
        earlier = [
            example
            for i in range(1, iteration)
            for example in read_examples(ctx.run.folder / f"iteration-{i}" / "curation")
        ]
        drawn = draw_examples(
            ctx.config, examples, earlier=earlier, count=phase.steps * phase.prompts_per_step, seed=seed
        )
        different = {(example.picture, example.question.question) for example in drawn}
        if len(different) < phase.prompts_per_step:
            raise TooFewExamples(iteration=iteration, kept=len(examples), needed=phase.prompts_per_step)

        def score(batch: Batch) -> Scored:
            return reward(
                ctx, [drawn[row] for row in batch.rows], batch.completions, step=batch.step, seed=seed
            )

        words = ctx.config.prompts
        return Prompts(drawn, lambda example: example.prompt(ctx.picture, words=words)), score

    return train_role(ctx, iteration, "reasoner", roles, prepare=prepare, schema=ANSWERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One completion of the Reasoner in training.

    Attributes:
        example: what was asked, and the vote that pays.
        completion: the text as it was written.
        tokens: its length.
        cut: whether the length limit ended it.
    """

    example: TrainingExample
    completion: str
    tokens: int
    cut: bool

    @classmethod
    def of(cls, example: TrainingExample, completion: Completion) -> "Answered":
        """The row of a completion."""
        return cls(
            example=example, completion=completion.text, tokens=len(completion.token_ids),
            cut=completion.finish_reason == "length",
        )  # fmt: skip

    def record(self) -> dict[str, Any]:
        """The row as `visplay.schema.ANSWERS` has it."""
        return {
            "image_key": self.example.picture, "question": self.example.question.question,
            "options": list(self.example.question.options),
            "origin": self.example.origin, "completion": self.completion, "tokens": self.tokens,
            "cut": self.cut, "silver_answer": self.example.vote.answer,
        }  # fmt: skip


def reward(
    ctx: RunContext,
    examples: Sequence[TrainingExample],
    completions: Sequence[Sequence[Completion]],
    *,
    step: int,
    seed: int,
) -> Scored:
    """Pay each answer that agrees with the silver answer of its example."""
    terms = ctx.config.rewards.terms("reasoner")
    rewarded: list[list[Reward]] = []
    records: list[dict[str, Any]] = []
    with ctx.watch("rewards"):
        for i, (example, group) in enumerate(zip(examples, completions, strict=True)):
            rows = [Answered.of(example, completion) for completion in group]
            payments = rewards.reasoner_rewards(
                [row.completion for row in rows], silver=example.vote, preset=ctx.preset, terms=terms,
                rows=rows, question=example.question.question,
                options=example.question.options or None, form=ctx.config.prompts.answer_form,
                judge=answer_judge(ctx, example.question.question),
            )  # fmt: skip
            if ctx.config.control == "random_reward":
                payments = rewards.random_rewards(payments, seed=mix_seed(seed, "lot", step, i))
            rewarded.append(payments)
            records += [
                {"step": step} | row.record() | paid(one.total, dict(one.parts))
                for row, one in zip(rows, payments, strict=True)
            ]
    return Scored(rewards=rewarded, records=records)
