"""The planner's sums against a GRPO-like step on real tensors on the CPU, several architectures.

python benchmarks/plan_against_measured.py           tiny models
python benchmarks/plan_against_measured.py larger    and one of 143 M parameters, about a minute and 4 GB

`kept` by autograd's own hooks, `peak` by following storages. `resident` is the growth of the process's
memory: with MALLOC_MMAP_THRESHOLD_=65536 it is the peak without what is allocated and never written, such as
the part of the LM head's tile beyond a small vocabulary.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.larger import write_larger
from tests.architectures.tiny import ALL
from tests.visplay.models.measured import COMPLETION, Measured, measure
from visplay.cli.printing import plain_table
from visplay.config.sections import Lora, Model
from visplay.models.counting import count_held, measure_size
from visplay.models.memory import Batch, TrainerMemory, trainer_memory
from visplay.models.policy import load_base

LORA = Lora(rank=8)


def planned(
    config: Any, found: Measured, *, dtype: torch.dtype, micro: int, checkpointing: bool
) -> TrainerMemory:
    size = measure_size(config, dtype=dtype, lora=LORA)
    batch = Batch(prompt=found.prompt, completion=COMPLETION, rows=micro, pixel_bytes=found.pixel_bytes)
    held = count_held(config, dtype=dtype, tokens=batch.tokens, checkpointing=checkpointing)
    return trainer_memory(size, held, batch, micro=micro, kl=False, on_gpu=False)


def larger() -> tuple[Any, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        return load_base(Model(path=write_larger(Path(scratch) / "model"), dtype="float32", device="cpu"))


def main() -> None:
    builds: dict[str, Any] = {tiny.name: tiny.build for tiny in ALL}
    if "larger" in sys.argv[1:]:
        builds["143 M (Idefics3)"] = larger
    table = plain_table(
        "measured / planned", "model", "dtype", "ckpt", "weights", "LoRA", "AdamW", "kept", "peak", "peak MB",
        "resident MB",
    )  # fmt: skip
    for name, build in builds.items():
        for dtype in (torch.float32, torch.bfloat16):
            for checkpointing in (False, True):
                torch.manual_seed(0)
                model, processor = build()
                micro = 4
                config = model.config
                found = measure(
                    model.to(dtype), processor, lora=LORA, micro=micro, checkpointing=checkpointing
                )
                plan = planned(config, found, dtype=dtype, micro=micro, checkpointing=checkpointing)
                pairs = (
                    (found.weights, plan.weights), (found.adapter, plan.adapter),
                    (found.moments, plan.moments), (found.kept, plan.kept),
                    (found.peak, plan.kept + plan.working),
                )  # fmt: skip
                table.add_row(
                    name, str(dtype).removeprefix("torch."), "yes" if checkpointing else "no",
                    *(f"{measured / sum_:.3f}" for measured, sum_ in pairs),
                    f"{found.peak / 1e6:.1f}", f"{found.resident / 1e6:.1f}",
                )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
