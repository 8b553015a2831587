"""The browser's data: every rollout of a run, each question with what became of it, within stated bounds."""

import base64
import io
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.visplay.report.small_run import (
    ATTACK,
    candidate,
    page_of,
    rollouts_of,
    write_rows,
    write_small_run,
    write_unfinished,
)
from visplay.report.reading import drawn_rows, read_run_data
from visplay.report.samples import browsable, side_for, thumbnails


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_small_run(tmp_path)


def test_questions_carry_votes_outcome_truth_and_attempts(run: Path) -> None:
    html, tags = page_of(run)
    asked = [q for q in rollouts_of(html)["questions"] if q["phase"] == "curation"]
    hostile, stars, art, broken = sorted(asked, key=lambda q: q.get("question", "~"))
    assert stars["question"] == "How many stars?" and stars["judged"] == "false" and stars["truth"] == "3"
    assert stars["ballots"] == [["2", 0.5, True], ["3", 0.375, False], [None, 0.125, False]]
    assert (stars["votes"], stars["confidence"], stars["outcome"]) == (8, 0.5, "confidence too high")
    assert art["judged"] == "unanswerable" and art["outcome"] == "kept"
    assert broken["failure"] == "no question block" and "confidence" not in broken and "judged" not in broken
    assert hostile["ballots"][0][0] == ATTACK and "attempts" not in hostile
    assert html.count("data:image/jpeg;base64,") == 2  # each picture once
    assert all(a.get("data-filter") for tag, a in tags.found if tag == "select")


def test_attempts_stand_at_the_question_they_belong_to(run: Path) -> None:
    path = run / "iteration-1/reasoner/rollouts.parquet"
    [row] = pq.read_table(path).to_pylist()
    tried = [row | {"question": ATTACK, "step": step, "reward": float(step)} for step in (0, 1)]
    write_rows(path, [*tried, row])
    questions = rollouts_of(page_of(run)[0])["questions"]
    [hostile] = [q for q in questions if q.get("question") == ATTACK]
    assert [(a["step"], a["reward"], a["text"]) for a in hostile["attempts"]] == [
        (0, 0.0, ATTACK),
        (1, 1.0, ATTACK),
    ]
    assert hostile["answered"] == "some" and "iteration" not in hostile["attempts"][0]
    [orphan] = [q for q in questions if q["phase"] == "reasoner"]  # its question is not among the candidates
    assert (orphan["question"], orphan["answered"], orphan["silver"]) == ("How many?", "all", "2")


def test_rewards_of_the_questioner_stand_with_their_parts(run: Path) -> None:
    row = candidate("a" * 64, "Why?", step=3, completion="<question>Why?</question>", reward=0.25)
    del row["kept"], row["reject_reason"]
    row |= {"reward_uncertainty": 0.5, "reward_redundancy": -0.25, "reward_lost": float("nan")}
    write_rows(run / "iteration-1/questioner/rollouts.parquet", [row])
    [asked] = [q for q in rollouts_of(page_of(run)[0])["questions"] if q["phase"] == "questioner"]
    assert (asked["step"], asked["reward"], asked["paid"]) == (3, 0.25, "above 0")
    assert asked["parts"] == {"uncertainty": 0.5, "redundancy": -0.25, "lost": None}
    assert asked["completion"] == "<question>Why?</question>" and "outcome" not in asked


def test_long_texts_are_cut_and_say_so(run: Path) -> None:
    write_rows(run / "iteration-1/curation/candidates.parquet", [candidate("a" * 64, "x" * 100_000)])
    [question] = [q for q in rollouts_of(page_of(run)[0])["questions"] if q["phase"] == "curation"]
    assert question["question"] == "x" * 4000 + " … (96000 more characters)"


def test_of_a_large_file_only_what_a_page_has_room_for_is_read(run: Path) -> None:
    rows = [candidate(f"{(i * 7) % 90:064x}", f"question {i}") for i in range(90)]
    for i in range(30):
        rows[3 * i] |= {"kept": False, "reject_reason": "confidence too high"}
    rows[50] |= {"kept": False, "reject_reason": "asked before"}
    path = run / "iteration-1/curation/candidates.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    read, left_out = drawn_rows(path, most=10)
    by_key = sorted(rows, key=lambda row: str(row["image_key"]))
    kept = [row for row in by_key if row["kept"]][:10]
    high = [row for row in by_key if row["reject_reason"] == "confidence too high"][:10]
    assert left_out == 90 - 21
    assert read == [row for row in rows if row in [*kept, *high, rows[50]]]  # in the order of the file
    assert drawn_rows(path, most=90) == (rows, 0)
    whole, part = read_run_data(run), replace(read_run_data(run), candidates={1: read}, left_out=left_out)
    assert browsable(part, most_rollouts=10) == browsable(whole, most_rollouts=10)


