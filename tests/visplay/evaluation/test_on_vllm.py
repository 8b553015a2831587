"""`visplay evaluate --engine vllm`: the same answers as with transformers, and an item too long for it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from visplay.cli.main import app
from visplay.config.sections import Lora, Model
from visplay.evaluation.records import read_records
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b
from visplay.runs.checkpoints import numbered

pytestmark = [pytest.mark.slow, pytest.mark.extra]  # an engine of its own for one test


def evaluated(target: Path, *options: str, out: Path) -> dict[str, list[dict[str, Any]]]:
    """The greedy samples, by benchmark."""
    command = ["evaluate", str(target), "--base", "pocket", "--device", "cpu", "--max-tokens", "72"]
    done = CliRunner().invoke(app, [*command, *options, "--out", str(out)])
    assert done.exit_code == 0, done.output + str(done.exception)
    return {path.parent.name: list(read_records(path)) for path in out.glob("*/greedy.jsonl")}


def test_an_adapter_is_evaluated_on_vllm(tmp_path: Path) -> None:
    policy = Policy(*load_base(Model(path="pocket", dtype="float32")), lora=Lora(rank=4, alpha=8))
    adapter = numbered(tmp_path, "shared", 1)
    policy.create_adapter(adapter, seed=0)
    randomize_lora_b(adapter, size=0.02, seed=0)
    assert adapter.path is not None
    rows = [{"k": i, "question": "red? " * words, "answer": "yes"} for i, words in enumerate([1, 2000, 2])]
    own = tmp_path / "own.yaml"
    own.write_text(json.dumps({"id": "own", "source": {"items": rows}, "key": "{k}"}))
    on_vllm = evaluated(
        adapter.path, "-b", f"{own},easy-vqa", "--limit", "24", "--engine", "vllm",
        "--vllm", "max_model_len=500", "--vllm", "dtype=float32", out=tmp_path / "vllm",
    )  # fmt: skip
    here = evaluated(adapter.path, "-b", "easy-vqa", "--limit", "24", out=tmp_path / "transformers")
    pairs = list(zip(on_vllm["easy-vqa"], here["easy-vqa"], strict=True))
    assert len(pairs) == 24
    assert sum(a["output"] == b["output"] for a, b in pairs) >= 22  # a tie may fall otherwise
    assert all(a["generation"] != b["generation"] for a, b in pairs)
    # Its neighbours are answered all the same, and its failure is not called the model's.
    assert [r["status"] == "engine_error" for r in on_vllm["own"]] == [False, True, False]
    assert "500" in on_vllm["own"][1]["error"]
    assert (
        json.loads((tmp_path / "vllm/evaluation.json").read_text())["engine"] == 'vllm {"dtype": "float32"}'
    )
