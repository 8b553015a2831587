"""A run that is resumed with other settings: what may change goes on and is noted, the rest is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.visplay.loop.faulty import (
    FAULTY,
    StopsAt,
    error_of,
    journal_lines,
    settings,
    state,
    steps_of,
    stop_at,
)
from visplay.config.loading import Config
from visplay.config.sections import Model
from visplay.loop.selfplay import selfplay
from visplay.storage import read_jsonl

pytestmark = pytest.mark.slow
HALVED = {"optimizer": {**FAULTY["optimizer"], "micro_batch_size": 4}}
OTHER_BATCH = {"engine": {**FAULTY["engine"], "batch_size": 64}}


def moved(run: Path, pictures: Path, tmp_path: Path, **values: Any) -> Config:
    """The configuration with other values, and a copy of a run in its place; its `output` differs, too."""
    config = settings(pictures, tmp_path, **values)
    shutil.copytree(run, config.folder)
    return config


@pytest.mark.parametrize(
    ("step", "values", "key", "before", "now"),
    [("questioner", HALVED, "optimizer.micro_batch_size", 8, 4),
     ("curation", OTHER_BATCH, "engine.batch_size", 512, 64)],
    ids=["micro batch", "engine"],
)  # fmt: skip
def test_what_computes_may_change_in_the_middle_of_a_phase(
    step: str, values: Any, key: str, before: int, now: int,
    stopped: dict[str, Path], whole: Path, scenes: Path, tmp_path: Path,
) -> None:  # fmt: skip
    config = moved(stopped[step], scenes, tmp_path, **values)
    after = steps_of(config.folder)[-1]
    display = StopsAt()
    selfplay(config, display=display)
    assert steps_of(config.folder) == steps_of(whole)
    noted = [row for row in read_jsonl(config.folder / "changes.jsonl") if row["key"] != "output"]
    assert noted == [{"after": after, "key": key, "before": before, "now": now}]
    told = [line for line in display.said if line.startswith("changed after ")]
    assert len(told) == 1 and f"{key}: {before} -> {now}" in told[0]
    assert told[0].endswith("from now on results may differ in their last bits from an unchanged run")
    again = StopsAt()
    selfplay(config, display=again)  # with the same values once more: nothing to say
    assert not [line for line in again.said if line.startswith("changed")]
    assert len(read_jsonl(config.folder / "changes.jsonl")) == 1 + 1


def test_what_decides_the_method_may_not(stopped: dict[str, Path], scenes: Path, tmp_path: Path) -> None:
    config = moved(stopped["questioner"], scenes, tmp_path, seed=1)
    before = state(config.folder)
    said = error_of(config)
    assert said.startswith("RunMismatch: RUN has a run with another configuration:\n")
    assert "  seed: 0 -> 1\n" in said and state(config.folder) == before
    assert not (config.folder / "changes.jsonl").exists()


def test_another_base_under_the_same_path_is_refused(scenes: Path, tmp_path: Path) -> None:
    """Weights that changed in place; a copy of the same files with other times is the same base."""
    base = tmp_path / "base"
    shutil.copytree(Model().source, base)
    config = settings(scenes, tmp_path, model={**FAULTY["model"], "path": str(base)})
    stop_at(config, "questioner", times=1)
    before = journal_lines(config.folder)
    weights = base / "model.safetensors"
    kept = weights.read_bytes()
    changed = {n: w * 1.02 if "q_proj" in n else w for n, w in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    said = error_of(config)
    assert said.startswith(
        f"RunMismatch: model.path: the base VLM {base} is not the one that RUN was started"
    )
    assert journal_lines(config.folder) == before
    weights.write_bytes(kept)
    assert stop_at(config, "curation")
