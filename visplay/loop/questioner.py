"""Phase 1: the Questioner learns to ask diverse questions that the Reasoner is unsure about (Eqs. 5-8)."""

from collections.abc import Sequence

import rewards
from rewards import ParseFailure, Question
from rollouts.engine import Prompt
from visplay.loop.asking import Round, Stage, through
from visplay.loop.context import RunContext, asked_before
from visplay.loop.grpo import Batch, Scored, Scorer
from visplay.loop.rows import Asked
from visplay.loop.training import Prepare, Prompts, train_role
from visplay.prompts import questioner_prompt
from visplay.runs.checkpoints import Roles
from visplay.schema import ROLLOUTS, paid
from visplay.seeds import draw, mix_seed


def train(ctx: RunContext, iteration: int, roles: Roles, *, ask: Sequence[Stage]) -> Roles:
    """Train the Questioner against the Reasoner as it stands now.

    Args:
        ctx: of the run.
        iteration: which.
        roles: who asks and who votes.
        ask: the stages that each step's questions go through before they are rewarded.
    """
    prepare = _prepare(ctx, iteration, roles, ask)
    return train_role(ctx, iteration, "questioner", roles, prepare=prepare, schema=ROLLOUTS)


def _prepare(ctx: RunContext, iteration: int, roles: Roles, ask: Sequence[Stage]) -> Prepare:
    phase, seed = ctx.config.questioner, ctx.seed(iteration, "questioner")

    def prepare() -> tuple[Prompts, Scorer]:
        keys = draw([r.key for r in ctx.images.records], phase.steps * phase.prompts_per_step, seed=seed)
        memory = asked_before(ctx, iteration, "questioner/rollouts.parquet")

        def score(batch: Batch) -> Scored:
            groups = [
                [Asked.of(keys[row], completion) for completion in group]
                for row, group in zip(batch.rows, batch.completions, strict=True)
            ]
            round = Round(phase="questioner", roles=roles, seed=seed, at=(batch.step,))
            groups = through(ctx, groups, round, ask)
            return reward(ctx, groups, step=batch.step, seed=seed, memory=[*memory, *_questions(batch)])

        def prompt(key: str) -> Prompt:
            return questioner_prompt(ctx.picture(key), types=phase.types, words=ctx.config.prompts, key=key)

        return Prompts(keys, prompt), score

    return prepare


def reward(
    ctx: RunContext, groups: list[list[Asked]], *, step: int, seed: int, memory: Sequence[str]
) -> Scored:
    """Pay for uncertainty, charge for redundancy (Eq. 8); what a judge rejected counts as invalid."""
    preset = ctx.preset
    with ctx.watch("rewards"):
        rewarded = rewards.questioner_rewards(
            [[_valid(row) for row in group] for group in groups],
            [[row.vote.confidence if row.vote else 0.0 for row in group] for group in groups],
            preset=preset,
            votes=[[row.vote for row in group] for group in groups],
            blind=[[row.blind for row in group] for group in groups] if preset.groundedness_weight else None,
            validity=[[row.validity for row in group] for group in groups],
            memory=memory,
            terms=ctx.config.rewards.terms("questioner"),
            rows=groups,
        )
        if ctx.config.control == "random_reward":
            rewarded = [
                rewards.random_rewards(group, seed=mix_seed(seed, "lot", step, i))
                for i, group in enumerate(rewarded)
            ]
        records = [
            {"step": step} | row.record() | paid(one.total, dict(one.parts))
            for group, payments in zip(groups, rewarded, strict=True)
            for row, one in zip(group, payments, strict=True)
        ]
    return Scored(rewards=rewarded, records=records)


def _valid(row: Asked) -> Question | ParseFailure:
    return row.asks or (
        row.question if isinstance(row.question, ParseFailure) else ParseFailure(reason=row.reject)
    )


def _questions(batch: Batch) -> list[str]:
    """What the steps before this one asked."""
    return [record["question"] for record in batch.before if record["valid"]]
