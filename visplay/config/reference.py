"""The configuration reference, written from the code."""

from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from visplay.config.loading import Config

HEADER = """# Configuration

A YAML file contains only the keys that differ from the defaults. On the command line any key can be set as
`key.sub=value`. An unknown key is an error that names the nearest one. The folder of a run contains the whole
configuration as `config.yaml`. `visplay config keys` prints this page, and with `--schema` a JSON schema for
editors; `visplay config show FILE` prints every key with its value in FILE. The key `method` sets the keys
that [methods.md](methods.md) lists.
"""


def config_reference() -> str:
    """Every key with its type, default, bounds and meaning, as Markdown."""
    return "\n".join([HEADER, *_sections("", Config.model_fields)])


def _sections(prefix: str, fields: dict[str, FieldInfo]) -> list[str]:
    """The table of a section's own keys, then its subsections."""
    nested = {name: field for name, field in fields.items() if _is_section(field)}
    parts = [_table(prefix, {name: field for name, field in fields.items() if name not in nested})]
    for name, field in nested.items():
        section: Any = field.annotation
        about = (section.__doc__ or "").strip().split("\n")[0]
        first, *rest = _sections(f"{prefix}{name}.", section.model_fields)
        parts += [f"## {prefix}{name}\n{about}\n\n{first}", *rest]
    return parts


def _table(prefix: str, fields: dict[str, FieldInfo]) -> str:
    rows = [
        f"| `{prefix}{name}` | {_type(field)} | {_default(field)} | {_one_line(field.description or '')} |"
        for name, field in fields.items()
    ]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


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
    if field.default in (None, ""):
        return "none" if field.default is None else "empty"
    shown = str(field.default).replace("\n", "\\n")
    return f"`{shown}`"
