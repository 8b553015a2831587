"""Separate seeds for each purpose, and random draws."""

import random
from collections.abc import Sequence
from typing import Any


def mix_seed(seed: int, *parts: str | int) -> int:
    """A separate seed for each purpose, the same in every process."""
    return random.Random(f"{seed}:{':'.join(map(str, parts))}").getrandbits(31)


def draw(items: Sequence[Any], count: int, *, seed: int) -> list[Any]:
    """Draw `count` items in random order, each once before any repeats; an empty list without items."""
    lot = random.Random(seed)
    drawn: list[Any] = []
    while items and len(drawn) < count:
        drawn += lot.sample(list(items), min(len(items), count - len(drawn)))
    return drawn
