"""Early signs: per question of the probe, what was learned, sharpened, corrupted, and what still changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from visplay.loop.signs import SIGNS, early_signs
from visplay.storage import write_text


def measured(run: Path, iteration: int, answers: dict[str, list[str | None]]) -> None:
    """An evaluation with these answers to each question, all of whose gold answer is 1."""
    folder = run / f"iteration-{iteration}" / "evaluation"
    (folder / "probe").mkdir(parents=True)
    rows: list[dict[str, Any]] = [
        {
            "item": item, "question": "How many?", "benchmark": "probe", "sample": sample, "status": "ok",
            "answer": answer, "correct": answer in ("1", "1.0"), "gold": {"answers": ["1"]},
        }
        for item, own in answers.items()
        for sample, answer in enumerate(own)
    ]  # fmt: skip
    write_text(folder / "probe" / "sampled.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_text(folder / "summary.json", json.dumps({"benchmarks": {"probe": {}}}))


def test_each_question_is_followed_from_the_base(tmp_path: Path) -> None:
    measured(tmp_path, 0, {"a": ["2", "2"], "b": ["1", "2", "1"], "c": ["1", "1"], "d": [None, None]})
    measured(tmp_path, 2, {"a": ["1", "1"], "b": ["1", "1", "1"], "c": ["3", "3"], "d": [None, None]})
    measured(tmp_path, 3, {"a": ["1.0", "1.0"], "b": ["1", "1", "1"], "c": ["4", "4"], "d": ["5", "5"]})
    assert early_signs(tmp_path, 0) == early_signs(tmp_path, 1) == dict.fromkeys(SIGNS)
    expected = {"flips": 0.5, "learned": 0.25, "sharpened": 0.25, "corrupted": 0.25}
    assert early_signs(tmp_path, 2) == pytest.approx(expected)
    assert early_signs(tmp_path, 3) == pytest.approx(expected)  # c and d have flipped; a is 1 in other words


def test_without_samples_nothing_is_known(tmp_path: Path) -> None:
    for iteration in (0, 1):
        measured(tmp_path, iteration, {"a": ["1"]})
    (tmp_path / "iteration-0/evaluation/probe/sampled.jsonl").unlink()
    assert early_signs(tmp_path, 1) == dict.fromkeys(SIGNS)
