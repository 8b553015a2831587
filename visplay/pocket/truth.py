"""The truth about pocket pictures, for telemetry only: no phase and no reward uses it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from rewards import Question
from visplay.errors import ConfigError
from visplay.pocket.oracle import oracle
from visplay.pocket.scenes import Scene, StyleName, render, sample_scenes
from visplay.storage import write_text

SCENES = ".scenes.jsonl"  # hidden, so that it is not taken for a picture


class Truth:
    """Answers questions about pictures that `write_pictures` wrote, known by the hash of their bytes."""

    def __init__(self, scenes: dict[str, Scene]) -> None:
        self._scenes = scenes

    def __call__(self, picture: str, question: Question) -> str | None:
        """The true answer; None where the picture does not settle it or the oracle cannot read it."""
        scene = self._scenes.get(picture)
        return None if scene is None else oracle(scene, question.question)

    def scene(self, picture: str) -> Scene:
        """What a picture shows, by its key."""
        return self._scenes[picture]


def read_truth(source: Path) -> Truth | None:
    """The truth beside a folder of pictures, or None: real photographs have none."""
    path = source / SCENES
    if not path.is_file():
        return None
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return Truth({row["sha256"]: Scene.from_json(row["scene"]) for row in rows})


def write_pictures(
    folder: Path,
    *,
    count: int,
    seed: int,
    style: StyleName,
    on_picture: Callable[[str], None] = lambda _: None,
) -> None:
    """Write `count` PNGs, and beside them what they show; the same arguments write the same bytes.

    Raises:
        ConfigError: the folder is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty, and pictures would be mixed; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for scene in sample_scenes(count, split="play", seed=seed, style=style):
        path = folder / f"{scene.index:06d}.png"
        render(scene).save(path)
        key = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(json.dumps({"file": path.name, "sha256": key, "scene": scene.to_json()}))
        on_picture("")
    write_text(folder / SCENES, "\n".join(rows) + "\n")
