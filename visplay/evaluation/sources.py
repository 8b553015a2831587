"""Rows of a benchmark, from the hub, a local file or folder, or the spec itself; and whether they fit it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from visplay.data.decoding import cell_bytes, decode
from visplay.data.rows import Row, Table, hub_table, is_empty, is_table, listed_table, open_table
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


def open_rows(source: Source, *, shown: str) -> Rows:
    """Open the rows of a source that no function makes.

    Raises:
        BenchmarkError: it cannot be had; the message says how to give a local copy.
    """
    if source.items is not None:
        return _of_table(listed_table(source.items), folder=Path())
    if source.path is not None:
        return _local(source.path.expanduser(), shown=shown)
    assert source.hub is not None, shown
    try:
        table = hub_table(
            source.hub,
            subset=source.config,
            split=source.split,
            revision=source.revision,
            stream=source.stream,
        )
    except ValueError as error:
        raise BenchmarkError(
            f"{shown}: {error}; bring its files here and say --source {shown}=FOLDER_OR_PARQUET"
        ) from error
    return _of_table(table, folder=Path())


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
    kinds = "a parquet, .jsonl, .csv, .tsv or .tar file, a folder of parquet or .tar, or a saved dataset"
    mend = f"give --source {shown}=... {kinds}"
    if not path.exists():
        raise BenchmarkError(f"{shown}: there is no {path}; {mend}")
    if path.is_file() and not is_table(path):
        raise BenchmarkError(f"{shown}: {path} is of no kind that can be read; {mend}")
    try:
        return _of_table(open_table(path), folder=path if path.is_dir() else path.parent)
    except (ValueError, OSError) as error:
        raise BenchmarkError(f"{shown}: {path} cannot be read ({error}); {mend}") from error


def _of_table(table: Table, *, folder: Path) -> Rows:
    return Rows(columns=table.columns, folder=folder, _count=table.count, _read=table.read)
