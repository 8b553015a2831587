"""Rollouts with transformers' `generate` on a CPU or a GPU, without additional packages."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import torch
from peft import PeftModel, load_peft_weights, set_peft_model_state_dict
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    TopKLogitsWarper,
)

from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, Completion, Prompt, Sampling, same_version


def as_trained(model: Any) -> torch.autocast:
    """The trainer's precision: 32-bit adapters on a bf16 base compute in 16 bits."""
    half = model.dtype == torch.bfloat16
    return torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=half)


class TransformersEngine:
    """Generates completions with a VLM of its own, and switches adapters by version.

    A prompt and its image are processed once for all samples: the cache of the prefill is repeated, not the
    prefill itself.

    Args:
        model: the base VLM in evaluation mode, used by this engine only.
        processor: the VLM's processor with a chat template.
        batch_size: number of sequences that are decoded together.
        max_adapters: versions kept loaded; publishing one more drops the least recently used.
    """

    def __init__(self, model: Any, processor: Any, *, batch_size: int = 512, max_adapters: int = 3) -> None:
        self._model: Any = model.eval()
        self._chat = Chat(processor, config=model.config, generation=model.generation_config)
        # A checkpoint's generation settings (min_p, suppressed tokens, beams ...) would change the sampling
        # distribution, but not the probabilities that the trainer computes.
        model.generation_config = GenerationConfig(
            eos_token_id=self._chat.end_ids, pad_token_id=self._chat.tokenizer.pad_token_id
        )
        self._batch_size = batch_size
        self._max_adapters = max_adapters
        self._loaded: dict[str, AdapterVersion] = {}  # by slot, the least recently used first
        self._configs: dict[str, str] = {}

    def publish(self, adapter: AdapterVersion) -> None:
        """Load a version from safetensors, if possible into the slot of a dropped one of the same shape."""
        slot = self._slot(adapter)
        if adapter.path is None or same_version(self._loaded.get(slot), adapter):
            return
        config = (adapter.path / "adapter_config.json").read_text()
        oldest = next(iter(self._loaded), "")
        if len(self._loaded) == self._max_adapters and self._configs[oldest] == config:
            weights = load_peft_weights(str(adapter.path), device=str(self._model.device))
            slot = oldest
            del self._loaded[oldest]
            found: Any = set_peft_model_state_dict(self._model, weights, adapter_name=oldest)
            assert not found.unexpected_keys, found.unexpected_keys
        elif self._loaded:
            self._model.load_adapter(str(adapter.path), adapter_name=slot)
        else:
            self._model = PeftModel.from_pretrained(self._model, str(adapter.path), adapter_name=slot)
        self._model.eval()
        self._loaded[slot], self._configs[slot] = adapter, config
        self._model.set_adapter(slot)  # so that the active one is never dropped
        for old in list(self._loaded)[: -self._max_adapters]:
            self._model.delete_adapter(old)
            del self._loaded[old], self._configs[old]

    def _slot(self, adapter: AdapterVersion) -> str:
        """PEFT's adapter name of a version: its slot if it is loaded, or a free one."""
        held = (slot for slot, one in self._loaded.items() if str(one) == str(adapter))
        free = (name for i in itertools.count() if (name := f"slot-{i}") not in self._loaded)
        return next(itertools.chain(held, free))

    def sleep(self) -> None:
        """Do nothing, because there is no memory to release besides the weights."""

    def close(self) -> None:
        """Release the model."""
        self._model = None

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        """See `RolloutEngine.generate`.

        Raises:
            KeyError: `adapter` was never published, or has been dropped since.
        """
        results: list[list[Completion]] = []
        per_batch = max(1, self._batch_size // sampling.n)
        # Batch prompts of similar length to reduce padding; the order is restored at the end.
        order = sorted(range(len(prompts)), key=lambda i: _text_length(prompts[i]))
        with torch.inference_mode(), torch.random.fork_rng(), as_trained(self._model):
            torch.manual_seed(sampling.seed)
            served = self._activate(adapter)
            for batch in _batches([prompts[i] for i in order], per_batch):
                results += self._generate_batch(batch, sampling=sampling, served=served)
        ordered: list[list[Completion]] = [[] for _ in prompts]
        for i, group in zip(order, results, strict=True):
            ordered[i] = group
        return ordered

    def _activate(self, adapter: AdapterVersion) -> AdapterVersion:
        """Switch to a version and return the one that is actually active in the model."""
        if adapter.path is None:
            if self._loaded:
                self._model.base_model.disable_adapter_layers()
            return adapter
        slot = self._slot(adapter)
        if slot not in self._loaded:
            held = [str(one) for one in self._loaded.values()]
            raise KeyError(f"adapter {adapter} is not loaded; publish it first. Loaded: {held}")
        self._model.base_model.enable_adapter_layers()
        self._model.set_adapter(slot)
        self._loaded[slot] = self._loaded.pop(slot)  # now the most recently used
        return self._loaded[self._model.active_adapter]

    def _generate_batch(
        self, prompts: Sequence[Prompt], *, sampling: Sampling, served: AdapterVersion
    ) -> list[list[Completion]]:
        inputs = dict(self._chat.encode(prompts).to(self._model.device))
        prompt_ids = [
            tuple(ids[mask.bool()].tolist())
            for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
        ]
        rows = self._decode(inputs, sampling=sampling)
        completions = [
            self._chat.completion(
                token_ids=ids, logprobs=logps, prompt_ids=prompt_ids[row // sampling.n], adapter=served
            )
            for row, (ids, logps) in enumerate(rows)
        ]
        return list(_batches(completions, sampling.n))

    def _decode(self, inputs: dict[str, Any], *, sampling: Sampling) -> list[tuple[list[int], list[float]]]:
        """Token ids and log-probs of every row, [prompts * n], from calls of `generate()` for a few tokens.

        Finished rows are removed between the calls, so short answers do not wait for the longest.
        """
        # For keywords in place of a configuration, `generate` builds the default configurations each time.
        options = GenerationConfig(
            do_sample=sampling.temperature > 0, top_k=0 if sampling.temperature > 0 else None,
            return_dict_in_generate=True, max_new_tokens=1,
        )  # fmt: skip
        if sampling.n > 1:
            # All prompt tokens except the last are run once per prompt, and the cache is repeated. It is
            # filled by generate(), too, so that both agree on the positions.
            head = {k: v[:, :-1] if k in _TOKEN_KEYS else v for k, v in inputs.items()}
            cache = self._model.generate(**head, generation_config=options).past_key_values
            cache.batch_repeat_interleave(sampling.n)
            self._change_offsets(lambda offsets: offsets.repeat_interleave(sampling.n, dim=0))
            tokens = {k: v for k, v in inputs.items() if k in _TOKEN_KEYS}
            inputs = {k: v.repeat_interleave(sampling.n, dim=0) for k, v in tokens.items()}
            inputs["past_key_values"] = cache
        done: list[tuple[list[int], list[float]]] = [([], []) for _ in inputs["input_ids"]]
        alive = list(range(len(done)))
        for start in range(0, sampling.max_tokens, STAGE):
            sampler = _Sampler(sampling, banned=self._chat.banned)
            options.max_new_tokens = min(STAGE, sampling.max_tokens - start)
            stage = self._model.generate(
                **inputs, generation_config=options, logits_processor=LogitsProcessorList([sampler])
            )
            new_ids = stage.sequences[:, inputs["input_ids"].shape[1] :]
            going_on = []
            for i, (ids, logps) in enumerate(
                zip(new_ids.tolist(), sampler.finish(new_ids).tolist(), strict=True)
            ):
                done[alive[i]][0].extend(ids)
                done[alive[i]][1].extend(logps)
                if not set(ids) & set(self._chat.end_ids):
                    going_on.append(i)
            if not going_on:
                break
            alive = [alive[i] for i in going_on]
            keep = torch.tensor(going_on, device=new_ids.device)
            inputs = _narrow(stage, inputs, keep)
            self._change_offsets(itemgetter(keep))
        return done

    def _change_offsets(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Select the same rows of the position offsets, which Qwen's models store, as in the cache."""
        for module in self._model.modules():
            if vars(module).get("rope_deltas") is not None:
                module.rope_deltas = change(module.rope_deltas)


STAGE = 16  # tokens decoded before finished rows are dropped
_TOKEN_KEYS = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


class _Sampler(LogitsProcessor):
    """Modifies the distribution that `generate` samples from, and records log-probs of the sampled tokens.

    Log-probs are those of the temperature-scaled logits over the whole vocabulary, before truncation and
    bans. The trainer computes the same distribution, so the importance ratio is one.
    """

    def __init__(self, sampling: Sampling, *, banned: list[int]) -> None:
        self._temperature = sampling.temperature or 1.0
        self._banned = banned
        self._truncate = TopKLogitsWarper(sampling.top_k) if sampling.top_k else None
        self._last: torch.Tensor | None = None
        self._chosen: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Record the last sampled token, then modify `scores` [rows, vocabulary]."""
        if self._last is not None:
            self._chosen.append(self._last.gather(1, input_ids[:, -1:]))
        scores = scores.float() / self._temperature
        self._last = torch.log_softmax(scores, dim=-1)
        if self._banned:
            scores = scores.index_fill(1, torch.tensor(self._banned, device=scores.device), float("-inf"))
        return self._truncate(input_ids, scores) if self._truncate else scores

    def finish(self, new_ids: torch.Tensor) -> torch.Tensor:
        """Log-probs [rows, tokens] of all sampled tokens."""
        assert self._last is not None
        self._chosen.append(self._last.gather(1, new_ids[:, -1:]))
        logprobs = torch.cat(self._chosen, dim=1)
        assert logprobs.shape == new_ids.shape, (logprobs.shape, new_ids.shape)
        return logprobs


def _narrow(stage: Any, inputs: dict[str, Any], keep: torch.Tensor) -> dict[str, Any]:
    """The inputs of the next call: rows `keep`, one more column per new token, and the cache."""
    new_tokens = stage.sequences.shape[1] - inputs["input_ids"].shape[1]
    narrowed: dict[str, Any] = {"input_ids": stage.sequences[keep], "past_key_values": stage.past_key_values}
    narrowed["past_key_values"].batch_select_indices(keep)
    for name in _TOKEN_KEYS[1:]:
        if name in inputs:
            rows = inputs[name][keep]
            new = rows.new_full((len(rows), new_tokens), 1 if name == "attention_mask" else 0)
            narrowed[name] = torch.cat([rows, new], dim=1)
    return narrowed


def _text_length(prompt: Prompt) -> int:
    return sum(len(str(message["content"])) for message in prompt.messages)


def _batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
