"""Rows of a benchmark, from the hub, a local file or folder, or the spec itself; and whether they fit it."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
from PIL import Image

from visplay.data.decoding import cell_bytes, decode
from visplay.data.rows import Row, Table, dataset_table, is_saved_dataset, parquet_table
from visplay.errors import BenchmarkError
from visplay.evaluation.spec import Source, Spec

CHECKED_ROWS = 1000  # of a source, for empty values


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of one source, read when asked for.

    Attributes:
        columns: name -> type, as the source has it.
        folder: what the paths of pictures are relative to.
    """

    columns: dict[str, str]
    folder: Path
    _count: int
    _read: Callable[[int], Row] = field(repr=False)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Row:
        """Row `number`, from 0; pictures still encoded."""
        return self._read(number)

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


def is_empty(cell: Any) -> bool:
    """Whether a cell says that there is nothing: null, NaN, an empty text, or a struct of nothing."""
    if isinstance(cell, Mapping):
        return all(value is None or value == b"" for value in cell.values())
    return cell is None or cell == "" or cell == b"" or cell != cell


def open_rows(source: Source, *, shown: str) -> Rows:
    """Open the rows of a source that no function makes.

    Raises:
        BenchmarkError: it cannot be had; the message says how to give a local copy.
    """
    if source.items is not None:
        return _listed(source.items, folder=Path())
    if source.path is not None:
        return _local(source.path.expanduser(), shown=shown)
    assert source.hub is not None, shown
    import datasets

    try:
        found = datasets.load_dataset(source.hub, source.config, split=source.split, revision=source.revision)
    # The hub's client raises a dozen kinds: no network, no such set, no such split, gated.
    except Exception as error:
        raise BenchmarkError(
            f"{shown}: {source.hub} cannot be had from the hub ({type(error).__name__}: {error!s:.200}); "
            f"bring its files here and say --source {shown}=FOLDER_OR_PARQUET"
        ) from error
    return _of_table(dataset_table(found), folder=Path())


def check_data(spec: Spec, rows: Rows) -> list[str]:
    """Compare a source with its spec; one line for each difference, none where they fit."""
    found = []
    if spec.rows is not None and len(rows) != spec.rows:
        found.append(f"rows: the spec says {spec.rows}, the source has {len(rows)}")
    for name in dict.fromkeys([*spec.columns, *spec.needed_columns]):
        kind = spec.columns.get(name, "any")
        if name not in rows.columns:
            found.append(f"column {name}: missing; there are {', '.join(rows.columns)}")
        elif not _fits(kind.removeprefix("optional "), rows.columns[name]):
            found.append(f"column {name}: the spec says {kind}, the source has {rows.columns[name]}")
    found += [
        f"column {name}: {empty} of the first {min(len(rows), CHECKED_ROWS)} rows have nothing in it"
        for name, empty in _empty(spec, rows).items()
    ]
    return found


def _empty(spec: Spec, rows: Rows) -> dict[str, int]:
    must = [
        name
        for name, kind in spec.columns.items()
        if not kind.startswith("optional") and name in rows.columns
    ]
    must = [name for name in must if name in spec.needed_columns and name not in ("question", spec.options)]
    counts = dict.fromkeys(must, 0)
    for number in range(min(len(rows), CHECKED_ROWS)):
        row = rows[number]
        for name in must:
            counts[name] += is_empty(row.get(name))
    return {name: count for name, count in counts.items() if count}


def _fits(kind: str, stored: str) -> bool:
    """Whether a stored type can hold what the spec names; ids may be numbers or text."""
    families = {
        "string": ("string", "large_string", "int", "uint", "dictionary", "double", "float"),
        "int": ("int", "uint", "string", "large_string"),
        "float": ("double", "float", "int", "string"),
        "list": ("list", "large_list", "fixed_size_list", "string"),
        "image": ("struct", "binary", "large_binary", "string", "image"),
    }
    return kind == "any" or stored == "null" or stored.startswith(families.get(kind, (kind,)))


def _local(path: Path, *, shown: str) -> Rows:
    kinds = "a parquet, .jsonl, .csv or .tsv file, a folder of parquet or a saved dataset"
    mend = f"give --source {shown}=... {kinds}"
    if not path.exists():
        raise BenchmarkError(f"{shown}: there is no {path}; {mend}")
    try:
        if path.is_dir() and is_saved_dataset(path):
            import datasets

            return _of_table(dataset_table(datasets.load_from_disk(str(path))), folder=path)
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in (".parquet", ".pq"))
            if not files:
                raise ValueError("it holds no .parquet file; name the folder that does")
            return _of_table(parquet_table(files), folder=path)
        kind = path.suffix.lower()
        if kind in (".parquet", ".pq"):
            return _of_table(parquet_table([path]), folder=path.parent)
        if kind in (".jsonl", ".json", ".csv", ".tsv"):
            with path.open(encoding="utf-8-sig", newline="") as file:
                if kind in (".csv", ".tsv"):
                    items = _csv_rows(file, delimiter="," if kind == ".csv" else "\t")
                else:
                    items = _json_rows(file)
            return _listed(items, folder=path.parent)
    except (ValueError, OSError, csv.Error, pa.ArrowException, RecursionError) as error:
        raise BenchmarkError(f"{shown}: {path} cannot be read ({error}); {mend}") from error
    raise BenchmarkError(f"{shown}: {path} is of no kind that can be read; {mend}")


def _csv_rows(file: TextIO, *, delimiter: str) -> list[Row]:
    """Rows of as many cells as there are columns; a cell may hold a picture as base64 text."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    names = list(reader.fieldnames or ())
    if len(set(names)) < len(names):
        raise ValueError(f"a column is named twice: {', '.join(names)}")
    rows: list[Row] = list(reader)
    wrong = next((place for place, row in enumerate(rows) if None in row), None)
    if wrong is not None:
        raise ValueError(f"row {wrong} has more cells than there are columns")
    return rows


def _json_rows(file: TextIO) -> list[Row]:
    """One object a line, one list of objects, or one object over several lines."""
    text = file.read()
    # Only a line feed ends a line: U+2028 and the like may stand in a text.
    lines = [line for line in text.split("\n") if line.strip()]
    whole = text.lstrip().startswith("[") or (lines and lines[0].strip() == "{")
    rows = json.loads(text) if whole else [json.loads(line) for line in lines]
    rows = [rows] if isinstance(rows, dict) else rows
    wrong = next((place for place, row in enumerate(rows) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise ValueError(f"row {wrong} is no object with columns")
    return list(rows)


def _of_table(table: Table, *, folder: Path) -> Rows:
    return Rows(columns=table.columns, folder=folder, _count=table.count, _read=table.read)


def _listed(items: Sequence[Row], *, folder: Path) -> Rows:
    names = dict.fromkeys(name for item in items for name in item)
    columns = {name: _type([item.get(name) for item in items]) for name in names}
    return Rows(columns=columns, folder=folder, _count=len(items), _read=lambda number: dict(items[number]))


def _type(values: Sequence[Any]) -> str:
    """The type of a column of plain values; of one with several, that of the values that say something."""
    try:
        return str(pa.infer_type([value for value in values if not is_empty(value)]))
    except pa.ArrowInvalid:
        return "mixed"
