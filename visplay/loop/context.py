"""What stays the same through a run, and the few things that every phase does with it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from PIL import Image
from transformers import set_seed

from rewards import Question
from rollouts.canary import Agreement
from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling
from rollouts.server_engine import ServerEngine
from visplay.config.loading import Config, phase_of
from visplay.config.sections import Phase
from visplay.data.images import ImageSet, read_images
from visplay.errors import RunMismatch
from visplay.evaluation.reasoner import folder_digest
from visplay.loop.alarms import best_iteration, out_of_patience, probe_of
from visplay.models.engines import backend_of, shares_gpu, start_engine
from visplay.models.generation import generate
from visplay.models.memory import MAX_ADAPTERS
from visplay.models.policy import Policy, check_adapter
from visplay.models.preflight import run_canaries
from visplay.models.processor import picture_limits
from visplay.planning.plan import beside_trainer
from visplay.progress import Display, Stopwatch
from visplay.prompts import canary_prompt
from visplay.runs.checkpoints import (
    Roles,
    create_roles,
    kept_adapter,
    next_roles,
    note_roles,
    numbered,
    with_trained,
)
from visplay.runs.run import UNFINISHED, Run, begun
from visplay.runs.tracking import Tracker
from visplay.seeds import mix_seed
from visplay.storage import append_jsonl, damaged_parts, write_text
from visplay.training.ranks import ALONE, Ranks

# (picture's key, question) -> the true answer, None where the picture does not settle it; telemetry only.
Oracle = Callable[[str, Question], str | None]
PICTURES_KEPT = 64  # decoded, or as many as a step has, so that a picture is decoded once a step


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A step under way: where its artifact goes, and its rows for the run's `metrics.jsonl`."""

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What every phase uses.

    Attributes:
        config: the run's configuration.
        run: its folder of steps.
        policy: the base VLM that is trained.
        engine: serves its adapter versions.
        images: the unlabelled pictures.
        picture: the decoded picture of a key, RGB; those of a step are kept.
        control_tokens: texts that the model's tokenizer reads as something else than text.
        oracle: who knows the true answers, for telemetry; None for real pictures.
        watch: seconds by kind of work.
        display: what a person sees.
        tracker: the trackers of `report_to`.
        ranks: that learn beside this one.
    """

    config: Config
    run: Run
    policy: Policy
    engine: RolloutEngine
    images: ImageSet
    picture: Callable[[str], Image.Image]
    control_tokens: frozenset[str]
    oracle: Oracle | None
    watch: Stopwatch
    display: Display
    tracker: Tracker
    ranks: Ranks = ALONE
    _waiting: list[AdapterVersion] = field(default_factory=list)  # to be published

    def phase(self, role: str) -> Phase:
        """The settings of the phase that trains a role."""
        return phase_of(self.config, role)

    def seed(self, iteration: int, phase: str) -> int:
        """A seed of its own for each phase of each iteration."""
        return mix_seed(self.config.seed, phase, iteration)

    def iterations(self) -> Iterator[int]:
        """1, 2, ... up to `iterations`; it ends where the probe gets no better for `health.patience`."""
        health, probe = self.config.health, probe_of(self.config)
        for iteration in range(1, self.config.iterations + 1):
            self.tracker.iteration = iteration
            yield iteration
            if iteration < self.config.iterations and out_of_patience(
                self.run.folder, iteration, patience=health.patience, probe=probe
            ):
                self.end_early("no better accuracy on the probe", last=iteration)
                return

    def end_early(self, why: str, *, last: int) -> None:
        """Say why the run ends, which iteration up to `last` was the best, and how to have its adapters."""
        best = best_iteration(self.run.folder, last=last, probe=probe_of(self.config))
        self.display.say(
            f"{why}; the run ends early. The best iteration was {best}; its adapters are exported by: "
            f"visplay export {self.run.folder} OUT --iteration {best}"
        )

    def sample(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        """Completions [prompts][n] of one adapter version; see `visplay.models.generation.generate`."""
        self.publish_waiting()
        with self.watch("generation"):
            groups = generate(self.engine, prompts, adapter=adapter, sampling=sampling)
        self.display.generated(sum(len(completion.token_ids) for group in groups for completion in group))
        return groups

    def step(self, name: str, work: Callable[[Path], list[dict[str, Any]]]) -> Path:
        """Do a step of the run unless it is done; returns its folder.

        Args:
            name: `iteration-K/WHAT`.
            work: writes the step's artifact into the folder that it is given and returns the rows for the
                run's `metrics.jsonl`.
        """
        with self.working(name) as left:
            if left is not None:
                left.rows.extend(work(left.folder))
        return self.run.folder / name

    @contextmanager
    def working(self, name: str) -> Iterator["Work | None"]:
        """The same for work that stands in the block; None where the step is done."""
        run = self.run
        if run.has(name):
            yield None
            return
        with run.step(name) as scratch, self.display.step(_place(name)):
            for part in damaged_parts(scratch / UNFINISHED):
                self.display.say(f"{part} is damaged or covers a damaged file; it is done again")
                part.unlink()
            self.publish_waiting()
            work = Work(folder=scratch)
            yield work
            lines = "".join(json.dumps(row) + "\n" for row in work.rows)
            write_text(scratch / "metrics.jsonl", lines)
            with self.watch("telemetry"):  # those of a trained phase were sent step by step
                self.tracker.log_rows([row for row in work.rows if "step" not in row])
        taken = self.watch.take()
        append_jsonl(run.folder / "timings.jsonl", {"step": name, "seconds": taken})
        run.collect_metrics()

    def adopt(self, roles: Roles, role: str, folder: Path) -> Roles:
        """Let the adapter that a step left play the role it was trained for."""
        trained = kept_adapter(folder)
        self.publish(trained)
        return with_trained(roles, role, trained)

    def publish(self, adapter: AdapterVersion) -> None:
        """Publish a version before the engine is asked for anything, unless so many come after it.

        A run that is resumed passes all its adapters on the way to its first step that is not done. Each that
        is published is checked before: it may have been damaged since it was written.
        """
        self._waiting.append(adapter)

    @property
    def at_once(self) -> int:
        """How many batches the engine takes at once: servers work on one while others end in their tails."""
        return 3 if isinstance(self.engine, ServerEngine) else 1

    def publish_waiting(self) -> None:
        """Publish what `publish` was given since."""
        last_of_each = {adapter.name: adapter for adapter in self._waiting}
        for adapter in [*self._waiting[-MAX_ADAPTERS:], *last_of_each.values()]:
            if adapter.path is not None and adapter.path.exists():  # else removed
                check_adapter(adapter.path, self.config.model)
                self.engine.publish(adapter)
        self._waiting.clear()


@contextmanager
def open_context(
    config: Config,
    *,
    display: Display,
    api_key: str | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[RunContext]:
    """Open a run's folder, pictures, base VLM and engine, and see that engine and trainer compute the same.

    Raises:
        RunMismatch: the run was begun with other pictures.
        PreflightError: a canary died.
    """
    with ExitStack() as stack:
        backend = backend_of(config.model, config.engine)
        run = stack.enter_context(Run(config.folder).opened(config, say=display.say, engine=backend))
        config = _dated(config)
        ranks.broadcast(config)  # what the others load is what this one loads
        tracker = Tracker(config)
        stack.callback(tracker.close)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        set_seed(config.seed)
        policy = Policy.of(config.model, lora=config.lora)
        images = read_images(
            config.images.source, limit=config.images.limit, accepts=picture_limits(policy.processor),
            cache=run.folder / "pictures.jsonl", column=config.images.column,
        )  # fmt: skip
        images.write_manifest(run.folder)
        display.say(f"{len(images)} pictures from {config.images.source}, {len(images.skipped)} skipped")
        if config.engine.backend == "auto":
            display.say(f"engine.backend: auto takes {backend}")
        if ranks.size > 1 and backend == "vllm":
            display.say(
                f"one vLLM on rank 0's GPU rolls out for all {ranks.size} ranks; engine.backend=server with "
                "engine.replicas uses GPUs of its own"
            )
        stack.enter_context(display.telling("rollouts"))  # servers that are lost and come back
        engine, found = stack.enter_context(
            checked_engine(config, policy, images, api_key=api_key, say=display.say)
        )
        display.say(f"engine and trainer agree on log-probs within {found.disagreement:.1g}")
        kept = max(PICTURES_KEPT, *(phase_of(config, r).prompts_per_step for r in config.role_names))
        ctx = RunContext(
            config=config, run=run, policy=policy, engine=engine,
            images=images, picture=lru_cache(kept)(images.load), oracle=config.images.open_oracle(),
            control_tokens=policy.chat.control_tokens, watch=Stopwatch(), display=display, tracker=tracker,
            ranks=ranks,
        )  # fmt: skip
        _same_inputs(ctx)
        yield ctx


@contextmanager
def checked_engine(
    config: Config, policy: Policy, images: ImageSet, *, api_key: str | None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[RolloutEngine, Agreement]]:  # fmt: skip
    """The engine of a run beside its trainer, and how far both agree on a prompt about one of the pictures.

    Raises:
        PreflightError: a canary died.
    """
    shared, servers = shares_gpu(config.model, config.engine), config.folder / "servers"
    engine = start_engine(
        config.model, config.engine, lora_rank=config.lora.rank, logs=servers, api_key=api_key, policy=policy,
        beside=beside_trainer(config, images.records) if shared else None,
    )  # fmt: skip
    try:
        prompt = canary_prompt(images.load(images.records[0].key), config.prompts)
        folder = servers if config.engine.backend == "server" else None  # which servers see, too
        yield engine, run_canaries(engine, policy=policy, prompt=prompt, say=say, folder=folder)
    finally:
        engine.close()


def _place(step: str) -> str:
    """Where a step stands in the run, for people."""
    iteration = step.partition("/")[0].removeprefix("iteration-")
    return "base" if iteration == "0" else f"iteration {iteration}"


def _dated(config: Config) -> Config:
    """The configuration with the day that a template with a date names: the one on which the run began."""
    model = config.model.model_copy(update={"date": config.model.date or begun(config.folder)})
    return config.model_copy(update={"model": model})


def first_roles(ctx: RunContext) -> Roles:
    """One adapter for all roles, or one each; as created, they change nothing."""

    def create(folder: Path) -> list[dict[str, Any]]:
        names = ["shared"] if ctx.config.adapters == "shared" else list(ctx.config.role_names)
        for i, name in enumerate(names):
            ctx.policy.create_adapter(numbered(folder, name, 0), seed=ctx.config.seed + i)
        roles = create_roles(folder, names=ctx.config.role_names)
        note_roles(folder, roles, roles, run=ctx.run.folder)
        return []

    roles = next_roles(ctx.step("iteration-0/adapters", create), run=ctx.run.folder)
    for adapter in roles.values():
        ctx.publish(adapter)
    return roles


def _same_inputs(ctx: RunContext) -> None:
    """See that a resumed run has the pictures and the base VLM that it was begun with.

    Raises:
        RunMismatch: naming which of them is another one.
    """
    images, folder, model = ctx.images, ctx.run.folder, ctx.config.model
    source = Path(model.source)
    files = {
        path.relative_to(source).as_posix(): [path.stat().st_size, path.stat().st_mtime_ns]
        for path in (sorted(source.rglob("*")) if source.is_dir() else ())
        if path.is_file()
    }

    def base() -> str:
        commit = getattr(ctx.policy.model.config, "_commit_hash", None)  # of what the hub gave
        return folder_digest(source) if source.is_dir() else str(commit)

    def note(scratch: Path) -> list[dict[str, Any]]:
        about = {"pictures": len(images), "digest": images.digest, "base": base(), "files": files}
        write_text(scratch / "inputs.json", json.dumps(about, indent=2))
        return []

    begun = json.loads((ctx.step("iteration-0/inputs", note) / "inputs.json").read_text())
    again = "put it back as it was, or give the run another name (name=...)"
    if begun["digest"] != images.digest:
        raise RunMismatch(
            f"{folder} was begun with {begun['pictures']} pictures, and {ctx.config.images.source} now has "
            f"{len(images)}, not the same ones in the same order; {again}"
        )
    # Files of the same size and time are not hashed again.
    if (not files or begun["files"] != files) and begun["base"] != base():
        raise RunMismatch(
            f"model.path: the base VLM {model.path} is not the one that {folder} was begun with; {again}"
        )


def asked_before(ctx: RunContext, iteration: int, file: str) -> list[str]:
    """The questions that this file of all earlier iterations holds, oldest first."""
    files = [ctx.run.folder / f"iteration-{i}" / file for i in range(1, iteration)]
    columns = [pq.read_table(path, columns=["question"]) for path in files if path.exists()]
    return [q for column in columns for q in column["question"].to_pylist() if q]
