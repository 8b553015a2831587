"""TRL's GRPOTrainer for one batch of rollouts: advantages, log-probs, losses. Its `train` is not used.

Three private names of TRL 1.16 are used: `_generate_and_score_completions` is called, `_last_loaded_step` is
set, and `_get_per_token_logps_and_entropies` is overridden to make passes cheaper.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from rollouts.engine import Completion, Prompt
from visplay.config.names import named
from visplay.errors import ConfigError, PreflightError
from visplay.models.policy import Policy
from visplay.training.groups import Encoded, Groups, by_group
from visplay.training.pictures import Pictures
from visplay.training.ranks import Ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One completion of a prompt with its reward; `advantage` replaces TRL's unless it is None."""

    prompt: Prompt
    completion: Completion
    reward: float
    advantage: float | None = None


def with_advantages(rollouts: Sequence[Rollout], name: str, *, group_size: int) -> list[Rollout]:
    """Set the advantages of rollouts by a custom function, `module:function` (`optimizer.advantage`).

    Raises:
        ConfigError: the function returns another shape, or a value that is not finite.
    """
    starts = range(0, len(rollouts), group_size)
    rewards = [[one.reward for one in rollouts[i : i + group_size]] for i in starts]
    found = torch.as_tensor(named(name, key="optimizer.advantage")(rewards), dtype=torch.float32)
    if found.shape != (len(rewards), group_size) or not found.isfinite().all():
        raise ConfigError(
            f"optimizer.advantage: {name} must return {len(rewards)} x {group_size} finite numbers, one "
            f"per reward; got a shape of {tuple(found.shape)}"
        )
    values = found.flatten().tolist()
    return [replace(one, advantage=value) for one, value in zip(rollouts, values, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The inputs of a custom loss (`optimizer.loss`): B completions of at most T tokens.

    Attributes:
        logps: [B, T] log-probs of the policy, with gradient.
        old_logps: [B, T] log-probs at the start of the batch, before its first update.
        ref_logps: [B, T] log-probs of the reference; None with `optimizer.kl: 0`.
        advantages: [B] advantages.
        mask: [B, T] 1 for the tokens of a completion, 0 for padding.
        correction: [B, T] or [B, 1] importance ratio of trainer to engine; None without correction.
    """

    logps: torch.Tensor
    old_logps: torch.Tensor
    ref_logps: torch.Tensor | None
    advantages: torch.Tensor
    mask: torch.Tensor
    correction: torch.Tensor | None


Loss = Callable[[Tokens], torch.Tensor]


class EngineGRPOTrainer(GRPOTrainer):
    """A GRPOTrainer of existing completions, whose log-probs it treats as vLLM's.

    Args:
        policy: the base with its processor and its conversion of prompts to messages.
        model: the base with an adapter.
        arguments: TRL's arguments.
        ranks: the ranks of data-parallel training.
        own_loss: replaces TRL's loss; None keeps it.
    """

    def __init__(
        self, policy: Policy, model: Any, arguments: GRPOConfig, *, ranks: Ranks, own_loss: Loss | None = None
    ) -> None:
        super().__init__(
            model=model, reward_funcs=_reward, rollout_func=self._rolled_out, args=arguments,
            processing_class=policy.processor, train_dataset=Dataset.from_dict({"prompt": [""]}),
        )  # fmt: skip
        self.remove_callback(PrinterCallback)
        for weights in (p for p in self.model.parameters() if p.requires_grad):  # type: ignore[union-attr]
            weights.data = weights.data.float()  # TRL casts LoRA to bf16 on a 4-bit base
        self._policy, self._ranks, self._own_loss = policy, ranks, own_loss
        self._rollouts: Sequence[Rollout] = ()
        self._entropies: list[float] = []  # of a custom loss, by micro-batch
        # If each batch is used once, the training pass also gives the log-probs before its update.
        self._corrected = arguments.vllm_importance_sampling_correction
        once = arguments.gradient_accumulation_steps == arguments.steps_per_generation
        self._late = self._corrected and once
        self._micro: dict[str, Any] | None = None  # that pass computes its importance ratio
        self._sampled_apart: list[torch.Tensor] = []  # by micro-batch, nats between trainer and engine
        self._ratios: list[torch.Tensor] = []
        self._numbers: Sequence[int] = ()  # [rows] prompt indices of the rows to score next
        base: Any = self.accelerator.unwrap_model(model).get_base_model()
        self.pictures = Pictures(base, whole=not ranks.sharded)
        self.groups = Groups(
            base, self.pictures, autocast=self.accelerator.autocast, equal_calls=ranks.size > 1
        )
        self.use_vllm = True
        self._last_loaded_step = self.state.global_step  # otherwise TRL would publish to vLLM

    def prepared(self, *, updates: int) -> tuple[Any, Any, Any]:
        """The model wrapped for all ranks, its optimizer and the learning rate schedule."""
        own: Any = self.model
        if self.args.gradient_checkpointing:
            own.gradient_checkpointing_enable(self.args.gradient_checkpointing_kwargs)
        model, self.optimizer = self.accelerator.prepare(own, self.create_optimizer())
        rates = self.create_scheduler(num_training_steps=updates)
        if self.is_fsdp_enabled:
            self.model = model
        self.pictures.__enter__()
        return model, self.optimizer, rates

    def batch(self, rollouts: Sequence[Rollout]) -> dict[str, Any]:
        """TRL's inputs of a step by row: ids, masks, advantages, log-probs before its first update."""
        self._rollouts = rollouts
        prompts = {id(one.prompt): one.prompt for one in rollouts}
        places = {key: number for number, key in enumerate(prompts)}
        self._numbers = [places[id(one.prompt)] for one in rollouts]
        encoded = self._encoded(list(prompts.values()))
        for one, number in zip(rollouts, self._numbers, strict=True):
            own, theirs = encoded[number].ids.tolist(), list(one.completion.prompt_ids)
            if own != theirs:
                raise PreflightError(
                    f"the engine sampled from a prompt of {len(theirs)} tokens, but the trainer's processor "
                    f"encodes it differently, to {len(own)} tokens; load the same processor in both, with "
                    "the same model.max_pixels"
                )
        self.pictures.forget()
        self.groups.begin(encoded)
        own_model: Any = self.model
        own_model.train()
        self.vllm_importance_sampling_correction = self._corrected and not self._late
        batch: dict[str, Any] = self._generate_and_score_completions([{"prompt": ""} for _ in rollouts])
        self.vllm_importance_sampling_correction = self._corrected
        own = [one.advantage for one in rollouts]
        if own and own[0] is not None:
            batch["advantages"] = torch.tensor(own, device=batch["advantages"].device)
        return batch | {"prompts": torch.tensor(self._numbers)}

    def _encoded(self, prompts: Sequence[Prompt]) -> list[Encoded]:
        """Convert prompts to the model's inputs; the processor is called once per prompt."""
        chat, numbers = self._policy.chat, dict[tuple[int, ...], int]()
        keys = [tuple(map(id, prompt.images)) for prompt in prompts]
        return [
            Encoded(
                inputs=dict(chat.encode([prompt])),
                picture=numbers.setdefault(key, len(numbers)) if key else None,
            )
            for prompt, key in zip(prompts, keys, strict=True)
        ]

    def windows(self, batch: dict[str, Any], *, updates: int) -> list[list[dict[str, Any]]]:
        """Split a step into [updates][micro-batches]; each update has rows of every prompt, by length."""
        arguments: Any = self.args
        prompts, lengths = batch["prompts"].tolist(), batch["completion_mask"].sum(dim=1).tolist()
        like = by_group(prompts, lengths) if self._indifferent() else None
        order = [
            row for own in range(updates) for row in like or _shuffled(len(prompts)) if row % updates == own
        ]
        size = len(order) // arguments.steps_per_generation
        micro = [_rows(batch, order[start : start + size]) for start in range(0, len(order), size)]
        each = len(micro) // updates
        return [micro[start : start + each] for start in range(0, len(micro), each)]

    def _indifferent(self) -> bool:
        """Whether the gradient does not depend on the assignment of rows to micro-batches.

        It depends on it if the loss uses means or quantiles over the tokens of a micro-batch.
        """
        arguments: Any = self.args
        return (
            arguments.loss_type in ("grpo", "dr_grpo", "dapo", "cispo", "sapo")
            and arguments.top_entropy_quantile == 1
            and not arguments.entropy_coef
            and not arguments.use_adaptive_entropy
            and not self.aux_loss_enabled
        )

    def loss(self, model: Any, micro: dict[str, Any], *, of: int) -> torch.Tensor:
        """The loss of one micro-batch; the loss of an update is the sum over its micro-batches."""
        self._numbers = micro["prompts"].tolist()
        micro = dict(micro)
        self._micro = micro if self._late else None
        self.current_gradient_accumulation_steps = of
        loss: torch.Tensor = (
            self.compute_loss(model, micro) if self._own_loss is None else self._of_own(model, micro) / of
        )
        return loss

    def _of_own(self, model: Any, micro: dict[str, Any]) -> torch.Tensor:
        assert self._own_loss
        ids, mask = (
            torch.cat([micro[f"prompt_{name}"], micro[f"completion_{name}"]], dim=1)
            for name in ("ids", "mask")
        )
        places = micro["completion_mask"]
        logps, entropies, _ = self._get_per_token_logps_and_entropies(
            model, ids, mask, places.shape[1], compute_entropy=True
        )
        old = micro.get("old_per_token_logps")
        loss = self._own_loss(
            Tokens(
                logps=logps, old_logps=logps.detach() if old is None else old, mask=places,
                ref_logps=micro.get("ref_per_token_logps"), advantages=micro["advantages"],
                correction=micro.get("importance_sampling_ratio"),
            )
        )  # fmt: skip
        entropy = (entropies.detach() * places).sum() / places.sum().clamp(min=1.0)
        self._entropies.append(float(self.accelerator.gather(entropy).mean()))
        return loss

    def metrics(self, **own: float) -> dict[str, float]:
        """These metrics, and means over everything computed since the last call."""
        self.log(own)  # TRL adds its metrics to them
        if self._entropies:
            own["entropy"] = sum(self._entropies) / len(self._entropies)
            self._entropies.clear()
        for name, parts in (("sampling_logp_difference", self._sampled_apart),
                            ("importance_sampling_ratio", self._ratios)):  # fmt: skip
            if parts:
                own_part = torch.cat(parts)
                for how in ("min", "mean", "max"):
                    every = self.accelerator.gather(getattr(own_part, how)())
                    own[f"sampling/{name}/{how}"] = float(getattr(every, how)())
                parts.clear()
        return {name: value for name, value in own.items() if name not in ("epoch", "num_tokens")}

    def _rolled_out(self, prompts: list[Any], _: GRPOTrainer) -> dict[str, list[Any]]:
        assert len(prompts) == len(self._rollouts), (len(prompts), len(self._rollouts))
        return {
            "prompt_ids": [list(one.completion.prompt_ids) for one in self._rollouts],
            "completion_ids": [list(one.completion.token_ids) for one in self._rollouts],
            "logprobs": [list(one.completion.logprobs) for one in self._rollouts],
            "reward": [one.reward for one in self._rollouts],
        }

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **_: Any,
    ) -> Any:
        """Replace TRL's method: compute each prompt and each picture once, without padding."""
        found = self.groups.scores(
            model, input_ids[:, -logits_to_keep:], attention_mask[:, -logits_to_keep:], self._numbers,
            most=batch_size, entropy=compute_entropy, aux_loss=compute_aux_loss,
        )  # fmt: skip
        if self._micro is not None:
            self._micro["importance_sampling_ratio"] = self._ratio(self._micro, found.logps.detach())
            self._micro = None
        return found.logps, found.entropies, found.aux_loss

    def _ratio(self, micro: dict[str, Any], logps: torch.Tensor) -> torch.Tensor:
        """TRL's importance ratio of trainer to engine, truncated or masked, [rows, tokens] or [rows, 1]."""
        mode, mask = self.vllm_importance_sampling_mode, micro["completion_mask"]
        apart = torch.nan_to_num((logps - micro["sampling_per_token_logps"]) * mask, nan=0.0)
        whole = mode.startswith("sequence")
        ratio = (apart.sum(dim=-1, keepdim=True) if whole else apart).exp()
        low, high = self.vllm_importance_sampling_clip_min, self.vllm_importance_sampling_clip_max
        bounded = ratio.clamp(min=low, max=high) if low is not None or high is not None else ratio
        ratio = bounded if mode.endswith("truncate") else ratio.masked_fill(bounded != ratio, 0.0)
        self._sampled_apart.append(apart[mask.bool()].abs())
        self._ratios.append(ratio.flatten() if whole else ratio[mask.bool()])
        return ratio


def _rows(batch: dict[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """Select these rows from all entries of a batch."""
    index = torch.tensor(rows)
    return {
        name: value[index.to(value.device)] if value.dim() else value
        for name, value in batch.items()
        if isinstance(value, torch.Tensor)
    }


def _shuffled(rows: int) -> list[int]:
    shuffled: list[int] = torch.randperm(rows).tolist()
    return shuffled


def _reward(prompts: Any, completions: Any, reward: list[float], **_: Any) -> list[float | None]:
    return list(reward)


_reward.__name__ = "reward"
