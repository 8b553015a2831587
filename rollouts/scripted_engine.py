"""A rollout engine whose completions are written by a function: the public test double."""

from collections.abc import Callable, Sequence

from rollouts.engine import AdapterVersion, Completion, Prompt, Sampling

Script = Callable[[Prompt, AdapterVersion, Sampling], Sequence[str]]


class ScriptedEngine:
    """Asks `script(prompt, adapter, sampling)` for the texts of each prompt and makes completions of them.

    Token ids are the UTF-8 bytes of the text plus an end token (256), each with log-prob 0. Every call is
    recorded in `calls` as (prompts, adapter, sampling).
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._published: set[tuple[str, int]] = set()
        self.calls: list[tuple[list[Prompt], AdapterVersion, Sampling]] = []

    def publish(self, adapter: AdapterVersion) -> None:
        """Note that a version may be asked for from now on."""
        self._published.add((adapter.name, adapter.version))

    def rest(self) -> None:
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
            groups.append([_completion(prompt, text, adapter, sampling) for text in texts])
        return groups


def _completion(prompt: Prompt, text: str, adapter: AdapterVersion, sampling: Sampling) -> Completion:
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
