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
    r"warning:|warn\(|deprecated|triton|No CUDA|Parameter '|\[transformers\]|loading weights|site-packages"
    r"|W\d{4} |it/s",
    re.I,
)


def said(arguments: list[str], folder: Path) -> str:
    """Both streams of a command, as a user's terminal would show them."""
    done = subprocess.run(
        [sys.executable, "-m", "visplay", *arguments], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "COLUMNS": "80", "HF_HUB_OFFLINE": "1"}, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_commands_say_nothing_of_other_packages(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", count=8, seed=0, style="dusk")
    scored = {"benchmarks": ["pocket-dusk"], "limit": 4, "maj_limit": 0, "blind_limit": 0}
    phases = {phase: {**SMALL[phase], "steps": 1} for phase in ("questioner", "reasoner")}
    own = {**SMALL, **phases, "evaluation": scored, "images": {"source": "pictures"}, "name": "quiet"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(own))
    picture = str(next((tmp_path / "pictures").glob("*.png")))
    commands = [
        ["doctor", "run.yaml"], ["plan", "run.yaml"],
        ["train", "run.yaml"], ["runs"], ["report", "runs/quiet"],
        ["ask", "runs/quiet", picture, "--questions", "2"],
        ["export", "runs/quiet", "adapter"],
        ["evaluate", "runs/quiet@1", "-b", "pocket-dusk", "--limit", "4", "--out", "one"],
        ["evaluate", "one", "--rescore"], ["compare", "runs/quiet"], ["benchmarks"],
        ["config", "init", "pocket", "pictures", "--out", "mine.yaml"], ["config", "keys"],
        ["config", "show", "mine.yaml"],
        ["pocket", "images", "more", "--count", "2"],
    ]  # fmt: skip
    for command in commands:
        lines = said(command, tmp_path).splitlines()
        assert [line for line in lines if FOREIGN.search(line)] == [], command
        assert lines


def test_what_is_listened_for_is_heard() -> None:
    """What these packages print here when nobody keeps them quiet; at least one line of it is recognised."""
    loud = subprocess.run(
        [sys.executable, "-c", "import torch, vllm.triton_utils.importing"], capture_output=True, text=True
    )
    assert any(FOREIGN.search(line) for line in (loud.stdout + loud.stderr).splitlines())
