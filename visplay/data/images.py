"""Read pictures from a folder, a table or a dataset into a manifest with content hashes.

A picture that cannot be used is listed with its reason and does not stop a run. A source without any usable
picture does.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from visplay.data.decoding import cell_bytes, cell_file, decode, file_bytes
from visplay.data.rows import Table, hub_table, is_saved_dataset, is_table, open_table
from visplay.data.survey import Accepts, Entries, ImageRecord, Skipped, survey
from visplay.errors import ConfigError, ImageSourceError, nearest
from visplay.schema import MANIFEST
from visplay.storage import write_bytes, write_parquet

MID_GREY = (128, 128, 128)  # an all-black picture counts as padding in some architectures

_LISTS = ("list", "large_list", "fixed_size_list", "mixed")  # types of columns that may hold lists
HUB = "hub:"  # prefix of a source that is a dataset on the hub


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """The usable pictures of one source, which are decoded on each access.

    Attributes:
        records: the pictures in the order of the source, each content once.
        skipped: the unusable entries in the order of the source.
    """

    records: tuple[ImageRecord, ...]
    skipped: tuple[Skipped, ...]
    _read: Callable[[str], bytes] = field(repr=False, compare=False)
    _source_of: Mapping[str, str] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def digest(self) -> str:
        """Hash of the pictures' contents and order, 64 hex digits; random draws depend on both."""
        return hashlib.sha256("\n".join(record.key for record in self.records).encode()).hexdigest()

    @property
    def counts(self) -> str:
        """`59 pictures, 3 skipped (1 duplicate, 2 unreadable)`."""
        kinds = Counter(re.split(":| of | by ", one.reason)[0] for one in self.skipped)
        why = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        return f"{len(self)} pictures, {len(self.skipped)} skipped" + (f" ({why})" if why else "")

    def load(self, key: str, *, at_least: int | None = None) -> Image.Image:
        """Open the picture with this key, upright and as RGB; `at_least` as for `decode`.

        Raises:
            KeyError: no picture of this set has the key.
            ImageSourceError: the source was changed or removed after it was read.
        """
        return decode(self.encoded(key), at_least=at_least)

    def encoded(self, key: str) -> bytes:
        """The bytes of the picture with this key in the source; raises the same errors as `load`."""
        source = self._source_of[key]
        fix = "restore it, or start a new run on the changed pictures"
        try:
            data = self._read(source)
        except (OSError, ValueError) as error:
            raise ImageSourceError(f"picture {source} can no longer be read ({error}); {fix}") from error
        if hashlib.sha256(data).hexdigest() != key:
            raise ImageSourceError(f"picture {source} has changed since the run read it; {fix}")
        return data

    def write_manifest(self, folder: Path) -> None:
        """Write `manifest.parquet` and `skipped.jsonl` into `folder` atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet(folder / "manifest.parquet", [asdict(record) for record in self.records], MANIFEST)
        lines = [json.dumps(asdict(skipped), ensure_ascii=False) + "\n" for skipped in self.skipped]
        write_bytes(folder / "skipped.jsonl", "".join(lines).encode())


def read_images(
    source: str | Path,
    *,
    column: str = "image",
    limit: int | None = None,
    accepts: Accepts | None = None,
    cache: Path | None = None,
) -> ImageSet:
    """Check every picture of a source and list the usable ones.

    Args:
        source: a folder of pictures (with its subfolders, links followed, in the order of their names), one
            picture, a table (`visplay.data.rows.open_table`), or a dataset on the hub:
            `hub:OWNER/NAME[/SUBSET][@REVISION][:SPLIT]`; the split is `train` by default.
        column: the column with the pictures of a table: encoded bytes, `{bytes, path}` structs, base64
            text, paths relative to the source, or lists of these; each picture in a list is used.
        limit: stop after this many usable pictures, >= 1; None for all.
        accepts: see `visplay.models.processor.picture_limits`.
        cache: file with the results of earlier starts, created if absent; see `visplay.data.survey`.

    Raises:
        ConfigError: `limit` is below 1.
        ImageSourceError: the source or column does not exist, or has no usable picture.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"images.limit must be >= 1 (or null for all), got {limit}")
    entries = _entries(source, column)
    records, skipped = survey(entries, limit=limit, accepts=accepts, cache=cache)
    if not records:
        raise ImageSourceError(_nothing_usable(str(source), skipped))
    return _image_set(records, skipped, entries)


def count_entries(source: str | Path, *, column: str = "image") -> int:
    """Count the pictures of a source without decoding them, so some of them may be unusable.

    Raises:
        ImageSourceError: the source or column does not exist, or is on the hub: nothing is downloaded.
    """
    if str(source).startswith(HUB):
        raise ImageSourceError(f"images.source {str(source)!r} is not counted before it is downloaded")
    entries, known = _entries(source, column), Image.registered_extensions()  # not all files are pictures
    return sum(bool(entries.version) or Path(name).suffix.lower() in known for name in entries.names())


