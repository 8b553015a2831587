"""Exports are uploaded to a stand-in for the hub that HF_ENDPOINT names, by the commands that a user gives.

`huggingface_hub` reads its environment when it is imported, so commands are processes of their own.
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

from tests.visplay.data.hub import hub, hub_that_takes
from tests.visplay.data.test_images import plain
from tests.visplay.evaluation.silver_run import asked, silver_run
from tests.visplay.test_extending import SMALL, scripted
from visplay.config.loading import check_config
from visplay.data.images import read_images
from visplay.errors import HubError
from visplay.evaluation.export import push
from visplay.loop.selfplay import play

TOKEN = "hf_not_to_be_told"
SEVERAL = """
import contextlib, io, json, sys
from visplay.cli.main import main
told = []
for arguments in json.loads(sys.argv[1]):
    sys.argv, code, out, err = ["visplay", *arguments], 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    told.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(told))
"""
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


def visplay(*arguments: str | Path) -> list[str]:
    return ["-m", "visplay", *map(str, arguments)]


def one_after_the_other(commands: list[list[str]], endpoint: str, home: Path) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of commands that one process gives: it takes seconds to start."""
    done = run(["-c", SEVERAL, json.dumps([command[2:] for command in commands])], endpoint, home)
    assert done.returncode == 0, done.stderr
    return [tuple(told) for told in json.loads(done.stdout.splitlines()[-1])]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_an_adapter_is_pushed_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for shade in range(4):
        Image.new("RGB", (96, 96), (60 * shade, 90, 120)).save(tmp_path / "pictures" / f"{shade}.png")
    own: dict[str, Any] = {"images": {"source": str(tmp_path / "pictures")}, "iterations": 1}
    ctx = scripted(check_config({**SMALL, **own, "output": str(tmp_path), "name": "run"}))
    with ctx.run.opened(ctx.config):
        play(ctx)
    (tmp_path / "hub").mkdir()
    with hub_that_takes(tmp_path / "hub", token=TOKEN) as (endpoint, requests):
        out = tmp_path / "out"
        done = run(visplay("export", ctx.run.folder, out, "--push", "me/mine"), endpoint, tmp_path / "home")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [str(out), f"{endpoint}/me/mine"]
    (created,) = [line for line in requests if "repos/create" in line]
    made = json.loads(created.partition("{")[1] + created.partition("{")[2])
    assert made["name"] == "mine" and made.get("private", made.get("visibility")) in (True, "private")
    pushed = files(tmp_path / "hub" / "model" / "me" / "mine")
    assert pushed == files(out) and {"adapter_model.safetensors", "adapter_config.json"} <= pushed.keys()
    card = pushed["README.md"].decode()
    head, text = yaml.safe_load(card.split("---")[1]), card.split("---", 2)[2]
    assert head == {"library_name": "peft", "pipeline_tag": "image-text-to-text"}
    measured, missing = text.split("## What was measured")[1].split("## What was not measured")
    assert "| pocket-dusk (synthetic) | 4 |" in measured and "pocket-dusk: These questions cannot" in measured
    assert "- Anything on real pictures" in missing and "(no blind control): pocket-dusk." in missing
    assert "- How many silver answers were right." in missing
    assert str(tmp_path) not in card


@pytest.mark.slow
def test_a_silver_set_is_pushed_and_loaded_from_there(silver_from: Path, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    home, out = tmp_path / "home", tmp_path / "out"
    command = visplay("export", silver_from, out, "--silver", "--push", "me/silver", "--public")
    with hub_that_takes(tmp_path / "hub", token=TOKEN) as (endpoint, requests):
        (code, printed, said), again = one_after_the_other([command, command], endpoint, home)
        assert code == 0, said
        assert printed.splitlines() == [str(out), f"{endpoint}/datasets/me/silver"]
        assert again[0] == 0 and requests.count("PUT /lfs") == 1  # nothing large is sent twice
        created = next(line for line in requests if "repos/create" in line)
        assert '"type": "dataset"' in created and '"private": true' not in created
        assert '"visibility": "private"' not in created
    there = tmp_path / "hub" / "dataset" / "me" / "silver"
    assert files(there) == files(out)
    with hub("me/silver", there) as (endpoint, _):
        done = run(["-c", READER, "me/silver"], endpoint, tmp_path / "other")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[96, 64], "\\boxed{3}", 2]


@pytest.mark.slow
def test_a_refusal_names_its_mend_and_the_same_command_goes_on(silver_from: Path, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    home, out = tmp_path / "home", tmp_path / "out"
    command = visplay("export", silver_from, out, "--silver", "--push")
    with hub_that_takes(tmp_path / "hub", token=TOKEN, lost=("commit",)) as (endpoint, requests):
        unknown = run([*command, "me/silver"], endpoint, home, HF_TOKEN="hf_another")
        assert unknown.returncode == 1 and "status 401" in unknown.stderr and "Set HF_TOKEN" in unknown.stderr
        assert f"{out} is written and whole" in unknown.stderr and "Traceback" not in unknown.stderr
        assert "hf_another" not in unknown.stderr + unknown.stdout
        before = files(out)
        assert "data/train-00000.parquet" in before
        commands = [[*command, name] for name in ("them/silver", "me/silver", "me/silver")]
        foreign, broken, done = one_after_the_other(commands, endpoint, home)
        assert foreign[0] == 1 and "no right to write to them/silver (status 403)" in foreign[2]
        assert broken[0] == 1 and "answered with status 500" in broken[2]
        assert done[0] == 0, done[2]
        assert requests.count("PUT /lfs") == 1  # the upload before the lost commit is not made again
    assert files(tmp_path / "hub" / "dataset" / "me" / "silver") == before
    gone = run([*command, "me/silver"], endpoint, home)
    assert gone.returncode == 1 and "the hub cannot be reached (" in gone.stderr
    assert files(out) == before


def test_what_is_known_before_the_network_is_asked(tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"no name of a repository\. Give --push ORG/NAME"):
        push(tmp_path, "me/a/b", kind="dataset")
    with pytest.raises(HubError, match=r"HF_HUB_OFFLINE keeps the network closed\. Unset it"):
        push(tmp_path, "me/mine", kind="model")  # tests run with it


@pytest.mark.slow
def test_a_benchmark_is_read_from_the_hub(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.mkdir()
    cells = [{"bytes": plain((shade, 0, 0)), "path": None} for shade in range(5)]
    table = {"image": cells, "question": ["Is it red?"] * 5, "answer": ["yes"] * 5}
    pq.write_table(pa.table(table), rows / "test-00000-of-00001.parquet")
    spec = {
        "id": "mine", "title": "Mine", "source": {"hub": "org/mine", "split": "test"}, "rows": 5,
        "images": ["image"], "rule": "yes_no",
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(spec))
    with hub("org/mine", rows) as (endpoint, requests):
        command = visplay("evaluate", "pocket", "-b", tmp_path / "mine.yaml", "--out", tmp_path / "out")
        done = run(command, endpoint, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert any(line.endswith(".parquet") for line in requests)
    stored = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert stored["benchmarks"]["mine"]["n"] == 5
