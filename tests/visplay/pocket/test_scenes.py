import numpy as np

from visplay.pocket.scenes import Scene, render, sample_scene, sample_scenes


def test_the_same_arguments_give_the_same_picture() -> None:
    first, again = (sample_scene(split="play", seed=2, index=5, style="dusk") for _ in range(2))
    assert first == again
    assert render(first).tobytes() == render(again).tobytes()


def test_no_two_streams_share_a_picture() -> None:
    pictures = [
        render(scene).tobytes()
        for split in ("warm-up", "warm-up-check", "play", "development", "held-out")
        for scene in sample_scenes(20, split=split, seed=0)
    ]
    assert len(set(pictures)) == len(pictures) == 100


def test_a_scene_survives_json() -> None:
    scene = sample_scene(split="held-out", seed=0, index=1, style="dusk")
    assert Scene.from_json(scene.to_json()) == scene


def test_shapes_are_where_the_scene_says() -> None:
    for scene in sample_scenes(20, split="development", seed=0):
        pixels = np.asarray(render(scene)).astype(int)
        ground = np.median(pixels.reshape(-1, 3)[:200], axis=0) if not scene.things else None
        for place in range(9):
            x, y = 32 * (place % 3) + 16, 32 * (place // 3) + 16
            middle = pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(axis=0)
            filled = any(thing.place == place for thing in scene.things)
            if len(scene.things) > 1:  # a lone thing may reach into its neighbours' cells
                assert filled == (middle.min() < 200), (scene, place, middle, ground)


def test_dusk_is_darker_and_noisier() -> None:
    clean = [np.asarray(render(s)).mean() for s in sample_scenes(30, split="play", seed=0, style="clean")]
    dusk = [np.asarray(render(s)).mean() for s in sample_scenes(30, split="play", seed=0, style="dusk")]
    assert np.mean(dusk) < np.mean(clean) - 20
