"""Any VLM by configuration: each architecture through processor, engine, a swap and a GRPO step.

Each goes through the engine transformers, two through vLLM, and the others through vLLM in `make test-all`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, Prompt, RolloutEngine, Sampling
from tests.architectures.tiny import ALL, Tiny
from visplay.config.loading import Config, check_config
from visplay.config.prompts import Prompts
from visplay.config.sections import Optimizer, Phase
from visplay.errors import ConfigError, PreflightError
from visplay.models.engines import start_engine
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b, run_canaries, trainer_logprobs
from visplay.models.processor import load_processor
from visplay.prompts import canary_prompt, reasoner_prompt
from visplay.runs.checkpoints import numbered
from visplay.training.learner import Learner
from visplay.training.trl import Rollout

pytestmark = pytest.mark.slow
WITH_VLLM = ("Qwen2.5-VL", "Idefics3")  # placeholders by the picture's size, and by tiles
CASES = [
    pytest.param(
        (tiny, backend), id=f"{tiny.name}-{backend}",
        marks=[pytest.mark.extra] if backend == "vllm" and tiny.name not in WITH_VLLM else [],
    )
    for tiny in ALL
    for backend in ("transformers", "vllm")
]  # fmt: skip
LIMITS = {"max_pixels": 32 * 32 * 16, "min_pixels": 32 * 32 * 4}


def picture(width: int, height: int) -> Image.Image:
    return Image.radial_gradient("L").resize((width, height)).convert("RGB")


def two_pictures() -> Prompt:
    content = [
        {"type": "image"}, {"type": "image"}, {"type": "text", "text": "How many shapes are there?"}
    ]  # fmt: skip
    return Prompt(
        messages=({"role": "user", "content": content},), images=(picture(60, 90), picture(120, 80))
    )


PROMPTS = [reasoner_prompt(picture(120, 80), "How many shapes?", words=Prompts()), two_pictures()]


@dataclass(frozen=True)
class Case:
    """One architecture on one engine, with everything that a run has of it."""

    tiny: Tiny
    config: Config
    policy: Policy
    chat: Chat
    engine: RolloutEngine
    adapters: list[AdapterVersion]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    tiny, backend = request.param
    folder = tmp_path_factory.mktemp("tiny")
    tiny.write(folder / "model")
    model = {"path": str(folder / "model"), "dtype": "float32"} | (LIMITS if tiny.pixels else {})
    vllm = {
        "max_model_len": 1024,
        "limit_mm_per_prompt": {"image": 2, "video": 0},
        "max_num_batched_tokens": 4096,
    }
    engine = {"backend": backend, "vllm": vllm if backend == "vllm" else {}}
    config = check_config(
        {"images": {"source": "."}, "model": model, "lora": {"rank": 4, "alpha": 8}, "engine": engine}
    )
    policy = Policy(*load_base(config.model), lora=config.lora)
    adapters = [numbered(folder, "shared", version) for version in range(2)]
    for adapter in adapters:
        policy.create_adapter(adapter, seed=adapter.version)
        randomize_lora_b(adapter, size=0.1, seed=adapter.version)
    chat = Chat(policy.processor, config=policy.model.config, generation=policy.model.generation_config)
    started = start_engine(config.model, config.engine, lora_rank=config.lora.rank, logs=folder)
    yield Case(tiny, config, policy, chat, started, adapters)
    started.close()


def test_the_canaries_live(case: Case) -> None:
    if case.config.engine.backend == "transformers":
        # Its log-probs are from before placeholders are taken out. A VLM that has learnt never writes one;
        # these have random weights and do, which is what the canaries are there to notice.
        with pytest.raises(PreflightError, match="log-probs of engine and trainer with one adapter are"):
            run_canaries(case.engine, policy=case.policy, prompt=canary_prompt(picture(90, 60), Prompts()))
        return
    found = run_canaries(case.engine, policy=case.policy, prompt=canary_prompt(picture(90, 60), Prompts()))
    assert found.adapter_effect > 1e-3


def test_the_engine_samples_what_the_trainer_computes(case: Case) -> None:
    banned = set(case.chat.banned)
    for adapter in case.adapters:
        case.engine.publish(adapter)
        sampling = Sampling(n=2, max_tokens=20, temperature=1.5, seed=5)
        groups = case.engine.generate(PROMPTS, adapter=adapter, sampling=sampling)
        model = case.policy.with_adapter(adapter).eval()
        for prompt, group in zip(PROMPTS, groups, strict=True):
            expanded = case.chat.encode([prompt])["input_ids"][0].tolist()
            for completion in group:
                assert list(completion.prompt_ids) == expanded
                assert completion.adapter == adapter and not banned & set(completion.token_ids)
                want = trainer_logprobs(model, case.chat, prompt, completion.token_ids, 1.5)
                # transformers' are from before placeholders are taken out, which, with random weights,
                # have about a share of len(banned) / n of n tokens.
                on_vllm = case.config.engine.backend == "vllm"
                loose = 1e-4 if on_vllm else 10 * len(banned) / len(case.chat.tokenizer)
                assert list(completion.logprobs) == pytest.approx(want, abs=loose)
        case.policy.without_adapter(model)


def test_limits_of_pixels_hold_for_both_sides_or_are_an_error(case: Case) -> None:
    wide = reasoner_prompt(picture(1200, 400), "How many shapes?", words=Prompts())
    if not case.tiny.pixels:
        with pytest.raises(ConfigError, match=r"model.max_pixels: \w+ has no limits in pixels"):
            load_processor(case.config.model.model_copy(update=LIMITS))
        return
    base = AdapterVersion(name="base", version=0)
    (group,) = case.engine.generate([wide], adapter=base, sampling=Sampling(max_tokens=1))
    expanded = case.chat.encode([wide])["input_ids"][0].tolist()
    assert list(group[0].prompt_ids) == expanded
    assert 8 <= sum(i in case.chat.banned for i in expanded) <= 20  # 16 of 32 by 32, or 20 of 28 by 28 pixels


def test_adapters_are_in_the_language_model_alone(case: Case) -> None:
    assert case.adapters[0].path is not None
    names = load_file(case.adapters[0].path / "adapter_model.safetensors").keys()
    layers = {name.split(".lora_")[0] for name in names}
    assert len(layers) == 2 * 7  # layers of the language model times its linear maps
    assert all("language_model" in name or "text_model" in name for name in layers)


def test_checkpointing_changes_no_gradient_and_leaves_the_vision_tower_alone(
    case: Case, tmp_path: Path
) -> None:
    if case.config.engine.backend != "transformers":
        pytest.skip("shown with the transformers engine: the trainer is the same whatever samples")
    graded: list[bool] = []
    hooks = [
        module.register_forward_hook(lambda _, inputs, output: graded.append(_first(output).requires_grad))
        for name, module in case.policy.model.named_modules()
        if re.search(r"(vision|visual).*\.(layers?|blocks)\.0$", name)
    ]
    assert hooks
    changed = []
    for checkpointing in (False, True):
        folder = tmp_path / str(checkpointing)
        optimizer = Optimizer(
            learning_rate=1.0, micro_batch_size=4,
            grpo={
                "optim": "sgd", "gradient_checkpointing": checkpointing, "weight_decay": 0.0,
                "max_grad_norm": 1e9,
            },
        )  # fmt: skip
        changed.append(one_step(case, folder, optimizer))
    for hook in hooks:
        hook.remove()
    plain, checkpointed = changed
    assert float(plain.norm()) > 0
    assert float((plain - checkpointed).norm() / plain.norm()) < 1e-4
    assert graded and not any(graded)


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def rolled_out(
    case: Case, folder: Path, start: AdapterVersion, optimizer: Optimizer, *, corrected: bool
) -> Learner:
    """One step on the engine's own completions, of which every other one is rewarded."""
    prompts = [
        reasoner_prompt(picture(120, 80), "How many?", words=Prompts()),
        reasoner_prompt(picture(60, 90), "Is it red?", words=Prompts()),
    ]
    phase = Phase(steps=1, prompts_per_step=2, group_size=4, max_tokens=12)
    case.engine.publish(start)
    with Learner(
        case.policy, start=start, phase=phase, optimizer=optimizer, corrected=corrected, folder=folder, seed=0
    ) as learner:
        for _ in learner.steps():
            adapter = learner.publish(case.engine)
            groups = case.engine.generate(prompts, adapter=adapter, sampling=Sampling(n=4, max_tokens=12))
            learner.update(
                [
                    Rollout(prompt=prompt, completion=one, reward=float(i % 2))
                    for prompt, group in zip(prompts, groups, strict=True)
                    for i, one in enumerate(group)
                ]
            )
            learner.save()
    return learner


