"""Random access to rows with encoded pictures: parquet, JSON, CSV, saved datasets, the hub.

It reads training pictures (`visplay.data.images`) and benchmarks (`visplay.evaluation.items`).
"""

import csv
import hashlib
import json
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from visplay.storage import file_stamp

Row = dict[str, Any]
_ON_HUB = re.compile(r"([^/@:]+(?:/[^/@:]+)?)(?:/([^@:]+))?(?:@([^:]+))?(?::(.+))?")
PARQUET, LISTS = (".parquet", ".pq"), (".jsonl", ".json", ".csv", ".tsv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows that are read on demand.

    Attributes:
        columns: name -> type in the source.
        count: number of rows.
        read: returns row `number`, from 0.
        version: changes whenever a row may have changed.
    """

    columns: dict[str, str]
    count: int
    read: Callable[[int], Row]
    version: str


def parquet_table(files: Sequence[Path], *, only: str | None = None) -> Table:
    """The rows of parquet files one after the other; a file may lack a column that another has."""
    opened = [pq.ParquetFile(file) for file in files]
    groups = [(file, group) for file in opened for group in range(file.num_row_groups)]
    starts = [0, *accumulate(file.metadata.row_group(group).num_rows for file, group in groups)]

    @lru_cache(maxsize=2)  # rows are mostly read in order, and a row group is read as a whole
    def group_table(index: int) -> pa.Table:
        file, group = groups[index]
        return file.read_row_group(group, columns=[only] if only else None)

    def read(number: int) -> Row:
        index = bisect_right(starts, number) - 1
        if only and only not in groups[index][0].schema_arrow.names:
            return {}
        row: Row = group_table(index).slice(number - starts[index], 1).to_pylist()[0]
        return row

    columns = {name.name: str(name.type) for file in reversed(opened) for name in file.schema_arrow}
    return Table(columns=columns, count=starts[-1], read=read, version=files_version(files))


def dataset_table(saved: Any, *, only: str | None = None) -> Table:
    """The rows of a `datasets.Dataset` in any format."""
    columns = {entry.name: str(entry.type) for entry in saved.features.arrow_schema}
    rows = (saved.select_columns([only]) if only in columns else saved).with_format("arrow")
    version = files_version([Path(file["filename"]) for file in saved.cache_files], mark=saved._fingerprint)
    return Table(
        columns=columns, count=len(saved), version=version,
        read=lambda number: rows[number : number + 1].to_pylist()[0],
    )  # fmt: skip


def open_table(path: Path, *, only: str | None = None) -> Table:
    """Open the rows of a file or folder that `is_table` accepts; `only` selects one column.

    Raises:
        ValueError: it has nothing readable, or its content does not match its name.
        OSError: it cannot be read.
    """
    if path.is_dir() and is_saved_dataset(path):
        import datasets  # takes seconds to import, and a folder of pictures does not need it

        saved = datasets.load_from_disk(str(path))
        if isinstance(saved, datasets.DatasetDict):
            raise ValueError(
                f"it holds several splits; name one: {', '.join(str(path / split) for split in saved)}"
            )
        return dataset_table(saved, only=only)
    files = table_files(path)
    if not files:
        raise ValueError("it holds no .parquet file; name the folder that does")
    try:
        in_parquet = files[0].suffix.lower() in PARQUET
        return parquet_table(files, only=only) if in_parquet else _listed_file(files[0])
    except (pa.ArrowException, csv.Error, RecursionError) as error:
        raise ValueError(str(error)) from error


def is_table(path: Path) -> bool:
    """Whether a file or folder has rows, and is not a picture or a folder of them."""
    return path.suffix.lower() in (*PARQUET, *LISTS) if path.is_file() else bool(table_files(path))


def table_files(path: Path) -> list[Path]:
    """The file itself, or all parquet files below a folder."""
    if path.is_file():
        return [path] if is_table(path) else []
    return sorted(f for f in path.rglob("*") if f.is_file() and f.suffix.lower() in PARQUET)


def hub_table(address: str, *, split: str, only: str | None = None) -> Table:
    """Open one split of a dataset on the hub; it is downloaded once and cached by `datasets`.

    Args:
        address: `OWNER/NAME[/SUBSET][@REVISION][:SPLIT]`.
        split: the default split if the address names none.
        only: the one column to read.

    Raises:
        ValueError: it is not available; the message says why.
    """
    named = _ON_HUB.fullmatch(address)
    if named is None:
        raise ValueError(f"{address!r} names no dataset; say OWNER/NAME[/SUBSET][@REVISION][:SPLIT]")
    name, subset, revision, given = named.groups()
    import datasets

    try:
        found = datasets.load_dataset(name, subset, split=given or split, revision=revision)
    # The hub's client raises many errors: no network, no such dataset, no such split, gated.
    except Exception as error:
        raise ValueError(
            f"{name} cannot be downloaded from the hub ({type(error).__name__}: {error!s:.200})"
        ) from error
    return dataset_table(found, only=only)


def listed_table(rows: Sequence[Row], *, version: str = "") -> Table:
    """Rows in memory; the type of a column is that of its values that are not empty."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _type([row.get(name) for row in rows]) for name in names}
    return Table(columns=columns, count=len(rows), read=lambda n: dict(rows[n]), version=version)


def is_empty(cell: Any) -> bool:
    """Whether a cell is empty: null, NaN, an empty text, or a struct of empty values."""
    if isinstance(cell, Mapping):
        return all(value is None or value == b"" for value in cell.values())
    return cell is None or cell == "" or cell == b"" or cell != cell


def _listed_file(path: Path) -> Table:
    """Read rows of a CSV or TSV file, of JSON lines, of one JSON list, or of one multi-line JSON object.

    A cell may contain a picture as base64 text.
    """
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        csv.field_size_limit(2**31 - 1)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="," if kind == ".csv" else "\t", strict=True)
            rows, names = list(reader), reader.fieldnames or ()
        if len(set(names)) < len(names):
            raise ValueError(f"a column is named twice: {', '.join(names)}")
    else:
        text = path.read_text(encoding="utf-8-sig")
        # Only a line feed ends a line: a text may contain U+2028 and similar characters.
        lines = [line for line in text.split("\n") if line.strip()]
        whole = text.lstrip().startswith("[") or (lines and lines[0].strip() == "{")
        rows = json.loads(text) if whole else [json.loads(line) for line in lines]
        rows = [rows] if isinstance(rows, dict) else rows
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or None in row:
            raise ValueError(f"row {place} has more cells than there are columns, or is no object")
    return listed_table(rows, version=files_version([path]))


def _type(values: Sequence[Any]) -> str:
    """The type of a column of plain values, ignoring empty ones."""
    try:
        return str(pa.infer_type([value for value in values if not is_empty(value)]))
    except pa.ArrowInvalid:
        return "mixed"


def files_version(files: Sequence[Path], *, mark: str = "") -> str:
    """A text that changes with the files or the mark; if changes cannot be detected it always changes."""
    stamps = [file_stamp(file) or time.time_ns() for file in files]
    return hashlib.sha256(json.dumps([mark, list(map(str, files)), stamps]).encode()).hexdigest()


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets` wrote this folder; other tools write a `dataset_info.json`, too."""
    alone = (folder / "state.json").is_file() and any(folder.glob("*.arrow"))
    return alone or (folder / "dataset_dict.json").is_file()
