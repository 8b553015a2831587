"""Guards against collapse, each an option of `guards`: what is learned from besides the latest labels.

Silver answers of silver-trained models decay from iteration to iteration (arXiv 2511.15661, Table 2). A share
of questions by the base model, and earlier examples beside the new ones, keep training from drifting with the
last model's mistakes alone, as accumulated data does elsewhere (arXiv 2404.01413); a few labelled examples
anchor it (R-Few, arXiv 2512.02472).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rewards import Vote
from rollouts.engine import Prompt
from visplay.config.loading import Config
from visplay.errors import ConfigError
from visplay.evaluation.benchmarks import load_benchmark
from visplay.evaluation.prompts import item_prompt
from visplay.evaluation.spec import expand
from visplay.loop.context import Table
from visplay.loop.silver import SilverExample
from visplay.prompts import reasoner_prompt
from visplay.seeds import draw, mix_seed

ANCHOR_SPLIT: Literal["development"] = "development"  # of pocket scenes and easy-vqa: never the held-out one


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One prompt of the Reasoner's phase and the vote that its answers are rewarded by.

    Attributes:
        origin: `silver`, an example of this iteration; `replay`, of an earlier one; `anchor`, a labelled one.
    """

    prompt: Prompt
    question: str
    vote: Vote
    origin: Literal["silver", "replay", "anchor"]


def asked_by_base(table: Table, keys: Sequence[str], *, seed: int) -> set[str]:
    """The pictures that the base model asks about in curation, in place of the trained Questioner."""
    share = table.config.guards.base_questions
    return set(draw(list(keys), round(share * len(keys)), seed=mix_seed(seed, "base questions")))


def draw_lessons(
    table: Table,
    silver: Sequence[SilverExample],
    *,
    earlier: Sequence[SilverExample],
    count: int,
    seed: int,
) -> list[Lesson]:
    """`count` lessons, drawn by seed: anchors and replayed examples in the shares of `guards`, the rest new.

    Args:
        table: pictures and configuration.
        silver: what this iteration kept.
        earlier: what the iterations before it kept; where there is nothing, new ones take the place.
        count: steps times prompts per step.
        seed: of the phase.

    Raises:
        ConfigError: see `load_anchors`.
    """
    guards = table.config.guards
    anchors = draw(load_anchors(table.config), round(guards.anchors * count), seed=mix_seed(seed, "anchors"))
    replayed = draw(list(earlier), round(guards.replay * count), seed=mix_seed(seed, "replay"))
    fresh = draw(list(silver), count - len(anchors) - len(replayed), seed=seed)
    pictures = {key: table.images.load(key) for key in {example.image_key for example in fresh + replayed}}

    def lesson(example: SilverExample, origin: Literal["silver", "replay"]) -> Lesson:
        key, question = example.image_key, example.question
        prompt = reasoner_prompt(pictures[key], question, key=key)
        return Lesson(prompt=prompt, question=question, vote=example.vote, origin=origin)

    return [
        *anchors,
        *(lesson(example, "silver") for example in fresh),
        *(lesson(example, "replay") for example in replayed),
    ]


def load_anchors(config: Config) -> list[Lesson]:
    """The labelled examples, each with its gold answer as if all had voted for it.

    Raises:
        ConfigError: the benchmark is one that the run is measured by, or its answers need a judge.
    """
    guards, evaluation = config.guards, config.evaluation
    if not guards.anchors:
        return []
    lessons = []
    measured = {spec.id for spec in expand(evaluation.benchmarks)}
    for spec in expand([guards.anchor_benchmark]):
        if spec.id in measured and (not spec.source.function or evaluation.split == ANCHOR_SPLIT):
            raise ConfigError(
                f"guards.anchor_benchmark: {spec.id} is what evaluation.benchmarks measures by; what is "
                "trained on cannot measure. Name other labelled examples, e.g. a YAML file of your own"
            )
        items = load_benchmark(
            spec, limit=guards.anchor_limit, seed=config.seed, split=ANCHOR_SPLIT,
            source=evaluation.sources.get(spec.id),
        )  # fmt: skip
        for item in items:
            if item.gold.rule == "judge":
                raise ConfigError(
                    f"guards.anchor_benchmark: answers of {spec.id} need a judge; a rule must do"
                )
            gold = item.gold.answers[0]
            vote = Vote(answer=gold, confidence=1.0, parsed=1, samples=1, shares=((gold, 1.0),))
            prompt = item_prompt(item)
            lessons.append(Lesson(prompt=prompt, question=item.question, vote=vote, origin="anchor"))
    return lessons
