from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from benchmarks.pocket_vlm.build import TAUGHT, Recipe, Stage, build

pytestmark = [pytest.mark.slow, pytest.mark.extra]
STAGES = (
    Stage(steps=2, lessons={"caption": 2, "matching": 2}),
    Stage(steps=50, lessons={"caption": 1, "reasoner": 1, "questioner": 1}),
)
LADDER = Recipe(stages=STAGES, warmup_steps=2, scenes=8, checkpoint_every=16)
WIDE = replace(
    LADDER, stages=tuple(replace(stage, taught=TAUGHT) for stage in STAGES), style="wide", planned=100
)


class Killed(Exception):
    pass


def kill(_: str) -> None:
    raise Killed


@pytest.mark.parametrize("recipe", [LADDER, WIDE], ids=["ladder", "wide"])
def test_a_stopped_build_goes_on_and_ends_with_the_same_weights(tmp_path: Path, recipe: Recipe) -> None:
    stopped = tmp_path / "stopped"
    with pytest.raises(Killed):  # the log speaks after step 50, past the last checkpoint at 48
        build(stopped, recipe=recipe, log=kill)
    assert not stopped.exists()
    with pytest.raises(ValueError, match="another recipe"):
        build(stopped, recipe=replace(recipe, seed=1))
    resumed = load_file(build(stopped, recipe=recipe) / "model.safetensors")
    undisturbed = load_file(build(tmp_path / "undisturbed", recipe=recipe) / "model.safetensors")
    assert resumed.keys() == undisturbed.keys()
    assert all(resumed[name].equal(undisturbed[name]) for name in resumed)
    assert not (tmp_path / "stopped.partial").exists()
