import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from visplay.cli.main import app
from visplay.config.loading import Config, check_config
from visplay.errors import CorruptArtifact, RunError, RunLocked, RunMismatch
from visplay.runs.run import UNFINISHED, Run, read_starts
from visplay.storage import (
    TICK,
    damaged_parts,
    read_jsonl,
    read_part,
    signals_deferred,
    write_part,
    write_text,
)


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
    with (
        pytest.raises(CorruptArtifact, match=r"one/a\.bin is not as it was"),
        Run(settings.folder).opened(settings),
    ):
        pass


def unnoticed(path: Path) -> None:
    """Another content of the same size and time."""
    status = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def finished(tmp_path: Path) -> Config:
    """A run of two steps whose files were found whole at a second start."""
    settings = config(tmp_path)
    with Run(settings.folder).opened(settings) as run:
        for name in ("one", "two"):
            with run.step(name) as scratch:
                (scratch / "a.bin").write_bytes(bytes(100))
    time.sleep(2 * TICK / 1e9)  # files that were written just now are not trusted by their time
    with Run(settings.folder).opened(settings):
        pass
    return settings


def test_a_start_hashes_what_has_another_size_or_time_and_with_verify_everything(tmp_path: Path) -> None:
    settings = finished(tmp_path)
    unnoticed(settings.folder / "two/a.bin")
    with Run(settings.folder).opened(settings):
        pass  # neither size nor time tells
    with (
        pytest.raises(CorruptArtifact, match=r"two/a\.bin is not as it was"),
        Run(settings.folder).opened(settings, verify=True),
    ):
        pass
    os.utime(settings.folder / "two/a.bin")
    with pytest.raises(CorruptArtifact, match=r"two/a\.bin"), Run(settings.folder).opened(settings):
        pass


@pytest.mark.parametrize(
    "text", [None, "", "[]\n", '{"step": "two"}\n', '{"step": 3, "seal"', "\n{}\n", "\ud800"]
)
def test_without_the_note_of_sizes_and_times_everything_is_hashed(tmp_path: Path, text: str | None) -> None:
    settings = finished(tmp_path)
    note = settings.folder / "verified.jsonl"
    whole = note.read_bytes()
    if text is None:
        note.unlink()
    else:
        note.write_bytes(text.encode(errors="surrogatepass"))
    with Run(settings.folder).opened(settings):
        assert sorted(note.read_bytes().splitlines()) == sorted(whole.splitlines())  # and noted again
    note.write_text(whole.decode().replace(json.loads(whole.splitlines()[1])["seal"], "another"))
    unnoticed(settings.folder / "two/a.bin")
    with pytest.raises(CorruptArtifact, match=r"two/a\.bin"), Run(settings.folder).opened(settings):
        pass


def test_a_file_that_is_gone_is_missed_though_its_size_and_time_were_noted(tmp_path: Path) -> None:
    settings = finished(tmp_path)
    (settings.folder / "one/a.bin").unlink()
    with (
        pytest.raises(CorruptArtifact, match=r"one/a\.bin .* remove line 1"),
        Run(settings.folder).opened(settings),
    ):
        pass


def test_verify_names_each_file_and_ends_with_a_status(tmp_path: Path) -> None:
    settings = finished(tmp_path)
    verify = ["verify", str(settings.folder)]
    result = CliRunner().invoke(app, verify)
    assert (result.exit_code, result.stdout) == (0, "2 steps, every file as it was written\n")
    (settings.folder / "one/a.bin").unlink()
    unnoticed(settings.folder / "two/a.bin")
    result = CliRunner().invoke(app, verify)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:2] == [
        "one/a.bin is missing (line 1 of journal.jsonl)",
        "two/a.bin is not what was written (line 2 of journal.jsonl)",
    ]
    assert "2 damaged files in 2 of 2 steps" in result.stdout
    assert isinstance(CliRunner().invoke(app, ["verify", str(tmp_path)]).exception, RunError)


