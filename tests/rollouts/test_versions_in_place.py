"""The transformers engine writes a version over the one that it drops."""

from pathlib import Path

import pytest

from rollouts.engine import AdapterVersion, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import reasoner_prompt
from visplay.runs.checkpoints import numbered

pytestmark = pytest.mark.slow
POCKET = Model(path="pocket", dtype="float32")
GREEDY = Sampling(temperature=0, max_tokens=6)


def versions(root: Path, ranks: list[int]) -> list[AdapterVersion]:
    """One of each rank, with effects of their own."""
    made = []
    for number, rank in enumerate(ranks):
        policy = Policy(*load_base(POCKET), lora=Lora(rank=rank, alpha=8))
        made.append(numbered(root, "shared", number))
        policy.create_adapter(made[-1], seed=number)
        randomize_lora_b(made[-1], size=0.05, seed=number)
    return made


@pytest.mark.parametrize("ranks", [[4] * 6, [4, 4, 4, 8, 4, 8]], ids=["alike", "of other ranks"])
def test_each_version_is_what_a_new_engine_has_of_it(ranks: list[int], tmp_path: Path) -> None:
    (scene,) = sample_scenes(1, split="development", seed=0)
    prompt = reasoner_prompt(render(scene), "How many shapes?", words=Prompts())
    long_lived, made = TransformersEngine(*load_base(POCKET)), versions(tmp_path, ranks)
    for number, adapter in enumerate(made):
        long_lived.publish(adapter)
        for old in made[max(0, number - 2) : number]:
            assert long_lived.generate([prompt], adapter=old, sampling=GREEDY)[0][0].adapter == old
        fresh = TransformersEngine(*load_base(POCKET))
        fresh.publish(adapter)
        (expected,), (got,) = (
            engine.generate([prompt], adapter=adapter, sampling=GREEDY)[0] for engine in (fresh, long_lived)
        )
        assert got.token_ids == expected.token_ids
        assert got.logprobs == pytest.approx(expected.logprobs, abs=1e-6)
        if number >= 3:
            with pytest.raises(KeyError, match=rf"shared@{number - 3} is not loaded"):
                long_lived.generate([prompt], adapter=made[number - 3], sampling=GREEDY)
