"""What the Reasoner is trained on: silver examples, and what the guards put beside them against collapse.

Silver answers of silver-trained models decay from iteration to iteration (arXiv 2511.15661, Table 2). A share
of questions by the base model, and earlier examples beside the new ones, keep training from drifting with the
last model's mistakes alone, as accumulated data does elsewhere (arXiv 2404.01413); a few labelled examples
anchor it (R-Few, arXiv 2512.02472).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
from PIL import Image

from rewards import Question, Vote
from rollouts.engine import Prompt
from visplay.config.loading import Config
from visplay.config.prompts import Prompts
from visplay.errors import ConfigError
from visplay.evaluation.benchmarks import load_benchmark
from visplay.evaluation.items import Item
from visplay.evaluation.prompts import item_prompt
from visplay.evaluation.spec import expand
from visplay.loop.rows import Asked
from visplay.prompts import reasoner_prompt
from visplay.seeds import draw, mix_seed

ANCHOR_SPLIT: Literal["development"] = "development"  # where there are two: never the held-out one


@dataclass(frozen=True, slots=True, kw_only=True)
class SilverExample:
    """A picture's key, a question about it and the vote that answered it."""

    picture: str
    question: Question
    vote: Vote


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingExample:
    """One prompt of the Reasoner's phase and the vote that its answers are rewarded by.

    Attributes:
        picture: key of the picture, or of the labelled item.
        question: what is asked, with its options.
        vote: the silver answer with its confidence; of a labelled item the gold answer, as if all had
            voted for it.
        origin: `silver`, an example of this iteration; `replay`, of an earlier one; `anchor`, a labelled one.
        item: the labelled item; None for the others.
    """

    picture: str
    question: Question
    vote: Vote
    origin: Literal["silver", "replay", "anchor"]
    item: Item | None = field(default=None, compare=False)  # opens its pictures anew each time

    def prompt(self, picture: Callable[[str], Image.Image], *, words: Prompts) -> Prompt:
        """What the Reasoner is asked, in these words; `picture` loads the one of a key."""
        if self.item is not None:
            return item_prompt(self.item, words=words)
        kind, text = self.question.type, self.question.question
        return reasoner_prompt(picture(self.picture), text, words=words, kind=kind, key=self.picture)


def read_examples(folder: Path) -> list[SilverExample]:
    """The examples that a curation kept, from its `candidates.parquet`; none where there is none."""
    file = folder / "candidates.parquet"
    stored = pq.read_table(file, filters=[("kept", "==", True)]).to_pylist() if file.is_file() else []
    rows = [Asked.from_record(row) for row in stored]
    return [
        SilverExample(picture=row.picture, question=row.question, vote=row.vote)
        for row in rows
        if isinstance(row.question, Question) and row.vote is not None
    ]


def asked_by_base(config: Config, keys: Sequence[str], *, seed: int) -> set[str]:
    """The pictures that the base model asks about in curation, in place of the trained Questioner."""
    share = config.guards.base_questions
    return set(draw(list(keys), round(share * len(keys)), seed=mix_seed(seed, "base questions")))


def draw_examples(
    config: Config,
    silver: Sequence[SilverExample],
    *,
    earlier: Sequence[SilverExample],
    count: int,
    seed: int,
) -> list[TrainingExample]:
    """`count` examples, drawn by seed: anchors and replayed ones in the shares of `guards`, the rest new.

    Args:
        config: of the run.
        silver: what this iteration kept.
        earlier: what the iterations before it kept; where there is nothing, new ones take the place.
        count: steps times prompts per step.
        seed: of the phase.

    Raises:
        ConfigError: see `load_anchors`.
    """
    guards = config.guards
    anchors = draw(load_anchors(config), round(guards.anchors * count), seed=mix_seed(seed, "anchors"))
    replayed = draw(list(earlier), round(guards.replay * count), seed=mix_seed(seed, "replay"))
    fresh = draw(list(silver), count - len(anchors) - len(replayed), seed=seed)

    def training(example: SilverExample, origin: Literal["silver", "replay"]) -> TrainingExample:
        return TrainingExample(
            picture=example.picture, question=example.question, vote=example.vote, origin=origin
        )

    return [
        *anchors,
        *(training(example, "silver") for example in fresh),
        *(training(example, "replay") for example in replayed),
    ]


def load_anchors(config: Config) -> list[TrainingExample]:
    """The labelled examples, each with its gold answer as if all had voted for it.

    Raises:
        ConfigError: the benchmark is one that the run is measured by, or its answers need a judge.
    """
    guards, evaluation = config.guards, config.evaluation
    if not guards.anchors:
        return []
    examples = []
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
            question = Question(type="", question=item.question, answer="", options=item.gold.options)
            examples.append(
                TrainingExample(picture=item.key, question=question, vote=vote, origin="anchor", item=item)
            )
    return examples
