"""Stored answers are never taken for those of another model: what decides an answer is in its key."""

import datetime
import json
import os
from pathlib import Path

import pytest

from visplay.config.sections import Engine, Model
from visplay.evaluation.reasoner import HARMLESS, UNKEYED, _hashed, engine_key, folder_digest, model_digest

POCKET = Model(path="pocket")
OTHER = {
    "max_pixels": 9999, "min_pixels": 99, "processor": {"a": 1}, "chat_template_kwargs": {"a": 1},
    "options": {"quantization_config": {"load_in_4bit": True}}, "date": datetime.date(2026, 1, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(Model.model_fields) - set(UNKEYED)))
def test_each_field_of_the_model_changes_the_key(name: str) -> None:
    assert model_digest(POCKET.model_copy(update={name: OTHER[name]})) != model_digest(POCKET)


def test_the_type_of_the_weights_counts_as_it_is_resolved() -> None:
    stored = model_digest(POCKET)
    assert model_digest(POCKET.model_copy(update={"dtype": "bfloat16"})) == stored
    assert model_digest(POCKET.model_copy(update={"dtype": "float32"})) != stored


def test_arguments_of_vllm_count_unless_they_are_known_to_be_harmless() -> None:
    def key(**vllm: object) -> str:
        return engine_key(POCKET, Engine(backend="vllm", vllm=dict(vllm)))

    assert {key(**{name: 1}) for name in HARMLESS} == {key()} == {"vllm"}
    deciding = [key(quantization="fp8"), key(dtype="float16"), key(hf_overrides={"a": 1}), key(unheard_of=1)]
    assert len({key(), *deciding}) == 5


def test_the_scale_of_an_adapter_counts(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    digests = set()
    for alpha in (16, 32):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8, "lora_alpha": alpha}))
        digests.add(folder_digest(tmp_path))
    assert len(digests) == 2


def test_a_folder_is_hashed_again_only_where_a_file_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    os.utime(file, (1, 1))
    before = folder_digest(tmp_path)
    reads = _hashed.cache_info().misses
    assert folder_digest(tmp_path) == before and _hashed.cache_info().misses == reads
    file.write_bytes(b"changed")
    assert folder_digest(tmp_path) != before
