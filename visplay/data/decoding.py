"""Read encoded pictures from files or table cells, and decode them."""

import base64
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # do not reject pictures with long texts
_LARGEST = 2**30  # bytes of one picture's file, so that archives beside pictures are not read
_PNG = b"\x89PNG\r\n\x1a\n"
_PIXELS_ALONE = {
    "jfif", "jfif_version", "jfif_unit", "jfif_density", "adobe", "adobe_transform", "progressive",
    "progression", "dpi", "icc_profile", "gamma", "srgb", "chromaticity", "interlace", "aspect",
}  # fmt: skip
_DATA_URI = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_BASE64 = re.compile(r"iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk0|SUkq|TU0A|[\w+/-]{256,}={0,2}$", re.ASCII)


def file_bytes(path: Path) -> bytes:
    """Read the bytes of a file that may be a picture.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a file, or it is too large for a picture.
    """
    status = path.stat()
    if path.is_dir():
        os.listdir(path)  # raises the reason why it cannot be opened
    if not path.is_file():
        raise ValueError("not a regular file")
    if status.st_size > _LARGEST:
        raise ValueError(f"{status.st_size} bytes, no picture is larger than {_LARGEST}")
    return path.read_bytes()


def cell_bytes(cell: object, *, base: Path) -> bytes:
    """Read the encoded bytes of one table cell.

    Raises:
        ValueError: the cell has no picture.
        OSError: it names a file that cannot be read.
    """
    if isinstance(cell, Mapping):
        data = cell.get("bytes")
        return cell_bytes(data if data is not None else cell.get("path"), base=base)
    if isinstance(cell, bytes):
        said = cell.decode("ascii") if cell.isascii() else ""
        return _decoded(said) if _DATA_URI.match(said) or _BASE64.match(said) else cell
    if isinstance(cell, str):
        return _decoded(cell) if _holds_picture(cell) else file_bytes(base / _named_file(cell))
    if isinstance(cell, list):
        raise ValueError("a list, not a picture")
    raise ValueError("no picture in this row" if cell is None else f"a {type(cell).__name__}, not a picture")


def cell_file(cell: object) -> str:
    """The file that a table cell names, relative to the table; "" if the cell has the picture itself."""
    if isinstance(cell, Mapping):
        return "" if cell.get("bytes") is not None else cell_file(cell.get("path"))
    return _named_file(cell) if isinstance(cell, str) and not _holds_picture(cell) else ""


def _holds_picture(text: str) -> bool:
    """Whether a text is an encoded picture, not a file name: base64, or a data URI of any type."""
    return _DATA_URI.match(text) is not None or _BASE64.match("".join(text.split())) is not None


def _named_file(text: str) -> str:
    """The path in a text, which may be a file:// address."""
    address = urlsplit(text) if text[:7].lower() == "file://" else None
    return url2pathname(address.path) if address else text


def _decoded(text: str) -> bytes:
    """The bytes of a data URI or of base64 text in either alphabet, with any line ends and padding."""
    if uri := _DATA_URI.match(text):
        text = text[uri.end() :]
        if ";base64" not in uri[0].lower():
            return unquote_to_bytes(text)
        text = unquote(text)
    text = "".join(text.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def decode(data: bytes, *, at_least: int | None = None) -> Image.Image:
    """Decode the first frame upright, on a white background, with eight bits per channel.

    With `at_least`, a JPEG may be decoded at a fraction of its size, which is faster; no side is then shorter
    than this number of pixels.
    """
    with Image.open(io.BytesIO(data)) as opened:
        if at_least is not None:
            opened.draft(None, (at_least, at_least))
        opened.load()
        picture = _upright(opened)
    depth, colours = (data[24], data[25]) if data.startswith(_PNG) else (8, 0)
    if colours == 0 and depth in (2, 4) and isinstance(level := picture.info.get("transparency"), int):
        picture.info["transparency"] = level * 255 // (2**depth - 1)  # Pillow scales only the pixels
    if picture.mode.startswith("I;16"):
        levels = np.asarray(picture).astype(np.float64)
        levels = np.where(levels == picture.info.get("transparency"), 255, levels / 257)
        return Image.fromarray(np.rint(levels).astype(np.uint8)).convert("RGB")
    if picture.mode in {"I", "F"}:
        raise ValueError("levels of 32 bits, whose range is unknown; save it with 8 or 16 bits per channel")
    if picture.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def to_hand_on(data: bytes) -> tuple[bytes, str]:
    """Encode a picture for publication as `jpg` or `png`, without metadata.

    A JPEG or PNG with eight bits per channel and without metadata is unchanged. Other pictures are decoded as
    for a role and encoded again without EXIF, location or comments: a JPEG with quality 95, all others as
    PNG.
    """
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        kind, plain = opened.format, opened.mode in {"RGB", "L"} and opened.info.keys() <= _PIXELS_ALONE
        plain = plain and not getattr(opened, "is_animated", False)
    if plain and kind in {"JPEG", "PNG"}:
        return data, "jpg" if kind == "JPEG" else "png"
    written, lossy = io.BytesIO(), kind in {"JPEG", "MPO"}
    # Copy only the levels, because Pillow would also write metadata of the file.
    picture = Image.fromarray(np.asarray(decode(data)))
    picture.save(written, "JPEG" if lossy else "PNG", **({"quality": 95} if lossy else {}))
    return written.getvalue(), "jpg" if lossy else "png"


def _upright(picture: Image.Image) -> Image.Image:
    """Rotate a picture according to its EXIF data; damaged EXIF data is ignored."""
    try:
        return ImageOps.exif_transpose(picture) if picture.getexif() else picture.copy()
    # Pillow raises many exceptions on damaged bytes.
    except Exception:
        return picture.copy()
