"""The program that test_evaluating kills: a slow scripted evaluation into a folder."""

import sys
from pathlib import Path

from rollouts.engine import Sampling
from tests.visplay.evaluation.asked import items, reasoner, slowly
from visplay.evaluation.sampling import evaluate_items

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    print("begun", flush=True)
    evaluate_items(
        reasoner(slowly), items(120), benchmark="b", sampling=Sampling(n=2, seed=3),
        path=folder / "greedy.jsonl", pictures=folder,
    )  # fmt: skip
