"""The self-play loop: Algorithm 1 of VisPlay (arXiv 2511.15661), one step of the run after the other.

Every step leaves an artifact in the run directory and is skipped when the run has it, so the loop reads
the same for a fresh run and for one that goes on after a kill.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from transformers import set_seed

from visplay.config.loading import Config
from visplay.data.images import read_images
from visplay.errors import ConfigError, HealthAlarm, PreflightError, RunMismatch
from visplay.evaluation.spec import expand
from visplay.loop.alarms import best_iteration, check, iteration_figures, out_of_patience
from visplay.loop.context import Table
from visplay.loop.examples import draw_lessons, load_anchors
from visplay.loop.health import question_health
from visplay.loop.measuring import evaluate, evaluate_in_full
from visplay.loop.phases import curation, probe_blind_answers, questioner_phase, reasoner_phase
from visplay.loop.silver import SilverExample, read_silver
from visplay.models.engines import start_engine
from visplay.models.policy import Policy, adapter_folder, load_base
from visplay.models.preflight import check as check_engine
from visplay.progress import Display, Stopwatch
from visplay.runs.checkpoints import (
    Adapters,
    adapters_after,
    first_adapters,
    keep_adapter,
    keep_roll_back,
    kept_adapter,
    rolled_back,
    superseded,
    with_trained,
)
from visplay.runs.run import PRUNED, PRUNING, UNFINISHED, Run
from visplay.runs.tracking import Tracker
from visplay.storage import append_jsonl, damaged_pieces, write_text


def selfplay(config: Config, *, display: Display, api_key: str | None = None) -> Path:
    """Run, or go on with, self-play; returns the run directory.

    `api_key` is sent to the servers of `engine.backend=server`; it is stored nowhere.
    """
    with Run(config.folder).opened(config) as run, ExitStack() as stack:
        tracker = Tracker(config)
        stack.callback(tracker.close)
        table = lay_table(config, display=display, tracker=tracker, folder=run.folder, api_key=api_key)
        stack.callback(table.engine.close)
        same_pictures(table, run)
        adapters = initial_adapters(table, run)
        measure(table, run, 0, adapters)
        for iteration in range(1, config.iterations + 1):
            table.tracker.iteration = iteration
            adapters = train_questioner(table, run, iteration, adapters)
            silver = curate(table, run, iteration, adapters)
            adapters = train_reasoner(table, run, iteration, adapters, silver)
            measure(table, run, iteration, adapters)
            adapters = watch_health(table, run, iteration, adapters)
            prune(table, run, iteration, adapters)
            if patience_is_out(table, run, iteration):
                break
        if config.evaluation.full_at_end:
            measure_in_full(table, run, adapters)
    return run.folder


def lay_table(
    config: Config, *, display: Display, tracker: Tracker, folder: Path, api_key: str | None = None
) -> Table:
    """Load pictures, base VLM and engine, and see that the engine computes what the trainer computes."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    set_seed(config.seed)
    _check_names(config)
    images = read_images(config.images.source, column=config.images.column, limit=config.images.limit)
    images.write_manifest(folder)
    display.say(f"{len(images)} pictures from {config.images.source}, {len(images.skipped)} skipped")
    policy = Policy(*load_base(config.model), lora=config.lora)
    engine = start_engine(
        config.model, config.engine, lora_rank=config.lora.rank, logs=config.folder / "servers",
        api_key=api_key,
    )  # fmt: skip
    try:
        found = check_engine(engine, policy=policy, picture=images.load(images.records[0].key))
    except BaseException:
        engine.close()
        raise
    display.say(f"engine and trainer agree on log-probs within {found.disagreement:.1g}")
    return Table(
        config=config,
        preset=config.rewards.resolve(),
        policy=policy,
        engine=engine,
        images=images,
        oracle=config.images.open_oracle(),
        watch=Stopwatch(),
        display=display,
        tracker=tracker,
    )


def same_pictures(table: Table, run: Run) -> None:
    """See that a run which goes on has the pictures that it was begun with: draws go by their order.

    Raises:
        RunMismatch: it has others.
    """
    images = table.images

    def note(folder: Path) -> list[dict[str, Any]]:
        write_text(
            folder / "pictures.json", json.dumps({"pictures": len(images), "digest": images.digest}, indent=2)
        )
        return []

    begun = json.loads((_step(table, run, "iteration-0/pictures", note) / "pictures.json").read_text())
    if begun["digest"] != images.digest:
        raise RunMismatch(
            f"{run.folder} was begun with {begun['pictures']} pictures, and {table.config.images.source} now "
            f"has {len(images)}, not the same ones in the same order; put it back as it was, or give the run "
            "another name (name=...)"
        )


