"""Pictures in a page: small, each embedded once, within a stated number of bytes."""

import base64
import io
from collections.abc import Callable, Iterable
from typing import Any

from PIL import Image

from visplay.errors import VisplayError

MOST_PICTURES = 800
MOST_BYTES = 8_000_000  # of all pictures of a page, as they stand in it
SIDE = 240  # pixels of a thumbnail's longer side
LARGE = 10_000  # bytes of a small drawing
LoadImage = Callable[[str], Image.Image]


def thumbnail(key: str, load_image: LoadImage | None) -> str:
    """A picture as a data URI, or "" where it cannot be loaded: a report must not fail for a lost picture."""
    if load_image is None:
        return ""
    try:
        picture = load_image(key).convert("RGB")
    except (VisplayError, OSError, KeyError, ValueError):
        return ""
    picture.thumbnail((SIDE, SIDE))
    small = picture.width * picture.height <= 128 * 128  # small drawings: no blur added by the report ...
    kind, data = "png", _encoded(picture, "PNG") if small else b""
    if not small or len(data) > LARGE:  # ... unless they are noise, of which a lossless file is large
        kind, data = "jpeg", _encoded(picture, "JPEG", quality=90 if small else 80)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


def thumbnails(
    keys: Iterable[str], load_image: LoadImage | None, *, made: dict[str, str],
    most: int = MOST_PICTURES, most_bytes: int = MOST_BYTES,
) -> dict[str, str]:  # fmt: skip
    """The first pictures that there is room for, by key; those that there is no room for are left out.

    Args:
        keys: the most wanted first.
        load_image: gives the picture of a key; None leaves every picture "".
        made: thumbnails of earlier calls, taken from there and added to.
        most: pictures.
        most_bytes: of all of them.
    """
    found: dict[str, str] = {}
    room = most_bytes
    for key in keys:
        if len(found) == most:
            break
        made[key] = made.get(key) or thumbnail(key, load_image)
        room -= len(made[key])
        if room < 0:
            break
        found[key] = made[key]
    return found
