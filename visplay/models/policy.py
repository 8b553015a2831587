"""The base VLM and the LoRA adapter on it: load, start a phase, save a version."""

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

# Arguments of `from_pretrained` that have keys of their own.
_OWN_OPTIONS = {
    "dtype": "model.dtype", "torch_dtype": "model.dtype", "revision": "model.revision",
    "trust_remote_code": "model.trust_remote_code", "device_map": "model.device",
    "use_safetensors": "nothing: weights are read from safetensors only",
}  # fmt: skip


class Policy:
    """The base VLM as the trainer holds it; a phase trains one adapter on it and takes it off again.

    Args:
        model: the base.
        processor: its processor.
        lora: of its adapters.
        load: loads the base again; needed where phases cut it into pieces.
    """

    def __init__(
        self, model: Any, processor: Any, *, lora: Lora, load: Callable[[], Any] | None = None
    ) -> None:
        self._model: Any = model
        self.processor = processor
        self._lora, self._load = lora, load

    @classmethod
    def of(cls, model: Model, *, lora: Lora) -> "Policy":
        """The base that the configuration names, loaded.

        Raises:
            ConfigError: see `load_base`.
        """
        return cls(*load_base(model), lora=lora, load=lambda: load_base(model)[0])

    @property
    def model(self) -> Any:
        """The bare base; loaded again after a phase that cut it into pieces."""
        if self._model is None:
            assert self._load is not None, "nobody said how the base is loaded again"
            self._model = self._load()
        return self._model

    @property
    def chat(self) -> Chat:
        """How prompts become tokens."""
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
        """The base with a trainable copy of a version, as PEFT's adapter `default`."""
        return PeftModel.from_pretrained(self.model, str(adapter.path), is_trainable=True)

    def without_adapter(self, peft_model: Any) -> None:
        """Take the adapter off again, and what a trainer put on the base: the next phase finds it bare."""
        self._model = peft_model.unload()
        vars(self.model).pop("forward", None)  # TRL's fused head, which each phase would wrap once more
        vars(self.model).pop("enable_input_require_grads", None)
        self.model.disable_input_require_grads()
        self.model.gradient_checkpointing_disable()  # else the next phase rounds in other ways

    def dismiss(self) -> None:
        """Let go of a base that FSDP has cut in place: its classes are others now, and can't be cut again."""
        self._model = None

    @staticmethod
    def keep_gradients_out_of_inputs(peft_model: Any) -> None:
        """Keep a frozen vision tower out of the backward pass, until the adapter is taken off.

        TRL, and transformers at each switch of checkpointing, let gradients begin at every embedding, the
        vision tower's too, which then keeps its layers' inputs and runs backward for nothing. Checkpoints
        that are not re-entrant need no gradient to begin there.
        """
        vars(peft_model.get_base_model())["enable_input_require_grads"] = lambda: None

    def shared_base(self) -> Any:
        """The bare base as a module tree of its own on the same tensors: one copy in memory for two users."""
        tensors = itertools.chain(self.model.parameters(), self.model.buffers())
        return copy.deepcopy(self.model, {id(tensor): tensor for tensor in tensors})


def with_new_adapter(model: Any, lora: Lora) -> Any:
    """The base with a new trainable adapter on it, as PEFT's adapter `default`.

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
    """See that each name matches a layer, which PEFT asks of one of them only."""
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise ConfigError(
                f"lora.targets: {target!r} matches nothing in this model; its linear layers are: "
                f"{', '.join(_linear_names(model))}"
            )
        if target.rpartition(".")[2] == "lm_head":
            raise ConfigError(
                "lora.targets: lm_head can carry no adapter, because TRL computes log-probs from its weights"
            )


def adapter_state(peft_model: Any) -> dict[str, torch.Tensor]:
    """The trained weights, whole, on the CPU; of a model in pieces all ranks call, the first gets."""
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
        peft_model: carries it.
        adapter: where it goes.
        state: the weights, from `adapter_state`; by default they are taken from the model.
    """
    assert adapter.path is not None
    if adapter.path.exists():  # cut short by a kill
        shutil.rmtree(adapter.path)
    write_adapter(peft_model, adapter.path, state=state)


