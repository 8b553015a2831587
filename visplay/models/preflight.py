"""Check before the first step that engine and trainer compute the same log-probs."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from safetensors.torch import load_file, save_file

from rollouts.canary import Agreement, check_engine
from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, EngineUnavailable, Prompt, RolloutEngine
from rollouts.transformers_engine import as_trained
from visplay.errors import PreflightError
from visplay.models.policy import Policy

TOLERANCE = 1e-4  # nats, mean over tokens, in 32 bits
# In 16 bits kernels round differently: beyond the first value visplay warns, beyond the second the run stops.
HALF_NOTED, HALF_TOLERANCE = 0.05, 1.0
PROBE_SHARE = 0.1  # size of the probe adapter's update relative to the base weight


def run_canaries(
    engine: RolloutEngine,
    *,
    policy: Policy,
    prompt: Prompt,
    tolerance: float | None = None,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Agreement:
    """Run the canary tests of `rollouts.canary` with a probe adapter on a prompt of the run.

    Args:
        engine: the engine under test.
        policy: the trainer's base VLM.
        prompt: a prompt with one of the run's pictures.
        tolerance: the mean distance of log-probs that stops the run, in nats; None selects it by dtype.
        folder: temporary folder of the probe adapter, which servers must see; None uses the system's.
        say: called with a warning if the distance is large, but not large enough to stop the run.

    Raises:
        PreflightError: a canary test failed.
    """
    chat, in_full = policy.chat, policy.model.dtype == torch.float32
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="visplay-canary-", dir=folder) as scratch:
        probe = AdapterVersion(name="canary", version=0, path=Path(scratch) / "canary-0")
        policy.create_adapter(probe, seed=0)
        randomize_lora_b(probe, size=_probe_size(probe, policy.model))
        try:
            engine.publish(probe)
        except EngineUnavailable as error:
            raise PreflightError(f"engine.backend: {error}") from error
        model = policy.with_adapter(probe).eval()
        try:
            found = check_engine(
                engine,
                chat=chat,
                prompt=prompt,
                adapter=probe,
                reference=lambda *asked: trainer_logprobs(model, chat, *asked),
                tolerance=tolerance or (TOLERANCE if in_full else HALF_TOLERANCE),
            )
        except EngineUnavailable as error:
            raise PreflightError(
                f"engine.backend: {error}; set engine.backend=transformers, or another model.dtype"
            ) from error
        finally:
            policy.without_adapter(model)
    if tolerance is None and found.disagreement > HALF_NOTED:
        say(
            f"engine and trainer differ by {found.disagreement:.2g} nats on average, more than "
            f"{HALF_NOTED:g}: watch sampling/importance_sampling_ratio; the importance correction makes up "
            "for it"
        )
    return found


def randomize_lora_b(adapter: AdapterVersion, *, size: float | dict[str, float], seed: int = 0) -> None:
    """Fill B of a new adapter with random values; `size` is their standard deviation, one or per tensor."""
    assert adapter.path is not None
    file = adapter.path / "adapter_model.safetensors"
    generator = torch.Generator().manual_seed(seed)
    tensors = load_file(file)
    for name, tensor in tensors.items():
        if "lora_B" in name:
            own = size[name] if isinstance(size, dict) else size
            tensors[name] = (own * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
    save_file(tensors, file, metadata={"format": "pt"})


def _probe_size(adapter: AdapterVersion, base: Any) -> dict[str, float]:
    """The size of each B for which the update is `PROBE_SHARE` of the weight that it is added to.

    One size for all VLMs would not change the distribution of a large VLM, or would destroy that of a small
    one. Weights in fewer than 16 bits count as size 0.02, the usual size at initialization.
    """
    assert adapter.path is not None
    about = PeftConfig.from_pretrained(str(adapter.path))
    tensors = load_file(adapter.path / "adapter_model.safetensors")
    sizes = {}
    for name, a in ((name, tensor) for name, tensor in tensors.items() if "lora_A" in name):
        module = base.get_submodule(name.removeprefix("base_model.model.").partition(".lora_A")[0])
        weight = module.weight
        wanted = PROBE_SHARE * (float(weight.float().std()) if weight.is_floating_point() else 0.02)
        gain = about.lora_alpha / about.r * about.r**0.5 * float(a.float().std())
        sizes[name.replace("lora_A", "lora_B")] = wanted / gain
    return sizes


def trainer_logprobs(
    model: Any, chat: Chat, prompt: Prompt, token_ids: Sequence[int], temperature: float
) -> list[float]:
    """Log-probs [tokens] of a completion from one plain forward pass, as a trainer computes them.

    Placeholders are removed from the distribution, as in the engines' sampling.
    """
    inputs = dict(chat.encode([prompt]).to(model.device))
    prompt_length = inputs["input_ids"].shape[1]
    completion = torch.tensor([list(token_ids)], device=model.device)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], completion], dim=1)
    for name, fill in (("attention_mask", 1), ("token_type_ids", 0), ("mm_token_type_ids", 0)):
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.full_like(completion, fill)], dim=1)
    with torch.no_grad(), as_trained(model):
        logits = model(**inputs).logits[0, prompt_length - 1 : -1].float() / temperature
    logits[:, chat.banned] = float("-inf")
    chosen: list[float] = torch.log_softmax(logits, -1).gather(1, completion[0][:, None])[:, 0].tolist()
    return chosen
