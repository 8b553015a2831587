"""What a second start knows of the pictures without opening them, and what it looks at anew."""

import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.visplay.data.test_images import plain
from tests.visplay.loop.test_decodes import Reads
from visplay.data.images import ImageSet, read_images
from visplay.data.survey import AT_ONCE
from visplay.errors import ImageSourceError
from visplay.storage import TICK

OLD = 10**9 * 10**9  # nanoseconds: long ago


def write(path: Path, data: bytes, *, at: int = OLD) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(at, at))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for shade in (10, 20, 30):
        write(tmp_path / "in" / f"{shade}.png", plain((shade, 0, 0)))
    write(tmp_path / "in" / "broken.png", b"\x89PNG, but not really")
    return tmp_path / "in"


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Reads:
    return Reads(tmp_path_factory.getbasetemp())


def opened(reads: Reads, source: Path, cache: Path, **options: object) -> tuple[ImageSet, list[str]]:
    """The pictures of a source, and which of its files were opened for it."""
    with reads.counted() as found:
        images = read_images(source, cache=cache, **options)
    return images, sorted(Path(path).name for path in found if path.endswith((".png", ".jpg")))


def test_a_second_start_opens_no_picture_that_is_as_it_was(
    pictures: Path, tmp_path: Path, reads: Reads
) -> None:
    cache = tmp_path / "pictures.jsonl"
    first, all_of_them = opened(reads, pictures, cache)
    assert all_of_them == ["10.png", "20.png", "30.png", "broken.png"]
    second, some = opened(reads, pictures, cache)
    assert some == ["broken.png"]  # what could not be used may have been mended
    assert second == first and second.digest == first.digest and len(second) == 3
    assert second.skipped[0].reason.startswith("unreadable")
    assert second.load(second.records[0].key).getpixel((0, 0)) == (10, 0, 0)


def test_what_has_changed_is_looked_at(pictures: Path, tmp_path: Path, reads: Reads) -> None:
    cache = tmp_path / "pictures.jsonl"
    opened(reads, pictures, cache)
    write(pictures / "10.png", plain((11, 0, 0)), at=OLD + 10**9)
    write(pictures / "15.png", plain((15, 0, 0)))
    (pictures / "20.png").unlink()
    write(pictures / "broken.png", plain((40, 0, 0)))
    images, some = opened(reads, pictures, cache)
    assert some == ["10.png", "15.png", "broken.png"]
    assert images == read_images(pictures)
    assert opened(reads, pictures, cache) == (images, [])


def test_a_picture_changed_behind_its_size_and_time_is_found_when_it_is_used(
    pictures: Path, tmp_path: Path, reads: Reads
) -> None:
    cache = tmp_path / "pictures.jsonl"
    opened(reads, pictures, cache)
    write(pictures / "10.png", bytes(len(plain((10, 0, 0)))))
    images, _ = opened(reads, pictures, cache)
    assert len(images) == 3
    with pytest.raises(ImageSourceError, match=r"10\.png has changed"):
        images.load(images.records[0].key)


@pytest.mark.parametrize("damage", ["gone", "cut", "other", "not text"])
def test_without_the_file_of_what_was_seen_or_with_a_damaged_one_pictures_are_looked_at(
    pictures: Path, tmp_path: Path, reads: Reads, damage: str
) -> None:
    cache = tmp_path / "pictures.jsonl"
    first, _ = opened(reads, pictures, cache)
    whole = cache.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "other": b'[]\n{"source": 3}\n', "not text": b"\xff\xfe\n",
    }  # fmt: skip
    cache.unlink() if damage == "gone" else cache.write_bytes(damaged[damage])
    again, some = opened(reads, pictures, cache)
    assert again == first and len(some) > 1
    assert sorted(cache.read_bytes().splitlines()) == sorted(whole.splitlines())
    assert opened(reads, pictures, cache) == (first, ["broken.png"])


