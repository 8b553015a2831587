"""Rollouts with vLLM in this process, for GPUs."""

import threading
from collections.abc import Sequence
from typing import Any

import torch
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

from rollouts.chat import Chat
from rollouts.engine import (
    BASE,
    AdapterVersion,
    Completion,
    Prompt,
    RequestRefused,
    Sampling,
    image_id,
    same_version,
)
from rollouts.servers.launch import reserved_rank

_Key = tuple[str, int]


class VllmEngine:
    """Generates completions with a vLLM engine of its own, and switches adapters by version.

    Every version gets a new name, a new number and its own path. vLLM's prefix cache identifies adapters by
    name and path, so a path used twice would return results of the old weights (vllm-project/vllm#42125). A
    swap waits until no request is in flight (vllm-project/vllm#47724).

    Args:
        model: hub id or folder of the base VLM.
        chat: converts this VLM's prompts to tokens.
        lora_rank: rank of the adapters that will be published; None reserves no memory for adapters.
        max_adapters: versions kept; publishing one more drops the least recently used.
        sleep: release the GPU memory to the trainer between calls; needs a GPU.
        options: further arguments of `vllm.LLM`: `dtype`, `revision`, `max_model_len`, `seed`,
            `tensor_parallel_size`, `gpu_memory_utilization`, `quantization`, `mm_processor_kwargs` ...

    Raises:
        ValueError: vLLM does not support the rank.
    """

    def __init__(
        self,
        model: str,
        *,
        chat: Chat,
        lora_rank: int | None,
        max_adapters: int = 3,
        sleep: bool = False,
        **options: Any,
    ) -> None:
        self._chat, self._sleep, self._max_adapters = chat, sleep, max_adapters
        self._asleep = False
        self._in_use = threading.Lock()  # held while requests are in flight or weights change
        self._published = 0
        if lora_rank is not None:
            options |= {
                "enable_lora": True,
                "max_lora_rank": reserved_rank(lora_rank),
                "max_loras": max_adapters,
                "max_cpu_loras": max_adapters,
            }
        settings = {"disable_log_stats": True, "enable_sleep_mode": sleep, **options}
        self._llm = LLM(model, logprobs_mode="processed_logprobs", **settings)
        self._loaded: dict[_Key, tuple[AdapterVersion, LoRARequest]] = {}

    def publish(self, adapter: AdapterVersion) -> None:
        """Load a version under a new name and number."""
        key = (adapter.name, adapter.version)
        held, _ = self._loaded.get(key, (None, None))
        if adapter.path is None or same_version(held, adapter):
            return
        with self._in_use:
            self._wake()
            self._published += 1
            request = LoRARequest(str(adapter), self._published, str(adapter.path.absolute()))
            while len(self._loaded) >= self._max_adapters:
                _, old_request = self._loaded.pop(next(iter(self._loaded)))
                self._llm.llm_engine.remove_lora(old_request.lora_int_id)
            self._llm.llm_engine.add_lora(request)
            self._loaded[key] = (adapter, request)

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        """See `RolloutEngine.generate`.

        Raises:
            KeyError: `adapter` was never published, or has been dropped since.
            RequestRefused: a prompt is longer than vLLM's limit.
        """
        with self._in_use:
            request = self._request(adapter)
            self._wake()
            outputs = self._together(
                [self._as_vllm(prompt) for prompt in prompts],
                [SamplingParams(**self._chat.parameters(sampling, prompt=i)) for i in range(len(prompts))],
                request,
            )
            served = [self._served(output, asked=adapter) for output in outputs]
        return [
            [
                self._chat.completion(
                    token_ids=one.token_ids,
                    logprobs=[
                        step[token].logprob
                        for step, token in zip(one.logprobs or (), one.token_ids, strict=bool(one.logprobs))
                    ],
                    prompt_ids=output.prompt_token_ids,
                    adapter=version,
                )
                for one in output.outputs
            ]
            for output, version in zip(outputs, served, strict=True)
        ]

    def sleep(self) -> None:
        """If `sleep` is set, release the GPU memory to the trainer and move the weights to main memory.

        The cache of encoded pictures is emptied, too: sleep mode keeps it, and it grows with each step.
        """
        if self._sleep and not self._asleep:
            with self._in_use:
                self._llm.sleep(level=1)
                self._llm.llm_engine.reset_encoder_cache()
                self._asleep = True

    def close(self) -> None:
        """Stop vLLM's processes."""
        self._llm.llm_engine.engine_core.shutdown()

    def _wake(self) -> None:
        if self._asleep:
            torch.cuda.empty_cache()  # memory that a trainer in this process has freed but cached
            self._llm.wake_up()
            self._asleep = False

    def _request(self, adapter: AdapterVersion) -> LoRARequest | None:
        if adapter.path is None:
            return None
        key = (adapter.name, adapter.version)
        if key not in self._loaded:
            loaded = ", ".join(str(version) for version, _ in self._loaded.values())
            raise KeyError(f"adapter {adapter} is not loaded; publish it first. Loaded: {loaded}")
        self._loaded[key] = self._loaded.pop(key)  # now the most recently used
        return self._loaded[key][1]

    def _served(self, output: Any, *, asked: AdapterVersion) -> AdapterVersion:
        """The version that vLLM reports, not the requested one."""
        if output.lora_request is None:
            return asked if asked.path is None else BASE
        numbers = {request.lora_int_id: version for version, request in self._loaded.values()}
        return numbers[output.lora_request.lora_int_id]

    def _together(
        self, requests: list[Any], sampling: list[SamplingParams], adapter: LoRARequest | None
    ) -> list[Any]:
        """Outputs in the requests' order, bit-identical regardless of earlier calls.

        The rounding of log-probs depends on the batch. vLLM's scheduler runs in a separate process, batches
        the requests that have arrived, and reuses cached results of earlier calls. It is therefore paused
        until all requests have arrived, and starts with empty caches.
        """
        self._forget()
        self._llm.sleep(level=0)  # stops the scheduler; the weights stay where they are
        try:
            self._enqueue(requests, sampling, adapter)
        finally:
            self._llm.wake_up(tags=["scheduling"])
        return self._llm.wait_for_completion(use_tqdm=False)

    def _enqueue(
        self, requests: list[Any], sampling: list[SamplingParams], adapter: LoRARequest | None
    ) -> None:
        try:
            self._llm.enqueue(requests, sampling, lora_request=adapter, use_tqdm=False)
        except ValueError as error:
            raise RequestRefused(
                f"vLLM rejects a prompt: {error}; if it is too long, raise engine.vllm.max_model_len, or "
                "lower model.max_pixels or max_tokens"
            ) from error

    def _forget(self) -> None:
        """Empty the caches of prefixes and of encoded pictures; no request may be in flight."""
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM kept its prefix cache although no request is in flight")
        self._llm.llm_engine.reset_encoder_cache()

    def _as_vllm(self, prompt: Prompt) -> Any:
        """Build a request with one placeholder per picture, which vLLM expands itself."""
        request: dict[str, Any] = {"prompt_token_ids": self._chat.ids(prompt)}
        if prompt.images:
            request["multi_modal_data"] = {"image": list(prompt.images)}
            request["multi_modal_uuids"] = {"image": [image_id(image) for image in prompt.images]}
        return request