def initial_adapters(table: Table, run: Run) -> Adapters:
    """One adapter for both roles, or one each; as created, they change nothing."""
    names = ["shared"] if table.config.adapters == "shared" else ["questioner", "reasoner"]

    def create(folder: Path) -> list[dict[str, Any]]:
        for i, name in enumerate(names):
            fresh = adapter_folder(folder, name, 0)
            table.policy.create_adapter(fresh, seed=table.config.seed + i)
        return []

    folder = _step(table, run, "iteration-0/adapters", create)
    adapters = first_adapters(folder)
    for adapter in adapters.values():
        table.engine.publish(adapter)
    return adapters


def train_questioner(table: Table, run: Run, iteration: int, adapters: Adapters) -> Adapters:
    """Phase 1: the Questioner against the Reasoner as it stands now."""

    def work(folder: Path) -> list[dict[str, Any]]:
        trained = questioner_phase(
            table, questioner=adapters["questioner"], reasoner=adapters["reasoner"], folder=folder,
            seed=_seed(table, iteration, "questioner"),
            memory=_asked_before(run, iteration, "questioner/rollouts.parquet"),
        )  # fmt: skip
        keep_adapter(trained.adapter, folder)
        return [{"iteration": iteration, "phase": "questioner", **row} for row in trained.history]

    if table.config.questioner.steps == 0:
        return adapters
    folder = _step(table, run, f"iteration-{iteration}/questioner", work)
    return _publish_trained(table, adapters, "questioner", folder)


def curate(table: Table, run: Run, iteration: int, adapters: Adapters) -> list[SilverExample]:
    """Phase 2: questions over all pictures, votes, and the informative ones kept.

    With shared adapters it is the one current adapter that asks and answers.
    """

    def work(folder: Path) -> list[dict[str, Any]]:
        candidates = curation(
            table, questioner=adapters["questioner"], reasoner=adapters["reasoner"], folder=folder,
            seed=_seed(table, iteration, "curation"),
        )  # fmt: skip
        with table.watch("telemetry"):
            health = question_health(
                candidates,
                has_truth=table.oracle is not None,
                earlier=_asked_before(run, iteration, "curation/candidates.parquet"),
            )
        health["blind_answers"] = probe_blind_answers(
            table, candidates, reasoner=adapters["reasoner"], seed=_seed(table, iteration, "curation")
        )
        write_text(folder / "summary.json", json.dumps(health, indent=2))
        return [{"iteration": iteration, "phase": "curation", **health}]

    folder = _step(table, run, f"iteration-{iteration}/curation", work)
    return read_silver(folder)


def train_reasoner(
    table: Table, run: Run, iteration: int, adapters: Adapters, silver: list[SilverExample]
) -> Adapters:
    """Phase 3: the Reasoner learns to agree with the silver answers."""
    if len(silver) < table.config.reasoner.prompts_per_step:
        raise PreflightError(
            f"iteration {iteration} kept {len(silver)} silver examples and one step needs "
            f"{table.config.reasoner.prompts_per_step}; ask about more images, ask more questions of each, "
            "or widen rewards.low and rewards.high"
        )

    def work(folder: Path) -> list[dict[str, Any]]:
        seed, phase = _seed(table, iteration, "reasoner"), table.config.reasoner
        earlier = [
            example
            for i in range(1, iteration)
            for example in read_silver(run.folder / f"iteration-{i}" / "curation")
        ]
        lessons = draw_lessons(
            table, silver, earlier=earlier, count=phase.steps * phase.prompts_per_step, seed=seed
        )
        trained = reasoner_phase(
            table, reasoner=adapters["reasoner"], lessons=lessons, folder=folder, seed=seed
        )
        keep_adapter(trained.adapter, folder)
        return [{"iteration": iteration, "phase": "reasoner", **row} for row in trained.history]

    if table.config.reasoner.steps == 0:
        return adapters
    folder = _step(table, run, f"iteration-{iteration}/reasoner", work)
    return _publish_trained(table, adapters, "reasoner", folder)


def measure(table: Table, run: Run, iteration: int, adapters: Adapters) -> None:
    """Phase 4: held-out accuracy, beside the untrained model's from the first iteration on."""

    def work(folder: Path) -> list[dict[str, Any]]:
        base = run.folder / "iteration-0" / "evaluation" if iteration else None
        summary = evaluate(table, adapter=adapters["reasoner"], folder=folder, base=base)
        return [{"iteration": iteration, "phase": "evaluation", "benchmarks": summary}]

    _step(table, run, f"iteration-{iteration}/evaluation", work)