def one_step(case: Case, folder: Path, optimizer: Optimizer) -> torch.Tensor:
    """What one step of plain gradient descent adds to the adapter, which is the gradient."""
    start = replace(case.adapters[0], name=f"step-{folder.name}")
    trained = rolled_out(case, folder, start, optimizer, corrected=False).trained
    assert start.path is not None and trained.path is not None
    before, after = (load_file(p / "adapter_model.safetensors") for p in (start.path, trained.path))
    return torch.cat([(after[name] - before[name]).flatten() for name in sorted(after)])


def test_one_grpo_step(case: Case, tmp_path: Path) -> None:
    start = replace(case.adapters[0], name="trained")
    optimizer = Optimizer(learning_rate=1e-3, micro_batch_size=8)
    learner = rolled_out(case, tmp_path, start, optimizer, corrected=True)
    rows = learner.history
    assert learner.trained.version == 2
    # Placeholders are out of the sampled distribution only, hence not 1e-3 as with a VLM that has learnt.
    loose = 10 * len(case.chat.banned) / len(case.chat.tokenizer)
    for name in ("min", "mean", "max"):
        assert rows[0][f"sampling/importance_sampling_ratio/{name}"] == pytest.approx(1, abs=loose)
    case.engine.publish(learner.trained)
    prompt = reasoner_prompt(picture(120, 80), "How many?", words=Prompts())
    (group,) = case.engine.generate([prompt], adapter=learner.trained, sampling=Sampling(max_tokens=4))
    assert group[0].adapter == learner.trained
