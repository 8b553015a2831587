"""Train a pocket VLM from random weights: as the shipped one was made, or for the wide world.

    python -m benchmarks.pocket_vlm runs/pocket-vlm --seed 0
    python -m benchmarks.pocket_vlm runs/wide-0 --world wide --seed 0

writes a transformers checkpoint (after a kill it goes on) and, beside it, a card with figures measured anew.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.pocket_vlm.build import WIDE_RECIPE, Recipe, build
from benchmarks.pocket_vlm.card import write_card
from benchmarks.pocket_vlm.wide_card import write_wide_card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write the checkpoint to")
    parser.add_argument(
        "--world", choices=("ladder", "wide"), default="ladder", help="whose lessons it learns"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches")
    given = parser.parse_args()
    recipe = replace(WIDE_RECIPE if given.world == "wide" else Recipe(), seed=given.seed)
    card = write_wide_card if given.world == "wide" else write_card
    print(card(build(given.out, recipe=recipe), recipe=recipe))


if __name__ == "__main__":
    main()
