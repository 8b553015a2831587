"""What a run takes of a GPU: the trainer line by line, the engine, and both on one card.

Sizes are bytes throughout. What enters is counted (`visplay.models.counting`) or measured (a prompt that the
processor has made, free memory); the arithmetic below adds up. docs/planning.md has the formulas in words.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal

from rollouts.servers.launch import reserved_rank
from visplay.errors import ConfigError, PreflightError
from visplay.models.counting import Held, Size

Sharding = Literal["one", "ddp", "fsdp2"]

MAX_ADAPTERS = 3  # the frozen Reasoner, the current policy and the one that comes in
FRAGMENTED, CONTEXT = 1.08, 1_500_000_000  # what a GPU's allocator cannot use; CUDA's context and libraries
RUNTIME = 1_000_000_000  # of vLLM: context, graphs, buffers
ASLEEP = 2_000_000_000  # what a sleeping vLLM (level 1) keeps: context, graphs, adapters
MARGIN = 1_000_000_000  # left free beside a shared engine
LEAST_LENGTH, STEP_LENGTH = 8192, 1024  # tokens: benchmarks show more pictures; lengths are rounded up
TILE = (4096, 32768)  # rows and columns of the logits that TRL 1.16's fused LM head holds at a time
# What that head makes of a tile in torch operations, where Triton does not do it in place: fp32 tiles.
TORCH_TILES = 7.25


GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One accelerator card: how it is asked for, and its nominal memory in bytes."""

    name: str
    memory: int


CARDS = tuple(
    Card(name=name, memory=gib * GIB)
    for name, gib in (
        ("rtx4090", 24), ("l4", 24), ("a10", 24), ("rtx5090", 32), ("a100-40", 40), ("l40s", 48),
        ("rtx6000ada", 48), ("a100-80", 80), ("h100", 80), ("h200", 141),
    )
)  # fmt: skip


