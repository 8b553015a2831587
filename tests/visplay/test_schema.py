"""What docs/run-folder.md says of the parquet files is what the code writes, in every iteration."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.visplay.loop.faulty import StopsAt, settings
from visplay import schema
from visplay.loop.selfplay import selfplay

PAGE = (Path(__file__).parents[2] / "docs" / "run-folder.md").read_text()
TITLES = {
    "manifest.parquet": schema.MANIFEST,
    "candidates.parquet": schema.CANDIDATES,
    "questioner/rollouts.parquet": schema.ROLLOUTS,
    "reasoner/rollouts.parquet": schema.ANSWERS,
}
WORDS = {
    "string": pa.string(), "double": pa.float64(), "int32": pa.int32(), "bool": pa.bool_(),
    "list of string": pa.list_(pa.string()), "list of double": pa.list_(pa.float64()),
    "map of string to double": pa.map_(pa.string(), pa.float64()),
}  # fmt: skip


def documented(title: str) -> dict[str, pa.DataType]:
    """Column -> type, as the page has them."""
    section = PAGE.split(f"### {title}\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| (\w+) \| ([\w ]+) \|", section, re.MULTILINE)
    return {name: WORDS[kind] for name, kind in rows if (name, kind) != ("column", "type")}


def columns(of: pa.Schema) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in of}


@pytest.mark.parametrize("title", TITLES)
def test_the_page_has_the_columns_of_the_code(title: str) -> None:
    told = documented(title)
    if title == "questioner/rollouts.parquet":  # which has those of the candidates, too
        told |= {name: kind for name, kind in documented("candidates.parquet").items() if name != "kept"}
    assert told == columns(TITLES[title])


@pytest.mark.slow
def test_every_iteration_has_the_columns_of_the_code(scenes: Path, tmp_path: Path) -> None:
    run = selfplay(settings(scenes, tmp_path, iterations=2), display=StopsAt())
    files = {
        "iteration-{}/curation/candidates.parquet": schema.CANDIDATES,
        "iteration-{}/questioner/rollouts.parquet": schema.ROLLOUTS,
        "iteration-{}/reasoner/rollouts.parquet": schema.ANSWERS,
    }
    for name, written in files.items():
        first, second = (pq.read_schema(run / name.format(i)) for i in (1, 2))
        assert first.equals(second) and first.equals(written), name
    assert pq.read_schema(run / "manifest.parquet").equals(schema.MANIFEST)
