"""Pictures in: a folder, a parquet file or a saved dataset becomes a manifest with content hashes.

A picture that cannot be used is listed with its reason and never stops a run; a source without a single
usable picture does.
"""

import difflib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from visplay.data.decoding import cell_bytes, decode, file_bytes
from visplay.data.rows import Table, dataset_table, is_saved_dataset, parquet_table
from visplay.errors import ConfigError, ImageSourceError
from visplay.schema import MANIFEST
from visplay.storage import write_bytes, write_parquet

MID_GREY = (128, 128, 128)  # an all-black picture counts as padding in some architectures

_PARQUET = {".parquet", ".pq"}
Lists = Literal["first", "refuse"]
# Says why a picture of this width and height cannot be used, or None.
Accepts = Callable[[int, int], str | None]
# Reads the encoded bytes of one source name; raises OSError or ValueError where there are none.
ReadBytes = Callable[[str], bytes]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """The usable pictures of one source, decoded again whenever they are asked for.

    Attributes:
        records: in the order of the source, each content once.
        skipped: what was passed over, in the order of the source.
    """

    records: tuple[ImageRecord, ...]
    skipped: tuple[Skipped, ...]
    _read: ReadBytes = field(repr=False, compare=False)
    _source_of: Mapping[str, str] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def digest(self) -> str:
        """Hash of the pictures' contents in their order, 64 hex digits: what is drawn depends on both."""
        return hashlib.sha256("\n".join(record.key for record in self.records).encode()).hexdigest()

    def load(self, key: str, *, at_least: int | None = None) -> Image.Image:
        """Open the picture with this key, upright and as RGB; `at_least` as for `decode`.

        Raises:
            KeyError: no picture of this set has the key.
            ImageSourceError: the source was changed or taken away since it was read.
        """
        source = self._source_of[key]
        mend = "restore it, or start a new run on the changed pictures"
        try:
            data = self._read(source)
        except (OSError, ValueError) as error:
            raise ImageSourceError(f"picture {source} can no longer be read ({error}); {mend}") from error
        if hashlib.sha256(data).hexdigest() != key:
            raise ImageSourceError(f"picture {source} has changed since the run read it; {mend}")
        return decode(data, at_least=at_least)

    def write_manifest(self, folder: Path) -> None:
        """Write `manifest.parquet` and `skipped.jsonl` into `folder`, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet(folder / "manifest.parquet", [asdict(record) for record in self.records], MANIFEST)
        lines = [json.dumps(asdict(skipped), ensure_ascii=False) + "\n" for skipped in self.skipped]
        write_bytes(folder / "skipped.jsonl", "".join(lines).encode())


def read_images(
    source: str | Path,
    *,
    column: str = "image",
    limit: int | None = None,
    lists: Lists = "first",
    accepts: Accepts | None = None,
) -> ImageSet:
    """Read every picture of a source once and list what can be used.

    Args:
        source: a folder of pictures (with its subfolders, links followed, in the order of their names), a
            parquet file or a folder of them, a folder that `datasets.Dataset.save_to_disk` wrote, or one
            picture.
        column: where the pictures are in a parquet file or dataset: encoded bytes, `{bytes, path}`
            structs, base64 text, paths relative to the source, or lists of these.
        limit: stop after this many usable pictures, >= 1; None for all.
        lists: of a list in the column take the first picture, or skip the row.
        accepts: see `visplay.models.policy.picture_limits`.

    Raises:
        ConfigError: `limit` is below 1.
        ImageSourceError: there is no such source or column, or no usable picture in it.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"images.limit must be >= 1 (or null for all), got {limit}")
    names, read = _entries(source, column, lists)
    return _survey(names, read, limit=limit, shown=str(source), accepts=accepts)


def count_entries(source: str | Path, *, column: str = "image", lists: Lists = "first") -> int:
    """How many pictures a source may hold; none is opened, so some of them may turn out unusable.

    Raises:
        ImageSourceError: there is no such source or column.
    """
    names, _ = _entries(source, column, lists)
    if isinstance(names, Mapping):  # a folder's files, not all of them pictures
        known = Image.registered_extensions()
        return sum(Path(name).suffix.lower() in known for name in names)
    return sum(1 for _ in names)


def reopen_images(
    source: str | Path, *, manifest: Path, column: str = "image", lists: Lists = "first"
) -> ImageSet:
    """Take up the pictures that a written manifest lists, without decoding them all again.

    Args:
        source: what `read_images` read.
        manifest: the `manifest.parquet` that was written then.
        column: what `read_images` was given.
        lists: what `read_images` was given.

    Raises:
        ImageSourceError: there is no such source or column any more.
    """
    _, read = _entries(source, column, lists)
    records = tuple(ImageRecord(**row) for row in pq.read_table(manifest).to_pylist())
    source_of = {record.key: record.source for record in records}
    return ImageSet(records=records, skipped=(), _read=read, _source_of=source_of)


