"""Read what torchrun, `accelerate launch` and Slurm set in the environment, and keep other packages quiet."""

import ctypes
import logging
import os
import signal
import warnings

from visplay.errors import RankLost

_LAUNCHER = os.getppid()  # the parent at the start of this process
_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
# Error messages of gloo and NCCL when the other end of a connection has died.
_LOST_IN_WORDS = (
    "connection closed by peer", "connection reset by peer", "broken pipe", "connection refused",
    "remote process exited", "nccl remote", "socket timeout", "timed out waiting",
)  # fmt: skip

# Messages of other packages; our own display shows what matters.
_QUIET = {
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TORCH_LOGS": "-all",  # its own names that it is about to rename, and that there is no CUDA
}
_LOGGERS = (
    "vllm.triton_utils.importing",  # that Triton has no backend for CPUs
    "datasets.fingerprint",  # that prompts which are made when they are read have no fingerprint
)


def launched() -> bool:
    """Whether a launcher started this process as one of its ranks."""
    return "RANK" in os.environ


def rank() -> int:
    """The rank of this process, from 0 to W - 1; 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of ranks W; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int | None:
    """The index of this rank's GPU on its machine; None without a launcher."""
    place = os.environ.get("LOCAL_RANK")
    return None if place is None else int(place)


def gpus_of_servers(count: int) -> list[str]:
    """The GPUs among the `count` visible ones on which no rank of this machine trains."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return (visible or [str(i) for i in range(count)])[ranks:count]


def shards() -> bool:
    """Whether the trainer shards the base over the ranks (FSDP)."""
    return world_size() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def end_with_launcher() -> None:
    """Request SIGTERM for this process when the launcher ends (Linux).

    Otherwise a rank whose launcher was killed would hold the run's lock until the end of the run.

    Raises:
        RankLost: the launcher has already ended, so the ranks could never meet.
    """
    getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(_WITH_PARENT, signal.SIGTERM)
    if os.getppid() != _LAUNCHER:
        raise RankLost("the launcher is gone")


def is_lost(error: BaseException) -> bool:
    """Whether an error of torch means that another rank has died."""
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _LOST_IN_WORDS)


def quieten() -> None:
    """Silence other packages before they are imported; what a user set in the environment stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # TRL's own use of vLLM does not concern us.
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions", category=UserWarning)
