"""What is counted without weights: sizes as published, activations by formulas."""

from typing import Any

import pytest
import torch
import transformers as tf

from tests.architectures.tiny import TEXT, qwen2_5_vl
from tests.visplay.models.released_sizes import SHIPPED, needs_processors
from tests.visplay.models.released_sizes import qwen2_5_vl as released
from visplay.config.sections import Lora, Model
from visplay.errors import ConfigError
from visplay.models.counting import base_dtype, count_held, measure_size, read_architecture
from visplay.models.memory import Batch, Sharding, trainer_memory, vllm_memory

LORA = Lora(rank=16)


@needs_processors
@pytest.mark.parametrize(
    ("size", "parameters", "adapter", "kv"),
    [
        ("3B", 3_754_622_976, 29_933_568, 36_864),
        ("7B", 8_292_166_656, 40_370_176, 57_344),
        ("32B", 33_452_718_336, 134_217_728, 262_144),
        ("72B", 73_410_777_344, 210_534_400, 327_680),
    ],
)
def test_released_vlms_are_as_large_as_they_are_published(
    size: str, parameters: int, adapter: int, kv: int
) -> None:
    found = measure_size(released(size), dtype=torch.bfloat16, lora=LORA)
    assert found.parameters == parameters
    assert found.adapter == adapter  # r * layers * sum(in + out) over seven maps
    assert found.kv_bytes == kv


@needs_processors
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("qwen3-vl-4b", 4_437_815_808),
        ("qwen3-vl-8b", 8_767_123_696),
        ("internvl3-8b", 7_944_300_032),
        ("smolvlm2-500m", 507_482_304),
    ],
)
def test_other_families_are_counted_by_the_same_code(name: str, parameters: int) -> None:
    assert measure_size(SHIPPED[name][0](), dtype=torch.bfloat16, lora=LORA).parameters == parameters


# GB on a GPU by hand-made formulas: prompts of 1,024 tokens, completions of 2,048, rank 16, 64 rows.
BY_FORMULA = {
    ("3B", "ddp", 1): (14, 16, 18, 24), ("3B", "fsdp2", 4): (8, 9, 12, 17),
    ("7B", "ddp", 1): (25, 27, 32, 40), ("7B", "fsdp2", 4): (13, 15, 19, 28),
    ("32B", "fsdp2", 4): (31, 36, 44, 62), ("32B", "fsdp2", 8): (22, 26, 35, 52),
    ("72B", "fsdp2", 4): (60, 67), ("72B", "fsdp2", 8): (39, 46, 60), ("72B", "fsdp2", 16): (29, 36, 50),
}  # fmt: skip


@needs_processors
@pytest.mark.slow
@pytest.mark.parametrize("size", ["3B", "7B", "32B", "72B"])
def test_the_table_is_near_the_one_by_formulas(size: str) -> None:
    config = released(size)
    vlm = measure_size(config, dtype=torch.bfloat16, lora=LORA)
    held = count_held(config, dtype=torch.bfloat16, tokens=3072, checkpointing=True)
    batch = Batch(prompt=1024, completion=2048, rows=64, pixel_bytes=900 * 4 * 1176 * 4)
    for (name, sharding, ranks), row in BY_FORMULA.items():
        for micro, wanted in zip((1, 2, 4, 8), row, strict=False):
            if name == size:
                way: Sharding = sharding
                found = trainer_memory(vlm, held, batch, micro=micro, kl=True, sharding=way, ranks=ranks)
                # The table holds pixel values of every completion, twice, as TRL does.
                total = found.total + 1.08 * (2 * batch.rows * batch.pixel_bytes / ranks - found.pictures)
                assert total / 1e9 == pytest.approx(wanted, rel=0.08, abs=1), (sharding, ranks, micro)


def test_the_cache_of_a_token_is_as_large_as_said() -> None:
    model, _ = qwen2_5_vl()
    size = measure_size(model.config, dtype=torch.float32, lora=LORA)
    cache = model.float()(input_ids=torch.ones(1, 7, dtype=torch.long), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert held == 7 * size.kv_bytes == 7 * 2 * 2 * 1 * 32 * 4


def test_what_a_step_holds_by_hand() -> None:
    model, _ = qwen2_5_vl()
    text = model.config.get_text_config()
    assert (text.hidden_size, text.intermediate_size, text.num_hidden_layers) == (64, 96, 2)
    held = count_held(model.config, dtype=torch.float32, tokens=64, checkpointing=True)
    # 4 T h (L + 3) kept, and T (40.3 h + 15.5 f) for the layer that is computed again.
    assert (held.kept, held.peak) == (4 * 64 * 64 * 5, 4 * 64 * 64 * 5 + 260_301)
    held = count_held(model.config, dtype=torch.float32, tokens=64, checkpointing=False)
    assert held.kept == held.peak == 477_594


def test_the_type_is_the_configurations_or_the_models(tmp_path: Any) -> None:
    model, _ = qwen2_5_vl()
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    stored = read_architecture(Model(path=str(tmp_path)))
    assert base_dtype(stored, Model(path=str(tmp_path))) == torch.bfloat16
    assert base_dtype(stored, Model(path=str(tmp_path), dtype="float32")) == torch.float32


def test_without_a_config_it_says_where_one_must_be(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=r"model\.path: no config\.json of .* folder that has one"):
        read_architecture(Model(path=str(tmp_path)))


def test_a_language_model_is_no_vlm(tmp_path: Any) -> None:
    tf.LlamaConfig(**TEXT).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"is a llama, not a vision-language model"):
        read_architecture(Model(path=str(tmp_path)))


@needs_processors
def test_slots_of_lora_are_of_vllms_next_rank() -> None:
    size = measure_size(released("3B"), dtype=torch.bfloat16, lora=Lora(rank=12))
    assert size.adapter == 29_933_568 * 12 // 16
    assert vllm_memory(size, rank=12, longest=8192).adapters == 3 * 2 * 29_933_568
    assert vllm_memory(size, rank=None, longest=8192).adapters == 0
