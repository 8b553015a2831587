"""A benchmark as data: the source of its rows, the meaning of its columns, and the scoring rule.

The shipped specs are the YAML files in `specs/`; a custom benchmark is another such file.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from visplay.config.loading import complaint
from visplay.config.sections import Section
from visplay.config.yaml_text import read_yaml
from visplay.errors import BenchmarkError

GoldOption = Literal["letter", "text", "either"]
Rule = Literal["choice", "yes_no", "number", "open", "relaxed", "text", "judge"]


class Source(Section):
    """The source of the rows: exactly one of `hub`, `path`, `function` and `items`."""

    hub: str | None = Field(
        None, description="`OWNER/NAME[/SUBSET][@REVISION][:SPLIT]`, by default the split `test`."
    )
    path: Path | None = Field(None, description="Parquet, JSON-lines or CSV file, or a folder of parquet.")
    function: str | None = Field(
        None, description="`module:function` that makes the items: `(limit, seed, split) -> list[Item]`."
    )
    items: list[dict[str, Any]] | None = Field(None, description="The rows themselves.")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        named = [name for name in ("hub", "path", "function", "items") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of hub, path, function and items, got {named or 'none'}")
        return self


class Group(Section):
    """A value by which rows are reported."""

    column: str = Field(description="Column with the value.")
    pattern: str | None = Field(None, description="Regular expression; its first group is the value.")
    values: dict[str, str] = Field({}, description="Stored value -> reported value; others are unchanged.")


class Spec(Section):
    """One benchmark."""

    id: str = Field(pattern=r"^[\w.-]+$", description="Its name on the command line and in records.")
    title: str = Field("", description="Its name in tables.")
    about: str = Field("", description="Notes: licence, peculiarities, deviations.")
    source: Source
    rows: int | None = Field(None, ge=1, description="Number of rows.")
    key: str = Field("", description="Template that names a row, unique; empty: its number.")
    images: list[str] = Field([], description="Columns with the pictures, `<image 1>` first.")
    question: str = Field("{question}", description="Template of the question over the columns.")
    when_empty: str = Field("", description="Question of rows with an empty template result.")
    strip: list[str] = Field([], description="Regular expressions removed from the question.")
    options: str | None = Field(None, description="Column of the options: list, or list as a string.")
    options_shown: bool = Field(True, description="False where the picture itself shows the options.")
    inline_options: bool = Field(False, description="The question text has the options, `A. ...`.")
    answer: str = Field("answer", description="Column of the gold answer.")
    answer_values: dict[str, str] = Field({}, description="Stored value -> gold answer, e.g. `0: no`.")
    gold: Literal["one", "list", "and_or"] = Field("one", description="How the gold answer is written.")
    gold_option: GoldOption = Field(
        "either",
        description="How the gold names an option; `either`: a letter that is an option's text names it.",
    )
    rule: Rule = Field("text", description="How an answer is scored.")
    rule_column: str | None = Field(None, description="Column that selects the rule, by `rules`.")
    rules: dict[str, Rule] = Field({}, description="Value of `rule_column` -> rule.")
    precision: str | int | None = Field(None, description="Decimals, or the column that holds them.")
    unit: str | None = Field(None, description="Column with the unit of a number.")
    tolerance: float | None = Field(None, ge=0, description="Relative to the gold number, e.g. 0.05.")
    kind: str = Field("", description="Name of the group that is reported by default.")
    groups: dict[str, Group] = Field({}, description="Further values that rows are reported by.")
    cluster: str = Field("", description="Template: rows with equal values share a picture or problem.")
    headline: Literal["accuracy", "hallusion"] = Field("accuracy", description="How rows become figures.")
    parts: list[str] = Field([], description="Ids whose mean this benchmark is; it has no rows itself.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("key", "question", "cluster"):
            for field in _fields(getattr(self, name)):
                if not re.fullmatch(r"\w+", field):
                    raise ValueError(f"{name}: write {{column}} only, got {{{field}}}")
        for pattern in (*self.strip, *(g.pattern for g in self.groups.values() if g.pattern)):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        if self.kind and self.kind not in self.groups:
            raise ValueError(f"kind {self.kind!r} is none of the groups {list(self.groups)}")
        return self

    @property
    def needed_columns(self) -> list[str]:
        """The columns that items are made from."""
        named = [self.answer, self.options, self.rule_column, self.unit, *self.images]
        named += [self.precision] if isinstance(self.precision, str) else []
        named += [field for name in ("key", "question", "cluster") for field in _fields(getattr(self, name))]
        named += [group.column for group in self.groups.values()]
        return list(dict.fromkeys(name for name in named if name))


def fill(template: str, row: dict[str, Any]) -> str:
    """Fill a template from a row; a missing or empty column gives an empty string."""
    return template.format_map(_Plain(row)).strip()


class _Plain(dict[str, str]):
    """A row's values as plain text; values are never interpreted as templates."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__({name: "" if value is None else str(value) for name, value in row.items()})

    def __missing__(self, key: str) -> str:
        return ""


@lru_cache(maxsize=1)
def shipped_specs() -> dict[str, Spec]:
    """The shipped benchmarks by id."""
    folder = files("visplay.evaluation").joinpath("specs")
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir()}
    specs = [parse_spec(text, shown=name) for name, text in sorted(texts.items()) if name.endswith(".yaml")]
    return {spec.id: spec for spec in specs}


def find_spec(name: str) -> Spec:
    """The spec with this id, or the one in this YAML file.

    Raises:
        BenchmarkError: it does not exist, or it is not a spec.
    """
    if name in shipped_specs():
        return shipped_specs()[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise BenchmarkError(
            f"there is no benchmark {name!r}; choose one of {', '.join(shipped_specs())}, "
            "or give a custom YAML file"
        )
    if not path.is_file():
        raise BenchmarkError(f"there is no benchmark file {name}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{name} cannot be read: {error}") from error
    spec = parse_spec(text, shown=name)
    if spec.source.path is None or spec.source.path.is_absolute():
        return spec
    beside = spec.source.model_copy(update={"path": path.parent / spec.source.path})
    return spec.model_copy(update={"source": beside})


def expand(names: Sequence[str]) -> list[Spec]:
    """The specs of these names, each once; a benchmark of parts is replaced by its parts."""
    specs = [find_spec(part) for name in names for part in (find_spec(name).parts or [name])]
    return list({spec.id: spec for spec in specs}.values())


def parse_spec(text: str, *, shown: str) -> Spec:
    """Read a spec.

    Raises:
        BenchmarkError: the spec is invalid; the message names the key, its value and the problem.
    """
    try:
        return Spec.model_validate(read_yaml(text, key=None))
    except ValidationError as error:
        wrong = [complaint(detail, Spec) for detail in error.errors()]
        raise BenchmarkError(f"{shown} is not a benchmark spec:\n" + "\n".join(wrong)) from error
    except ValueError as error:
        raise BenchmarkError(f"{shown} is not YAML: {error}") from error


def _fields(template: str) -> list[str]:
    return [field for _, field, _, _ in Formatter().parse(template) if field is not None]
