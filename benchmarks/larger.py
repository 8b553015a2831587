"""A VLM of 143 M parameters with random weights, for figures that the pocket VLM is too small for."""

import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from visplay.config.sections import Model


def write_larger(folder: Path, *, dtype: torch.dtype = torch.float32) -> str:
    """The pocket VLM's architecture with a wider and deeper language model, random weights."""
    source = Path(Model(path="pocket").source)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    config = AutoConfig.from_pretrained(source)
    wide = {
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 12,
        "num_attention_heads": 16,
    }
    config.text_config.update(wide | {"head_dim": 64, "num_key_value_heads": 8})
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(config).to(dtype).save_pretrained(folder)
    return str(folder)
