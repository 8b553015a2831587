"""What a step of ours leaves out changes nothing: the gradient is that of TRL's own `train()`."""

from pathlib import Path
from typing import Any

import pytest

from tests.architectures.tiny import ALL, Tiny
from tests.visplay.training.reference import (
    POCKET,
    apart,
    by_learner,
    by_trl,
    pictured,
    policy_of,
    rollouts_of,
    sgd,
)
from visplay.config.sections import Lora, Model, Phase
from visplay.training.pictures import Pictures

pytestmark = pytest.mark.slow


def check_same(
    folder: Path, model: Model, *, sizes: list[tuple[int, int]], prompts: int = 2, steps: int = 2,
    corrected: bool = False, lora: Lora | None = None, **optimizer: Any,
) -> Pictures:  # fmt: skip
    """See that a phase adds to the adapter what TRL's does; returns what stood before the tower."""
    phase = Phase(steps=steps, prompts_per_step=prompts, group_size=4, max_tokens=24)
    policy, start = policy_of(model, folder, **({"lora": lora} if lora else {}))
    rollouts = rollouts_of(policy, pictured(prompts * steps, sizes=sizes), group=4)
    given: dict[str, Any] = {"phase": phase, "optimizer": sgd(**optimizer), "corrected": corrected}
    seen: list[Any] = []
    ours, rows = by_learner(folder, rollouts, policy, start, look=seen.append, **given)
    theirs, logged = by_trl(folder, rollouts, policy, start, **given)
    assert float(theirs.norm()) > 0 and apart(ours, theirs) < 1e-5
    for row, expected in zip(rows, logged, strict=True):
        for name in ("loss", "grad_norm"):
            assert row[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-5)
    assert "get_image_features" not in {n for m in policy.model.modules() for n in vars(m)}
    assert seen[0].groups.once
    pictures: Pictures = seen[0].pictures
    return pictures


@pytest.mark.parametrize("tiny", ALL, ids=lambda tiny: tiny.name)
def test_each_picture_is_looked_at_once_a_step_and_nothing_else_changes(tiny: Tiny, tmp_path: Path) -> None:
    tiny.write(tmp_path / "model")
    model = Model(path=str(tmp_path / "model"), dtype="float32")
    pictures = check_same(tmp_path, model, sizes=[(120, 80), (60, 90)], micro_batch_size=4)
    assert pictures.computed == 2 * 2


@pytest.mark.parametrize(("reference", "corrected"), [("start", False), ("base", False), ("base", True)])
def test_a_tower_that_learns_is_asked_each_time(reference: str, corrected: bool, tmp_path: Path) -> None:
    """Whichever adapter is on in the first pass."""
    pictures = check_same(
        tmp_path, POCKET, sizes=[(96, 96)], steps=1, corrected=corrected, micro_batch_size=8,
        lora=Lora(rank=4, targets=["q_proj"]),  # those of the tower, too
        reference=reference,
    )  # fmt: skip
    assert pictures.computed == 0
