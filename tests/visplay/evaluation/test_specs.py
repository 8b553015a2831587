"""The shipped specs against rows of their schema, and a benchmark of one's own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.visplay.evaluation.spec_rows import ROWS, png
from visplay.config.prompts import Prompts
from visplay.errors import BenchmarkError
from visplay.evaluation.benchmarks import data_differences, load_benchmark
from visplay.evaluation.items import (
    check_data,
    inline_options,
    literal_list,
    open_rows,
    read_item,
    read_options,
)
from visplay.evaluation.prompts import item_prompt
from visplay.evaluation.records import prompt_text
from visplay.evaluation.scoring import score_output
from visplay.evaluation.spec import Source, Spec, expand, find_spec, parse_spec, shipped_specs

TAIL = "\nLook at the image, think step by step, then put your final answer in \\boxed{}."
LETTER = TAIL.replace("final answer", "final answer, the letter of one option,")
CASES = [(name, number) for name, rows in ROWS.items() for number in range(len(rows))]


def made(name: str) -> tuple[Spec, Source]:
    return find_spec(name), Source(items=[row for row, *_ in ROWS[name]])


@pytest.mark.parametrize(("name", "number"), CASES)
def test_each_row_has_the_right_gold_and_scores(name: str, number: int) -> None:
    spec, source = made(name)
    _, rule, answers, right, wrong = ROWS[name][number]
    item = read_item(spec, open_rows(source, shown=name), number)
    assert (item.gold.rule, item.gold.answers) == (rule, answers)
    for said in right:
        assert score_output(f"so \\boxed{{{said}}}", item.gold, cut=False, question=item.question).correct, (
            said
        )
    for said in wrong:
        assert not score_output(
            f"so \\boxed{{{said}}}", item.gold, cut=False, question=item.question
        ).correct, said


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_made_rows_fit_the_spec_but_for_their_number(name: str) -> None:
    spec, source = made(name)
    found = check_data(spec, open_rows(source, shown=name))
    assert found == [f"rows: the spec says {spec.rows}, the source has {len(ROWS[name])}"]


def test_every_benchmark_is_there_with_rows_to_test_it() -> None:
    packaged = {"easy-vqa", "pocket-dusk", "pocket-clean", "pocket-ladder", "pocket-wide"}
    assert set(shipped_specs()) == set(ROWS) | packaged | {"mmmu_pro"}
    assert [spec.id for spec in expand(["mmmu_pro", "mmmu"])] == [
        "mmmu_pro_standard", "mmmu_pro_vision", "mmmu",
    ]  # fmt: skip


def prompts(name: str, number: int) -> tuple[str, int]:
    spec, source = made(name)
    prompt = item_prompt(read_item(spec, open_rows(source, shown=name), number), words=Prompts())
    return prompt_text(prompt), len(prompt.images)


def test_one_picture_comes_first_and_the_words_are_those_of_training() -> None:
    assert prompts("chartqa", 0) == ("<image>How much?" + TAIL, 1)
    text, _ = prompts("mmmu", 0)
    assert text == "<image>Who painted ?\nA. Monet\nB. Van Gogh's brother\nC. Degas" + LETTER


def test_several_pictures_stand_where_they_are_named() -> None:
    text, count = prompts("mmmu", 1)
    assert text == "Which graph fits <image>?\nA. (picture 1)\nB. <image>" + LETTER
    assert count == 2


def test_a_benchmark_own_instructions_are_taken_out() -> None:
    assert prompts("realworldqa", 1) == ("<image>How many cars are there?" + TAIL, 1)
    assert prompts("realworldqa", 0)[0].count("A. Left") == 1
    assert prompts("mathverse", 1) == ("A triangle of area 3. Find its side." + TAIL, 0)
    assert prompts("mathverse", 2) == ("<image>Answer the question shown in the image." + LETTER, 1)
    assert prompts("mathverse", 0)[0].startswith("<image>AB is parallel to CD; find x.\nChoices:\nA:145")
    assert "a cow" not in prompts("mmmu_pro_vision", 0)[0]


def test_groups_and_clusters() -> None:
    spec, source = made("mmmu")
    rows = open_rows(source, shown="mmmu")
    assert read_item(spec, rows, 3).groups == {
        "subject": "Basic_Medical_Science", "domain": "Health & Medicine",
    }  # fmt: skip
    assert read_item(spec, rows, 0).kind == "Art & Design"
    spec, source = made("mathverse")
    versions = [read_item(spec, open_rows(source, shown="mathverse"), i) for i in range(3)]
    assert {item.cluster for item in versions} == {"1"}
    assert [item.kind for item in versions] == ["Text Dominant", "Text Only", "Vision Only"]


def test_options_are_read_from_every_way_they_are_written() -> None:
    assert read_options("['a, b', \"it's\", '<image 2>']") == ("a, b", "it's", "<image 2>")
    assert read_options(["1", 2]) == ("1", "2")
    assert read_options("A. one\nB. two") == read_options("(A) one; (B) two") == ("one", "two")
    assert read_options(None) == read_options("") == read_options("[]") == ()
    assert literal_list("__import__('os').system('true')") is None
    assert literal_list("[" * 10_000) is None and literal_list("[1, 2]" + " " * 30_000) is None
    assert inline_options("Look at point A. Then find B") == ()
    assert inline_options("Which?\nA. x\nB. y, z\nC. w") == ("x", "y, z", "w")


def test_check_data_says_what_differs(tmp_path: Path) -> None:
    spec = find_spec("chartqa")
    rows = [{"type": "human", "query": "?", "answer": "", "image": png()}, {"type": "human", "query": "!"}]
    found = data_differences(spec.model_copy(update={"source": Source(items=rows)}), source=None)
    assert found[0] == "rows: the spec says 2500, the source has 2"
    assert "column question: missing; the columns are type, query, answer, image" in found
    assert sum("has no gold answer" in line for line in found) == 2


def test_a_benchmark_of_ones_own(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    rows = [
        {"picture": "a.png", "ask": "Which colour?", "truth": "red", "choices": ["blue", "red"]},
        {"picture": "a.png", "ask": "How wide, in pixels?", "truth": "9", "choices": None},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.yaml").write_text(
        "id: mine\nsource: {path: rows.jsonl}\nimages: [picture]\nquestion: '{ask}'\nanswer: truth\n"
        "options: choices\ncluster: '{picture}'\n"
    )
    items = load_benchmark(str(tmp_path / "mine.yaml"), limit=None, seed=0)
    assert [item.gold.rule for item in items] == ["choice", "text"]
    assert items[0].gold.answers == ("B",) and items[0].options == ("blue", "red")
    assert items[1].images()[0].size == (9, 9) and items[0].cluster == items[1].cluster == "a.png"
    assert data_differences(find_spec(str(tmp_path / "mine.yaml")), source=None) == []


def test_local_copies_in_every_form_give_the_same_items(tmp_path: Path) -> None:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for row, *_ in ROWS["mmmu"]]
    table = pa.Table.from_pylist(rows)
    (tmp_path / "parts").mkdir()
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=2)
    pq.write_table(table.slice(0, 3), tmp_path / "parts" / "0.parquet")
    pq.write_table(table.slice(3), tmp_path / "parts" / "1.parquet")
    pictures = datasets.Image(decode=False)
    saved = datasets.Dataset(table)
    for name in ("image_1", "image_2"):
        saved = saved.cast_column(name, pictures)
    saved.save_to_disk(tmp_path / "saved")
    read = [
        load_benchmark("mmmu", limit=None, seed=0, source=tmp_path / name)
        for name in ("all.parquet", "parts", "saved")
    ]
    for items in read:
        assert [item.key for item in items] == [row["id"] for row in rows]
        assert [len(item.images()) for item in items] == [1, 2, 1, 1]
        assert items[0].images()[0].getpixel((0, 0)) == (10, 10, 10)


def test_mistakes_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"id: caf\xe9\n")
    with pytest.raises(BenchmarkError, match=r"latin\.yaml cannot be read"):
        find_spec(str(tmp_path / "latin.yaml"))
    for text, said in {
        "": "the file: it must hold keys with values, KEY: VALUE, got None",
        "- a": r"the file: it must hold keys with values, KEY: VALUE, got \['a'\]",
        "[" * 2000: "is not YAML: maximum recursion depth",
        "id: a\nid: b": "is not YAML: id is given twice",
    }.items():
        with pytest.raises(BenchmarkError, match=said):
            parse_spec(text, shown="mine.yaml")
    latex = parse_spec("id: a\nsource: {items: [{question: '${x}$'}]}", shown="mine.yaml")
    assert latex.source.items == [{"question": "${x}$"}]  # no placeholder
    with pytest.raises(BenchmarkError, match="chartqa: its source has no rows"):
        (tmp_path / "empty.jsonl").touch()
        load_benchmark("chartqa", limit=1, seed=0, source=tmp_path / "empty.jsonl")
    with pytest.raises(BenchmarkError, match="there is no benchmark 'mmmuu'"):
        find_spec("mmmuu")
    with pytest.raises(BenchmarkError, match="exactly one of hub, path, function and items"):
        parse_spec("id: x\nsource: {}", shown="x.yaml")
    with pytest.raises(BenchmarkError, match="answr: no such key; did you mean 'answer'"):
        parse_spec("id: x\nsource: {path: a}\nanswr: b", shown="x.yaml")
    with pytest.raises(BenchmarkError, match=r"write \{column\} only"):
        parse_spec("id: x\nsource: {path: a}\nquestion: '{a.b}'", shown="x.yaml")
    with pytest.raises(BenchmarkError, match="not a regular expression"):
        parse_spec("id: x\nsource: {path: a}\nstrip: ['(']", shown="x.yaml")
    with pytest.raises(BenchmarkError, match=r"--source chartqa=PATH"):
        load_benchmark("chartqa", limit=1, seed=0, source=tmp_path / "nowhere")
    with pytest.raises(BenchmarkError, match="rows share a key"):
        twice = Source(items=[ROWS["chartqa"][0][0]] * 2)
        spec = find_spec("chartqa").model_copy(update={"source": twice, "key": "{type}"})
        load_benchmark(spec, limit=None, seed=0)
    with pytest.raises(BenchmarkError, match="a picture cannot be read"):
        broken = Source(items=[{**ROWS["chartqa"][0][0], "image": {"bytes": b"no", "path": None}}])
        load_benchmark(find_spec("chartqa").model_copy(update={"source": broken}), limit=1, seed=0)[
            0
        ].images()


def test_items_hold_no_picture_and_read_it_when_it_is_asked_for() -> None:
    rows = open_rows(Source(items=[{"q": "?", "a": "1", "p": png(9)}]), shown="mine")
    read: list[int] = []

    def counted(number: int) -> dict[str, Any]:
        read.append(number)
        return rows[number]

    text = "id: mine\nsource: {items: [{}]}\nimages: [p]\nquestion: '{q}'\nanswer: a\n"
    spec = parse_spec(text, shown="mine")
    item = read_item(spec, replace(rows, table=replace(rows.table, read=counted)), 0)
    assert read == [0]
    for times in (2, 3):
        assert len(item.images()) == 1 and read == [0] * times
