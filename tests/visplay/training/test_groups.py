"""A prompt is computed once for its completions; only rounding tells it from ordinary rows."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from rollouts.engine import Prompt
from tests.architectures.tiny import ALL
from tests.visplay.training.reference import POCKET, apart, by_learner, pictured, policy_of, rollouts_of, sgd
from visplay.config.sections import Lora, Model, Phase
from visplay.models.policy import Policy
from visplay.training import groups
from visplay.training.groups import Layout, by_group
from visplay.training.trl import Rollout

PHASE = Phase(steps=1, prompts_per_step=2, group_size=4, max_tokens=24)


def test_a_layout_shows_a_token_the_prompt_and_its_own_completion() -> None:
    prompt, first, second = torch.tensor([7, 8, 9]), torch.tensor([1, 2]), torch.tensor([3, 4, 5])
    layout = Layout.of([prompt, prompt[:1]], [[first, second], [second]])
    assert layout.ids.tolist() == [[7, 8, 9, 1, 2, 3, 4, 5], [7, 3, 4, 5, 0, 0, 0, 0]]
    assert layout.places[1].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert layout.positions(None)[0].tolist() == [0, 1, 2, 3, 4, 3, 4, 5]
    rotary = torch.arange(8).expand(3, 1, 8) * 10  # as models with several axes have them
    assert layout.positions(rotary)[:, 0].tolist() == [[0, 10, 20, 30, 40, 30, 40, 50]] * 3
    seen = layout.mask(None, additive=False, like=torch.zeros(1))[0, 0]
    assert seen[4].nonzero()[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert seen[6].nonzero()[:, 0].tolist() == [0, 1, 2, 5, 6]
    hidden = torch.arange(16.0).reshape(2, 8, 1)
    scored = layout.scored(hidden)[:, 0].tolist()
    assert scored == [2, 2, 8, 3, 5, 6, 9, 10]  # the place before each token, in its own completion
    assert layout.targets.tolist() == [1, 3, 3, 2, 4, 5, 4, 5]
    assert layout.completions.tolist() == [0, 1, 2, 0, 1, 1, 2, 2]
    assert layout.columns.tolist() == [0, 0, 0, 1, 1, 2, 1, 2]


def test_a_layout_takes_over_what_the_models_own_mask_forbids() -> None:
    """A window of two places: what is farther away in [prompt, c] is not seen in the shared sequence."""
    layout = Layout.of([torch.tensor([7, 8])], [[torch.tensor([1, 2]), torch.tensor([3, 4])]])
    line = torch.arange(6)
    window = (line[:, None] - line[None, :] < 2) & (line[None, :] <= line[:, None])
    masks = layout.mask({"sliding": window[None, None]}, additive=False, like=torch.zeros(1))
    seen = [row.nonzero()[:, 0].tolist() for row in masks["sliding"][0, 0]]
    assert seen == [[0], [0, 1], [1, 2], [2, 3], [1, 4], [4, 5]]
    added = torch.zeros(1, 1, 6, 6).masked_fill(~window, -1e30)
    lowest = layout.mask(added, additive=True, like=torch.zeros(1))[0, 0]
    assert ((lowest == 0) == masks["sliding"][0, 0]).all()


def test_rows_of_a_prompt_stand_together_and_long_ones_first() -> None:
    assert by_group([0, 1, 0, 1, 2], [2, 9, 3, 1, 4]) == [1, 3, 2, 0, 4]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"_attn_implementation": "flash_attention_2"}, "flash_attention_2 does not support"),
        ({"_attn_implementation": "sdpa", "layer_types": ["full_attention", "linear_attention"]}, "linear"),
        ({"_attn_implementation": "sdpa", "layer_types": ["full_attention"]}, ""),
        ({"_attn_implementation": "eager"}, ""),
    ],
)
def test_attention_that_cannot_share_is_named(config: dict[str, Any], why: str) -> None:
    found = groups._why_not(SimpleNamespace(**config))
    assert why in found and bool(why) == bool(found)


def learned(
    folder: Path, model: Model, prompts: list[Prompt], *, plain: bool = False, look: Any = lambda _: None,
    lora: Lora | None = None, **optimizer: Any,
) -> torch.Tensor:  # fmt: skip
    """The gradient of one step; `plain` computes each prompt for each completion."""
    policy, start = policy_of(model, folder, **({"lora": lora} if lora else {}))
    rollouts = rollouts_of(policy, prompts, group=4)
    if optimizer.get("grpo", {}).get("mask_truncated_completions"):
        rollouts = [with_an_end(one, policy) if i % 3 else one for i, one in enumerate(rollouts)]
    phase = of_prompts(len(prompts))
    with pytest.MonkeyPatch.context() as patch:
        if plain:
            patch.setattr(groups, "_why_not", lambda _: "asked for by a test")
        found, _ = by_learner(
            folder, rollouts, policy, start, phase=phase, optimizer=sgd(**optimizer), look=look
        )
    return found


def of_prompts(prompts: int) -> Phase:
    return PHASE.model_copy(update={"prompts_per_step": prompts})


def with_an_end(one: Rollout, policy: Policy) -> Rollout:
    done = one.completion
    tokens, logprobs = (*done.token_ids, policy.chat.end_ids[0]), (*done.logprobs, -9.0)
    return replace(one, completion=replace(done, token_ids=tokens, logprobs=logprobs))


def in_two_ways(folder: Path, model: Model, prompts: list[Prompt], **options: Any) -> None:
    shared: list[Any] = []
    once = learned(folder / "once", model, prompts, look=shared.append, **options)
    plain = learned(folder / "plain", model, prompts, plain=True, **options)
    assert shared[0].groups.once
    assert float(plain.norm()) > 0 and apart(once, plain) < 1e-5


slow = pytest.mark.slow


@slow
@pytest.mark.parametrize(
    "options",
    [
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        {"mask_truncated_completions": True},
        {"loss_type": "bnpo"},
    ],
    ids=["checkpointing", "reentrant", "truncated", "shuffled"],
)
def test_it_goes_with_what_users_set(options: dict[str, Any], tmp_path: Path) -> None:
    in_two_ways(tmp_path, POCKET, pictured(2), micro_batch_size=4, grpo=options)


@slow
def test_a_group_that_is_too_long_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = learned(tmp_path / "whole", POCKET, pictured(2), micro_batch_size=8)
    tokens: list[int] = []
    of = Layout.of

    def laid_out(*args: Any) -> Layout:
        layout = of(*args)
        tokens.append(layout.ids.shape[1])
        return layout

    monkeypatch.setattr(Layout, "of", laid_out)
    monkeypatch.setattr(groups, "LONGEST", 100)
    cut = learned(tmp_path / "cut", POCKET, pictured(2), micro_batch_size=8)
    assert max(tokens) <= 100 and apart(cut, whole) < 1e-5


@slow
def test_prompts_with_several_pictures_and_with_none(tmp_path: Path) -> None:
    """LLaVA's processor pads nothing here; a prompt of words alone has no pixel values in its batch."""
    tiny = next(one for one in ALL if one.name == "LLaVA")
    tiny.write(tmp_path / "model")
    pictures = [Image.radial_gradient("L").resize(size).convert("RGB") for size in ((80, 60), (60, 90))]
    blocks: list[dict[str, Any]] = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Alike?"}]
    two = Prompt(messages=({"role": "user", "content": blocks},), images=tuple(pictures))
    none = Prompt(messages=({"role": "user", "content": [{"type": "text", "text": "How many?"}]},))
    model = Model(path=str(tmp_path / "model"), dtype="float32")
    in_two_ways(tmp_path, model, [two, none, *pictured(1)], micro_batch_size=12)


