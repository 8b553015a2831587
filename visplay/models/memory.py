"""Estimate a run's GPU memory: the trainer by item, the engine, and both on one card.

All sizes are in bytes. The inputs are counted (`visplay.models.counting`) or measured (a processed prompt,
free memory), and the functions below add them up. docs/planning.md explains the formulas.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal

from rollouts.servers.launch import reserved_rank
from visplay.errors import ConfigError, PreflightError
from visplay.models.counting import Held, Size

Sharding = Literal["one", "ddp", "fsdp2"]

MAX_ADAPTERS = 3  # the frozen Reasoner, the current policy and the next version
FRAGMENTED, CONTEXT = 1.08, 1_500_000_000  # factor for fragmentation; CUDA's context and libraries
RUNTIME = 1_000_000_000  # vLLM's context, graphs and buffers
ASLEEP = 2_000_000_000  # a sleeping vLLM (level 1) keeps its context, graphs and adapters
MARGIN = 1_000_000_000  # kept free beside a shared engine
LEAST_LENGTH, STEP_LENGTH = 8192, 1024  # tokens: benchmarks show more pictures; lengths are rounded up
TILE = (4096, 32768)  # rows and columns of the logits that TRL 1.16's fused LM head holds at a time
TORCH_TILES = 7.25  # fp32 tiles that this head allocates in torch operations; Triton works in place
GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One accelerator card: its name for --card, and its nominal memory in bytes."""

    name: str
    memory: int
    half: str = "bfloat16"  # the 16-bit type that it computes in


CARDS = tuple(
    Card(name=name, memory=gib * GIB, half="float16" if name == "t4" else "bfloat16")
    for name, gib in (
        ("rtx4090", 24), ("l4", 24), ("a10", 24), ("rtx5090", 32), ("a100-40", 40), ("l40s", 48),
        ("rtx6000ada", 48), ("a100-80", 80), ("h100", 80), ("h200", 141), ("t4", 15),
    )
)  # fmt: skip


