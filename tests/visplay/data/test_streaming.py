"""The first rows of a dataset on the hub, over HTTP from a stand-in that HF_ENDPOINT names.

`huggingface_hub` reads HF_ENDPOINT when it is imported, so each reader is a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.visplay.data.hub import hub
from tests.visplay.data.test_images import plain

READER = """
import json, sys
from visplay.data.images import read_images
from visplay.evaluation.items import open_rows
from visplay.evaluation.spec import Source
stream = int(sys.argv[1])
images = read_images("hub:org/pictures", stream=stream)
reds = [images.load(record.key).getpixel((0, 0))[0] for record in images.records]
rows = open_rows(Source(hub="org/pictures", split="train", stream=stream), shown="mine")
print(json.dumps([reds, len(rows), rows[stream - 1]["n"], rows.pictures(rows[0]["image"])[0].size]))
"""


def read(endpoint: str, home: Path, *, stream: int) -> subprocess.CompletedProcess[str]:
    there = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    asked = [sys.executable, "-c", READER, str(stream)]
    return subprocess.run(asked, env=os.environ | there, capture_output=True, text=True)


@pytest.mark.slow
def test_first_rows_are_fetched_once_and_no_more(tmp_path: Path) -> None:
    shards, home = tmp_path / "set", tmp_path / "home"
    shards.mkdir()
    for shard in range(3):
        reds = range(40 * shard, 40 * shard + 40)
        cells = [{"bytes": plain((red, 0, 0)), "path": None} for red in reds]
        file = shards / f"train-{shard:05d}-of-00003.parquet"
        pq.write_table(pa.table({"image": cells, "n": list(reds)}), file, row_group_size=10)
    with hub("org/pictures", shards) as (endpoint, asked):
        done = read(endpoint, home, stream=50)  # of two shards
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [list(range(50)), 50, 49, [4, 3]]
        fetched = {line.rpartition("/")[2] for line in asked if line.endswith(".parquet")}
        assert fetched == {"train-00000-of-00003.parquet", "train-00001-of-00003.parquet"}
        before = len(asked)
        again = read(endpoint, home, stream=50)
        assert again.stdout == done.stdout and len(asked) == before  # nothing is asked of the hub
    gone = read(endpoint, home, stream=51)
    assert gone.returncode and "cannot be had from the hub" in gone.stderr
    assert len(list(home.rglob("visplay/*"))) == 1  # nothing half written
