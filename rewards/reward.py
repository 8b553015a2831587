"""The types of reward functions, and custom reward terms."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from visplay.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Every number that the rewards use, which `visplay.config` checks; the defaults are the paper's.

    Attributes:
        questioner: `paper` is Eq. 8 of arXiv 2511.15661; `official` is the reward of the released code.
        target_confidence: the confidence c that `paper` pays most, in [0.01, 0.99]; 0.5 is Eq. 5.
        redundancy_weight: lambda, >= 0.
        redundancy_scope: clusters within the questions about one image, or across the whole batch.
        format_weight: weight of the `<think>` block followed by the box, in [0, 1]; agreement with the silver
            answer has the rest.
    """

    questioner: Literal["paper", "official"] = "paper"
    target_confidence: float = 0.5
    redundancy_weight: float = 1.0
    redundancy_scope: Literal["image", "batch"] = "image"
    format_weight: float = 0.0


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


def random_rewards(group: Sequence[Reward], *, seed: int) -> list[Reward]:
    """Returns rewards of 0 or 1 drawn at random, a method's control; the real parts stay."""
    rng = random.Random(seed)
    return [Reward(total=float(rng.random() < 0.5), parts=reward.parts) for reward in group]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A custom reward, added to the built-in ones.

    Attributes:
        name: the name of its values in `Reward.parts`.
        weight: multiplies its values; a negative one makes a penalty.
        function: `(rows) -> values`, called once for each group of completions with whatever the caller
            knows of each; one value per row, in order.
    """

    name: str
    weight: float
    function: Callable[..., Sequence[float]]

    def values(self, rows: Sequence[Any]) -> list[float]:
        """Calls the function and returns its weighted values.

        Raises:
            ConfigError: the function did not give one value per row.
        """
        values = [self.weight * float(value) for value in self.function(rows)]
        if len(values) != len(rows):
            raise ConfigError(f"{self.name} must give one value per row, {len(rows)}, got {len(values)}")
        return values
