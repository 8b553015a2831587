"""The numbers that the reward functions use; `visplay.config` checks them."""

from dataclasses import dataclass
from typing import Literal

REDUNDANCY_THRESHOLD = 0.5  # cut of the average linkage, in units of BLEU distance; the paper's
MEMORY_SIZE = 4096  # newest questions that are remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Every number that the rewards use; the defaults are those of arXiv 2511.15661.

    Attributes:
        questioner: `paper` is Eq. 8; `official` is the reward of the released code.
        target_confidence: the confidence c that `paper` pays most, in [0.01, 0.99]; 0.5 is Eq. 5.
        redundancy_weight: lambda, >= 0.
        redundancy_scope: clusters within the questions about one image, or across the whole batch.
        memory_weight: weight of the share of remembered questions of the same skill, >= 0; 0 is off.
        groundedness_weight: weight of the share of blind answers that agree, >= 0; 0 is off.
        format_weight: weight of the `<think>` block followed by the box, in [0, 1]; agreement with the silver
            answer has the rest.
    """

    questioner: Literal["paper", "official"] = "paper"
    target_confidence: float = 0.5
    redundancy_weight: float = 1.0
    redundancy_scope: Literal["image", "batch"] = "image"
    memory_weight: float = 0.0
    groundedness_weight: float = 0.0
    format_weight: float = 0.0
