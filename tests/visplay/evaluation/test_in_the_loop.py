"""What a run's configuration asks of the evaluation: full sets at the end, contamination, own benchmarks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from rollouts.engine import AdapterVersion, Prompt, Sampling
from tests.scripted_engine import ScriptedEngine
from tests.visplay.contexts import context
from visplay.cli.printing import print_result
from visplay.config.loading import check_config
from visplay.errors import BenchmarkError
from visplay.evaluation.sampling import Reasoner
from visplay.evaluation.session import Plan, run_evaluation
from visplay.loop.alarms import best_iteration
from visplay.loop.context import RunContext
from visplay.loop.measuring import check_contamination, evaluate
from visplay.loop.selfplay import selfplay
from visplay.pocket.scenes import render, sample_scenes
from visplay.runs.run import UNFINISHED

BASE = AdapterVersion(name="base", version=0)


def lay(tmp_path: Path, script: Any, *, votes: int = 10, **values: Any) -> RunContext:
    folder = tmp_path / "pictures"
    folder.mkdir(exist_ok=True)
    render(next(iter(sample_scenes(1, split="held-out", seed=0, style="dusk")))).save(folder / "copy.png")
    Image.new("RGB", (96, 96), "white").save(folder / "white.png")
    config = check_config(
        {
            "images": {"source": str(folder)},
            "output": str(tmp_path / "runs"),
            "votes": {"samples": votes},
            "evaluation": {
                "benchmarks": ["pocket-dusk"],
                "limit": 6,
                "maj_limit": 2,
                "blind_limit": 2,
                **values,
            },
        }
    )
    return context(config, ScriptedEngine(script))


def always(word: str) -> Any:
    def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        return [f"\\boxed{{{word if adapter.path is None else 'yes'}}}"] * sampling.n

    return script


def test_the_untrained_model_is_measured(tmp_path: Path) -> None:
    table = lay(tmp_path, always("red"))
    evaluate(table, adapter=BASE, folder=tmp_path, base=None)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    rounds = {f"pocket-dusk/{name}.jsonl" for name in ("greedy", "blind", "sampled")}
    figures = {"evaluation.json", "summary.json", *rounds}
    assert {n for n in names if not n.startswith(("pictures/", UNFINISHED))} == figures


def test_contamination_is_looked_for_once_in_a_run(tmp_path: Path) -> None:
    ctx = lay(tmp_path, always("red"))
    check_contamination(ctx)
    path = ctx.run.folder / "iteration-0/contamination/contamination.json"
    (suspect,) = json.loads(path.read_text())
    assert suspect == {"benchmark": "pocket-dusk", "item": "held-out-0-0", "picture": "copy.png", "bits": 0}
    for picture in (tmp_path / "pictures").iterdir():
        picture.unlink()
    check_contamination(ctx)  # opens none
    assert [entry["step"] for entry in ctx.run.journal()] == ["iteration-0/contamination"]


def write_own(folder: Path, answers: Sequence[str]) -> str:
    rows = [{"q": f"How much, {i}?", "a": said, "p": "pictures/white.png"} for i, said in enumerate(answers)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = folder / "own.yaml"
    spec.write_text("id: own\nsource: {path: rows.jsonl}\nimages: [p]\nquestion: '{q}'\nanswer: a\n")
    return str(spec)


def test_loop_and_evaluate_take_the_same_vote(tmp_path: Path) -> None:
    def halves(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        return [f"\\boxed{{{said}}}" for said in ("0.5", "50", "50%", "50%")[: sampling.n]]

    own = write_own(tmp_path, ["50", "0.5", "1"])
    table = lay(tmp_path, halves, benchmarks=[own], maj_limit=3, votes=4)
    in_loop = evaluate(table, adapter=BASE, folder=tmp_path, base=None)["own"]["sampled"]
    plan = Plan(benchmarks=table.config.evaluation.benchmarks, samples=4)
    alone = Reasoner(
        engine=table.engine, adapter=BASE, model_digest="m", adapter_digest="", backend="scripted"
    )
    found = run_evaluation(
        alone, plan, folder=tmp_path / "alone", about={}, judge=None, display=table.display
    )["own"]["sampled"]
    assert found == in_loop and in_loop["maj@4"]["value"] == pytest.approx(1 / 3)


def test_a_stopped_evaluation_goes_on_inside_a_benchmark(tmp_path: Path) -> None:
    left = [9]  # six greedy answers, two blind ones, and one of two votes

    def until(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return ["\\boxed{red}"] * sampling.n

    table = lay(tmp_path, until)
    with pytest.raises(KeyboardInterrupt):
        evaluate(table, adapter=BASE, folder=tmp_path, base=None)
    assert not (tmp_path / "summary.json").exists()
    left[0] = 2  # the votes alone are left
    evaluate(table, adapter=BASE, folder=tmp_path, base=None)
    assert (left[0], (tmp_path / "summary.json").exists()) == (0, True)


def test_an_item_that_the_engine_fails_on_withholds_the_figure_and_ends_nothing(tmp_path: Path) -> None:
    def failing(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        if prompt.key == "held-out-0-2":
            raise RuntimeError("no room")
        return ["\\boxed{red}"] * sampling.n

    (base := tmp_path / "iteration-0" / "evaluation").mkdir(parents=True)
    (now := tmp_path / "iteration-1" / "evaluation").mkdir(parents=True)
    evaluate(lay(tmp_path, always("red")), adapter=BASE, folder=base, base=None)
    figures = evaluate(lay(tmp_path, failing), adapter=BASE, folder=now, base=base)["pocket-dusk"]
    assert figures["accuracy"] is None and figures["paired"] is None
    assert figures["withheld"].startswith("1 engine_error of 6")
    assert best_iteration(tmp_path, last=1, probe="pocket-dusk") == 0
    console = Console(width=80, record=True)
    print_result(tmp_path, console)
    text = console.export_text()
    assert "1: no figure, 1 engine_error of 6" in text
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("1: "))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "rule: judge\nsource: {items: [{question: a, answer: b}]}\n",
            "needs a judge, which the loop does not",
        ),
        ("source: {path: nowhere.parquet}\n", "own: .*nowhere.parquet"),
    ],
)
def test_a_benchmark_that_cannot_be_scored_is_said_before_the_model_is_loaded(
    tmp_path: Path, text: str, said: str
) -> None:
    (spec := tmp_path / "own.yaml").write_text(f"id: own\n{text}")
    config = lay(tmp_path, always("no"), benchmarks=[str(spec)]).config
    wrong = config.model_copy(update={"model": config.model.model_copy(update={"path": "nowhere"})})
    with pytest.raises(BenchmarkError, match=said):
        selfplay(wrong)
