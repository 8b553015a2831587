"""Random access to the rows of parquet files and saved datasets, pictures still encoded."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows that are read when asked for.

    Attributes:
        columns: name -> type, as the source has it.
        count: how many rows there are.
        read: gives row `number`, from 0.
    """

    columns: dict[str, str]
    count: int
    read: Callable[[int], Row]


def parquet_table(files: Sequence[Path], *, only: str | None = None) -> Table:
    """The rows of parquet files one after the other; `only` names the one column to read.

    Raises:
        OSError: a file cannot be read.
        pyarrow.ArrowException: a file is not parquet.
    """
    opened = [pq.ParquetFile(file) for file in files]
    groups = [(file, group) for file in opened for group in range(file.num_row_groups)]
    starts = [0, *accumulate(file.metadata.row_group(group).num_rows for file, group in groups)]

    @lru_cache(maxsize=2)  # rows are mostly asked for in order, and a row group is read as a whole
    def group_table(index: int) -> pa.Table:
        file, group = groups[index]
        return file.read_row_group(group, columns=[only] if only else None)

    def read(number: int) -> Row:
        index = bisect_right(starts, number) - 1
        row: Row = group_table(index).slice(number - starts[index], 1).to_pylist()[0]
        return row

    columns = {name.name: str(name.type) for name in opened[0].schema_arrow} if opened else {}
    return Table(columns=columns, count=starts[-1], read=read)


def dataset_table(saved: Any, *, only: str | None = None) -> Table:
    """The rows of a `datasets.Dataset`, whatever format it was saved with.

    Raises:
        ValueError: it holds several splits.
    """
    import datasets  # takes seconds to import, and a folder of pictures needs none of it

    if isinstance(saved, datasets.DatasetDict):
        raise ValueError(f"it holds several splits; name one: {', '.join(saved)}")
    columns = {entry.name: str(entry.type) for entry in saved.features.arrow_schema}
    rows = saved.select_columns([only]) if only in columns else saved
    rows = rows.with_format("arrow")

    def read(number: int) -> Row:
        row: Row = rows[number : number + 1].to_pylist()[0]
        return row

    return Table(columns=columns, count=len(saved), read=read)


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets` wrote this folder; other tools write a `dataset_info.json`, too."""
    return (folder / "dataset_dict.json").is_file() or (
        all((folder / name).is_file() for name in ("dataset_info.json", "state.json"))
        and any(folder.glob("*.arrow"))
    )
