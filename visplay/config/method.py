"""`method`: one name that sets votes, band, judge, rewards and curation; explicit keys override it.

`PUBLISHED` holds what a source did that a method does not set, because hardware or budget decides it.
"""

from typing import Any, Literal, get_args

from visplay.config.yaml_text import flat_config, merged

MethodName = Literal["paper", "official", "rzero", "steady"]
ABOUT: dict[MethodName, str] = {
    "paper": "VisPlay as written (arXiv 2511.15661)",
    "official": "VisPlay as its released code has it (bruno686/VisPlay)",
    "rzero": "R-Zero's rewards and band (arXiv 2508.05004), on pictures",
    "steady": "a judge and a higher band: fewer wrong labels, at more tokens a question",
}
# What differs from the defaults, which are the paper's.
METHODS: dict[MethodName, dict[str, Any]] = {
    "paper": {"adapters": "per_role"},  # the default, named so that `differences` tells of another value
    "official": {
        "rewards": {"questioner": "official", "redundancy_scope": "batch", "format_weight": 0.1},
        "curation": {"low": 0.3, "high": 0.8, "samples": 9, "count_unparsed": False},
        "optimizer": {"updates_per_batch": 4},
    },
    "rzero": {
        "rewards": {"redundancy_scope": "batch"},
        "curation": {"low": 0.3, "high": 0.7},
    },
    "steady": {
        "judge": {"function": "visplay.loop.judging:ask_base"},
        "rewards": {"target_confidence": 0.8},
        "curation": {"low": 0.5, "high": 0.95},
    },
}
_FULL: dict[str, Any] = {"training": "all weights", "optimizer.learning_rate": 1e-6, "curation.margin": "all"}
_BATCH: dict[str, Any] = {"questioner.prompts_per_step": 512, "reasoner.prompts_per_step": 512}
PUBLISHED: dict[MethodName, dict[str, Any]] = {
    "paper": _FULL, "official": _FULL | _BATCH, "rzero": _FULL | _BATCH, "steady": {},
}  # fmt: skip


def with_method(data: dict[Any, Any]) -> dict[Any, Any]:
    """Plain data of a configuration, laid over the values of the method that it names."""
    name = data.get("method", "paper")
    return merged(METHODS[name], data) if name in get_args(MethodName) else data


def differences(config: Any) -> list[str]:
    """How a run differs from its method: keys that were set otherwise, then what the source did otherwise.

    Args:
        config: a `visplay.Config`.

    Returns:
        Lines such as `curation.low: 0.4 here, 0.25 in paper`.
    """
    method: MethodName = config.method
    pure = type(config).model_validate(with_method({"method": method, "images": {"source": "images"}}))
    own, published = flat_config(config.model_dump()), flat_config(pure.model_dump())
    decided = dict.fromkeys(key for values in METHODS.values() for key in flat_config(values))
    lines = [
        f"{key}: {own[key]} here, {published[key]} in {method}"
        for key in decided
        if own[key] != published[key]
    ]
    for key, value in PUBLISHED[method].items():
        here = "LoRA" if key == "training" else own[key]
        if here != value:
            lines.append(f"{key}: {here} here, {value} in the source of {method}")
    return lines
