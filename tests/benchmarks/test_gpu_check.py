"""The check of a GPU: its sums by hand, its report, and the whole of it on the CPU with a tiny VLM."""

import io
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from rich.console import Console

from benchmarks.gpu import parts, qwen
from benchmarks.gpu.check import main, run_parts, show
from benchmarks.gpu.learning import count_operations
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.planned import card_flops, planned_bytes
from benchmarks.gpu.stand import TINY, TRUE, Row, Scale, Stand
from visplay.errors import PreflightError
from visplay.models.engines import Beside
from visplay.models.preflight import HALF_NOTED
from visplay.planning.plan import make_plan

ROOT = Path(__file__).parents[2]
PER_COMPLETION = "MFU, each completion with its prompt"
WITHOUT_CARD = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


def stand(folder: Path, scale: Scale = TINY) -> Stand:
    return Stand(
        scale=scale, device="cpu", steps=1, tokens=256, peak_flops=None, peak_source="", folder=folder
    )  # fmt: skip


def on_meta(text: dict[str, Any], vision: dict[str, Any]) -> Any:
    config = qwen.make_config(qwen.make_processor().tokenizer, text=text, vision=vision)
    return qwen.make_model(config, device="meta", dtype=torch.bfloat16, seed=0)


def test_the_true_size_is_that_of_the_released_3b() -> None:
    model = on_meta(qwen.TEXT_3B, qwen.VISION_3B)
    assert sum(p.numel() for p in model.parameters()) == qwen.PARAMETERS == 3_754_622_976
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_operations_of_a_step_by_hand() -> None:
    """Language model 62,016 and head 2048 * 64; vision 75,264 + 70,912 and 82,304 for every fourth patch."""
    model = on_meta(qwen.TEXT_TINY, qwen.VISION_TINY)
    step = {"tokens": 100, "completion_tokens": 40, "patches": 64}
    done = count_operations(model, **step, kl=True, corrected=False, checkpointing=True)
    text, head, pictures = 2 * 62_016 * 100, 2 * 2048 * 64 * 40, 2 * 166_752 * 64
    assert done.model == 3 * (text + head) + 2 * pictures == 111_355_392
    assert done.hardware == 111_355_392 + text == 123_758_592
    both = count_operations(model, **step, kl=True, corrected=True, checkpointing=False)
    assert both.model == both.hardware == 4 * (text + head) + 3 * pictures
    plain = count_operations(model, **step, kl=False, corrected=False, checkpointing=False)
    assert plain.model == plain.hardware == 2 * (text + head) + pictures


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA A100-SXM4-40GB", 312), ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA RTX 6000 Ada Generation", 182), ("NVIDIA L40S", 362), ("NVIDIA L4", 121),
        ("NVIDIA L40", None), ("NVIDIA H100 PCIe", None), ("NVIDIA H100 NVL", None), ("Tesla T4", None),
    ],
)  # fmt: skip
def test_a_cards_peak_by_the_name_that_its_driver_gives(name: str, teraflops: float | None) -> None:
    flops, source = card_flops(None, name=name)
    assert flops == (teraflops and teraflops * 1e12)
    assert ("datasheet" in source or "whitepaper" in source) == (teraflops is not None), source


def test_a_peak_that_is_given_counts_and_a_cpu_has_none() -> None:
    assert card_flops(123.0, name="NVIDIA H100 80GB HBM3") == (123e12, "as given")
    assert card_flops(None, name=None)[0] is None


def test_the_plan_of_the_true_size_is_visplays_own(tmp_path: Path) -> None:
    """No VLM is built: the planner reads the two configurations."""
    check = stand(tmp_path, TRUE)
    processor = qwen.make_processor()
    config = qwen.make_config(processor.tokenizer, text=TRUE.text, vision=TRUE.vision)
    config.save_pretrained(check.model_folder)
    processor.save_pretrained(check.model_folder)
    planned = planned_bytes(make_plan(check.config, prompt_tokens=500, on_gpu=True))
    assert planned["of weights"]["allocated"] == 2 * qwen.PARAMETERS
    for phase in ("of rollouts", "of learning"):
        allocated, card = planned[phase]["allocated"], planned[phase]["card"]
        # LoRA of rank 16 has 29.9 M parameters: 4 bytes for weight, gradient, reference, 8 for moments.
        assert 2 * qwen.PARAMETERS + 20 * 29_900_000 < allocated < card - 1_500_000_000 < 24e9


