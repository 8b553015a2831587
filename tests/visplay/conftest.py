"""Runs that several test modules look at, made once."""

import shutil
from pathlib import Path

import pytest

from tests.visplay.loop.faulty import PICTURES, STOPS, StopsAt, settings, stop_at
from visplay.loop.selfplay import selfplay
from visplay.pocket.truth import write_pictures
from visplay.report import write_report


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_pictures(folder, count=PICTURES, seed=3, style="dusk")
    return folder


@pytest.fixture(scope="session")
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    run = selfplay(settings(scenes, tmp_path_factory.mktemp("whole")), display=StopsAt())
    write_report(run)
    return run


@pytest.fixture(scope="session")
def stopped(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of one run, each stopped inside another step."""
    config = settings(scenes, tmp_path_factory.mktemp("stopped"))
    copies = {}
    for step, times in STOPS.items():
        stop_at(config, step, times)
        copies[step] = shutil.copytree(config.folder, config.output / f"in-{step}")
    return copies
