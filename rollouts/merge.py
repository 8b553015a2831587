"""Base weights with a LoRA adapter merged into them, as a checkpoint folder of their own."""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from rollouts.engine import AdapterVersion


def write_merged(base: str, adapter: AdapterVersion, folder: Path, *, dtype: str, **options: Any) -> int:
    """Write `base` + `adapter` to `folder` as safetensors; returns how many bytes that took.

    The base is read again each time, so that no rounding adds up from version to version.

    Args:
        base: hub id or folder of the base VLM.
        adapter: with a path.
        folder: where the checkpoint goes.
        dtype: of the weights, as transformers names it.
        options: further arguments of `from_pretrained`, e.g. `revision`.
    """
    assert adapter.path is not None
    with torch.no_grad():
        model = AutoModelForImageTextToText.from_pretrained(
            base, dtype=dtype, use_safetensors=True, **options
        )
        merged: Any = PeftModel.from_pretrained(model, str(adapter.path)).merge_and_unload()
        merged.save_pretrained(folder)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
