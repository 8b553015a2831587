from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from benchmarks.pocket_vlm.build import Recipe, Stage, build

pytestmark = [pytest.mark.slow, pytest.mark.extra]
STAGES = (
    Stage(steps=2, lessons={"caption": 2, "matching": 2}),
    Stage(steps=50, lessons={"caption": 1, "reasoner": 1, "questioner": 1}),
)
RECIPE = Recipe(stages=STAGES, warmup_steps=2, scenes=8, checkpoint_every=16)


class Killed(Exception):
    pass


def kill(_: str) -> None:
    raise Killed


def test_a_stopped_build_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    with pytest.raises(Killed):  # the log speaks after step 50, past the last checkpoint at 48
        build(stopped, recipe=RECIPE, log=kill)
    assert not stopped.exists()
    with pytest.raises(ValueError, match="another recipe"):
        build(stopped, recipe=replace(RECIPE, seed=1))
    resumed = load_file(build(stopped, recipe=RECIPE) / "model.safetensors")
    undisturbed = load_file(build(tmp_path / "undisturbed", recipe=RECIPE) / "model.safetensors")
    assert resumed.keys() == undisturbed.keys()
    assert all(resumed[name].equal(undisturbed[name]) for name in resumed)
    assert not (tmp_path / "stopped.partial").exists()
