"""Damaged files in runs of the scripted engine: what is said, what is kept, what happens after the mend.

What was seen is a table of docs/faults.md; `pytest PATH --rewrite-docs`, with this file, writes it.
"""

import json
import re
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
from visplay.storage import read_jsonl

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Rows of the table: fault, where, what is said, after the mend."""
    return []


# Each is cut or has a bit flipped; that either is noticed in any byte is tests/visplay/runs/test_run.py's.
SCRATCH = [
    ("evaluation", "evaluation-iteration-0/pocket-dusk/greedy.jsonl.unfinished", "cut in half"),
    ("evaluation", "evaluation-iteration-0/pocket-dusk/greedy.jsonl.unfinished", "a bit flipped"),
    ("questioner", "step-1.json", "cut in half"),
    ("questioner", "checkpoint.json", "a bit flipped"),
    ("questioner", "trainer/checkpoint-1/adapter_model.safetensors", "a bit flipped"),
    ("questioner", "trainer/checkpoint-1/optimizer.pt", "cut in half"),
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
    piece = "checkpoint.json" if name.startswith("trainer") else name
    said = stop_at(config, NEXT[step])
    place = f"RUN/iteration-{iteration}/{step}.partial/unfinished/{piece}"
    told = "PIECE is damaged or covers a damaged file; it is done again"
    if step == "evaluation":  # a lost end is no damage, and not all of a line is taken over
        told = "nothing, or that damaged samples are asked again"
    else:
        assert told.replace("PIECE", place) in said, said
    check_same(config, whole)
    shown = re.sub(r"-\d", "-K", name).replace("evaluation-iteration-K/pocket-dusk", "BENCHMARK")
    seen.append((how, f"{step}/unfinished/{shown}", told, "goes on, same bits"))


FINISHED = [
    "iteration-0/adapters/shared-0/adapter_model.safetensors", "iteration-0/evaluation/easy-vqa/greedy.jsonl",
    "iteration-0/contamination/contamination.json", "iteration-1/questioner/rollouts.parquet",
    "iteration-1/questioner/adapter/adapter_model.safetensors", "iteration-1/questioner/adapter.json",
    "iteration-1/questioner/metrics.jsonl", "iteration-1/curation/candidates.parquet",
    "iteration-1/curation/summary.json", "iteration-1/health/alarms.json",
    "iteration-1/health/checksums.json",
]  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", FINISHED)
def test_damaged_artifacts(
    name: str, how: str, whole: Path, scenes: Path, tmp_path: Path, seen: Seen
) -> None:
    config = copied(whole, scenes, tmp_path)
    before = state(config.folder)
    file = config.folder / name
    kept = file.read_bytes()
    DAMAGE[how](file)
    said = error_of(config)
    assert said.startswith(
        f"CorruptArtifact: RUN/{name} is not as it was when its step ended. Restore it, or"
    )
    file.write_bytes(kept)
    with Run(config.folder).opened(config) as run:
        assert state(run.folder) == before  # nothing was lost by the error
    DAMAGE[how](file)
    (number,) = re.findall(r"remove line (\d+) and all lines after it from RUN/journal\.jsonl", said)
    lines = journal_lines(whole)
    (run.folder / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines[: int(number) - 1]))
    step = "/".join(name.split("/")[:2])
    with Run(config.folder).opened(config) as run:
        assert step in steps_of(whole) and not run.has(step) and not run.adopt(step)
    shown = re.sub(r"iteration-\d/", "", name)
    said = "CorruptArtifact: FILE is not as it was when its step ended …"
    seen.append((how, shown, said, "restored: goes on; its line removed: done again"))


def test_a_damaged_step_is_done_again_and_no_other(whole: Path, scenes: Path, tmp_path: Path) -> None:
    config = copied(whole, scenes, tmp_path)
    flip(config.folder / "iteration-1/curation/candidates.parquet")
    lines = journal_lines(whole)
    place = steps_of(whole).index("iteration-1/curation")
    (config.folder / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines[:place]))
    timed = len(read_jsonl(config.folder / "timings.jsonl"))
    selfplay(config, display=StopsAt())
    assert state(config.folder) == state(whole)
    again = [row["step"] for row in read_jsonl(config.folder / "timings.jsonl")[timed:]]
    assert again == ["iteration-1/curation"]


def test_damaged_journal_and_configuration(whole: Path, scenes: Path, tmp_path: Path, seen: Seen) -> None:
    config = copied(whole, scenes, tmp_path)
    journal, written = config.folder / "journal.jsonl", config.folder / "config.yaml"
    lines = journal.read_bytes()
    flip(journal, at=lines.index(b'"seal": "', len(lines) // 2) + 20)  # still JSON, so only the check sees it
    said = error_of(config)
    (number,) = re.findall(
        r"RUN/journal\.jsonl, line (\d) is not as it was written\. Restore the file, or", said
    )
    journal.write_bytes(b"".join(lines.splitlines(keepends=True)[: int(number) - 1]))
    before = {name: digest for name, digest in state(config.folder).items() if name != "journal.jsonl"}
    selfplay(config, display=StopsAt())
    assert journal.read_bytes() == lines  # every step noted again, none done again
    assert {n: d for n, d in state(config.folder).items() if n != "journal.jsonl"} == before
    said = "CorruptArtifact: journal.jsonl, line N is not as it was written …"
    mended = "its line removed: steps noted again, none done again"
    seen.append(("a bit flipped", "journal.jsonl", said, mended))
    journal.write_bytes(lines[:-20])  # in the middle of its last line
    selfplay(config, display=StopsAt())
    assert journal.read_bytes() == lines
    seen.append(("cut in its last line", "journal.jsonl", "nothing", "step noted again"))
    for how, damage in DAMAGE.items():
        kept = written.read_bytes()
        damage(written)
        said = error_of(config)
        assert said.startswith("CorruptArtifact: RUN/config.yaml is not as the run wrote it. Restore it, or")
        written.unlink()
        with Run(config.folder).opened(config):
            assert written.read_bytes() == kept
        seen.append((how, "config.yaml", "CorruptArtifact: config.yaml is not as the run wrote it …",
                     "restored or removed: goes on"))  # fmt: skip


def test_what_is_written_anew_at_each_start(whole: Path, scenes: Path, tmp_path: Path, seen: Seen) -> None:
    config = copied(whole, scenes, tmp_path)
    names = ("manifest.parquet", "skipped.jsonl", "metrics.jsonl")
    before = {name: (config.folder / name).read_bytes() for name in names}
    for damage in (cut, flip):
        for name in names:
            if before[name]:
                damage(config.folder / name)
        selfplay(config, display=StopsAt())
        assert {name: (config.folder / name).read_bytes() for name in names} == before
    for how in DAMAGE:
        seen.append((how, ", ".join(names), "nothing", "written anew at each start"))


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
    seen.append(("cut in half", "versions.json", told, "restored or removed: goes on"))


def test_the_table_in_the_docs(seen: Seen, request: pytest.FixtureRequest) -> None:
    check_table(seen, request)
