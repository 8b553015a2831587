"""A short alternation as in RISE (arXiv 2605.20914): a few steps of each role, and a judge of questions.

The Reasoner learns from the questions of the preceding Questioner phase. Their votes already exist, so no
picture is asked about again, and labels are at most a few steps old. See `configs/rise.yaml`.
"""

from visplay.loop import curation, measuring, questioner, reasoner, watching
from visplay.loop.asking import judge, parse, vote
from visplay.loop.context import RunContext
from visplay.loop.curation import band
from visplay.runs.checkpoints import Roles


def rise(ctx: RunContext, roles: Roles) -> None:
    """Ask, judge and vote, then train both roles on the same questions; repeat."""
    for iteration in ctx.iterations():
        before = roles
        roles = questioner.train(ctx, iteration, roles, ask=[parse, judge, vote])
        examples = curation.from_training(ctx, iteration, before, ask=[band])
        roles = reasoner.train(ctx, iteration, roles, examples)
        measuring.measure(ctx, iteration, roles)
        roles = watching.finish(ctx, iteration, roles)
