"""What is written is there whole or not at all."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visplay.storage import GROUP, append_jsonl, read_jsonl, write_parquet, write_text


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_jsonl(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a": 2')
    assert read_jsonl(path) == [{"a": 1}]
    append_jsonl(path, {"a": 3})
    assert read_jsonl(path) == [{"a": 1}, {"a": 3}]


def test_parquet_is_written_in_row_groups_whole_or_not_at_all(tmp_path: Path) -> None:
    schema, path = pa.schema([("n", pa.int32())]), tmp_path / "a.parquet"
    rows = [{"n": n} for n in range(2 * GROUP + 1)]
    write_parquet(path, rows, schema)
    assert pq.ParquetFile(path).num_row_groups == 3 and pq.read_table(path).to_pylist() == rows
    with pytest.raises(pa.ArrowInvalid):
        write_parquet(path, [*rows, {"n": 2**40}], schema)  # when two groups are written
    assert pq.read_table(path).to_pylist() == rows
    write_parquet(path, [], schema)
    assert pq.read_table(path).to_pylist() == [] and pq.read_schema(path).equals(schema)


def test_write_text_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, json.dumps({"a": 1}))
    write_text(path, json.dumps({"a": 2}))
    assert json.loads(path.read_text()) == {"a": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
