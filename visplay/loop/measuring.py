"""Measure the Reasoner: the loop's plan for `visplay.evaluation.session`, inside a step of the run."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rollouts.engine import AdapterVersion
from visplay.errors import BenchmarkError
from visplay.evaluation.benchmarks import load_benchmark
from visplay.evaluation.contamination import find_suspects, hash_pictures
from visplay.evaluation.items import Item
from visplay.evaluation.metrics import Figures
from visplay.evaluation.reasoner import reasoner_on
from visplay.evaluation.session import Plan, run_evaluation
from visplay.evaluation.spec import Spec, expand
from visplay.loop.context import RunContext
from visplay.runs.checkpoints import Roles
from visplay.runs.run import UNFINISHED
from visplay.storage import write_text

SEED = 0  # draws subsets and pocket scenes: every run asks the same
CONTAMINATION_BITS = 10  # of 64, by which pictures that look the same may differ in their pHash
CHUNK = 256  # questions asked at once: their pictures are in memory; larger chunks are no faster


def measure(ctx: RunContext, iteration: int, roles: Roles) -> None:
    """Phase 4: held-out accuracy, beside the untrained model's; nothing where no benchmark is named."""

    def work(folder: Path) -> list[dict[str, Any]]:
        base = ctx.run.folder / "iteration-0" / "evaluation" if iteration else None
        summary = evaluate(ctx, adapter=roles["reasoner"], folder=folder, base=base)
        return [{"iteration": iteration, "phase": "evaluation", "benchmarks": summary}]

    wanted = iteration in (0, ctx.config.iterations) or iteration % ctx.config.evaluation.every == 0
    if wanted and ctx.config.evaluation.benchmarks:
        if iteration == 0:
            check_contamination(ctx)
        ctx.step(f"iteration-{iteration}/evaluation", work)


def evaluate(
    ctx: RunContext, *, adapter: AdapterVersion, folder: Path, base: Path | None
) -> dict[str, Figures]:
    """Ask a subset of every benchmark of the configuration; leaves an evaluation's files in `folder`.

    What a stopped evaluation has asked is not asked again.

    Args:
        ctx: engine and configuration.
        adapter: the Reasoner to measure, published.
        folder: a step's scratch folder.
        base: the folder of the untrained model's evaluation, for the paired difference.

    Returns:
        The figures by benchmark.

    Raises:
        BenchmarkError: a benchmark needs a judge, or its data cannot be had.
    """
    config, votes = ctx.config.evaluation, ctx.config.votes
    for spec in expand(config.benchmarks):
        if "judge" in (spec.rule, *spec.rules.values()):
            raise BenchmarkError(
                f"evaluation.benchmarks: {spec.id} needs a judge and the loop has none; take it out and "
                "score the run afterwards with visplay evaluate RUN --judge ..."
            )
    (folder / UNFINISHED).mkdir(exist_ok=True)
    plan = Plan(
        benchmarks=config.benchmarks, sources=dict(config.sources), seed=SEED, split=config.split,
        limit=config.limit, max_tokens=ctx.config.reasoner.max_tokens,
        samples=votes.samples if config.maj_limit else 0, temperature=votes.temperature, top_k=votes.top_k,
        sampled_limit=config.maj_limit,
        blind_limit=config.blind_limit, keep_pictures=False,
    )  # fmt: skip
    unfinished = folder / UNFINISHED / f"evaluation-{folder.parent.name}"
    with ctx.watch("evaluation"):
        reasoner = reasoner_on(
            ctx.engine, adapter, model=ctx.config.model, words=ctx.config.prompts, engine=ctx.config.engine,
            chunk=CHUNK,
        )  # fmt: skip
        about = {"name": f"{ctx.config.name} {folder.parent.name}", "model": ctx.config.model.path}
        figures = run_evaluation(
            reasoner, plan, folder=unfinished, about=about, judge=None, display=ctx.display, base=base
        )
    # Copied, not moved: a kill before the step is noted must not take along what has been asked.
    own = shutil.ignore_patterns("lock", "*.answers")
    shutil.copytree(unfinished, folder, ignore=own, dirs_exist_ok=True)
    return figures


def check_contamination(ctx: RunContext) -> None:
    """Report training pictures that stand in a benchmark: a step of its own, once in a run.

    `contamination.json` names what looks the same.
    """
    config = ctx.config.evaluation

    def items(spec: Spec) -> Iterator[Item]:
        source = config.sources.get(spec.id)
        yield from load_benchmark(spec, limit=config.limit, seed=SEED, split=config.split, source=source)

    def work(folder: Path) -> list[dict[str, Any]]:
        asked = {spec.id: items(spec) for spec in expand(config.benchmarks)}
        with ctx.watch("contamination"):
            suspects = find_suspects(ctx.images, hash_pictures(ctx.images), asked, bits=CONTAMINATION_BITS)
        write_text(folder / "contamination.json", json.dumps(suspects, indent=2))
        if suspects:
            ctx.display.say(
                f"benchmark pictures that look like training pictures: {len(suspects)}, named in "
                "contamination.json"
            )
        return []

    ctx.step("iteration-0/contamination", work)
