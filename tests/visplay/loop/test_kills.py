"""`kill -9` at random instants, and inside threads; the benchmarks do it more often."""

from pathlib import Path

import pytest

from benchmarks.aimed_kills import AIMS, aimed_kills
from benchmarks.kill_and_resume import kill_and_resume

pytestmark = [pytest.mark.slow, pytest.mark.extra]  # one kill in each phase: test_selfplay.py


@pytest.mark.timeout(1800)  # six starts and two runs, on a machine that may be busy
def test_killed_again_and_again_a_run_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    outcome = kill_and_resume(tmp_path, kills=6, seed=7, iterations=1)
    assert outcome.kills.total() == 6 and outcome.different == []
    assert outcome.beyond_step_in_flight == []
    first = tmp_path / "killed-0.votes"
    assert len(first.read_text().splitlines()) >= 5  # three steps and two chunks of pictures are voted on


@pytest.mark.timeout(1800)  # eleven starts and two runs
def test_killed_three_times_inside_each_of_its_threads_a_run_ends_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    outcome = aimed_kills(tmp_path, kills=3, seed=0)
    assert dict(outcome.inside) == dict.fromkeys(AIMS, 3)
    assert outcome.compared > 5 and outcome.different == []
