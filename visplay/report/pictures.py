"""Pictures in a page: small, each embedded once, within a stated number of bytes."""

import base64
import io
from collections.abc import Callable, Iterable

from PIL import Image

from visplay.errors import VisplayError

MOST_PICTURES = 800
MOST_BYTES = 6_000_000  # of all pictures of a page, as they stand in it
SIDE = 240  # pixels of a thumbnail's longer side
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
    lossless = picture.width * picture.height <= 128 * 128  # small drawings: no blur added by the report
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG" if lossless else "JPEG", **({} if lossless else {"quality": 80}))
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


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
