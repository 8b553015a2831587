"""What a step of ours leaves out changes nothing: the gradient is that of TRL's own way."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl.trainer.grpo_trainer import GRPOTrainer

from rollouts.engine import Prompt
from tests.architectures.tiny import ALL, Tiny
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model, Optimizer, Phase
from visplay.loop.arguments import grpo_arguments
from visplay.loop.trainer import EngineGRPOTrainer, Rolled
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import reasoner_prompt
from visplay.ranks import ALONE
from visplay.runs.checkpoints import numbered

pytestmark = pytest.mark.slow
LORA = Lora(rank=4, alpha=8)


class PlainTrainer(EngineGRPOTrainer):
    """Learns as TRL does: random micro-batches, with their padding, and every picture of every row."""

    _prepare_inputs = GRPOTrainer._prepare_inputs
    _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies


def pictured(count: int, *, sizes: list[tuple[int, int]]) -> list[Prompt]:
    """Prompts with a picture each, some larger and some of more words than others."""
    scenes = sample_scenes(count, split="development", seed=1)
    return [
        reasoner_prompt(
            render(scene).resize(sizes[i % len(sizes)]),
            "How many shapes are red?"[: 9 + 5 * i],
            words=Prompts(),
        )
        for i, scene in enumerate(scenes)
    ]


def learn(
    kind: type[EngineGRPOTrainer],
    folder: Path,
    *,
    model: Model,
    prompts: list[Prompt],
    group: int,
    micro: int,
    steps: int = 2,
    lora: Lora = LORA,
    **grpo: Any,
) -> tuple[torch.Tensor, EngineGRPOTrainer, list[dict[str, float]]]:
    """What plain gradient descent adds to an adapter, on completions of random tokens and lengths."""
    torch.manual_seed(0)
    policy = Policy(*load_base(model), lora=lora)
    start = numbered(folder, "shared", 0)
    policy.create_adapter(start, seed=0)
    randomize_lora_b(start, size=0.02)
    peft_model, chat, drawn = policy.with_adapter(start), policy.chat, random.Random(0)
    before = {n: p.detach().clone() for n, p in peft_model.named_parameters() if p.requires_grad}

    def play(rows: list[int], state: dict[str, torch.Tensor]) -> list[Rolled]:
        ids = [chat.encode([prompt])["input_ids"][0].tolist() for prompt in prompts]
        made = []
        for i, row in enumerate(sorted(rows)):
            tokens = [drawn.randrange(20, 60) for _ in range(drawn.randrange(1, 24))]
            made.append(
                Rolled(
                    messages=chat.messages(prompts[row]), images=list(prompts[row].images),
                    prompt_ids=ids[row], completion_ids=tokens, logprobs=[-1.0] * len(tokens),
                    reward=float(i % group == 0),
                )
            )  # fmt: skip
        return made

    optimizer = Optimizer(
        learning_rate=0.3, weight_decay=0, max_grad_norm=1e9, micro_batch_size=micro, kl=0.1,
        grpo={"optim": "sgd", "gradient_checkpointing": False, **grpo},
    )  # fmt: skip
    phase = Phase(steps=steps, prompts_per_step=len(prompts), group_size=group, max_tokens=24)
    arguments = grpo_arguments(
        phase, optimizer, corrected=False, folder=folder / "trainer", seed=0, model=peft_model, chat={}
    )
    trainer = kind(
        model=peft_model, processing_class=policy.processor, args=arguments, ranks=ALONE, player=play,
        train_dataset=Dataset.from_dict({"row": list(range(len(prompts)))}),
    )  # fmt: skip
    trainer.train()
    after = dict(peft_model.named_parameters())
    assert "get_image_features" not in {n for m in peft_model.modules() for n in vars(m)}
    change = torch.cat([(after[name].detach() - value).flatten() for name, value in sorted(before.items())])
    return change, trainer, [row for row in trainer.state.log_history if "loss" in row]


def check_same(folder: Path, **lesson: Any) -> EngineGRPOTrainer:
    ours, trainer, rows = learn(EngineGRPOTrainer, folder / "ours", **lesson)
    theirs, _, plain = learn(PlainTrainer, folder / "plain", **lesson)
    assert float(theirs.norm()) > 0
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-4
    for row, expected in zip(rows, plain, strict=True):
        for name in ("loss", "grad_norm"):
            assert row[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-5)
    return trainer


@pytest.mark.parametrize("tiny", ALL, ids=lambda tiny: tiny.name)
def test_each_picture_is_looked_at_once_a_step_and_nothing_else_changes(tiny: Tiny, tmp_path: Path) -> None:
    tiny.write(tmp_path / "model")
    prompts = pictured(2, sizes=[(120, 80), (60, 90)])
    model = Model(path=str(tmp_path / "model"), dtype="float32")
    trainer = check_same(tmp_path, model=model, prompts=prompts, group=4, micro=4)
    assert trainer._pictures.computed == 2 * len(prompts)


@pytest.mark.parametrize("loss", ["grpo", "dapo", "bnpo"])
def test_micro_batches_that_are_cut_by_length_give_the_same_gradient(loss: str, tmp_path: Path) -> None:
    trainer = check_same(
        tmp_path, model=Model(path="pocket", dtype="float32"), prompts=pictured(4, sizes=[(96, 96)]), group=8,
        micro=32, steps=1, loss_type=loss,
    )  # fmt: skip
    assert trainer._pictures.computed == 4


def test_a_tower_that_learns_is_asked_each_time(tmp_path: Path) -> None:
    lora = Lora(rank=4, targets=["q_proj"])  # those of the tower, too
    trainer = check_same(
        tmp_path, model=Model(path="pocket", dtype="float32"), prompts=pictured(2, sizes=[(96, 96)]), group=4,
        micro=8, steps=1, lora=lora,
    )  # fmt: skip
    assert trainer._pictures.computed == 2  # to compare with, once
