"""What a VLM is made of and what a training step holds, counted on tensors that have shapes and no storage.

The model is built from its own `config.json` on torch's meta device with the run's LoRA on it; no weights are
read. A step's activations are counted by running the language model forward and backward on fake tensors with
the trainer's types, and following which storages are alive; nothing is fitted to one architecture.
"""

import copy
import math
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForImageTextToText

from visplay.config.sections import Lora, Model
from visplay.errors import ConfigError
from visplay.models.policy import with_new_adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A VLM with a LoRA adapter, in numbers.

    Attributes:
        parameters: of the base, tied ones once.
        adapter: parameters of the LoRA adapter.
        dtype: of the base's weights.
        layers: of the language model.
        width: of its hidden states.
        feed_forward: width of its feed-forward part.
        vocabulary: rows of the embedding.
        layer_parameters: of the base, in one layer of the language model.
        kv_bytes: of keys and values of one token in all layers, in bytes.
        context: longest sequence that the model was made for, in tokens.
    """

    parameters: int
    adapter: int
    dtype: torch.dtype
    layers: int
    width: int
    feed_forward: int
    vocabulary: int
    layer_parameters: int
    kv_bytes: int
    context: int

    @property
    def weight_bytes(self) -> int:
        """Of the base's weights, in bytes."""
        return self.parameters * self.dtype.itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one forward and backward pass of the language model holds beside weights and gradients, in bytes.

    For a micro-batch of one completion; more take so many times as much.

    Attributes:
        kept: after the forward pass, for the backward pass.
        peak: at the worst moment of both.
        checkpointed: whether layers were computed again in the backward pass.
        counted: False where the pass could not be run without values, and formulas stand in.
    """

    kept: int
    peak: int
    checkpointed: bool
    counted: bool = True


def read_architecture(model: Model) -> Any:
    """The base VLM's `config.json`, as transformers reads it.

    Raises:
        ConfigError: there is none, or no VLM can be made of it.
    """
    options = {"revision": model.revision, "trust_remote_code": model.trust_remote_code}
    try:
        config: Any = AutoConfig.from_pretrained(model.source, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model.path: no config.json of {model.path!r} can be had: {str(error).rstrip('.')}. Name a "
            "folder that holds one, or a hub id while the hub can be reached or has been asked before"
        ) from error
    if not hasattr(config, "vision_config"):
        raise ConfigError(f"model.path: {model.path!r} is a {config.model_type}, no vision-language model")
    return config


def base_dtype(config: Any, model: Model) -> torch.dtype:
    """The type that the base's weights are loaded in."""
    if model.dtype != "auto":
        dtype: torch.dtype = getattr(torch, model.dtype)
        return dtype
    stored = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    return getattr(torch, stored) if isinstance(stored, str) else stored or torch.float32


def measure_size(config: Any, *, dtype: torch.dtype, lora: Lora) -> Size:
    """Build the VLM and its adapter on the meta device and count.

    Args:
        config: of the model, see `read_architecture`.
        dtype: of the weights.
        lora: the adapter.

    Raises:
        ConfigError: `lora.targets` match nothing, or the architecture is not known.
    """
    model = _built(config, dtype)
    text = config.get_text_config()
    parameters = sum(p.numel() for p in model.parameters())
    decoder = model.get_decoder()
    layer = max((sum(p.numel() for p in part.parameters()) for part in _repeated(decoder)), default=0)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    with torch.random.fork_rng(devices=[]):
        adapted = with_new_adapter(model, lora)
    return Size(
        parameters=parameters,
        adapter=sum(p.numel() for p in adapted.parameters() if p.requires_grad),
        dtype=dtype,
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        feed_forward=text.intermediate_size,
        vocabulary=text.vocab_size,
        layer_parameters=layer,
        kv_bytes=2 * text.num_hidden_layers * heads * head * dtype.itemsize,
        context=getattr(text, "max_position_embeddings", None) or 32768,
    )


