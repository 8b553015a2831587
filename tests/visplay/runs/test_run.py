import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from rich.console import Console

from visplay.cli.printing import print_runs
from visplay.config.loading import Config, check_config
from visplay.errors import CorruptArtifact, RunError, RunLocked, RunMismatch
from visplay.evaluation.target import find_target
from visplay.report import write_report
from visplay.runs.results import run_config
from visplay.runs.run import UNFINISHED, Run, read_starts
from visplay.storage import damaged_parts, read_jsonl, read_part, write_part, write_text


def config(folder: Path, **values: object) -> Config:
    return check_config({"images": {"source": "x"}, "output": str(folder), **values})


def test_a_step_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with Run(settings.folder).opened(settings) as run:
        with pytest.raises(RuntimeError, match="half way"), run.step("iteration-1/curation") as scratch:
            (scratch / "a.txt").write_text("half")
            raise RuntimeError("half way")
        assert not run.has("iteration-1/curation")
        assert not (run.folder / "iteration-1" / "curation").exists()
        with run.step("iteration-1/curation") as scratch:
            assert [p.name for p in scratch.iterdir()] == [UNFINISHED]  # nothing of the first attempt
            (scratch / "a.txt").write_text("whole")
        assert run.has("iteration-1/curation")
    with Run(settings.folder).opened(settings) as again:
        assert again.has("iteration-1/curation")
        assert (again.folder / "iteration-1/curation/a.txt").read_text() == "whole"


def test_another_configuration_is_shown(tmp_path: Path) -> None:
    before, after = config(tmp_path), config(tmp_path, seed=5)
    with Run(before.folder).opened(before) as run, run.step("iteration-0/adapters"):
        pass
    with (
        pytest.raises(RunMismatch, match=r"seed: 0 -> 5\nOnly engine, evaluation, health, images"),
        Run(after.folder).opened(after),
    ):
        pass


def test_a_start_that_failed_before_any_step_does_not_take_the_name(tmp_path: Path) -> None:
    """As where a model's name was mistyped; what a step has begun is not taken over."""
    said: list[str] = []
    before, after = config(tmp_path, seed=4), config(tmp_path, seed=5)
    with Run(before.folder).opened(before):
        pass
    with (
        Run(after.folder).opened(after, say=said.append) as run,
        pytest.raises(RuntimeError),
        run.step("iteration-0/adapters"),
    ):
        raise RuntimeError
    assert "seed: 4 -> 5" in said[0] and "seed: 5" in (after.folder / "config.yaml").read_text()
    with pytest.raises(RunMismatch, match="seed: 5 -> 4"), Run(before.folder).opened(before):
        pass


def test_a_run_may_get_more_iterations(tmp_path: Path) -> None:
    for settings in (config(tmp_path), config(tmp_path, iterations=9, threads=1)):
        with Run(settings.folder).opened(settings):
            pass
    assert "iterations: 9" in (settings.folder / "config.yaml").read_text()


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "before")
    (tmp_path / "a.json.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "a.json", "after")
    assert (tmp_path / "a.json").read_text() == "before"


def hold(settings: Config, ready: "multiprocessing.synchronize.Event") -> None:
    with Run(settings.folder).opened(settings):
        ready.set()
        time.sleep(60)


def test_one_process_a_run_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    settings = config(tmp_path)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold, args=(settings, ready))
    holder.start()
    try:
        assert ready.wait(60)
        with pytest.raises(RunLocked, match="another process"), Run(settings.folder).opened(settings):
            pass
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        holder.join(10)
        with Run(settings.folder).opened(settings):
            pass
    finally:
        holder.kill()


