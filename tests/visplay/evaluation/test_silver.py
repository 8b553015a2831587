"""The silver set as a dataset: who reads it, what its columns hold, and what its card says."""

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from PIL import Image
from trl import SFTConfig, SFTTrainer

from tests.visplay.evaluation.silver_run import asked, silver_run
from visplay.config.sections import Model
from visplay.data.images import read_images
from visplay.errors import ImageSourceError, RunError
from visplay.evaluation import silver
from visplay.evaluation.silver import export_silver
from visplay.models.policy import load_base

CHOICE = "Which is larger?\nA. the red one\nB. the blue one"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for shade in range(3):
        Image.new("RGB", (96, 64), (80 * shade, 90, 120)).save(folder / f"{shade}.png")
    return folder


def keys(pictures: Path) -> list[str]:
    return [record.key for record in read_images(pictures).records]


def loaded(folder: Path, cache: Path) -> Any:
    return load_dataset(str(folder), split="train", cache_dir=str(cache))


def test_a_row_holds_the_picture_and_what_the_reasoner_was_told(pictures: Path, tmp_path: Path) -> None:
    a, b, c = keys(pictures)
    rows = [
        asked(a, CHOICE, "B", kind="multiple choice", options=["the red one", "the blue one"], truth="B"),
        asked(b, "How many?", "3", truth="4"),
        asked(c, "How many <image> are there?", "1", truth="1"),
        asked(c, "Who?", "nobody", kind="short answer", reject="too easy"),
    ]
    run = silver_run(tmp_path, pictures, {1: rows}, truth=True)
    out = export_silver(run, tmp_path / "out")
    first, second = loaded(out, tmp_path / "cache")
    assert first["images"][0].size == (96, 64) and second["images"][0].getpixel((0, 0)) == (80, 90, 120)
    told = f"{CHOICE}\nLook at the image, think step by step, then put your final answer, the letter of one "
    told += "option, in \\boxed{}."
    assert first["messages"] == [
        {"role": "user", "content": told},
        {"role": "assistant", "content": "\\boxed{B}"},
    ]
    told_of = [(row["image_key"], row["type"], row["right"], row["iteration"]) for row in (first, second)]
    assert told_of == [(a, "multiple choice", True, 1), (b, "numerical", False, 1)]
    assert first["options"] == ["the red one", "the blue one"] and first["question"] == CHOICE
    assert second["silver_answer"] == "3" and second["confidence"] == 0.75 and second["validity"] is None
    card = (out / "README.md").read_text()
    assert (
        "50.0\u00a0% (0.0\u2013100.0) of the 2 silver answers are right" in card
    )  # by picture: both or none
    assert "; 0 earlier ones are left out. 1 are\nleft out because" in card
    assert "The pictures keep the licence of their owners" in card and str(tmp_path) not in card
    head = yaml.safe_load(card.split("---")[1])
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "data/train.parquet"}]


def test_of_the_same_question_the_last_vote_is_written(pictures: Path, tmp_path: Path) -> None:
    a, b, _ = keys(pictures)
    curations = {
        1: [asked(a, "How many?", "2"), asked(b, "How many?", "5")],
        2: [asked(a, "How many?", "3", reject="too hard"), asked(a, "How many?", "4", confidence=0.5)],
        3: [asked(a, "Who?", "Ann")],
    }
    run = silver_run(tmp_path, pictures, curations, truth=False)
    out = export_silver(run, tmp_path / "out")
    rows = loaded(out, tmp_path / "cache")
    assert list(zip(rows["silver_answer"], rows["iteration"], strict=True)) == [
        ("5", 1),
        ("4", 2),
        ("Ann", 3),
    ]
    assert rows["right"] == [None] * 3
    card = (out / "README.md").read_text()
    assert "3 questions about pictures without labels (1 of iteration 1, 1 of iteration 2, 1 of" in card
    assert "; 1 earlier ones are left out" in card and "it ranges from 0.5 to 0.75" in card
    assert "The share of right answers is not known" in card and "%" not in card
    one = export_silver(run, tmp_path / "one", iteration=1)
    assert loaded(one, tmp_path / "cache")["silver_answer"] == ["2", "5"]
    with pytest.raises(RunError, match=r"no finished curation of iteration 4; it has those of \[1, 2, 3\]"):
        export_silver(run, tmp_path / "none", iteration=4)


