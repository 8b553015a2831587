"""Sources whose rows are not alike, and pictures in the less usual spellings."""

import base64
import io
import struct
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from visplay.data.decoding import cell_bytes, decode
from visplay.data.images import read_images

RED = (250, 0, 0)


def png(colour=RED):
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_row_without_the_column_is_skipped(tmp_path):
    (tmp_path / "red.png").write_bytes(png())
    (tmp_path / "rows.jsonl").write_text('{"note": "none"}\n{"image": "red.png"}\n')
    found = read_images(tmp_path / "rows.jsonl", column="image")
    assert (len(found), [row.source for row in found.skipped]) == (1, ["0"])


def test_a_parquet_file_may_lack_the_column_of_another(tmp_path):
    pq.write_table(pa.table({"image": [png(), png((0, 0, 9))]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"other": [1]}), tmp_path / "b.parquet")
    found = read_images(tmp_path, column="image")
    assert (len(found), [row.source for row in found.skipped]) == (2, ["2"])


def test_data_uris_of_any_type_and_addresses_of_files(tmp_path):
    coded = base64.b64encode(png()).decode()
    (tmp_path / "red.png").write_bytes(png())
    cells = [f"data:;base64,{coded}", f"DATA:IMAGE/PNG;BASE64,{coded}", f"data:text/plain;base64,{coded}"]
    for cell in (*cells, cells[0].encode(), {"bytes": cells[1].encode()}, (tmp_path / "red.png").as_uri()):
        assert decode(cell_bytes(cell, base=tmp_path)).getpixel((0, 0)) == RED


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def grey(depth, levels, *more):
    header = struct.pack(">IIBBBBB", 8 // depth, 1, depth, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes([0, levels])))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + pixels + chunk(b"IEND", b"")


def test_a_transparent_level_of_few_bits_is_white():
    two = decode(grey(2, 0b10_01_00_11, chunk(b"tRNS", b"\0\x02")))
    assert [two.getpixel((x, 0))[0] for x in range(4)] == [255, 85, 0, 255]
    four = decode(grey(4, 0x5A, chunk(b"tRNS", b"\0\x05")))
    assert [four.getpixel((x, 0))[0] for x in range(2)] == [255, 170]


def test_long_texts_beside_the_pixels_cost_no_picture():
    long = chunk(b"zTXt", b"note\0\0" + zlib.compress(b"x" * 3_000_000))
    assert decode(grey(2, 0b01_00_00_00, long)).getpixel((0, 0)) == (85, 85, 85)
