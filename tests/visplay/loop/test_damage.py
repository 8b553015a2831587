"""Damaged files in runs of the scripted engine: what is said, what is kept, what happens after the fix.

What was seen is a table of docs/faults.md; `pytest PATH --rewrite-docs`, with this file, writes it.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.visplay.loop.faulty import (
    DAMAGE,
    NEXT,
    Seen,
    StopsAt,
    check_same,
    check_table,
    copied,
    cut,
    error_of,
    flip,
    journal_lines,
    state,
    steps_of,
    stop_at,
)
from visplay.loop.selfplay import selfplay
from visplay.runs.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Rows of the table: fault, where, what is said, after the fix."""
    return []


# Each is cut or has a bit flipped; that either is noticed in any byte is tests/visplay/runs/test_run.py's.
SCRATCH = [
    ("evaluation", "evaluation-iteration-0/pocket-dusk/greedy.answers", "cut in half"),
    ("evaluation", "evaluation-iteration-0/pocket-dusk/greedy.answers", "a bit flipped"),
    ("questioner", "step-1.json", "cut in half"),
    ("questioner", "checkpoint.json", "a bit flipped"),
    ("questioner", "checkpoint-2/adapter/adapter_model.safetensors", "a bit flipped"),
    ("questioner", "checkpoint-2/optimizer.pt", "cut in half"),
    ("curation", "pictures-0.json", "a bit flipped"),
]


@pytest.mark.parametrize(("step", "name", "how"), SCRATCH)
def test_damaged_scratch(
    step: str, name: str, how: str, stopped: dict[str, Path], whole: Path, scenes: Path, tmp_path: Path,
    seen: Seen,
) -> None:  # fmt: skip
    config = copied(stopped[step], scenes, tmp_path)
    iteration = 0 if step == "evaluation" else 1
    scratch = config.folder / f"iteration-{iteration}" / f"{step}.partial" / "unfinished"
    DAMAGE[how](scratch / name)
    piece = "checkpoint.json" if name.startswith("checkpoint-2") else name
    said = stop_at(config, NEXT[step])
    place = f"RUN/iteration-{iteration}/{step}.partial/unfinished/{piece}"
    told = "PIECE is damaged or covers a damaged file; it is redone"
    if step == "evaluation":  # a lost end is no damage, and not all of a line is taken over
        told = "nothing, or that damaged samples are asked again"
    else:
        assert told.replace("PIECE", place) in said, said
    check_same(config, whole)
    shown = re.sub(r"-\d", "-K", name).replace("evaluation-iteration-K/pocket-dusk", "BENCHMARK")
    seen.append((how, f"{step}/unfinished/{shown}", told, "resumes, same bits"))


def test_a_missing_step_is_done_again_with_those_after_it(
    whole: Path, scenes: Path, tmp_path: Path, seen: Seen
) -> None:
    config = copied(whole, scenes, tmp_path)
    shutil.rmtree(config.folder / "iteration-1/curation")
    said = error_of(config)
    (number,) = re.findall(r"remove line (\d+) and all lines after it from RUN/journal\.jsonl", said)
    assert said.startswith("CorruptArtifact: RUN/iteration-1/curation is missing. Restore it, or")
    lines = journal_lines(whole)
    place = steps_of(whole).index("iteration-1/curation")
    assert int(number) == place + 1
    (config.folder / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines[:place]))
    selfplay(config, display=StopsAt())
    assert state(config.folder) == state(whole)
    mended = "restored: resumes; its line and those after it removed: they are repeated"
    seen.append(("removed", "a finished step's folder", "CorruptArtifact: STEP is missing …", mended))


def test_damaged_journal_and_configuration(whole: Path, scenes: Path, tmp_path: Path, seen: Seen) -> None:
    config = copied(whole, scenes, tmp_path)
    journal, written = config.folder / "journal.jsonl", config.folder / "config.yaml"
    lines = journal.read_bytes()
    journal.write_bytes(lines.replace(b"step", b"stop", 1))
    assert error_of(config) == "CorruptArtifact: RUN/journal.jsonl, line 1 names no step; restore the file"
    journal.write_bytes(lines)
    told = "CorruptArtifact: journal.jsonl, line N names no step …"
    seen.append(("a line changed", "journal.jsonl", told, "restored: resumes"))
    journal.write_bytes(lines[:-20])  # in the middle of its last line
    selfplay(config, display=StopsAt())
    assert journal.read_bytes() == lines
    seen.append(("cut in its last line", "journal.jsonl", "nothing", "that step is repeated"))
    for how, damage in DAMAGE.items():
        kept = written.read_bytes()
        damage(written)
        said = error_of(config)
        assert said.startswith("CorruptArtifact: RUN/config.yaml is not as the run wrote it. Restore it, or")
        written.unlink()
        with Run(config.folder).opened(config):
            assert written.read_bytes() == kept
        seen.append((how, "config.yaml", "CorruptArtifact: config.yaml is not as the run wrote it …",
                     "restored or removed: resumes"))  # fmt: skip


def test_what_is_written_anew_at_each_start(whole: Path, scenes: Path, tmp_path: Path, seen: Seen) -> None:
    config = copied(whole, scenes, tmp_path)
    names = ("manifest.parquet", "skipped.jsonl", "metrics.jsonl")
    before = {name: (config.folder / name).read_bytes() for name in names}
    journal = config.folder / "journal.jsonl"
    finished = journal.read_bytes()
    for damage in (cut, flip):
        journal.write_bytes(finished[:-20])  # so that the last step is repeated
        for name in names:
            if before[name]:
                damage(config.folder / name)
        selfplay(config, display=StopsAt())
        assert {name: (config.folder / name).read_bytes() for name in names} == before
    for how in DAMAGE:
        seen.append((how, ", ".join(names), "nothing", "rewritten when the run resumes"))


def test_a_damaged_list_of_starts(whole: Path, scenes: Path, tmp_path: Path, seen: Seen) -> None:
    config = copied(whole, scenes, tmp_path)
    file = config.folder / "versions.json"
    cut(file)
    said = error_of(config)
    assert said.startswith("CorruptArtifact: RUN/versions.json is damaged: ")
    assert said.endswith("; restore it, or remove it")
    file.unlink()
    with Run(config.folder).opened(config):
        assert len(json.loads(file.read_text())["starts"]) == 1
    told = "CorruptArtifact: versions.json is damaged …"
    seen.append(("cut in half", "versions.json", told, "restored or removed: resumes"))


def test_the_table_in_the_docs(seen: Seen, request: pytest.FixtureRequest) -> None:
    check_table(seen, request)