def test_a_part_that_breaks_leaves_the_others(tmp_path: Path) -> None:
    def good(_: Stand) -> Iterator[Row]:
        yield Row(part="good", what="speed", value=1234.5, unit="tok/s")

    def broken(_: Stand) -> Iterator[Row]:
        yield Row(part="broken", what="before", value=1)
        raise ZeroDivisionError("no tokens\nat all")

    def mendable(_: Stand) -> Iterator[Row]:
        raise PreflightError("lower it")
        yield

    parts = {"broken": broken, "mendable": mendable, "good": good}
    told = Console(file=io.StringIO(), width=80)
    kept: list[tuple[int, int]] = []
    rows, errors = run_parts(
        stand(tmp_path), parts, seconds=60, console=told,
        keep=lambda rows, errors: kept.append((len(rows), len(errors))),
    )  # fmt: skip
    assert kept == [(2, 1), (3, 2), (4, 2), (5, 2)]  # after each part, and at the end
    assert [(row.part, row.what, row.note) for row in rows[:-1]] == [
        ("broken", "before", ""), ("broken", "failed", "ZeroDivisionError: no tokens"),
        ("mendable", "failed", "lower it"), ("good", "speed", ""),
    ]  # fmt: skip
    assert set(errors) == {"broken", "mendable"} and "in broken" in errors["broken"]
    show({"device": "none"}, rows, told)
    lines = told.file.getvalue().splitlines()
    assert any("1,234 tok/s" in line for line in lines) and max(map(len, lines)) <= 80


def test_a_part_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    def endless(_: Stand) -> Iterator[Row]:
        yield Row(part="endless", what="begun", value=1)
        time.sleep(60)

    began, told = time.monotonic(), Console(file=io.StringIO())
    parts = {"endless": endless, "build": PARTS["build"]}
    rows, errors = run_parts(stand(tmp_path), parts, seconds=0.2, console=told, keep=lambda *_: None)
    assert time.monotonic() - began < 30
    assert [(row.part, row.what) for row in rows[:-1]] == [
        ("endless", "begun"), ("endless", "failed"), ("build", "not begun"),
    ]  # fmt: skip
    assert rows[1].note.startswith("TimeoutError: stopped after 0.2 s") and set(errors) == {*parts}


def test_no_part_is_begun_after_its_time(tmp_path: Path) -> None:
    told = Console(file=io.StringIO())
    rows, errors = run_parts(stand(tmp_path), PARTS, seconds=-1, console=told, keep=lambda *_: None)
    assert [row.what for row in rows] == ["not begun"] * len(PARTS) + ["took"]
    assert list(errors) == list(PARTS) and "--seconds -1" in errors["build"]


