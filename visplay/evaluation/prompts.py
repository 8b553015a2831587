"""Build prompts from items, and the blind control: the same questions with the pictures greyed out."""

from collections.abc import Sequence
from dataclasses import replace

from rollouts.engine import Prompt
from visplay.config.prompts import Prompts
from visplay.data.images import greyed_out
from visplay.evaluation.items import Item
from visplay.prompts import benchmark_prompt

# Scoring rule -> question type, which decides the form of the answer.
KINDS = {"choice": "multiple choice", "yes_no": "yes/no", "number": "numerical"}


def item_prompt(item: Item, *, words: Prompts) -> Prompt:
    """Build the prompt of an item from the Reasoner's template."""
    return benchmark_prompt(
        item.images(), item.question, words=words, options=item.options,
        kind=KINDS.get(item.gold.rule, ""), key=item.key,
    )  # fmt: skip


def blinded(items: Sequence[Item]) -> list[Item]:
    """Replace the pictures of the items by mid-grey ones of the same sizes."""

    def grey(item: Item) -> Item:
        return replace(item, images=lambda: tuple(map(greyed_out, item.images())))

    return [grey(item) for item in items]
