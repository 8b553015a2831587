"""The shipped judges: who is asked, how often, and what their precision and recall are."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import rewards
from rewards import Question
from rollouts.engine import BASE, AdapterVersion, Prompt, Sampling
from tests.scripted_engine import ScriptedEngine
from tests.visplay.contexts import context
from visplay.config.loading import check_config
from visplay.errors import ConfigError
from visplay.loop.asking import JUDGED_INVALID, Asked, Round, judge, through
from visplay.loop.health import question_health
from visplay.loop.questioner import reward

REASONER = AdapterVersion(name="shared", version=3)


def asked(text: str, *, truth: str | None = None, **values: Any) -> Asked:
    question = Question(type="numerical", question=text, answer="1")
    return Asked(picture="a", question=question, truth=truth, **values)


@pytest.mark.parametrize(("function", "who"), [("ask_base", BASE), ("ask_reasoner", REASONER)])
def test_validity_is_whether_the_verdict_says_yes(tmp_path: Path, function: str, who: AdapterVersion) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png")

    def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        text = str(prompt.messages)
        assert adapter == who and sampling.n == 1 and sampling.temperature == 0 and "Settled:" in text
        return ["\\boxed{yes}" if "How many?" in text else "\\boxed{maybe}"]

    config = check_config(
        {
            "images": {"source": str(tmp_path / "pictures")}, "output": str(tmp_path),
            "judge": {"function": f"visplay.loop.judging:{function}"},
            "prompts": {"judge": "Settled: {question!r}?"},
        }
    )  # fmt: skip
    ctx = context(config, ScriptedEngine(script))
    rows = [asked("How many?"), asked("Why?")]
    for row in rows:
        row.picture = ctx.images.records[0].key
    round = Round(phase="questioner", roles={"reasoner": REASONER}, seed=0)
    ((sure, unsure),) = through(ctx, [rows], round, [judge])
    assert (sure.validity, sure.reject) == (1.0, "")
    assert (unsure.validity, unsure.reject) == (0.0, JUDGED_INVALID)
    # A validity multiplies what the difficulty is worth.
    sure.vote, sure.validity = rewards.vote(["1", "2"]), 0.75
    _, (row,) = reward(ctx, [[sure]], step=0, seed=0)
    assert row["reward_validity"] == 0.75 and row["reward_uncertainty"] == 1.0
    assert row["reward"] == pytest.approx(max(0.0, 0.75 - row["reward_redundancy"]))


@pytest.mark.parametrize("graded", [[float("nan")], [7.0], {0: 1.0}, [1.0, 1.0]], ids=str)
def test_what_is_no_validity_is_an_error(
    graded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png")
    monkeypatch.setitem(sys.modules, "graders", SimpleNamespace(grade=lambda ctx, rows, round: graded))
    source = {"images": {"source": str(tmp_path / "pictures")}, "output": str(tmp_path)}
    ctx = context(
        check_config({**source, "judge": {"function": "graders:grade"}}), ScriptedEngine(lambda *_: [])
    )
    round = Round(phase="questioner", roles={"reasoner": REASONER}, seed=0)
    with pytest.raises(ConfigError, match=r"judge\.function: graders:grade must return"):
        through(ctx, [[asked("How many?")]], round, [judge])


def test_precision_and_recall_where_truth_is_known() -> None:
    rows = [
        asked("1", truth="1", validity=1.0), asked("2", truth="2", validity=0.9), asked("3", validity=0.8),
        asked("4", truth="4", validity=0.1, reject=JUDGED_INVALID),
        asked("5", validity=0.0, reject=JUDGED_INVALID),
    ]  # fmt: skip
    found = question_health(rows, has_truth=True)["judge"]
    assert (found["precision"]["value"], found["precision"]["n"]) == (pytest.approx(2 / 3), 3)
    assert (found["recall"]["value"], found["recall"]["n"]) == (pytest.approx(2 / 3), 3)
    assert question_health(rows, has_truth=False)["judge"] is None
    assert question_health([asked("1", truth="1")], has_truth=True)["judge"] is None


@pytest.mark.parametrize("words", ["Is it settled?", "{question} and {answer}", "{question.__class__}"])
def test_words_of_a_judge_hold_the_question_and_nothing_else(words: str) -> None:
    with pytest.raises(ConfigError, match=r"prompts\.judge"):
        check_config({"images": {"source": "photos"}, "prompts": {"judge": words}})
