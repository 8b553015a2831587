"""The configuration reference, written from the code."""

from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from visplay.config import Config

HEADER = """# Configuration

A YAML file says only what differs from the defaults; on the command line any key can be set as
`key.sub=value`. An unknown key is an error that names the nearest one. The run's folder holds the whole
configuration as `config.yaml`. This page is what `visplay keys` prints.

Under `rewards`, beside the keys below, every value of a preset can be set; [rewards.md](rewards.md) has them.
"""


def config_reference() -> str:
    """Every key with its type, default, bounds and meaning, as Markdown."""
    top = {name: field for name, field in Config.model_fields.items() if not _is_section(field)}
    parts = [HEADER, _table("", top)]
    for name, field in Config.model_fields.items():
        if _is_section(field):
            section: Any = field.annotation
            about = (section.__doc__ or "").strip().split("\n")[0]
            parts.append(f"## {name}\n{about}\n\n{_table(name + '.', section.model_fields)}")
    return "\n".join(parts)


def _table(prefix: str, fields: dict[str, FieldInfo]) -> str:
    rows = [
        f"| `{prefix}{name}` | {_type(field)} | {_default(field)} | {field.description or ''} |"
        for name, field in fields.items()
    ]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if hasattr(limit, name)
    ]
    return ", ".join([_name(field.annotation), *bounds])


def _name(annotation: Any) -> str:
    arguments = get_args(annotation)
    if not arguments:
        return {type(None): "none", str: "text", Path: "path"}.get(annotation, annotation.__name__)
    if get_origin(annotation) in (list, dict):
        inner = ": ".join(map(_name, arguments))
        return f"{get_origin(annotation).__name__} of {inner}"
    return " or ".join(f"`{a}`" if isinstance(a, str) else _name(a) for a in arguments)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "none" if field.default is None else f"`{field.default}`"
