"""One reader for training pictures and benchmarks: lists of paths, saved datasets, the hub."""

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.visplay.data.test_images import plain
from visplay.config.loading import check_config
from visplay.data.images import HUB, count_entries, read_images
from visplay.errors import ImageSourceError
from visplay.evaluation.items import open_rows
from visplay.evaluation.spec import Source


@pytest.fixture(autouse=True)
def kept_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps its copies in the test's folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_lists_of_paths(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for shade in (1, 2):
        (tmp_path / "pictures" / f"{shade}.png").write_bytes(plain((shade, 0, 0)))
    names = ["pictures/1.png", "pictures/2.png", "pictures/none.png", ""]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"image": name, "n": 1}) + "\n" for name in names))
    (tmp_path / "a.csv").write_text("n,image\n" + "".join(f"1,{name}\n" for name in names))
    (tmp_path / "a.tsv").write_text("n\timage\n" + "".join(f"1\t{name}\n" for name in names))
    (tmp_path / "a.json").write_text(json.dumps([{"image": [name]} for name in names]))
    for kind in ("jsonl", "csv", "tsv", "json"):
        source = tmp_path / f"a.{kind}"
        images = read_images(source)
        assert [images.load(r.key).getpixel((0, 0))[0] for r in images.records] == [1, 2], kind
        place = ":0" if kind == "json" else ""
        assert [entry.source for entry in images.skipped] == [f"2{place}", f"3{place}"]
        assert count_entries(source) == 4
        rows = open_rows(Source(path=source), shown="mine")
        assert [len(rows), rows.pictures(rows[1]["image"])[0].getpixel((0, 0))] == [4, (2, 0, 0)]
    with pytest.raises(
        ImageSourceError, match=r"images\.column 'photo' is not in .*; known: image, n; set it"
    ):
        read_images(tmp_path / "a.csv", column="photo")
    for name, text in (
        ("e.csv", ""),
        ("head.csv", "image,n\n"),
        ("e.tsv", "\n"),
        ("e.jsonl", ""),
        ("e.json", "[]"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(
            ImageSourceError, match=rf"^images\.source '.*{name}' is empty; put pictures into it"
        ):
            read_images(tmp_path / name)
    (tmp_path / "bad.jsonl").write_text('{"image": \n')
    with pytest.raises(ImageSourceError, match=r"bad\.jsonl' cannot be read as a table"):
        read_images(tmp_path / "bad.jsonl")


def test_a_dataset_by_its_id_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder by its relative path stands in for the hub: `datasets` takes both for an id."""
    folder = tmp_path / "owner" / "set" / "small"
    folder.mkdir(parents=True)
    for split, shades in (("train", (1, 2)), ("test", (3,))):
        table = pa.table({"photo": [{"bytes": plain((s, 0, 0)), "path": None} for s in shades]})
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    (folder.parent / "README.md").write_text(
        "---\nconfigs:\n- config_name: small\n  data_files:\n  - {split: train, path: small/train*}\n"
        "  - {split: test, path: small/test*}\n---\n"
    )
    monkeypatch.chdir(tmp_path)
    source = f"{HUB}owner/set"
    for more, split, count in (
        ("", "train", 2),
        ("/small:train", "train", 2),
        ("/small@main:test", "test", 1),
    ):
        assert len(read_images(source + more, column="photo")) == count
        rows = open_rows(Source(hub=f"owner/set:{split}"), shown="mine")
        assert len(rows) == count and rows.pictures(rows[0]["photo"])[0].size == (4, 3)
    config = check_config({"images": {"source": f"{source}:test", "column": "photo"}})
    assert len(read_images(config.images.source, column="photo")) == 1  # a Path keeps the id
    with pytest.raises(ImageSourceError, match=r"cannot be downloaded from the hub .*copy its files here"):
        read_images(f"{HUB}owner/none")
    with pytest.raises(ImageSourceError, match=r"names no dataset; say OWNER/NAME"):
        read_images(f"{HUB}owner/set:")
    with pytest.raises(ImageSourceError, match="not counted before it is downloaded"):
        count_entries(source)


def test_a_second_start_on_a_dataset_decodes_nothing(tmp_path: Path) -> None:
    cells = [{"bytes": plain((shade, 0, 0)), "path": None} for shade in range(5)]
    datasets.Dataset.from_dict({"image": cells}).save_to_disk(tmp_path / "saved")
    cache, asked = tmp_path / "pictures.jsonl", []

    def accepts(width: int, height: int) -> str | None:
        asked.append((width, height))
        return None

    first = read_images(tmp_path / "saved", cache=cache)
    lines = cache.read_text()
    assert read_images(tmp_path / "saved", cache=cache, accepts=accepts) == first
    assert asked == [(4, 3)] * 5 and len(lines.splitlines()) == 5
