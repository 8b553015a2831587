"""Train the pocket VLM from random weights, as the shipped one was made; it goes on after a kill.

    python -m benchmarks.pocket_vlm runs/pocket-vlm --seed 0

writes a transformers checkpoint and, beside it, a card with figures measured anew.
"""

import argparse
from pathlib import Path

from benchmarks.pocket_vlm.build import Recipe, build
from benchmarks.pocket_vlm.card import write_card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write the checkpoint to")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches")
    given = parser.parse_args()
    recipe = Recipe(seed=given.seed)
    print(write_card(build(given.out, recipe=recipe), recipe=recipe))


if __name__ == "__main__":
    main()
