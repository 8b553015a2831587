"""Encoded pictures: their bytes from a file or a table's cell, and what they look like when decoded."""

import base64
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_LARGEST = 2**30  # bytes of one picture's file; an archive that lies beside it is not read
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_NO_DATA = 1e30  # of float pictures: values beyond are marks for "nothing measured here"
_BASE64 = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "Qk0")  # how PNG, JPEG, GIF, WebP and BMP begin


def file_bytes(path: Path) -> bytes:
    """The bytes of a file that may be a picture.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file, or too large for a picture.
    """
    status = path.stat()
    if path.is_dir():
        os.listdir(path)  # raises what kept it closed
    if not path.is_file():
        raise ValueError("not a regular file")
    if status.st_size > _LARGEST:
        raise ValueError(f"{status.st_size} bytes, no picture is larger than {_LARGEST}")
    return path.read_bytes()


def cell_bytes(cell: object, *, base: Path) -> bytes:
    """Encoded bytes of one table cell.

    Raises:
        ValueError: the cell holds no picture.
        OSError: it names a file that cannot be read.
    """
    if isinstance(cell, Mapping):
        data = cell.get("bytes")
        return cell_bytes(data if data is not None else cell.get("path"), base=base)
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, str):
        _, comma, text = cell.partition(",") if cell.startswith("data:image/") else ("", "", cell)
        if comma or text.startswith(_BASE64):
            return base64.b64decode(text, validate=True)
        return file_bytes(base / cell)
    if isinstance(cell, list):
        raise ValueError("a list, not a picture; images.lists=first takes the first of a list")
    raise ValueError("no picture in this row" if cell is None else f"a {type(cell).__name__}, not a picture")


def decode(data: bytes, *, at_least: int | None = None) -> Image.Image:
    """Decode the first frame as it is meant to be seen: upright, on white, eight bits a channel.

    Where `at_least` is given, a JPEG may come out as a fraction of its size, in a fraction of the time, with
    no side shorter than so many pixels.
    """
    with Image.open(io.BytesIO(data)) as opened:
        if at_least is not None:
            opened.draft(None, (at_least, at_least))
        opened.load()
        picture = _upright(opened)
    if picture.mode.startswith("I;16"):
        levels = np.asarray(picture).astype(np.float64)
        clear = picture.info.get("transparency")
        return _from_levels(
            np.where(levels == clear, 255, levels / 257) if clear is not None else levels / 257
        )
    if picture.mode in {"I", "F"}:
        return _from_levels(_eight_bits(np.asarray(picture).astype(np.float64), whole=picture.mode == "I"))
    if picture.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as EXIF says; broken EXIF says nothing."""
    try:
        turn = _TURNS.get(int(picture.getexif().get(_ORIENTATION, 1)))
    # Pillow raises whatever broken bytes lead it to.
    except Exception:
        turn = None
    return picture.transpose(turn) if turn is not None else picture.copy()


def _eight_bits(levels: Any, *, whole: bool) -> Any:
    """Levels of 32 bits as 0 to 255, by the smallest usual range that holds them all.

    0 to 1 (floats only), 0 to 255 and 0 to 65535 are taken as such ranges; beyond, the darkest is black and
    the brightest white. What is no number, or 1e30 and more in magnitude, is black and counts for no range.
    """
    measured = np.isfinite(levels) & (np.abs(levels) < _NO_DATA)
    if not measured.any():
        return np.zeros_like(levels)
    low, high = float(levels[measured].min()), float(levels[measured].max())
    levels = np.where(measured, levels, low)
    if low >= 0 and high <= 65535:
        scaled = levels * 255 if high <= 1 and not whole else levels if high <= 255 else levels / 257
    else:
        scaled = (levels - low) * 255 / ((high - low) or 1.0)
    return np.where(measured, scaled, 0)


def _from_levels(levels: Any) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).convert("RGB")
