"""Named methods: values of several sections that belong together; what a configuration says goes before them.

`paper` is arXiv 2511.15661 and changes nothing. `steady` differs in what is trained on and in what the
Questioner is paid for, so that labels stay right over many iterations; docs/when-self-play-helps.md has what
each part of it did, and what it did not.
"""

from typing import Any, Literal, get_args

from visplay.config.yaml_text import merged

MethodName = Literal["paper", "steady"]
METHODS: dict[MethodName, dict[str, Any]] = {
    "paper": {},
    "steady": {
        "judge": {"function": "visplay.loop.judging:ask_base"},
        "votes": {"views": ["as it is", "brighter", "less contrast", "softer", "farther"]},
        "rewards": {
            "low": 0.5,
            "high": 0.95,
            "target_confidence": 0.8,
            "memory_weight": 0.5,
            "memory_by": "skill",
        },
    },
}


def with_method(data: dict[Any, Any]) -> dict[Any, Any]:
    """Plain data of a configuration, laid over the values of the method that it names."""
    name = data.get("method", "paper")
    return merged(METHODS[name], data) if name in get_args(MethodName) else data
