"""Pictures as other tools and cameras store them: read, or passed over with the reason."""

import base64
import io
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from transformers import AutoProcessor

from tests.architectures.tiny import ALL
from visplay.config.sections import Model
from visplay.data.decoding import decode
from visplay.data.images import count_entries, read_images, reopen_images
from visplay.errors import BenchmarkError
from visplay.evaluation.items import open_rows
from visplay.evaluation.spec import Source
from visplay.models.processor import load_processor, picture_limits

RELEASED = Path(__file__).parents[4] / "shared" / "processors" / "qwen2_5_vl_7b"


def encoded(
    color: Any = (1, 2, 3), *, size: tuple[int, int] = (8, 8), kind: str = "PNG", **more: Any
) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, kind, **more)
    return buffer.getvalue()


def levels(values: Any, kind: str, **more: Any) -> Image.Image:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **more)
    return decode(buffer.getvalue())


def cell(level: int) -> dict[str, Any]:
    return {"bytes": encoded((level, 0, 0)), "path": None}


def test_lists_of_pictures(tmp_path: Path) -> None:
    table = pa.table({"images": [[cell(1), cell(9)], [cell(2)], []]})
    pq.write_table(table, tmp_path / "lists.parquet")
    source, manifest = tmp_path / "lists.parquet", tmp_path / "run"
    found = read_images(source, column="images")
    reds = {record.source: found.load(record.key).getpixel((0, 0))[0] for record in found.records}
    assert reds == {"0:0": 1, "0:1": 9, "1:0": 2}
    assert [(entry.source, entry.reason) for entry in found.skipped] == [
        ("2", "cannot be read: no picture in this row")
    ]
    assert count_entries(source, column="images") == 4  # the empty row may be one
    found.write_manifest(manifest)
    again = reopen_images(source, manifest=manifest / "manifest.parquet", column="images")
    assert again.load(found.records[1].key).getpixel((0, 0)) == (9, 0, 0)
    assert read_images(source, column="images", cache=tmp_path / "seen").records == found.records
    features = datasets.Features({"images": datasets.List(datasets.Image())})
    saved = datasets.Dataset.from_dict({"images": [[cell(1)], [cell(2)]]}, features=features)
    saved.save_to_disk(tmp_path / "saved")
    assert len(read_images(tmp_path / "saved", column="images")) == 2
    rows = open_rows(Source(path=tmp_path / "lists.parquet"), shown="mine")
    assert [len(rows.pictures(rows[number]["images"])) for number in range(3)] == [2, 1, 0]


def test_shards_base64_and_formats(tmp_path: Path) -> None:
    for number in range(2):
        text = base64.b64encode(encoded((number, 0, 0))).decode()
        shard = {
            "image": [text, "data:image/png;base64," + base64.b64encode(encoded((number, 9, 0))).decode()]
        }
        pq.write_table(pa.table(shard), tmp_path / f"part-{number}.parquet")
    assert len(read_images(tmp_path)) == 4
    features = datasets.Features({"image": datasets.Image()})
    saved = datasets.Dataset.from_dict({"image": [cell(1), cell(2)]}, features=features)
    saved.with_format("pandas").save_to_disk(tmp_path / "pandas")
    assert len(read_images(tmp_path / "pandas")) == 2


def test_base64_in_every_spelling(tmp_path: Path) -> None:
    plain = base64.b64encode(encoded((1, 0, 0))).decode()
    noise = base64.urlsafe_b64encode(encoded((2, 0, 0), kind="TIFF")).decode().rstrip("=")
    bitmap = base64.b64encode(encoded((3, 0, 0), kind="BMP")).decode()
    folded = base64.encodebytes(encoded((4, 0, 0))).decode()
    table = pa.table({"image": [plain.encode(), noise.encode(), bitmap.encode(), f" {folded}".encode()]})
    pq.write_table(table, tmp_path / "bytes.PARQUET")
    text = pa.table({"image": [plain, noise, bitmap, f" {folded}"]})
    pq.write_table(text, tmp_path / "text.pq")
    assert len(read_images(tmp_path / "text.pq")) == 4
    assert len(read_images(tmp_path / "bytes.PARQUET")) == 3  # white space first is no base64 in bytes
    assert len(read_images(tmp_path)) == 4


