"""The time left for a run: by steps of the same kind where there are any, else by planned work."""

import json
import time
from pathlib import Path

from tests.visplay.small import SMALL
from visplay.config.loading import check_config
from visplay.loop.outlook import Outlook, outlook

WORK = [
    ("iteration-0/evaluation", 10.0), ("iteration-1/questioner", 40.0), ("iteration-1/evaluation", 10.0),
    ("iteration-2/questioner", 40.0), ("iteration-2/evaluation", 10.0),
]  # fmt: skip


def left(of: Outlook, step: str, own: float) -> float | None:
    found = of.left(step, since=time.monotonic(), own=own)
    return None if found is None else round(found)


def test_nothing_is_said_before_a_step_is_finished() -> None:
    assert left(Outlook(WORK, {}), "iteration-0/evaluation", 5.0) is None


def test_by_the_rate_of_what_is_finished() -> None:
    """The evaluation took 20 s for a work of 10: two seconds each."""
    of = Outlook(WORK, {"iteration-0/evaluation": 20.0})
    # Of the phase 80 s by that rate; then 20 (measured), 80 and 20.
    assert left(of, "iteration-1/questioner", 8.0) == 80 + 20 + 80 + 20
    assert left(of, "iteration-1/questioner", 500.0) == 500 + 20 + 80 + 20


def test_by_the_last_step_of_the_same_kind() -> None:
    of = Outlook(WORK, {"iteration-0/evaluation": 20.0})
    of.finished("iteration-1/questioner", 30.0)
    of.finished("iteration-1/evaluation", 50.0)
    assert left(of, "iteration-2/questioner", 1.0) == 30 + 50
    assert left(of, "iteration-2/evaluation", 50.0) == 50


def test_steps_that_are_no_work_of_the_plan_say_nothing() -> None:
    assert left(Outlook(WORK, {"iteration-0/evaluation": 1.0}), "iteration-1/health", 1.0) is None


def test_a_run_that_is_resumed_knows_what_its_steps_took(tmp_path: Path) -> None:
    row = {"step": "iteration-0/evaluation", "seconds": {"evaluation": 30.0, "other": 2.0}}
    (tmp_path / "timings.jsonl").write_text(json.dumps(row) + "\n")
    config = check_config({**SMALL, "images": {"source": "photos"}, "iterations": 2})
    of = outlook(config, pictures=8, folder=tmp_path)
    found = left(of, "iteration-1/questioner", 0.0)
    assert found is not None and found > 2 * 32
    assert left(outlook(config, pictures=8, folder=tmp_path / "new"), "iteration-1/questioner", 0.0) is None