def write_adapter(peft_model: Any, folder: Path, *, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write the adapter `default` into a folder as PEFT reads it, without its card; see `save_adapter`."""
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
        ConfigError: nothing loadable at `model.path`, or options that cannot be had.
    """
    options: dict[str, Any] = config.model_dump(include={"revision", "trust_remote_code"})
    for key in config.options:
        if key in _OWN_OPTIONS:
            raise ConfigError(f"model.options.{key}: its key is {_OWN_OPTIONS[key]}")
    processor = load_processor(config)
    quantized = "quantization_config" in config.options
    if quantized:  # such weights cannot be moved afterwards
        options["device_map"] = {"": device_of(config)}
    _check_device(device := device_of(config))
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            config.source, dtype=config.dtype, use_safetensors=True, output_loading_info=True,
            ignore_mismatched_sizes=True, **options, **config.options,
        )  # fmt: skip
    except (ImportError, TypeError) as error:  # a package that is missing, an argument that nobody knows
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
            f"needs, or has them in another shape ({', '.join(sorted(lacking)[:3])} ...), and they would be "
            "random; give a whole checkpoint of this architecture"
        )
    broken = [n for n, p in model.named_parameters() if p.is_floating_point() and not p.isfinite().all()]
    if broken:
        raise ConfigError(f"model.path: {config.path!r} holds values that are no numbers, in {broken[0]}")
    _agree(model.config, config.processor)
    # What FSDP cuts goes to the GPUs piece by piece, not whole.
    stays = quantized or launcher.shards()
    return (model if stays else model.to(device)), processor


def _check_device(device: str) -> None:
    """Raise ConfigError where there is no such device."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        named = torch.device(device)
        torch.empty(0, device=named)
    except (RuntimeError, AssertionError) as error:
        there = ["cpu", *(f"cuda:{i}" for i in range(gpus))]
        raise ConfigError(f"model.device: {device!r} is not there; there is {', '.join(there)}") from error


def check_adapter(folder: Path, model: Model) -> None:
    """See that an adapter is whole, is LoRA, and was made for this base, before anything is loaded.

    Raises:
        ConfigError: it is not, with the tensors that differ.
    """
    if model.trust_remote_code:  # its classes are not built without its weights
        return
    try:
        lora = PeftConfig.from_pretrained(str(folder))
        held = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ConfigError(f"the adapter in {folder} cannot be read: {error!s:.300}") from error
    if not isinstance(lora, LoraConfig):
        raise ConfigError(f"the adapter in {folder} is {lora.peft_type}; only LoRA is applied here")
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
        raise ConfigError(f"the adapter in {folder} holds values that are no numbers, in {broken[0]}")


def _shape(tensor: torch.Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def _agree(config: Any, settings: dict[str, Any]) -> None:
    """Tell the model of settings that its forward pass reads, too, such as LLaVA's `image_grid_pinpoints`."""
    for name in settings:
        if hasattr(config, name):
            setattr(config, name, settings[name])


def device_of(config: Model) -> str:
    """Where the base VLM goes: `cpu`, `cuda`, `cuda:1`; of many ranks, each takes the GPU of its place.

    Raises:
        ConfigError: one GPU is named for many ranks.
    """
    device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    place = launcher.local_rank()
    if place is None or not device.startswith("cuda"):
        return device
    if device != "cuda" and launcher.world_size() > 1:
        raise ConfigError(f"model.device: {device} is one GPU, and each rank has its own; leave it at auto")
    return device if ":" in device else f"cuda:{place}"


def language_model_linears(model: Any) -> str:
    """A pattern for all linear layers of the language model; vision tower and projector stay as they are.

    Raises:
        ConfigError: the architecture does not say which part is its language model.
    """
    decoder = model.get_decoder()
    prefix = next((name for name, module in model.named_modules() if module is decoder and name), None)
    if prefix is None:
        raise ConfigError(
            f"lora.targets: {type(model).__name__} does not say which part is its language model; name the "
            f"layers yourself, from: {', '.join(_linear_names(model))}"
        )
    leaves = sorted(
        {name.rsplit(".", 1)[-1] for name, m in decoder.named_modules() if isinstance(m, torch.nn.Linear)}
    )
    return rf"{re.escape(prefix)}\..*\.({'|'.join(leaves)})"


def _linear_names(model: Any) -> list[str]:
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    return sorted({re.sub(r"\.\d+\.", ".*.", name) for name in names})
