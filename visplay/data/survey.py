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
from typing import Any, Protocol

from PIL import Image, UnidentifiedImageError

from visplay.data.decoding import decode
from visplay.errors import CorruptArtifact
from visplay.storage import append_jsonl, file_stamp, read_jsonl, write_text

_LINE = {"source", "file", "version", "stamp", "key", "width", "height"}
AT_ONCE = 1000  # looks between two writes of what was seen: a kill costs as many
Accepts = Callable[
    [int, int], str | None
]  # says why a picture of this width and height cannot be used, or None


class Entries(Protocol):
    """The entries of one source, in their order."""

    @property
    def version(self) -> str:
        """Changes with any change of a table's own files; "" where every entry is a file."""
        ...

    def names(self) -> Iterable[str]:
        """Name relative to the folder, or row number."""
        ...

    def file(self, name: str) -> str:
        """The file that holds an entry, by a name that `path` takes; "" for the table's own."""
        ...

    def path(self, file: str) -> Path:
        """Where such a file lies."""
        ...

    def read(self, name: str) -> bytes:
        """Encoded bytes of an entry.

        Raises:
            OSError: they cannot be read.
            ValueError: there are none.
        """
        ...


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
    seen = _Seen(cache, entries)
    records: dict[str, ImageRecord] = {}
    skipped: list[Skipped] = []
    for name in entries.names():
        if limit is not None and len(records) == limit:
            break
        look = seen.look(name)
        reason = look if isinstance(look, str) else None
        if isinstance(look, ImageRecord):
            if look.key in records:
                reason = f"duplicate of {records[look.key].source}"
            elif accepts is not None:
                reason = accepts(look.width, look.height)
            if reason is None:
                records[look.key] = look
        if reason is not None:
            skipped.append(Skipped(source=name, reason=reason))
    seen.write()
    return list(records.values()), skipped


class _Seen:
    """What is known of the entries that were looked at before, and of those that are now."""

    def __init__(self, cache: Path | None, entries: Entries) -> None:
        self._cache, self._entries = cache, entries
        self._known: dict[str, dict[str, Any]] = {}
        self._new: list[dict[str, Any]] = []
        try:
            lines = read_jsonl(cache) if cache else []
            self._known = {line["source"]: line for line in lines if line.keys() >= _LINE}
            self._stale = len(lines) - len(self._known)
        except (CorruptArtifact, AttributeError, KeyError, TypeError):  # then everything is looked at
            self._stale = 1

    def look(self, name: str) -> ImageRecord | str:
        """The picture of an entry, or why it cannot be used; opened where it is not known."""
        line = self._known.get(name)
        if line is not None and self._holds(name, line):
            return _record(line)
        self._stale += self._known.pop(name, None) is not None
        try:
            file = self._entries.file(name)
            before = file_stamp(self._entries.path(file)) if file else None
            data = self._entries.read(name)
        except (OSError, ValueError) as error:
            return f"cannot be read: {error}"
        size = size_or_reason(data)
        if isinstance(size, str):
            return size
        line = {
            "source": name, "file": file, "version": self._entries.version, "stamp": before,
            "key": hashlib.sha256(data).hexdigest(), "width": size[0], "height": size[1],
        }  # fmt: skip
        if before is not None or not file:
            self._known[name] = line
            self._new.append(self._known[name])
        if len(self._new) == AT_ONCE:
            self._append()
        return _record(line)

    def write(self) -> None:
        """Write what is new, and only what is known where the file holds lines of what is no more."""
        if self._stale and self._cache is not None:
            write_text(self._cache, "".join(f"{json.dumps(line)}\n" for line in self._known.values()))
        else:
            self._append()

    def _append(self) -> None:
        if self._cache is not None and self._new:
            append_jsonl(self._cache, *self._new)
        self._new.clear()

    def _holds(self, name: str, line: dict[str, Any]) -> bool:
        """Whether a line tells of what is there now."""
        if line["version"] != self._entries.version:
            return False
        file = line["file"]
        return not file or line["stamp"] == file_stamp(self._entries.path(file))


def _record(line: dict[str, Any]) -> ImageRecord:
    return ImageRecord(key=line["key"], source=line["source"], width=line["width"], height=line["height"])


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