def test_another_configuration_is_shown(tmp_path: Path) -> None:
    before, after = config(tmp_path), config(tmp_path, seed=5)
    with Run(before.folder).opened(before):
        pass
    with (
        pytest.raises(
            RunMismatch,
            match=r"seed: 0 -> 5\nOnly checkpoints, engine, evaluation, health, images",
        ),
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
        assert [path.name for path in (settings.folder / "a").glob("b*")] == ["b.json"]
        assert not (settings.folder / "a" / UNFINISHED).exists()


def done(run: Run, name: str, text: str) -> None:
    with run.step(name) as scratch:
        (scratch / UNFINISHED / "votes").write_text("taken")
        (scratch / "result").write_text(text)


def test_a_step_that_was_sealed_but_not_noted_is_taken_up_as_it_is(tmp_path: Path) -> None:
    settings = config(tmp_path)
    journal = settings.folder / "journal.jsonl"
    with Run(settings.folder).opened(settings) as run:
        done(run, "a", "42")
        noted = journal.read_bytes()
        for still_in_scratch in (False, True):
            journal.unlink()
            if still_in_scratch:
                (run.folder / "a").rename(run.folder / "a.partial")
                (run.folder / "a.partial" / UNFINISHED).mkdir()
            assert not run.has("a") and run.adopt("a") and run.has("a")
            assert journal.read_bytes() == noted
            assert sorted(p.name for p in (run.folder / "a").iterdir()) == ["checksums.json", "result"]
        assert not run.adopt("b")


def test_a_damaged_step_whose_line_was_taken_out_is_done_again_and_later_ones_only_if_need_be(
    tmp_path: Path,
) -> None:
    """What `CorruptArtifact` advises; the second time the step gives something else than before."""
    settings = config(tmp_path)
    journal = settings.folder / "journal.jsonl"
    with Run(settings.folder).opened(settings) as run:
        for name in "abc":
            done(run, name, name)
    lines = journal.read_text().splitlines(keepends=True)
    for again, later_stands in (("b", True), ("B", False)):
        (run.folder / "b" / "result").write_text("x")
        with (
            pytest.raises(CorruptArtifact, match=r"b/result is not as .* remove line 2 and all lines after"),
            Run(settings.folder).opened(settings),
        ):
            pass
        journal.write_text(lines[0])
        with Run(settings.folder).opened(settings) as run:
            assert not run.has("b") and not run.adopt("b")
            done(run, "b", again)
            assert run.adopt("c") is later_stands
    assert (run.folder / "b" / "result").read_text() == "B"


@pytest.mark.slow
def test_a_damaged_journal_is_named_and_steps_whose_line_was_taken_out_are_noted_again(
    tmp_path: Path,
) -> None:
    settings = config(tmp_path)
    journal = settings.folder / "journal.jsonl"
    with Run(settings.folder).opened(settings) as run:
        for name in "abc":
            done(run, name, name)
    whole = journal.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        journal.write_bytes(flipped)
        last_line_cut = place == len(whole) - 1
        try:
            with Run(settings.folder).opened(settings) as run:
                assert last_line_cut and not run.has("c") and run.adopt("c")
        except CorruptArtifact as error:
            line = 1 + whole[:place].count(b"\n")
            assert "journal.jsonl, line" in str(error) and f"line {line} " in str(error), (place, error)
            journal.write_bytes(b"".join(whole.splitlines(keepends=True)[: line - 1]))
            with Run(settings.folder).opened(settings) as run:
                assert all(run.has(name) or run.adopt(name) for name in "abc")
        assert journal.read_bytes() == whole


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


def test_a_run_of_before_a_key_existed_goes_on_where_the_key_has_its_default(tmp_path: Path) -> None:
    settings = config(tmp_path)
    settings.folder.mkdir(parents=True)
    old = settings.model_dump(mode="json")
    del old["engine"]["sleep"], old["votes"]
    (settings.folder / "config.yaml").write_text(json.dumps(old))
    with Run(settings.folder).opened(settings):
        pass
    (settings.folder / "config.yaml").write_text(json.dumps(old))
    changed = config(tmp_path, votes={"top_k": 3})
    with pytest.raises(RunMismatch, match=r"votes.top_k: 40 -> 3"), Run(changed.folder).opened(changed):
        pass


def test_a_signal_waits_for_the_end_of_a_write(tmp_path: Path) -> None:
    def leave(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(KeyboardInterrupt), signals_deferred():
            signal.raise_signal(signal.SIGTERM)
            write_text(tmp_path / "a", "whole")
        assert (tmp_path / "a").read_text() == "whole"
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)


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
