"""Load the base VLM's processor and chat template with the configured settings, for trainer and engine."""

import datetime
import difflib
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import AutoProcessor

from visplay.config.sections import Model
from visplay.errors import ConfigError, nearest

# Shapes that every image processor accepts: shortest side in pixels, and ratio of long to short side.
_CERTAIN_SIDE, _CERTAIN_RATIO = 32, 8
# Setting of an image processor family -> how it reduces the number of tokens per picture.
_SMALLER: dict[str, Any] = {
    "do_image_splitting": False,
    "crop_to_patches": False,
    "image_grid_pinpoints": [[384, 384]],
}
_GIVEN = ("messages", "tools", "add_generation_prompt", "continue_final_message", "bos_token", "eos_token")
_DATE = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


def load_processor(config: Model) -> Any:
    """Load a base VLM's processor with the settings, limits and template variables of the configuration.

    Raises:
        ConfigError: `model.path` has no processor, or the processor does not know a setting.
    """
    options = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
    try:
        processor: Any = AutoProcessor.from_pretrained(config.source, **options, **config.processor)
    except (OSError, ValueError, TypeError) as error:
        place = "in the folder" if Path(config.source).is_dir() else "on the hub, and no folder here, named"
        why = " ".join(str(error).split())
        raise ConfigError(f"model.path: no processor {place} {config.path!r}: {why:.300}") from error
    images = processor.image_processor
    if config.processor:
        _check_settings(images, config.processor)
    if limits := _pixel_limits(config):
        if "image_grid_thw" not in images.model_input_names:
            raise ConfigError(
                f"model.{next(iter(limits))}: {type(images).__name__} has no limits in pixels; "
                f"{_how_smaller(images)}"
            )
        edges = {"max_pixels": "longest_edge", "min_pixels": "shortest_edge"}
        size = dict(images.size) | {edges[key]: limit for key, limit in limits.items()}
        images.size = type(images.size)(**size)
    # TRL pads prompts on the left and assumes that the processor pads token types on the left, too.
    processor.tokenizer.padding_side = "left"
    if isinstance(processor.chat_template, str):
        processor.chat_template = settled_template(
            processor.chat_template, variables=config.chat_template_kwargs, date=config.date
        )
    elif config.chat_template_kwargs:
        raise ConfigError(f"model.chat_template_kwargs: {config.path!r} has no single chat template")
    return processor


def settled_template(template: str, *, variables: dict[str, Any], date: datetime.date | None) -> str:
    """Set a template's variables and date in its text, so that all renderers give the same prompt.

    Args:
        template: a Jinja template of transformers.
        variables: values to set before its first line.
        date: replaces `strftime_now("...")`; None keeps the current date.

    Raises:
        ConfigError: the template does not use a variable, or its renderer sets the variable.
    """
    words = set(re.findall(r"[A-Za-z_]\w*", template))
    lines = ""
    for name, value in variables.items():
        if name in _GIVEN:
            raise ConfigError(f"model.chat_template_kwargs.{name}: the renderer sets it; leave it out")
        if name not in words:
            near = difflib.get_close_matches(name, sorted(words), n=1, cutoff=0.7)
            hint = f"did you mean {near[0]!r}?" if near else "see the model's chat_template.jinja"
            raise ConfigError(f"model.chat_template_kwargs.{name}: the template has no such variable; {hint}")
        lines += f"{{% set {name} = {_jinja(value)} %}}"
    if date is not None:
        template = _DATE.sub(lambda found: json.dumps(date.strftime(found[2])), template)
    return lines + template


def picture_limits(processor: Any) -> Callable[[int, int], str | None]:
    """A function that returns why the processor rejects a width and height in pixels, or None.

    Only narrow and tiny shapes can fail: the function tries a blank picture, once per shape.
    """

    @functools.lru_cache(maxsize=4096)
    def reason(width: int, height: int) -> str | None:
        if min(width, height) >= _CERTAIN_SIDE and max(width, height) <= _CERTAIN_RATIO * min(width, height):
            return None
        return _refusal(processor.image_processor, width, height)

    return reason


def smaller_pictures(processor: Any, *, tokens: int) -> dict[str, Any]:
    """Settings of `model` that limit a picture to `tokens` tokens, if the processor supports a limit."""
    images = processor.image_processor
    if "image_grid_thw" in images.model_input_names:
        return {"max_pixels": tokens * (images.patch_size * images.merge_size) ** 2}
    settings = _smaller_settings(images)
    return {"processor": settings} if settings else {}


def engine_settings(config: Model, processor: Any) -> dict[str, Any]:
    """The `mm_processor_kwargs` of vLLM, with which its processor expands prompts as ours does.

    Raises:
        ConfigError: vLLM cannot pass a setting to the processor.
    """
    settings = dict(config.processor)
    for name, value in settings.items():
        if isinstance(value, list):  # vLLM hashes the settings, but transformers needs a list
            raise ConfigError(
                f"model.processor.{name}: vLLM accepts no lists as processor settings; leave it out, or "
                "set engine.backend=transformers"
            )
    if _pixel_limits(config):
        size = processor.image_processor.size
        settings["size"] = {"longest_edge": size["longest_edge"], "shortest_edge": size["shortest_edge"]}
    return settings


def _check_settings(images: Any, settings: dict[str, Any]) -> None:
    known = sorted(getattr(images.valid_kwargs, "__annotations__", {}))
    for name in settings:
        if name not in known:
            raise ConfigError(
                f"model.processor.{name}: {type(images).__name__} has no such setting{nearest(name, known)}"
            )
    if refused := _refusal(images, 320, 240):
        raise ConfigError(f"model.processor {settings}: {refused}")


def _how_smaller(images: Any) -> str:
    settings = _smaller_settings(images) or {"size": dict(images.size)}
    ways = ", ".join(f"{name}: {_jinja(value)}" for name, value in settings.items())
    return f"pictures take fewer tokens with model.processor: {{{ways}}}"


def _smaller_settings(images: Any) -> dict[str, Any]:
    known = getattr(images.valid_kwargs, "__annotations__", {})
    return {name: value for name, value in _SMALLER.items() if name in known}


def _refusal(images: Any, width: int, height: int) -> str | None:
    try:
        images(images=[Image.new("RGB", (width, height))], return_tensors="pt")
    # Image processors raise various arithmetic errors (ValueError, ZeroDivisionError, ...).
    except Exception as error:
        return f"refused by {type(images).__name__}: {width} x {height} pixels ({error})"
    return None


def _pixel_limits(config: Model) -> dict[str, int]:
    return {k: v for k in ("max_pixels", "min_pixels") if (v := getattr(config, k)) is not None}


def _jinja(value: Any) -> str:
    """A JSON value as a Jinja literal."""
    if value is None:
        return "none"
    if isinstance(value, list):
        return f"[{', '.join(map(_jinja, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(str(k))}: {_jinja(v)}' for k, v in value.items())}}}"
    return json.dumps(value)