def test_rare_outcomes_are_shown_where_not_all_fit(run: Path) -> None:
    rows = [candidate(f"{i % 60:064x}", f"question {i}") for i in range(900)]
    rows[700] |= {"kept": False, "reject_reason": "asked before"}
    write_rows(run / "iteration-1/curation/candidates.parquet", rows)
    (run / "iteration-1/reasoner/rollouts.parquet").unlink()
    assert browsable(read_run_data(run)).rollouts == 900
    shown = browsable(read_run_data(run), most_rollouts=100)
    assert (shown.rollouts, shown.all_rollouts, len(shown.questions)) == (100, 900, 100)
    assert "asked before" in {question["outcome"] for question in shown.questions}
    few = browsable(read_run_data(run), most_text=280)  # each "question 123", "2" and "3": 14 at most
    assert 20 <= len(few.questions) <= 23


def test_pictures_have_a_budget() -> None:
    loaded: list[str] = []

    def load(key: str) -> Image.Image:
        loaded.append(key)
        return Image.new("L", (8, 8), 3)

    made: dict[str, str] = {}
    one = len(thumbnails(["a"], load, made=made)["a"])
    assert list(thumbnails("abcde", load, made=made, most_bytes=3 * one)) == ["a", "b", "c"]
    assert loaded == ["a", "b", "c", "d"]  # "a" was there; "d" is too much
    assert list(thumbnails("abcde", load, made=made, most=2)) == ["a", "b"]


def test_few_pictures_are_stored_larger(run: Path) -> None:
    assert [side_for(n) for n in (0, 1, 26, 27, 104, 105, 5000)] == [960, 960, 960, 480, 480, 240, 240]
    encoded = [picture["data"].partition(",")[2] for picture in rollouts_of(page_of(run)[0])["pictures"]]
    sizes = {Image.open(io.BytesIO(base64.b64decode(data))).size for data in encoded}
    assert sizes == {(300, 200)}  # as large as the files are


def test_a_step_under_way_says_how_fast_it_is_and_how_long_it_takes(run: Path) -> None:
    scratch = run / "iteration-2/questioner.partial/unfinished"
    row = candidate("a" * 64, "Q?", step=1, completion="", reward=0.5)
    config = run / "config.yaml"
    config.write_text(config.read_text() + "questioner: {steps: 100}\n")
    for step, written in ((1, 0), (2, 20), (3, 40), (4, 4000), (5, 4020)):  # stopped once, then resumed
        metrics = {"step": step, "reward": step / 8, "completions/mean_length": 30.0}
        path = scratch / f"step-{step}.json"
        write_unfinished(path, {"metrics": metrics, "records": [row] * 4})
        os.utime(path, (1e9 + written, 1e9 + written))
    html, tags = page_of(run)
    text = " ".join(tags.text.replace("\u00a0", " ").split())
    assert (
        "5 of 100 steps, reward 0.625 in the last, about 32 min left, 6 completion tokens per second" in text
    )
    assert 'aria-label="reward by step: 0.125, 0.25, 0.375, 0.5, 0.625"' in html
    for step in range(2, 6):
        (scratch / f"step-{step}.json").unlink()
    text = page_of(run)[1].text
    assert "1 of 100 steps" in text and "left," not in text and "per second" not in text


def test_a_phase_under_way_is_told_from_its_finished_steps(run: Path) -> None:
    scratch = run / "iteration-2/reasoner.partial/unfinished"
    for step in (1, 2, 10):
        row = {"step": step, "image_key": "a" * 64, "completion": "\ud800 half", "reward": 1.0,
               "question": "Q?", "silver_answer": "2"}  # fmt: skip
        value = {"metrics": {"step": step, "reward": step / 8}, "records": [row]}
        write_unfinished(scratch / f"step-{step}.json", value)
    (scratch / "step-11.json").write_text('{"metrics": ')  # damaged: the run does it again
    write_unfinished(run / "iteration-2/curation.partial/unfinished/pictures-0.json", [])
    config = run / "config.yaml"
    config.write_text(config.read_text() + "reasoner: {steps: 20}\n")
    html, tags = page_of(run)
    text = " ".join(tags.text.split())
    assert "In progress: iteration 2, reasoner, 3 of 20 steps, reward 1.25 in the last" in text
    assert "In progress: iteration 2, curation" in text
    [question] = [q for q in rollouts_of(html)["questions"] if q["iteration"] == 2]
    assert [a["step"] for a in question["attempts"]] == [1, 2, 10]
    assert "\ud800" not in html and "\\ud800" in html
    (run / "iteration-2/reasoner").mkdir()  # finished while we looked
    assert "reasoner, 3 of 20" not in page_of(run)[1].text
