import json
from pathlib import Path

from rich.console import Console

from visplay.cli.printing import print_runs
from visplay.config.loading import check_config
from visplay.runs.run import Run


def run_with(folder: Path, name: str, *, steps: list[str]) -> Path:
    settings = check_config({"images": {"source": "x"}, "output": str(folder), "name": name, "iterations": 1})
    with Run(settings.folder).opened(settings) as run:
        for step in steps:
            with run.step(step) as scratch:
                (scratch / "metrics.jsonl").write_text(json.dumps({"step": step}) + "\n")
    return settings.folder


def listed(folder: Path) -> tuple[dict[str, list[str]], str]:
    """The words of each run's line, and all that was printed."""
    console = Console(width=80, record=True)
    print_runs(folder, console)
    text = console.export_text()
    assert max(len(line) for line in text.split(" ─")[0].splitlines()) <= 80
    return {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}, text


def test_states_and_a_damaged_run_that_hides_no_other(tmp_path: Path) -> None:
    iteration = ["iteration-1/evaluation", "iteration-1/health"]
    run_with(tmp_path, "finished", steps=iteration)
    run_with(tmp_path, "stopped", steps=iteration[:1])
    run_with(tmp_path, "begun", steps=[])
    journal = run_with(tmp_path, "journal", steps=iteration) / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"step": "iteration-1/health', b'"[step": "'))
    config = run_with(tmp_path, "config", steps=iteration) / "config.yaml"
    config.write_bytes(config.read_bytes()[:300])
    held = check_config({"images": {"source": "x"}, "output": str(tmp_path), "name": "running"})
    with Run(held.folder).opened(held):
        lines, text = listed(tmp_path)
    states = {
        "finished": "finished",
        "stopped": "stopped, evaluation",
        "begun": "stopped",
        "running": "running",
    }
    for name, state in states.items():
        assert " ".join(lines[name][1:]).startswith(state), lines[name]
    assert lines["finished"][2] == "1/1"
    assert lines["journal"][1:2] == lines["config"][1:2] == ["unreadable"]
    assert f"journal: {journal}, line 2 names no step" in text
    assert f"config: {config} is not as the run wrote it" in text


def test_a_finished_run_without_benchmarks_is_finished(tmp_path: Path) -> None:
    run_with(tmp_path, "unmeasured", steps=["iteration-1/questioner", "iteration-1/health"])
    lines, _ = listed(tmp_path)
    assert lines["unmeasured"][1:3] == ["finished", "1/1"]


def test_a_lock_of_another_user_hides_no_run(tmp_path: Path) -> None:
    folder = run_with(tmp_path, "theirs", steps=["iteration-1/health"])
    (folder / "lock").chmod(0o444)
    lines, _ = listed(tmp_path)
    assert lines["theirs"][1] == "finished"
