"""Load the Reasoner of an evaluation into an engine, and compute the digests that identify it."""

import hashlib
import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from rollouts.engine import AdapterVersion, RolloutEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Engine, Model
from visplay.evaluation.judge import Judge
from visplay.evaluation.metrics import Figures
from visplay.evaluation.sampling import Reasoner
from visplay.evaluation.session import Plan, require_benchmarks, require_place, run_evaluation
from visplay.evaluation.target import Target
from visplay.models.counting import base_dtype, read_architecture
from visplay.models.engines import backend_of, start_engine
from visplay.models.policy import check_adapter
from visplay.progress import Display
from visplay.storage import file_stamp

# Arguments of vLLM's engine that change its speed and memory, and not its results beyond the rounding that
# also depends on the batch. All other arguments are part of an answer's key.
HARMLESS = frozenset({
    "gpu_memory_utilization", "kv_cache_memory_bytes", "max_model_len", "max_num_batched_tokens",
    "max_num_seqs", "enable_chunked_prefill", "enforce_eager", "disable_log_stats", "swap_space",
    "cpu_offload_gb", "tensor_parallel_size", "pipeline_parallel_size", "download_dir",
    "enable_prefix_caching", "distributed_executor_backend", "mm_processor_cache_gb",
})  # fmt: skip
# Fields of `model` that are not part of the key, each with its reason.
UNKEYED = {
    "path": "the weights' own digest stands for it", "revision": "so it does for the commit",
    "trust_remote_code": "a permission", "device": "where it is computed",
    "dtype": "as resolved, it is a part of its own",
}  # fmt: skip


def open_reasoner(target: Target, engine: Engine, *, chunk: int) -> Reasoner:
    """Load a target.

    Args:
        target: the base VLM and the adapter.
        engine: the engine; on vLLM a base without an adapter gets an engine without adapter slots.
        chunk: items asked at once.

    Raises:
        ConfigError: the base VLM, the adapter or the engine cannot be loaded.
    """
    path = target.adapter.path
    if path:
        check_adapter(path, target.model)
    rank = int(json.loads((path / "adapter_config.json").read_text())["r"]) if path else None
    started = start_engine(target.model, engine, lora_rank=rank, logs=Path())
    started.publish(target.adapter)
    return reasoner_on(
        started, target.adapter, model=target.model, words=target.words, engine=engine, chunk=chunk
    )


def reasoner_on(
    started: RolloutEngine, adapter: AdapterVersion, *, model: Model, words: Prompts, engine: Engine,
    chunk: int,
) -> Reasoner:  # fmt: skip
    """A Reasoner from an adapter that is published to an engine, with its digests."""
    return Reasoner(
        engine=started, adapter=adapter, words=words, chunk=chunk, model_digest=model_digest(model),
        adapter_digest=folder_digest(adapter.path) if adapter.path else "", backend=engine_key(model, engine),
    )  # fmt: skip


def evaluate_target(
    target: Target, plan: Plan, *, engine: Engine, chunk: int, out: Path | None, judge: Judge | None,
    display: Display,
) -> tuple[Path, dict[str, Figures]]:  # fmt: skip
    """Load a target, evaluate it, and release its memory.

    Args:
        target: the Reasoner to evaluate.
        plan: the benchmarks and settings.
        engine: the engine.
        chunk: items asked at once.
        out: the evaluation's folder; None uses `runs/evaluations/NAME-DIGEST` from the name and the weights.
        judge: the judge of benchmarks that only a judge can grade.
        display: where progress is shown.

    Returns:
        The folder, and the figures by benchmark.

    Raises:
        RunError: `out` is inside a run's folder.
        BenchmarkError: a benchmark's data is not available; this is checked before weights are read.
        EvaluationError: `out` has content that is not an evaluation.
    """
    if out is not None:
        require_place(out)
    require_benchmarks(plan)
    reasoner = open_reasoner(target, engine, chunk=chunk)
    digest = _digest([reasoner.model_digest, reasoner.adapter_digest])[:8]
    folder = out or Path("runs/evaluations") / f"{target.name}-{digest}"
    try:
        require_place(folder)
        about = {"name": target.name, "model": target.model.path}
        return folder, run_evaluation(
            reasoner, plan, folder=folder, about=about, judge=judge, display=display
        )
    finally:
        reasoner.engine.close()


def engine_key(model: Model, engine: Engine) -> str:
    """The engine's name with the arguments of vLLM that affect its results."""
    backend = backend_of(model, engine)
    deciding = {name: value for name, value in engine.vllm.items() if name not in HARMLESS}
    return (
        f"{backend} {json.dumps(deciding, sort_keys=True)}"
        if deciding and backend != "transformers"
        else backend
    )


def model_digest(model: Model) -> str:
    """Identify a base VLM with its type, pixel limits and chat template.

    The digest is the hub id and commit, or a hash of the folder's files, then the type of the weights, then a
    hash of the settings that differ from the defaults.
    """
    config = read_architecture(model)
    source = Path(model.source)
    if source.is_dir():
        weights = folder_digest(source)
    else:
        weights = f"{model.path}@{config._commit_hash or model.revision or 'main'}"
    dtype = str(base_dtype(config, model)).removeprefix("torch.")
    settings = model.model_dump(mode="json", exclude=set(UNKEYED), exclude_defaults=True)
    return f"{weights}+{dtype}" + (f"+{_digest(settings)[:16]}" if settings else "")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def folder_digest(folder: Path) -> str:
    """Hash the names and contents of a folder's files; returns the first 16 hex digits.

    Files with unchanged size and time are not read again.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "README.md")
    stamps = tuple((path, *(file_stamp(path) or [time.time_ns()])) for path in files)
    return _hashed(folder, stamps)


@lru_cache(maxsize=64)
def _hashed(folder: Path, stamps: tuple[tuple[Any, ...], ...]) -> str:
    digest = hashlib.sha256()
    for path, *_ in stamps:
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
