"""The ranks of data-parallel training: rank 0 executes the loop, all ranks train.

The launcher sets the number of ranks and the rank of this process (`visplay.launcher`); no configuration key
does. Ranks exchange objects over a separate group of torch.distributed with a very long timeout, because the
others wait for hours while rank 0 asks and votes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from visplay import launcher
from visplay.errors import RankLost

LEARNING = timedelta(hours=1)  # timeout of the trainer's collectives; rank 0 may be writing to a slow disk
PLAYING = timedelta(days=30)  # timeout of waits for rank 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The ranks of a run from the view of one of them; with one rank, objects are returned unchanged.

    Attributes:
        place: index of this rank, from 0.
        size: number of ranks, W.
        group: the process group; None with one rank.
    """

    place: int = 0
    size: int = 1
    group: Any = None

    @property
    def first(self) -> bool:
        """Whether this is rank 0."""
        return self.place == 0

    @property
    def sharded(self) -> bool:
        """Whether the trainer shards the model over W ranks (FSDP), as set by `accelerate launch`."""
        return launcher.shards()

    def broadcast(self, what: Any = None) -> Any:
        """Broadcast an object of rank 0 to every rank."""
        if self.size == 1:
            return what
        sent = [what if self.first else None]
        torch.cuda.empty_cache()  # before a wait: rank 0's vLLM may use this GPU, too (tensor_parallel_size)
        with _lost():
            distributed.broadcast_object_list(sent, src=0, group=self.group)
        return sent[0]

    def scatter(self, parts: list[Any] | None = None) -> Any:
        """Scatter the objects of rank 0, [W]; returns the one of this rank."""
        if self.size == 1:
            assert parts is not None
            return parts[0]
        own: list[Any] = [None]
        with _lost():
            distributed.scatter_object_list(own, parts if self.first else None, src=0, group=self.group)
        return own[0]


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that the launcher started; without a launcher this process is the only rank.

    Raises:
        RankLost: the launcher or another rank has died.
    """
    if (size := launcher.world_size()) == 1:
        yield ALONE
        return
    launcher.end_with_launcher()
    # This must precede any code of accelerate or transformers that creates the group with other timeouts.
    with _lost():
        if not distributed.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            distributed.init_process_group(backend, timeout=LEARNING)
        group = distributed.new_group(backend="gloo", timeout=PLAYING)
    yield Ranks(place=distributed.get_rank(), size=size, group=group)
    distributed.destroy_process_group()  # only without an error: otherwise others may be waiting in it


@contextmanager
def _lost() -> Iterator[None]:
    """Translate gloo's errors about a dead rank into `RankLost`."""
    try:
        yield
    except RuntimeError as error:
        raise RankLost(f"another rank is gone ({str(error).splitlines()[0][:200]})") from error