def find_card(name: str) -> Card:
    """The card of this name; raises ConfigError where the table has none."""
    for card in CARDS:
        if card.name == name.lower():
            return card
    raise ConfigError(f"--card {name!r} is not in the table; known: {', '.join(c.name for c in CARDS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one optimizer step learns from.

    Attributes:
        prompt: tokens of a prompt, its picture included.
        completion: tokens of the longest completion.
        rows: completions in a step, P * G.
        pixel_bytes: of the pixel values that the processor makes of a prompt's picture.
        group: completions of a prompt, G.
    """

    prompt: int
    completion: int
    rows: int
    pixel_bytes: int
    group: int = 1

    @property
    def tokens(self) -> int:
        """Of the longest sequence."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerMemory:
    """What a trainer holds, in bytes on each rank; `total` is its peak.

    Attributes:
        weights: of the base.
        adapter: LoRA, fp32.
        gradients: of LoRA, fp32.
        moments: AdamW's two, fp32.
        reference: LoRA as the phase began, for the KL term.
        communication: buckets of DDP; gathered layers and embeddings of FSDP2.
        kept: what the forward pass keeps for the backward pass.
        working: the larger of one layer's backward pass and the LM head's tile.
        pictures: features of the step's pictures, and pixel values of a micro-batch's; the other pixel values
            wait in main memory, one picture once.
        overhead: what the allocator cannot use, and CUDA's context; 0 on a CPU.
    """

    weights: int
    adapter: int
    gradients: int
    moments: int
    reference: int
    communication: int
    kept: int
    working: int
    pictures: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def beyond_weights(self) -> int:
        """At the peak, beside the base's weights and what comes with them, on a GPU."""
        return math.ceil(FRAGMENTED * (self.total - self.weights - self.overhead))

    @property
    def standing(self) -> int:
        """Between steps, beside the base's weights: the adapter's states and the last step's pictures."""
        states = self.adapter + self.gradients + self.moments + self.reference + self.communication
        return math.ceil(FRAGMENTED * (states + self.pictures))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """What an engine holds, in bytes on each of its GPUs, beside its KV cache.

    Attributes:
        weights: of the base; 0 where it is the trainer's.
        adapters: three versions of the LoRA adapter.
        runtime: logits and buffers; of vLLM also context and graphs.
        kv_token: of keys and values of one token.
        needs: least KV cache that it works with.
    """

    weights: int
    adapters: int
    runtime: int
    kv_token: int
    needs: int

    @property
    def fixed(self) -> int:
        """All but the KV cache."""
        return self.weights + self.adapters + self.runtime

    @property
    def least(self) -> int:
        """With the least KV cache."""
        return self.fixed + self.needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What vLLM gets of a GPU that it shares with the trainer.

    Attributes:
        gpu_memory_utilization: of the whole card, in (0, 1).
        max_model_len: longest sequence, in tokens.
        kv_bytes: left for the KV cache.
    """

    gpu_memory_utilization: float
    max_model_len: int
    kv_bytes: int


def trainer_memory(
    size: Size, held: Held, batch: Batch, *, micro: int, kl: bool, on_gpu: bool = True,
    sharding: Sharding = "one", ranks: int = 1,
) -> TrainerMemory:  # fmt: skip
    """What the trainer holds at its peak.

    Args:
        size: of the VLM and its adapter.
        held: by the language model for one completion of `batch.tokens`, counted with gradient checkpointing
            on a GPU and without on a CPU, as the trainer does.
        batch: what a step learns from, on all ranks together.
        micro: completions in a micro-batch.
        kl: whether a reference adapter is held.
        on_gpu: with the allocator's and CUDA's overhead, and with Triton's LM head.
        sharding: `fsdp2` shards the base, the adapter and its states.
        ranks: W.
    """
    share = ranks if sharding == "fsdp2" else 1
    item, n = size.dtype.itemsize, size.adapter
    communication = {
        "one": 0,
        "ddp": 4 * n,
        # Two layers of the base, and the embeddings and the LM head, are whole at a time.
        "fsdp2": 2 * item * (size.layer_parameters + size.vocabulary * size.width),
    }[sharding]
    kept = held.kept * micro
    parts = {
        "weights": -(-size.weight_bytes // share), "adapter": -(-4 * n // share),
        "gradients": -(-4 * n // share), "moments": -(-8 * n // share),
        "reference": -(-4 * n // share) if kl else 0, "communication": communication, "kept": kept,
        "working": max(held.peak * micro - kept, head_bytes(size, batch, micro=micro, on_gpu=on_gpu)),
        "pictures": micro * batch.pixel_bytes
        + -(-batch.rows // (batch.group * ranks)) * batch.prompt * size.width * item,
    }  # fmt: skip
    overhead = math.ceil((FRAGMENTED - 1) * sum(parts.values()) + CONTEXT) if on_gpu else 0
    return TrainerMemory(**parts, overhead=overhead)


def head_bytes(size: Size, batch: Batch, *, micro: int, on_gpu: bool) -> int:
    """Of TRL 1.16's fused LM head at its peak, which is in its backward pass.

    It goes through the vocabulary by tiles and keeps no logits. On a GPU it takes the completions' positions
    only; elsewhere all of them, and torch makes several fp32 tiles of each.
    """
    rows = micro * (batch.completion if on_gpu else batch.tokens)
    high, wide, item = min(rows, TILE[0]), TILE[1], size.dtype.itemsize
    tiles = high * wide * item
    if not on_gpu:
        tiles += math.ceil(TORCH_TILES * 4 * high * min(wide, size.vocabulary))
    return tiles + rows * size.width * (4 + item)


def vllm_memory(
    size: Size, *, rank: int | None, longest: int, tensor_parallel: int = 1, quantized: bool = False
) -> EngineMemory:
    """What vLLM holds on each of its GPUs.

    Args:
        size: of the VLM and its adapter.
        rank: of the adapter; vLLM keeps room for the next of its own sizes. None for the base alone.
        longest: tokens of the longest sequence, of which its cache must hold one.
        tensor_parallel: GPUs that it spreads over.
        quantized: whether its weights take a byte or less each, as `quantization: fp8` makes them.
    """
    weights = size.parameters if quantized else size.weight_bytes
    slots = MAX_ADAPTERS * size.adapter * size.dtype.itemsize * reserved_rank(rank) // rank if rank else 0
    return EngineMemory(
        weights=-(-weights // tensor_parallel), adapters=-(-slots // tensor_parallel),
        runtime=RUNTIME, kv_token=-(-size.kv_bytes // tensor_parallel),
        needs=-(-longest * size.kv_bytes // tensor_parallel),
    )  # fmt: skip


def transformers_memory(size: Size, *, sequences: int, longest: int) -> EngineMemory:
    """What the engine `transformers` holds beside the trainer's base, with a full batch at full length."""
    return EngineMemory(
        weights=0, adapters=4 * MAX_ADAPTERS * size.adapter,
        runtime=3 * 4 * sequences * size.vocabulary,  # scores, their log-softmax, and what sampling makes
        kv_token=size.kv_bytes, needs=sequences * longest * size.kv_bytes,
    )  # fmt: skip


def sequence_length(*, prompt: int, completion: int, context: int) -> int:
    """Tokens that a sequence may take: prompt, 1,024 for its text, completion; rounded up."""
    longest = -(-(prompt + 1024 + completion) // STEP_LENGTH) * STEP_LENGTH
    return min(longest, context)


def share_gpu(
    size: Size, *, trainer: TrainerMemory, engine: EngineMemory, free: int, total: int, sleep: bool,
    longest: int,
) -> Share:  # fmt: skip
    """Arguments of vLLM's engine where the trainer's base is on the same GPU already.

    vLLM 0.32 refuses to start where less than `gpu_memory_utilization * total` is free (`request_memory` in
    `vllm/v1/worker/utils.py`), and takes for its KV cache what of that is left beside its own weights and
    buffers.

    Args:
        size: of the VLM and its adapter.
        trainer: at its peak.
        engine: what vLLM holds, see `vllm_memory`.
        free: now, with the trainer's base in place.
        total: of the card.
        sleep: whether the engine gives its memory back while the trainer works.
        longest: tokens that a sequence must be able to take, see `sequence_length`.

    Raises:
        PreflightError: it does not fit; with the figures and what to lower.
    """
    reserved = trainer.standing if sleep else trainer.beyond_weights
    left = free - reserved - MARGIN
    short = ASLEEP + trainer.beyond_weights - free if sleep else 0
    if short > 0 or left < engine.least:
        raise PreflightError(_too_much(trainer, engine, free=free, sleep=sleep))
    utilization = math.floor(1000 * left / total) / 1000
    kv = math.floor(utilization * total) - engine.fixed
    wanted = min(max(longest, LEAST_LENGTH), size.context)
    return Share(
        gpu_memory_utilization=utilization,
        max_model_len=wanted if wanted * engine.kv_token <= kv else longest,
        kv_bytes=kv,
    )


def gigabytes(size: float) -> str:
    """Bytes in GB (10^9), with one digit."""
    return f"{size / 1e9:.1f} GB"


def _too_much(trainer: TrainerMemory, engine: EngineMemory, *, free: int, sleep: bool) -> str:
    learns = f"the trainer takes {gigabytes(trainer.beyond_weights)} beside its weights"
    if sleep:
        learns += (
            f" and {gigabytes(ASLEEP)} for the sleeping engine, or {gigabytes(trainer.standing)} while the "
            "engine works"
        )
    return (
        f"engine.backend=vllm: {gigabytes(free)} of the GPU are free beside the trainer's base; {learns}, "
        f"the engine at least {gigabytes(engine.least)} ({gigabytes(engine.weights)} of weights, "
        f"{gigabytes(engine.needs)} of KV cache for one sequence), and {gigabytes(MARGIN)} stay free. Lower "
        "optimizer.micro_batch_size or max_tokens of questioner and reasoner, "
        + ("" if sleep else "set engine.sleep=true, ")
        + "give the engine another GPU with engine.backend=server, or set engine.vllm.gpu_memory_utilization "
        "yourself; `visplay plan` shows what fits"
    )
