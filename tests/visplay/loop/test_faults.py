"""Faults injected into runs of the scripted engine: what is said, what is kept, what happens after the fix.

What was seen is a table of docs/faults.md; `pytest PATH --rewrite-docs`, with this file, writes it.
"""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.visplay.loop.faulty import (
    AGAIN,
    NEXT,
    PICTURES,
    Disk,
    Seen,
    StopsAt,
    check_same,
    check_table,
    copied,
    error_of,
    journal_lines,
    state,
    stop_at,
)
from tests.visplay.started import Started
from visplay.config.loading import Config
from visplay.loop.selfplay import selfplay
from visplay.models.policy import Policy
from visplay.report import write_report
from visplay.runs.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Rows of the table: fault, where, what is said, after the fix."""
    return []


@pytest.fixture(scope="module")
def disk() -> Disk:
    return Disk()


FULL = {
    "evaluation": {
        "config.yaml": r"/config\.yaml", "versions.json": r"/versions\.json", "manifest.parquet": "/manifest",
        "skipped.jsonl": r"/skipped\.jsonl",
        "evaluation/unfinished/BENCHMARK/greedy.jsonl": r"unfinished/.*/easy-vqa/greedy\.jsonl",
        "evaluation/BENCHMARK/greedy.jsonl": r"evaluation\.partial/easy-vqa/greedy\.jsonl",
        "evaluation/summary.json": r"evaluation\.partial/summary\.json",
    },
    "questioner": {
        "questioner/unfinished/step-K.json": r"/step-3\.json",
        "questioner/unfinished/checkpoint.json": r"/checkpoint\.json",
        "questioner/rollouts.parquet": r"/rollouts\.parquet",
        "questioner/adapter/": r"questioner\.partial/adapter/", "questioner/adapter.json": r"/adapter\.json",
        "journal.jsonl": r"/journal\.jsonl",
    },
    "curation": {
        "curation/unfinished/pictures-K.json": r"/pictures-64",
        "curation/candidates.parquet": r"/candidates\.parquet",
        "curation/summary.json": r"curation\.partial/summary\.json",
        "curation/metrics.jsonl": r"curation\.partial/metrics\.jsonl",
        "timings.jsonl": r"/timings\.jsonl",
        "metrics.jsonl": r"(run|RUN)/metrics\.jsonl",
    },
}  # fmt: skip


@pytest.mark.parametrize("step", FULL)
def test_full_disk(
    step: str, disk: Disk, stopped: dict[str, Path], whole: Path, scenes: Path, tmp_path: Path, seen: Seen
) -> None:
    """Full at one file after the other: each start comes as far as the next, so the one before was mended."""
    config = copied(stopped[step], scenes, tmp_path)
    for where, pattern in FULL[step].items():
        with disk.failing(pattern):
            said = error_of(config)
        assert re.search(pattern, said) and said.startswith("VisplayError: the disk is full ("), (where, said)
        assert said.endswith(f"make room, then resume with: {AGAIN}")
        seen.append(("disk full", where, "the disk is full (…); make room, then resume", "resumes"))
    stop_at(config, NEXT[step])
    check_same(config, whole)


def test_full_disk_at_the_report(disk: Disk, whole: Path, seen: Seen) -> None:
    before = (whole / "report.html").read_bytes()
    with disk.failing(r"report\.html"), pytest.raises(OSError, match="No space left"):
        write_report(whole)
    assert (whole / "report.html").read_bytes() == before
    seen.append(("disk full", "report.html", "the disk is full (…); make room, then resume", "resumes"))


@pytest.mark.parametrize(
    ("where", "pattern"),
    [("questioner/unfinished/shared-V, cut in a file", r"unfinished/shared-3$"),
     ("questioner/unfinished/checkpoint-K, cut in a file", r"checkpoint-3$")],
    ids=["adapter", "checkpoint"],
)  # fmt: skip
def test_full_disk_in_the_middle_of_a_librarys_write(
    where: str, pattern: str, stopped: dict[str, Path], whole: Path, scenes: Path, tmp_path: Path, seen: Seen
) -> None:
    config = copied(stopped["questioner"], scenes, tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(config.model_dump(mode="json")))
    code, _, said = Started(["train", str(file)], tmp_path / "said", full_from=pattern).end()
    assert code == 1 and "error: the disk is full (" in said, said
    assert f"resume with: visplay train {file}" in said and "Traceback" not in said
    stop_at(config, "curation")
    check_same(config, whole)
    seen.append(("disk full", where, "the disk is full (…); make room, then resume", "resumes"))


def test_a_read_only_folder(
    disk: Disk, stopped: dict[str, Path], whole: Path, scenes: Path, tmp_path: Path, seen: Seen
) -> None:
    """Root may write anywhere, so the error comes from the call that opens a file."""
    config = copied(stopped["reasoner"], scenes, tmp_path)
    before = state(config.folder)
    for number in (errno.EROFS, errno.EACCES):
        with disk.failing(f"{config.folder}/", number):
            said = error_of(config)
        assert said.startswith(f"VisplayError: a file cannot be written or read ([Errno {number}]"), said
        assert said.endswith(f"fix that, then resume with: {AGAIN}") and state(config.folder) == before
    stop_at(config, "evaluation")
    check_same(config, whole)
    seen.append(
        (
            "read-only folder",
            "any",
            "a file cannot be written or read (…); fix that, then resume",
            "resumes",
        )
    )


@pytest.fixture
def holder(whole: Path, scenes: Path, tmp_path: Path) -> Iterator[tuple[Config, "subprocess.Popen[str]"]]:
    config = copied(whole, scenes, tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(config.model_dump(mode="json")))
    program = (
        "import sys, time; from pathlib import Path; from visplay.config.loading import load_config\n"
        "from visplay.runs.run import Run; config = load_config(Path(sys.argv[1]))\n"
        "with Run(config.folder).opened(config): print('holds', flush=True); time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        yield config, process
    finally:
        process.kill()
        process.communicate()


def test_a_second_process(holder: tuple[Config, "subprocess.Popen[str]"], seen: Seen) -> None:
    config, process = holder
    assert process.stdout is not None and process.stdout.readline() == "holds\n"
    said = error_of(config)
    assert said == "RunLocked: another process works on RUN"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with Run(config.folder).opened(config):
        pass
    seen.append(("a second process", "lock", said.replace(" RUN", " …"), "the first one killed: resumes"))


def test_other_pictures(
    stopped: dict[str, Path], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """In another place than when the run was begun, which may be; then not the same ones, which may not."""
    elsewhere = Path(shutil.copytree(scenes, tmp_path / "elsewhere"))
    config = copied(stopped["reasoner"], elsewhere, tmp_path)
    before = journal_lines(config.folder)
    monkeypatch.setattr(Policy, "of", lambda *_, **__: pytest.fail("the base is loaded before"))
    Image.new("RGB", (99, 99)).save(tmp_path / "new.png")
    moves = {
        "a picture less": (elsewhere / "000006.png", tmp_path / "gone.png", PICTURES - 1),
        "one more": (tmp_path / "new.png", elsewhere / "new.png", PICTURES + 1),
        "in another order": (elsewhere / "000000.png", elsewhere / "z.png", PICTURES),
    }
    for fault, (here, there, count) in moves.items():
        here.rename(there)
        said = error_of(config)
        assert said.startswith(
            f"RunMismatch: RUN was started with {PICTURES} pictures, but {elsewhere} now has {count}, which "
            "differ in content or order; restore it"
        )
        assert journal_lines(config.folder) == before
        there.rename(here)
        told = "RunMismatch: … was started with N pictures, but FOLDER now has M, which differ …"
        seen.append((fault, "images.source", told, "put back: resumes"))
    monkeypatch.undo()
    selfplay(config, display=StopsAt())
    assert journal_lines(config.folder)[: len(before)] == before


def test_a_finished_run_says_so_before_anything_is_loaded(
    whole: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = copied(whole, scenes, tmp_path)
    monkeypatch.setattr(Policy, "of", lambda *_, **__: pytest.fail("the base is loaded"))
    shown = StopsAt()
    selfplay(config, display=shown)
    assert f"{config.folder} is finished; raise iterations to continue it" in shown.said


def test_clock_jumps(
    stopped: dict[str, Path], whole: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    seen: Seen,
) -> None:  # fmt: skip
    """Files of 1970 and of 2100, and a clock that goes backwards a day with each look at it."""
    config = copied(stopped["questioner"], scenes, tmp_path)
    for i, path in enumerate(sorted(config.folder.rglob("*"))):
        os.utime(path, (0, 0) if i % 2 else (4_102_444_800, 4_102_444_800))
    now = time.time()

    def backwards() -> float:
        nonlocal now
        now -= 86_400
        return now

    monkeypatch.setattr(time, "time", backwards)
    selfplay(config, display=StopsAt())
    monkeypatch.undo()
    assert state(config.folder) == state(whole)
    seen.append(("clock jumps", "all file times, time.time", "nothing", "resumes, same bits"))


def test_the_table_in_the_docs(seen: Seen, request: pytest.FixtureRequest) -> None:
    check_table(seen, request)