def _entries(source: str | Path, column: str, lists: Lists) -> tuple[Iterable[str], ReadBytes]:
    """The names of a source's entries, in order, and what reads one."""
    path = Path(source).expanduser()
    if not path.exists():
        raise ImageSourceError(
            f"images.source {str(source)!r} does not exist; give a folder of pictures, a parquet file or a"
            " saved dataset, or write synthetic pictures with `visplay pocket images FOLDER --count N`"
        )
    shards: list[Path] = []
    if path.is_dir() and not is_saved_dataset(path):
        files = _folder_files(path)
        shards = [file for file in files.values() if file.suffix.lower() in _PARQUET]
        if not shards or any(file.suffix.lower() in Image.registered_extensions() for file in files.values()):
            return files, lambda name: file_bytes(files[name])
    elif path.is_file() and path.suffix.lower() not in _PARQUET:
        return [path.name], lambda _: file_bytes(path)
    try:
        if path.is_file() or shards:
            table = parquet_table(shards or [path], only=column)
        else:
            import datasets

            saved = datasets.load_from_disk(str(path))
            if isinstance(saved, datasets.DatasetDict):
                raise ImageSourceError(
                    f"images.source {str(source)!r} holds several splits; name one: "
                    + ", ".join(str(path / split) for split in saved)
                )
            table = dataset_table(saved, only=column)
    except (pa.ArrowException, OSError, ValueError) as error:
        what = "is not a readable parquet file" if path.is_file() or shards else "is not a saved dataset"
        raise ImageSourceError(f"images.source {str(path)!r} {what}: {error}") from error
    _require_column(column, list(table.columns), shown=str(path))
    return _table_rows(table, column, lists=lists, base=path.parent if path.is_file() else path)


def _survey(
    names: Iterable[str], read: ReadBytes, *, limit: int | None, shown: str, accepts: Accepts | None
) -> ImageSet:
    records: list[ImageRecord] = []
    skipped: list[Skipped] = []
    source_of: dict[str, str] = {}
    for name in names:
        if limit is not None and len(records) == limit:
            break
        try:
            data = read(name)
        except (OSError, ValueError) as error:
            skipped.append(Skipped(source=name, reason=f"cannot be read: {error}"))
            continue
        key = hashlib.sha256(data).hexdigest()
        if key in source_of:
            skipped.append(Skipped(source=name, reason=f"duplicate of {source_of[key]}"))
            continue
        checked = _size_or_reason(data, accepts)
        if isinstance(checked, str):
            skipped.append(Skipped(source=name, reason=checked))
            continue
        source_of[key] = name
        records.append(ImageRecord(key=key, source=name, width=checked[0], height=checked[1]))
    if not records:
        raise ImageSourceError(_nothing_usable(shown, skipped))
    return ImageSet(records=tuple(records), skipped=tuple(skipped), _read=read, _source_of=source_of)


def _nothing_usable(shown: str, skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return f"images.source {shown!r} is empty; put pictures into it or name another source"
    examples = "; ".join(f"{entry.source}: {entry.reason}" for entry in skipped[:3])
    mend = "name a source with pictures"
    if any(entry.source.endswith(".parquet") for entry in skipped):
        mend = "to use a parquet file, name the file itself"
    return f"images.source {shown!r} has no usable picture among {len(skipped)} entries ({examples}); {mend}"


def _size_or_reason(data: bytes, accepts: Accepts | None) -> tuple[int, int] | str:
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
    if 0 in picture.size:
        return f"zero size: {picture.width} x {picture.height} pixels"
    return (accepts(*picture.size) if accepts else None) or picture.size


def _folder_files(folder: Path) -> dict[str, Path]:
    """Name -> path of every file below a folder; a folder that cannot be opened stands for what is in it."""
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


def _table_rows(table: Table, column: str, *, lists: Lists, base: Path) -> tuple[Iterable[str], ReadBytes]:
    def read(name: str) -> bytes:
        cell = table.read(int(name))[column]
        while isinstance(cell, list) and lists == "first":
            cell = cell[0] if cell else None
        return cell_bytes(cell, base=base)

    return map(str, range(table.count)), read


def _require_column(column: str, existing: Sequence[str], *, shown: str) -> None:
    if column in existing:
        return
    near = difflib.get_close_matches(column, existing, n=1, cutoff=0.5)
    names = ", ".join(map(repr, existing)) or "no columns"
    raise ImageSourceError(
        f"images.column {column!r} is not in {shown!r}, which has {names}"
        + (f"; did you mean {near[0]!r}?" if near else "; set images.column to the one with pictures")
    )


def greyed_out(picture: Image.Image) -> Image.Image:
    """A mid-grey picture of the same size: what the Reasoner gets when it is to answer blind."""
    return Image.new("RGB", picture.size, MID_GREY)
