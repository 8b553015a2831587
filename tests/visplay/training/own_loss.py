"""GRPO's advantages and losses as formulas, and how far TRL's numbers are from them."""

from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor


def advantages(rewards: Tensor, *, group_size: int, scale: str) -> Tensor:
    """[P * G] of rewards [P * G]: less their group's mean, over a spread (`group`, `batch`, `none`)."""
    groups = rewards.view(-1, group_size)
    centred = (groups - groups.mean(dim=1, keepdim=True)).flatten()
    if scale == "none":
        return centred
    spread = (
        groups.std(dim=1, keepdim=True).expand_as(groups).flatten() if scale == "group" else rewards.std()
    )
    return centred / (spread + 1e-4)


def correction(
    trainer: Tensor, engine: Tensor, mask: Tensor, *, mode: str, low: float | None, high: float
) -> Tensor:
    """Ratio of trainer to engine, by token or sequence, truncated (TIS) or masked outside (MIS)."""
    apart = torch.nan_to_num((trainer - engine) * mask, nan=0.0)
    ratio = torch.exp(apart.sum(-1, keepdim=True) if mode.startswith("sequence") else apart)
    if mode.endswith("truncate"):
        return ratio.clamp(min=low, max=high)
    outside = (ratio < (-torch.inf if low is None else low)) | (ratio > high)
    return ratio.masked_fill(outside, 0.0)


def loss(
    logps: Tensor,
    entropy: Tensor,
    batch: dict[str, Any],
    *,
    arguments: Any,
    micro_batches: int,
    ranks: int = 1,
) -> tuple[Tensor, dict[str, float]]:
    """A micro-batch's loss [] and metrics; the sum over an update's micro-batches is the update's loss."""
    mask, gain = batch["completion_mask"], batch["advantages"].unsqueeze(1)
    old = batch.get("old_per_token_logps", logps.detach())
    apart = logps - old
    if arguments.importance_sampling_level == "sequence":  # GSPO
        apart = ((apart * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).unsqueeze(-1)
    ratio = torch.exp(apart)
    low, high, kind = 1 - arguments.epsilon, 1 + arguments.epsilon_high, arguments.loss_type
    if kind == "cispo":
        by_token = -ratio.clamp(max=arguments.epsilon_high).detach() * gain * logps
    elif kind == "sapo":
        heat = torch.where(gain > 0, arguments.sapo_temperature_pos, arguments.sapo_temperature_neg)
        by_token = -torch.sigmoid(heat * (ratio - 1)) * 4 / heat * gain
    else:
        by_token = -torch.min(ratio * gain, ratio.clamp(low, high) * gain)
    if "importance_sampling_ratio" in batch:
        by_token = by_token * batch["importance_sampling_ratio"]
    metrics = {"entropy": _mean(entropy, mask)}
    if arguments.beta:
        behind = batch["ref_per_token_logps"] - logps
        divergence = torch.exp(behind) - behind - 1  # k3
        if arguments.use_bias_correction_kl:
            divergence = divergence * ratio
        by_token = by_token + arguments.beta * divergence
        metrics["kl"] = _mean(divergence, mask)
    if kind in ("grpo", "dr_grpo", "dapo", "bnpo"):
        for name, cut in (("low", (ratio < low) & (gain < 0)), ("high", (ratio > high) & (gain > 0))):
            metrics[f"clip_ratio/{name}_mean"] = _mean(cut.float(), mask)
    if kind in ("grpo", "sapo"):
        total = ((by_token * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean() / micro_batches
    elif kind == "dr_grpo":
        total = (by_token * mask).sum() / (len(mask) * arguments.max_completion_length) / micro_batches
    elif kind == "bnpo":
        total = (by_token * mask).sum() / mask.sum().clamp(min=1.0) / micro_batches
    else:  # dapo, cispo: by the tokens of the update, of which the batch has as many shares as updates
        tokens = batch["num_items_in_batch"].clamp(min=1.0) / ranks
        total = (by_token * mask).sum() / (tokens * micro_batches / arguments.steps_per_generation)
    return total, metrics


def _mean(values: Tensor, mask: Tensor) -> float:
    if values.shape[1] == 1:
        return float(values.detach().mean())
    return float((values.detach() * mask).sum() / mask.sum().clamp(min=1.0))


CASES: list[dict[str, Any]] = [
    {"loss_type": kind, "importance_sampling_level": level, "beta": beta, "mode": mode}
    for kind in ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo")
    for level in ("token", "sequence")
    for beta in (0.0, 0.1)
    for mode in ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask", None)
]


def compare_with_trl(trainer: Any, cases: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Largest distance of loss, gradient and metrics to those of TRL's `compute_loss`."""
    worst: dict[str, float] = {}
    torch.manual_seed(0)
    for case in cases:
        batch, base = _batch(trainer, case)
        entropy, found = torch.rand(base.shape), []
        for which in ("ours", "theirs"):
            logps = base.clone().requires_grad_()
            if which == "ours":
                total, metrics = loss(logps, entropy, batch, arguments=trainer.args, micro_batches=2)
            else:
                given = mock.Mock(return_value=(logps, entropy, None))
                own = {"_get_per_token_logps_and_entropies": given}
                trainer.current_gradient_accumulation_steps = 2
                trainer._metrics["train"].clear()
                with mock.patch.multiple(trainer, **own):
                    total = trainer.compute_loss(trainer.model, batch)
                metrics = {name: values[0] for name, values in trainer._metrics["train"].items()}
            total.backward()
            found.append((total.detach(), logps.grad, metrics))
        (a, da, ma), (b, db, mb) = found
        apart = {"loss": float((a - b).abs()), "gradient": float((da - db).abs().max())}
        apart |= {name: abs(value - mb[name]) for name, value in ma.items()}
        for name, value in apart.items():
            worst[name] = max(worst.get(name, 0.0), value)
    return worst


def _batch(trainer: Any, case: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
    rows, tokens = 8, 12
    mask = (torch.arange(tokens) < torch.randint(3, tokens + 1, (rows, 1))).long()
    base = -torch.rand(rows, tokens) * 3
    batch = {
        "prompt_ids": torch.zeros(rows, 2, dtype=torch.long),
        "prompt_mask": torch.ones(rows, 2, dtype=torch.long),
        "completion_ids": torch.zeros(rows, tokens, dtype=torch.long), "completion_mask": mask,
        "advantages": torch.randn(rows), "num_items_in_batch": mask.sum() * 3,
        "old_per_token_logps": base + 0.4 * torch.randn(rows, tokens),
        "ref_per_token_logps": base + 0.2 * torch.randn(rows, tokens),
    }  # fmt: skip
    for name in ("loss_type", "importance_sampling_level", "beta"):
        setattr(trainer.args, name, case[name])
        setattr(trainer, name, case[name])
    trainer.vllm_importance_sampling_correction = case["mode"] is not None
    if case["mode"]:
        engine = batch["old_per_token_logps"] + 0.5 * torch.randn(rows, tokens)
        old = batch["old_per_token_logps"]
        batch["importance_sampling_ratio"] = correction(
            old, engine, mask, mode=case["mode"], low=0.5, high=3.0
        )
    return batch, base
