"""What a run's configuration asks of the evaluation: full sets at the end, contamination, own benchmarks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rollouts.engine import AdapterVersion, Prompt, Sampling
from rollouts.scripted_engine import ScriptedEngine
from tests.visplay.contexts import context
from visplay.config.loading import check_config
from visplay.errors import BenchmarkError
from visplay.loop.context import RunContext
from visplay.loop.measuring import evaluate, evaluate_in_full
from visplay.pocket.scenes import render, sample_scenes
from visplay.runs.run import UNFINISHED

BASE = AdapterVersion(name="base", version=0)


def lay(tmp_path: Path, script: Any, **values: Any) -> RunContext:
    folder = tmp_path / "pictures"
    folder.mkdir(exist_ok=True)
    render(next(iter(sample_scenes(1, split="held-out", seed=0, style="dusk")))).save(folder / "copy.png")
    Image.new("RGB", (96, 96), "white").save(folder / "white.png")
    config = check_config(
        {
            "images": {"source": str(folder)},
            "output": str(tmp_path / "runs"),
            "evaluation": {"limit": 6, "maj_limit": 2, "blind_limit": 2, **values},
        }
    )
    return context(config, ScriptedEngine(script))


def always(word: str) -> Any:
    def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        return [f"\\boxed{{{word if adapter.path is None else 'yes'}}}"] * sampling.n

    return script


def test_the_untrained_model_is_measured_with_a_check_for_contamination(tmp_path: Path) -> None:
    table = lay(tmp_path, always("red"))
    evaluate(table, adapter=BASE, folder=tmp_path, base=None)
    (suspect,) = json.loads((tmp_path / "contamination.json").read_text())
    assert suspect == {"benchmark": "pocket-dusk", "item": "held-out-0-0", "picture": "copy.png", "bits": 0}


def test_no_check_where_it_is_switched_off(tmp_path: Path) -> None:
    evaluate(lay(tmp_path, always("red"), contamination_bits=-1), adapter=BASE, folder=tmp_path, base=None)
    assert not (tmp_path / "contamination.json").exists()


def test_full_sets_at_the_end_compare_base_and_reasoner(tmp_path: Path) -> None:
    rows = [{"q": f"Is it white, {i}?", "a": "yes", "p": "pictures/white.png"} for i in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = tmp_path / "own.yaml"
    spec.write_text("id: own\nsource: {path: rows.jsonl}\nimages: [p]\nquestion: '{q}'\nanswer: a\n")
    table = lay(tmp_path, always("no"), benchmarks=[str(spec)])
    trained = AdapterVersion(name="shared", version=3, path=tmp_path / "pictures")
    table.engine.publish(trained)
    scratch = tmp_path / "step"
    (scratch / UNFINISHED).mkdir(parents=True)
    evaluate_in_full(table, reasoner=trained, folder=scratch)
    assert (scratch / "base" / "own" / "greedy.jsonl").exists()
    summary = json.loads((scratch / "reasoner" / "summary.json").read_text())["benchmarks"]["own"]
    assert (summary["n"], summary["headline"]) == (30, 1.0)  # all thirty, though the limit is six


def test_a_benchmark_that_needs_a_judge_is_refused_in_the_loop(tmp_path: Path) -> None:
    spec = tmp_path / "judged.yaml"
    spec.write_text("id: judged\nrule: judge\nsource: {items: [{question: a, answer: b}]}\n")
    table = lay(tmp_path, always("no"), benchmarks=[str(spec)])
    with pytest.raises(BenchmarkError, match="needs a judge and the loop has none"):
        evaluate(table, adapter=BASE, folder=tmp_path, base=None)