@slow
def test_the_processor_sees_a_prompt_once_a_step_and_its_pixels_are_held_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, start = policy_of(POCKET, tmp_path)
    rollouts = rollouts_of(policy, pictured(3), group=4)
    seen: Counter[str] = Counter()
    kind = type(policy.processor)
    ask = kind.__call__

    def counted(self: Any, *args: Any, images: Any = None, **inputs: Any) -> Any:
        seen["calls"] += 1
        seen["pictures"] += sum(map(len, images or []))
        return ask(self, *args, images=images, **inputs)

    monkeypatch.setattr(kind, "__call__", counted)
    held: list[Any] = []
    by_learner(
        tmp_path, rollouts, policy, start, phase=of_prompts(3), optimizer=sgd(micro_batch_size=12),
        look=lambda trainer: held.extend(len(one.inputs["pixel_values"]) for one in trainer.groups._prompts),
    )  # fmt: skip
    assert seen == {"calls": 3, "pictures": 3}  # and not 3 x 4
    assert held == [1, 1, 1]


@slow
def test_a_model_that_differs_computes_ordinary_rows_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = learned(tmp_path / "plain", POCKET, pictured(2), plain=True, micro_batch_size=8)
    mask = Layout.mask

    def leaking(self: Layout, own: Any, **how: Any) -> Any:
        return torch.ones_like(mask(self, own, **how)).tril()  # completions see each other

    monkeypatch.setattr(Layout, "mask", leaking)
    shared: list[Any] = []
    with caplog.at_level(logging.WARNING):
        found = learned(tmp_path / "leaking", POCKET, pictured(2), look=shared.append, micro_batch_size=8)
    assert not shared[0].groups.once and "log-probs differ by" in caplog.text
    assert apart(found, plain) < 1e-5


