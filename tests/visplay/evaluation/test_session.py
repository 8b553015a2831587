"""A whole evaluation as a folder, the targets it can have, and the commands on top."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from rich.console import Console
from typer.testing import CliRunner

from rollouts.engine import AdapterVersion, Prompt, Sampling
from tests.visplay.evaluation.asked import reasoner
from tests.visplay.evaluation.endpoint import serving
from visplay.cli.main import app
from visplay.cli.printing import print_figures
from visplay.config.sections import Engine, Lora, Model
from visplay.errors import BenchmarkError, EvaluationError, RunError, RunLocked
from visplay.evaluation.judge import Judge
from visplay.evaluation.reasoner import evaluate_target, folder_digest
from visplay.evaluation.records import read_records, write_records
from visplay.evaluation.session import Plan, require_place, rescore, run_evaluation
from visplay.evaluation.target import find_target
from visplay.models.policy import Policy
from visplay.progress import Display
from visplay.runs.checkpoints import create_roles, kept_adapter, note_roles, with_trained

GREEDY = Sampling(temperature=0, max_tokens=100)


def write_spec(folder: Path, name: str, rows: list[dict[str, Any]], **values: Any) -> str:
    """A benchmark of one's own with these rows."""
    spec = {"id": name, "source": {"items": rows}, "key": "{k}", **values}
    (folder / f"{name}.yaml").write_text(json.dumps(spec))  # JSON is YAML
    return str(folder / f"{name}.yaml")


def answers(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
    said = "B" if "A. x" in prompt.messages[0]["content"][-1]["text"] else "two"
    return [f"\\boxed{{{said}}}"] * sampling.n


def evaluated(folder: Path, names: list[str], *, judge: Judge | None = None, **how: Any) -> dict[str, Any]:
    plan = Plan(benchmarks=names, max_tokens=100, **how)
    return run_evaluation(
        reasoner(answers), plan, folder=folder / "out", about={"name": "n"}, judge=judge, display=Display()
    )


def test_an_evaluation_with_a_blind_control_samples_and_two_benchmarks(tmp_path: Path) -> None:
    options = [{"k": i, "question": f"{i}?", "o": ["x", "y", "z"], "answer": "B"} for i in range(12)]
    numbers = [{"k": i, "question": f"{i}?", "answer": str(i % 4)} for i in range(12)]
    names = [write_spec(tmp_path, "letters", options, options="o"), write_spec(tmp_path, "numbers", numbers)]
    summary = evaluated(tmp_path, names, blind_limit=6, samples=2)
    assert summary["letters"]["headline"] == 1.0 and summary["numbers"]["headline"] == 0.25
    assert summary["letters"]["blind"]["n"] == 6  # this one answers the same without a picture
    assert (
        summary["letters"]["chance"] == pytest.approx(1 / 3) and summary["numbers"]["majority_class"] == 0.25
    )
    assert summary["numbers"]["sampled"]["pass@2"]["value"] == 0.25
    stored = json.loads((tmp_path / "out" / "summary.json").read_text())["benchmarks"]
    assert stored == json.loads(json.dumps(summary))


def test_without_a_judge_answers_wait_and_rescoring_with_one_grades_them(tmp_path: Path) -> None:
    rows = [{"k": i, "question": f"{i}?", "answer": "two<AND>three" if i else "two"} for i in range(3)]
    name = write_spec(tmp_path, "judged", rows, rule="judge", gold="and_or")
    summary = evaluated(tmp_path, [name])
    assert summary["judged"]["headline"] is None and "3 judge_error of 3" in summary["judged"]["withheld"]

    def reply(n: int, body: dict[str, Any]) -> tuple[int, str]:
        return 200, "score: 0.5" if "<AND>three" in body["messages"][0]["content"] else "score: 1"

    with serving(reply) as endpoint:
        judge = Judge(url=endpoint.url, model="g", wait=0.01)
        graded = rescore(tmp_path / "out", judge=judge)["judged"]
        assert graded["headline"] == pytest.approx((1 + 0.5 + 0.5) / 3)
        # Judge and rules: right and right, then twice right (0.5) and wrong.
        rescore(tmp_path / "out", judge=judge)
        assert len(endpoint.bodies) == 3
    assert rescore(tmp_path / "out")["judged"] == graded  # the grades stay without the judge


def test_rescoring_scores_what_is_stored(tmp_path: Path) -> None:
    name = write_spec(tmp_path, "numbers", [{"k": i, "question": "?", "answer": "2"} for i in range(4)])
    assert evaluated(tmp_path, [name])["numbers"]["headline"] == 1.0
    path = tmp_path / "out" / "numbers" / "greedy.jsonl"
    before = path.read_bytes()
    write_records(
        path, [{**r, "score": 0.0, "correct": False, "scorer": "0"} for r in list(read_records(path))]
    )
    assert rescore(tmp_path / "out")["numbers"]["headline"] == 1.0
    assert path.read_bytes() == before
    with pytest.raises(EvaluationError, match=r"has no evaluation\.json"):
        rescore(tmp_path)


def test_two_processes_cannot_write_to_one_folder(tmp_path: Path) -> None:
    name = write_spec(tmp_path, "numbers", [{"k": 1, "question": "?", "answer": "2"}])
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / "lock"), pytest.raises(RunLocked):
        evaluated(tmp_path, [name])


