"""Runs on two ranks, as a launcher starts them, against one process; `benchmarks/many_ranks.py` has more."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.many_ranks import SETTINGS, adapters_apart, launch, rows_apart
from visplay.pocket.truth import write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.extra, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pictures = tmp_path_factory.mktemp("ranks") / "pictures"
    write_pictures(pictures, count=16, seed=3, style="dusk")
    return SETTINGS | {"iterations": 1, "images": {"source": str(pictures)}}


@pytest.fixture(scope="module")
def alone(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("one")
    assert launch(folder, "one", settings).wait() == 0, (folder / "log").read_text()[-3000:]
    return folder / "run"


@pytest.mark.parametrize("how", ["ddp:2", "fsdp2:2"])
def test_two_ranks_give_what_one_process_gives(
    settings: dict[str, Any], alone: Path, tmp_path: Path, how: str
) -> None:
    assert launch(tmp_path, how, settings).wait() == 0, (tmp_path / "log").read_text()[-3000:]
    assert rows_apart(alone, tmp_path / "run") == []
    assert adapters_apart(alone, tmp_path / "run") < 1e-6
    said = (tmp_path / "log").read_text()
    assert said.count(" skipped") == 1 and said.count("report:") == 1  # rank 0 speaks


def test_a_rank_that_is_killed_ends_the_run_and_the_same_command_goes_on(
    settings: dict[str, Any], alone: Path, tmp_path: Path
) -> None:
    process = launch(tmp_path, "ddp:2", settings)
    scratch = tmp_path / "run" / "iteration-1" / "reasoner.partial" / "unfinished"
    deadline = time.monotonic() + 300
    while not (scratch / "step-1.json").exists():
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()[-3000:]
        time.sleep(0.05)
    ranks = [p for p in psutil.Process(process.pid).children() if p.environ().get("RANK") == "1"]
    os.kill(ranks[0].pid, signal.SIGKILL)
    assert process.wait(timeout=120) != 0
    said = (tmp_path / "log").read_text()
    assert "all finished steps are kept; resume with: " in said and "--nproc_per_node 2" in said
    assert launch(tmp_path, "ddp:2", settings).wait() == 0, (tmp_path / "log").read_text()[-3000:]
    assert rows_apart(alone, tmp_path / "run") == []
    assert adapters_apart(alone, tmp_path / "run") < 1e-6


def test_micro_batches_that_ranks_cannot_share_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    three = settings | {"questioner": settings["questioner"] | {"prompts_per_step": 1, "group_size": 5}}
    assert launch(tmp_path, "ddp:2", three).wait() != 0
    said = (tmp_path / "log").read_text()
    assert "optimizer.micro_batch_size 2 times 2 ranks must divide prompts_per_step * group_size = 5" in said
    assert not (tmp_path / "run").exists()  # before a run is begun
