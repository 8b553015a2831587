"""Views change a picture mildly, and votes are shared out over them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rewards import Question
from rollouts.engine import AdapterVersion, Prompt, Sampling
from tests.scripted_engine import ScriptedEngine
from tests.visplay.contexts import context
from visplay.config.loading import check_config
from visplay.data.views import VIEWS, shared_out, views_of
from visplay.errors import ConfigError
from visplay.loop.asking import Asked, Round, take_votes
from visplay.loop.context import RunContext
from visplay.pocket.scenes import COLORS, render, sample_scene

ADAPTER = AdapterVersion(name="shared", version=0)


@pytest.fixture
def scene() -> Image.Image:
    return render(sample_scene(split="development", seed=0, index=3))


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_another_picture_of_the_same_size_and_nearly_the_same_look(
    name: str, scene: Image.Image
) -> None:
    seen = VIEWS[name](scene)
    assert seen.size == scene.size and seen.mode == "RGB"
    assert VIEWS[name](scene).tobytes() == seen.tobytes()
    apart = np.abs(np.asarray(seen, float) - np.asarray(scene, float)).mean()
    assert (apart == 0) == (name == "as it is") and apart < 50


def test_no_view_mirrors_or_changes_a_hue() -> None:
    """The left half stays red and the right half blue."""
    picture = Image.new("RGB", (96, 64), COLORS["blue"])
    picture.paste(COLORS["red"], (0, 0, 48, 64))
    for name, view in VIEWS.items():
        left, right = (
            np.asarray(view(picture))[16:48, place].mean(0) for place in (slice(8, 40), slice(56, 88))
        )
        assert left.argmax() == 0 and right.argmax() == 2, name


def test_pictures_of_one_pixel_are_no_trouble() -> None:
    for view in VIEWS.values():
        assert view(Image.new("RGB", (1, 1), (9, 9, 9))).size == (1, 1)


def test_votes_are_shared_out_evenly() -> None:
    assert shared_out(10, 10) == [1] * 10
    assert shared_out(10, 4) == [3, 3, 2, 2]
    assert shared_out(2, 3) == [1, 1, 0]


def test_names_are_looked_up() -> None:
    assert list(views_of(["softer", "PIL.ImageOps:grayscale"])) == ["softer", "PIL.ImageOps:grayscale"]
    assert views_of([]) == {}
    with pytest.raises(ConfigError, match=r"votes.views"):
        views_of(["upside down"])


def voting(tmp_path: Path, views: list[str], samples: int) -> tuple[RunContext, ScriptedEngine]:
    """The Reasoner says how bright the picture is that it sees."""
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (32, 32), (100, 100, 100)).save(tmp_path / "pictures" / "grey.png")

    def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        return [f"\\boxed{{{prompt.images[0].getpixel((16, 16))[0]}}}"] * sampling.n

    config = check_config(
        {
            "images": {"source": str(tmp_path / "pictures")}, "output": str(tmp_path),
            "votes": {"views": views, "samples": samples}, "curation": {},
        }
    )  # fmt: skip
    engine = ScriptedEngine(script)
    return context(config, engine), engine


def test_each_view_is_asked_for_its_share_under_a_name_of_its_own(tmp_path: Path) -> None:
    ctx, engine = voting(tmp_path, ["as it is", "brighter", "PIL.ImageOps:invert"], 5)
    key = ctx.images.records[0].key
    row = Asked(picture=key, question=Question(type="numerical", question="How bright?", answer="1"))
    round = Round(phase="questioner", roles={"reasoner": ADAPTER}, seed=0)
    (vote,) = take_votes(ctx, [row], round, seed=7)
    assert vote is not None and dict(vote.shares) == {"100": 0.4, "120": 0.4, "155": 0.2}
    # Views with the same share are asked for together.
    asked = [(sampling.n, [prompt.key for prompt in prompts]) for prompts, _, sampling in engine.calls]
    assert asked == [(2, [f"{key} as it is", f"{key} brighter"]), (1, [f"{key} PIL.ImageOps:invert"])]
    assert len({sampling.seed for _, _, sampling in engine.calls}) == 2
    (unseeing,) = take_votes(ctx, [row], round, seed=7, grey=True)
    assert unseeing is not None and len(engine.calls) == 3  # a grey picture has no views


def test_without_views_it_is_asked_as_ever(tmp_path: Path) -> None:
    ctx, engine = voting(tmp_path, [], 5)
    row = Asked(
        picture=ctx.images.records[0].key,
        question=Question(type="numerical", question="How bright?", answer="1"),
    )
    take_votes(ctx, [row], Round(phase="questioner", roles={"reasoner": ADAPTER}, seed=0), seed=7)
    ((prompts, _, sampling),) = engine.calls
    assert (sampling.n, sampling.seed, prompts[0].key) == (5, 7, row.picture)