def watch_health(table: Table, run: Run, iteration: int, adapters: Adapters) -> Adapters:
    """Hold the iteration's figures against `health.limits`; warn, stop, or go back to the best adapters.

    Raises:
        HealthAlarm: a figure is beyond its limit and `health.action` is `stop`.
    """
    health = table.config.health

    def work(folder: Path) -> list[dict[str, Any]]:
        with table.watch("telemetry"):
            figures = iteration_figures(run.folder, iteration, probe=health.probe)
            alarms = check(figures, health.limits)
        best = best_iteration(run.folder, last=iteration, probe=health.probe)
        back = best if alarms and health.action == "roll_back" and best < iteration else None
        if back is not None:
            keep_roll_back(adapters, adapters_after(run.folder, iteration=back)[1], folder)
        raised = [str(alarm) for alarm in alarms]
        write_text(folder / "alarms.json", json.dumps({"alarms": raised, "rolled_back_to": back}, indent=2))
        return [{"iteration": iteration, "phase": "health", **figures, "alarms": len(alarms)}]

    folder = _step(table, run, f"iteration-{iteration}/health", work)
    found = json.loads((folder / "alarms.json").read_text())
    for alarm in found["alarms"]:
        table.display.say(f"alarm, iteration {iteration}: {alarm}")
    if found["alarms"] and health.action == "stop":
        raise HealthAlarm(
            f"iteration {iteration} raised alarms: {'; '.join(found['alarms'])}. "
            "All of it is kept; to go on, add health.action=warn"
        )
    if found["rolled_back_to"] is not None:
        table.display.say(f"going on with the adapters of iteration {found['rolled_back_to']}")
        adapters = rolled_back(adapters, folder)
        for adapter in adapters.values():
            if adapter.path is not None and adapter.path.exists():
                table.engine.publish(adapter)
    return adapters


def prune(table: Table, run: Run, iteration: int, adapters: Adapters) -> None:
    """Remove adapters that `checkpoints.keep_last` lets go; what a pruning step lists is no longer missed."""
    keep_last = table.config.checkpoints.keep_last

    def work(folder: Path) -> list[dict[str, Any]]:
        best = best_iteration(run.folder, last=iteration, probe=table.config.health.probe)
        kept = {0, best, *range(max(0, iteration - keep_last + 1), iteration + 1)} if keep_last else set()
        listed = superseded(run.folder, last=iteration, kept=kept, current=adapters)
        write_text(folder / PRUNED, json.dumps(listed, indent=2))
        return []

    if keep_last is not None:
        _step(table, run, f"iteration-{iteration}/{PRUNING}", work)
    run.remove_pruned()


def patience_is_out(table: Table, run: Run, iteration: int) -> bool:
    """Whether the probe has not become better for `health.patience` iterations (early stopping)."""
    health = table.config.health
    ends = out_of_patience(run.folder, iteration, patience=health.patience, probe=health.probe)
    if not ends or iteration == table.config.iterations:
        return False
    best = best_iteration(run.folder, last=iteration, probe=health.probe)
    table.display.say(
        f"no better accuracy on the probe since iteration {best}: the run ends early; its adapters are "
        f"exported by: visplay export {run.folder} OUT --iteration {best}"
    )
    return True


def measure_in_full(table: Table, run: Run, adapters: Adapters) -> None:
    """The base and the trained Reasoner on every question, in a folder of its own with a comparison."""

    def work(folder: Path) -> list[dict[str, Any]]:
        evaluate_in_full(table, reasoner=adapters["reasoner"], folder=folder)
        return []

    folder = _step(table, run, f"full-{table.config.iterations}", work)
    table.display.say(f"compare on all questions: visplay compare {folder / 'base'} {folder / 'reasoner'}")


def _check_names(config: Config) -> None:
    """See that probe and anchors can be had, before hours have passed."""
    measured = [spec.id for spec in expand(config.evaluation.benchmarks)]
    if config.health.probe not in (None, *measured):
        raise ConfigError(
            f"health.probe: {config.health.probe!r} is not measured; measured are {', '.join(measured)}"
        )
    load_anchors(config)


def _step(table: Table, run: Run, name: str, work: Callable[[Path], list[dict[str, Any]]]) -> Path:
    """Do a step of the run unless it is done; returns its folder."""
    if not run.has(name) and not run.take_up(name):
        with run.step(name) as scratch:
            for piece in damaged_pieces(scratch / UNFINISHED):
                table.display.say(f"{piece} is damaged or vouches for a damaged file; it is done again")
                piece.unlink()
            rows = work(scratch)
            write_text(scratch / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
            with table.watch("telemetry"):  # those of a trained phase were sent step by step
                table.tracker.log_rows([row for row in rows if "step" not in row])
        append_jsonl(run.folder / "timings.jsonl", {"step": name, "seconds": table.watch.take()})
    run.collect_metrics()
    return run.folder / name


def _publish_trained(table: Table, adapters: Adapters, role: str, folder: Path) -> Adapters:
    """Publish a phase's result and put it in place of the version it was trained from."""
    trained = kept_adapter(folder)
    if trained.path is not None and trained.path.exists():  # else pruned: a later one is published
        table.engine.publish(trained)
    return with_trained(adapters, role, trained)


def _asked_before(run: Run, iteration: int, file: str) -> list[str]:
    """The questions that this file of all earlier iterations holds, oldest first."""
    files = [run.folder / f"iteration-{i}" / file for i in range(1, iteration)]
    return [q for path in files if path.exists() for q in pq.read_table(path)["question"].to_pylist() if q]


def _seed(table: Table, iteration: int, phase: str) -> int:
    return table.config.seed * 1000 + iteration * 10 + ["questioner", "curation", "reasoner"].index(phase)
