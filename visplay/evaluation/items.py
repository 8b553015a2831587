"""Read the rows of a source, and convert them into items: a question for the model, and its gold answer."""

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from rewards.answers.choices import option_label, option_place
from rewards.answers.equivalence import answer_form
from rewards.parsing import inline_options, stated_answer
from visplay.data.decoding import cell_bytes, decode
from visplay.data.rows import Row, Table, hub_table, is_empty, is_table, listed_table, open_table
from visplay.errors import BenchmarkError
from visplay.evaluation.spec import GoldOption, Rule, Source, Spec, fill

LONGEST_LIST = 20_000  # characters of a list written as a string
_LABELLED_LINE = re.compile(r"(?m)^\W*[A-Za-z]\W*[.:)\]\u3001\uff0e\uff1a\uff09]")
_UNANSWERED = "Answer the question shown in the image."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of one source, read on demand.

    Attributes:
        table: the source's table.
        folder: the folder that picture paths are relative to.
    """

    table: Table
    folder: Path = Path()

    def __len__(self) -> int:
        return self.table.count

    def __getitem__(self, number: int) -> Row:
        """Row `number`, counted from 0, with encoded pictures."""
        return self.table.read(number)

    def pictures(self, cell: Any) -> list[Image.Image]:
        """Decode the picture or the list of pictures in a cell; an empty cell has none.

        Raises:
            BenchmarkError: the cell is not empty and not a picture.
        """
        if isinstance(cell, list):
            return [picture for one in cell for picture in self.pictures(one)]
        if is_empty(cell):
            return []
        if isinstance(cell, Image.Image):
            return [cell.convert("RGB")]
        try:
            return [decode(cell_bytes(cell, base=self.folder))]
        # Decoders raise many exceptions on damaged bytes (SyntaxError, struct.error, KeyError, ...).
        except Exception as error:
            raise BenchmarkError(
                f"a picture cannot be read ({error}); repair the source {self.folder}"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """The reference for an answer. It is plain data, so that stored samples can be scored again.

    Attributes:
        rule: the comparison rule.
        answers: the right answers; one must match; for `choice` the letter.
        options: texts of the options, A first.
        decimals: the number of decimals in a comparison of numbers; None compares exactly.
        tolerance: tolerance relative to the gold number; None compares exactly.
    """

    rule: Rule
    answers: tuple[str, ...]
    options: tuple[str, ...] = ()
    decimals: int | None = None
    tolerance: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data without empty values."""
        return {name: value for name, value in asdict(self).items() if value not in (None, ())}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Gold":
        """Rebuild from `to_json`."""
        listed = {name: tuple(data.get(name, ())) for name in ("answers", "options")}
        return cls(**{**data, **listed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One benchmark question.

    Attributes:
        key: a key that is unique in the benchmark.
        images: a function that returns the RGB pictures, `<image 1>` first.
        question: the benchmark's wording, without options from a separate column.
        gold: the reference for an answer.
        kind: the group in which the item is reported.
        cluster: equal for items that share a picture or a problem.
        options: texts of the options to show below the question, A first.
        groups: further values by which the item is reported.
        row: the row number in the source, from 0; it matches samples of other tools.
    """

    key: str
    images: Callable[[], tuple[Image.Image, ...]]
    question: str
    gold: Gold
    kind: str = ""
    cluster: str = ""
    options: tuple[str, ...] = ()
    groups: dict[str, str] = field(default_factory=dict)
    row: int = -1


def read_item(spec: Spec, rows: Rows, number: int) -> Item:
    """Convert row `number` into an item.

    Raises:
        BenchmarkError: the row has no gold answer, one that names no option, or options that cannot be read.
    """
    row = rows[number]
    question = fill(spec.question, row)
    for pattern in spec.strip:
        question = re.sub(pattern, "", question).strip()
    question = question or spec.when_empty or _UNANSWERED
    stated: Any = row.get(spec.answer)
    stated = stated.tolist() if hasattr(stated, "tolist") else stated
    answer = "" if is_empty(stated) else stated_answer(str(stated))
    answer = spec.answer_values.get(answer, answer)
    if not answer:
        raise BenchmarkError(f"{spec.id}: row {number} has no gold answer in column {spec.answer!r}")
    try:
        options = read_options(row.get(spec.options)) if spec.options else ()
    except ValueError as error:
        raise BenchmarkError(f"{spec.id}: row {number}: {error}") from error
    inside = inline_options(question) if spec.inline_options and not options else ()
    gold = _gold(spec, row, answer=answer, options=options or inside)
    certain = options or (inside if gold.rule == "choice" and _a_line_each(question, inside) else ())
    if certain and gold.rule != "judge" and not gold.options:
        raise BenchmarkError(f"{spec.id}: row {number}: the gold answer {answer!r} names none of {certain}")
    groups = {name: _group(row, group) for name, group in spec.groups.items()}

    def pictures() -> tuple[Image.Image, ...]:  # read on every call: items hold no pictures
        again = rows[number] if spec.images else {}
        return tuple(image for column in spec.images for image in rows.pictures(again.get(column)))

    return Item(
        key=fill(spec.key, row) or str(number),
        images=pictures,
        question=question,
        gold=gold,
        kind=groups.get(spec.kind, ""),
        cluster=fill(spec.cluster, row) or fill(spec.key, row) or str(number),
        options=options if spec.options_shown else (),
        groups=groups,
        row=number,
    )


def _a_line_each(question: str, options: Sequence[str]) -> bool:
    """Whether each option of a question is on a separate line, and no further line has a label."""
    return len(_LABELLED_LINE.findall(question)) == len(options)


def read_options(cell: Any) -> tuple[str, ...]:
    """Parse options from a list or a mapping by label, or from a string: either of these, or lettered text.

    Only benchmark data is parsed. Null, NaN and empty values after the last option are ignored.

    Raises:
        ValueError: an option between others is null, or the labels do not start from A or 1 in order.
    """
    cell = cell.tolist() if hasattr(cell, "tolist") else cell
    if is_empty(cell):
        return ()
    if isinstance(cell, str):
        read = literal(cell)
        if cell.strip() in ("nan", "NaN", "None", "null"):
            return ()
        if read is None:
            return inline_options(cell) or tuple(line.strip() for line in cell.splitlines() if line.strip())
        cell = read
    if isinstance(cell, Mapping):
        listed = [cell.get(name) for name in ("label", "text")]
        lists = all(isinstance(column, list | tuple) for column in listed)
        cell = list(zip(*listed, strict=True)) if lists else list(cell.items())
        cell = [{"label": label, "text": text} for label, text in cell]
    labelled = [option for option in cell if isinstance(option, Mapping)]
    if labelled and len(labelled) == len(cell):
        cell = [option.get("text") for option in labelled if not _is_none(option.get("text"))]
        labels = [str(option.get("label")).strip("(). ") for option in labelled][: len(cell)]
        places = range(len(labels))
        runs = [[option_label(place) for place in places]]
        runs += [[str(place + first) for place in places] for first in (0, 1)]
        if [label.upper() for label in labels] not in runs:
            raise ValueError(f"the options' labels are {', '.join(labels)}, not A, B, ... or 1, 2, ...")
    options = list(cell)
    while options and _is_none(options[-1]):
        options.pop()
    if any(_is_none(option) for option in options):
        raise ValueError("an option between others is null")
    return tuple(str(option).strip() for option in options)


def _is_none(option: Any) -> bool:
    return is_empty(option) or (isinstance(option, str) and option.strip() in ("", "NaN", "nan"))


def literal(text: str) -> Any:
    """Parse a list or mapping from a Python literal, JSON or numpy's print format; None on failure.

    It must not be called with a model's output.
    """
    if len(text) > LONGEST_LIST or not text.strip().startswith(("[", "(", "{")):
        return None
    text = text.strip()
    if re.fullmatch(r"\[\s*(?:'[^']*'|\"[^\"]*\")(?:\s+(?:'[^']*'|\"[^\"]*\"))+\s*\]", text):
        return [one[1:-1] for one in re.findall(r"'[^']*'|\"[^\"]*\"", text)]
    for read in (ast.literal_eval, json.loads):
        try:
            value = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, list | tuple | dict) else None
    return None


def literal_list(text: str) -> list[Any] | None:
    """Parse a list in the same way, without null values."""
    value = literal(text)
    return [one for one in value if not is_empty(one)] if isinstance(value, list | tuple) else None


def gold_letter(answer: str, options: Sequence[str], *, named: GoldOption) -> str | None:
    """The label of the option that a gold answer names, `A,C` for several options, or None.

    Args:
        answer: the gold answer.
        options: texts of the options, A first.
        named: how the benchmark names an option; a gold letter is a letter, whatever the options' texts are,
            and a gold text is a text, even if it is a letter.
    """
    if named != "text" and re.fullmatch(r"\(?[A-Za-z]{1,2}\)?\.?", answer):
        letter = answer.strip("().").upper()
        if option_place(letter) < len(options) and (named == "letter" or answer not in options):
            return letter
    if answer in options:
        return option_label(list(options).index(answer))
    form = answer_form(answer, options=tuple(options))
    return form.key.partition(":")[2] if form.kind == "letter" else None


def _gold(spec: Spec, row: Row, *, answer: str, options: tuple[str, ...]) -> Gold:
    rule = spec.rules.get(str(row.get(spec.rule_column)), spec.rule) if spec.rule_column else spec.rule
    if rule == "judge":
        return Gold(rule=rule, answers=_alternatives(spec, answer))
    if options and (letter := gold_letter(answer, options, named=spec.gold_option)):
        return Gold(rule="choice", answers=(letter,), options=options)
    if rule == "choice" and not options:  # only the picture has them: compare the gold unchanged
        rule = "choice" if re.fullmatch("[A-Z]", answer) else "text"
    decimals = row.get(spec.precision) if isinstance(spec.precision, str) else spec.precision
    unit = "" if not spec.unit or is_empty(row.get(spec.unit)) else str(row[spec.unit])
    return Gold(
        rule=rule,
        answers=tuple(
            f"{one} {unit}" if unit and rule == "number" else one for one in _alternatives(spec, answer)
        ),
        decimals=None if is_empty(decimals) else int(float(str(decimals))),
        tolerance=spec.tolerance,
    )


def _alternatives(spec: Spec, answer: str) -> tuple[str, ...]:
    if spec.gold == "list" and (listed := literal_list(answer)):
        return tuple(str(one) for one in listed)
    if spec.gold == "and_or":
        return tuple(part.strip() for part in answer.split("<OR>"))
    return (answer,)


def _group(row: Row, group: Any) -> str:
    value = "" if is_empty(row.get(group.column)) else str(row[group.column])
    if group.pattern:
        match = re.search(group.pattern, value)
        value = (match[1] if match and match.re.groups else match[0]) if match else value
    return str(group.values.get(value, value))


def open_rows(source: Source, *, shown: str) -> Rows:
    """Open the rows of a source on the hub or in a file.

    Raises:
        BenchmarkError: the source is not available; the message says how to use a local copy.
    """
    if source.items is not None:
        return Rows(table=listed_table(source.items))
    if source.path is not None:
        return _local(source.path.expanduser(), shown=shown)
    assert source.hub is not None, shown
    try:
        table = hub_table(source.hub, split="test")
    except ValueError as error:
        raise BenchmarkError(
            f"{shown}: {error}; copy its files here and name them: in a configuration evaluation.sources: "
            f"{{{shown}: FOLDER_OR_PARQUET}}, on the command line --source {shown}=FOLDER_OR_PARQUET"
        ) from error
    return Rows(table=table)


def check_data(spec: Spec, rows: Rows) -> list[str]:
    """Compare a source with its spec; returns one line per difference."""
    found, columns = [], rows.table.columns
    if spec.rows is not None and len(rows) != spec.rows:
        found.append(f"rows: the spec says {spec.rows}, the source has {len(rows)}")
    for name in spec.needed_columns:
        if name not in columns:
            found.append(f"column {name}: missing; the columns are {', '.join(columns)}")
    return found


def _local(path: Path, *, shown: str) -> Rows:
    kinds = "a parquet, .jsonl, .csv or .tsv file, a folder of parquet, or a saved dataset"
    fix = f"name {kinds}, with evaluation.sources in a configuration or --source {shown}=PATH"
    if not path.exists():
        raise BenchmarkError(f"{shown}: {path} does not exist; {fix}")
    if path.is_file() and not is_table(path):
        raise BenchmarkError(f"{shown}: {path} has an unknown file type; {fix}")
    try:
        return Rows(table=open_table(path), folder=path if path.is_dir() else path.parent)
    except (ValueError, OSError) as error:
        raise BenchmarkError(f"{shown}: {path} cannot be read ({error}); {fix}") from error
