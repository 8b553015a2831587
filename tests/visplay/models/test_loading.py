"""Weights and adapters that are not whole, or made for something else, end in one clear line at load."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rollouts.engine import AdapterVersion
from visplay.config.sections import Lora, Model
from visplay.errors import ConfigError, EvaluationError, VisplayError
from visplay.evaluation.target import find_target
from visplay.models.policy import Policy, check_adapter, load_base

Tensors = dict[str, torch.Tensor]
POCKET = Model(path="pocket", device="cpu")


def dropped(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != sorted(tensors)[5]}


def renamed(tensors: Tensors) -> Tensors:
    return {f"other.{name}": tensor for name, tensor in tensors.items()}


def reshaped(tensors: Tensors) -> Tensors:
    return {name: torch.cat([t, t]) if name == sorted(tensors)[5] else t for name, t in tensors.items()}


def diverged(tensors: Tensors) -> Tensors:
    return {
        name: torch.full_like(t, torch.nan) if name == sorted(tensors)[5] else t
        for name, t in tensors.items()
    }


def changed(file: Path, change: Callable[[Tensors], Tensors] | None) -> None:
    if change is None:  # cut in half
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "said"),
    [(dropped, "lacks 1 of the tensors"), (renamed, "of the tensors"), (reshaped, "lacks 1 of"),
     (diverged, "not finite"), (None, "no VLM could be loaded")],
)  # fmt: skip
def test_a_base_that_is_not_whole(
    change: Callable[[Tensors], Tensors] | None, said: str, tmp_path: Path
) -> None:
    shutil.copytree(POCKET.source, tmp_path / "base")
    changed(tmp_path / "base" / "model.safetensors", change)
    with pytest.raises(ConfigError, match=said):
        load_base(POCKET.model_copy(update={"path": str(tmp_path / "base")}))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter") / "shared-0"
    Policy.of(POCKET, lora=Lora(rank=4)).create_adapter(
        AdapterVersion(name="shared", version=0, path=folder), seed=0
    )
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [(dropped, "1 tensors are missing"), (renamed, "have other names"), (reshaped, "1 tensors are"),
     (diverged, "not finite"), (None, "cannot be read")],
)  # fmt: skip
def test_an_adapter_that_is_not_whole(
    change: Callable[[Tensors], Tensors] | None, said: str, whole: Path, tmp_path: Path
) -> None:
    check_adapter(whole, POCKET)
    shutil.copytree(whole, tmp_path / "a")
    changed(tmp_path / "a" / "adapter_model.safetensors", change)
    with pytest.raises(ConfigError, match=said):
        check_adapter(tmp_path / "a", POCKET)


@pytest.mark.parametrize(
    ("values", "said"),
    [({"peft_type": "IA3", "target_modules": ["q"], "feedforward_modules": []}, "only LoRA"),
     ({"use_dora": True}, "other names"), ({"r": 8}, "names or shapes"),
     ({"target_modules": ["nowhere"]}, "does not fit 'pocket'")],
)  # fmt: skip
def test_an_adapter_of_another_kind_or_base(
    values: dict[str, object], said: str, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "a")
    file = tmp_path / "a" / "adapter_config.json"
    before = {} if "peft_type" in values else json.loads(file.read_text())
    file.write_text(json.dumps(before | values))
    with pytest.raises(ConfigError, match=said):
        check_adapter(tmp_path / "a", POCKET)
    file.write_text("{")
    with pytest.raises(EvaluationError, match="cannot be read"):
        find_target(str(tmp_path / "a"))


@pytest.mark.parametrize("device", ["cuda:7", "gpu", "cuda:x"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(VisplayError, match=rf"model\.device: '{device}' does not exist; use cpu"):
        load_base(POCKET.model_copy(update={"device": device}))
