"""The base VLM and its LoRA adapter: load the base, attach an adapter for a phase, save a version."""

import copy
import itertools
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModelForImageTextToText

from rollouts.chat import Chat
from rollouts.engine import AdapterVersion
from visplay import launcher
from visplay.config.sections import Lora, Model
from visplay.errors import ConfigError
from visplay.models.processor import load_processor

# Arguments of `from_pretrained` that have separate keys.
_OWN_OPTIONS = {
    "dtype": "model.dtype", "torch_dtype": "model.dtype", "revision": "model.revision",
    "trust_remote_code": "model.trust_remote_code", "device_map": "model.device",
    "use_safetensors": "nothing: weights are read from safetensors only",
}  # fmt: skip


class Policy:
    """The trainer's base VLM; a phase attaches one adapter, trains it and detaches it.

    Args:
        model: the base.
        processor: the base's processor.
        lora: settings of the adapters.
        load: loads the base again; needed if phases shard it.
    """

    def __init__(
        self, model: Any, processor: Any, *, lora: Lora, load: Callable[[], Any] | None = None
    ) -> None:
        self._model: Any = model
        self.processor = processor
        self._lora, self._load = lora, load

    @classmethod
    def of(cls, model: Model, *, lora: Lora) -> "Policy":
        """Load the base that the configuration names.

        Raises:
            ConfigError: see `load_base`.
        """
        return cls(*load_base(model), lora=lora, load=lambda: load_base(model)[0])

    @property
    def model(self) -> Any:
        """The base without an adapter; it is loaded again after a phase that sharded it."""
        if self._model is None:
            assert self._load is not None, "`load` is needed to load the base again"
            self._model = self._load()
        return self._model

    @property
    def chat(self) -> Chat:
        """Converts prompts to tokens."""
        return Chat(self.processor, config=self.model.config, generation=self.model.generation_config)

    @property
    def adapts_tower(self) -> bool:
        """Whether `lora.targets` names layers outside the language model."""
        language = {id(module) for module in self.model.get_decoder().modules()}
        head = self.model.get_output_embeddings()
        return any(
            isinstance(module, torch.nn.Linear) and module is not head and id(module) not in language
            and any(name == target or name.endswith(f".{target}") for target in self._lora.targets)
            for name, module in self.model.named_modules()
        )  # fmt: skip

    def create_adapter(self, adapter: AdapterVersion, *, seed: int) -> None:
        """Save a new adapter that changes nothing yet (B = 0) to `adapter.path`."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            peft_model = with_new_adapter(self.model, self._lora)
        save_adapter(peft_model, adapter)
        self._model = peft_model.unload()

    def with_adapter(self, adapter: AdapterVersion) -> Any:
        """Attach a trainable copy of a version to the base, as PEFT's adapter `default`."""
        return PeftModel.from_pretrained(self.model, str(adapter.path), is_trainable=True)

    def without_adapter(self, peft_model: Any) -> None:
        """Detach the adapter, and undo a trainer's changes to the base."""
        self._model = peft_model.unload()
        vars(self.model).pop("forward", None)  # TRL's fused head, which each phase would wrap again
        vars(self.model).pop("enable_input_require_grads", None)
        self.model.disable_input_require_grads()
        self.model.gradient_checkpointing_disable()  # otherwise the next phase rounds differently

    def dismiss(self) -> None:
        """Release a base that FSDP has sharded in place: its changed classes cannot be sharded again."""
        self._model = None

    @staticmethod
    def keep_gradients_out_of_inputs(peft_model: Any) -> None:
        """Exclude a frozen vision tower from the backward pass until the adapter is detached.

        TRL, and transformers when it enables checkpointing, make every embedding require gradients, including
        the vision tower's. The tower would then store its layers' inputs and run a useless backward pass.
        Checkpoints that are not re-entrant do not need these gradients.
        """
        vars(peft_model.get_base_model())["enable_input_require_grads"] = lambda: None

    def shared_base(self) -> Any:
        """The base as a separate module tree with the same tensors, so that two users share one copy."""
        tensors = itertools.chain(self.model.parameters(), self.model.buffers())
        return copy.deepcopy(self.model, {id(tensor): tensor for tensor in tensors})


