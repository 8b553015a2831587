"""Looking at each picture of a source once: what can be used, and what is known of it at the next start.

A look is a hash and a full decode, 18 ms for 1.2 MP. What was seen is kept as JSON lines, each with size and
time of the file that held the picture; where these are as they were, it is not opened again. That it is still
the same is seen when it is used (`ImageSet.load`). What could not be used is looked at again at every start.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from visplay.data.decoding import decode
from visplay.storage import append_jsonl, file_stamp, write_text

AT_ONCE = 1000  # looks between two writes of what was seen: a kill costs as many
Accepts = Callable[[int, int], str | None]  # why a picture of this width and height cannot be used, or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """The entries of one source.

    Attributes:
        names: in the order of the source: names relative to the folder, or row numbers.
        read: encoded bytes of an entry; raises OSError or ValueError where there are none.
        file: the file that holds an entry, None for the table's own.
        version: changes with any change of a table's own files; "" where every entry is a file.
    """

    names: Callable[[], Iterable[str]]
    read: Callable[[str], bytes]
    file: Callable[[str], Path | None]
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One usable picture.

    Attributes:
        key: sha256 of the encoded bytes, in hex.
        source: name relative to the folder, or row number.
        width: pixels, as seen (after EXIF rotation).
        height: pixels, as seen.
    """

    key: str
    source: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """One entry of the source that is not used, and why."""

    source: str
    reason: str


def survey(
    entries: Entries, *, limit: int | None, accepts: Accepts | None, cache: Path | None
) -> tuple[list[ImageRecord], list[Skipped]]:
    """The usable pictures of a source in its order, each content once, and what was passed over.

    Args:
        entries: of the source.
        limit: stop after so many usable ones.
        accepts: asked about each size, also of pictures that are not opened again.
        cache: file of what was seen at earlier starts; None looks at everything.
    """
    before = _seen(cache)
    known, new = dict(before), list[Any]()
    records: dict[str, ImageRecord] = {}
    skipped: list[Skipped] = []
    for name in entries.names():
        if limit is not None and len(records) == limit:
            break
        line: dict[str, Any] | str | None = known.get(name)
        if not isinstance(line, dict) or not _holds(line, entries):
            known.pop(name, None)
            line = _look(name, entries)
            if isinstance(line, dict) and (line["stamp"] or not line["file"]):
                known[name] = line
                new.append(line)
        reason: str | None
        if isinstance(line, dict):
            record = ImageRecord(**{key: line[key] for key in ("key", "source", "width", "height")})
            reason = accepts(record.width, record.height) if accepts else None
            if record.key in records:
                reason = f"duplicate of {records[record.key].source}"
            if reason is None:
                records[record.key] = record
        else:
            reason = line
        if reason is not None:
            skipped.append(Skipped(source=name, reason=reason))
        if cache and len(new) == AT_ONCE:
            append_jsonl(cache, *new)
            new.clear()
    if cache and known != before:
        write_text(cache, "".join(f"{json.dumps(line)}\n" for line in known.values()))
    return list(records.values()), skipped


def _seen(cache: Path | None) -> dict[str, dict[str, Any]]:
    """What a file says that was seen, by name; a line that is damaged says nothing."""
    found = {}
    for text in cache.read_text(errors="replace").split("\n") if cache and cache.exists() else ():
        try:
            line = json.loads(text)
            if line.keys() >= {"source", "file", "version", "stamp", "key", "width", "height"}:
                found[line["source"]] = line
        except (ValueError, AttributeError, TypeError):
            continue
    return found


def _holds(line: dict[str, Any], entries: Entries) -> bool:
    """Whether a line tells of what is there now."""
    if line["version"] != entries.version:
        return False
    return not line["file"] or line["stamp"] == file_stamp(line["file"])


def _look(name: str, entries: Entries) -> dict[str, Any] | str:
    """What is to be known of an entry, or why it cannot be used."""
    try:
        file = entries.file(name)
        stamp = file_stamp(file) if file else None
        data = entries.read(name)
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    size = size_or_reason(data)
    if isinstance(size, str):
        return size
    return {
        "source": name, "file": str(file or ""), "version": entries.version, "stamp": stamp,
        "key": hashlib.sha256(data).hexdigest(), "width": size[0], "height": size[1],
    }  # fmt: skip


def size_or_reason(data: bytes) -> tuple[int, int] | str:
    """Width and height as seen, or why the picture cannot be used."""
    if not data:
        return "zero size: no bytes"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oddities of a file that still decodes
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = decode(data)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            return f"decompression bomb: {error}"
        except UnidentifiedImageError:
            return "unreadable: not an image format that Pillow knows"
        # Decoders raise whatever broken bytes lead them to (SyntaxError, struct.error, KeyError, ...).
        except Exception as error:
            return f"unreadable: {error or type(error).__name__}"
    return picture.size if 0 not in picture.size else f"zero size: {picture.width} x {picture.height} pixels"
