"""Exports as the hub has them, and a benchmark read from a stand-in for the hub that HF_ENDPOINT names.

`huggingface_hub` reads its environment when it is imported, so each command is a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from tests.visplay.data.hub import hub
from tests.visplay.data.test_images import plain
from tests.visplay.evaluation.silver_run import asked, silver_run
from tests.visplay.test_extending import SMALL, scripted
from visplay.config.loading import check_config
from visplay.data.images import read_images
from visplay.evaluation.export import export
from visplay.evaluation.silver import export_silver
from visplay.loop.selfplay import play

TOKEN = "hf_not_to_be_told"
READER = """
import json, sys
from datasets import load_dataset
rows = load_dataset(sys.argv[1], split="train")
print(json.dumps([rows[0]["images"][0].size, rows[0]["messages"][1]["content"], len(rows)]))
"""


@pytest.fixture(scope="module")
def silver_from(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("silver")
    (folder / "pictures").mkdir()
    Image.new("RGB", (96, 64), (200, 90, 120)).save(folder / "pictures" / "one.png")
    (record,) = read_images(folder / "pictures").records
    rows = [asked(record.key, "How many?", "3"), asked(record.key, "Who?", "Ann")]
    return silver_run(folder, folder / "pictures", {1: rows}, truth=False)


def run(command: list[str], endpoint: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    there = {
        "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, *command], env=os.environ | there | env, capture_output=True, text=True
    )
    assert TOKEN not in done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_the_card_of_an_adapter_tells_what_was_measured_and_what_was_not(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for shade in range(4):
        Image.new("RGB", (96, 96), (60 * shade, 90, 120)).save(tmp_path / "pictures" / f"{shade}.png")
    own: dict[str, Any] = {"images": {"source": str(tmp_path / "pictures")}, "iterations": 1}
    ctx = scripted(check_config({**SMALL, **own, "output": str(tmp_path), "name": "run"}))
    with ctx.run.opened(ctx.config):
        play(ctx)
    out = export(ctx.run.folder, tmp_path / "out")
    assert {"adapter_model.safetensors", "adapter_config.json"} <= {path.name for path in out.iterdir()}
    card = (out / "README.md").read_text()
    head, text = yaml.safe_load(card.split("---")[1]), card.split("---", 2)[2]
    assert head == {"library_name": "peft", "pipeline_tag": "image-text-to-text"}
    measured, missing = text.split("## What was measured")[1].split("## What was not measured")
    assert "| pocket-dusk (synthetic) | 4 |" in measured and "pocket-dusk: Iteration 1 does not" in measured
    assert "- Accuracy on real pictures" in missing and "(no blind control): pocket-dusk." in missing
    usage = text.split("## How to use it")[1].split("## What")[0]
    snippet = usage.split("```python\n")[1].split("```")[0]
    assert 'PeftModel.from_pretrained(base, "PATH_OF_THIS_FOLDER")' in snippet and compile(
        snippet, "", "exec"
    )
    assert "vllm serve PATH_OF_pocket --enable-lora --max-lora-rank 16" in usage
    assert "- The share of right silver answers." in missing
    assert str(tmp_path) not in card


@pytest.mark.slow
def test_a_silver_set_is_loaded_from_the_hub(silver_from: Path, tmp_path: Path) -> None:
    out = export_silver(silver_from, tmp_path / "out")
    with hub("me/silver", out) as (endpoint, _):
        done = run(["-c", READER, "me/silver"], endpoint, tmp_path / "other")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[96, 64], "\\boxed{3}", 2]


@pytest.mark.slow
def test_a_benchmark_is_read_from_the_hub(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.mkdir()
    cells = [{"bytes": plain((shade, 0, 0)), "path": None} for shade in range(5)]
    table = {"image": cells, "question": ["Is it red?"] * 5, "answer": ["yes"] * 5}
    pq.write_table(pa.table(table), rows / "test-00000-of-00001.parquet")
    spec = {
        "id": "mine", "title": "Mine", "source": {"hub": "org/mine"}, "rows": 5,
        "images": ["image"], "rule": "yes_no",
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(spec))
    with hub("org/mine", rows) as (endpoint, requests):
        command = ["-m", "visplay", "evaluate", "pocket", "-b", str(tmp_path / "mine.yaml")]
        done = run([*command, "--out", str(tmp_path / "out")], endpoint, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert any(line.endswith(".parquet") for line in requests)
    stored = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert stored["benchmarks"]["mine"]["n"] == 5
