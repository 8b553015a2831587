import json
from pathlib import Path

from rich.console import Console

from visplay.cli.listing import print_runs
from visplay.config.loading import check_config
from visplay.runs.run import Run


def run_with(folder: Path, name: str, *, steps: list[str]) -> Path:
    settings = check_config({"images": {"source": "x"}, "output": str(folder), "name": name, "iterations": 1})
    with Run(settings.folder).opened(settings) as run:
        for step in steps:
            with run.step(step) as scratch:
                (scratch / "metrics.jsonl").write_text(json.dumps({"step": step}) + "\n")
    return settings.folder


def listed(folder: Path) -> dict[str, str]:
    console = Console(width=400, record=True)
    print_runs(folder, console)
    return {line.split()[1]: line for line in console.export_text().splitlines() if line.startswith("│")}


def test_states_and_a_damaged_run_that_hides_no_other(tmp_path: Path) -> None:
    iteration = ["iteration-1/evaluation", "iteration-1/health"]
    run_with(tmp_path, "finished", steps=iteration)
    run_with(tmp_path, "stopped", steps=iteration[:1])
    run_with(tmp_path, "begun", steps=[])
    journal = run_with(tmp_path, "journal", steps=iteration) / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"health", b"hea[th"))
    config = run_with(tmp_path, "config", steps=iteration) / "config.yaml"
    config.write_bytes(config.read_bytes()[:300])
    held = check_config({"images": {"source": "x"}, "output": str(tmp_path), "name": "running"})
    with Run(held.folder).opened(held):
        lines = listed(tmp_path)
    for name, state in (("finished", "finished"), ("stopped", "stopped"), ("begun", "stopped"),
                        ("running", "running")):  # fmt: skip
        assert lines[name].split()[3] == state, lines[name]
    assert f"unreadable: {journal}, line 2 is not as it was written" in lines["journal"]
    assert f"unreadable: {config} is not as the run wrote it" in lines["config"]