def test_sizes_are_asked_about_and_doubles_found_also_where_nothing_is_opened(
    pictures: Path, tmp_path: Path, reads: Reads
) -> None:
    cache = tmp_path / "pictures.jsonl"
    write(pictures / "again.png", plain((10, 0, 0)))
    write(pictures / "wide.png", plain((1, 0, 0), size=(9, 3)))
    opened(reads, pictures, cache)

    def narrow(width: int, height: int) -> str | None:
        return "too wide" if width > 4 else None

    images, some = opened(reads, pictures, cache, accepts=narrow, limit=2)
    assert [record.source for record in images.records] == ["10.png", "20.png"] and some == []
    images, some = opened(reads, pictures, cache, accepts=narrow)
    assert {entry.source: entry.reason for entry in images.skipped if entry.source != "broken.png"} == {
        "again.png": "duplicate of 10.png", "wide.png": "too wide",
    }  # fmt: skip


def test_a_picture_written_just_now_is_not_trusted_by_its_time(
    pictures: Path, tmp_path: Path, reads: Reads
) -> None:
    cache = tmp_path / "pictures.jsonl"
    write(pictures / "10.png", plain((10, 0, 0)), at=time.time_ns() + 10**9)  # a clock that is ahead
    opened(reads, pictures, cache)
    assert opened(reads, pictures, cache)[1] == ["10.png", "broken.png"]
    assert TICK < 10**9


def test_a_first_start_that_was_killed_goes_on_where_it_was(tmp_path: Path, reads: Reads) -> None:
    for number in range(AT_ONCE + 9):
        write(tmp_path / "in" / f"{number:04}.png", plain((number % 256, number // 256, 0), size=(1, 1)))

    def dies(width: int, height: int) -> str | None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return None

    left, cache = [AT_ONCE + 4], tmp_path / "pictures.jsonl"
    with pytest.raises(KeyboardInterrupt):
        read_images(tmp_path / "in", cache=cache, accepts=dies)
    images, some = opened(reads, tmp_path / "in", cache)
    assert len(some) == 9 and len(images) == AT_ONCE + 9
    assert images == read_images(tmp_path / "in")


def test_rows_are_known_by_their_table_and_the_files_that_it_names_by_their_own(
    pictures: Path, tmp_path: Path, reads: Reads
) -> None:
    cache, table = tmp_path / "pictures.jsonl", pictures / "table.parquet"
    rows = [{"bytes": plain((1, 1, 1)), "path": None}, {"bytes": None, "path": "10.png"}]
    pq.write_table(pa.table({"image": rows}), table)
    os.utime(table, ns=(OLD, OLD))
    first, _ = opened(reads, table, cache)
    assert [record.source for record in first.records] == ["0", "1"]
    assert opened(reads, table, cache) == (first, [])
    write(pictures / "10.png", plain((12, 0, 0)), at=OLD + 10**9)
    second, some = opened(reads, table, cache)
    assert some == ["10.png"] and second.records[0] == first.records[0] and second != first
    pq.write_table(pa.table({"image": rows[1:]}), table)
    os.utime(table, ns=(OLD, OLD))  # another size
    third, some = opened(reads, table, cache)
    assert some == ["10.png"] and [record.key for record in third.records] == [second.records[1].key]


def test_what_is_kept_is_text_and_no_code(pictures: Path, tmp_path: Path) -> None:
    Image.new("RGB", (5, 5)).save(pictures / "a\nb\u2028.png")
    os.utime(pictures / "a\nb\u2028.png", ns=(OLD, OLD))
    cache = tmp_path / "pictures.jsonl"
    first = read_images(pictures, cache=cache)
    assert [json.loads(line)["source"] for line in cache.read_text().split("\n")[:-1]] == [
        "10.png", "20.png", "30.png", "a\nb\u2028.png",
    ]  # fmt: skip
    assert read_images(pictures, cache=cache) == first
