"""The processes that a launcher started: rank 0 plays, all of them learn.

How many there are and which of them this one is, the launcher says (`visplay.launcher`); no key of ours does.
Objects travel between them over a group of torch.distributed of its own, whose waits have no practical limit:
while rank 0 asks and votes, the others wait for hours.
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

LEARNING = timedelta(hours=1)  # in a collective of the trainer; rank 0 may be writing to a slow disk
PLAYING = timedelta(days=30)  # for rank 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """All ranks of a run, as one of them sees them; alone, everything is handed straight back.

    Attributes:
        place: of this rank, from 0.
        size: how many there are, W.
        group: the processes, where there are several.
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
        """Whether the trainer cuts the model into W pieces (FSDP), as `accelerate launch` says."""
        return launcher.shards()

    def broadcast(self, what: Any = None) -> Any:
        """What rank 0 says, on every rank."""
        if self.size == 1:
            return what
        sent = [what if self.first else None]
        with _lost():
            distributed.broadcast_object_list(sent, src=0, group=self.group)
        return sent[0]

    def scatter(self, parts: list[Any] | None = None) -> Any:
        """This rank's part of what rank 0 has for each, [W]."""
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
    """Join the processes that the launcher started; without one there is this process alone.

    Raises:
        RankLost: the launcher or another rank is gone.
    """
    size = launcher.world_size()
    if size == 1:
        yield ALONE
        return
    launcher.end_with_launcher()
    # Before anything else of accelerate or transformers makes the group, with waits of its own.
    with _lost():
        if not distributed.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            distributed.init_process_group(backend, timeout=LEARNING)
        group = distributed.new_group(backend="gloo", timeout=PLAYING)
    yield Ranks(place=distributed.get_rank(), size=size, group=group)
    distributed.destroy_process_group()  # only in peace: else others may be waiting in it


@contextmanager
def _lost() -> Iterator[None]:
    """Say in our words that another rank is gone, whatever gloo says."""
    try:
        yield
    except RuntimeError as error:
        raise RankLost(f"another rank is gone ({str(error).splitlines()[0][:200]})") from error
