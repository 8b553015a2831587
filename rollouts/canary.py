"""Canary tests at the start of a run, which detect silent errors of rollouts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, EngineUnavailable, Prompt, RolloutEngine, Sampling

NO_EFFECT = 1e-5  # nats; a smaller effect of the probe adapter counts as none
# [tokens] log-probs of a completion by the trainer's own forward, with the adapter under test.
Reference = Callable[[Prompt, Sequence[int], float], Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The results of passed canary tests.

    Attributes:
        prompt_tokens: tokens of the probe prompt with expanded pictures.
        adapter_effect: mean change of log-probs by the probe adapter, in nats; > 0.
        disagreement: mean distance of the engine's log-probs from the trainer's, in nats.
    """

    prompt_tokens: int
    adapter_effect: float
    disagreement: float


def check_engine(
    engine: RolloutEngine,
    *,
    chat: Chat,
    prompt: Prompt,
    adapter: AdapterVersion,
    reference: Reference,
    tolerance: float,
) -> Agreement:
    """Publish a probe adapter, sample with and without it, and compare with the trainer.

    Args:
        engine: the engine under test.
        chat: converts prompts with the trainer's processor.
        prompt: a prompt with at least one picture.
        adapter: an adapter that changes the distribution; not one of the run's.
        reference: the trainer's log-probs with `adapter`.
        tolerance: mean distance of log-probs beyond which the engine is wrong, in nats.

    Raises:
        EngineUnavailable: the engine expands prompts differently, answers with another version, ignores
            adapters, or computes other log-probs.
    """
    # The temperature is not 1, where log-probs before and after scaling are equal. It is high, because the
    # log-probs of a model that is certain of its tokens are the same with every adapter.
    sampling = Sampling(n=2, temperature=1.5, max_tokens=8, seed=0)
    base = AdapterVersion(name="base", version=0)
    engine.publish(adapter)
    want = [int(i) for i in chat.encode([prompt])["input_ids"][0]]
    gaps: dict[AdapterVersion, list[float]] = {base: [], adapter: []}
    for version in (base, adapter):
        for completion in engine.generate([prompt], adapter=version, sampling=sampling)[0]:
            got = list(completion.prompt_ids)
            if got != want:
                placeholders = [sum(i in chat.banned for i in ids) for ids in (got, want)]
                raise EngineUnavailable(
                    f"engine and processor expand a prompt differently: {len(got)} tokens with "
                    f"{placeholders[0]} for pictures, against {len(want)} with {placeholders[1]}; give "
                    "both the same revision, and servers the same mm_processor_kwargs"
                )
            if completion.adapter != version:
                raise EngineUnavailable(f"requested {version} for a completion, got {completion.adapter}")
            ours = reference(prompt, completion.token_ids, sampling.temperature)
            gaps[version] += [abs(a - b) for a, b in zip(completion.logprobs, ours, strict=True)]
    # The reference has the adapter, so the base must disagree with it far more than the adapter does.
    effect, disagreement = (sum(gaps[version]) / len(gaps[version]) for version in (base, adapter))
    if effect < 2 * disagreement or effect < NO_EFFECT:
        raise EngineUnavailable(
            f"with an adapter the engine's log-probs are {disagreement:.2g} from the trainer's, without it "
            f"{effect:.2g}: it is not applied; check lora.targets, and that servers run with --enable-lora"
        )
    if disagreement > tolerance:
        raise EngineUnavailable(
            f"log-probs of engine and trainer with one adapter are {disagreement:.2g} nats apart, more than "
            f"{tolerance:g}; give both the same weights and dtype, and servers "
            "--logprobs-mode processed_logprobs"
        )
    return Agreement(prompt_tokens=len(want), adapter_effect=effect, disagreement=disagreement)
