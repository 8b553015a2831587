"""Count a VLM's parameters and the memory of a training step.

The model is built from its `config.json` on torch's meta device, with the run's LoRA; no weights are read.
Formulas compute a step's activations from its sizes.
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
    """The sizes of a VLM with a LoRA adapter.

    Attributes:
        parameters: number of parameters of the base; tied ones count once.
        adapter: number of parameters of the LoRA adapter.
        dtype: type of the base's weights.
        layers: number of layers of the language model.
        width: width of its hidden states.
        vocabulary: number of rows of the embedding.
        layer_parameters: number of parameters of the base in one layer of the language model.
        kv_bytes: bytes of the keys and values of one token in all layers.
        context: longest sequence that the model supports, in tokens.
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
        """Size of the base's weights, in bytes."""
        return self.parameters * self.dtype.itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Activation memory of one forward and backward pass of the language model, in bytes.

    It is for a micro-batch of one completion and grows linearly with the number of completions.

    Attributes:
        kept: bytes that are kept after the forward pass for the backward pass.
        peak: the peak over both passes.
    """

    kept: int
    peak: int


def read_architecture(model: Model) -> Any:
    """Read the base VLM's `config.json` with transformers.

    Raises:
        ConfigError: it does not exist, or does not describe a VLM.
    """
    options = {"revision": model.revision, "trust_remote_code": model.trust_remote_code}
    try:
        config: Any = AutoConfig.from_pretrained(model.source, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model.path: no config.json of {model.path!r} is available: {str(error).rstrip('.')}. Name a "
            "folder that has one, or a hub id that is cached or can be downloaded"
        ) from error
    if not hasattr(config, "vision_config"):
        raise ConfigError(f"model.path: {model.path!r} is a {config.model_type}, not a vision-language model")
    return config


def base_dtype(config: Any, model: Model) -> torch.dtype:
    """The type in which the base's weights are loaded."""
    if model.dtype != "auto":
        dtype: torch.dtype = getattr(torch, model.dtype)
        return dtype
    stored = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    return getattr(torch, stored) if isinstance(stored, str) else stored or torch.float32


def measure_size(config: Any, *, dtype: torch.dtype, lora: Lora) -> Size:
    """Build the VLM and its adapter on the meta device and count their parameters.

    Args:
        config: the model's configuration, see `read_architecture`.
        dtype: type of the weights.
        lora: settings of the adapter.

    Raises:
        ConfigError: `lora.targets` matches nothing, or the architecture is not known.
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
    """Estimate the activation memory of the language model for one completion by formulas.

    With checkpointing, each layer's input and the activations of one layer are kept. The estimate is 0.97 to
    1.07 of the count for eight released VLMs. Without it, all activations are kept: 1.02 to 1.30 of it.

    Args:
        config: the model's configuration.
        dtype: type of the base.
        tokens: number of tokens of the prompt with its completion.
        checkpointing: whether layers are recomputed in the backward pass.
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
        raise ConfigError(f"model.path: its config.json does not describe a VLM: {error}") from error


def _repeated(decoder: Any) -> list[Any]:
    return next((list(part) for part in decoder.children() if isinstance(part, torch.nn.ModuleList)), [])
