"""A phase on given rollouts, learned by our Learner and by TRL's own `train()`, to be compared."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from datasets import Dataset
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import PrinterCallback
from trl.trainer import grpo_trainer
from trl.trainer.grpo_trainer import GRPOTrainer

from rollouts.engine import AdapterVersion, Completion, Prompt
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model, Optimizer, Phase
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import reasoner_prompt
from visplay.runs.checkpoints import numbered
from visplay.training.arguments import grpo_arguments
from visplay.training.learner import Learner
from visplay.training.trl import Rollout

LORA = Lora(rank=4, alpha=8)
POCKET = Model(path="pocket", dtype="float32")
Learned = tuple[torch.Tensor, list[dict[str, float]]]


def pictured(count: int, *, sizes: Sequence[tuple[int, int]] = ((96, 96),)) -> list[Prompt]:
    """Prompts with a picture each, some larger and some of more words than others."""
    scenes = sample_scenes(count, split="development", seed=1)
    return [
        reasoner_prompt(
            render(scene).resize(sizes[i % len(sizes)]),
            "How many shapes are red?"[: 9 + 5 * i],
            words=Prompts(),
        )
        for i, scene in enumerate(scenes)
    ]  # fmt: skip


def policy_of(model: Model, folder: Path, *, lora: Lora = LORA) -> tuple[Policy, AdapterVersion]:
    torch.manual_seed(0)
    policy = Policy(*load_base(model), lora=lora)
    start = numbered(folder, "shared", 0)
    policy.create_adapter(start, seed=0)
    randomize_lora_b(start, size=0.02)
    return policy, start


def rollouts_of(policy: Policy, prompts: Sequence[Prompt], *, group: int, longest: int = 24) -> list[Rollout]:
    """Completions of random tokens and lengths, G to a prompt, of which every third is rewarded."""
    drawn, made = random.Random(0), []
    for prompt in prompts:
        ids = policy.chat.encode([prompt])["input_ids"][0].tolist()
        for i in range(group):
            tokens = tuple(drawn.randrange(20, 60) for _ in range(drawn.randrange(1, longest)))
            completion = Completion(
                text="", prompt_ids=tuple(ids), token_ids=tokens, logprobs=(-9.0,) * len(tokens),
                finish_reason="stop", adapter=AdapterVersion(name="shared", version=1),
            )  # fmt: skip
            made.append(Rollout(prompt=prompt, completion=completion, reward=float(i % 3 == 0)))
    return made


def by_learner(
    folder: Path, rollouts: Sequence[Rollout], policy: Policy, start: AdapterVersion, *, phase: Phase,
    optimizer: Optimizer, corrected: bool = False, look: Callable[[Any], None] = lambda _: None,
) -> Learned:  # fmt: skip
    """Our Learner's gradients, update by update, and its metrics; `look` sees its trainer at the end."""
    each = phase.prompts_per_step * phase.group_size
    with gradients() as found, Learner(
        policy, start=start, phase=phase, optimizer=optimizer, corrected=corrected, folder=folder / "ours",
        seed=0,
    ) as learner:  # fmt: skip
        for step in learner.steps():
            learner.update(rollouts[step * each : (step + 1) * each])
            learner.save()
        look(learner._trl)
    return torch.cat(found or [torch.zeros(1)]), learner.history


class _ByTrl(GRPOTrainer):
    """TRL's trainer, which is given completions and log-probs as if vLLM had sampled them."""

    given: Any = None

    def _get_per_token_logps_and_entropies(self, *args: Any, **inputs: Any) -> Any:
        inputs.pop("batch_num_images", None)  # LLaVA-OneVision's, which TRL does not know
        return super()._get_per_token_logps_and_entropies(*args, **inputs)


