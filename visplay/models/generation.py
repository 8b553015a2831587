"""Generate completions, and check that they come from the requested adapter version."""

from collections.abc import Sequence

from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling
from visplay.errors import AdapterMismatch


def generate(
    engine: RolloutEngine, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
) -> list[list[Completion]]:
    """Generate completions [prompts][n] with one adapter version.

    Raises:
        AdapterMismatch: the engine answered with another version than requested.
    """
    groups = engine.generate(prompts, adapter=adapter, sampling=sampling)
    for completion in (completion for group in groups for completion in group):
        if completion.adapter != adapter:
            raise AdapterMismatch(f"requested a completion of {adapter} and got one of {completion.adapter}")
    return groups