def with_new_adapter(model: Any, lora: Lora) -> Any:
    """Attach a new trainable adapter to the base, as PEFT's adapter `default`.

    Raises:
        ConfigError: `lora.targets` names nothing that this model has.
    """
    _check_targets(model, lora.targets)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets or language_model_linears(model),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _check_targets(model: Any, targets: Sequence[str]) -> None:
    """Check that each name matches a layer; PEFT only checks that one of them does."""
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise ConfigError(
                f"lora.targets: {target!r} matches nothing in this model; its linear layers are: "
                f"{', '.join(_linear_names(model))}"
            )
        if target.rpartition(".")[2] == "lm_head":
            raise ConfigError(
                "lora.targets: lm_head cannot have LoRA, because TRL computes log-probs from its weights"
            )


def adapter_state(peft_model: Any) -> dict[str, torch.Tensor]:
    """The full trained weights on the CPU; for a sharded model all ranks call this and rank 0 gets them."""
    trained = [(name, p) for name, p in peft_model.named_parameters() if p.requires_grad]
    if isinstance(peft_model, PeftModel) and not any(isinstance(p, DTensor) for _, p in trained):
        return {name: parameter.detach().cpu() for name, parameter in trained}
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    state: dict[str, Any] = get_model_state_dict(peft_model, options=options)
    return state


def save_adapter(
    peft_model: Any, adapter: AdapterVersion, *, state: dict[str, torch.Tensor] | None = None
) -> None:
    """Write the adapter `default` to `adapter.path` as PEFT does, in safetensors.

    Args:
        peft_model: the model with the adapter.
        adapter: the version, whose path is written.
        state: the weights, from `adapter_state`; None takes them from the model.
    """
    assert adapter.path is not None
    if adapter.path.exists():  # left incomplete by a kill
        shutil.rmtree(adapter.path)
    write_adapter(peft_model, adapter.path, state=state)


def write_adapter(peft_model: Any, folder: Path, *, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write the adapter `default` into a folder in PEFT's format, without a card; see `save_adapter`."""
    folder.mkdir(parents=True, exist_ok=True)
    named = get_peft_model_state_dict(
        peft_model, state_dict=state, adapter_name="default", save_embedding_layers=False
    )
    config = copy.copy(peft_model.peft_config["default"])
    config.inference_mode = True
    config.save_pretrained(str(folder))
    tensors = {name: tensor.detach().contiguous() for name, tensor in named.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def load_base(config: Model) -> tuple[Any, Any]:
    """Load a base VLM and its processor.

    Raises:
        ConfigError: `model.path` cannot be loaded, or an option is not supported.
    """
    options: dict[str, Any] = config.model_dump(include={"revision", "trust_remote_code"})
    for key in config.options:
        if key in _OWN_OPTIONS:
            raise ConfigError(f"model.options.{key}: its key is {_OWN_OPTIONS[key]}")
    processor = load_processor(config)
    quantized = "quantization_config" in config.options
    if quantized:  # quantized weights cannot be moved afterwards
        options["device_map"] = {"": device_of(config)}
    check_device(device := device_of(config))
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            config.source, dtype=config.dtype, use_safetensors=True, output_loading_info=True,
            ignore_mismatched_sizes=True, **options, **config.options,
        )  # fmt: skip
    except (ImportError, TypeError) as error:  # a missing package, an unknown argument
        raise ConfigError(f"model.options {config.options}: {error}") from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ConfigError(f"model.path: no VLM could be loaded from {config.path!r}: {error}") from error
    model, found = loaded
    lacking = [*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])]
    if lacking:
        raise ConfigError(
            f"model.path: {config.path!r} lacks {len(lacking)} of the tensors that a {type(model).__name__} "
            f"needs, or has them in another shape ({', '.join(sorted(lacking)[:3])} ...), so they would be "
            "random; use a complete checkpoint of this architecture"
        )
    broken = [n for n, p in model.named_parameters() if p.is_floating_point() and not p.isfinite().all()]
    if broken:
        raise ConfigError(f"model.path: {config.path!r} has values that are not finite, in {broken[0]}")
    _agree(model.config, config.processor)
    # FSDP moves a model to the GPUs shard by shard.
    stays = quantized or launcher.shards()
    return (model if stays else model.to(device)), processor


