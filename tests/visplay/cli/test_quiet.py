"""A terminal on which nothing but visplay speaks, when all is well."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.visplay.small import SMALL
from visplay.pocket.truth import write_pictures

pytestmark = pytest.mark.slow
# What other packages have been heard to say.
FOREIGN = re.compile(
    r"warning|deprecated|triton|cuda|Parameter '|\[transformers\]|loading weights|site-packages|W\d{4} |it/s",
    re.I,
)


def said(arguments: list[str], folder: Path) -> str:
    """Both streams of a command, as a user's terminal would show them."""
    done = subprocess.run(
        [sys.executable, "-m", "visplay.cli", *arguments], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "COLUMNS": "80", "HF_HUB_OFFLINE": "1"}, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_train_evaluate_and_report_say_nothing_of_other_packages(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", count=8, seed=0, style="dusk")
    own = {**SMALL, "images": {"source": "pictures"}, "name": "quiet"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(own))
    commands = [
        ["train", "run.yaml"], ["report", "runs/quiet"], ["runs"],
        ["evaluate", "runs/quiet@1", "-b", "pocket-dusk", "--limit", "4", "--split", "development"],
    ]  # fmt: skip
    for command in commands:
        lines = said(command, tmp_path).splitlines()
        assert [line for line in lines if FOREIGN.search(line)] == [], command
        assert lines
