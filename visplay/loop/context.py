"""The context of a run: the objects that all phases share, and operations on them."""

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
from visplay.config.sections import Model, Phase
from visplay.data.images import ImageSet, read_images
from visplay.errors import RunMismatch
from visplay.evaluation.reasoner import folder_digest
from visplay.loop.alarms import best_iteration, out_of_patience, probe_of
from visplay.models.counting import read_architecture
from visplay.models.engines import backend_of, shares_gpu, start_engine
from visplay.models.generation import generate
from visplay.models.memory import MAX_ADAPTERS
from visplay.models.policy import Policy, check_adapter
from visplay.models.preflight import run_canaries
from visplay.models.processor import load_processor, picture_limits
from visplay.planning.plan import beside_trainer
from visplay.planning.work import too_few_pictures
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

# (picture's key, question) -> the true answer, or None if the picture does not determine it; telemetry only.
Oracle = Callable[[str, Question], str | None]
INPUTS = "iteration-0/inputs"
PICTURES_KEPT = 64  # decoded pictures in memory, at least those of a step: each is decoded once per step


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A step in progress: the folder of its artifact, and its rows for the run's `metrics.jsonl`."""

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The objects that every phase uses.

    Attributes:
        config: the run's configuration.
        run: the run's folder of steps.
        policy: the base VLM with the trained adapters.
        engine: the rollout engine, which serves the adapter versions.
        images: the unlabelled pictures.
        picture: returns the decoded RGB picture of a key; the pictures of a step are cached.
        control_tokens: texts that the tokenizer maps to control tokens.
        oracle: returns true answers for telemetry; None for real pictures.
        watch: seconds by kind of work.
        display: the progress display.
        tracker: the trackers of `report_to`.
        ranks: the ranks of data-parallel training.
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
    _waiting: list[AdapterVersion] = field(default_factory=list)  # not published yet

    def phase(self, role: str) -> Phase:
        """The settings of the phase that trains a role."""
        return phase_of(self.config, role)

    def seed(self, iteration: int, phase: str) -> int:
        """A separate seed for each phase of each iteration."""
        return mix_seed(self.config.seed, phase, iteration)

    def iterations(self) -> Iterator[int]:
        """Yield 1, 2, ... up to `iterations`; stop if the probe does not improve for `health.patience`."""
        health, probe = self.config.health, probe_of(self.config)
        for iteration in range(1, self.config.iterations + 1):
            self.tracker.iteration = iteration
            yield iteration
            if iteration < self.config.iterations and out_of_patience(
                self.run.folder, iteration, patience=health.patience, probe=probe
            ):
                self.end_early("the accuracy on the probe has not improved", last=iteration)
                return

    def end_early(self, why: str, *, last: int) -> None:
        """Print why the run ends, the best iteration up to `last`, and the command that exports it."""
        best = best_iteration(self.run.folder, last=last, probe=probe_of(self.config))
        self.display.say(
            f"{why}; the run ends early. The best iteration was {best}; export its adapters with: "
            f"visplay export {self.run.folder} OUT --iteration {best}"
        )

    def sample(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        """Generate completions [prompts][n] with an adapter version; see `visplay.models.generation`."""
        self.publish_waiting()
        with self.watch("generation"):
            groups = generate(self.engine, prompts, adapter=adapter, sampling=sampling)
        self.display.generated(sum(len(completion.token_ids) for group in groups for completion in group))
        return groups

    def step(self, name: str, work: Callable[[Path], list[dict[str, Any]]]) -> Path:
        """Execute a step of the run unless it is done; returns its folder.

        Args:
            name: `iteration-K/WHAT`.
            work: writes the step's artifact into the given folder and returns the rows for the run's
                `metrics.jsonl`.
        """
        with self.working(name) as left:
            if left is not None:
                left.rows.extend(work(left.folder))
        return self.run.folder / name

    @contextmanager
    def working(self, name: str) -> Iterator["Work | None"]:
        """Execute the block as a step; the context value is None if the step is done."""
        run = self.run
        if run.has(name):
            yield None
            return
        with run.step(name) as scratch, self.display.step(_place(name)):
            for part in damaged_parts(scratch / UNFINISHED):
                self.display.say(f"{part} is damaged or covers a damaged file; it is redone")
                part.unlink()
            self.publish_waiting()
            work = Work(folder=scratch)
            yield work
            lines = "".join(json.dumps(row) + "\n" for row in work.rows)
            write_text(scratch / "metrics.jsonl", lines)
            with self.watch("telemetry"):  # a trained phase has sent its rows after each step
                self.tracker.log_rows([row for row in work.rows if "step" not in row])
        taken = self.watch.take()
        append_jsonl(run.folder / "timings.jsonl", {"step": name, "seconds": taken})
        run.collect_metrics()

    def adopt(self, roles: Roles, role: str, folder: Path) -> Roles:
        """Assign the adapter of a finished step to the role that it was trained for."""
        trained = kept_adapter(folder)
        self.publish(trained)
        return with_trained(roles, role, trained)

    def publish(self, adapter: AdapterVersion) -> None:
        """Publish a version before the next request, unless `MAX_ADAPTERS` newer ones supersede it.

        A resumed run calls this for all its adapters before its first unfinished step. Each version is
        checked before it is published, because its files may have been damaged.
        """
        self._waiting.append(adapter)

    @property
    def at_once(self) -> int:
        """Number of concurrent batches: servers start on one while the last completions of others finish."""
        return 3 if isinstance(self.engine, ServerEngine) else 1

    def publish_waiting(self) -> None:
        """Publish the versions that `publish` has collected."""
        last_of_each = {adapter.name: adapter for adapter in self._waiting}
        for adapter in [*self._waiting[-MAX_ADAPTERS:], *last_of_each.values()]:
            if adapter.path is not None and adapter.path.exists():  # otherwise it was removed
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
    """Open a run's folder, pictures, base VLM and engine, and check that engine and trainer agree.

    Raises:
        RunMismatch: the run was started with other pictures.
        PreflightError: a canary test failed.
    """
    with ExitStack() as stack:
        backend = backend_of(config.model, config.engine)
        run = stack.enter_context(Run(config.folder).opened(config, say=display.say, engine=backend))
        config = _dated(config)
        ranks.broadcast(config)  # all ranks load the same configuration
        tracker = Tracker(config)
        stack.callback(tracker.close)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        set_seed(config.seed)
        images = read_images(
            config.images.source, limit=config.images.limit,
            accepts=picture_limits(load_processor(config.model)),
            cache=run.folder / "pictures.jsonl", column=config.images.column,
        )  # fmt: skip
        _check_inputs(config, run, images)
        images.write_manifest(run.folder)
        why = f": {run.folder / 'skipped.jsonl'}" if images.skipped else ""
        display.say(f"{images.counts}{why}")
        if few := too_few_pictures(config, pictures=len(images)):
            display.say(few)
        policy = Policy.of(config.model, lora=config.lora)
        if config.engine.backend == "auto":
            display.say(f"engine.backend: auto selects {backend}")
        if ranks.size > 1 and backend == "vllm":
            display.say(
                f"one vLLM on rank 0's GPU generates for all {ranks.size} ranks; engine.backend=server with "
                "engine.replicas uses separate GPUs"
            )
        stack.enter_context(display.telling("rollouts"))  # reports lost and recovered servers
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
        with ctx.working(INPUTS) as noting:
            if noting is not None:
                about = {"pictures": len(images), "digest": images.digest, "base": _base_of(config.model)}
                about["files"] = _stamps(Path(config.model.source))
                write_text(noting.folder / "inputs.json", json.dumps(about, indent=2))
        yield ctx


@contextmanager
def checked_engine(
    config: Config, policy: Policy, images: ImageSet, *, api_key: str | None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[RolloutEngine, Agreement]]:  # fmt: skip
    """Start a run's engine beside its trainer, and compare both on a prompt about one of the pictures.

    Raises:
        PreflightError: a canary test failed.
    """
    shared, servers = shares_gpu(config.model, config.engine), config.folder / "servers"
    engine = start_engine(
        config.model, config.engine, lora_rank=config.lora.rank, logs=servers, api_key=api_key, policy=policy,
        beside=beside_trainer(config, images.records) if shared else None,
    )  # fmt: skip
    try:
        prompt = canary_prompt(images.load(images.records[0].key), config.prompts)
        folder = servers if config.engine.backend == "server" else None  # servers can read it, too
        yield engine, run_canaries(engine, policy=policy, prompt=prompt, say=say, folder=folder)
    finally:
        engine.close()


def _place(step: str) -> str:
    """The name of a step's iteration in progress lines."""
    iteration = step.partition("/")[0].removeprefix("iteration-")
    return "base" if iteration == "0" else f"iteration {iteration}"


def _dated(config: Config) -> Config:
    """Set the date in the chat template to the day on which the run was started."""
    model = config.model.model_copy(update={"date": config.model.date or begun(config.folder)})
    return config.model_copy(update={"model": model})


def first_roles(ctx: RunContext) -> Roles:
    """Create one adapter for all roles or one per role; new adapters change nothing."""

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


def _check_inputs(config: Config, run: Run, images: ImageSet) -> None:
    """Check that a resumed run has the pictures and the base VLM that it was started with.

    Raises:
        RunMismatch: the pictures or the base VLM differ; the message names which.
    """
    if not run.has(INPUTS):
        return
    begun = json.loads((run.folder / INPUTS / "inputs.json").read_text())
    again = "restore it, or give the run another name (name=...)"
    if begun["digest"] != images.digest:
        raise RunMismatch(
            f"{run.folder} was started with {begun['pictures']} pictures, but {config.images.source} now has "
            f"{len(images)}, which differ in content or order; {again}"
        )
    source = Path(config.model.source)
    same = source.is_dir() and begun["files"] == _stamps(source)  # then they are not hashed again
    if not same and begun["base"] != _base_of(config.model):
        raise RunMismatch(
            f"model.path: the base VLM {config.model.path} is not the one that {run.folder} was started "
            f"with; {again}"
        )


def _stamps(folder: Path) -> dict[str, list[int]]:
    """Size and time of the files in a folder."""
    found = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): [s.st_size, s.st_mtime_ns] for path, s in found}


def _base_of(model: Model) -> str:
    """The digest of a local base's files, or the commit of what the hub gave."""
    source = Path(model.source)
    return folder_digest(source) if source.is_dir() else str(read_architecture(model)._commit_hash)


def asked_before(ctx: RunContext, iteration: int, file: str) -> list[str]:
    """The questions in this file of all earlier iterations, oldest first."""
    files = [ctx.run.folder / f"iteration-{i}" / file for i in range(1, iteration)]
    columns = [pq.read_table(path, columns=["question"]) for path in files if path.exists()]
    return [q for column in columns for q in column["question"].to_pylist() if q]
