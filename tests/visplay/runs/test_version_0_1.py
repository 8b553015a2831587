"""A run of version 0.1, stored as that version wrote it: nothing reads it as what it is not."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from visplay import compare, export, open_run
from visplay.cli.listing import print_runs
from visplay.cli.main import app
from visplay.config.loading import check_config
from visplay.errors import RunMismatch
from visplay.evaluation.target import find_target
from visplay.report import write_report
from visplay.runs.run import Run

STORED = Path(__file__).parents[2] / "golden" / "version-0.1"
REASON = (
    r"was written by visplay 0\.1\.0, whose runs hold evaluations and questions in another form, drawn by "
    r"other seeds\. Resume and read it with that version, or start a run of another name \(name=\.\.\.\)"
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "version-0.1"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "lock"}


def test_it_is_not_resumed_and_stays_as_it_is(old: Path) -> None:
    before = contents(old)
    same = {"images": {"source": "pictures"}, "model": {"path": "pocket", "dtype": "float32"}}
    config = check_config({**same, "iterations": 1, "name": "version-0.1", "output": str(old.parent)})
    with pytest.raises(RunMismatch, match=REASON), Run(old).opened(config):
        pass
    assert contents(old) == before


def test_every_reader_says_the_same(old: Path) -> None:
    readers = {
        "report": lambda: write_report(old),
        "export": lambda: export(old, old / "out", role="reasoner", iteration=None, form="adapter"),
        "compare": lambda: compare(str(old), str(old)),
        "compare one iteration": lambda: compare(f"{old}@0", f"{old}@0"),
        "evaluate": lambda: find_target(str(old)),
        "open_run": lambda: open_run(old),
    }
    for name, read in readers.items():
        with pytest.raises(RunMismatch, match=REASON):
            pytest.fail(f"{name} gave {read()!r}")


def test_the_list_of_runs_shows_it_and_hides_no_other(old: Path) -> None:
    other = check_config({"images": {"source": "x"}, "output": str(old.parent), "name": "new"})
    with Run(other.folder).opened(other):
        pass
    console = Console(width=600, record=True)
    print_runs(old.parent, console)
    text = console.export_text()
    states = {words[0]: words[1] for line in text.splitlines() if len(words := line.split()) > 1}
    assert states["version-0.1"] == "unreadable" and states["new"] == "stopped"
    assert "version-0.1 was written by visplay 0.1.0" in text


@pytest.mark.parametrize("command", ["report", "compare", "export"])
def test_commands_end_with_the_reason_and_no_traceback(command: str, old: Path, tmp_path: Path) -> None:
    more = {"compare": [str(old)], "export": [str(tmp_path / "out")]}
    done = CliRunner().invoke(app, [command, str(old), *more.get(command, [])])
    assert isinstance(done.exception, RunMismatch), (done.output, done.exception)


def test_what_is_stored_is_whole() -> None:
    """The journal, seals and configuration are version 0.1's own, so it is the format that is refused."""
    steps = [json.loads(line)["step"] for line in (STORED / "journal.jsonl").read_text().splitlines()]
    assert steps == ["iteration-0/pictures", "iteration-0/adapters", "iteration-0/evaluation"]
    assert "format" not in json.loads((STORED / "versions.json").read_text())
    assert sum(path.stat().st_size for path in STORED.rglob("*") if path.is_file()) < 8192