def find_card(name: str) -> Card:
    """The card of this name; raises ConfigError if the table does not have it."""
    for card in CARDS:
        if card.name == name.lower():
            return card
    raise ConfigError(f"--card {name!r} is not in the table; known: {', '.join(c.name for c in CARDS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The batch of one optimizer step.

    Attributes:
        prompt: tokens of a prompt, including its picture.
        completion: tokens of the longest completion.
        rows: completions per step, P * G.
        pixel_bytes: bytes of the processor's pixel values of a prompt's picture.
        group: completions per prompt, G.
    """

    prompt: int
    completion: int
    rows: int
    pixel_bytes: int
    group: int = 1

    @property
    def tokens(self) -> int:
        """Tokens of the longest sequence."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerMemory:
    """The trainer's memory in bytes on each rank; `total` is the peak.

    Attributes:
        weights: weights of the base.
        adapter: LoRA weights, fp32.
        gradients: LoRA gradients, fp32.
        moments: the two AdamW moments, fp32.
        reference: LoRA weights at the start of the phase, for the KL term.
        communication: buckets of DDP; gathered layers and embeddings of FSDP2.
        kept: activations that the forward pass keeps for the backward pass.
        working: the larger of one layer's backward pass and the LM head's tile.
        pictures: features of the step's pictures, and pixel values of a micro-batch; the other pixel values
            are in main memory, once per picture.
        overhead: fragmentation and CUDA's context; 0 on a CPU.
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
        """The sum of all items."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def beyond_weights(self) -> int:
        """Peak memory on a GPU besides the base's weights and their overhead."""
        return math.ceil(FRAGMENTED * (self.total - self.weights - self.overhead))

    @property
    def standing(self) -> int:
        """Memory between steps besides the base's weights: adapter states and the last step's pictures."""
        states = self.adapter + self.gradients + self.moments + self.reference + self.communication
        return math.ceil(FRAGMENTED * (states + self.pictures))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """An engine's memory in bytes on each of its GPUs, without its KV cache.

    Attributes:
        weights: weights of the base; 0 if it shares the trainer's.
        adapters: three versions of the LoRA adapter.
        runtime: logits and buffers; for vLLM also context and graphs.
        kv_token: keys and values of one token.
        needs: the smallest KV cache that the engine can use.
    """

    weights: int
    adapters: int
    runtime: int
    kv_token: int
    needs: int

    @property
    def fixed(self) -> int:
        """Memory without the KV cache."""
        return self.weights + self.adapters + self.runtime

    @property
    def least(self) -> int:
        """Memory with the smallest KV cache."""
        return self.fixed + self.needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """vLLM's share of a GPU that it shares with the trainer.

    Attributes:
        gpu_memory_utilization: share of the whole card, in (0, 1).
        max_model_len: longest sequence, in tokens.
        kv_bytes: bytes that remain for the KV cache.
    """

    gpu_memory_utilization: float
    max_model_len: int
    kv_bytes: int


def trainer_memory(
    size: Size, held: Held, batch: Batch, *, micro: int, kl: bool, on_gpu: bool = True,
    sharding: Sharding = "one", ranks: int = 1,
) -> TrainerMemory:  # fmt: skip
    """Estimate the trainer's peak memory.

    Args:
        size: sizes of the VLM and its adapter.
        held: activations for one completion of `batch.tokens`, with gradient checkpointing on a GPU and
            without it on a CPU, as in the trainer.
        batch: the batch of a step on all ranks together.
        micro: completions per micro-batch.
        kl: whether there is a reference adapter.
        on_gpu: include the overhead of the allocator and CUDA, and use Triton's LM head.
        sharding: `fsdp2` shards the base, the adapter and its states.
        ranks: number of ranks W.
    """
    share = ranks if sharding == "fsdp2" else 1
    item, n = size.dtype.itemsize, size.adapter
    communication = {
        "one": 0,
        "ddp": 4 * n,
        # Two layers of the base, the embeddings and the LM head are gathered at a time.
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
    """Estimate the peak memory of TRL 1.16's fused LM head, which occurs in its backward pass.

    The head processes the vocabulary in tiles and keeps no logits. On a GPU it computes the completions'
    positions only. On a CPU it computes all positions, and torch allocates several fp32 tiles for each.
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
    """Estimate vLLM's memory on each of its GPUs.

    Args:
        size: sizes of the VLM and its adapter.
        rank: rank of the adapter, which vLLM rounds up to a supported one; None for the base alone.
        longest: tokens of the longest sequence; the cache must have room for one.
        tensor_parallel: number of GPUs of one engine.
        quantized: whether a weight takes at most one byte, as with `quantization: fp8`.
    """
    weights = size.parameters if quantized else size.weight_bytes
    slots = MAX_ADAPTERS * size.adapter * size.dtype.itemsize * reserved_rank(rank) // rank if rank else 0
    return EngineMemory(
        weights=-(-weights // tensor_parallel), adapters=-(-slots // tensor_parallel),
        runtime=RUNTIME, kv_token=-(-size.kv_bytes // tensor_parallel),
        needs=-(-longest * size.kv_bytes // tensor_parallel),
    )  # fmt: skip


def transformers_memory(size: Size, *, sequences: int, longest: int) -> EngineMemory:
    """Estimate the memory of the engine `transformers` besides the trainer's base, at the largest batch."""
    return EngineMemory(
        weights=0, adapters=4 * MAX_ADAPTERS * size.adapter,
        runtime=3 * 4 * sequences * size.vocabulary,  # scores, their log-softmax, and a copy for sampling
        kv_token=size.kv_bytes, needs=sequences * longest * size.kv_bytes,
    )  # fmt: skip


def sequence_length(*, prompt: int, completion: int, context: int) -> int:
    """The longest sequence in tokens: prompt, 1,024 for its text, and completion, rounded up."""
    longest = -(-(prompt + 1024 + completion) // STEP_LENGTH) * STEP_LENGTH
    return min(longest, context)


def share_gpu(
    size: Size, *, trainer: TrainerMemory, engine: EngineMemory, free: int, total: int, sleep: bool,
    longest: int,
) -> Share:  # fmt: skip
    """Compute the arguments of vLLM's engine on a GPU that already has the trainer's base.

    vLLM 0.32 does not start if less than `gpu_memory_utilization * total` is free (`request_memory` in
    `vllm/v1/worker/utils.py`). Its KV cache takes the part of this memory that its weights and buffers do not
    need.

    Args:
        size: sizes of the VLM and its adapter.
        trainer: the trainer's peak memory.
        engine: vLLM's memory, see `vllm_memory`.
        free: free memory now, with the trainer's base loaded.
        total: memory of the card.
        sleep: whether the engine frees its memory while the trainer works.
        longest: tokens of the longest sequence, see `sequence_length`.

    Raises:
        PreflightError: both do not fit; the message has the figures and the settings to lower.
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
    """Format bytes as GB (10^9) with one decimal."""
    return f"{size / 1e9:.1f} GB"


def _too_much(trainer: TrainerMemory, engine: EngineMemory, *, free: int, sleep: bool) -> str:
    learns = f"the trainer needs {gigabytes(trainer.beyond_weights)} beside its weights"
    if sleep:
        learns += (
            f" and {gigabytes(ASLEEP)} for the sleeping engine, or {gigabytes(trainer.standing)} while the "
            "engine works"
        )
    return (
        f"engine.backend=vllm: {gigabytes(free)} of the GPU are free beside the trainer's base; {learns}, "
        f"the engine needs at least {gigabytes(engine.least)} ({gigabytes(engine.weights)} of weights, "
        f"{gigabytes(engine.needs)} of KV cache for one sequence), and {gigabytes(MARGIN)} stay free. Lower "
        "optimizer.micro_batch_size or max_tokens of questioner and reasoner, "
        + ("" if sleep else "set engine.sleep=true, ")
        + "give the engine another GPU with engine.backend=server, or set engine.vllm.gpu_memory_utilization "
        "yourself; `visplay plan` shows what fits"
    )
