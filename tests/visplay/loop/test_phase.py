"""A reward that is no number ends the phase with its name, and nothing is learned from it."""

from pathlib import Path
from typing import Any

import pytest

from rewards import Reward
from tests.visplay.contexts import context
from visplay.config.loading import check_config
from visplay.config.sections import Phase
from visplay.errors import TooFewExamples, TrainingDiverged
from visplay.loop.phase import Learning
from visplay.pocket.truth import write_pictures


class Untouched:
    """A Learner that must not be asked to learn."""

    done = 2

    def update(self, rollouts: Any) -> None:
        raise AssertionError("learned from a reward that is no number")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e308])
def test_a_reward_that_is_no_number_is_named_and_not_learned_from(value: float, tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", count=1, seed=0, style="clean")
    config = check_config({"images": {"source": str(tmp_path / "pictures")}, "output": str(tmp_path)})
    phase = Learning(ctx=context(config), role="questioner", settings=Phase(), seed=0, roles={})
    phase.learner = Untouched()
    broken = Reward(total=value, parts={"uncertainty": 0.5, "mine": value})
    with pytest.raises(TrainingDiverged, match=r"step 3: a reward is .*'mine': .*; the steps before"):
        phase.learn([], [], [[broken]], [])


def test_errors_can_be_copied_and_sent_to_another_process() -> None:
    import copy
    import pickle

    error = TooFewExamples(2, kept=0, needed=8)
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(again) == str(error) and again.iteration == 2
