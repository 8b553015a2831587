"""Self-play: Algorithm 1 of VisPlay (arXiv 2511.15661).

    visplay train configs/qwen2.5-vl-3b.yaml images.source=photos      starts a run, and resumes it

Every phase is a step of the run: it writes an artifact to the run's folder and is skipped if the folder has
it. The loop is therefore the same for a new run and for one that is resumed after a kill.

Deviations from Algorithm 1: a question that is asked twice about a picture is voted on and kept once;
curation stops when it has kept twice the number that the Reasoner's phase uses (`curation.margin`); a judge
may reject questions before the vote; after each iteration the health figures are checked against limits.
A custom loop is a function like `visplay` below, named by `loop: module:function`.
"""

from collections.abc import Callable
from pathlib import Path
from traceback import format_exception, walk_tb

import torch
from transformers import set_seed

from rollouts.engine import EngineUnavailable, RequestRefused
from visplay.config.loading import Config, check_names, functions_of
from visplay.config.names import named
from visplay.errors import BenchmarkError, ConfigError, TooFewExamples, VisplayError
from visplay.evaluation.session import require_benchmarks
from visplay.evaluation.spec import expand
from visplay.launcher import is_lost
from visplay.loop import curation, measuring, questioner, reasoner, watching
from visplay.loop.alarms import is_finished
from visplay.loop.asking import judge, parse, vote
from visplay.loop.context import RunContext, first_roles, open_context
from visplay.loop.curation import band
from visplay.models.policy import Policy
from visplay.progress import Display
from visplay.runs.checkpoints import Roles
from visplay.runs.run import Run
from visplay.runs.shutdown import what_to_do
from visplay.storage import write_text
from visplay.training.arguments import check_ahead, check_fields, check_phases
from visplay.training.learner import Learner
from visplay.training.ranks import Ranks, joined

Loop = Callable[[RunContext, Roles], None]


def visplay(ctx: RunContext, roles: Roles) -> None:
    """Algorithm 1: the Questioner learns to ask, its questions are curated, the Reasoner learns from them."""
    for iteration in ctx.iterations():
        roles = questioner.train(ctx, iteration, roles, ask=[parse, judge, vote])
        examples = curation.curate(ctx, iteration, roles, ask=[parse, judge, vote, band])
        roles = reasoner.train(ctx, iteration, roles, examples)
        measuring.measure(ctx, iteration, roles)
        roles = watching.finish(ctx, iteration, roles)


def selfplay(config: Config, *, display: Display | None = None, api_key: str | None = None) -> Path:
    """Start or resume self-play; returns the run's folder.

    Args:
        config: the configuration of the run.
        display: where progress is shown; None shows no progress.
        api_key: sent to the servers of `engine.backend=server`; it is not stored.

    Raises:
        VisplayError: an error that a user can fix; see `visplay.errors`.
    """
    with joined() as ranks:
        if not ranks.first:
            follow(ranks)
            return config.folder
        check_names(config)
        check_fields(config.optimizer)
        check_ahead(config.optimizer, config.model, config.engine)
        check_phases(config, ranks)
        shown = display or Display.quiet()
        run = Run(config.folder)
        if is_finished(run.folder, config.model_dump(), [entry["step"] for entry in run.journal()]):
            with run.opened(config, say=shown.say):
                shown.say(f"{run.folder} is finished; raise iterations to continue it")
            ranks.broadcast(None)
            return run.folder
        _check_benchmarks(config)
        try:
            with open_context(config, display=shown, api_key=api_key, ranks=ranks) as ctx:
                play(ctx)
                ranks.broadcast(None)  # training is finished
        except Exception as error:
            known = isinstance(error, VisplayError | EngineUnavailable | RequestRefused) or is_lost(error)
            if known or what_to_do(error) or not (found := _in_own_function(error, config)):
                raise
            write_text(note := config.folder / "traceback.txt", "".join(format_exception(error)))
            raise ConfigError(f"{found}; correct it (the traceback is in {note})") from error
    return config.folder


def follow(ranks: Ranks) -> None:
    """The work of every rank except rank 0: hold the base VLM and join the training of rank 0."""
    config: Config
    if (config := ranks.broadcast()) is None:  # the run is finished
        return
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    set_seed(config.seed)
    Learner.follow(Policy.of(config.model, lora=config.lora), ranks)


def play(ctx: RunContext) -> None:
    """Measure the base, then execute the loop that the configuration names."""
    loop: Loop = named(ctx.config.loop, key="loop")
    roles = first_roles(ctx)
    measuring.measure(ctx, 0, roles)
    try:
        loop(ctx, roles)
    except TooFewExamples as error:
        if error.iteration == 1:
            raise
        ctx.end_early(str(error), last=error.iteration - 1)


def _check_benchmarks(config: Config) -> None:
    """Check before weights are read that the probe is measured and that benchmarks can be read and scored."""
    specs = expand(config.evaluation.benchmarks)
    if config.health.probe not in (None, *(measured := [spec.id for spec in specs])):
        raise ConfigError(
            f"health.probe: {config.health.probe!r} is not measured; measured are {', '.join(measured)}"
        )
    for spec in specs:
        if "judge" in (spec.rule, *spec.rules.values()):
            raise BenchmarkError(
                f"evaluation.benchmarks: {spec.id} needs a judge, which the loop does not have; remove it "
                "and score the run afterwards with visplay evaluate RUN --judge ..."
            )
    require_benchmarks(measuring.plan_of(config))


def _in_own_function(error: Exception, config: Config) -> str:
    """The key, module and line of a custom function that raised an error; empty if our own code raised it."""
    keys = {name.partition(":")[0]: key for name, key in functions_of(config).items()}
    ours, said = ("visplay.", "rollouts.", "rewards."), " ".join(str(error).split())[:300]
    for frame, line in reversed(list(walk_tb(error.__traceback__))):
        if (module := str(frame.f_globals.get("__name__"))).startswith(ours):
            return ""
        if module in keys:
            return f"{keys[module]}: {module}, line {line}, failed with {type(error).__name__}: {said}"
    return ""
