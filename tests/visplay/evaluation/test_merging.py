"""Merged weights compute what the adapter does, or are not written."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from rollouts.engine import AdapterVersion
from visplay.config.sections import Lora, Model
from visplay.errors import RunError
from visplay.evaluation.export import _merge
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b

POCKET = Model(path="pocket", device="cpu")


def adapter(folder: Path, *, size: float, targets: list[str] | None = None) -> Path:
    made = AdapterVersion(name="shared", version=0, path=folder / "shared-0")
    Policy.of(POCKET, lora=Lora(rank=4, targets=targets or [])).create_adapter(made, seed=0)
    randomize_lora_b(made, size=size)
    return folder / "shared-0"


def test_an_update_below_a_step_of_16_bits_is_refused_and_kept_in_32(tmp_path: Path) -> None:
    small = adapter(tmp_path, size=3e-4)
    for name in ("bfloat16", "auto"):  # the pocket VLM is stored in bfloat16
        with pytest.raises(RunError, match=r"in bfloat16 only .*--dtype float32"):
            _merge(POCKET, small, tmp_path / name, dtype=name)  # type: ignore[arg-type]
        assert not (tmp_path / name).exists()
    assert _merge(POCKET, small, tmp_path / "out", dtype="float32") == ("float32", pytest.approx(1, abs=0.01))
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"


def test_an_adapter_that_changes_nothing_merges_into_the_base(tmp_path: Path) -> None:
    assert _merge(POCKET, adapter(tmp_path, size=0.0), tmp_path / "out", dtype="auto") == ("bfloat16", 1.0)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tied_embeddings_are_refused(tmp_path: Path) -> None:
    base, processor = load_base(POCKET)
    base.config.tie_word_embeddings = base.config.get_text_config().tie_word_embeddings = True
    base.tie_weights()
    base.save_pretrained(tmp_path / "tied")
    processor.save_pretrained(tmp_path / "tied")
    tied = POCKET.model_copy(update={"path": str(tmp_path / "tied")})
    adapter = get_peft_model(base, LoraConfig(r=4, target_modules=["lm_head"]))  # ours refuses the name
    adapter.save_pretrained(tmp_path / "shared-0")
    with pytest.raises(RunError, match="embeddings that the base ties"):
        _merge(tied, tmp_path / "shared-0", tmp_path / "out", dtype="float32")
