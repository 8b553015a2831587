"""A rollout engine whose completions are written by a function."""

from collections.abc import Callable, Sequence

from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, Completion, Prompt, Sampling

Script = Callable[[Prompt, AdapterVersion, Sampling], Sequence[str]]


class ScriptedEngine:
    """Asks `script(prompt, adapter, sampling)` for the texts of each prompt and makes completions of them.

    Token ids are the UTF-8 bytes of the text plus an end token (256); with a `chat` they are a VLM's own, so
    that a trainer can learn from them. Each has log-prob 0. Every call is recorded in `calls` as (prompts,
    adapter, sampling).
    """

    def __init__(self, script: Script, *, chat: Chat | None = None) -> None:
        self._script, self._chat = script, chat
        self._published: set[tuple[str, int]] = set()
        self.calls: list[tuple[list[Prompt], AdapterVersion, Sampling]] = []

    def publish(self, adapter: AdapterVersion) -> None:
        """Note that a version may be asked for from now on."""
        self._published.add((adapter.name, adapter.version))

    def sleep(self) -> None:
        """Nothing to give back."""

    def close(self) -> None:
        """Nothing to give back."""

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        """See `RolloutEngine.generate`.

        Raises:
            KeyError: an adapter that was never published.
            ValueError: the script wrote another number of texts than `sampling.n`.
        """
        if adapter.path is not None and (adapter.name, adapter.version) not in self._published:
            raise KeyError(f"adapter {adapter} is not loaded; publish it first")
        self.calls.append((list(prompts), adapter, sampling))
        groups = []
        for prompt in prompts:
            texts = self._script(prompt, adapter, sampling)
            if len(texts) != sampling.n:
                raise ValueError(f"the script wrote {len(texts)} texts where sampling.n is {sampling.n}")
            groups.append([self._completion(prompt, text, adapter, sampling) for text in texts])
        return groups

    def _completion(
        self, prompt: Prompt, text: str, adapter: AdapterVersion, sampling: Sampling
    ) -> Completion:
        if self._chat is None:
            return _bytewise(prompt, text, adapter, sampling)
        ids = [*self._chat.tokenizer(text, add_special_tokens=False)["input_ids"], self._chat.end_ids[0]]
        ids = ids[: sampling.max_tokens]
        return self._chat.completion(
            token_ids=ids, logprobs=[0.0] * len(ids), adapter=adapter,
            prompt_ids=self._chat.encode([prompt])["input_ids"][0].tolist(),
        )  # fmt: skip


def _bytewise(prompt: Prompt, text: str, adapter: AdapterVersion, sampling: Sampling) -> Completion:
    ids = (*text.encode(), 256)
    cut = len(ids) > sampling.max_tokens
    ids = ids[: sampling.max_tokens]
    return Completion(
        text=bytes(i for i in ids if i < 256).decode(errors="ignore"),
        prompt_ids=tuple(str(prompt.messages).encode()),
        token_ids=ids,
        logprobs=(0.0,) * len(ids),
        finish_reason="length" if cut else "stop",
        adapter=adapter,
    )
