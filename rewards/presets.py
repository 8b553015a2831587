"""Named sets of reward values: what the paper says, what its code does, what its peers do."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

_CHOICES = {
    "difficulty": ("uncertainty", "minority", "entropy"),
    "redundancy_scope": ("image", "batch"),
    "reasoner": ("vote", "soft"),
    "memory_by": ("words", "skill"),
}
_TINY = 1e-9
_ANY = (-math.inf, math.inf)
_RANGES = {
    "entropy_target": _ANY,
    "invalid_reward": _ANY,
    "floor": _ANY,
    "accuracy_weight": _ANY,
    "format_weight": _ANY,
    "target_confidence": (0.01, 0.99),
    "entropy_width": (_TINY, math.inf),
    "redundancy_weight": (0.0, math.inf),
    "redundancy_threshold": (_TINY, math.inf),
    "soft_exponent": (_TINY, 1.0),
    "low": (0.0, 1.0),
    "high": (0.0, 1.0),
    "samples": (1, math.inf),
    "curation_samples": (1, math.inf),
    "memory_weight": (0.0, math.inf),
    "memory_size": (0, math.inf),
    "quota_weight": (0.0, math.inf),
    "groundedness_weight": (0.0, math.inf),
    "groundedness_fraction": (0.0, 1.0),
    "groundedness_limit": (0.0, 1.0),
}


_WHOLE = ("samples", "curation_samples", "memory_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Every value that the rewards, the vote and the informative filter use.

    Attributes:
        name: where the values come from.
        difficulty: `uncertainty` is `1 - |2c - 1|` where the target confidence is 0.5, `minority` is
            `min(c, 1 - c)`, `entropy` a Gaussian of the answer entropy.
        target_confidence: the confidence c that `uncertainty` pays most, in [0.01, 0.99]; 0.5 is Eq. 5.
        entropy_target: the answer entropy that pays most, in nats; used by `entropy`.
        entropy_width: standard deviation of that Gaussian, in nats, > 0.
        redundancy_weight: lambda, >= 0.
        redundancy_scope: clusters within one image's group, or across the whole batch.
        redundancy_threshold: cut of the average linkage, in units of distance, > 0.
        merge_duplicates: treat equal texts as one point and ignore the order of a group.
        invalid_reward: what an invalid question gets before penalties and floor.
        floor: lower bound of a questioner reward; None for no bound.
        reasoner: `vote` is 1 for the silver answer, `soft` is `p(y) ** soft_exponent`.
        soft_exponent: in (0, 1].
        accuracy_weight: weight of agreement with the silver answer.
        format_weight: weight of the `<think>` block followed by the box.
        low: lower bound of the informative band, inclusive.
        high: upper bound of the informative band, inclusive.
        samples: m, answers per question in the questioner phase.
        curation_samples: answers per question in curation.
        curation_counts_unparsed: whether an unparsed answer counts in curation's denominator.
        memory_weight: weight of the likeness to what earlier steps and iterations asked, >= 0; 0 is off.
        memory_by: `words` charges for likeness to the nearest remembered question, `skill` for the share of
            remembered questions that ask for the same (`rewards.skill`).
        memory_size: how many questions are remembered: the newest, with `words` the newest distinct ones.
        quota_weight: weight of the penalty for types above their quota, >= 0; 0 is off.
        type_quotas: largest share of the batch by type; a type that is not named has no quota.
        groundedness_weight: weight of the share of blind answers that agree, >= 0; 0 is off.
        groundedness_fraction: the fraction of images whose questions are also asked blind, in [0, 1].
        groundedness_limit: curation rejects a question whose blind agreement reaches this; None is off.
    """

    name: str
    difficulty: Literal["uncertainty", "minority", "entropy"] = "uncertainty"
    target_confidence: float = 0.5
    entropy_target: float = 0.9
    entropy_width: float = 0.35
    redundancy_weight: float = 1.0
    redundancy_scope: Literal["image", "batch"] = "image"
    redundancy_threshold: float = 0.5
    merge_duplicates: bool = True
    invalid_reward: float = 0.0
    floor: float | None = 0.0
    reasoner: Literal["vote", "soft"] = "vote"
    soft_exponent: float = 0.7
    accuracy_weight: float = 1.0
    format_weight: float = 0.0
    low: float = 0.25
    high: float = 0.75
    samples: int = 10
    curation_samples: int = 10
    curation_counts_unparsed: bool = True
    memory_weight: float = 0.0
    memory_by: Literal["words", "skill"] = "words"
    memory_size: int = 4096
    quota_weight: float = 0.0
    type_quotas: Mapping[str, float] = field(default_factory=dict)
    groundedness_weight: float = 0.0
    groundedness_fraction: float = 0.25
    groundedness_limit: float | None = None

    def __post_init__(self) -> None:
        for key, allowed in _CHOICES.items():
            if getattr(self, key) not in allowed:
                raise ValueError(
                    f"rewards.{key} must be one of {', '.join(allowed)}, got {getattr(self, key)!r}"
                )
        for key, (low, high) in _RANGES.items():
            value = getattr(self, key)
            if value is None and key in ("groundedness_limit", "floor"):
                continue
            whole = key in _WHOLE
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise ValueError(f"rewards.{key} must be a {'whole ' if whole else ''}number, got {value!r}")
            if not low <= value <= high or not math.isfinite(value):
                raise ValueError(f"rewards.{key} must be in [{low}, {high}], got {value}")
        if self.low > self.high:
            raise ValueError(f"rewards.low must be <= rewards.high, got {self.low} and {self.high}")


_PRESETS = {
    "paper": Preset(name="paper"),
    "official": Preset(
        name="official",
        difficulty="minority",
        redundancy_scope="batch",
        merge_duplicates=False,
        invalid_reward=-1.0,
        floor=None,
        accuracy_weight=0.9,
        format_weight=0.1,
        low=0.3,
        high=0.8,
        curation_samples=9,
        curation_counts_unparsed=False,
    ),
    "rzero": Preset(name="rzero", redundancy_scope="batch", low=0.3, high=0.7),
    "soft": Preset(name="soft", difficulty="entropy", reasoner="soft"),
}


def preset(name: str, **overrides: Any) -> Preset:
    """Returns a named preset with some of its values replaced.

    Args:
        name: `paper` (arXiv 2511.15661), `official` (its released code), `rzero` (arXiv 2508.05004) or
            `soft` (EvoLMM, arXiv 2511.16672).
        overrides: attributes of `Preset`.

    Raises:
        ValueError: the preset or a value is unknown; the message offers the nearest name.
    """
    if name not in _PRESETS:
        raise ValueError(
            f"rewards.preset must be one of {', '.join(_PRESETS)}, got {name!r}{_nearest(name, _PRESETS)}"
        )
    known = [value.name for value in fields(Preset) if value.name != "name"]
    for key in overrides:
        if key not in known:
            raise ValueError(f"rewards.{key} is not a value of a preset{_nearest(key, known)}")
    return replace(_PRESETS[name], **overrides)


def _nearest(name: str, known: Any) -> str:
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean {match[0]!r}?" if match else f"; known: {', '.join(known)}"
