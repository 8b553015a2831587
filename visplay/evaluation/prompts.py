"""From items to prompts, and to the controls: the same questions with something taken away."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from PIL import Image

from rewards.answers.choices import option_label, option_place
from rollouts.engine import Prompt
from visplay.config.prompts import Prompts
from visplay.data.images import greyed_out
from visplay.evaluation.items import Item
from visplay.prompts import benchmark_prompt

Pictures = tuple[Image.Image, ...]
Control = Literal["blind", "shuffled", "permuted"]
CONTROLS: tuple[Control, ...] = ("blind", "shuffled", "permuted")


# The question type that a scoring rule is of, for the form of the answer.
KINDS = {"choice": "multiple choice", "yes_no": "yes/no", "number": "numerical"}


def item_prompt(item: Item, *, words: Prompts) -> Prompt:
    """The prompt of an item, in the Reasoner's own words."""
    return benchmark_prompt(
        item.images(), item.question, words=words, options=item.options,
        kind=KINDS.get(item.gold.rule, ""), key=item.key,
    )  # fmt: skip


def greyed(pictures: Pictures) -> Pictures:
    """Mid-grey pictures of the same sizes."""
    return tuple(greyed_out(picture) for picture in pictures)


def controlled(items: Sequence[Item], control: Control, *, seed: int) -> list[Item]:
    """The items under a control; those it cannot be applied to are left out.

    `blind` greys the pictures out; `shuffled` shows the pictures of another item, of another cluster and as
    many of them; `permuted` puts the options in another order.
    """
    if control == "blind":
        return [replace(item, images=lambda item=item: greyed(item.images())) for item in items]  # type: ignore[misc]
    if control == "permuted":
        return [made for item in items if (made := permuted(item, seed=seed)) is not None]
    rng = random.Random(f"{seed}:shuffled")
    partners = list(items)
    rng.shuffle(partners)
    swapped: list[Item] = []
    for item, partner in zip(items, partners, strict=True):
        others = (p for p in [partner, *partners] if p.cluster != item.cluster)
        other = next(others, None)
        if other is not None:
            swapped.append(replace(item, images=lambda item=item, other=other: _swapped(item, other)))  # type: ignore[misc]
    return swapped


def permuted(item: Item, *, seed: int) -> Item | None:
    """The item with its options in another order; None where it has none that are shown below it."""
    gold = item.gold
    if gold.rule != "choice" or len(item.options) < 2 or len(gold.options) != len(item.options):
        return None
    order = list(range(len(item.options)))
    shift = random.Random(f"{seed}:{item.key}").randrange(1, len(order))
    order = order[shift:] + order[:shift]  # every option moves
    places = sorted(order.index(option_place(label)) for label in gold.answers[0].split(","))
    letter = ",".join(map(option_label, places))
    options = tuple(item.options[i] for i in order)
    return replace(item, options=options, gold=replace(gold, answers=(letter,), options=options))


def _swapped(item: Item, other: Item) -> Pictures:
    """As many pictures as the item has, taken in turn from another."""
    own, foreign = item.images(), other.images()
    return tuple(foreign[i % len(foreign)] for i in range(len(own))) if foreign else greyed(own)