def test_names_links_and_large_files(tmp_path: Path) -> None:
    pictures, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    pictures.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.png").write_bytes(encoded((1, 0, 0)))
    (elsewhere / "above").symlink_to(pictures)
    (pictures / "album").symlink_to(elsewhere)
    (pictures / "broken").symlink_to(tmp_path / "nowhere")
    (pictures / "dataset_info.json").write_text("{}")
    Path(os.fsdecode(os.fsencode(pictures) + b"/caf\xe9.png")).write_bytes(encoded((2, 0, 0)))
    with (pictures / "archive.zip").open("wb") as file:
        file.truncate(2**31)
    os.mkfifo(pictures / "pipe")
    found = read_images(pictures)
    assert [record.source for record in found.records] == ["album/a.png", "caf\\xe9.png"]
    reasons = {entry.source: entry.reason for entry in found.skipped}
    assert set(reasons) == {"archive.zip", "broken", "dataset_info.json", "pipe"}
    assert "no picture is larger" in reasons["archive.zip"] and "not a regular file" in reasons["pipe"]
    found.write_manifest(tmp_path / "manifest")
    assert found.load(found.records[1].key).getpixel((0, 0)) == (2, 0, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_closed_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    (tmp_path / "closed").mkdir(mode=0)
    ours = [folder for folder in tmp_path.parents if folder.is_relative_to(tempfile.gettempdir())]
    for folder in (tmp_path, *ours[:-1]):  # the last is the system's
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        found = read_images(tmp_path)
    finally:
        os.seteuid(0)
    assert [(entry.source, "Permission denied" in entry.reason) for entry in found.skipped] == [
        ("closed", True)
    ]


def test_levels_beyond_eight_bits() -> None:
    assert levels(np.full((8, 8), 51_400, np.uint16), "PNG").getpixel((0, 0)) == (200,) * 3
    for dtype in (np.int32, np.float32):
        with pytest.raises(ValueError, match="levels of 32 bits"):
            levels(np.full((8, 8), 200, dtype), "TIFF")
    assert levels(np.full((8, 8), 400, np.uint16), "PNG", transparency=400).getpixel((0, 0)) == (255,) * 3


def test_broken_exif_does_not_cost_the_picture() -> None:
    turned = b"MM\x00*\x00\x00\x00\x08" + struct.pack(
        ">HHHIHHHHIf", 2, 0x0112, 3, 1, 6, 0, 0x9999, 11, 1, 1.5
    )
    jpeg = encoded((254, 0, 0), size=(20, 40), kind="JPEG", exif=b"Exif\0\0" + turned + b"\0" * 4)
    assert decode(jpeg).size == (40, 20)
    assert decode(encoded((255, 0, 0), kind="WEBP", lossless=True, exif=b"none")).getpixel((2, 2)) == (
        255,
        0,
        0,
    )


@pytest.mark.parametrize("name", ["Qwen2.5-VL", "Qwen3-VL", "pocket", "released"])
def test_the_processor_says_which_shapes_it_takes(name: str, tmp_path: Path) -> None:
    if name == "released" and not RELEASED.is_dir():
        pytest.skip(f"the released processors are not at {RELEASED}: shown on tiny ones only")
    tiny = next((tiny for tiny in ALL if tiny.name == name), None)
    if tiny:
        tiny.write(tmp_path / "model")
    folder = RELEASED if name == "released" else tmp_path / "model"
    processor = load_processor(Model()) if name == "pocket" else AutoProcessor.from_pretrained(folder)
    refuses = picture_limits(processor)
    assert refuses(640, 480) is None and refuses(100, 1000) is None
    if name == "pocket":
        return
    assert "aspect ratio must be smaller than 200" in str(refuses(1, 300))
    (tmp_path / "narrow.png").write_bytes(encoded(size=(300, 1)))
    (tmp_path / "square.png").write_bytes(encoded())
    found = read_images(tmp_path / "narrow.png", accepts=None)
    assert len(found) == 1
    found = read_images(tmp_path, accepts=refuses)
    assert [record.source for record in found.records] == ["square.png"]
    assert any("300 x 1 pixels" in entry.reason for entry in found.skipped)


def test_rows_of_text_files(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_bytes(b'ask,gold\r\n"Which?\nA. up\nB. down",A\r\n"say ""no""",B\r\n')
    rows = open_rows(Source(path=tmp_path / "q.csv"), shown="mine")
    assert [rows[n]["ask"] for n in range(2)] == ["Which?\nA. up\nB. down", 'say "no"']
    (tmp_path / "q.jsonl").write_text('{"ask": "a\u2028b\u0085c"}\n\n{"ask": "d"}\r\n', encoding="utf-8")
    rows = open_rows(Source(path=tmp_path / "q.jsonl"), shown="mine")
    assert [rows[n]["ask"] for n in range(2)] == ["a\u2028b\u0085c", "d"]
    (tmp_path / "q.json").write_text('[{"ask": "a"},\n {"ask": "b"}]')
    assert len(open_rows(Source(path=tmp_path / "q.json"), shown="mine")) == 2
    (tmp_path / "one.json").write_text('{\n "ask": "a"\n}')
    assert open_rows(Source(path=tmp_path / "one.json"), shown="mine")[0] == {"ask": "a"}
    (tmp_path / "Q.TSV").write_text(f"ask\timage\na, b\t{'x' * 200_000}\n")  # pictures stand there as text
    assert open_rows(Source(path=tmp_path / "Q.TSV"), shown="mine")[0]["ask"] == "a, b"
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(BenchmarkError, match="cannot be read"):
        open_rows(Source(path=tmp_path / "deep.json"), shown="mine")
    for name, text in (
        ("twice.csv", "a,a\n1,2\n"),
        ("long.csv", "a,b\n1,2,3\n"),
        ("r.json", "[1, 2]"),
        ("r.jsonl", '"text"\n'),
        ("r.csv", 'a,b\n"unfinished'),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(BenchmarkError, match="cannot be read"):
            open_rows(Source(path=tmp_path / name), shown="mine")
