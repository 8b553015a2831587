"""What visplay's own planner says of the check's run, and what the card's data sheet says of its speed."""

import re

from visplay.planning.plan import Plan

# Card -> bf16 operations per second on dense matrices, fp32 accumulation, without sparsity, in 10^12, and the
# data sheet that says so; where a sheet gives operations with sparsity only, half of them.
SHEETS = {
    "rtx4090": (165, "NVIDIA Ada GPU Architecture whitepaper"),
    "l4": (121, "NVIDIA L4 Tensor Core GPU datasheet"),
    "a10": (125, "NVIDIA A10 Tensor Core GPU datasheet"),
    "rtx5090": (210, "NVIDIA RTX Blackwell GPU Architecture whitepaper"),
    "a100-40": (312, "NVIDIA A100 Tensor Core GPU datasheet"),
    "l40s": (362, "NVIDIA L40S GPU datasheet"),
    "rtx6000ada": (182, "NVIDIA RTX 6000 Ada Generation datasheet"),
    "a100-80": (312, "NVIDIA A100 Tensor Core GPU datasheet"),
    "h100": (989, "NVIDIA H100 Tensor Core GPU datasheet (SXM)"),
    "h200": (989, "NVIDIA H200 Tensor Core GPU datasheet (SXM)"),
}


def planned_bytes(plan: Plan) -> dict[str, dict[str, int]]:
    """Bytes by phase and by kind of `Stand.end_peak`.

    `allocated` is the plan without what the allocator loses and CUDA's context takes, `card` with it. A CPU's
    `resident` holds Python and its libraries too, which no plan counts.
    """
    trainer, engine = plan.trainer(), plan.engine()
    standing = trainer.total - trainer.overhead - trainer.kept - trainer.working
    rollouts = standing + engine.least
    learning = trainer.total - trainer.overhead + engine.adapters
    return {
        "of weights": {"allocated": trainer.weights},
        "of rollouts": {"allocated": rollouts, "card": rollouts + trainer.overhead},
        "of learning": {"allocated": learning, "card": learning + trainer.overhead},
    }


def card_flops(given: float | None, *, name: str | None) -> tuple[float | None, str]:
    """Peak bf16 operations per second, and whose word it is: the option's, or the data sheet's of a card.

    Args:
        given: in 10^12 a second.
        name: of the card, as its driver spells it; None for a CPU. Boards of a family whose peak differs from
            the sheet's, PCIe and NVL, are taken for unknown.
    """
    if given is not None:
        return given * 1e12, "as given"
    if name is None:
        return None, "of a CPU; give --peak-tflops"
    spelled = re.sub(r"[ -]+", "-", name.lower()).replace("rtx-", "rtx").replace("-ada", "ada")
    words = {word.removesuffix("gb") for word in spelled.split("-")}
    for card, (teraflops, sheet) in SHEETS.items():
        if set(card.split("-")) <= words and not words & {"pcie", "nvl"}:
            return teraflops * 1e12, sheet
    return None, f"{name} is not in the table of cards; give --peak-tflops"
