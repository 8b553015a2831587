"""Measure the Reasoner in a step of the run, with `visplay.evaluation.session`."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rollouts.engine import AdapterVersion
from visplay.config.loading import Config
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

SEED = 0  # seed of subsets and pocket scenes, so that every run asks the same questions
CONTAMINATION_BITS = 10  # largest number of different pHash bits between pictures that look the same
CHUNK = 256  # questions asked at once, with their pictures in memory; larger chunks are not faster


def measure(ctx: RunContext, iteration: int, roles: Roles) -> None:
    """Phase 4: measure held-out accuracy and compare it with the base; does nothing without benchmarks."""

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
    """Evaluate a subset of every benchmark of the configuration; writes an evaluation's files to `folder`.

    An interrupted evaluation does not repeat its stored samples.

    Args:
        ctx: engine and configuration.
        adapter: the published adapter of the Reasoner to measure.
        folder: a step's scratch folder.
        base: the folder of the base's evaluation, for the paired difference.

    Returns:
        The figures by benchmark.

    Raises:
        BenchmarkError: a benchmark's data is not available.
    """
    (folder / UNFINISHED).mkdir(exist_ok=True)
    unfinished = folder / UNFINISHED / f"evaluation-{folder.parent.name}"
    with ctx.watch("evaluation"):
        reasoner = reasoner_on(
            ctx.engine, adapter, model=ctx.config.model, words=ctx.config.prompts, engine=ctx.config.engine,
            chunk=CHUNK,
        )  # fmt: skip
        about = {"name": f"{ctx.config.name} {folder.parent.name}", "model": ctx.config.model.path}
        figures = run_evaluation(
            reasoner, plan_of(ctx.config), folder=unfinished, about=about, judge=None, display=ctx.display,
            base=base,
        )  # fmt: skip
    # Copy instead of move, so that a kill before the step is recorded loses no samples.
    own = shutil.ignore_patterns("lock", "*.answers")
    shutil.copytree(unfinished, folder, ignore=own, dirs_exist_ok=True)
    return figures


def plan_of(config: Config) -> Plan:
    """The benchmarks and settings of the evaluations of a run."""
    own, votes = config.evaluation, config.votes
    return Plan(
        benchmarks=own.benchmarks, sources=dict(own.sources), seed=SEED, split=own.split, limit=own.limit,
        max_tokens=config.reasoner.max_tokens, samples=votes.samples if own.maj_limit else 0,
        temperature=votes.temperature, top_k=votes.top_k, sampled_limit=own.maj_limit,
        blind_limit=own.blind_limit, keep_pictures=False,
    )  # fmt: skip


def check_contamination(ctx: RunContext) -> None:
    """Report training pictures that are in a benchmark, in a separate step once per run.

    `contamination.json` lists the pictures that look the same.
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
