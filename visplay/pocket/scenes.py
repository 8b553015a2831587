"""Synthetic scenes: coloured shapes on a 3 x 3 grid, drawn from a seed, in four styles."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SHAPES = ("circle", "rectangle", "triangle", "star")
COLORS = {  # as CSS names them
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    "teal": (0, 128, 128),
    "brown": (165, 42, 42),
    "yellow": (255, 255, 0),
}
PLACES = (
    "top left", "top", "top right",
    "left", "center", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
SIDE = 96  # pixels
CELL = SIDE // 3
SUPERSAMPLING = 3  # drawn at three times the size and scaled down: that is the anti-aliasing

StyleName = Literal["clean", "dusk", "ladder", "wide"]
# How far a picture may be from a clean one, in [0, 1]: a share of errors of sight.
STRONGEST: dict[StyleName, float] = {"clean": 0.0, "dusk": 1.0, "ladder": 0.5, "wide": 0.0}
# Every use of the world draws from a stream of its own, so no picture is shared between them.
Split = Literal["warm-up", "warm-up-check", "play", "development", "held-out"]
_STREAM: dict[str, int] = {"warm-up": 1, "warm-up-check": 2, "play": 3, "development": 4, "held-out": 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One coloured shape; `place` indexes PLACES in scan order (0..8)."""

    shape: str
    color: str
    place: int

    def __str__(self) -> str:
        return f"{self.color} {self.shape}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The number of things in a scene, at most 9, and of their colours; inclusive ranges."""

    things: tuple[int, int]
    colors: tuple[int, int]


PLAIN = Layout(things=(1, 6), colors=(2, 4))
CROWDED = Layout(things=(3, 7), colors=(3, 5))
SEVERAL = Layout(things=(3, 5), colors=(2, 4))
LAYOUTS: dict[StyleName, Layout] = {"clean": PLAIN, "dusk": PLAIN, "ladder": CROWDED, "wide": SEVERAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a picture shows, in scan order, and how to draw it again: `split`, `seed` and `index`."""

    things: tuple[Thing, ...]
    split: Split
    seed: int
    index: int
    style: StyleName

    def to_json(self) -> dict[str, Any]:
        """Plain data; `Scene.from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Scene":
        """Rebuild a scene from `to_json`."""
        return cls(**{**data, "things": tuple(Thing(**thing) for thing in data["things"])})


def sample_scene(
    *, split: Split, seed: int, index: int, style: StyleName = "clean", layout: Layout | None = None
) -> Scene:
    """Draw scene number `index` of a stream; the same arguments give the same scene.

    A scene has the layout of its style unless another is given, in few colours and two or three shapes, so
    that counts are seldom 0 or 1.
    """
    layout = layout or LAYOUTS[style]
    rng = _generator(split, seed, index, 0)
    colors = rng.choice(
        list(COLORS), size=rng.integers(layout.colors[0], layout.colors[1] + 1), replace=False
    )
    shapes = rng.choice(SHAPES, size=rng.integers(2, 4), replace=False)
    places = sorted(rng.choice(9, size=rng.integers(layout.things[0], layout.things[1] + 1), replace=False))
    drawn = tuple(
        Thing(shape=str(rng.choice(shapes)), color=str(rng.choice(colors)), place=int(place))
        for place in places
    )
    return Scene(things=drawn, split=split, seed=seed, index=index, style=style)


def sample_scenes(
    count: int, *, split: Split, seed: int, style: StyleName = "clean", start: int = 0,
    layout: Layout | None = None,
) -> Iterator[Scene]:  # fmt: skip
    """Scenes `start` to `start + count - 1` of a stream."""
    for index in range(start, start + count):
        yield sample_scene(split=split, seed=seed, index=index, style=style, layout=layout)


def render(scene: Scene) -> Image.Image:
    """Draw a scene as a [96, 96] RGB picture, with jitter in place, size and colour."""
    rng = _generator(scene.split, scene.seed, scene.index, 1)
    # How far a dusky picture is from a clean one; mixed strengths, from hardly at all to a lot.
    strongest = STRONGEST[scene.style]
    strength = float(rng.uniform(0.0, strongest)) if strongest else 0.0
    ground = rng.integers(215, 256, size=3) * (1 - 0.45 * strength)
    big = Image.new("RGB", (SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING), _rgb(ground))
    draw = ImageDraw.Draw(big)
    largest = 22.0 if len(scene.things) == 1 else 14.0  # pixels; a lone thing has room to grow
    for thing in scene.things:
        tint = np.array(COLORS[thing.color]) + rng.integers(-24, 25, size=3)
        faded = tint * (1 - 0.35 * strength) + ground * 0.35 * strength
        radius = float(rng.uniform(8.5, largest)) * (1 - 0.2 * strength)
        center = [
            CELL * (cell + 0.5) + rng.uniform(-3.0, 3.0) for cell in (thing.place % 3, thing.place // 3)
        ]
        _draw_shape(draw, thing.shape, x=center[0], y=center[1], radius=radius, turn=rng.uniform(-0.25, 0.25),
                    fill=_rgb(faded))  # fmt: skip
    if strength:
        _draw_occluders(draw, rng, strength=strength, ground=ground)
    picture = big.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    if not strength:
        return picture
    picture = picture.filter(ImageFilter.GaussianBlur(1.6 * strength))
    noise = rng.normal(0.0, 22.0 * strength, size=(SIDE, SIDE, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def _draw_shape(
    draw: ImageDraw.ImageDraw, shape: str, *, x: float, y: float, radius: float, turn: float,
    fill: tuple[int, int, int],
) -> None:  # fmt: skip
    x, y, radius = x * SUPERSAMPLING, y * SUPERSAMPLING, radius * SUPERSAMPLING
    if shape == "circle":
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)
        return
    if shape == "rectangle":
        half = 0.4 + 0.5 * abs(turn) * 4  # radians: from wide to nearly square
        angles = np.array([half, np.pi - half, np.pi + half, -half])
        radii = np.full(4, radius * 1.1)
    elif shape == "triangle":
        angles, radii = np.arange(3) * 2 * np.pi / 3 - np.pi / 2, np.full(3, radius * 1.15)
    else:  # a five-pointed star
        angles = np.arange(10) * np.pi / 5 - np.pi / 2
        radii = np.where(np.arange(10) % 2 == 0, radius * 1.15, radius * 0.45)
    corners = [
        (x + r * np.cos(a + turn), y + r * np.sin(a + turn)) for a, r in zip(angles, radii, strict=True)
    ]
    draw.polygon(corners, fill=fill)


def _draw_occluders(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, *, strength: float, ground: Any
) -> None:
    """Thin bars, a little darker than the ground, that cover parts of some things."""
    for _ in range(int(rng.integers(0, 1 + round(4 * strength)))):
        ends = rng.uniform(0, SIDE, size=4) * SUPERSAMPLING
        draw.line(list(ends), fill=_rgb(ground * 0.85), width=int(rng.uniform(2, 4) * SUPERSAMPLING))


def _rgb(color: Any) -> tuple[int, int, int]:
    r, g, b = np.clip(color, 0, 255).astype(int)
    return int(r), int(g), int(b)


def _generator(split: Split, seed: int, index: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([_STREAM[split], seed, index, purpose])
