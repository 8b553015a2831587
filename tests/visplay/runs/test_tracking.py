"""What the trackers are sent, read back from where they keep it."""

import json
from pathlib import Path

import pytest
import wandb
from accelerate import PartialState
from PIL import Image
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
    groups = {"kind": {"count": {"value": 0.5, "n": 2}}}
    accuracy = {"value": 0.5 * iteration, "low": 0.1, "high": 0.9, "n": 4}
    measured = {"dusk": {"n": 4, "accuracy": accuracy, "paired": None, "verdict": "better", "groups": groups}}
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
    accuracy = found.Scalars("evaluation/benchmarks/dusk/accuracy")
    assert [(e.step, e.value) for e in accuracy] == [(5, 0.5), (10, 1.0)]
    sent = [tag for tag in found.Tags()["scalars"] if tag.startswith("evaluation/")]
    assert set(sent) == {"evaluation/benchmarks/dusk/accuracy", "evaluation/benchmarks/dusk/n"}


ASKED = {
    "type": "numerical", "question": "How many | <b>are</b>\n[there](http://a.b)?", "silver_answer": "3",
    "truth": None, "reject_reason": "", "answers": ["3", "`4`"], "shares": [2 / 3, 1 / 3],
}  # fmt: skip


def test_tensorboard_shows_questions_as_text_and_their_pictures(tmp_path: Path) -> None:
    settings = config(tmp_path, "tensorboard")
    tracker = Tracker(settings)
    tracker.iteration = 2
    tracker.log_questions([ASKED, ASKED], [Image.new("RGB", (8, 4), "red"), Image.new("L", (4, 4))])
    tracker.close()
    found = EventAccumulator(str(settings.folder / "tensorboard"))
    found.Reload()
    assert found.Tags()["images"] == ["curation/picture 0", "curation/picture 1"]
    picture = found.Images("curation/picture 0")[0]
    assert (picture.width, picture.height, picture.step) == (8, 4, 10)
    (text,) = found.Tensors("curation/asked/text_summary")
    heads, _, row, _ = text.tensor_proto.string_val[0].decode().splitlines()
    assert heads.startswith("| picture | type | question | silver_answer | truth |")
    assert r"How many \| &lt;b&gt;are&lt;/b&gt; \[there\](http://a.b)? | 3 |" in row
    assert row.endswith(r"| 67% 3, 33% \`4\` |")


def test_wandb_offline_keeps_one_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    settings = config(tmp_path, "wandb")
    for iteration in (1, 2):
        tracker = Tracker(settings)
        send_an_iteration(tracker, iteration)
        tracker.log_questions([ASKED], [Image.new("RGB", (8, 8), "red")])
        tracker.close()
    (table,) = {file.read_text() for file in settings.folder.glob("wandb/**/curation/*.table.json")}
    assert json.loads(table)["columns"][:3] == ["picture", "type", "question"]
    assert r"\[there\]" in json.loads(table)["data"][0][2]
    pictures = {file.name for file in settings.folder.glob("wandb/**/media/images/**/*.png")}
    assert len(pictures) == 2  # one of each iteration
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