def count_held(config: Any, *, dtype: torch.dtype, lora: Lora, tokens: int, checkpointing: bool) -> Held:
    """What the language model holds while it learns from one completion.

    It is run with few layers, which enter linearly. Where a pass depends on values, as in a mixture of
    experts, formulas stand in, which were fitted to Qwen2.5-VL.

    Args:
        config: of the model.
        dtype: of the base; bfloat16 is trained under bf16 autocast, as `visplay.training.arguments` has it.
        lora: the adapter; its weights are fp32.
        tokens: of the prompt with its completion.
        checkpointing: whether layers are computed again in the backward pass.
    """
    layers = config.get_text_config().num_hidden_layers
    few = (min(2, layers), min(3, layers))
    try:
        found = [
            _run(config, layers=n, dtype=dtype, lora=lora, tokens=tokens, checkpointing=checkpointing)
            for n in few
        ]
    # Whatever an architecture's own code does with values that are not there.
    except Exception:
        return _estimated(config, tokens=tokens, item=dtype.itemsize, checkpointing=checkpointing)
    kept, peak = (_line(few, (found[0][i], found[1][i]), layers) for i in range(2))
    return Held(kept=kept, peak=peak, checkpointed=checkpointing)


class LiveBytes(TorchDispatchMode):
    """Follows the storages that operations make, from when they are made until nothing refers to them.

    Args:
        known: tensors that are not counted, such as weights and their gradients.
    """

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self.live = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            weakref.finalize(storage, self._free, key, size)
            self.live += size
            self.peak = max(self.peak, self.live)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def _built(config: Any, dtype: torch.dtype) -> Any:
    try:
        with torch.device("meta"):
            return AutoModelForImageTextToText.from_config(config, dtype=dtype)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"model.path: no VLM can be made of its config.json: {error}") from error


def _run(
    config: Any, *, layers: int, dtype: torch.dtype, lora: Lora, tokens: int, checkpointing: bool
) -> tuple[int, int]:
    """Bytes kept after the forward pass, and at the peak, of the language model with so many layers."""
    model = _built(_with_layers(config, layers), dtype)
    with torch.random.fork_rng(devices=[]):
        adapted = with_new_adapter(model, lora).train()
    with FakeTensorMode(), torch.device("cpu"):
        known = _made_fake(adapted)
        if checkpointing:
            model.gradient_checkpointing_enable()
        width = config.get_text_config().hidden_size
        inputs = {
            "inputs_embeds": torch.empty(1, tokens, width, dtype=dtype, requires_grad=checkpointing),
            "attention_mask": torch.ones(1, 1, tokens, tokens, dtype=torch.bool),
            "position_ids": torch.ones(1, tokens, dtype=torch.long),
        }
        known += inputs.values()
        live = LiveBytes(known)
        with live:
            # The trainer's: under bf16 where the base is, else as the weights are.
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                states = model.get_decoder()(**inputs, use_cache=False).last_hidden_state
            kept = live.live
            states.sum().backward()
        embedded = inputs["inputs_embeds"].untyped_storage().nbytes()
    return kept + embedded, live.peak + embedded


def _made_fake(model: Any) -> list[torch.Tensor]:
    """Put fake tensors in place of meta ones, with gradients where there will be some; returns them all."""
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for name, old in [(n, p) for n, p in module._parameters.items() if p is not None]:
            if id(old) not in made:
                new = torch.nn.Parameter(torch.empty(old.shape, dtype=old.dtype), old.requires_grad)
                new.grad = torch.empty_like(new) if new.requires_grad else None
                made[id(old)] = new
            module._parameters[name] = made[id(old)]
        for name, old in [(n, b) for n, b in module._buffers.items() if b is not None]:
            module._buffers[name] = made.setdefault(id(old), torch.empty(old.shape, dtype=old.dtype))
    return [*made.values(), *(t.grad for t in made.values() if t.grad is not None)]


def _with_layers(config: Any, count: int) -> Any:
    shallow = copy.deepcopy(config)
    text = shallow.get_text_config()
    text.num_hidden_layers = count
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:count]
    return shallow


def _repeated(decoder: Any) -> list[Any]:
    return next((list(part) for part in decoder.children() if isinstance(part, torch.nn.ModuleList)), [])


def _line(at: tuple[int, int], values: tuple[float, float], x: int) -> int:
    """The value at x of the straight line through two points; of one point, its value."""
    slope = (values[1] - values[0]) / (at[1] - at[0]) if at[1] > at[0] else 0.0
    return math.ceil(values[0] + slope * (x - at[0]))


def _estimated(config: Any, *, tokens: int, item: int, checkpointing: bool) -> Held:
    text = config.get_text_config()
    layers, width, inner = text.num_hidden_layers, text.hidden_size, text.intermediate_size
    if checkpointing:
        kept = item * tokens * width * (layers + 3)
        peak = math.ceil(kept + tokens * (40.3 * width + 15.5 * inner))
    else:
        kept = peak = math.ceil(tokens * layers * (40.3 * width + 10 * inner) + 6 * tokens * width)
    return Held(kept=kept, peak=peak, checkpointed=checkpointing, counted=False)
