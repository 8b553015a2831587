"""The model card of a base of the wide world: how well it answers each kind, and what it asks."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import rewards
from benchmarks.pocket_vlm.build import Recipe
from benchmarks.pocket_vlm.lessons import TYPES, WORDS
from benchmarks.pocket_vlm.wide import KNOWN
from rewards import Question
from rollouts.engine import BASE, RolloutEngine, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.prompts import JUDGE
from visplay.config.sections import Model
from visplay.evaluation.items import Item
from visplay.evaluation.prompts import item_prompt
from visplay.evaluation.statistics import accuracy_interval
from visplay.evaluation.verdict import estimate as show
from visplay.models.policy import load_base
from visplay.pocket.benchmark import wide
from visplay.pocket.oracle import WIDE, oracle, parse_query
from visplay.pocket.scenes import Split, render, sample_scenes
from visplay.prompts import questioner_prompt, reasoner_prompt
from visplay.storage import write_text

VOTES, LONGEST = 10, 100  # samples a question; tokens, of which the longest trace has about 90


@dataclass
class Answers:
    """How the questions of one kind were answered: [questions] each.

    Attributes:
        greedy: right, greedily.
        sampled: share right of ten samples at temperature 1.
        majority: whether the majority of these is right.
        any_right: whether one of them is.
    """

    greedy: list[bool] = field(default_factory=list)
    sampled: list[float] = field(default_factory=list)
    majority: list[bool] = field(default_factory=list)
    any_right: list[bool] = field(default_factory=list)

    def shares(self) -> list[float]:
        """Means of the four, in [0, 1]."""
        return [sum(own) / len(own) for own in (self.greedy, self.sampled, self.majority, self.any_right)]


def answers_by_kind(engine: RolloutEngine, items: list[Item]) -> dict[str, Answers]:
    """Ask the base greedily, and ten times at temperature 1."""
    prompts = [item_prompt(item, words=WORDS) for item in items]
    greedy = engine.generate(prompts, adapter=BASE, sampling=Sampling(temperature=0, max_tokens=LONGEST))
    sampled = engine.generate(prompts, adapter=BASE, sampling=Sampling(n=VOTES, max_tokens=LONGEST))
    found: dict[str, Answers] = defaultdict(Answers)
    for item, once, group in zip(items, greedy, sampled, strict=True):
        gold, own = item.gold.answers[0], found[item.kind]
        said = [rewards.extract_answer(one.text) for one in group]
        right = [answer == gold for answer in said]
        own.greedy.append(rewards.extract_answer(once[0].text) == gold)
        own.sampled.append(sum(right) / len(right))
        own.majority.append(rewards.vote(said).answer == gold)
        own.any_right.append(any(right))
    return found


def write_wide_card(folder: Path, *, recipe: Recipe, each: int = 30, split: Split = "warm-up-check") -> Path:
    """Measure the base in `folder` on `each` questions of each kind, and write `README.md` beside it."""
    engine = TransformersEngine(*load_base(Model(path=str(folder), dtype="float32")))
    found = answers_by_kind(engine, wide(each * len(WIDE), 0, split))
    rows = {kind: found[kind].shares() for kind in WIDE}
    mean = [sum(column) / len(rows) for column in zip(*rows.values(), strict=True)]
    taught = recipe.stages[-1].taught
    lines = [
        f"| {kind} | {100 * taught.get(kind, 0):.1f} | "
        + " | ".join(f"{100 * share:.0f}" for share in shares)
        + " |"
        for kind, shares in rows.items()
    ]
    parts = "\n".join(
        f"- {stage.steps} steps of {', '.join(f'{n} {kind}' for kind, n in stage.lessons.items())}"
        for stage in recipe.stages
    )
    text = f"""---
license: apache-2.0
pipeline_tag: image-text-to-text
---
# A base of the wide world

A synthetic laboratory model, an Idefics3 that answers twelve kinds of question about coloured shapes.
`python -m benchmarks.pocket_vlm DIR --world wide --seed {recipe.seed}`: from random weights, on
{recipe.scenes:,} scenes, AdamW, learning rate {recipe.learning_rate:g} with a cosine; no trace that it was
taught is wrong or hasty.

{parts}

Right, in %, on {each} questions of each kind about scenes it never saw; `taught` is the kind's share, in %,
of what the Reasoner was taught; samples are ten at temperature 1:

| kind | taught | greedy | a sample | majority of ten | one of ten |
|---|---|---|---|---|---|
{chr(10).join(lines)}
| mean | | {" | ".join(f"{100 * share:.1f}" for share in mean)} |

{_asked(engine, split)}
"""
    write_text(folder / "README.md", text)
    return folder / "README.md"


def _asked(engine: RolloutEngine, split: Split, count: int = 300) -> str:
    """What the Questioner asks, and what the judge says of it, in words."""
    scenes = list(sample_scenes(count, split=split, seed=0, style="wide"))
    prompts = [questioner_prompt(render(scene), types=TYPES, words=WORDS) for scene in scenes]
    groups = engine.generate(prompts, adapter=BASE, sampling=Sampling(n=4, max_tokens=64))
    parsed = [
        (scene, rewards.parse_question(one.text, types=TYPES))
        for scene, group in zip(scenes, groups, strict=True)
        for one in group
    ]
    asked = [(scene, found.question) for scene, found in parsed if isinstance(found, Question)]
    kinds = Counter(query.kind if (query := parse_query(text)) else "none" for _, text in asked)
    settled = [oracle(scene, text) is not None for scene, text in asked]
    judged = [
        reasoner_prompt(render(scene), JUDGE.format(question=text), words=WORDS) for scene, text in asked
    ]
    verdicts = [
        rewards.extract_answer(group[0].text) == "yes"
        for group in engine.generate(
            judged, adapter=BASE, sampling=Sampling(temperature=0, max_tokens=LONGEST)
        )
    ]
    passed = [truth for truth, verdict in zip(settled, verdicts, strict=True) if verdict]
    kept = [verdict for truth, verdict in zip(settled, verdicts, strict=True) if truth]
    shares = ", ".join(f"{kind} {100 * kinds[kind] / len(asked):.0f} %" for kind in (*WIDE, "none"))
    liked = 100 * sum(kinds[kind] for kind in KNOWN) / len(asked)
    return (
        f"As a Questioner, {len(parsed):,} questions at temperature 1: well-formed "
        f"{show(accuracy_interval([isinstance(found, Question) for _, found in parsed]))}, of these "
        f"answerable {show(accuracy_interval(settled))}; {liked:.0f} % of the four kinds that "
        f"it likes ({shares}).\n"
        f"As a judge of them, greedy: answerable of what it lets pass {show(accuracy_interval(passed))}, "
        f"let pass of what is answerable {show(accuracy_interval(kept))}."
    )
