"""Send a run's metrics to TensorBoard, Weights & Biases and trackio while it runs.

TRL's `report_to` would open one tracked run per phase and count steps from 0 in each. Here a self-play run is
one tracked run, whose step is the number of optimizer steps so far. The trackers are accelerate's, so their
environment variables (`WANDB_MODE=offline`, `WANDB_PROJECT`, `TRACKIO_DIR` ...) work as usual.
"""

import importlib.util
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker
from PIL import Image

from visplay.config.loading import Config, phase_of
from visplay.config.yaml_text import flat_config
from visplay.errors import ConfigError
from visplay.storage import write_text

DETAILS = ("groups", "statuses", "rejects", "types")  # not sent to trackers
SHOWN = ("type", "question", "silver_answer", "truth", "reject_reason")  # columns of the table
PROJECT = "visplay"  # the command line sets it for Weights & Biases unless WANDB_PROJECT is set


class Tracker:
    """Sends a run's metrics to the trackers of `report_to`; without trackers it does nothing.

    A resumed run sends the steps of the interrupted phase again, with the same numbers, to the same tracked
    run.

    Args:
        config: the run's configuration; the run's folder must exist if a tracker is named.

    Raises:
        ConfigError: a tracker is not installed.
    """

    def __init__(self, config: Config) -> None:
        self.iteration = 0  # the current iteration
        self._steps = {role: phase_of(config, role).steps for role in config.role_names}
        for name in config.report_to:
            if importlib.util.find_spec(name) is None:
                raise ConfigError(f"report_to: {name} is not installed; pip install {name}")
        if config.report_to:
            PartialState()  # accelerate's trackers do not start without it; a trainer makes its own
        self._trackers = [_open(name, config) for name in config.report_to]

    def log_step(self, phase: str, row: Mapping[str, float]) -> None:
        """Send the metrics of one optimizer step of a phase."""
        before = sum(self._steps.values()) * (self.iteration - 1)
        roles = list(self._steps)
        before += sum(self._steps[role] for role in roles[: roles.index(phase)])
        values = {f"{phase}/{name}": value for name, value in row.items() if name != "step"}
        self._log(values, step=before + int(row["step"]))

    def log_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send the main numbers in the rows of a finished step, named by their path in the row.

        Estimates are sent without their intervals. `metrics.jsonl` has these, and the values by group.
        """
        for row in rows:
            values = {k: v for k, v in row.items() if k not in ("iteration", "phase")}
            named = dict(_main_numbers(values, prefix=f"{row['phase']}/"))
            self._log(named, step=sum(self._steps.values()) * int(row["iteration"]))

    def log_questions(self, rows: Sequence[Mapping[str, Any]], pictures: Sequence[Image.Image]) -> None:
        """Send a table of questions, rows of `visplay.schema.ASKED`, each with its picture."""
        step, columns = sum(self._steps.values()) * self.iteration, ["picture", *SHOWN, "votes"]
        cells = []
        for row in rows:
            votes = zip(row["shares"], row["answers"], strict=True)
            told = [f"{row[name]:.2f}" if name == "confidence" else str(row[name] or "") for name in SHOWN]
            cells.append(
                [*map(_as_markdown, told), ", ".join(f"{a:.0%} {_as_markdown(b)}" for a, b in votes)]
            )
        numbered = [[str(i), *own] for i, own in enumerate(cells)]
        for tracker in self._trackers:
            if tracker.name == "tensorboard":
                table = [columns, ["---"] * len(columns), *numbered]
                text = "\n".join(f"| {' | '.join(line)} |" for line in table)
                tracker.tracker.add_text("curation/asked", text, step)
                for i, picture in enumerate(pictures):
                    pixels = np.asarray(picture.convert("RGB"))
                    tracker.tracker.add_image(f"curation/picture {i}", pixels, step, dataformats="HWC")
            elif tracker.name == "wandb":
                tracker.log_images({"curation/pictures": list(pictures)}, step=step)
                tracker.log_table("curation/asked", columns=columns, data=numbered, step=step)
            else:
                own = importlib.import_module(tracker.name)
                data = [[own.Image(one), *line] for one, line in zip(pictures, cells, strict=True)]
                tracker.log({"curation/asked": own.Table(columns=columns, data=data)}, step=step)

    def close(self) -> None:
        """Flush the trackers."""
        for tracker in self._trackers:
            tracker.finish()

    def _log(self, values: dict[str, float], *, step: int) -> None:
        for tracker in self._trackers:
            tracker.log(values, step=step)


def _main_numbers(values: Mapping[str, Any], *, prefix: str) -> Iterator[tuple[str, float]]:
    for name, held in values.items():
        value = held.get("value", held) if isinstance(held, Mapping) else held
        if isinstance(value, Mapping) and name not in DETAILS:
            yield from _main_numbers(value, prefix=f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", float(value)


def _as_markdown(text: str) -> str:
    """Model text as one cell of a table, which trackers show as Markdown: escaped, on one line."""
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", escape(" ".join(text.split())))


def _open(name: str, config: Config) -> GeneralTracker:
    if name == "tensorboard":
        tracker: Any = TensorBoardTracker("tensorboard", config.folder)
    elif name == "wandb":
        tracker = WandBTracker(
            None,
            id=_identity(config.folder),
            name=config.name,
            resume="allow",
            dir=str(config.folder),
            settings={"init_timeout": 30.0},
        )
    else:
        tracker = TrackioTracker(PROJECT, name=f"{config.name}-{_identity(config.folder)}", resume="allow")
    try:
        tracker.start()
    # wandb and trackio raise custom errors: no key, an invalid key, no network.
    except Exception as error:
        raise ConfigError(
            f"report_to: {name} cannot be started ({' '.join(str(error).split())[:200]}). Log in "
            "(wandb login), set WANDB_MODE=offline, or remove it; finished steps are kept"
        ) from error
    if name != "tensorboard":
        tracker.store_init_configuration(flat_config(config.model_dump(mode="json")))
    return tracker


def _identity(folder: Path) -> str:
    """The id of the tracked run, which is drawn once and stored, so that a resumed run reuses it."""
    path = folder / "tracking.json"
    if not path.exists():
        write_text(path, json.dumps({"id": uuid.uuid4().hex[:12]}))
    return str(json.loads(path.read_text())["id"])