def reopen_images(source: str | Path, *, manifest: Path, column: str = "image") -> ImageSet:
    """Open the pictures in a written manifest without decoding all of them again.

    Args:
        source: the source that `read_images` read.
        manifest: the `manifest.parquet` that was written then.
        column: the column that `read_images` read.

    Raises:
        ImageSourceError: the source or column no longer exists.
    """
    records = [ImageRecord(**row) for row in pq.read_table(manifest).to_pylist()]
    return _image_set(records, [], _entries(source, column))


def _image_set(records: Sequence[ImageRecord], skipped: Sequence[Skipped], entries: Entries) -> ImageSet:
    return ImageSet(
        records=tuple(records), skipped=tuple(skipped), _read=entries.read,
        _source_of={record.key: record.source for record in records},
    )  # fmt: skip


def _of_files(files: dict[str, Path]) -> Entries:
    """The files of a folder as entries, by their names."""
    return Entries(names=lambda: files, read=lambda name: file_bytes(files[name]), file=files.__getitem__)


def _of_column(table: Table, column: str, *, shown: str, base: Path) -> Entries:
    """The rows of a table as entries: one column, in which paths are relative to `base`.

    A row's name is its number; a picture of a list is named `ROW:PLACE`, both from 0.
    """
    if not table.count:
        raise ImageSourceError(_nothing_usable(shown, []))
    if column not in table.columns:
        raise ImageSourceError(
            f"images.column {column!r} is not in {shown!r}{nearest(column, table.columns)}; set it to the "
            "column with pictures"
        )

    def names() -> Iterator[str]:
        may_be_lists = table.columns[column].startswith(_LISTS)
        for row in range(table.count):
            cell = table.read(row).get(column) if may_be_lists else None
            pictures = len(_flat(cell)) if isinstance(cell, list) else 0
            yield from [f"{row}:{place}" for place in range(pictures)] or [str(row)]  # as is an empty row

    def cell(name: str) -> object:
        row, _, place = name.partition(":")
        pictures = _flat(table.read(int(row)).get(column))
        return pictures[int(place or 0)] if pictures else None

    return Entries(
        names=names, version=f"{table.version} {column}",
        read=lambda name: cell_bytes(cell(name), base=base),
        file=lambda name: base / named if (named := cell_file(cell(name))) else None,
    )  # fmt: skip


def _flat(cell: object) -> list[object]:
    """The pictures of a cell, with nested lists flattened."""
    return [picture for one in cell for picture in _flat(one)] if isinstance(cell, list) else [cell]


def _entries(source: str | Path, column: str) -> Entries:
    path, shown = Path(source).expanduser(), str(source)
    if shown.startswith(HUB):
        try:
            table = hub_table(shown.removeprefix(HUB), split="train", only=column)
        except ValueError as error:
            raise ImageSourceError(
                f"images.source: {error}; copy its files here and name their folder"
            ) from error
        return _of_column(table, column, shown=shown, base=Path())
    if not path.exists():
        raise ImageSourceError(
            f"images.source {shown!r} does not exist; give a folder of pictures, a table, a saved dataset or "
            "hub:OWNER/NAME, or write synthetic pictures with `visplay pocket images FOLDER --count N`"
        )
    if path.is_dir() and not is_saved_dataset(path):
        files = _folder_files(path)
        known = Image.registered_extensions()
        if any(file.suffix.lower() in known for file in files.values()) or not is_table(path):
            return _of_files(files)
    elif path.is_file() and not is_table(path):
        return _of_files({path.name: path})
    try:
        table = open_table(path, only=column)
    except (OSError, ValueError) as error:
        raise ImageSourceError(f"images.source {shown!r} cannot be read as a table: {error}") from error
    return _of_column(table, column, shown=str(path), base=path.parent if path.is_file() else path)


def _nothing_usable(shown: str, skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return f"images.source {shown!r} is empty; put pictures into it or name another source"
    examples = "; ".join(f"{entry.source}: {entry.reason}" for entry in skipped[:3])
    fix = "name a source with pictures"
    if any(entry.source.endswith(".parquet") for entry in skipped):
        fix = "to use a parquet file, name the file itself"
    if any("No such file" in entry.reason for entry in skipped):
        fix = "correct the paths, or set images.column to the column with pictures"
    return f"images.source {shown!r} has no usable picture among {len(skipped)} entries ({examples}); {fix}"


def _folder_files(folder: Path) -> dict[str, Path]:
    """Name -> path of every file below a folder; a folder that cannot be opened is an entry itself."""
    found: dict[str, Path] = {}
    seen: set[tuple[int, int]] = set()

    def add(path: Path) -> None:
        # Names need not be UTF-8; what is stored must be.
        name = os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")
        found[name] = path

    def closed(error: OSError) -> None:
        add(Path(os.fsdecode(error.filename)))

    for place, folders, files in os.walk(folder, followlinks=True, onerror=closed):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                add(Path(place, name))
    return dict(sorted(found.items()))


def greyed_out(picture: Image.Image) -> Image.Image:
    """A mid-grey picture of the same size, for blind answers."""
    return Image.new("RGB", picture.size, MID_GREY)
