"""Reading pictures: odd files of every sort, tables, duplicates, and real photographs."""

import hashlib
import io
import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skimage
from PIL import Image

from visplay.data.images import ImageSet, read_images, reopen_images
from visplay.errors import ConfigError, ImageSourceError


def encoded(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def plain(color: tuple[int, int, int], size: tuple[int, int] = (4, 3)) -> bytes:
    return encoded(Image.new("RGB", size, color))


def load_only(images: ImageSet) -> Image.Image:
    assert len(images.records) == 1
    return images.load(images.records[0].key)


def test_folder_is_read_with_subfolders_in_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.png").write_bytes(plain((1, 2, 3)))
    (tmp_path / "a.png").write_bytes(plain((4, 5, 6), size=(7, 5)))
    (tmp_path / ".hidden.png").write_bytes(plain((9, 9, 9)))
    images = read_images(tmp_path)
    assert [record.source for record in images.records] == ["a.png", "b/1.png"]
    assert (images.records[0].width, images.records[0].height) == (7, 5)
    assert images.records[1].key == hashlib.sha256((tmp_path / "b" / "1.png").read_bytes()).hexdigest()
    assert images.load(images.records[1].key).getpixel((0, 0)) == (1, 2, 3)
    assert images.skipped == ()


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "red.jpg")
    picture = load_only(read_images(tmp_path))
    red, green, blue = picture.getpixel((4, 4))
    assert picture.mode == "RGB"
    assert red > 230 and green < 40 and blue < 40


def test_transparent_palette_entries_lie_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 200, 10, 20])
    picture.putdata([0, 1])
    picture.save(tmp_path / "palette.png", transparency=0)
    loaded = load_only(read_images(tmp_path))
    assert [loaded.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (200, 10, 20)]


def test_half_transparent_pixels_are_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (0, 0, 0, 128)).save(tmp_path / "half.png")
    assert load_only(read_images(tmp_path)).getpixel((0, 0)) == (127, 127, 127)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    loaded = load_only(read_images(tmp_path))
    assert [loaded.getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]


def test_exif_rotation_is_applied_to_pixels_and_size(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (0, 0, 20, 20))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    images = read_images(tmp_path)
    assert (images.records[0].width, images.records[0].height) == (20, 40)
    loaded = load_only(images)
    assert loaded.size == (20, 40)
    assert loaded.getpixel((10, 5))[0] > 250 and loaded.getpixel((10, 35))[0] < 5


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert load_only(read_images(tmp_path)).getpixel((0, 0)) == (255, 0, 0)


def test_unusable_files_are_listed_with_their_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (tmp_path / "a good.png").write_bytes(plain((1, 1, 1)))
    (tmp_path / "b copy.png").write_bytes(plain((1, 1, 1)))
    (tmp_path / "c empty.png").write_bytes(b"")
    (tmp_path / "d text.jpg").write_text("not a picture")
    noise = np.random.default_rng(0).integers(0, 256, size=(30, 30, 3), dtype=np.uint8)
    (tmp_path / "e cut.jpg").write_bytes(encoded(Image.fromarray(noise), "JPEG")[:-300])
    (tmp_path / "f bomb.png").write_bytes(plain((2, 2, 2), size=(40, 30)))  # a warning of Pillow's
    (tmp_path / "g large bomb.png").write_bytes(plain((2, 2, 2), size=(50, 50)))  # an error of Pillow's
    images = read_images(tmp_path)
    assert [record.source for record in images.records] == ["a good.png"]
    reasons = {entry.source: entry.reason for entry in images.skipped}
    assert reasons["b copy.png"] == "duplicate of a good.png"
    assert reasons["c empty.png"] == "zero size: no bytes"
    assert reasons["d text.jpg"] == "unreadable: not an image format that Pillow knows"
    assert "truncated" in reasons["e cut.jpg"]
    assert reasons["f bomb.png"].startswith("decompression bomb")
    assert reasons["g large bomb.png"].startswith("decompression bomb")


def test_limit_counts_usable_pictures(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_text("broken")
    for index in range(1, 5):
        (tmp_path / f"{index}.png").write_bytes(plain((index, 0, 0)))
    images = read_images(tmp_path, limit=2)
    assert [record.source for record in images.records] == ["1.png", "2.png"]
    with pytest.raises(ConfigError, match=r"images\.limit must be >= 1 .* got 0"):
        read_images(tmp_path, limit=0)


def test_parquet_rows_with_bytes_structs_paths_and_gaps(tmp_path: Path) -> None:
    (tmp_path / "beside.png").write_bytes(plain((7, 0, 0)))
    column = [
        {"bytes": plain((5, 0, 0)), "path": None},
        {"bytes": None, "path": "beside.png"},
        None,
        {"bytes": b"broken", "path": None},
        {"bytes": plain((5, 0, 0)), "path": None},
        {"bytes": None, "path": "gone.png"},
        {"bytes": plain((6, 0, 0)), "path": None},
    ]
    pq.write_table(pa.table({"image": column}), tmp_path / "pictures.parquet", row_group_size=2)
    images = read_images(tmp_path / "pictures.parquet")
    assert [record.source for record in images.records] == ["0", "1", "6"]
    assert [images.load(record.key).getpixel((0, 0))[0] for record in images.records] == [5, 7, 6]
    reasons = {entry.source: entry.reason for entry in images.skipped}
    assert list(reasons) == ["2", "3", "4", "5"]
    assert reasons["2"] == "cannot be read: no picture in this row"
    assert reasons["4"] == "duplicate of 0"


def test_parquet_of_plain_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"photo": [plain((5, 0, 0))]}), tmp_path / "pictures.parquet")
    assert load_only(read_images(tmp_path / "pictures.parquet", column="photo")).getpixel((0, 0)) == (5, 0, 0)


