"""Files that are there whole or not at all, and checksums that tell whether they are what was written.

A file is written beside its place, synced and renamed. A *checkpoint part* is a small JSON file of an
unfinished step that carries its own checksum, and, if asked, those of files which it covers: what a kill or a
bad disk has damaged is recognised and done again.
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

PARTIAL = ".partial"  # ends the name of what is being written
GROUP = 10_000  # rows of a parquet file's row group
TICK = 20_000_000  # nanoseconds within which a file could be written to twice and keep its time


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that is there whole when the block ends, and not at all where it fails."""
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
    """Write a file whole or not at all; it is on disk when this returns."""
    with written(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """The same for text."""
    write_bytes(path, text.encode())


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> None:
    """Write rows as parquet, whole or not at all; what a row lacks is null, what no column holds an error.

    Row groups have `GROUP` rows, so that who reads columns or some rows need not hold them all.
    """
    for row in rows:
        assert row.keys() <= set(schema.names), sorted(row.keys() - set(schema.names))
    with written(path) as file, pq.ParquetWriter(file, schema) as writer:
        for start in range(0, max(1, len(rows)), GROUP):
            writer.write_table(pa.Table.from_pylist(list(rows[start : start + GROUP]), schema=schema))


def append_jsonl(path: Path, *rows: dict[str, Any]) -> None:
    """Append JSON lines and wait until they are on disk; a last line cut short by a kill is overwritten."""
    with path.open("ab+") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
        file.flush()
        os.fsync(file.fileno())


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON-lines file; a last line cut short by a kill is left out.

    Raises:
        CorruptArtifact: another line is not JSON.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            rows += [json.loads(line)] if line else []
        except ValueError as error:
            raise CorruptArtifact(f"{path}, line {number} is damaged: {error}") from error
    return rows


def write_part(path: Path, value: Any, *, covers: Path | None = None) -> None:
    """Write a JSON value with its checksum, and with those of the files in a folder beside or below it."""
    files = checksums(covers) if covers else {}
    if covers:
        sync_files(covers)
    beside = {str((covers / name).relative_to(path.parent)): d for name, d in files.items() if covers}
    body = json.dumps({"value": value, "files": beside})
    write_text(path, f"{_sha256(body.encode())}\n{body}\n")


def read_part(path: Path) -> Any:
    """What `write_part` wrote; None where it, or a file that it covers, is missing or damaged."""
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
    """The checkpoint parts in a folder that `read_part` would not take."""
    return [path for path in sorted(folder.glob("*.json")) if read_part(path) is None]


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder, by its path there."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def sync_files(folder: Path, *, without: Sequence[str] = ()) -> None:
    """Wait until every file in a folder is on disk, and every folder's entries; `without` is passed over."""
    for path in [folder, *folder.rglob("*")]:
        if path == folder or path.relative_to(folder).parts[0] not in without:
            sync_folder(path)


def file_stamp(path: Path | str) -> list[int] | None:
    """Bytes and time of last change, in nanoseconds: another stamp, another content.

    None where there is no file, or where it was written so short ago that its time does not tell.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    young = status.st_mtime_ns > time.time_ns() - TICK
    return None if young else [status.st_size, status.st_mtime_ns]


def sync_folder(folder: Path) -> None:
    """Wait until a file, or a folder's entries, are on disk: only then does a rename outlive a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
