"""What a launcher says of this process: torchrun, `accelerate launch` and Slurm say it by the environment."""

import ctypes
import os
import signal

from visplay.errors import RankLost

_LAUNCHER = os.getppid()  # as this process began
_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
# How gloo and NCCL say that the other end of a connection is gone.
_LOST_IN_WORDS = (
    "connection closed by peer", "connection reset by peer", "broken pipe", "connection refused",
    "remote process exited", "nccl remote", "socket timeout", "timed out waiting",
)  # fmt: skip


def launched() -> bool:
    """Whether a launcher started this process as one of its ranks."""
    return "RANK" in os.environ


def rank() -> int:
    """Which of W this one is, from 0; 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many there are, W; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int | None:
    """Which GPU of its machine is this rank's; None without a launcher."""
    place = os.environ.get("LOCAL_RANK")
    return None if place is None else int(place)


def gpus_of_servers(count: int) -> list[str]:
    """Those of the `count` GPUs that a process sees on which none of this machine's ranks trains."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return (visible or [str(i) for i in range(count)])[ranks:count]


def shards() -> bool:
    """Whether the trainer is to cut the base into pieces, one for each rank (FSDP)."""
    return world_size() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def end_with_launcher() -> None:
    """Be sent SIGTERM when the launcher ends, however it ends (Linux).

    A rank that lives on, its launcher killed, would hold the run's lock until it has played to the end.

    Raises:
        RankLost: it is gone already; nobody would ever come to the meeting point.
    """
    getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(_WITH_PARENT, signal.SIGTERM)
    if os.getppid() != _LAUNCHER:
        raise RankLost("the launcher is gone")


def is_lost(error: BaseException) -> bool:
    """Whether an error of torch says that another rank is gone."""
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _LOST_IN_WORDS)