def test_a_stopped_step_finds_what_it_had_written_and_writes_cut_short_are_cleared(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with (
        pytest.raises(ZeroDivisionError),
        Run(settings.folder).opened(settings) as run,
        run.step("a") as scratch,
    ):
        (scratch / UNFINISHED / "chunk-0").write_text("votes")
        (scratch / UNFINISHED / "b.json.partial").write_text("cut sh")
        raise ZeroDivisionError
    with Run(settings.folder).opened(settings) as run:
        assert not run.has("a")
        with run.step("a") as scratch:
            assert (scratch / UNFINISHED / "chunk-0").read_text() == "votes"
            assert [path.name for path in (scratch / UNFINISHED).iterdir()] == ["chunk-0"]
            (scratch / "b.json").write_text("{}")
        assert [path.name for path in (settings.folder / "a").glob("b*")] == ["b.json"]
        assert not (settings.folder / "a" / UNFINISHED).exists()


def done(run: Run, name: str, text: str) -> None:
    with run.step(name) as scratch:
        (scratch / UNFINISHED / "votes").write_text("taken")
        (scratch / "result").write_text(text)


@pytest.mark.parametrize("when", ["before the line", "before the move", "before the tidying"])
def test_a_kill_at_the_end_of_a_step_leaves_it_finished_or_to_be_done_again(
    tmp_path: Path, when: str
) -> None:
    settings = config(tmp_path)
    journal, target = settings.folder / "journal.jsonl", settings.folder / "a"
    with Run(settings.folder).opened(settings) as run:
        done(run, "a", "42")
    if when != "before the tidying":
        target.rename(tmp_path / "run/a.partial")
        target = tmp_path / "run/a.partial"
    (target / UNFINISHED).mkdir()
    (target / UNFINISHED / "votes").write_text("taken")
    if when == "before the line":
        journal.unlink()
    with Run(settings.folder).opened(settings) as run:
        assert run.has("a") is (when != "before the line")
        if when == "before the line":
            with run.step("a") as scratch:
                assert [path.name for path in scratch.iterdir()] == [UNFINISHED]
                assert (scratch / UNFINISHED / "votes").read_text() == "taken"
                (scratch / "result").write_text("42")
    assert sorted(path.name for path in (run.folder / "a").iterdir()) == ["result"]
    assert not (run.folder / "a.partial").exists() and read_jsonl(journal) == [{"step": "a"}]


def test_a_step_whose_line_was_taken_out_is_done_again_and_a_missing_one_is_named(tmp_path: Path) -> None:
    settings = config(tmp_path)
    journal = settings.folder / "journal.jsonl"
    with Run(settings.folder).opened(settings) as run:
        for name in "abc":
            done(run, name, name)
    shutil.rmtree(settings.folder / "b")
    with (
        pytest.raises(CorruptArtifact, match=r"b is missing.*remove line 2 and all lines"),
        Run(settings.folder).opened(settings),
    ):
        pass
    journal.write_text(journal.read_text().splitlines(keepends=True)[0])
    with Run(settings.folder).opened(settings) as run:
        assert not run.has("b") and not run.has("c")
        done(run, "c", "C")
    assert (run.folder / "c" / "result").read_text() == "C"


@pytest.mark.parametrize("line", ["{", "[]", '{"seal": 1}', '{"step": 3}'])
def test_a_damaged_journal_is_named_and_a_last_line_cut_short_is_left_out(tmp_path: Path, line: str) -> None:
    settings = config(tmp_path)
    journal = settings.folder / "journal.jsonl"
    with Run(settings.folder).opened(settings) as run:
        done(run, "a", "a")
    whole = journal.read_text()
    journal.write_text(f"{whole}{line}\n")
    with (
        pytest.raises(CorruptArtifact, match=r"journal.jsonl, line 2"),
        Run(settings.folder).opened(settings),
    ):
        pass
    journal.write_text(whole + '{"step')
    with Run(settings.folder).opened(settings) as run:
        assert run.has("a")
        done(run, "b", "b")
    assert read_jsonl(journal) == [{"step": "a"}, {"step": "b"}]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("file", ["movie.partial", "sub/x.partial", "config.yaml", "notes.txt"])
def test_no_run_is_begun_among_the_files_of_others(tmp_path: Path, file: str) -> None:
    settings = config(tmp_path)
    (settings.folder / "sub").mkdir(parents=True)
    (settings.folder / file).write_text("mine")
    before = contents(settings.folder)
    with (
        pytest.raises(RunError, match=r"has files .* but no run of visplay.* set another name"),
        Run(settings.folder).opened(settings),
    ):
        pass
    assert contents(settings.folder) == before


def test_an_empty_folder_and_one_of_a_start_that_was_killed_are_begun_in(tmp_path: Path) -> None:
    settings = config(tmp_path)
    settings.folder.mkdir()
    for left in ("lock", "versions.json.partial"):
        (settings.folder / left).write_text("")
    with Run(settings.folder).opened(settings):
        pass
    with Run(settings.folder).opened(settings):  # and again
        assert not (settings.folder / "versions.json.partial").exists()


def test_a_file_in_the_folders_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with (
        pytest.raises(RunError, match=r"cannot be the run's folder.*set name or output"),
        Run(tmp_path / "run").opened(config(tmp_path)),
    ):
        pass


@pytest.mark.parametrize("found", ["none", 2, 99])
def test_a_run_of_another_format_is_refused_and_stays_as_it_is(tmp_path: Path, found: object) -> None:
    settings = config(tmp_path)
    with Run(settings.folder).opened(settings) as run:
        done(run, "a", "a")
    noted = json.loads((settings.folder / "versions.json").read_text())
    noted["format"] = found
    if found == "none":
        del noted["format"]
    (settings.folder / "versions.json").write_text(json.dumps(noted))
    before = contents(settings.folder)
    readers = [lambda: Run(settings.folder).opened(settings).__enter__(), lambda: run_config(settings.folder),
               lambda: write_report(settings.folder), lambda: find_target(str(settings.folder))]  # fmt: skip
    for read in readers:
        with pytest.raises(
            RunMismatch, match=r"another version of visplay: its format is (None|2|99), this one"
        ):
            read()
    assert contents(settings.folder) == before
    console = Console(width=600, record=True)
    print_runs(tmp_path, console)
    assert "unreadable" in console.export_text()


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with Run(settings.folder).opened(settings):
        pass
    path = settings.folder / "config.yaml"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole.replace(b"iterations: 3", b"iterations: 2")):
        path.write_bytes(damaged)
        with (
            pytest.raises(CorruptArtifact, match=r"config.yaml is .*Restore it"),
            Run(settings.folder).opened(settings),
        ):
            pass
    path.unlink()
    with Run(settings.folder).opened(settings):
        assert path.read_bytes() == whole


