"""How long a plan's work takes on a card: formulas and rules of thumb, which no run has confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass

from visplay.config.loading import Config
from visplay.loop.planning import USABLE, Plan
from visplay.loop.workload import ANSWER_TOKENS, Work
from visplay.models.cards import Card
from visplay.models.counting import Size

KV_OVERHEAD, SERVED, DECODED = 1.35, 0.6, 0.6  # LoRA's, of the bandwidth, of that after prefill, stragglers
TRAINED = 0.12  # of a card's bf16 operations; published runs have 6 to 19 %
FLOP_PER_TOKEN = 10  # times parameters: forward twice, backward of the inputs, two more log-probs
UNDER_WAY = 256  # sequences that vLLM decodes side by side, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a plan's times are told for.

    Attributes:
        card: each of them.
        engines: servers with a card each; 1 for an engine in the trainer's process.
        ranks: of the trainer, with a card each, >= 1.
    """

    card: Card
    engines: int = 1
    ranks: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Of one phase: what the engines generate, and what the trainer learns."""

    generating: float
    learning: float

    @property
    def total(self) -> float:
        """One after the other."""
        return self.generating + self.learning


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One optimizer step of a role, in seconds.

    Attributes:
        role: which.
        steps: of its phase.
        seconds: of one of them, votes included.
    """

    role: str
    steps: int
    seconds: Seconds

    @property
    def ahead(self) -> float:
        """Seconds of a step where the next is generated while it is learnt (`optimizer.ahead`)."""
        return max(self.seconds.generating, self.seconds.learning)

    @property
    def spared(self) -> float:
        """Seconds that it spares the phase: of its first step nothing is generated ahead."""
        return (self.steps - 1) * (self.seconds.total - self.ahead)


def hardware(config: Config, card: Card, *, ranks: int) -> Hardware:
    """The servers that the configuration names, or one engine, with `ranks` cards for the trainer."""
    own = config.engine
    engines = max(1, len(own.urls) or own.replicas) if own.backend == "server" else 1
    return Hardware(card=card, engines=engines, ranks=ranks)


def seconds(plan: Plan, work: Work, on: Hardware) -> Seconds:
    """How long the work takes: its tokens by the engines' rate, then what the trainer learns of them."""
    engine, trainer = plan.engine(), plan.trainer()
    beside = trainer.weights + trainer.standing if plan.shares or plan.backend == "transformers" else 0
    room = int(USABLE * on.card.memory - beside - engine.fixed)
    context = plan.batch.prompt + ANSWER_TOKENS
    under_way = work.completions // (max(1, work.steps) * on.engines)
    rate = decode_rate(plan.size, on.card, kv_room=max(0, room), context=context, under_way=under_way)
    return Seconds(
        generating=work.tokens / (rate * on.engines),
        learning=training_seconds(plan.size, on.card, tokens=work.learnt) / on.ranks,
    )


def optimizer_steps(works: Sequence[Work], times: Sequence[Seconds]) -> list[Step]:
    """One step of each trained role; to the Questioner's belong the votes on its questions.

    Args:
        works: of one iteration, see `iteration_work`.
        times: of each.
    """
    found: list[Step] = []
    for place, work in enumerate(works):
        if not work.learnt:
            continue
        own, steps = [times[place]], work.steps
        if work.phase == "questioner":
            own.append(times[place + 1])
        each = Seconds(
            generating=sum(time.generating for time in own) / steps,
            learning=sum(time.learning for time in own) / steps,
        )
        found.append(Step(role=work.phase, steps=steps, seconds=each))
    return found


def decode_rate(size: Size, card: Card, *, kv_room: int, context: int, under_way: int = UNDER_WAY) -> float:
    """Tokens per second of one vLLM engine on a card.

    Each step reads the weights and the cache of the n sequences under way once, at 0.6 of the bandwidth; LoRA
    takes 1.35 of the time, and prefill and stragglers leave 0.6 of it.

    Args:
        size: of the VLM.
        card: that it runs on.
        kv_room: bytes of its KV cache.
        context: tokens of a sequence, on average.
        under_way: sequences that there are to decode side by side.
    """
    count = max(1, min(UNDER_WAY, under_way, kv_room // max(1, context * size.kv_bytes)))
    read = size.weight_bytes + count * context * size.kv_bytes
    return DECODED * count / (KV_OVERHEAD * read / (SERVED * card.bandwidth))


def training_seconds(size: Size, card: Card, *, tokens: int) -> float:
    """Of the trainer, for so many tokens: `10 P` operations for each."""
    return FLOP_PER_TOKEN * size.parameters * tokens / (TRAINED * card.flops)
