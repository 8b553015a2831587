"""What visplay's own planner says of the check's run, and what the card's data sheet says of its speed."""

import re

from visplay.models.cards import CARDS
from visplay.planning.plan import Plan


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
    for card in CARDS:
        if set(card.name.split("-")) <= words and not words & {"pcie", "nvl"}:
            return card.flops, card.source
    return None, f"{name} is not in the table of cards; give --peak-tflops"
