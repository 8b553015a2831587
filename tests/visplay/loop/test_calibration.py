"""The band of confidences by labelled questions: as wide as its silver answers are right enough."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rollouts.scripted_engine import ScriptedEngine
from tests.visplay.contexts import context
from tests.visplay.loop.test_curation import curated, folder_of, script, settled
from visplay.config.loading import Config, check_config
from visplay.loop.calibration import FEWEST, FEWEST_OF_SKILL, calibrated, closed_skills, gate_of
from visplay.storage import write_text

# Right in none at 0.2, half at 0.4, eight of ten at 0.6, all at 0.9.
VOTES = [
    (confidence, place < right)
    for confidence, right in ((0.2, 0), (0.4, 5), (0.6, 8), (0.9, 10))
    for place in range(10)
]  # fmt: skip


@pytest.mark.parametrize(
    ("least", "low", "share"), [(0.5, 0.2, 23 / 40), (0.7, 0.4, 23 / 30), (0.8, 0.6, 0.9), (0.9, 0.6, 0.9)]
)
def test_the_widest_band_that_is_right_enough(least: float, low: float, share: float) -> None:
    band = calibrated(VOTES, least=least, high=1.0)
    assert band is not None and band.right is not None
    assert (band.low, band.high) == (low, 1.0)
    assert band.right["value"] == pytest.approx(share) and band.right["low"] < share < band.right["high"]


def test_no_band_is_right_enough_or_has_too_few_votes() -> None:
    assert calibrated(VOTES, least=0.95, high=1.0) is None  # ten votes at 0.9 say too little
    assert calibrated(VOTES, least=0.7, high=0.6) is None  # 13 of 20 is the best up there
    assert calibrated(VOTES[: FEWEST - 1], least=0.01, high=1.0) is None


def measured(run: Path, votes: list[tuple[list[str], str]], *, question: str = "How many?") -> None:
    """An evaluation of iteration 0 with these answers to each question, and its gold answer."""
    folder = run / "iteration-0" / "evaluation"
    (folder / "probe").mkdir(parents=True)
    rows: list[dict[str, Any]] = [
        {
            "item": str(item), "question": question, "benchmark": "probe", "sample": sample,
            "status": "ok", "answer": answer,
            "correct": answer == gold, "gold": {"answers": [gold]}, "output": answer, "finish": "stop",
            "tokens": 1,
        }
        for item, (answers, gold) in enumerate(votes)
        for sample, answer in enumerate(answers)
    ]  # fmt: skip
    write_text(folder / "probe" / "sampled.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_text(folder / "summary.json", json.dumps({"benchmarks": {"probe": {}}}))


def with_min_silver(config: Config, value: float) -> Config:
    curation = config.curation.model_copy(update={"min_silver": value})
    return config.model_copy(update={"curation": curation})


def test_a_curation_keeps_by_the_probe_and_says_so(tmp_path: Path) -> None:
    """Three votes of four are always right on the probe, two of four never: "fair" has two of four."""
    config = with_min_silver(settled(tmp_path, {"high": 1.0}), 0.9)
    sure, unsure = (["1", "1", "1", "2"], "1"), (["1", "1", "2", "3"], "9")
    measured(config.folder, [sure] * FEWEST + [unsure] * FEWEST)
    ctx = context(config, ScriptedEngine(script))
    rows = curated(ctx)
    assert {row["question"]: row["reject_reason"] for row in rows[:2]} == {
        "easy": "", "fair": "confidence too low",
    }  # fmt: skip
    band = json.loads((folder_of(ctx) / "summary.json").read_text())["gate"]
    assert (band["low"], band["high"], band["right"]["n"]) == (0.75, 1.0, FEWEST)


def test_without_a_probe_the_presets_band_stays(tmp_path: Path) -> None:
    config = check_config({"images": {"source": "photos"}, "curation": {"min_silver": 0.7}})
    gate, said = gate_of(config, config.rewards.resolve(), tmp_path, 1)
    assert (gate.low, gate.high, gate.right) == (0.25, 0.75, None) and "no probe" in said
    measured(tmp_path, [])
    gate, said = gate_of(config, config.rewards.resolve(), tmp_path, 1)
    assert (gate.low, gate.closed) == (0.25, None) and "left no votes (evaluation.maj_limit)" in said
    shutil.rmtree(tmp_path / "iteration-0")
    measured(tmp_path, [(["1", "2"], "9")] * FEWEST)
    gate, said = gate_of(config, config.rewards.resolve(), tmp_path, 1)
    assert (gate.low, gate.right) == (0.25, None) and "in no band are 70% of the probe's 20" in said
    off = check_config({"images": {"source": "photos"}})
    assert gate_of(off, off.rewards.resolve(), tmp_path, 1)[1] == ""


def test_a_skill_is_closed_by_enough_wrong_answers() -> None:
    where, count = "Where is the star?", "How many stars are there?"
    votes = [(where, place < 2) for place in range(FEWEST_OF_SKILL)] + [(count, True)] * FEWEST_OF_SKILL
    closed = closed_skills(votes, least=0.5)
    assert list(closed) == ["where is the _"] and closed["where is the _"]["value"] == 0.2
    assert closed_skills(votes[1:], least=0.5) == {}  # nine say too little
    assert closed_skills(votes, least=0.2) == {}


def test_a_curation_does_not_keep_what_the_probe_fails(tmp_path: Path) -> None:
    config = settled(tmp_path, {"high": 1.0})
    curation = config.curation.model_copy(update={"min_skill": 0.5})
    config = config.model_copy(update={"curation": curation})
    measured(config.folder, [(["1", "1"], "2")] * FEWEST_OF_SKILL, question="easy")
    ctx = context(config, ScriptedEngine(script))
    assert {row["question"]: row["reject_reason"] for row in curated(ctx)[:2]} == {
        "easy": "of a skill that the probe fails", "fair": "",
    }  # fmt: skip
    assert list(json.loads((folder_of(ctx) / "summary.json").read_text())["gate"]["closed"]) == ["easy"]