def check_device(device: str) -> None:
    """Raise ConfigError if the device does not exist."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        named = torch.device(device)
        torch.empty(0, device=named)
    except (RuntimeError, AssertionError) as error:
        there = ["cpu", *(f"cuda:{i}" for i in range(gpus))]
        raise ConfigError(f"model.device: {device!r} does not exist; use {', '.join(there)}") from error


def check_adapter(folder: Path, model: Model) -> None:
    """Check that an adapter is complete, is LoRA, and fits this base, before the base is loaded.

    Raises:
        ConfigError: the adapter does not fit; the message names the tensors that differ.
    """
    if model.trust_remote_code:  # its classes cannot be built without weights
        return
    try:
        lora = PeftConfig.from_pretrained(str(folder))
        held = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ConfigError(f"the adapter in {folder} cannot be read: {error!s:.300}") from error
    if not isinstance(lora, LoraConfig):
        raise ConfigError(f"the adapter in {folder} is {lora.peft_type}; only LoRA is supported")
    lora.init_lora_weights = False
    try:
        with torch.device("meta"):
            base = AutoModelForImageTextToText.from_config(
                AutoConfig.from_pretrained(model.source, revision=model.revision), dtype=torch.float32
            )
            wanted = get_peft_model_state_dict(get_peft_model(base, lora), save_embedding_layers=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise ConfigError(
            f"the adapter in {folder} does not fit {model.path!r}: {error!s:.300}; it was made for "
            f"{lora.base_model_name_or_path}"
        ) from error
    wanted = {name: tensor for name, tensor in wanted.items() if "lora_" in name}
    shapes = {name: tuple(tensor.shape) for name, tensor in held.items() if "lora_" in name}
    differing = {n for n in shapes.keys() | wanted.keys() if shapes.get(n) != _shape(wanted.get(n))}
    if differing:
        raise ConfigError(
            f"the adapter in {folder} does not fit {model.path!r}: {len(differing)} tensors are missing or "
            f"have other names or shapes ({', '.join(sorted(differing)[:3])} ...); it was made for "
            f"{lora.base_model_name_or_path}"
        )
    if broken := [name for name, tensor in held.items() if not tensor.isfinite().all()]:
        raise ConfigError(f"the adapter in {folder} has values that are not finite, in {broken[0]}")


def _shape(tensor: torch.Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def _agree(config: Any, settings: dict[str, Any]) -> None:
    """Set those settings on the model that its forward pass reads, e.g. LLaVA's `image_grid_pinpoints`."""
    for name in settings:
        if hasattr(config, name):
            setattr(config, name, settings[name])


def device_of(config: Model) -> str:
    """The device of the base VLM: `cpu`, `cuda`, `cuda:1`; each of several ranks uses a separate GPU.

    Raises:
        ConfigError: one GPU is named for several ranks.
    """
    device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    place = launcher.local_rank()
    if place is None or not device.startswith("cuda"):
        return device
    if device != "cuda" and launcher.world_size() > 1:
        raise ConfigError(f"model.device: {device} is one GPU, but each rank needs its own; leave it at auto")
    return device if ":" in device else f"cuda:{place}"


def language_model_linears(model: Any) -> str:
    """A pattern for all linear layers of the language model, without vision tower and projector.

    Raises:
        ConfigError: the architecture does not define which part is its language model.
    """
    decoder = model.get_decoder()
    prefix = next((name for name, module in model.named_modules() if module is decoder and name), None)
    if prefix is None:
        raise ConfigError(
            f"lora.targets: {type(model).__name__} does not define which part is its language model; name "
            f"layers from this list: {', '.join(_linear_names(model))}"
        )
    leaves = sorted(
        {name.rsplit(".", 1)[-1] for name, m in decoder.named_modules() if isinstance(m, torch.nn.Linear)}
    )
    return rf"{re.escape(prefix)}\..*\.({'|'.join(leaves)})"


def _linear_names(model: Any) -> list[str]:
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    return sorted({re.sub(r"\.\d+\.", ".*.", name) for name in names})