def test_benchmarks_are_looked_at_before_weights_are_read(tmp_path: Path) -> None:
    (tmp_path / "absent.yaml").write_text("id: absent\nsource: {path: nowhere.parquet}\n")
    own = write_spec(tmp_path, "numbers", [{"k": 1, "question": "?", "answer": "2"}])
    for plan, said in (
        (Plan(benchmarks=[own, str(tmp_path / "absent.yaml")]), "absent: .*nowhere.parquet"),
        (Plan(benchmarks=[own], sources={"other": tmp_path}), "is not one of the requested benchmarks"),
    ):
        with pytest.raises((BenchmarkError, EvaluationError), match=said):
            evaluate_target(
                find_target("owner/nowhere"), plan, engine=Engine(), chunk=1, out=tmp_path / "out",
                judge=None, display=Display.quiet(),
            )  # fmt: skip


def make_run(folder: Path, *, adapters: str = "shared") -> Path:
    steps = ["iteration-0/evaluation"]
    names = ("questioner", "reasoner")
    for name in ("shared",) if adapters == "shared" else names:
        (folder / "iteration-0" / "adapters" / f"{name}-0").mkdir(parents=True)
    roles = create_roles(folder / "iteration-0" / "adapters", names=names)
    note_roles(folder / "iteration-0" / "adapters", roles, roles, run=folder)
    for i, phases in ((1, ("questioner", "reasoner")), (2, ("questioner",))):
        for phase in phases:
            own = folder / f"iteration-{i}" / phase
            (own / "adapter").mkdir(parents=True)
            name = "shared" if adapters == "shared" else phase
            (own / "adapter.json").write_text(json.dumps({"name": name, "version": i}))
            roles = with_trained(roles, phase, kept_adapter(own))
        (folder / f"iteration-{i}" / "health").mkdir()
        note_roles(folder / f"iteration-{i}" / "health", roles, roles, run=folder)
        steps.append(f"iteration-{i}/health")
    (folder / "config.yaml").write_text("model: {path: pocket}\n")
    (folder / "journal.jsonl").write_text(
        "".join(json.dumps({"step": s, "sha256": ""}) + "\n" for s in steps)
    )
    return folder


