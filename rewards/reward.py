"""The one value that every reward function gives: a total and the parts it was made of."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """A reward and where it came from.

    Attributes:
        total: what the optimizer sees.
        parts: every part by name, so that each can be plotted; the docs of the function that made the
            reward say how the parts add up.
    """

    total: float
    parts: Mapping[str, float]
