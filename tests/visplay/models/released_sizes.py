"""Configurations of released VLMs, from real files beside the repository and what model cards say.

Where only a part of a model's own file is at hand, the sizes are set here from its published configuration.
"""

import copy
from typing import Any

import pytest
from transformers import AutoConfig

from tests.architectures.released import HERE

needs_processors = pytest.mark.skipif(
    not HERE.is_dir(), reason=f"{HERE} is not there: the real configurations are not checked"
)


def real(name: str) -> Any:
    return AutoConfig.from_pretrained(HERE / name)


def sized(base: Any, text: dict[str, Any], vision: dict[str, Any], *, tied: bool = False) -> Any:
    """The same architecture in another size."""
    config = copy.deepcopy(base)
    own = config.get_text_config()
    own.update(text)
    if getattr(own, "layer_types", None):
        own.layer_types = ["full_attention"] * own.num_hidden_layers
    config.vision_config.update(vision)
    config.tie_word_embeddings = own.tie_word_embeddings = tied
    return config


def text(
    width: int, layers: int, heads: int, kv: int, inner: int, vocabulary: int, **more: Any
) -> dict[str, Any]:
    return {
        "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv, "intermediate_size": inner, "vocab_size": vocabulary, **more,
    }  # fmt: skip


def qwen2_5_vl(size: str) -> Any:
    tower = {"3B": 3420, "7B": 3420, "32B": 3456, "72B": 3456}[size]
    own = {
        "3B": text(2048, 36, 16, 2, 11008, 151936), "7B": text(3584, 28, 28, 4, 18944, 152064),
        "32B": text(5120, 64, 40, 8, 27648, 152064), "72B": text(8192, 80, 64, 8, 29568, 152064),
    }[size]  # fmt: skip
    vision = {"out_hidden_size": own["hidden_size"], "intermediate_size": tower}
    return sized(real("qwen2_5_vl_7b"), own, vision, tied=size == "3B")


def qwen3_vl_4b() -> Any:
    own = text(2560, 36, 32, 8, 9728, 151936, head_dim=128)
    vision = {
        "depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "out_hidden_size": 2560,
        "deepstack_visual_indexes": [5, 11, 17],
    }  # fmt: skip
    return sized(real("qwen3_vl_8b_instruct"), own, vision, tied=True)


def mimo_vl_7b() -> Any:
    own = text(4096, 36, 32, 8, 11008, 151680)
    vision = {"out_hidden_size": 4096, "intermediate_size": 4608}
    return sized(real("qwen2_5_vl_7b"), own, vision)


def internvl3_8b() -> Any:
    return sized(real("internvl3_8b_hf"), text(3584, 28, 28, 4, 18944, 151674), {"intermediate_size": 4096})


def llava_onevision_7b() -> Any:
    vision = {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 26,
        "num_attention_heads": 16,
    }
    return sized(real("llava_onevision_qwen2_7b"), text(3584, 28, 28, 4, 18944, 152000), vision)


# By the shipped configuration's name: its architecture, and whose processor makes its prompts.
SHIPPED: dict[str, tuple[Any, str]] = {
    "qwen2.5-vl-3b": (lambda: qwen2_5_vl("3B"), "qwen2_5_vl_7b"),
    "paper-qwen2.5-vl-3b": (lambda: qwen2_5_vl("3B"), "qwen2_5_vl_7b"),
    "qwen2.5-vl-7b": (lambda: qwen2_5_vl("7B"), "qwen2_5_vl_7b"),
    "qwen3-vl-4b": (qwen3_vl_4b, "qwen3_vl_8b_instruct"),
    "qwen3-vl-8b": (lambda: real("qwen3_vl_8b_instruct"), "qwen3_vl_8b_instruct"),
    "mimo-vl-7b": (mimo_vl_7b, "qwen2_5_vl_7b"),
    "smolvlm2-500m": (lambda: real("smolvlm2_500m"), "smolvlm2_500m"),
    "internvl3-8b": (internvl3_8b, "internvl3_8b_hf"),
    "llava-onevision-7b": (llava_onevision_7b, "llava_onevision_qwen2_7b"),
}
