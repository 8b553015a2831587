"""Encoded pictures: their bytes from a file or a table's cell, and what they look like when decoded."""

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

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # a long text costs no picture
_LARGEST = 2**30  # bytes of one picture's file; an archive that lies beside it is not read
_PNG = b"\x89PNG\r\n\x1a\n"
_PIXELS_ALONE = {
    "jfif", "jfif_version", "jfif_unit", "jfif_density", "adobe", "adobe_transform", "progressive",
    "progression", "dpi", "icc_profile", "gamma", "srgb", "chromaticity", "interlace", "aspect",
}  # fmt: skip
_DATA_URI = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_BASE64 = re.compile(r"iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk0|SUkq|TU0A|[\w+/-]{256,}={0,2}$", re.ASCII)


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
        said = cell.decode("ascii") if cell.isascii() else ""
        return _decoded(said) if _DATA_URI.match(said) or _BASE64.match(said) else cell
    if isinstance(cell, str):
        return _decoded(cell) if _holds_picture(cell) else file_bytes(base / _named_file(cell))
    if isinstance(cell, list):
        raise ValueError("a list, not a picture")
    raise ValueError("no picture in this row" if cell is None else f"a {type(cell).__name__}, not a picture")


def cell_file(cell: object) -> str:
    """The file that a table cell names, relative to the table; "" where it holds the picture itself."""
    if isinstance(cell, Mapping):
        return "" if cell.get("bytes") is not None else cell_file(cell.get("path"))
    return _named_file(cell) if isinstance(cell, str) and not _holds_picture(cell) else ""


def _holds_picture(text: str) -> bool:
    """Whether a text is an encoded picture and no file's name: base64, or a data URI of any type."""
    return _DATA_URI.match(text) is not None or _BASE64.match("".join(text.split())) is not None


def _named_file(text: str) -> str:
    """The path that a text names; it may be a file:// address."""
    address = urlsplit(text) if text[:7].lower() == "file://" else None
    return url2pathname(address.path) if address else text


def _decoded(text: str) -> bytes:
    """The bytes of a data URI, or of base64 text in either alphabet, whatever its line ends and padding."""
    if uri := _DATA_URI.match(text):
        text = text[uri.end() :]
        if ";base64" not in uri[0].lower():
            return unquote_to_bytes(text)
        text = unquote(text)
    text = "".join(text.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


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
    depth, colours = (data[24], data[25]) if data.startswith(_PNG) else (8, 0)
    if colours == 0 and depth in (2, 4) and isinstance(level := picture.info.get("transparency"), int):
        picture.info["transparency"] = level * 255 // (2**depth - 1)  # Pillow scales the pixels alone
    if picture.mode.startswith("I;16"):
        levels = np.asarray(picture).astype(np.float64)
        levels = np.where(levels == picture.info.get("transparency"), 255, levels / 257)
        return Image.fromarray(np.rint(levels).astype(np.uint8)).convert("RGB")
    if picture.mode in {"I", "F"}:
        raise ValueError("levels of 32 bits, whose range nothing tells; save it with 8 or 16 bits a channel")
    if picture.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def to_hand_on(data: bytes) -> tuple[bytes, str]:
    """An encoded picture as it may leave the machine, `jpg` or `png`: what is seen of it and nothing else.

    A JPEG or PNG of eight bits a channel that says nothing beside its pixels stays as it is. Any other is
    decoded as for a role and encoded anew, without EXIF, place or comments: what was a JPEG as one of
    quality 95, the rest as PNG.
    """
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        kind, plain = opened.format, opened.mode in {"RGB", "L"} and opened.info.keys() <= _PIXELS_ALONE
        plain = plain and not getattr(opened, "is_animated", False)
    if plain and kind in {"JPEG", "PNG"}:
        return data, "jpg" if kind == "JPEG" else "png"
    written, lossy = io.BytesIO(), kind in {"JPEG", "MPO"}
    # Made of the levels alone: Pillow would write what it still knows of the file.
    picture = Image.fromarray(np.asarray(decode(data)))
    picture.save(written, "JPEG" if lossy else "PNG", **({"quality": 95} if lossy else {}))
    return written.getvalue(), "jpg" if lossy else "png"


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as EXIF says; broken EXIF says nothing."""
    try:
        return ImageOps.exif_transpose(picture) if picture.getexif() else picture.copy()
    # Pillow raises whatever broken bytes lead it to.
    except Exception:
        return picture.copy()
