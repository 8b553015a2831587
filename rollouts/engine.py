"""The protocol of rollout engines: prompts in, completions with token ids and log-probs out.

The loop uses this protocol only; the configuration selects the backend.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterVersion:
    """One published state of a LoRA adapter.

    Attributes:
        name: the owner of the weights, e.g. `shared`, `questioner` or `reasoner`.
        version: increases by one with every publication; never reused within a run.
        path: PEFT directory (`adapter_config.json`, `adapter_model.safetensors`),
            or None for the base VLM without an adapter.
    """

    name: str
    version: int
    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


BASE = AdapterVersion(name="base", version=0)  # the base VLM without an adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One chat prompt with its images.

    Attributes:
        messages: chat messages for transformers' chat templates; each image is a
            `{"type": "image"}` block, in the order of `images`.
        images: decoded RGB pictures.
        key: a stable name of the prompt for logs, routing and caches.
    """

    messages: tuple[dict[str, Any], ...]
    images: tuple[Image.Image, ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw completions.

    Attributes:
        n: completions per prompt, >= 1.
        temperature: >= 0; 0 is greedy decoding.
        top_k: 0 disables top-k truncation.
        max_tokens: length limit of a completion, in tokens.
        seed: seed of this call; the same call with the same seed gives the same completions.
        logprobs: whether log-probs are needed, as in training; they cost a server time.
    """

    n: int = 1
    temperature: float = 1.0
    top_k: int = 0
    max_tokens: int = 1024
    seed: int = 0
    logprobs: bool = True

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"sampling.n must be >= 1, got {self.n}")
        if self.temperature < 0:
            raise ValueError(f"sampling.temperature must be >= 0, got {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"sampling.top_k must be >= 0 (0 is off), got {self.top_k}")
        if self.max_tokens < 1:
            raise ValueError(f"sampling.max_tokens must be >= 1, got {self.max_tokens}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One sampled answer to one prompt.

    Attributes:
        text: decoded completion without special tokens; starts with `<think>` if the template opens it.
        prompt_ids: [prompt tokens] as expanded by the processor, including image tokens.
        token_ids: [tokens] sampled ids; ends with the end token when `finish_reason` is "stop";
            never empty.
        logprobs: [tokens] log-probability of each sampled token under the temperature-scaled
            distribution of `adapter`. With top_k, as in votes, transformers reports it before
            truncation and vLLM after; training uses no truncation. Empty if `sampling.logprobs`
            is False and the engine does not compute them anyway.
        finish_reason: "stop" at an end token, "length" at the limit `max_tokens`.
        adapter: the version that generated the completion, as reported by the engine.
    """

    text: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: Literal["stop", "length"]
    adapter: AdapterVersion


class RolloutEngine(Protocol):
    """A source of completions."""

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        """Draw `sampling.n` completions for each prompt.

        Returns [prompts][n] completions, in the order of the prompts, each made by `adapter`.
        """
        ...

    def publish(self, adapter: AdapterVersion) -> None:
        """Load `adapter` for calls of `generate`; unused older versions may be dropped.

        Raises:
            ValueError: this version was already published from another path.
        """
        ...

    def sleep(self) -> None:
        """Release the memory of an engine that shares the trainer's GPU until the next call."""
        ...

    def close(self) -> None:
        """Release processes and memory."""
        ...


def image_id(image: Image.Image) -> str:
    """A key of a picture's pixels, so that a picture is encoded once for many questions."""
    digest = hashlib.sha256(f"{image.mode} {image.size} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def same_version(held: AdapterVersion | None, offered: AdapterVersion) -> bool:
    """Whether `offered` is already loaded.

    Raises:
        ValueError: the version is loaded from another path, so its number was used twice.
    """
    if held is not None and held.path != offered.path:
        raise ValueError(f"adapter {offered} is already published from {held.path}, not {offered.path}")
    return held is not None


class EngineUnavailable(RuntimeError):
    """The engine no longer answers, or its answers are unusable; the message has the details."""


class RequestRefused(ValueError):
    """The engine rejects such a prompt permanently; the message says why and what to set."""
