"""One behaviour, whatever the engine: each test runs on each, with the pocket VLM and real adapters."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.pocket_vlm.lessons import CAPTION_PROMPT
from rollouts.engine import AdapterVersion, Prompt, RolloutEngine, Sampling
from rollouts.server_engine import ServerEngine
from rollouts.transformers_engine import STAGE
from visplay.config.prompts import Prompts
from visplay.config.sections import Engine, Lora, Model
from visplay.models.engines import start_engine
from visplay.models.policy import Policy, load_base
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import questioner_prompt, reasoner_prompt
from visplay.runs.checkpoints import numbered

pytestmark = pytest.mark.slow
BASE = AdapterVersion(name="base", version=0)
POCKET = Model(path="pocket", dtype="float32")
ENGINES = {
    "transformers": Engine(),
    "vllm": Engine(backend="vllm"),
    "server": Engine(backend="server", replicas=2),
}


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    pictures = [render(scene) for scene in sample_scenes(3, split="development", seed=0)]
    return [
        reasoner_prompt(pictures[0], "How many shapes are there?", key="a", words=Prompts()),
        questioner_prompt(pictures[1], types=["numerical"], words=Prompts(forms={}), key="b"),
        reasoner_prompt(pictures[2], "Is there a red circle?", key="c", words=Prompts()),
    ]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[AdapterVersion]:
    """Four versions with different, visible effects."""
    root = tmp_path_factory.mktemp("adapters")
    policy = Policy(*load_base(POCKET), lora=Lora(rank=4, alpha=8))
    versions = [numbered(root, "shared", version) for version in range(4)]
    for version in versions:
        policy.create_adapter(version, seed=version.version)
        disturb(version.path, seed=version.version)
    return versions


def disturb(path: Path | None, *, seed: int, size: float = 0.05) -> None:
    """Give B random values, so that the adapter does something."""
    from safetensors.torch import load_file, save_file

    assert path is not None
    generator = torch.Generator().manual_seed(seed)
    tensors = load_file(path / "adapter_model.safetensors")
    for name in tensors:
        if "lora_B" in name:
            tensors[name] = size * torch.randn(tensors[name].shape, generator=generator)
    save_file(tensors, path / "adapter_model.safetensors", metadata={"format": "pt"})


# Two servers of this machine take a minute to start; they answer by the vLLM that is tested in this process.
@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.extra] if name == "server" else []) for name in ENGINES],
)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RolloutEngine]:
    logs = tmp_path_factory.mktemp("logs")
    started = start_engine(POCKET, ENGINES[request.param], lora_rank=4, logs=logs)
    yield started
    started.close()


def trainer_logprobs(model: object, processor: object, prompt: Prompt, ids: list[int]) -> torch.Tensor:
    """Log-probs [tokens] of a completion by one plain forward pass, as a trainer computes them."""
    text = processor.apply_chat_template(list(prompt.messages), add_generation_prompt=True)
    inputs = processor(text=[text], images=[list(prompt.images)], return_tensors="pt")
    length = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([ids])], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.no_grad():
        logits = model(**inputs).logits[0, length - 1 : -1]
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(ids)[:, None])[:, 0]


@pytest.mark.parametrize("n", [1, 5])
def test_logprobs_and_prompt_ids_are_the_trainers(
    engine: RolloutEngine, prompts: list[Prompt], adapters: list[AdapterVersion], n: int
) -> None:
    model, processor = load_base(POCKET)
    policy = Policy(model, processor, lora=Lora(rank=4, alpha=8))
    for adapter in adapters[:3]:
        engine.publish(adapter)
        groups = engine.generate(prompts, adapter=adapter, sampling=Sampling(n=n, max_tokens=48, seed=3))
        reference = policy.with_adapter(adapter).eval()
        for prompt, group in zip(prompts, groups, strict=True):
            text = processor.apply_chat_template(list(prompt.messages), add_generation_prompt=True)
            expanded = processor(text=[text], images=[list(prompt.images)])["input_ids"][0]
            assert len(group) == n
            for completion in group:
                assert list(completion.prompt_ids) == list(expanded)
                assert completion.adapter == adapter
                want = trainer_logprobs(reference, processor, prompt, list(completion.token_ids))
                assert torch.tensor(completion.logprobs) == pytest.approx(want, abs=1e-4)
        policy.without_adapter(reference)


def test_temperature_scales_the_logprobs(engine: RolloutEngine, prompts: list[Prompt]) -> None:
    model, processor = load_base(POCKET)
    (group,) = engine.generate(prompts[:1], adapter=BASE, sampling=Sampling(n=2, temperature=0.5))
    for completion in group:
        ids = list(completion.token_ids)
        text = processor.apply_chat_template(list(prompts[0].messages), add_generation_prompt=True)
        inputs = processor(text=[text], images=[list(prompts[0].images)], return_tensors="pt")
        length = inputs["input_ids"].shape[1]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([ids])], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.no_grad():
            logits = model(**inputs).logits[0, length - 1 : -1] / 0.5
        want = torch.log_softmax(logits, -1).gather(1, torch.tensor(ids)[:, None])[:, 0]
        assert torch.tensor(completion.logprobs) == pytest.approx(want, abs=1e-4)


def test_same_seed_same_completions(engine: RolloutEngine, prompts: list[Prompt]) -> None:
    """To the bit, but for servers: there a batch is what has arrived, and log-probs are rounded by batch."""
    sampling = Sampling(n=4, max_tokens=40, seed=11)
    first = engine.generate(prompts, adapter=BASE, sampling=sampling)
    torch.manual_seed(99)  # what others drew in between must not matter
    again = engine.generate(prompts, adapter=BASE, sampling=sampling)
    if isinstance(engine, ServerEngine):
        for one, other in zip([c for g in first for c in g], [c for g in again for c in g], strict=True):
            assert one.token_ids == other.token_ids
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
    else:
        assert again == first
    other = engine.generate(prompts, adapter=BASE, sampling=Sampling(n=4, max_tokens=40, seed=12))
    assert [c.text for g in other for c in g] != [c.text for g in first for c in g]


def test_greedy_does_not_depend_on_company(engine: RolloutEngine, prompts: list[Prompt]) -> None:
    greedy = Sampling(temperature=0, max_tokens=48)
    together = engine.generate(prompts, adapter=BASE, sampling=greedy)
    alone = [engine.generate([prompt], adapter=BASE, sampling=greedy)[0] for prompt in prompts]
    assert [g[0].text for g in together] == [g[0].text for g in alone]


@pytest.mark.parametrize("max_tokens", [1, STAGE, STAGE + 3])
def test_a_cut_completion_says_so(engine: RolloutEngine, prompts: list[Prompt], max_tokens: int) -> None:
    content = [{"type": "image"}, {"type": "text", "text": CAPTION_PROMPT}]
    caption = Prompt(messages=({"role": "user", "content": content},), images=prompts[0].images, key="d")
    sampling = Sampling(n=3, max_tokens=max_tokens)
    groups = engine.generate([*prompts, caption], adapter=BASE, sampling=sampling)
    end = load_base(POCKET)[0].generation_config.eos_token_id
    for completion in (c for group in groups for c in group):
        assert 1 <= len(completion.token_ids) <= max_tokens
        assert len(completion.logprobs) == len(completion.token_ids)
        assert (completion.token_ids[-1] == end) == (completion.finish_reason == "stop")
    assert {c.finish_reason for c in groups[-1]} == {"length"}  # a caption of nine cells is longer


def test_versions_change_the_distribution_and_the_oldest_is_dropped(
    engine: RolloutEngine, prompts: list[Prompt], adapters: list[AdapterVersion]
) -> None:
    greedy = Sampling(temperature=0, max_tokens=4)
    seen = set()
    for adapter in adapters:
        engine.publish(adapter)
        seen.add(engine.generate(prompts[:1], adapter=adapter, sampling=greedy)[0][0].logprobs)
    seen.add(engine.generate(prompts[:1], adapter=BASE, sampling=greedy)[0][0].logprobs)
    assert len(seen) == 5
    with pytest.raises(KeyError, match="shared@0 is not loaded"):
        engine.generate(prompts[:1], adapter=adapters[0], sampling=greedy)


def test_image_placeholders_are_never_sampled(engine: RolloutEngine, tmp_path: Path) -> None:
    """With hidden states made noise, each of 530 tokens is drawn at times; so would the placeholder be."""
    policy = Policy(*load_base(POCKET), lora=Lora(rank=4, alpha=8))
    noise = numbered(tmp_path, "noise", 0)
    policy.create_adapter(noise, seed=0)
    disturb(noise.path, seed=0, size=3.0)
    engine.publish(noise)
    grey = Image.new("RGB", (96, 96), (128, 128, 128))
    prompt = reasoner_prompt(grey, "How many shapes are there?", words=Prompts())
    sampling = Sampling(n=32, max_tokens=32, temperature=2.0)
    groups = engine.generate([prompt] * 4, adapter=noise, sampling=sampling)
    sampled = {token for group in groups for completion in group for token in completion.token_ids}
    assert policy.processor.tokenizer.convert_tokens_to_ids("<image>") not in sampled
    assert len(sampled) > 0.9 * len(policy.processor.tokenizer)