def test_a_folder_that_is_not_empty_is_refused(pictures: Path, tmp_path: Path) -> None:
    rows = {1: [asked(keys(pictures)[0], "How many?", "2")], 2: []}
    run = silver_run(tmp_path, pictures, rows, truth=False)
    out = export_silver(run, tmp_path / "out")
    with pytest.raises(RunError, match="is not empty"):
        export_silver(run, out)
    with pytest.raises(RunError, match="has kept no silver example yet"):
        export_silver(run, tmp_path / "none", iteration=2)
    assert not (tmp_path / "none").exists()


def test_an_export_that_fails_leaves_nothing(pictures: Path, tmp_path: Path) -> None:
    a, b, _ = keys(pictures)
    run = silver_run(
        tmp_path, pictures, {1: [asked(a, "How many?", "2"), asked(b, "How many?", "2")]}, truth=False
    )
    (pictures / "1.png").write_bytes(b"another")
    with pytest.raises(ImageSourceError, match=r"picture 1\.png has changed since the run read it"):
        export_silver(run, tmp_path / "out")
    assert list(tmp_path.glob("out*")) == []


def test_what_a_picture_says_beside_its_pixels_stays_here(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    place = Image.Exif()
    place[0x0112], place[0x010E] = 6, "52.5N 13.4E"  # lies on its side
    Image.fromarray(noise).save(folder / "a.jpg", exif=place, comment=b"52.5N", quality=95)
    Image.fromarray(noise).save(folder / "b.jpg", quality=95)
    clear = Image.new("RGBA", (64, 64), (200, 0, 0, 0))
    clear.save(folder / "c.png")
    run = silver_run(
        tmp_path, folder, {1: [asked(key, "How many?", "2") for key in keys(folder)]}, truth=False
    )
    out = export_silver(run, tmp_path / "out")
    raw = pq.read_table(out / "data").column("images").to_pylist()
    (turned,), (kept,), (white,) = raw
    assert b"52.5N" not in turned["bytes"] and b"52.5N" in (folder / "a.jpg").read_bytes()
    assert Image.open(io.BytesIO(turned["bytes"])).size == (64, 96) and turned["path"].endswith(".jpg")
    assert kept["bytes"] == (folder / "b.jpg").read_bytes()
    assert Image.open(io.BytesIO(white["bytes"])).getpixel((0, 0)) == (255, 255, 255)


def test_no_more_pictures_are_held_than_a_row_group_has(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):  # a megabyte each
        noise = rng.integers(0, 255, (600, 600, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number:02d}.png", compress_level=0)
    rows = [asked(key, f"How many of {i}?", "2") for i, key in enumerate(keys(folder))]
    run = silver_run(tmp_path, folder, {1: rows}, truth=False)
    tracemalloc.start()
    out = export_silver(run, tmp_path / "out")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2.5 * silver.GROUP_BYTES, most  # all pictures are 65 MB
    groups = pq.ParquetFile(out / "data" / "train.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [16, 16, 16, 12]


@pytest.mark.slow
def test_trl_trains_on_it(pictures: Path, tmp_path: Path) -> None:
    a, b, c = keys(pictures)
    rows = [asked(a, "How many?", "3"), asked(b, CHOICE, "B"), asked(c, "Is it red?", "no")]
    run = silver_run(tmp_path, pictures, {1: [*rows, asked(a, "How many shapes?", "2")]}, truth=False)
    dataset = loaded(export_silver(run, tmp_path / "out"), tmp_path / "cache")
    model, processor = load_base(Model(path="pocket", dtype="float32"))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    given = SFTConfig(
        output_dir=str(tmp_path / "sft"), max_steps=1, per_device_train_batch_size=4, max_length=None,
        learning_rate=1e-3, report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True, bf16=False,
        dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = SFTTrainer(model=model, args=given, train_dataset=dataset, processing_class=processor)
    batch = trainer.data_collator([dataset[i] for i in range(4)])
    text = processor.batch_decode(batch["input_ids"])
    assert "How many?" in text[0] and "\\boxed{3}" in text[0] and "B. the blue one" in text[1]
    one = (batch["input_ids"] == model.config.image_token_id).sum(dim=1)
    assert one.min() > 0 and (one == one[0]).all()  # each row has its one picture
    loss = trainer.train().training_loss
    assert 0 < loss < 20
    assert any(not weight.equal(before[name]) for name, weight in model.named_parameters())
