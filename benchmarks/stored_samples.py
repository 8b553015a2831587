"""Rescore and compare 100,000 stored samples: `python benchmarks/stored_samples.py`.

Two evaluations of 100,000 rows each are written: letters, numbers, words, one answer in twenty in LaTeX, a
question in three clusters. Then `visplay evaluate --rescore` and `visplay compare` are run as their own
processes, and their time and peak memory are printed.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from visplay.evaluation.items import Gold
from visplay.evaluation.records import Record, scored, write_records

LATEX = ("\\frac{%d}{%d}", "%d\\sqrt{%d}", "%dx+%d")
WORDS = [
    "red", "blue", "green", "circle", "rectangle", "triangle", "yes", "no", "left", "right", "dog", "cat",
    "house", "tree", "car",
]  # fmt: skip


def record(number: int, rng: random.Random, *, skill: float) -> Record:
    truth = random.Random(number)
    kind = truth.choice(("choice", "number", "text", "open"))
    right = rng.random() < skill
    if kind == "choice":
        options = tuple(truth.sample(WORDS, 4))
        gold = Gold(rule="choice", answers=(truth.choice("ABCD"),), options=options)
        said = gold.answers[0] if right else rng.choice("ABCD")
    elif kind == "number":
        gold = Gold(rule="number", answers=(str(truth.randrange(1000)),), decimals=1)
        said = gold.answers[0] if right else str(rng.randrange(1000))
    elif kind == "open" and truth.random() < 0.2:
        gold = Gold(
            rule="open", answers=(truth.choice(LATEX) % (truth.randrange(1, 9), truth.randrange(2, 9)),)
        )
        said = gold.answers[0] if right else rng.choice(LATEX) % (rng.randrange(1, 9), rng.randrange(2, 9))
    else:
        gold = Gold(rule="text", answers=(truth.choice(WORDS),))
        said = gold.answers[0] if right else rng.choice(WORDS)
    thought = " ".join(rng.choices(WORDS, k=60))
    return {
        "key": "", "generation": str(number), "benchmark": "made", "item": f"q{number}", "row": number,
        "sample": 0, "cluster": str(number // 3), "kind": kind, "groups": {"kind": kind},
        "question": " ".join(truth.choices(WORDS, k=20)), "gold": gold.to_json(),
        "pictures": ["0" * 32], "prompt": " ".join(truth.choices(WORDS, k=40)),
        "output": f"{thought} \\boxed{{{said}}}",
        "finish": "stop", "tokens": 70, "error": None,
    }  # fmt: skip


def write(folder: Path, rows: int, *, skill: float, seed: int) -> None:
    (folder / "made").mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps({"name": folder.name}))
    rng = random.Random(seed)
    write_records(
        folder / "made" / "greedy.jsonl", (scored(record(i, rng, skill=skill)) for i in range(rows))
    )


def timed(*command: str) -> None:
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "visplay", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    seconds = time.perf_counter() - start
    print(f"visplay {command[0]}: {seconds:.1f} s, peak {usage.ru_maxrss / 1024:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        before, after = Path(scratch) / "before", Path(scratch) / "after"
        write(before, arguments.rows, skill=0.55, seed=1)
        write(after, arguments.rows, skill=0.56, seed=2)
        size = (before / "made" / "greedy.jsonl").stat().st_size / 2**20
        print(f"{arguments.rows} rows a side, {size:.0f} MiB each")
        timed("evaluate", str(before), "--rescore")
        timed("compare", str(before), str(after), "--page", str(Path(scratch) / "page.html"))


if __name__ == "__main__":
    main()
