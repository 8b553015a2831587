import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from visplay.config import Config, check_config
from visplay.errors import CorruptArtifact, RunLocked, RunMismatch
from visplay.run import UNFINISHED, Run, append_jsonl, read_jsonl, write_text


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


def test_a_step_that_was_changed_afterwards_is_found(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with Run(settings.folder).opened(settings) as run, run.step("one") as scratch:
        (scratch / "a.bin").write_bytes(b"\x00" * 100)
    (settings.folder / "one" / "a.bin").write_bytes(b"\x00" * 99 + b"\x01")
    with pytest.raises(CorruptArtifact, match="one is not as it was"), Run(settings.folder).opened(settings):
        pass


def test_another_configuration_is_shown(tmp_path: Path) -> None:
    before, after = config(tmp_path), config(tmp_path, seed=5)
    with Run(before.folder).opened(before):
        pass
    with (
        pytest.raises(RunMismatch, match=r"seed: 0 -> 5\nOnly health, iterations"),
        Run(after.folder).opened(after),
    ):
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
        assert [path.name for path in (settings.folder / "a").iterdir()] == ["b.json"]


def test_a_step_that_was_renamed_but_not_noted_is_taken_up_as_it_is(tmp_path: Path) -> None:
    settings = config(tmp_path)
    (settings.folder / "a").mkdir(parents=True)
    (settings.folder / "a" / "result").write_text("42")
    with Run(settings.folder).opened(settings) as run:
        with run.step("a") as scratch:
            assert (scratch / "result").read_text() == "42"
        assert run.has("a")


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_jsonl(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a": 2')
    assert read_jsonl(path) == [{"a": 1}]
    append_jsonl(path, {"a": 3})
    assert read_jsonl(path) == [{"a": 1}, {"a": 3}]


def test_write_text_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, json.dumps({"a": 1}))
    write_text(path, json.dumps({"a": 2}))
    assert json.loads(path.read_text()) == {"a": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_metrics_are_those_of_the_finished_steps(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with Run(settings.folder).opened(settings) as run:
        for name in ("b", "a"):
            with run.step(name) as scratch:
                (scratch / "metrics.jsonl").write_text(json.dumps({"step": name}) + "\n")
        run.collect_metrics()
        assert [row["step"] for row in read_jsonl(run.folder / "metrics.jsonl")] == ["b", "a"]
