"""Ranks, as the environment says; runs on several are in `loop/test_ranks.py`."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch import distributed

from benchmarks.many_ranks import FSDP2
from visplay.cli import measuring as again
from visplay.config.sections import Model
from visplay.errors import ConfigError, RankLost
from visplay.launcher import is_lost, rank, shards
from visplay.models.policy import device_of
from visplay.runs.shutdown import graceful_shutdown
from visplay.training.ranks import ALONE, Ranks, joined

CONFIGS = Path(__file__).parents[3] / "configs"


def test_alone_everything_is_handed_straight_back() -> None:
    with joined() as ranks:
        assert ranks is ALONE and ranks.first and not ranks.sharded and rank() == 0 and not shards()
    assert ALONE.broadcast("word") == "word" and ALONE.scatter(["mine"]) == "mine"


def test_a_rank_frees_its_cached_memory_before_it_waits_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("freed"))
    monkeypatch.setattr(distributed, "broadcast_object_list", lambda *_, **__: done.append("waited"))
    Ranks(place=1, size=2).broadcast()
    assert done == ["freed", "waited"]
    ALONE.broadcast("word")
    assert done == ["freed", "waited"]


def test_what_torch_says_of_a_lost_rank_is_told_from_other_errors() -> None:
    lost = "[../third_party/gloo/gloo/transport/tcp/pair.cc:552] Connection closed by peer [127.0.0.1]:4711"
    assert (
        is_lost(RuntimeError(lost))
        and not is_lost(RuntimeError("shape mismatch"))
        and not is_lost(OSError(lost))
    )
    with (
        pytest.raises(
            RankLost, match=r"another rank is gone .*all finished steps are kept; resume with: again"
        ),
        graceful_shutdown("again", say=print),
    ):
        raise RuntimeError(lost)


def test_each_rank_has_the_gpu_of_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_of(Model(path="x", device="cuda")) == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert device_of(Model(path="x", device="cuda")) == "cuda:3"
    assert device_of(Model(path="x", device="cpu")) == "cpu"
    with pytest.raises(ConfigError, match=r"model.device: cuda:1 is one GPU, but each rank needs its own"):
        device_of(Model(path="x", device="cuda:1"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["/x/python3.11", "/x/torchrun", "--nproc_per_node", "2", "-m", "visplay", "train", "a b.yaml"],
         "torchrun --nproc_per_node 2 -m visplay train 'a b.yaml'"),
        (["/x/bin/python", "-m", "torch.distributed.run", "-m", "visplay", "train", "a b.yaml"],
         "python -m torch.distributed.run -m visplay train 'a b.yaml'"),
        (["slurmstepd: [1.0]"], "visplay train 'a b.yaml'"),
    ],
)  # fmt: skip
def test_the_line_that_resumes_names_the_launcher(
    line: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = SimpleNamespace(cmdline=lambda: line)
    monkeypatch.setattr(again.psutil, "Process", lambda: SimpleNamespace(parent=lambda: parent))
    monkeypatch.setattr(sys, "argv", ["visplay", "train", "a b.yaml"])
    assert again.this_command() == "visplay train 'a b.yaml'"  # no launcher says that this is a rank
    monkeypatch.setenv("RANK", "0")
    assert again.this_command() == said


def test_the_shipped_fsdp2_is_the_one_that_tests_run() -> None:
    """What `accelerate launch` puts into the environment; tests set it by hand, for it wants GPUs."""
    given = yaml.safe_load((CONFIGS / "accelerate" / "fsdp2.yaml").read_text())
    keys = {
        f"FSDP_{key.removeprefix('fsdp_').upper()}": str(value) for key, value in given["fsdp_config"].items()
    }
    ours = {key: value for key, value in FSDP2.items() if key.startswith("FSDP_")}
    assert {key: value.lower() for key, value in keys.items()} == {k: v.lower() for k, v in ours.items()}
    assert given["distributed_type"] == "FSDP"