def test_targets_of_a_run(tmp_path: Path) -> None:
    shared, own = make_run(tmp_path / "a"), make_run(tmp_path / "b", adapters="per_role")
    assert find_target(str(shared)).adapter.path == shared / "iteration-2/questioner/adapter"
    assert find_target(f"{own}@2").adapter.path == own / "iteration-1/reasoner/adapter"
    assert find_target(f"{shared}@1").adapter.path == shared / "iteration-1/reasoner/adapter"
    for base in ("0", "base"):
        assert find_target(f"{shared}@{base}").adapter.path is None
    assert find_target(f"{shared}@1").name == "a@1" and find_target(f"{shared}@0").name == "a@base"
    with pytest.raises(RunError, match=r"iteration 3 of .* is not finished; finished are \[0, 1, 2\]"):
        find_target(f"{shared}@3")
    with pytest.raises(EvaluationError, match="an iteration must be a number or base"):
        find_target(f"{shared}@last")


def test_other_targets(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "pocket"}))
    found = find_target(str(tmp_path))
    assert found.model.path == "pocket" and found.adapter.path == tmp_path
    before = folder_digest(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    assert folder_digest(tmp_path) != before
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(EvaluationError, match="neither a run"):
        find_target(str(tmp_path))
    assert find_target("owner/name").name == "owner--name"


def said(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, re.sub(r"\s+", " ", done.output + str(done.exception or ""))


def test_evaluate_prints_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not what the folder holds of earlier evaluations, which may have had other limits."""
    stored = {"pocket-dusk": {"n": 3}, "easy-vqa": {"n": 9}}
    monkeypatch.setattr("visplay.evaluation.reasoner.evaluate_target", lambda *_, **__: (tmp_path, stored))
    code, text = said("evaluate", "pocket", "-b", "pocket-dusk")
    assert code == 0 and "pocket-dusk 3" in text and "easy-vqa" not in text


def test_commands_name_what_is_wrong(tmp_path: Path) -> None:
    assert "there is no benchmark 'x'" in said("evaluate", "pocket", "-b", "x", "--check-data")[1]
    assert "must look like ID=PATH" in said("evaluate", "pocket", "--source", "x")[1]
    assert "--base needs an adapter" in said("evaluate", "pocket", "--base", "other")[1]
    assert "--vllm is for --engine vllm" in said("evaluate", "pocket", "--vllm", "dtype=auto")[1]
    on_vllm = ("evaluate", "pocket", "--engine", "vllm", "--vllm")
    assert "--vllm must look like KEY=VALUE, got 'dtype'" in said(*on_vllm, "dtype")[1]
    assert "--judge needs --judge-model" in said("evaluate", "pocket", "--judge", "http://x")[1]
    assert (
        "must be an http(s) address"
        in said("evaluate", "x", "--rescore", "--judge", "ftp://x", "--judge-model", "m")[1]
    )
    assert "holds no stored samples" in said("compare", str(tmp_path), str(tmp_path))[1]
    code, text = said("benchmarks")
    assert code == 0 and "mathverse" in text and "mean of" in text


def a_run(folder: Path) -> Path:
    (folder / "iteration-1").mkdir(parents=True)
    for name in ("versions.json", "config.yaml", "journal.jsonl"):
        (folder / name).write_text("")
    return folder


@pytest.mark.parametrize("place", ["run", "run/iteration-1", "run/new/folder", "link"])
@pytest.mark.parametrize(
    "command",
    [("evaluate", "pocket", "--out", "PLACE"), ("pocket", "images", "PLACE"),
     ("compare", "a", "b", "--page", "PLACE/a.html"),
     ("config", "init", "pocket", "p", "--out", "PLACE/c.yaml")],
)  # fmt: skip
def test_no_command_writes_among_the_files_of_a_run(
    command: tuple[str, ...], place: str, tmp_path: Path
) -> None:
    run = a_run(tmp_path / "run")
    (tmp_path / "link").symlink_to(run)
    for name in ("a", "b"):
        path = tmp_path / name
        write_spec(tmp_path, "own", [{"k": 1, "question": "?", "answer": "2"}])
        evaluated(path, [str(tmp_path / "own.yaml")])
    words = [word.replace("PLACE", str(tmp_path / place)) for word in command]
    words = [str(tmp_path / word / "out") if word in ("a", "b") else word for word in words]
    before = sorted(run.rglob("*"))
    code, text = said(*words)
    assert code == 1 and "is in the folder of the run" in text
    assert sorted(run.rglob("*")) == before


def test_an_evaluation_takes_the_place_of_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "summary.json").write_text("my own")
    (tmp_path / "file").write_text("my own")
    for name, why in (("mine", "has files (summary.json) but no evaluation"), ("file", "is a file")):
        code, text = said("evaluate", "pocket", "--out", str(tmp_path / name))
        assert code == 1 and why in text
    assert (tmp_path / "mine" / "summary.json").read_text() == (tmp_path / "file").read_text() == "my own"
    for name in ("new", "empty", "begun", "ours"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "new").rmdir()
    (tmp_path / "begun" / "lock").touch()
    for name in ("evaluation.json", "summary.json"):
        (tmp_path / "ours" / name).touch()
    for name in ("new", "empty", "begun", "ours"):
        require_place(tmp_path / name)


def test_checkpoints_of_one_last_name_are_evaluated_in_two_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = write_spec(tmp_path, "own", [{"k": 1, "question": "How many?", "answer": "2"}])
    folders = []
    for parent in ("first", "second"):
        adapter = AdapterVersion(name="a", version=0, path=tmp_path / parent / "checkpoint-100")
        Policy.of(Model(path="pocket"), lora=Lora(rank=1)).create_adapter(adapter, seed=len(parent))
        folder, _ = evaluate_target(
            find_target(str(adapter.path)), Plan(benchmarks=[spec], max_tokens=2), engine=Engine(), chunk=1,
            out=None, judge=None, display=Display.quiet(),
        )  # fmt: skip
        folders.append(folder)
    assert [folder.name.rpartition("-")[0] for folder in folders] == ["checkpoint-100"] * 2
    assert folders[0] != folders[1] and all((f / "own" / "greedy.jsonl").is_file() for f in folders)


def test_check_data_from_the_command_line(tmp_path: Path) -> None:
    name = write_spec(tmp_path, "own", [{"k": 1, "question": "?", "answer": "2"}])
    text = Path(name).read_text()
    Path(name).write_text(text.replace("{", '{"rows": 3, ', 1))
    code, text = said("evaluate", "pocket", "-b", f"{name},easy-vqa", "--check-data")
    assert code == 1
    assert "own: 1 differences rows: the spec says 3, the source has 1 easy-vqa: fits its spec" in text


@pytest.mark.slow
def test_the_pocket_checkpoint_is_evaluated_and_compared_from_the_command_line(tmp_path: Path) -> None:
    common = ("-b", "easy-vqa", "--limit", "24", "--max-tokens", "72", "--device", "cpu")
    for name in ("a", "b"):
        code, text = said("evaluate", "pocket", *common, "--out", str(tmp_path / name), "--samples", "2")
        assert code == 0 and "avg@2" in text, text
    assert (tmp_path / "a/easy-vqa/greedy.jsonl").read_bytes() == (
        tmp_path / "b/easy-vqa/greedy.jsonl"
    ).read_bytes()
    code, text = said("compare", str(tmp_path / "a"), str(tmp_path / "b"), "--page", str(tmp_path / "p.html"))
    assert code == 0 and "can't tell" in text and (tmp_path / "p.html").is_file()


def test_printed_figures_say_why_one_is_withheld() -> None:
    figures = {
        "n": 9,
        "headline": 0.5,
        "accuracy": {"value": 0.5, "low": 0.2, "high": 0.8},
        "parse_rate": 1.0,
    }
    console = Console(record=True, width=160)
    withheld = {"n": 4, "headline": None, "accuracy": None, "withheld": "2 engine_error of 4; 99% must count"}
    print_figures("mine", {"mmstar": figures, "chartqa": withheld}, console)
    text = console.export_text()
    assert "50.0\u00a0% (20.0\u201380.0)" in text and "chartqa: no figure, 2 engine_error of 4" in text