@WITHOUT_CARD
def test_without_a_card_it_says_what_it_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("No CUDA device: nothing was run.") and "build, ceilings, canaries" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--parts", "build,swop"], "--parts swop: known are build, ceilings, canaries"),
        (["--steps", "0"], "--steps must be above 0, got 0"),
        (["--cpu"], "--cpu: a VLM of true size is for a card; add --tiny"),
    ],
)
def test_options_that_cannot_be(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(options)
    assert said in capsys.readouterr().err


def test_what_a_machine_must_have_and_what_the_wheels_bring() -> None:
    def names(lines: list[str]) -> set[str]:
        kept = [line for line in lines if line and not line.startswith("#")]
        return {re.sub(r"[-_.]+", "-", Requirement(line).name).lower() for line in kept}

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    brought = names((ROOT / "benchmarks/gpu/wheels.txt").read_text().splitlines())
    assert brought <= names((ROOT / "constraints.txt").read_text().splitlines()), "each has one version"
    assert names(project["dependencies"]) - brought == {
        "accelerate", "anyio", "filelock", "jinja2", "numpy", "packaging", "peft",
        "pillow", "psutil", "pyarrow", "pyyaml", "rich", "scipy", "statsmodels", "torch", "torchvision",
        "transformers", "typer",
    }  # fmt: skip


def run_check(folder: Path, *options: str) -> tuple[dict[str, dict[str, Any]], str]:
    """The rows of a check in a process of its own by part and name, and what it printed."""
    command = [sys.executable, "benchmarks/gpu/check.py", "--tiny", "--json", str(folder / "check.json")]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    report = json.loads((folder / "check.json").read_text()) if (folder / "check.json").exists() else {}
    assert done.returncode == 0, (report.get("errors"), done.stderr[-3000:])
    rows: dict[str, dict[str, Any]] = {}
    for row in report["rows"]:
        rows.setdefault(row["part"], {})[row["what"]] = row
    return rows, done.stdout


def expect_sound(rows: dict[str, dict[str, Any]]) -> None:
    """What holds on every machine."""
    assert rows["build"]["parameters"]["value"] == 421_568
    for part, mean in (("canaries", "log-probs apart, mean"), ("agreement", "apart at T=1, mean")):
        assert 0 < rows[part][mean]["value"] < HALF_NOTED
    assert rows["agreement"]["apart at T=1, mean"]["value"] < rows["agreement"]["apart at T=1, max"]["value"]
    assert rows["swap"]["adapter swap"]["value"] > 0
    assert rows["ceilings"]["matrix product"]["value"] > 0 and rows["ceilings"]["copy"]["value"] > 0
    learning = {name: row["value"] for name, row in rows["learning"].items()}
    assert learning["gradient norm"] > 0
    seconds = learning["of which learning"]
    sampled = learning["rollouts"] * (learning["seconds a step"] - seconds)
    # 8 completions of 16 tokens at most, after prompts of 69.
    assert 8 <= sampled <= 128.1 and learning["learning"] * seconds == pytest.approx(8 * 69 + sampled)
    assert learning["MFU"] == pytest.approx(100 * learning["operations"] / 2)  # of a peak of 2 TFLOP/s
    # 2 prompts, each once, 2 pictures of 48 patches; a forward, a backward pass and a reference.
    needed = 3 * 2 * (62_016 * (2 * 69 + sampled) + 2048 * 64 * sampled) + 2 * 166_752 * 2 * 48
    assert learning["operations"] * 1e12 * seconds == pytest.approx(needed)
    # As it was counted before: 8 prompts, and each of 8 pictures seen by both.
    counted = 3 * 2 * (62_016 * (8 * 69 + sampled) + 2048 * 64 * sampled) + 2 * 2 * 166_752 * 8 * 48
    assert learning[PER_COMPLETION] * seconds / 100 * 2e12 == pytest.approx(counted)
    ways = {name: row["note"] for name, row in rows["ways"].items()}
    for name in ("prompt for each completion", "LoRA's inputs cast", "TRL's own train()"):
        assert float(ways[name].split()[-2]) < 0.02  # apart, of gradients in bfloat16


@pytest.mark.slow
@pytest.mark.extra
def test_the_whole_check_on_the_cpu(tmp_path: Path) -> None:
    parts = [name for name in PARTS if name != "vllm"]  # its engine has tests of its own
    rows, printed = run_check(
        tmp_path, "--cpu", "--steps", "2", "--peak-tflops", "2", "--parts", ",".join(parts)
    )
    assert set(rows) == {*parts, "all"}
    expect_sound(rows)
    assert (
        rows["learning"]["HFU"]["value"] == rows["learning"][PER_COMPLETION]["value"]
    )  # no checkpointing on a CPU
    assert rows["pocket"]["well-formed questions"]["value"] > 0
    assert max(map(len, printed.partition("Written to")[0].splitlines())) <= 80
    assert all(part in printed for part in parts)


@pytest.mark.slow
@pytest.mark.extra
@WITHOUT_CARD
def test_vllm_in_the_check_on_the_cpu(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    rows, _ = run_check(tmp_path, "--cpu", "--steps", "1", "--parts", "build,vllm")
    speeds = {name: row["value"] for name, row in rows["vllm"].items() if "sequences" in name}
    assert len(speeds) == 6 and min(speeds.values()) > 0
    assert rows["vllm"]["gradient norm"]["value"] > 0


def test_vllm_may_stay_awake_where_the_plan_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check, beside = stand(tmp_path), Beside(size=None, trainer=None, longest=1)
    monkeypatch.setattr(parts, "vllm_options", lambda *_, **__: {"gpu_memory_utilization": 0.25})
    asked, why = parts._vllm_settings(check, beside)
    assert asked.sleep and asked.vllm == {"gpu_memory_utilization": 0.25} and why == ""

    def too_small(*_: Any, **__: Any) -> None:
        raise PreflightError("8 GB are missing")

    monkeypatch.setattr(parts, "vllm_options", too_small)
    asked, why = parts._vllm_settings(check, beside)
    assert asked.sleep and not asked.vllm and why == "asleep only: 8 GB are missing"
    assert parts._vllm_settings(check, None)[0].sleep is None


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_check_on_a_card(tmp_path: Path) -> None:
    parts = "build,ceilings,canaries,agreement,swap,generation,learning"
    rows, _ = run_check(tmp_path, "--peak-tflops", "2", "--parts", parts)
    expect_sound(rows)
    weights = rows["build"]["memory of weights, allocated"]["value"] * 1e9
    assert 2 * 421_568 <= weights < 2 * 421_568 + 32e6
    assert rows["learning"]["HFU"]["value"] > rows["learning"][PER_COMPLETION]["value"]  # with checkpointing


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_pocket_vlm_plays_in_bf16_on_a_card(tmp_path: Path) -> None:
    rows, _ = run_check(tmp_path, "--parts", "pocket")
    assert rows["pocket"]["well-formed questions"]["value"] > 0
    assert rows["pocket"]["memory of the run, allocated"]["value"] > 0
