"""Before the first step: does the engine compute what the trainer computes?"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from rollouts.canary import Agreement, check_engine
from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, EngineUnavailable, Prompt, RolloutEngine
from visplay.errors import PreflightError
from visplay.models.policy import Policy
from visplay.prompts import reasoner_prompt

TOLERANCE = {torch.float32: 1e-4}  # nats, on average over tokens
HALF_PRECISION_TOLERANCE = 0.1  # a guess for 16-bit types: no such engine has been run yet


def run_canaries(engine: RolloutEngine, *, policy: Policy, picture: Image.Image) -> Agreement:
    """Run the canaries of `rollouts.canary` with a probe adapter on one of the run's pictures.

    Raises:
        PreflightError: one of them died.
    """
    chat = policy.chat
    with tempfile.TemporaryDirectory(prefix="visplay-canary-") as folder:
        probe = AdapterVersion(name="canary", version=0, path=Path(folder) / "canary-0")
        policy.create_adapter(probe, seed=0)
        randomize_lora_b(probe, size=0.05)
        model = policy.with_adapter(probe).eval()
        try:
            return check_engine(
                engine,
                chat=chat,
                prompt=reasoner_prompt(picture, "What is in the picture?"),
                adapter=probe,
                reference=lambda *asked: trainer_logprobs(model, chat, *asked),
                tolerance=TOLERANCE.get(policy.model.dtype, HALF_PRECISION_TOLERANCE),
            )
        except EngineUnavailable as error:
            raise PreflightError(f"engine.backend: {error}") from error
        finally:
            policy.without_adapter(model)


def randomize_lora_b(adapter: AdapterVersion, *, size: float, seed: int = 0) -> None:
    """Give a new adapter, which changes nothing, random B of standard deviation `size`."""
    assert adapter.path is not None
    file = adapter.path / "adapter_model.safetensors"
    generator = torch.Generator().manual_seed(seed)
    tensors = load_file(file)
    for name, tensor in tensors.items():
        if "lora_B" in name:
            tensors[name] = (size * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
    save_file(tensors, file, metadata={"format": "pt"})


def trainer_logprobs(
    model: Any, chat: Chat, prompt: Prompt, token_ids: Sequence[int], temperature: float
) -> list[float]:
    """Log-probs [tokens] of a completion by one plain forward pass, as a trainer computes them.

    Placeholders are taken out of the distribution, as they are when engines sample.
    """
    inputs = dict(chat.encode([prompt]).to(model.device))
    prompt_length = inputs["input_ids"].shape[1]
    completion = torch.tensor([list(token_ids)], device=model.device)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], completion], dim=1)
    for name, fill in (("attention_mask", 1), ("token_type_ids", 0), ("mm_token_type_ids", 0)):
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.full_like(completion, fill)], dim=1)
    with torch.no_grad():
        logits = model(**inputs).logits[0, prompt_length - 1 : -1].float() / temperature
    logits[:, chat.banned] = float("-inf")
    chosen: list[float] = torch.log_softmax(logits, -1).gather(1, completion[0][:, None])[:, 0].tolist()
    return chosen
