"""Seeds of their own for each purpose."""

import random


def mix_seed(seed: int, *parts: str | int) -> int:
    """A seed of its own for each purpose, the same in every process."""
    return random.Random(f"{seed}:{':'.join(map(str, parts))}").getrandbits(31)
