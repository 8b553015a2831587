"""TRL's GRPOTrainer for one batch of rollouts: advantages, log-probs, losses. Its `train` is not used.

Of TRL 1.16's private names one is called (`_generate_and_score_completions`), one set (`_last_loaded_step`)
and one overridden to make passes cheaper (`_get_per_token_logps_and_entropies`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from transformers import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import split_pixel_values_by_grid, split_tensor_dict, unsplit_pixel_values_by_grid

from rollouts.engine import Completion, Prompt
from visplay.errors import PreflightError
from visplay.models.policy import Policy
from visplay.training.ranks import Ranks
from visplay.training.speedups import CHUNK, Pictures, Shown, indifferent, longest_first, reordered


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One completion of a prompt with its reward; `advantage` replaces TRL's where it is given."""

    prompt: Prompt
    completion: Completion
    reward: float
    advantage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a loss of one's own is computed from (`optimizer.loss`): B completions of at most T tokens.

    Attributes:
        logps: [B, T] log-probs of the policy, with gradient.
        old_logps: [B, T] log-probs at the start of the batch, before its first update.
        ref_logps: [B, T] log-probs of the reference; None with `optimizer.kl: 0`.
        advantages: [B].
        mask: [B, T] 1 for the tokens of a completion, 0 for padding.
        correction: [B, T] or [B, 1] importance ratio of trainer to engine; None where there is none.
    """

    logps: torch.Tensor
    old_logps: torch.Tensor
    ref_logps: torch.Tensor | None
    advantages: torch.Tensor
    mask: torch.Tensor
    correction: torch.Tensor | None


Loss = Callable[[Tokens], torch.Tensor]
_SEEN = (
    "pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "spatial_shapes", "num_tiles",
    "image_sizes", "token_type_ids", "mm_token_type_ids", "image_position_ids",
)  # fmt: skip


class EngineGRPOTrainer(GRPOTrainer):
    """GRPOTrainer of completions that are there already, whose log-probs it takes for vLLM's.

    Args:
        policy: the base, its processor and how prompts become messages.
        model: the base with an adapter on it.
        arguments: of TRL.
        ranks: that learn together.
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
        self._entropies: list[float] = []  # of a loss of one's own, by micro-batch
        self._keys: Sequence[int] = ()  # [rows] whose pictures those have that the model is about to see
        self.pictures = Pictures(
            self.accelerator.unwrap_model(model).get_base_model(), whole=not ranks.sharded
        )
        self.use_vllm = True
        self._last_loaded_step = self.state.global_step  # else TRL would publish to vLLM

    def prepared(self, *, updates: int) -> tuple[Any, Any, Any]:
        """The model as ranks share it, its optimizer and the schedule of learning rates."""
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
        """A step as TRL has it, by row: ids, masks, advantages, log-probs before its first update."""
        self._rollouts = rollouts
        here = {id(picture): _here(picture) for one in rollouts for picture in one.prompt.images}
        numbers: dict[tuple[int, ...], int] = {}
        keys = [numbers.setdefault(tuple(map(id, one.prompt.images)), len(numbers)) for one in rollouts]
        self.pictures.forget()
        self._keys = keys if () not in numbers else ()
        prompts = [
            {
                "prompt": self._policy.chat.messages(one.prompt),
                "images": [here[id(p)] for p in one.prompt.images],
            }
            for one in rollouts
        ]
        own_model: Any = self.model
        own_model.train()
        batch: dict[str, Any] = self._generate_and_score_completions(prompts)
        own = [one.advantage for one in rollouts]
        if own and own[0] is not None:
            batch["advantages"] = torch.tensor(own, device=batch["advantages"].device)
        return batch | {"pictures": list(self._keys)} if self._keys else batch

    def windows(self, batch: dict[str, Any], *, updates: int) -> list[list[dict[str, Any]]]:
        """[updates][micro-batches] of a step; each update has rows of every prompt, like lengths together."""
        arguments: Any = self.args
        order: list[int] = []
        like = indifferent(arguments) and not self.aux_loss_enabled
        by_length = longest_first(batch["completion_mask"]) if like else None
        for own in range(updates):
            rows = [
                row for row in by_length or _shuffled(len(batch["completion_mask"])) if row % updates == own
            ]
            order += rows
        by_row: Any = split_pixel_values_by_grid(reordered(batch, order))
        parts: Any = split_tensor_dict(by_row, arguments.steps_per_generation)
        micro = [unsplit_pixel_values_by_grid(part) for part in parts]
        each = len(micro) // updates
        return [micro[start : start + each] for start in range(0, len(micro), each)]

    def loss(self, model: Any, micro: dict[str, Any], *, of: int) -> torch.Tensor:
        """The loss of one of an update's micro-batches; their sum is the update's."""
        self._keys = micro.get("pictures", ())
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
            model, ids, mask, places.shape[1], compute_entropy=True,
            **{name: micro[name] for name in _SEEN if name in micro},
        )  # fmt: skip
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
        """Means over all that was computed since the last call, and these."""
        self.log(own)  # TRL adds its own to them
        if self._entropies:
            own["entropy"] = sum(self._entropies) / len(self._entropies)
            self._entropies.clear()
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
        **inputs: Any,
    ) -> Any:
        """As TRL's, but by length in chunks that leave out padding, and each picture seen once a step.

        TRL does not know `batch_num_images`, by which LLaVA-OneVision counts pictures. Where every prompt has
        one picture the model does without it.
        """
        counts = inputs.pop("batch_num_images", None)
        if counts is not None and (counts > 1).any():
            raise PreflightError(
                "TRL cannot train this VLM on prompts with several pictures; give each prompt one"
            )
        order = longest_first(attention_mask[:, -logits_to_keep:])
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, **inputs}
        batch = {name: value for name, value in batch.items() if value is not None}
        keys = [self._keys[row] for row in order] if self._keys else []
        batch = reordered(batch, order)
        # Ranks that learn together must call the model equally often, and a router's loss is of a batch.
        chunk = len(order) if self._ranks.size > 1 or compute_aux_loss else CHUNK
        results = super()._get_per_token_logps_and_entropies(
            Shown(model, pictures=self.pictures, keys=keys, batch=batch), logits_to_keep=logits_to_keep,
            batch_size=min(batch_size or len(order), chunk), compute_entropy=compute_entropy,
            compute_aux_loss=compute_aux_loss, **batch,
        )  # fmt: skip
        back = torch.tensor(order, device=input_ids.device).argsort()
        logps, entropies, aux_loss = results
        return logps[back], None if entropies is None else entropies[back], aux_loss


class _Here(Image.Image):
    """A picture that is not sent along where TRL gathers the prompts of all ranks for a log, nor copied."""

    def __deepcopy__(self, memo: Any) -> "_Here":
        return self

    def __reduce__(self) -> Any:
        return Image.new, ("RGB", (1, 1))


def _here(picture: Image.Image) -> Image.Image:
    mine = picture.copy()
    mine.__class__ = _Here
    return mine


def _shuffled(rows: int) -> list[int]:
    shuffled: list[int] = torch.randperm(rows).tolist()
    return shuffled


def _reward(prompts: Any, completions: Any, reward: list[float], **_: Any) -> list[float | None]:
    return list(reward)


_reward.__name__ = "reward"
