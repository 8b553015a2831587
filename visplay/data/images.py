"""Pictures in: a folder, a parquet file or a saved dataset becomes a manifest with content hashes.

A picture that cannot be used is listed with its reason and never stops a run; a source without a single
usable picture does.
"""

import difflib
import hashlib
import io
import json
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps, UnidentifiedImageError

from visplay.errors import ConfigError, ImageSourceError
from visplay.storage import write_bytes

MID_GREY = (128, 128, 128)  # an all-black picture counts as padding in some architectures

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

    def manifest(self) -> list[dict[str, Any]]:
        """The rows of `manifest.parquet`, in the order of the source."""
        return [asdict(record) for record in self.records]

    def write_skipped(self, folder: Path) -> None:
        """Write `skipped.jsonl` into `folder`, whole or not at all."""
        lines = [json.dumps(asdict(skipped), ensure_ascii=False) + "\n" for skipped in self.skipped]
        write_bytes(folder / "skipped.jsonl", "".join(lines).encode())


def read_images(source: str | Path, *, column: str = "image", limit: int | None = None) -> ImageSet:
    """Read every picture of a source once and list what can be used.

    Args:
        source: a folder of pictures (with its subfolders, in the order of their names), a parquet file,
            a folder that `datasets.Dataset.save_to_disk` wrote, or one picture.
        column: where the pictures are in a parquet file or dataset: encoded bytes, `{bytes, path}`
            structs, or paths relative to the source.
        limit: stop after this many usable pictures, >= 1; None for all.

    Raises:
        ConfigError: `limit` is below 1.
        ImageSourceError: there is no such source or column, or no usable picture in it.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"images.limit must be >= 1 (or null for all), got {limit}")
    names, read = _entries(source, column)
    return _survey(names, read, limit=limit, shown=str(source))


def reopen_images(source: str | Path, *, manifest: Path, column: str = "image") -> ImageSet:
    """Take up the pictures that a written manifest lists, without decoding them all again.

    Args:
        source: what `read_images` read.
        manifest: the `manifest.parquet` that was written then.
        column: what `read_images` was given.

    Raises:
        ImageSourceError: there is no such source or column any more.
    """
    _, read = _entries(source, column)
    records = tuple(ImageRecord(**row) for row in pq.read_table(manifest).to_pylist())
    source_of = {record.key: record.source for record in records}
    return ImageSet(records=records, skipped=(), _read=read, _source_of=source_of)


def _entries(source: str | Path, column: str) -> tuple[Iterable[str], ReadBytes]:
    """The names of a source's entries, in order, and what reads one."""
    path = Path(source).expanduser()
    if not path.exists():
        raise ImageSourceError(
            f"images.source {str(source)!r} does not exist; give a folder of pictures, a parquet file or a"
            " saved dataset, or write synthetic pictures with `visplay pocket images FOLDER --count N`"
        )
    if path.is_file() and path.suffix.lower() in {".parquet", ".pq"}:
        return _parquet_rows(path, column)
    if path.is_file():
        return [path.name], lambda _: path.read_bytes()
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        return _dataset_rows(path, column)
    return _folder_files(path)


def _survey(names: Iterable[str], read: ReadBytes, *, limit: int | None, shown: str) -> ImageSet:
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
        checked = _size_or_reason(data)
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


def _size_or_reason(data: bytes) -> tuple[int, int] | str:
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
    return picture.size


def decode(data: bytes, *, at_least: int | None = None) -> Image.Image:
    """Decode the first frame as it is meant to be seen: upright, on white, eight bits a channel.

    Where `at_least` is given, a JPEG may come out as a fraction of its size, in a fraction of the time, with
    no side shorter than so many pixels.
    """
    with Image.open(io.BytesIO(data)) as opened:
        if at_least is not None:
            opened.draft(None, (at_least, at_least))
        opened.load()
        picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I;16"):
        return _from_levels(np.asarray(picture).astype(np.float64) / 257)
    if picture.mode in {"I", "F"}:  # no fixed range: the darkest value is black, the brightest white
        levels = np.nan_to_num(np.asarray(picture).astype(np.float64))
        spread = float(levels.max() - levels.min()) or 1.0
        return _from_levels((levels - levels.min()) * 255 / spread)
    if picture.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _from_levels(levels: Any) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).convert("RGB")


def _folder_files(folder: Path) -> tuple[list[str], ReadBytes]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = [file.as_posix() for file in files if not any(part.startswith(".") for part in file.parts)]
    return sorted(names), lambda name: (folder / name).read_bytes()


def _parquet_rows(path: Path, column: str) -> tuple[Iterator[str], ReadBytes]:
    try:
        parquet = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ImageSourceError(
            f"images.source {str(path)!r} is not a readable parquet file: {error}"
        ) from error
    _require_column(column, parquet.schema_arrow.names, shown=str(path))
    sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
    starts = [0, *accumulate(sizes)]

    @lru_cache(maxsize=2)  # rows are mostly asked for in order, and a row group is read as a whole
    def group_column(group: int) -> pa.ChunkedArray:
        return parquet.read_row_group(group, columns=[column]).column(column)

    def read(name: str) -> bytes:
        group = bisect_right(starts, int(name)) - 1
        return cell_bytes(group_column(group)[int(name) - starts[group]].as_py(), base=path.parent)

    return map(str, range(starts[-1])), read


def _dataset_rows(folder: Path, column: str) -> tuple[Iterator[str], ReadBytes]:
    import datasets  # takes seconds to import, and a folder of pictures needs none of it

    if (folder / "dataset_dict.json").is_file():
        splits = json.loads((folder / "dataset_dict.json").read_text())["splits"]
        raise ImageSourceError(
            f"images.source {str(folder)!r} holds several splits; name one: "
            + ", ".join(str(folder / split) for split in splits)
        )
    saved = datasets.load_from_disk(str(folder))
    assert isinstance(saved, datasets.Dataset)
    _require_column(column, saved.column_names, shown=str(folder))
    rows = saved.select_columns([column])
    if isinstance(rows.features[column], datasets.Image):
        rows = rows.cast_column(column, datasets.Image(decode=False))

    def read(name: str) -> bytes:
        return cell_bytes(rows[int(name)][column], base=folder)

    return map(str, range(len(rows))), read


def _require_column(column: str, existing: Sequence[str], *, shown: str) -> None:
    if column in existing:
        return
    near = difflib.get_close_matches(column, existing, n=1, cutoff=0.5)
    names = ", ".join(map(repr, existing)) or "no columns"
    raise ImageSourceError(
        f"images.column {column!r} is not in {shown!r}, which has {names}"
        + (f"; did you mean {near[0]!r}?" if near else "; set images.column to the one with pictures")
    )


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
        return (base / cell).read_bytes()
    raise ValueError("no picture in this row" if cell is None else f"a {type(cell).__name__}, not a picture")


def greyed_out(picture: Image.Image) -> Image.Image:
    """A mid-grey picture of the same size: what the Reasoner gets when it is to answer blind."""
    return Image.new("RGB", picture.size, MID_GREY)
