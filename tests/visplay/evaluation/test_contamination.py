"""Copies of a benchmark's pictures among training pictures are found, strangers are not."""

import io
from pathlib import Path

from PIL import Image

from visplay.data.images import read_images
from visplay.evaluation.contamination import find_suspects, hash_pictures, perceptual_hash
from visplay.evaluation.items import Gold, Item
from visplay.pocket.scenes import render, sample_scenes


def test_scaled_and_compressed_copies_are_found_and_strangers_are_not(tmp_path: Path) -> None:
    from skimage import data

    photographs = [Image.fromarray(data.astronaut()), Image.fromarray(data.chelsea())]
    scenes = [render(scene) for scene in sample_scenes(12, split="held-out", seed=3, style="dusk")]
    items = [
        Item(key=f"q{i}", images=lambda p=picture: (p,), question="?", gold=Gold(rule="text", answers=("x",)))
        for i, picture in enumerate([*photographs, *scenes])
    ]
    photographs[0].resize((200, 200)).save(tmp_path / "small.jpg", quality=70)
    photographs[1].convert("L").save(tmp_path / "grey.png")
    Image.fromarray(data.coffee()).save(tmp_path / "other.png")
    for scene in sample_scenes(12, split="play", seed=3, style="dusk"):
        render(scene).save(tmp_path / f"scene{scene.index}.png")
    images = read_images(tmp_path)
    found = find_suspects(images, hash_pictures(images), {"b": items}, bits=10)
    assert [(s["benchmark"], s["item"], s["picture"]) for s in found] == [
        ("b", "q0", "small.jpg"),
        ("b", "q1", "grey.png"),
    ]
    assert all(suspect["bits"] <= 10 for suspect in found)


def test_hashes_have_256_bits_and_are_the_same_for_the_same_picture() -> None:
    picture = render(next(iter(sample_scenes(1, split="play", seed=1))))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    assert perceptual_hash(picture).shape == (4,)
    assert (perceptual_hash(picture) == perceptual_hash(Image.open(buffer))).all()