@slow
def test_a_step_of_which_nothing_is_scored_learns_nothing(tmp_path: Path) -> None:
    policy, start = policy_of(POCKET, tmp_path)
    rollouts = rollouts_of(policy, pictured(2), group=4)  # none of them ends
    optimizer = sgd(micro_batch_size=4, grpo={"mask_truncated_completions": True})
    found, rows = by_learner(tmp_path, rollouts, policy, start, phase=PHASE, optimizer=optimizer)
    assert float(found.norm()) == 0 == rows[0]["grad_norm"]


@slow
def test_bfloat16_rounds_and_is_not_taken_for_a_difference(tmp_path: Path) -> None:
    shared: list[Any] = []
    model = Model(path="pocket", dtype="bfloat16")
    once = learned(tmp_path / "once", model, pictured(2), look=shared.append, micro_batch_size=8)
    plain = learned(tmp_path / "plain", model, pictured(2), plain=True, micro_batch_size=8)
    assert shared[0].groups.once and apart(once, plain) < 0.05


@slow
def test_inputs_of_lora_are_not_cast_to_32_bits_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(path="pocket", dtype="bfloat16")
    uncast = learned(tmp_path / "uncast", model, pictured(2), micro_batch_size=8)
    entered: list[bool] = []

    @contextmanager
    def casting(_: Any, *, active: bool) -> Iterator[None]:
        entered.append(active)
        yield

    monkeypatch.setattr("visplay.training.learner.disable_input_dtype_casting", casting)
    cast = learned(tmp_path / "cast", model, pictured(2), micro_batch_size=8)
    assert entered == [True] and torch.equal(uncast, cast)


@slow
def test_a_prompt_that_the_trainer_encodes_otherwise_is_refused(tmp_path: Path) -> None:
    policy, start = policy_of(POCKET, tmp_path)
    rollouts = rollouts_of(policy, pictured(2), group=4)
    other = replace(rollouts[0].completion, prompt_ids=rollouts[0].completion.prompt_ids[1:])
    with pytest.raises(Exception, match="the trainer's processor encodes it differently"):
        by_learner(
            tmp_path, [replace(rollouts[0], completion=other), *rollouts[1:]], policy, start, phase=PHASE,
            optimizer=sgd(micro_batch_size=8),
        )  # fmt: skip
