"""Do silver labels decay over many iterations, and which guard helps?

Runs the pocket configuration for ten short iterations for each arm and seed, each run in a process of its own,
and prints the curves. A finished run is not done again, so two invocations with different arms can share two
cores, and a last one with all arms prints the tables and writes the chart:

    python benchmarks/guards.py --images runs/demo-images --arms none
    python benchmarks/guards.py --images runs/demo-images --show --chart docs/images/guards.svg
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean

from visplay.evaluation.statistics import paired_difference
from visplay.evaluation.table import percent_interval, points, read_summaries

ARMS = {
    "none": [],
    "mixed": ["guards.base_questions=0.5", "guards.replay=0.5"],
    "anchors": ["guards.anchors=0.25", "guards.anchor_benchmark=pocket-dusk"],
}
# Half of a pocket iteration, measured by greedy answers alone: ten of them in half an hour on one core.
SHORT = [
    "threads=1", "iterations=10", "questioner.steps=5", "curation.images=150", "reasoner.steps=10",
    "evaluation.benchmarks=[pocket-dusk,easy-vqa]", "evaluation.limit=500", "evaluation.maj_limit=0",
    "evaluation.blind_limit=0",
]  # fmt: skip


def train(arm: str, seed: int, *, images: Path, output: Path) -> None:
    command = [
        sys.executable, "-m", "visplay.cli", "train", "configs/pocket.yaml", f"images.source={images}",
        f"output={output}", f"name={arm}-{seed}", f"seed={seed}", *SHORT, *ARMS[arm],
    ]  # fmt: skip
    print(" ".join(command[1:]), flush=True)
    output.mkdir(parents=True, exist_ok=True)
    with (output / f"{arm}-{seed}.log").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
