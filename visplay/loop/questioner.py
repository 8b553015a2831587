"""Phase 1: the Questioner learns to ask diverse questions that the Reasoner is unsure about (Eqs. 5-8)."""

from collections.abc import Sequence
from typing import Any

import rewards
from rewards import Reward
from visplay.loop.asking import Asked, Groups, Prompting, Round, Stage, plain, through
from visplay.loop.context import RunContext
from visplay.loop.phase import learning
from visplay.runs.checkpoints import Roles
from visplay.schema import ROLLOUTS, paid
from visplay.seeds import draw, mix_seed


def train(
    ctx: RunContext, iteration: int, roles: Roles, *, ask: Sequence[Stage], prompting: Prompting = plain
) -> Roles:
    """Train the Questioner against the current Reasoner; returns the roles with its new version.

    Args:
        ctx: the run's context.
        iteration: the iteration.
        roles: the adapter versions that ask and vote.
        ask: the stages that each step's questions pass before they are rewarded.
        prompting: makes the prompts.
    """
    config, seed = ctx.config.questioner, ctx.seed(iteration, "questioner")
    many = config.prompts_per_step
    keys = draw([r.key for r in ctx.images.records], config.steps * many, seed=seed)
    ctx.publish(roles["reasoner"])  # it votes, and newer versions may have replaced it
    with learning(ctx, iteration, "questioner", roles, schema=ROLLOUTS) as phase:
        for step, adapter in phase.steps():
            pictures = keys[step * many : (step + 1) * many]
            prompts = prompting(ctx, pictures, mix_seed(seed, "prompts", step))
            written = ctx.sample(prompts, adapter=adapter, sampling=phase.sampling(step))
            groups = [
                [Asked.of(key, one) for one in group] for key, group in zip(pictures, written, strict=True)
            ]
            groups = through(ctx, groups, Round(phase="questioner", roles=roles, seed=seed, at=(step,)), ask)
            payments, records = reward(ctx, groups, step=step, seed=seed)
            phase.learn(prompts, written, payments, records)
    return phase.roles


def reward(
    ctx: RunContext, groups: Groups, *, step: int, seed: int
) -> tuple[list[list[Reward]], list[dict[str, Any]]]:
    """Reward uncertainty minus redundancy (Eq. 8); questions that a judge rejected count as invalid.

    Returns:
        The rewards [P][G], and the rows of `rollouts.parquet`.
    """
    own = ctx.config.rewards
    with ctx.watch("rewards"):
        rewarded = rewards.questioner_rewards(groups, values=own.values(), terms=own.terms("questioner"))
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
    return rewarded, records