def test_wrong_column_names_those_that_exist_and_the_nearest(tmp_path: Path) -> None:
    pq.write_table(pa.table({"images": [b""], "label": [1]}), tmp_path / "pictures.parquet")
    with pytest.raises(ImageSourceError, match=r"'image' is not in .*; did you mean 'images'\?"):
        read_images(tmp_path / "pictures.parquet")


def test_saved_dataset_reports_broken_rows(tmp_path: Path) -> None:
    cells = [{"bytes": plain((3, 0, 0)), "path": None}, {"bytes": b"broken", "path": None}]
    features = datasets.Features({"image": datasets.Image(), "id": datasets.Value("int64")})
    saved = datasets.Dataset.from_dict({"image": cells, "id": [1, 2]}, features=features)
    saved.save_to_disk(tmp_path / "saved")
    images = read_images(tmp_path / "saved")
    assert load_only(images).getpixel((0, 0)) == (3, 0, 0)
    assert [entry.source for entry in images.skipped] == ["1"]
    with pytest.raises(ImageSourceError, match=r"images\.column 'img' is not in .*; did you mean 'image'"):
        read_images(tmp_path / "saved", column="img")
    datasets.DatasetDict({"train": saved}).save_to_disk(tmp_path / "splits")
    with pytest.raises(ImageSourceError, match=r"several splits; name one: .*splits/train"):
        read_images(tmp_path / "splits")


def test_sources_without_pictures_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImageSourceError, match=r"does not exist; give a folder .* `visplay pocket images"):
        read_images(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageSourceError, match="is empty; put pictures into it"):
        read_images(tmp_path / "empty")
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "part.parquet").write_bytes(b"PAR1")
    with pytest.raises(ImageSourceError, match="cannot be read as a table"):
        read_images(tmp_path / "table")
    with pytest.raises(ImageSourceError, match="cannot be read as a table"):
        read_images(tmp_path / "table" / "part.parquet")
    (tmp_path / "one.png").write_bytes(b"not a picture")
    with pytest.raises(ImageSourceError, match=r"no usable picture among 1 entries \(one\.png: "):
        read_images(tmp_path / "one.png")


def test_one_picture_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(plain((1, 2, 3)))
    images = read_images(tmp_path / "one.png")
    assert [record.source for record in images.records] == ["one.png"]
    assert images.load(images.records[0].key).getpixel((0, 0)) == (1, 2, 3)


def test_a_changed_or_missing_picture_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(plain((1, 1, 1)))
    images = read_images(tmp_path)
    (tmp_path / "a.png").write_bytes(plain((2, 2, 2)))
    with pytest.raises(ImageSourceError, match=r"a\.png has changed"):
        images.load(images.records[0].key)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageSourceError, match=r"a\.png can no longer be read"):
        images.load(images.records[0].key)
    with pytest.raises(KeyError):
        images.load("0" * 64)


def test_manifest_holds_records_and_reasons(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(plain((1, 1, 1)))
    (tmp_path / "in" / "b.png").write_text("übel")
    images = read_images(tmp_path / "in")
    images.write_manifest(tmp_path / "run")
    [row] = pq.read_table(tmp_path / "run" / "manifest.parquet").to_pylist()
    assert row == {"key": images.records[0].key, "source": "a.png", "width": 4, "height": 3}
    [line] = (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["source"] == "b.png"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["manifest.parquet", "skipped.jsonl"]
    again = reopen_images(tmp_path / "in", manifest=tmp_path / "run" / "manifest.parquet")
    assert again.records == images.records
    assert load_only(again).getpixel((0, 0)) == (1, 1, 1)


def test_the_photographs_of_scikit_image_are_all_read() -> None:
    folder = Path(skimage.__file__).parent / "data"
    images = read_images(folder)
    sources = {record.source for record in images.records}
    assert {"astronaut.png", "coffee.png", "chelsea.png", "camera.png"} <= sources
    assert len(sources) >= 5
    for record in images.records:
        picture = images.load(record.key)
        assert (picture.mode, picture.size) == ("RGB", (record.width, record.height))
    for entry in images.skipped:
        assert Path(entry.source).suffix not in {".png", ".jpg"} or "duplicate" in entry.reason


def test_a_large_jpeg_may_be_decoded_at_a_fraction_of_its_size(tmp_path: Path) -> None:
    Image.new("RGB", (4000, 3000), (200, 10, 10)).save(tmp_path / "large.jpg")
    Image.new("RGB", (400, 300), (200, 10, 10)).save(tmp_path / "small.png")
    images = read_images(tmp_path)
    large, small = (images.load(record.key, at_least=240) for record in images.records)
    assert large.size == (500, 375) and small.size == (400, 300)
    assert images.load(images.records[0].key).size == (4000, 3000)
