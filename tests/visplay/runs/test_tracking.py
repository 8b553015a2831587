"""What the trackers are sent, read back from where they keep it."""

import json
from pathlib import Path

import pytest
import wandb
from accelerate import PartialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from visplay.config.loading import Config, check_config
from visplay.errors import ConfigError
from visplay.runs.tracking import Tracker


@pytest.fixture(autouse=True)
def nothing_of_accelerate_is_set_up() -> None:
    """As at the beginning of a run; a test before may have set it up."""
    PartialState._reset_state()


def config(folder: Path, *names: str) -> Config:
    (folder / "run").mkdir(exist_ok=True)
    return check_config(
        {
            "images": {"source": "pictures"}, "output": str(folder), "report_to": list(names),
            "questioner": {"steps": 2}, "reasoner": {"steps": 3},
        }
    )  # fmt: skip


def send_an_iteration(tracker: Tracker, iteration: int, *, first_step: int = 1) -> None:
    tracker.iteration = iteration
    for phase, steps in (("questioner", 2), ("reasoner", 3)):
        for step in range(first_step, steps + 1):
            tracker.log_step(phase, {"step": float(step), "reward": iteration + step / 10})
    measured = {"dusk": {"n": 4, "accuracy": {"value": 0.5 * iteration}, "paired": None, "verdict": "better"}}
    tracker.log_rows([{"iteration": iteration, "phase": "evaluation", "benchmarks": measured}])


def test_steps_count_through_the_whole_run_also_when_it_goes_on(tmp_path: Path) -> None:
    settings = config(tmp_path, "tensorboard")
    stopped = Tracker(settings)
    send_an_iteration(stopped, 1)
    stopped.close()
    again = Tracker(settings)  # an iteration later, in another process
    send_an_iteration(again, 2)
    again.close()
    found = EventAccumulator(str(settings.folder / "tensorboard"))
    found.Reload()
    assert [(e.step, round(e.value, 3)) for e in found.Scalars("questioner/reward")] == [
        (1, 1.1), (2, 1.2), (6, 2.1), (7, 2.2),
    ]  # fmt: skip
    assert [e.step for e in found.Scalars("reasoner/reward")] == [3, 4, 5, 8, 9, 10]
    accuracy = found.Scalars("evaluation/benchmarks/dusk/accuracy/value")
    assert [(e.step, e.value) for e in accuracy] == [(5, 0.5), (10, 1.0)]
    assert not [tag for tag in found.Tags()["scalars"] if "verdict" in tag or "paired" in tag]


def test_wandb_offline_keeps_one_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    settings = config(tmp_path, "wandb")
    for iteration in (1, 2):
        tracker = Tracker(settings)
        send_an_iteration(tracker, iteration)
        tracker.close()
    identity = json.loads((settings.folder / "tracking.json").read_text())["id"]
    kept = list((settings.folder / "wandb").glob("offline-run-*"))
    assert kept and all(path.name.endswith(identity) for path in kept)
    assert any(b"questioner/reward" in file.read_bytes() for path in kept for file in path.glob("*.wandb"))


def test_a_tracker_that_cannot_start_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", refused)
    config = check_config({"images": {"source": "photos"}, "output": str(tmp_path), "report_to": ["wandb"]})
    config.folder.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"report_to: wandb cannot be started .*WANDB_MODE=offline"):
        Tracker(config)


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="report_to: trackio is not installed; pip install trackio"):
        Tracker(config(tmp_path, "trackio"))
    with pytest.raises(ConfigError, match="report_to"):
        config(tmp_path, "mlflow")


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    settings = config(tmp_path)
    send_an_iteration(Tracker(settings), 1)
    assert list(settings.folder.iterdir()) == []
