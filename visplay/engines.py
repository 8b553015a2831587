"""The rollout engine that the configuration names."""

from typing import Any

import torch

from rollouts.chat import Chat
from rollouts.engine import EngineUnavailable, RolloutEngine
from rollouts.launch import Server, reserved_rank
from rollouts.server_engine import ServerEngine
from rollouts.transformers_engine import TransformersEngine
from visplay.config import Config
from visplay.errors import ConfigError, EngineError
from visplay.policy import load_base, load_processor, model_source, picture_size
from visplay.sections import Model

MAX_ADAPTERS = 3  # the frozen Reasoner, the current policy and the one that comes in
# What vLLM 0.32 needs on a CPU; engine.vllm overrides each.
CPU_DEFAULTS: dict[str, Any] = {
    "enforce_eager": True,  # else it compiles for minutes
    "kv_cache_memory_bytes": 1 << 30,  # else it takes nine tenths of the memory
    # A seeded request whose prefill is cut in two ends in `CPU Generator does not use offset`.
    "enable_chunked_prefill": False,
}


def start_engine(config: Config, *, api_key: str | None = None) -> RolloutEngine:
    """The engine that the configuration names, with base VLMs of its own.

    Args:
        config: of the run.
        api_key: of the servers, where they ask for one.

    Raises:
        ConfigError: an engine that is not installed, or options that it does not know.
    """
    if config.engine.backend == "transformers":
        model, processor = load_base(config.model)
        return TransformersEngine(model, processor, batch_size=config.engine.batch_size)
    source = model_source(config.model)
    same = {"revision": config.model.revision, "trust_remote_code": config.model.trust_remote_code}
    chat = Chat.load(load_processor(config.model), source, **same)
    options = vllm_options(config, chat.processor)
    if config.engine.backend == "server":
        return _servers(config, source=source, chat=chat, options=options, api_key=api_key)
    return _vllm(config, source=source, chat=chat, options=options)


def vllm_options(config: Config, processor: Any) -> dict[str, Any]:
    """Arguments of vLLM's engine, in process or served."""
    options: dict[str, Any] = config.model.model_dump(include={"dtype", "revision", "trust_remote_code"})
    options |= CPU_DEFAULTS if runs_on_cpu(config.model) else {}
    if size := picture_size(config.model, processor):
        options["mm_processor_kwargs"] = {"size": size}
    return options | config.engine.vllm


def runs_on_cpu(model: Model) -> bool:
    """Whether the base VLM runs on the CPU."""
    return model.device == "cpu" or (model.device == "auto" and not torch.cuda.is_available())


def _servers(
    config: Config, *, source: str, chat: Chat, options: dict[str, Any], api_key: str | None
) -> RolloutEngine:
    engine = config.engine
    servers: list[str | Server] = list(engine.urls)
    if not servers:
        logs = config.folder / "servers"
        logs.mkdir(parents=True, exist_ok=True)
        try:
            rank = reserved_rank(config.lora.rank)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        servers = [
            Server(
                source, lora_rank=rank, max_adapters=MAX_ADAPTERS, log=logs / f"{i}.log",
                device=engine.devices[i] if engine.devices else None, options=options,
            )
            for i in range(engine.replicas)
        ]  # fmt: skip
    try:
        return ServerEngine(
            servers, chat=chat, max_adapters=MAX_ADAPTERS, concurrency=engine.concurrency, api_key=api_key
        )
    except EngineUnavailable as error:
        raise EngineError(f"engine.backend=server: {error}") from error


def _vllm(config: Config, *, source: str, chat: Chat, options: dict[str, Any]) -> RolloutEngine:
    try:
        from rollouts.vllm_engine import VllmEngine
    except ImportError as error:
        raise ConfigError(
            f"engine.backend: vLLM cannot be imported ({error}); docs/engines.md says how to install it, or "
            "set engine.backend=transformers"
        ) from error
    if config.engine.sleep and runs_on_cpu(config.model):
        raise ConfigError("engine.sleep: vLLM can only sleep on a GPU; set engine.sleep=false")
    try:
        return VllmEngine(
            source, chat=chat, lora_rank=config.lora.rank, sync=config.engine.sync,
            sleep=config.engine.sleep, **options,
        )  # fmt: skip
    except TypeError as error:
        raise ConfigError(f"engine.vllm: {error}") from error
    except ValueError as error:  # vLLM's own checks, and ours of the rank
        raise ConfigError(f"engine.vllm or model: {error}") from error
