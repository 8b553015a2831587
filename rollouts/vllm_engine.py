"""Rollouts with vLLM in this process: the same completions as with transformers, and made for GPUs."""

import hashlib
from collections.abc import Sequence
from typing import Any

from PIL import Image
from transformers import AutoConfig, AutoProcessor, GenerationConfig
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

from rollouts.engine import AdapterVersion, Completion, Prompt, Sampling, end_ids, placeholder_ids

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the only sizes that vLLM 0.32 reserves room for


class VllmEngine:
    """Draws completions from a vLLM engine of its own, with adapters swapped by version.

    Every version gets a new name, a new number and its own path: vLLM's prefix cache knows adapters by name
    and path, so a path used twice would serve what the old weights computed (vllm-project/vllm#42125).
    `generate` returns only when all its requests are answered, so no swap meets a request in flight.

    Args:
        model: hub id or folder of the base VLM.
        lora_rank: of the adapters that will be published.
        max_adapters: versions kept loaded; publishing one more drops the least recently used.
        options: further arguments of `vllm.LLM`: `dtype`, `revision`, `max_model_len`, `seed`,
            `tensor_parallel_size`, `gpu_memory_utilization`, `quantization`, `mm_processor_kwargs` ...
    """

    def __init__(self, model: str, *, lora_rank: int, max_adapters: int = 3, **options: Any) -> None:
        self._llm = LLM(
            model,
            enable_lora=True,
            max_lora_rank=min(rank for rank in LORA_RANKS if rank >= lora_rank),
            max_loras=max_adapters,
            max_cpu_loras=max_adapters,
            logprobs_mode="processed_logprobs",
            disable_log_stats=True,
            **options,
        )
        same = {key: options[key] for key in ("revision", "trust_remote_code") if options.get(key)}
        self._processor: Any = AutoProcessor.from_pretrained(model, **same)
        config = AutoConfig.from_pretrained(model, **same)
        ends = GenerationConfig.from_pretrained(model, **same).eos_token_id
        self._end_ids = end_ids(ends)
        self._banned = {token: -100.0 for token in placeholder_ids(config, self._processor.tokenizer)}
        self._max_adapters = max_adapters
        self._loaded: dict[tuple[str, int], tuple[AdapterVersion, LoRARequest]] = {}
        self._published = 0

    def publish(self, adapter: AdapterVersion) -> None:
        """Load a version, under a name and a number that no other version ever had."""
        key = (adapter.name, adapter.version)
        if adapter.path is None or key in self._loaded:
            return
        self._published += 1
        request = LoRARequest(f"{adapter}", self._published, str(adapter.path.absolute()))
        while len(self._loaded) >= self._max_adapters:
            oldest = next(iter(self._loaded))
            self._llm.llm_engine.remove_lora(self._loaded.pop(oldest)[1].lora_int_id)
        self._llm.llm_engine.add_lora(request)
        self._loaded[key] = (adapter, request)

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        """See `RolloutEngine.generate`.

        Raises:
            KeyError: `adapter` was never published, or has been dropped since.
        """
        request = self._request(adapter)
        outputs = self._llm.generate(
            [self._as_vllm(prompt) for prompt in prompts],
            [self._params(sampling, seed=sampling.seed + i) for i in range(len(prompts))],
            lora_request=request,
            use_tqdm=False,
        )
        return [
            [self._completion(output, one, asked=adapter) for one in output.outputs] for output in outputs
        ]

    def close(self) -> None:
        """Stop vLLM's processes."""
        self._llm.llm_engine.engine_core.shutdown()

    def sleep(self) -> None:
        """Give the GPU back while the trainer works; the weights wait in main memory.

        The cache of encoded images is emptied too: sleeping alone keeps it, and it grows with each step.
        """
        self._llm.sleep(level=1)
        self._llm.llm_engine.reset_encoder_cache()

    def wake(self) -> None:
        """Take the GPU again."""
        self._llm.wake_up()

    def _request(self, adapter: AdapterVersion) -> LoRARequest | None:
        if adapter.path is None:
            return None
        key = (adapter.name, adapter.version)
        if key not in self._loaded:
            loaded = ", ".join(str(version) for version, _ in self._loaded.values())
            raise KeyError(f"adapter {adapter} is not loaded; publish it first. Loaded: {loaded}")
        self._loaded[key] = self._loaded.pop(key)  # now the most recently used
        return self._loaded[key][1]

    def _as_vllm(self, prompt: Prompt) -> dict[str, Any]:
        """One placeholder per image: vLLM expands them itself, and would expand expanded ones again."""
        text = self._processor.apply_chat_template(
            list(prompt.messages), add_generation_prompt=True, tokenize=False
        )
        request: dict[str, Any] = {"prompt": text}
        if prompt.images:
            request["multi_modal_data"] = {"image": list(prompt.images)}
            request["multi_modal_uuids"] = {"image": [image_id(image) for image in prompt.images]}
        return request

    def _params(self, sampling: Sampling, *, seed: int) -> SamplingParams:
        return SamplingParams(
            n=sampling.n,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_tokens,
            seed=seed,
            logprobs=0,
            logit_bias=self._banned or None,
            skip_special_tokens=True,
        )

    def _completion(self, output: Any, one: Any, *, asked: AdapterVersion) -> Completion:
        logprobs = tuple(step[token].logprob for step, token in zip(one.logprobs, one.token_ids, strict=True))
        served: LoRARequest | None = output.lora_request
        # What vLLM says it used, not what it was asked for; the base has no request.
        numbers = {request.lora_int_id: version for version, request in self._loaded.values()}
        version = numbers[served.lora_int_id] if served else AdapterVersion(name="base", version=0)
        return Completion(
            text=one.text,
            prompt_ids=tuple(output.prompt_token_ids),
            token_ids=tuple(one.token_ids),
            logprobs=logprobs,
            finish_reason="stop" if one.token_ids[-1] in self._end_ids else "length",
            adapter=asked if served is None and asked.path is None else version,
        )


def image_id(image: Image.Image) -> str:
    """The same for the same pixels, so that a picture is encoded once however often it is asked about."""
    digest = hashlib.sha256(f"{image.mode} {image.size} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
