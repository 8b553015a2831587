"""A GRPO-like step on real tensors on the CPU, measured in ways that the planner does not use."""

import ctypes
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from trl.trainer.utils import add_fused_lm_head

from rollouts.chat import Chat
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora
from visplay.models.policy import with_new_adapter
from visplay.prompts import reasoner_prompt

COMPLETION = 200  # tokens
QUESTIONS = ("How many?", "How many small red shapes are left of the largest blue circle?")


class LiveBytes(TorchDispatchMode):
    """Follows the storages that operations make, from when they are made until nothing refers to them.

    Args:
        known: tensors that are not counted, such as weights and their gradients.
    """

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self.live = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            weakref.finalize(storage, self._free, key, size)
            self.live += size
            self.peak = max(self.peak, self.live)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


@dataclass(frozen=True)
class Measured:
    """In bytes; `resident` is the growth of the process's memory while the step ran, at its peak.

    `kept` goes by autograd's hooks on what it saves, each storage once, parameters not at all.
    """

    weights: int
    adapter: int
    gradients: int
    moments: int
    kept: int
    peak: int
    resident: int
    prompt: int
    pixel_bytes: int


def measure(model: Any, processor: Any, *, lora: Lora, micro: int, checkpointing: bool = False) -> Measured:
    """One forward with TRL's fused LM head, one backward, one step of AdamW; prompts of unequal length."""
    weights = sum(t.nbytes for t in model.parameters())
    chat = Chat(processor, config=model.config, generation=model.generation_config)
    picture = Image.radial_gradient("L").resize((120, 80)).convert("RGB")
    asked = [reasoner_prompt(picture, QUESTIONS[i % 2], words=Prompts()) for i in range(micro)]
    inputs = dict(chat.encode(asked))
    prompt = inputs["input_ids"].shape[1]
    completion = torch.full((micro, COMPLETION), chat.end_ids[0])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], completion], dim=1)
    for name, fill in (("attention_mask", 1), ("token_type_ids", 0), ("mm_token_type_ids", 0)):
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.full_like(completion, fill)], dim=1)
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    labels[:, :prompt] = -100
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    adapted = with_new_adapter(model, lora).train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    trained = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)

    def forward() -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=model.dtype == torch.bfloat16):
            return adapted(**inputs, labels=labels, fused_lm_head=True).log_probs.sum()

    forward().backward()  # gradients are there from now on, as they are from the second micro-batch
    kept = _saved(forward, list(adapted.parameters()))
    live = LiveBytes([*adapted.parameters(), *(p.grad for p in trained), *inputs.values(), labels])
    with live:
        forward().backward()
    with _Resident() as resident:
        forward().backward()
    optimizer.step()
    moments = sum(
        t.nbytes for state in optimizer.state.values() for name, t in state.items() if name != "step"
    )
    return Measured(
        weights=weights, adapter=sum(p.nbytes for p in trained),
        gradients=sum(p.grad.nbytes for p in trained), moments=moments, kept=kept, peak=live.peak,
        resident=resident.grown, prompt=prompt,
        pixel_bytes=inputs["pixel_values"].nbytes // micro,
    )  # fmt: skip


def _saved(forward: Any, parameters: list[torch.Tensor]) -> int:
    own = {p.untyped_storage().data_ptr() for p in parameters}
    saved: dict[int, int] = {}
    held: list[torch.Tensor] = []  # so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward()
    del loss
    return sum(saved.values())


class _Resident:
    """The largest growth of this process's resident memory while the block runs."""

    def __enter__(self) -> "_Resident":
        ctypes.CDLL(None).malloc_trim(0)  # what earlier tensors left behind would hide the growth
        self._process, self._over = psutil.Process(), threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.grown = self._most - self._before

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            self._most = max(self._most, self._process.memory_info().rss)
