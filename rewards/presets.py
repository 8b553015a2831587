"""Named sets of reward values: what the paper says, what its code does, what its peers do."""

import difflib
from dataclasses import dataclass, fields, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Every value that the rewards, the vote and the informative filter use.

    Attributes:
        name: where the values come from.
        difficulty: `uncertainty` is `1 - |2c - 1|`, `minority` is `min(c, 1 - c)`, `entropy` a Gaussian of
            the answer entropy.
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
    """

    name: str
    difficulty: Literal["uncertainty", "minority", "entropy"] = "uncertainty"
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
    known = [field.name for field in fields(Preset) if field.name != "name"]
    for key in overrides:
        if key not in known:
            raise ValueError(f"rewards.{key} is not a value of a preset{_nearest(key, known)}")
    return replace(_PRESETS[name], **overrides)


def _nearest(name: str, known: Any) -> str:
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean {match[0]!r}?" if match else f"; known: {', '.join(known)}"
