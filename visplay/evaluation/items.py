"""The rows of a source, and the items they become: what the model is asked, and the gold beside it."""

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
    """The rows of one source, read when asked for.

    Attributes:
        table: of the source.
        folder: what the paths of pictures are relative to.
    """

    table: Table
    folder: Path = Path()

    def __len__(self) -> int:
        return self.table.count

    def __getitem__(self, number: int) -> Row:
        """Row `number`, from 0; pictures still encoded."""
        return self.table.read(number)

    def pictures(self, cell: Any) -> list[Image.Image]:
        """The picture, or the list of pictures, in a cell; none where the cell is empty.

        Raises:
            BenchmarkError: there is something, but not a picture.
        """
        if isinstance(cell, list):
            return [picture for one in cell for picture in self.pictures(one)]
        if is_empty(cell):
            return []
        if isinstance(cell, Image.Image):
            return [cell.convert("RGB")]
        try:
            return [decode(cell_bytes(cell, base=self.folder))]
        # Decoders raise whatever broken bytes lead them to (SyntaxError, struct.error, KeyError, ...).
        except Exception as error:
            raise BenchmarkError(
                f"a picture cannot be read ({error}); repair the source {self.folder}"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """What an answer is held against; plain data, so that stored samples can be scored again.

    Attributes:
        rule: how it is compared.
        answers: the right answers, any of which will do; for `choice` the letter.
        options: texts of the options, A first.
        decimals: numbers are compared at so many decimals; None for exact.
        tolerance: relative to the gold number; None for exact.
    """

    rule: Rule
    answers: tuple[str, ...]
    options: tuple[str, ...] = ()
    decimals: int | None = None
    tolerance: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, without what is empty."""
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
        key: unique within the benchmark.
        images: gives the RGB pictures, `<image 1>` first.
        question: as the benchmark words it, without options that stand in a column of their own.
        gold: what an answer is held against.
        kind: the group it is reported in.
        cluster: items that share a picture or a problem share this.
        options: texts of the options to be shown below the question, A first.
        groups: further values it is reported by.
        row: its number in the source, from 0: by it, samples of other tools are found again.
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
    """Make an item of row `number`.

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

    def pictures() -> tuple[Image.Image, ...]:  # read again: a benchmark's items hold none of them
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
    """Whether each option of a question has a line of its own, and no further line has a label."""
    return len(_LABELLED_LINE.findall(question)) == len(options)


def read_options(cell: Any) -> tuple[str, ...]:
    """Options from a list, a mapping by label, either written as a string, or lettered text.

    From benchmark data only. What is null, NaN or empty behind the options is none of them.

    Raises:
        ValueError: an option between others is null, or labels do not run from A or 1.
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
            raise ValueError(f"the options' labels are {', '.join(labels)}, and not A, B, ... or 1, 2, ...")
    options = list(cell)
    while options and _is_none(options[-1]):
        options.pop()
    if any(_is_none(option) for option in options):
        raise ValueError("an option between others is null")
    return tuple(str(option).strip() for option in options)


def _is_none(option: Any) -> bool:
    return is_empty(option) or (isinstance(option, str) and option.strip() in ("", "NaN", "nan"))


def literal(text: str) -> Any:
    """A list or mapping written as a Python literal, as JSON or as numpy prints it, or None.

    Never given what a model wrote.
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
    """The same for a list alone, without what is null."""
    value = literal(text)
    return [one for one in value if not is_empty(one)] if isinstance(value, list | tuple) else None


def gold_letter(answer: str, options: Sequence[str], *, named: GoldOption) -> str | None:
    """The label of the option that a gold answer names, `A,C` of several, or None.

    Args:
        answer: the gold answer.
        options: texts of the options, A first.
        named: how the benchmark names it; a gold letter is a letter, whatever the options' texts are, and a
            gold text is a text, even where it is a letter.
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
    if rule == "choice" and not options:  # they stand in the picture only: compared as it stands
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
    """Open the rows of a source that no function makes.

    Raises:
        BenchmarkError: it cannot be had; the message says how to give a local copy.
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
            f"{shown}: {error}; bring its files here and say --source {shown}=FOLDER_OR_PARQUET"
        ) from error
    return Rows(table=table)


def check_data(spec: Spec, rows: Rows) -> list[str]:
    """Compare a source with its spec; one line for each difference, none where they fit."""
    found, columns = [], rows.table.columns
    if spec.rows is not None and len(rows) != spec.rows:
        found.append(f"rows: the spec says {spec.rows}, the source has {len(rows)}")
    for name in spec.needed_columns:
        if name not in columns:
            found.append(f"column {name}: missing; there are {', '.join(columns)}")
    return found


def _local(path: Path, *, shown: str) -> Rows:
    kinds = "a parquet, .jsonl, .csv or .tsv file, a folder of parquet, or a saved dataset"
    mend = f"give --source {shown}=... {kinds}"
    if not path.exists():
        raise BenchmarkError(f"{shown}: there is no {path}; {mend}")
    if path.is_file() and not is_table(path):
        raise BenchmarkError(f"{shown}: {path} is of no kind that can be read; {mend}")
    try:
        return Rows(table=open_table(path), folder=path if path.is_dir() else path.parent)
    except (ValueError, OSError) as error:
        raise BenchmarkError(f"{shown}: {path} cannot be read ({error}); {mend}") from error