def by_trl(
    folder: Path, rollouts: Sequence[Rollout], policy: Policy, start: AdapterVersion, *, phase: Phase,
    optimizer: Optimizer, corrected: bool = False,
) -> Learned:  # fmt: skip
    """Those of TRL's `train()` with the same rows in each update, each row with all its padding."""
    updates, rows = optimizer.updates_per_batch, phase.prompts_per_step * phase.group_size
    model = policy.with_adapter(start)
    arguments = grpo_arguments(
        phase, optimizer, corrected=corrected, folder=folder / "theirs", seed=0, model=model,
    )  # fmt: skip
    arguments.chat_template_kwargs = one_start_token(policy.processor)
    arguments.max_steps, arguments.shuffle_dataset = phase.steps * updates, False
    steps = [rollouts[i : i + rows] for i in range(0, len(rollouts), rows)]
    played = iter(steps)

    def rolled_out(prompts: list[Any], _: Any) -> dict[str, list[Any]]:
        own = next(played)
        return {
            "prompt_ids": [list(one.completion.prompt_ids) for one in own],
            "completion_ids": [list(one.completion.token_ids) for one in own],
            "logprobs": [list(one.completion.logprobs) for one in own],
            "reward": [one.reward for one in own],
        }

    def reward(prompts: Any, completions: Any, reward: list[float], **_: Any) -> list[float]:
        return reward

    def in_turn(batch: dict[str, Any]) -> dict[str, Any]:
        """Row i to update i mod N, in place of TRL's shuffle."""
        size = len(batch["completion_mask"])
        order = [row for own in range(updates) for row in range(size) if row % updates == own]
        index = torch.tensor(order)
        return {
            name: value[index] if isinstance(value, torch.Tensor) and value.ndim
            else [value[row] for row in order] if isinstance(value, list) else value
            for name, value in batch.items()
        }  # fmt: skip

    firsts = [one.prompt for step in steps for one in step[:: phase.group_size]]
    data = Dataset.from_dict({"row": list(range(len(firsts)))})
    data.set_transform(
        lambda batch: {
            "prompt": [policy.chat.messages(firsts[row]) for row in batch["row"]],
            "images": [list(firsts[row].images) for row in batch["row"]],
        }
    )
    trainer = _ByTrl(
        model=model, reward_funcs=reward, rollout_func=rolled_out, args=arguments,
        processing_class=policy.processor, train_dataset=data,
    )  # fmt: skip
    if optimizer.kl > 0 and optimizer.reference == "base":
        model.delete_adapter("ref")  # TRL's copy of the adapter's start; without it TRL takes the base
    trainer.remove_callback(PrinterCallback)
    trainer.use_vllm = True
    trainer._last_loaded_step = 0
    generate = trainer._generate_and_score_completions

    def at_this_step(inputs: Any) -> Any:
        trainer._last_loaded_step = trainer.state.global_step  # else it would publish to vLLM
        return generate(inputs)

    with (
        gradients() as found,
        mock.patch.object(trainer, "_generate_and_score_completions", at_this_step),
        mock.patch.object(grpo_trainer, "shuffle_sequence_dict", in_turn),
    ):
        trainer.train()
    policy.without_adapter(model)
    return torch.cat(found), [row for row in trainer.state.log_history if "loss" in row]


def one_start_token(processor: Any) -> dict[str, str]:
    """Keeps TRL from writing two start tokens, one by the template and one by the tokenizer.

    Such are Gemma's. TRL tokenizes the templated text, and takes the token types of that for our prompt ids.
    """
    tokenizer = processor.tokenizer
    start = tokenizer.bos_token
    twice = start and tokenizer(start)["input_ids"].count(tokenizer.bos_token_id) == 2
    return {"bos_token": ""} if twice else {}


@contextmanager
def gradients() -> Iterator[list[torch.Tensor]]:
    """The gradient of each update, before any optimizer has seen it."""
    found: list[torch.Tensor] = []

    def keep(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        own = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]
        if any(bool(one.any()) for one in own):  # torch steps on zeros to see an optimizer's state
            found.append(torch.cat(own).clone())

    hook = register_optimizer_step_pre_hook(keep)
    yield found
    hook.remove()


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative L2 distance."""
    return float((one - other).norm() / other.norm())


def sgd(**values: Any) -> Optimizer:
    """Plain gradient descent, unclipped."""
    grpo = {"optim": "sgd", "weight_decay": 0.0, "max_grad_norm": 1e9, "gradient_checkpointing": False}
    own = values.pop("grpo", {})
    return Optimizer(**{"learning_rate": 1e-2, "kl": 0.1, **values, "grpo": {**grpo, **own}})
