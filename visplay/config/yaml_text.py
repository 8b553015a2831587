"""YAML with whole numbers in decimal digits only, no key twice and no placeholders."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_FLOAT = re.compile(
    r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9]\d*)")
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


class _Loader(yaml.SafeLoader):
    """`010` and `1:30` are text, `1e-5` is a number (YAML 1.2); a key given twice is an error."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Reads a mapping as it is written, before `<<` is merged into it; each key once."""
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
        if twice not in (None, "<<"):
            raise yaml.composer.ComposerError(None, None, f"{twice} is given twice", node.start_mark)
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would read as a number."""


for _tool in (_Loader, _Dumper):
    _tool.yaml_implicit_resolvers = {
        first: [(tag, found) for tag, found in resolvers if tag not in _NUMBERS or _tool is _Dumper]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for _tag, _pattern in (("int", _INTEGER), ("float", _FLOAT)):
        _whole = re.compile(f"(?:{_pattern.pattern})$")
        _tool.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _whole, list("-+0123456789."))


def read_yaml(text: str, *, key: str | None = "") -> Any:
    """Plain data of a YAML text; `key` is its place, for messages. None allows placeholders.

    Raises:
        ValueError: the text is no YAML, or a value is a placeholder (`???`, `${...}`); it names the key.
    """
    try:
        data = yaml.load(text, _Loader)
        if key is not None:
            _refuse_placeholders(data, key)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{key}: {error}" if key else str(error)) from error
    return data


def dump_yaml(data: Any) -> str:
    """Plain data as YAML text that `read_yaml` reads back."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`key.sub=value` texts as nested data, later ones last; the value is YAML, and ` #` in it is no comment.

    Raises:
        ValueError: one that is of another form.
    """
    data: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            raise ValueError(f"an override must look like key.sub=value, got {override!r}")
        # ` #`, and `&`, `*` and `!` at the beginning, are YAML syntax that is not wanted here.
        plain = text[:1] in ("&", "*", "!") or (" #" in text and text[:1] not in ("'", '"'))
        value = text if plain else read_yaml(text, key=key)
        for part in reversed(key.split(".")):
            value = {part: value}
        data = merged(data, value)
    return data


def merged(data: Any, over: Any) -> Any:
    """Nested mappings with the second laid over the first."""
    if not isinstance(data, dict) or not isinstance(over, dict):
        return over
    return data | {key: merged(data[key], value) if key in data else value for key, value in over.items()}


def flat_config(data: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Nested values by their full key, `optimizer.learning_rate`."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat |= flat_config(value, prefix=f"{name}.")
        else:
            flat[name] = value
    return flat


def _refuse_placeholders(data: Any, key: str) -> None:
    if isinstance(data, dict | list):
        for name, value in data.items() if isinstance(data, dict) else enumerate(data):
            _refuse_placeholders(value, f"{key}.{name}" if key else str(name))
    elif isinstance(data, str) and (data == "???" or "${" in data):
        raise ValueError(f"{key}: {data!r} is a placeholder, and nothing fills it in here; write the value")
