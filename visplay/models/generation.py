"""The one way to sample: completions that are seen to be of the adapter version that was asked for."""

from collections.abc import Sequence

from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling
from visplay.errors import AdapterMismatch


def generate(
    engine: RolloutEngine, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
) -> list[list[Completion]]:
    """Completions [prompts][n] of one version, seen to be that version's.

    Raises:
        AdapterMismatch: the engine answered with other weights than it was asked for.
    """
    groups = engine.generate(prompts, adapter=adapter, sampling=sampling)
    for completion in (completion for group in groups for completion in group):
        if completion.adapter != adapter:
            raise AdapterMismatch(f"asked {adapter} for a completion and got one of {completion.adapter}")
    return groups
