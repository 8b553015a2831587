"""Views of a picture: mild changes of light and frame that keep the answer to nearly every question.

Views do not mirror or rotate, because questions ask about positions, and they keep hues. `votes.views`
distributes the m votes on a question over views; training uses the original picture.
"""

from collections.abc import Callable, Sequence

from PIL import Image, ImageEnhance, ImageFilter, ImageStat

from visplay.config.names import named

View = Callable[[Image.Image], Image.Image]


def _ground(picture: Image.Image) -> tuple[int, ...]:
    """The mean colour, which fills areas outside the original picture."""
    return tuple(round(value) for value in ImageStat.Stat(picture).mean)


def _farther(picture: Image.Image) -> Image.Image:
    """Seen from 6 % farther away, in the same frame."""
    inner = (max(1, round(picture.width * 0.94)), max(1, round(picture.height * 0.94)))
    frame = Image.new(picture.mode, picture.size, _ground(picture))
    place = ((picture.width - inner[0]) // 2, (picture.height - inner[1]) // 2)
    frame.paste(picture.resize(inner, Image.Resampling.LANCZOS), place)
    return frame


VIEWS: dict[str, View] = {
    "as it is": lambda picture: picture,
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "less contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.75),
    "softer": lambda picture: picture.filter(ImageFilter.GaussianBlur(0.004 * max(picture.size))),
    "farther": _farther,
}


def views_of(names: Sequence[str]) -> dict[str, View]:
    """The views with these names, in order.

    Args:
        names: keys of VIEWS, or `module:function` of custom functions from an RGB picture to another one.

    Raises:
        ConfigError: a name is neither.
    """
    return {name: VIEWS[name] if name in VIEWS else named(name, key="votes.views") for name in names}


def shared_out(samples: int, views: int) -> list[int]:
    """The number of samples for each view; the first views get the remainder.

    Args:
        samples: m, >= 1.
        views: k, >= 1.
    """
    return [samples // views + (place < samples % views) for place in range(views)]
