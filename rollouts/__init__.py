"""Rollout engines: (prompt, image, adapter, sampling) -> completions with token ids and log-probs."""

from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling

__all__ = ["AdapterVersion", "Completion", "Prompt", "RolloutEngine", "Sampling"]
