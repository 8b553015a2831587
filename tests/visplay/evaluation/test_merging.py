"""Merged weights compute what the adapter does, or are not written."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file

from rollouts.engine import AdapterVersion
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model
from visplay.errors import RunError
from visplay.evaluation.export import LEAST_KEPT, _merge, write_export
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b, trainer_logprobs
from visplay.models.processor import load_processor
from visplay.prompts import canary_prompt

POCKET = Model(path="pocket", device="cpu")


def adapter(folder: Path, *, size: float, targets: list[str] | None = None) -> Path:
    made = AdapterVersion(name="shared", version=0, path=folder / "shared-0")
    Policy.of(POCKET, lora=Lora(rank=4, targets=targets or [])).create_adapter(made, seed=0)
    randomize_lora_b(made, size=size)
    return folder / "shared-0"


def test_an_update_below_a_step_of_16_bits_is_refused_and_kept_in_32(tmp_path: Path) -> None:
    small = adapter(tmp_path, size=3e-4)
    for name in ("bfloat16", "auto"):  # the pocket VLM is stored in bfloat16
        with pytest.raises(RunError, match=r"in bfloat16 .* keep only .*--dtype float32"):
            _merge(POCKET, small, tmp_path / name, dtype=name)
        assert not (tmp_path / name).exists()
    assert _merge(POCKET, small, tmp_path / "out", dtype="float32") == ("float32", pytest.approx(1, abs=0.01))
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_merged_weights_have_the_log_probs_of_the_adapter(dtype: str, tmp_path: Path) -> None:
    folder = adapter(tmp_path, size=0.3)
    _, share = _merge(POCKET, folder, tmp_path / "out", dtype=dtype)
    load_processor(POCKET).save_pretrained(tmp_path / "out")

    def logprobs(path: str, on_top: Path | None) -> torch.Tensor:
        policy = Policy.of(Model(path=path, device="cpu", dtype="float32"), lora=Lora())
        model = PeftModel.from_pretrained(policy.model, str(on_top)) if on_top else policy.model
        prompt = canary_prompt(Image.new("RGB", (64, 64), "teal"), Prompts())
        with torch.inference_mode():
            return torch.tensor(trainer_logprobs(model.eval(), policy.chat, prompt, list(range(20, 60)), 1.0))

    base, adapted = logprobs("pocket", None), logprobs("pocket", folder)
    apart = (logprobs(str(tmp_path / "out"), None) - adapted).norm() / (adapted - base).norm()
    assert share > LEAST_KEPT and apart < {"bfloat16": 0.1, "float16": 0.01, "float32": 1e-4}[dtype]


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


def write_weights(scratch: Path) -> None:
    (scratch / "weights").write_text("new")
    (scratch / "weights").chmod(0o600)  # as safetensors writes


def test_an_export_may_go_to_an_empty_folder_by_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")
    for out in (Path(), tmp_path / "link", tmp_path / "new" / "folder"):
        write_export(out, write_weights)
    for name in ("here", "there", "link", "new/folder"):
        assert {path.name for path in (tmp_path / name).iterdir()} == {"weights"}
        by_umask = (tmp_path / "new").stat().st_mode & 0o666
        assert (tmp_path / name / "weights").stat().st_mode & 0o777 == by_umask
    assert (tmp_path / "link").is_symlink() and not list(tmp_path.rglob(".*"))


def test_an_export_takes_the_place_of_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    for name, why in (("file", "is a file"), ("out", "is not empty")):
        with pytest.raises(RunError, match=why):
            write_export(tmp_path / name, write_weights)
    assert (tmp_path / "file").read_text() == (tmp_path / "out" / "mine").read_text() == "mine"
