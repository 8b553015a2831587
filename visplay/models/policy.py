"""The base VLM and the LoRA adapter on it: load, start a phase, save a version."""

import copy
import functools
import itertools
import re
import shutil
from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from rollouts.chat import Chat
from rollouts.engine import AdapterVersion
from visplay.config.sections import Lora, Model
from visplay.errors import ConfigError

_CERTAIN_SIDE, _CERTAIN_RATIO = (
    32,
    8,
)  # shapes that every image processor takes: pixels, and long by short side


class Policy:
    """The base VLM as the trainer holds it; a phase trains one adapter on it and takes it off again."""

    def __init__(self, model: Any, processor: Any, *, lora: Lora) -> None:
        self.model = model
        self.processor = processor
        self._lora = lora

    @property
    def chat(self) -> Chat:
        """How prompts become tokens."""
        return Chat(self.processor, config=self.model.config, generation=self.model.generation_config)

    def create_adapter(self, adapter: AdapterVersion, *, seed: int) -> None:
        """Save a new adapter that changes nothing yet (B = 0) to `adapter.path`."""
        config = LoraConfig(
            r=self._lora.rank,
            lora_alpha=self._lora.alpha,
            lora_dropout=self._lora.dropout,
            target_modules=self._lora.targets or language_model_linears(self.model),
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                peft_model = get_peft_model(self.model, config)
            except ValueError as error:  # PEFT's message does not say what there is
                raise ConfigError(
                    f"lora.targets {self._lora.targets} match nothing in this model; its linear layers are: "
                    f"{', '.join(_linear_names(self.model))}"
                ) from error
        save_adapter(peft_model, adapter)
        self.model = peft_model.unload()

    def with_adapter(self, adapter: AdapterVersion) -> Any:
        """The base with a trainable copy of a version, as PEFT's adapter `default`."""
        return PeftModel.from_pretrained(self.model, str(adapter.path), is_trainable=True)

    def without_adapter(self, peft_model: Any) -> None:
        """Take the adapter off again, and what a trainer put on the base: the next phase finds it bare."""
        self.model = peft_model.unload()
        vars(self.model).pop("forward", None)  # TRL's fused head, which each phase would wrap once more
        self.model.disable_input_require_grads()

    def shared_base(self) -> Any:
        """The bare base as a module tree of its own on the same tensors: one copy in memory for two users."""
        tensors = itertools.chain(self.model.parameters(), self.model.buffers())
        return copy.deepcopy(self.model, {id(tensor): tensor for tensor in tensors})


def save_adapter(peft_model: Any, adapter: AdapterVersion) -> None:
    """Write the adapter `default` to `adapter.path` as PEFT does, in safetensors."""
    assert adapter.path is not None
    if adapter.path.exists():  # cut short by a kill
        shutil.rmtree(adapter.path)
    peft_model.save_pretrained(str(adapter.path), selected_adapters=["default"])
    # PEFT's card says nothing of the run, and something else where TRL was not at work before.
    (adapter.path / "README.md").unlink(missing_ok=True)


def load_base(config: Model) -> tuple[Any, Any]:
    """Load a base VLM and its processor.

    Raises:
        ConfigError: nothing loadable at `model.path`.
    """
    options = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
    processor = load_processor(config)
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            config.source, dtype=config.dtype, use_safetensors=True, **options
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.path: no VLM could be loaded from {config.path!r}: {error}") from error
    weights: Any = model
    return weights.to(_device(config.device)), processor


def load_processor(config: Model) -> Any:
    """Load a base VLM's processor, with the pixel limits of the configuration.

    Raises:
        ConfigError: no processor at `model.path`, or one that has no pixel limits.
    """
    options = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
    try:
        processor: Any = AutoProcessor.from_pretrained(config.source, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.path: no processor in {config.path!r}: {error}") from error
    if limits := _pixel_limits(config):
        images = processor.image_processor
        if "image_grid_thw" not in images.model_input_names:
            raise ConfigError(
                f"model.{next(iter(limits))}: {type(images).__name__} sizes pictures otherwise; leave it out "
                "and scale the pictures before"
            )
        edges = {"max_pixels": "longest_edge", "min_pixels": "shortest_edge"}
        size = dict(images.size) | {edges[key]: limit for key, limit in limits.items()}
        images.size = type(images.size)(**size)
    # TRL pads prompts on the left, and takes it that the processor does so with token types.
    processor.tokenizer.padding_side = "left"
    return processor


def picture_limits(processor: Any) -> Callable[[int, int], str | None]:
    """What says why the processor refuses a picture of some width and height in pixels, or None.

    Only narrow and tiny shapes are in doubt: of those a blank picture is tried, once for each shape.
    """

    @functools.lru_cache(maxsize=4096)
    def reason(width: int, height: int) -> str | None:
        if min(width, height) >= _CERTAIN_SIDE and max(width, height) <= _CERTAIN_RATIO * min(width, height):
            return None
        try:
            processor.image_processor(images=[Image.new("RGB", (width, height))], return_tensors="pt")
        # Image processors raise whatever their arithmetic leads them to (ValueError, ZeroDivisionError, ...).
        except Exception as error:
            return (
                f"{width} x {height} pixels: refused by {type(processor.image_processor).__name__} ({error})"
            )
        return None

    return reason


def picture_size(config: Model, processor: Any) -> dict[str, int]:
    """Both limits, in pixels, as Qwen's processors and vLLM name them; empty where none is set."""
    if not _pixel_limits(config):
        return {}
    size = processor.image_processor.size
    return {"longest_edge": size["longest_edge"], "shortest_edge": size["shortest_edge"]}


def _pixel_limits(config: Model) -> dict[str, int]:
    return {k: v for k in ("max_pixels", "min_pixels") if (v := getattr(config, k)) is not None}


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


def _device(name: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
