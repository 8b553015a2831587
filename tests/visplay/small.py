"""A run of the pocket world that takes seconds, for tests of the whole loop."""

from typing import Any

ORACLE = "visplay.pocket.truth:read_truth"

SMALL: dict[str, Any] = {
    "iterations": 1,
    "adapters": "shared",
    "threads": 1,  # whatever an earlier test has set: bits depend on it
    "model": {"path": "pocket", "dtype": "float32"},
    "prompts": {"forms": {}},
    "votes": {"samples": 4},
    "questioner": {
        "types": ["numerical", "yes/no", "short answer"], "steps": 2, "prompts_per_step": 2, "group_size": 4,
        "max_tokens": 48,
    },
    "curation": {"questions_per_image": 2, "margin": "all", "low": 0.25, "high": 1.0},
    "reasoner": {"steps": 2, "prompts_per_step": 4, "group_size": 4, "max_tokens": 96},
    "optimizer": {"learning_rate": 1e-3, "micro_batch_size": 8},
    "evaluation": {
        "benchmarks": ["pocket-dusk", "easy-vqa"], "limit": 24, "maj_limit": 8, "blind_limit": 8,
        "split": "development",
    },
}  # fmt: skip