def test_a_piece_is_taken_only_as_it_was_written(tmp_path: Path) -> None:
    beside = tmp_path / "checkpoint"
    beside.mkdir()
    (beside / "weights").write_bytes(b"\x00" * 100)
    path = tmp_path / "piece.json"
    write_part(path, {"step": 3}, covers=beside)
    assert read_part(path) == {"step": 3} and damaged_parts(tmp_path) == []
    whole = path.read_bytes()
    for place in range(0, len(whole) - 1, 7):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        assert read_part(path) is None, place
        path.write_bytes(whole[:place])
        assert read_part(path) is None, place
    path.write_bytes(whole)
    (beside / "weights").write_bytes(b"\x00" * 99 + b"\x01")
    assert read_part(path) is None and damaged_parts(tmp_path) == [path]


def test_metrics_are_those_of_the_finished_steps(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with Run(settings.folder).opened(settings) as run:
        for name in ("b", "a"):
            with run.step(name) as scratch:
                (scratch / "metrics.jsonl").write_text(json.dumps({"step": name}) + "\n")
        run.collect_metrics()
        assert [row["step"] for row in read_jsonl(run.folder / "metrics.jsonl")] == ["b", "a"]


def test_each_start_notes_the_engine_that_auto_was_resolved_to(tmp_path: Path) -> None:
    for engine in ("transformers", "vllm"):
        with Run(tmp_path / "run").opened(config(tmp_path), engine=engine):
            pass
    assert [start["engine"] for start in read_starts(tmp_path / "run")] == ["transformers", "vllm"]
    assert "backend: auto" in (tmp_path / "run" / "config.yaml").read_text()
