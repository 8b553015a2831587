"""What visplay's own planner says of the check's run, and what the card's data sheet says of its speed."""

from typing import Any

import torch

from visplay.config.loading import Config


def make_plan(config: Config, *, prompt_tokens: int, on_gpu: bool) -> Any | None:
    """The plan of this run; None where this visplay has no planner."""
    try:
        from visplay.loop import planning
    except ModuleNotFoundError as error:
        if error.name != "visplay.loop.planning":
            raise
        return None
    return planning.make_plan(config, prompt_tokens=prompt_tokens, on_gpu=on_gpu)


def planned_bytes(plan: Any | None) -> dict[str, dict[str, int]] | None:
    """Bytes by phase and by kind of `Stand.end_peak`.

    `allocated` is the plan without what the allocator loses and CUDA's context takes, `card` with it. On a CPU
    `resident` holds Python and its libraries too, which no plan counts.
    """
    if plan is None:
        return None
    trainer, engine = plan.trainer(), plan.engine()
    standing = trainer.total - trainer.overhead - trainer.kept - trainer.working - trainer.vision
    rollouts = standing + engine.least
    learning = trainer.total - trainer.overhead + engine.adapters
    return {
        "of weights": {"allocated": trainer.weights},
        "of rollouts": {"allocated": rollouts, "card": rollouts + trainer.overhead},
        "of learning": {"allocated": learning, "card": learning + trainer.overhead},
    }


def card_flops(given: float | None, *, on_gpu: bool) -> tuple[float | None, str]:
    """Peak bf16 operations per second and whose word it is: the option's, or a data sheet's by the card's name.

    Boards of a family whose peak differs from the sheet's, PCIe and NVL, are taken for unknown.
    """
    if given is not None:
        return given * 1e12, "as given"
    if not on_gpu:
        return None, "a CPU's is not known; give --peak-tflops"
    name = torch.cuda.get_device_name()
    try:
        from visplay.models.cards import CARDS
    except ModuleNotFoundError as error:
        if error.name != "visplay.models.cards":
            raise
        return None, "no table of cards; give --peak-tflops"
    spelled = name.lower().replace(" ", "")
    found = [
        card for card in CARDS
        if all(piece in spelled for piece in card.name.split("-")) and not {"pcie", "nvl"} & set(_words(name))
    ]  # fmt: skip
    if not found:
        return None, f"{name} is not in the table of cards; give --peak-tflops"
    best = max(found, key=lambda card: len(card.name))
    return best.flops, best.source


def _words(name: str) -> list[str]:
    return name.lower().replace("-", " ").split()
