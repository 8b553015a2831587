"""Convert chat messages to token ids and back, in the same way for all engines of one VLM."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from transformers import AutoConfig, GenerationConfig

from rollouts.engine import AdapterVersion, Completion, Prompt, Sampling

# Finite for JSON; a token with this bias is never sampled at temperatures below a million.
BAN = -1e9
_THINKING = ("<think>", "</think>")  # a prompt may ask for these tags, which open no turn
_PLACEHOLDERS = ("image_token_id", "video_token_id", "image_token_index", "video_token_index")


class Chat:
    """Converts prompts to tokens and tokens to completions with the VLM's processor and template.

    Args:
        processor: the VLM's processor with a chat template.
        config: the VLM's configuration, which names the placeholder tokens of pictures.
        generation: the VLM's generation configuration, which names the end tokens.

    Raises:
        ValueError: the processor has no chat template.
    """

    def __init__(self, processor: Any, *, config: Any, generation: Any) -> None:
        if not getattr(processor, "chat_template", None):
            raise ValueError(
                f"{type(processor).__name__} has no chat template; choose an instruction-tuned VLM, or add a "
                "chat_template.jinja to the model's folder"
            )
        self.processor = processor
        self.tokenizer = processor.tokenizer
        ends = generation.eos_token_id if generation.eos_token_id is not None else self.tokenizer.eos_token_id
        self.end_ids: list[int] = [ends] if isinstance(ends, int) else list(ends)
        # A placeholder that is sampled as text would break the next forward pass.
        ids = {getattr(config, name, None) for name in _PLACEHOLDERS}
        self.banned: list[int] = sorted(
            i for i in ids if isinstance(i, int) and 0 <= i < len(self.tokenizer) and i not in self.end_ids
        )

    @classmethod
    def load(cls, processor: Any, source: str, **options: Any) -> "Chat":
        """Read both configurations from `source`, for an engine that holds the weights elsewhere."""
        config = AutoConfig.from_pretrained(source, **options)
        try:
            generation = GenerationConfig.from_pretrained(source, **options)
        except OSError:  # the file is optional
            generation = GenerationConfig.from_model_config(config)
        return cls(processor, config=config, generation=generation)

    @cached_property
    def control_tokens(self) -> frozenset[str]:
        """Texts that the tokenizer maps to control tokens: placeholders, ends, roles, any added token."""
        texts = {token.content for token in self.tokenizer.added_tokens_decoder.values()}
        for source in (self.processor, self.tokenizer):
            named = vars(source).items()
            texts.update(v for k, v in named if isinstance(v, str) and k.endswith(("_token", "_tag")))
        texts.update(self.tokenizer.all_special_tokens)
        kept = {text for text in texts if len(text) > 2 and not text.isalnum() and text.strip() == text}
        return frozenset(kept - {*_THINKING, ""})

    @cached_property
    def _spelled(self) -> re.Pattern[str]:
        longest_first = sorted(self.control_tokens, key=lambda token: (-len(token), token))
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def neutral(self, text: str) -> str:
        """Insert a space into each control token in a text: `<|im_end|>` becomes `< |im_end|>`."""
        if self._spelled.search(unicodedata.normalize("NFKC", text)) and not self._spelled.search(text):
            text = unicodedata.normalize("NFKC", text)  # some tokenizers normalize wide letters first
        while self._spelled.search(text):
            text = self._spelled.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
        return text

    def messages(self, prompt: Prompt) -> list[dict[str, Any]]:
        """The prompt's messages without control tokens in texts; a trainer must also render these."""
        return [
            {**message, "content": self._neutral(self._with_names(message["content"]))}
            for message in prompt.messages
        ]

    @cached_property
    def _pictures_first(self) -> bool:
        """Whether the template moves pictures from inside a text to its beginning."""
        content = [{"type": "text", "text": "before"}, {"type": "image"}, {"type": "text", "text": "behind"}]
        rendered = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        between = str(rendered).partition("before")[2].partition("behind")
        return bool(between[1]) and not between[0].strip()

    def _with_names(self, content: Any) -> Any:
        """If the template moves pictures out of a text, replace them there by their numbers."""
        if isinstance(content, str) or sum(block["type"] == "image" for block in content) < 2:
            return content
        if all(block["type"] != "text" for block in content[:-1]) or not self._pictures_first:
            return content
        blocks: list[dict[str, Any]] = []
        pictures = 0
        for block in content:
            blocks.append(block)
            pictures += block["type"] == "image"
            if block["type"] == "image" and any(one["type"] == "text" for one in blocks):
                blocks.append({"type": "text", "text": f"(picture {pictures})"})
        return blocks

    def _neutral(self, content: Any) -> Any:
        if isinstance(content, str):
            return self.neutral(content)
        blocks: list[dict[str, Any]] = []
        for block in content:
            if block["type"] == "text" and blocks and blocks[-1]["type"] == "text":
                blocks[-1] = {"type": "text", "text": blocks[-1]["text"] + block["text"]}
            else:
                blocks.append(block)
        return [
            {**block, "text": self.neutral(block["text"])} if block["type"] == "text" else block
            for block in blocks
        ]

    def text(self, prompt: Prompt) -> str:
        """Render a prompt with one placeholder per picture and no other control token in its texts."""
        rendered = self.processor.apply_chat_template(
            self.messages(prompt), add_generation_prompt=True, tokenize=False
        )
        return str(rendered)

    @cached_property
    def opening(self) -> str:
        """`<think>` if the template opens the completion's reasoning itself, else an empty string."""
        asked = ({"role": "user", "content": [{"type": "text", "text": "?"}]},)
        return "<think>\n" if self.text(Prompt(messages=asked)).rstrip().endswith("<think>") else ""

    def ids(self, prompt: Prompt) -> list[int]:
        """Token ids [tokens] of the rendered prompt for vLLM, which expands one placeholder per picture."""
        text = self.text(prompt)
        ids = self.tokenizer(text, **self._no_second_start([text]))["input_ids"]
        return [int(i) for i in ids]

    def encode(self, prompts: Sequence[Prompt]) -> Any:
        """The model's inputs: ids [prompts, tokens] with expanded placeholders, padded left, and pixels."""
        texts = [self.text(prompt) for prompt in prompts]
        images = [list(prompt.images) for prompt in prompts]
        return self.processor(
            text=texts,
            images=images if any(images) else None,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            **self._no_second_start(texts),
        )

    def parameters(self, sampling: Sampling, *, prompt: int) -> dict[str, Any]:
        """The arguments of `vllm.SamplingParams` for the prompt with index `prompt` in a call."""
        return {
            "n": sampling.n,
            "temperature": sampling.temperature,
            "top_p": 1.0,
            "top_k": sampling.top_k,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "max_tokens": sampling.max_tokens,
            "seed": _seed(sampling.seed, prompt),
            "stop_token_ids": self.end_ids,
            "ignore_eos": True,  # vLLM also stops at the tokenizer's own end token, transformers does not
            "logprobs": 0 if sampling.logprobs else None,  # of the sampled token alone
            "logit_bias": dict.fromkeys(self.banned, BAN) or None,
            "detokenize": False,
        }

    def completion(
        self,
        *,
        token_ids: Sequence[int],
        logprobs: Sequence[float],
        prompt_ids: Sequence[int],
        adapter: AdapterVersion,
    ) -> Completion:
        """Build a completion from sampled tokens; tokens after the end token are removed."""
        ends = [i for i, token in enumerate(token_ids) if token in self.end_ids]
        length = ends[0] + 1 if ends else len(token_ids)
        assert length and len(logprobs) in (0, len(token_ids)), (length, len(logprobs), len(token_ids))
        return Completion(
            text=self.opening + self.tokenizer.decode(token_ids[:length], skip_special_tokens=True),
            prompt_ids=tuple(prompt_ids),
            token_ids=tuple(token_ids[:length]),
            logprobs=tuple(logprobs[:length]),
            finish_reason="stop" if ends else "length",
            adapter=adapter,
        )

    def _no_second_start(self, texts: Sequence[str]) -> dict[str, Any]:
        """Tokenizer arguments that prevent a second start token if the template writes one."""
        start = self.tokenizer.bos_token
        return {"add_special_tokens": False} if start and texts[0].startswith(start) else {}


def _seed(seed: int, prompt: int) -> int:
    """A seed with large gaps between prompts: vLLM adds 0 ... n-1 to it for the n samples of a prompt."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt}".encode()).digest()[:6], "big")
