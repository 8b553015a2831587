"""Write files atomically, and detect damaged files by checksums.

A file is written under a temporary name, synced and renamed. A *checkpoint part* is a small JSON file of an
unfinished step with its own checksum and optionally those of files which it covers. Parts that a kill or a
bad disk has damaged are detected and redone.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from visplay.errors import CorruptArtifact

PARTIAL = ".partial"  # suffix of incomplete files and folders
GROUP = 10_000  # rows of a parquet file's row group
TICK = 20_000_000  # nanoseconds within which a file could be written to twice and keep its time


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write to; it exists after the block ends, and does not exist if the block fails."""
    scratch = path.with_name(path.name + PARTIAL)
    try:
        with scratch.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically; it is on disk when this returns."""
    with written(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> None:
    """Write rows as parquet atomically; missing values are null, unknown columns are errors.

    Row groups have `GROUP` rows, so that a reader of some columns or rows need not hold the whole file.
    """
    for row in rows:
        assert row.keys() <= set(schema.names), sorted(row.keys() - set(schema.names))
    with written(path) as file, pq.ParquetWriter(file, schema) as writer:
        for start in range(0, max(1, len(rows)), GROUP):
            writer.write_table(pa.Table.from_pylist(list(rows[start : start + GROUP]), schema=schema))


def append_jsonl(path: Path, *rows: dict[str, Any]) -> None:
    """Append JSON lines and wait until they are on disk; a truncated last line is overwritten."""
    with path.open("ab+") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
        file.flush()
        os.fsync(file.fileno())


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a JSON-lines file; a truncated last line is skipped.

    Raises:
        CorruptArtifact: another line is not JSON.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            rows += [dict(json.loads(line))] if line else []
        except (ValueError, TypeError) as error:
            raise CorruptArtifact(f"{path}, line {number} is damaged: {error}") from error
    return rows


def write_part(path: Path, value: Any, *, covers: Path | None = None) -> None:
    """Write a JSON value with its checksum and those of the files in a folder beside or below it."""
    files = checksums(covers) if covers else {}
    if covers:
        sync_files(covers)
    beside = {str((covers / name).relative_to(path.parent)): d for name, d in files.items() if covers}
    body = json.dumps({"value": value, "files": beside})
    write_text(path, f"{_sha256(body.encode())}\n{body}\n")


def read_part(path: Path) -> Any:
    """Read what `write_part` wrote; None if it, or a file that it covers, is missing or damaged."""
    try:
        check, body, _ = path.read_bytes().split(b"\n")
        if check.decode(errors="replace") != _sha256(body):
            return None
        part = json.loads(body)
        intact = all(_sha256((path.parent / name).read_bytes()) == d for name, d in part["files"].items())
    except (OSError, ValueError):
        return None
    return part["value"] if intact else None


def damaged_parts(folder: Path) -> list[Path]:
    """The checkpoint parts in a folder that `read_part` rejects."""
    return [path for path in sorted(folder.glob("*.json")) if read_part(path) is None]


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder by its relative path."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def sync_files(folder: Path, *, without: Sequence[str] = ()) -> None:
    """Wait until all files and folder entries below a folder are on disk; `without` is skipped."""
    for path in [folder, *folder.rglob("*")]:
        if path == folder or path.relative_to(folder).parts[0] not in without:
            sync_folder(path)


def file_stamp(path: Path | str) -> list[int] | None:
    """Size in bytes and modification time in nanoseconds; equal stamps mean equal content.

    None if the file does not exist, or was written so recently that its time is not reliable.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    young = status.st_mtime_ns > time.time_ns() - TICK
    return None if young else [status.st_size, status.st_mtime_ns]


def sync_folder(folder: Path) -> None:
    """Wait until a file, or a folder's entries, are on disk, so that a rename survives a power failure."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
