"""The documentation site builds strictly: each page in the navigation, each link to something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow


def built(out: Path, *, config: str = "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", config, "-d", str(out)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)


def test_it_builds(tmp_path: Path) -> None:
    done = built(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    commands = (tmp_path / "commands/index.html").read_text()
    assert "config init" in commands and "the same command resumes a run that was stopped" in commands
    api = (tmp_path / "api/index.html").read_text()
    assert "open_run" in api and "VisplayError" in api
    assert "silver answers that are true" in (tmp_path / "reading-a-run/index.html").read_text()
    for name in ("train", "compare", "Run"):  # under the names by which they are used
        assert f'id="visplay.{name}"' in api
    index = (tmp_path / "search/search_index.json").read_text()
    assert len(index) > 100_000 and '"location":"decisions/' not in index
    assert 'href="../style.css"' in (tmp_path / "configuration/index.html").read_text()
    # Nothing is fetched from elsewhere when a page is read.
    page = (tmp_path / "index.html").read_text()
    assert 'src="https://' not in page and 'href="https://fonts' not in page
