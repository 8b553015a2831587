"""Accelerator cards and what their makers' public data sheets say of them."""

from dataclasses import dataclass

from visplay.errors import ConfigError

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One card.

    Attributes:
        name: how it is asked for.
        memory: in bytes; nominal, of which drivers keep a few percent.
        bandwidth: of its memory, in bytes per second.
        flops: bf16 operations per second on dense matrices, fp32 accumulation, without sparsity.
        source: title of the data sheet.
    """

    name: str
    memory: int
    bandwidth: float
    flops: float
    source: str


def _card(name: str, gib: int, gigabytes_per_second: float, teraflops: float, source: str) -> Card:
    return Card(
        name=name, memory=gib * GIB, bandwidth=gigabytes_per_second * 1e9, flops=teraflops * 1e12,
        source=source,
    )  # fmt: skip


# Where a sheet gives operations with sparsity only, half of them.
CARDS = (
    _card("rtx4090", 24, 1008, 165, "NVIDIA Ada GPU Architecture whitepaper"),
    _card("l4", 24, 300, 121, "NVIDIA L4 Tensor Core GPU datasheet"),
    _card("a10", 24, 600, 125, "NVIDIA A10 Tensor Core GPU datasheet"),
    _card("rtx5090", 32, 1792, 210, "NVIDIA RTX Blackwell GPU Architecture whitepaper"),
    _card("a100-40", 40, 1555, 312, "NVIDIA A100 Tensor Core GPU datasheet"),
    _card("l40s", 48, 864, 362, "NVIDIA L40S GPU datasheet"),
    _card("rtx6000ada", 48, 960, 182, "NVIDIA RTX 6000 Ada Generation datasheet"),
    _card("a100-80", 80, 2039, 312, "NVIDIA A100 Tensor Core GPU datasheet"),
    _card("h100", 80, 3350, 989, "NVIDIA H100 Tensor Core GPU datasheet (SXM)"),
    _card("h200", 141, 4800, 989, "NVIDIA H200 Tensor Core GPU datasheet (SXM)"),
)


def find_card(name: str) -> Card:
    """The card of this name.

    Raises:
        ConfigError: it is not in the table.
    """
    for card in CARDS:
        if card.name == name.lower():
            return card
    raise ConfigError(f"--card {name!r} is not in the table; known: {', '.join(c.name for c in CARDS)}")
