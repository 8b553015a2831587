"""What the parts of the check share: the VLM, its engine, the clock and the memory they took."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import torch
from PIL import Image

from benchmarks.gpu import qwen
from rollouts.engine import Prompt
from visplay.config.loading import Config, load_config
from visplay.config.prompts import Prompts
from visplay.models.policy import Policy
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import reasoner_prompt

QUESTION = "How many shapes are there?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the check is.

    Attributes:
        name: `3B` or `tiny`.
        text: of the language model.
        vision: of the vision tower.
        picture: width and height of the pictures, in pixels.
        run: keys of the configuration that the VLM is trained with.
        pocket: keys that shorten `configs/pocket.yaml`.
        pictures: that the pocket VLM plays with.
    """

    name: str
    text: dict[str, Any]
    vision: dict[str, Any]
    picture: tuple[int, int]
    run: dict[str, Any]
    pocket: dict[str, Any]
    pictures: int


TRUE = Scale(
    name="3B", text=qwen.TEXT_3B, vision=qwen.VISION_3B, picture=(640, 480),
    run={"reasoner.prompts_per_step": 8, "reasoner.group_size": 8, "optimizer.micro_batch_size": 8,
         "lora.rank": 16},
    pocket={"questioner.steps": 3, "reasoner.steps": 3, "curation.images": 60}, pictures=120,
)  # fmt: skip
TINY = Scale(
    name="tiny", text=qwen.TEXT_TINY, vision=qwen.VISION_TINY, picture=(112, 84),
    run={"reasoner.prompts_per_step": 2, "reasoner.group_size": 4, "optimizer.micro_batch_size": 4,
         "lora.rank": 8},
    pocket={"questioner.steps": 1, "reasoner.steps": 1, "curation.images": 12,
            "curation.questions_per_image": 2, "questioner.prompts_per_step": 2, "questioner.group_size": 4,
            "reasoner.prompts_per_step": 2, "reasoner.group_size": 4, "optimizer.micro_batch_size": 8},
    pictures=24,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report.

    Attributes:
        part: that found it.
        what: was measured.
        value: what was found.
        unit: of a number.
        note: what it is held against.
    """

    part: str
    what: str
    value: float | str
    unit: str = ""
    note: str = ""


@dataclass
class Stand:
    """The VLM under test and what was found out about it so far.

    Attributes:
        scale: how large it is.
        device: `cuda` or `cpu`.
        steps: optimizer steps of each trained part.
        tokens: length limit of a completion.
        peak_flops: of the card, bf16 operations per second; None where it is not known.
        peak_source: who says so, or why it is not known.
        folder: scratch.
    """

    scale: Scale
    device: str
    steps: int
    tokens: int
    peak_flops: float | None
    peak_source: str
    folder: Path

    @property
    def model_folder(self) -> Path:
        """Configuration and processor, and the weights where an engine wants to read them."""
        return self.folder / "model"

    @cached_property
    def config(self) -> Config:
        """The run whose trainer and engine are measured."""
        keys = {
            "name": "gpu-check", "output": str(self.folder), "model.path": str(self.model_folder),
            "model.dtype": "bfloat16", "model.device": self.device, "engine.backend": "transformers",
            "questioner.steps": 0, "reasoner.steps": self.steps, "reasoner.max_tokens": self.tokens,
            "images.source": str(self.folder), "engine.batch_size": 64,
        }  # fmt: skip
        file = self.folder / "check.yaml"
        file.write_text("{}\n")
        return load_config(file, [f"{key}={value}" for key, value in (keys | self.scale.run).items()])

    @cached_property
    def policy(self) -> Policy:
        """The base VLM, as the trainer holds it."""
        processor = qwen.make_processor()
        config = qwen.make_config(processor.tokenizer, text=self.scale.text, vision=self.scale.vision)
        model = qwen.make_model(config, device=self.device, dtype=torch.bfloat16, seed=0)
        config.save_pretrained(self.model_folder)
        model.generation_config.save_pretrained(self.model_folder)
        processor.save_pretrained(self.model_folder)
        processor.tokenizer.padding_side = "left"  # as `load_processor` has it
        return Policy(model, processor, lora=self.config.lora)

    def prompts(self, count: int) -> list[Prompt]:
        """The Reasoner's, each with a picture of its own."""
        pictures = [render(scene) for scene in sample_scenes(count, split="play", seed=0)]
        large = [picture.resize(self.scale.picture, Image.Resampling.BICUBIC) for picture in pictures]
        return [reasoner_prompt(p, QUESTION, words=Prompts(), key=str(i)) for i, p in enumerate(large)]

    def prompt_tokens(self) -> tuple[int, int]:
        """Tokens of a prompt, and how many of them stand for its picture."""
        chat = self.policy.chat
        ids = chat.encode(self.prompts(1))["input_ids"][0].tolist()
        return len(ids), ids.count(self.policy.model.config.image_token_id)

    def wait(self) -> float:
        """Seconds on the clock when the device has done all it was given."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def peak(self) -> Iterator[dict[str, int]]:
        """Bytes at the peak of a block, filled in at its end: see `begin_peak` and `end_peak`."""
        found: dict[str, int] = {}
        self.begin_peak()
        try:
            yield found
        finally:
            found |= self.end_peak()

    def begin_peak(self) -> None:
        """From here on peaks count."""
        gc.collect()
        if self.device != "cpu":
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def end_peak(self) -> dict[str, int]:
        """On a card: `allocated` and `reserved` by torch, `card` with CUDA's context and other processes.

        On a CPU, which keeps no peaks: `resident`, what the process holds now.
        """
        if self.device == "cpu":
            return {"resident": psutil.Process().memory_info().rss}
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        reserved = torch.cuda.max_memory_reserved()
        beside = total - free - torch.cuda.memory_reserved()
        return {
            "allocated": torch.cuda.max_memory_allocated(), "reserved": reserved, "card": reserved + beside
        }  # fmt: skip


def memory_rows(
    part: str, phase: str, found: dict[str, int], planned: dict[str, dict[str, int]]
) -> list[Row]:
    """What a phase took, against the plan where there is one of this phase."""
    rows = []
    for kind, size in found.items():
        if (sum_ := planned.get(phase, {}).get(kind)) is not None:
            note = f"planned {sum_ / 1e9:.2f}: {size / sum_:.2f} of it"
        else:
            note = "not planned"
        rows.append(Row(part=part, what=f"memory {phase}, {kind}", value=size / 1e9, unit="GB", note=note))
    return rows
