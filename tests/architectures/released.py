"""Released VLMs: real tokenizer, template, processor and configuration, and tiny random weights.

The files lie outside the repository, in `processors/` of the folder `shared` beside it; `VISPLAY_PROCESSORS`
names another place.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling
from tests.architectures.tiny import as_released
from visplay.config.sections import Engine, Model
from visplay.models.engines import start_engine

HERE = Path(os.environ.get("VISPLAY_PROCESSORS", Path(__file__).parents[3] / "shared" / "processors"))
NAMES = (
    "qwen2_5_vl_7b", "qwen3_vl_8b_instruct", "granite_docling_idefics3", "smolvlm2_500m", "internvl3_8b_hf",
    "llava_onevision_qwen2_7b",
)  # fmt: skip
TEXT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 32, "max_window_layers": 2}  # fmt: skip
VISION = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
          "depth": 2, "num_heads": 2, "out_hidden_size": 64}  # fmt: skip


def write_tiny(name: str, folder: Path) -> Path:
    """A checkpoint with the released files and small random weights of the same architecture."""
    folder.mkdir(parents=True)
    for file in (HERE / name).iterdir():
        if file.name not in ("config.json", "SOURCE"):
            (folder / file.name).symlink_to(file)
    config = AutoConfig.from_pretrained(HERE / name)
    _shrink(config.text_config, TEXT)
    _shrink(config.vision_config, VISION)
    rope = config.text_config.rope_parameters
    if "mrope_section" in rope:
        rope["mrope_section"] = [6, 5, 5]
    if hasattr(config.vision_config, "fullatt_block_indexes"):
        config.vision_config.fullatt_block_indexes = [1]
    if hasattr(config.vision_config, "deepstack_visual_indexes"):
        config.vision_config.deepstack_visual_indexes = [0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    if config.model_type == "llava_onevision":
        as_released(folder / "model.safetensors")
    return folder


def _shrink(config: Any, sizes: dict[str, Any]) -> None:
    for name, size in sizes.items():
        if hasattr(config, name):
            setattr(config, name, size)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: sizes["num_hidden_layers"]]


WRITTEN = "<type>numerical</type><question>How many?</question><answer>1</answer>"


class Overwritten:
    """A real engine whose texts are written anew, for random weights ask no question.

    Ids, log-probs, pictures and adapters are the engine's own, and the trainer trains on them.
    """

    def __init__(self, real: RolloutEngine) -> None:
        self.real = real

    def publish(self, adapter: AdapterVersion) -> None:
        self.real.publish(adapter)

    def sleep(self) -> None:
        self.real.sleep()

    def close(self) -> None:
        self.real.close()

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        groups = self.real.generate(prompts, adapter=adapter, sampling=sampling)
        return [
            [replace(completion, text=_text(prompt, i)) for i, completion in enumerate(group)]
            for prompt, group in zip(prompts, groups, strict=True)
        ]


def _text(prompt: Prompt, place: int) -> str:
    if "ask one question" in str(prompt.messages):
        return "nothing" if place % 2 else WRITTEN
    return f"\\boxed{{{1 + place % 2}}}"


def transformers(model: Model, engine: Engine, *, lora_rank: int | None) -> RolloutEngine:
    return _started("transformers", model, engine, lora_rank)


def vllm(model: Model, engine: Engine, *, lora_rank: int | None) -> RolloutEngine:
    return _started("vllm", model, engine, lora_rank)


def _started(backend: str, model: Model, engine: Engine, lora_rank: int | None) -> RolloutEngine:
    real = engine.model_copy(update={"backend": backend})
    return Overwritten(start_engine(model, real, lora_rank=lora_rank, logs=Path()))
