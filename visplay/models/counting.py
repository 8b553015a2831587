"""What a VLM is made of and what a training step holds.

The model is built from its own `config.json` on torch's meta device with the run's LoRA on it; no weights are
read. A step's activations follow from its sizes, by formulas.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
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
    """

    kept: int
    peak: int


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
        vocabulary=text.vocab_size,
        layer_parameters=layer,
        kv_bytes=2 * text.num_hidden_layers * heads * head * dtype.itemsize,
        context=getattr(text, "max_position_embeddings", None) or 32768,
    )


def count_held(config: Any, *, dtype: torch.dtype, tokens: int, checkpointing: bool) -> Held:
    """What the language model holds while it learns from one completion, by formulas.

    With checkpointing each layer's input is kept, and one layer is worked on: 0.97 to 1.07 of what a count of
    eight released VLMs' passes gave. Without, all that each layer makes is kept: 1.02 to 1.30 of it.

    Args:
        config: of the model.
        dtype: of the base.
        tokens: of the prompt with its completion.
        checkpointing: whether layers are computed again in the backward pass.
    """
    text, item = config.get_text_config(), dtype.itemsize
    layers, width, inner = text.num_hidden_layers, text.hidden_size, text.intermediate_size
    if checkpointing:
        kept = item * tokens * width * (layers + 3)
        return Held(kept=kept, peak=math.ceil(kept + tokens * (40.3 * width + 15.5 * inner)))
    kept = math.ceil(tokens * layers * (40.3 * width + 10 * inner) + 6 * tokens * width)
    return Held(kept=kept, peak=kept)


def _built(config: Any, dtype: torch.dtype) -> Any:
    try:
        with torch.device("meta"):
            return AutoModelForImageTextToText.from_config(config, dtype=dtype)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"model.path: no VLM can be made of its config.json: {error}") from error


def _repeated(decoder: Any) -> list[Any]:
    return next((list(part) for part in decoder.children() if isinstance(part, torch.nn.ModuleList)), [])
