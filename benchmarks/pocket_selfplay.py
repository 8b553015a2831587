"""Does self-play make the pocket Reasoner better, and against which controls?

Runs `configs/pocket.yaml` for each arm and seed, each in a process of its own, and prints one table per
benchmark from the runs' stored samples. A finished run is not done again, so two invocations with different
arms can share two cores, and a last one with all arms prints the tables:

    python -m benchmarks.pocket_selfplay --images runs/pocket-images --arms method random
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.pocket_vlm.lessons import is_glance
from rewards import equivalent
from visplay.evaluation.comparison import compare_samples
from visplay.evaluation.records import read_records
from visplay.evaluation.statistics import judged
from visplay.evaluation.verdict import blind, difference, estimate, majority
from visplay.runs.results import read_summaries
from visplay.storage import read_jsonl

ARMS = {
    "method": [],
    "random": ["control=random_reward"],
    "untrained-questioner": ["questioner.steps=0"],
    "per-role": ["adapters=per_role"],
    "margin": ["curation.margin=2"],  # the default: curation stops when enough is kept
}


def train(arm: str, seed: int, *, images: Path, output: Path, overrides: list[str]) -> None:
    command = [
        sys.executable, "-m", "visplay", "train", "configs/pocket.yaml", f"images.source={images}",
        f"output={output}", f"name={arm}-{seed}", f"seed={seed}", "curation.margin=all",
        *ARMS[arm], *overrides,
    ]  # fmt: skip
    print(" ".join(command[1:]), flush=True)
    output.mkdir(parents=True, exist_ok=True)
    with (output / f"{arm}-{seed}.log").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


def accuracy_rows(runs: list[tuple[str, Path]], benchmark: str) -> Iterator[list[str]]:
    for name, run in runs:
        for iteration, summary in read_summaries(run).items():
            figures = summary[benchmark]
            own = list(read_records(greedy(run, iteration, benchmark)))
            paired = figures.get("paired")
            yield [
                name, str(iteration), estimate(figures["accuracy"]),
                f"{difference(paired)}, {paired['verdict']}" if paired else "", percent(majority(figures)[1]),
                percent(blind(figures)), *manners(own),
            ]  # fmt: skip


def control_rows(arms: list[str], seeds: list[int], output: Path, benchmark: str) -> Iterator[list[str]]:
    """The first iteration of each arm against that with random rewards and the same seed, row by row."""
    for arm in arms:
        for seed in seeds:
            before, after = (
                read_records(greedy(output / f"{name}-{seed}", 1, benchmark)) for name in ("random", arm)
            )
            paired = compare_samples(benchmark, before, after).paired
            assert paired is not None
            yield [arm, str(seed), f"{difference(paired)}, {judged([paired])[0].word}"]


def greedy(run: Path, iteration: int, benchmark: str) -> Path:
    return run / f"iteration-{iteration}" / "evaluation" / benchmark / "greedy.jsonl"


def manners(rows: list[dict[str, Any]]) -> list[str]:
    """The share of answers at a glance, and the accuracy within either manner."""
    glances = [row["correct"] for row in rows if is_glance(row["output"])]
    careful = [row["correct"] for row in rows if not is_glance(row["output"])]
    return [f"{100 * len(glances) / len(rows):.0f} %", share(glances), share(careful)]


def label_rows(runs: list[tuple[str, Path]]) -> Iterator[list[str]]:
    for name, run in runs:
        for row in read_jsonl(run / "metrics.jsonl"):
            if row["phase"] == "curation":
                folder = run / f"iteration-{row['iteration']}" / "curation"
                rows = pq.read_table(folder / "candidates.parquet").to_pylist()
                kept = [
                    equivalent(
                        r["silver_answer"], r["truth"], question=r["question"], options=r["options"]
                    ).equal
                    for r in rows
                    if r["kept"] and r["truth"] is not None
                ]
                silver = row["silver_accuracy"]
                yield [
                    name, str(row["iteration"]), str(row["questions"]),
                    f"{100 * row['valid'] / row['questions']:.1f}",
                    f"{100 * row['answerable'] / row['valid']:.1f}", str(row["distinct"]), str(row["kept"]),
                    estimate(silver["kept"]), share(kept), estimate(silver["rejected"]),
                ]  # fmt: skip


def share(flags: list[bool]) -> str:
    return f"{100 * sum(flags) / len(flags):.1f} (n = {len(flags)})" if flags else ""


def percent(found: dict[str, float] | None) -> str:
    return f"{100 * found['value']:.1f}" if found else ""


def show(columns: list[str], rows: Iterator[list[str]]) -> None:
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="what `visplay pocket images` wrote")
    parser.add_argument("--output", type=Path, default=Path("runs/pocket-selfplay"))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides")
    parser.add_argument("--show", action="store_true", help="print the tables of finished runs")
    options = parser.parse_args()
    for seed in () if options.show else options.seeds:
        for arm in options.arms:
            train(arm, seed, images=options.images, output=options.output, overrides=options.set)
    runs = [(f"{a}, seed {s}", options.output / f"{a}-{s}") for a in options.arms for s in options.seeds]
    for benchmark in read_summaries(runs[0][1])[0]:
        print(f"\n{benchmark}, n = {read_summaries(runs[0][1])[0][benchmark]['n']}")
        columns = ["run", "iteration", "greedy %", "against the base", "maj@8", "blind", "at a glance"]
        show([*columns, "right at a glance", "right otherwise"], accuracy_rows(runs, benchmark))
        if "random" in options.arms and len(options.arms) > 1:
            others = [arm for arm in options.arms if arm != "random"]
            print("\nThe first iteration against that with random rewards")
            rows = control_rows(others, options.seeds, options.output, benchmark)
            show(["arm", "seed", "difference"], rows)
    print("\nSilver labels")
    columns = [
        "run",
        "iteration",
        "questions",
        "valid %",
        "answerable %",
        "distinct",
        "kept",
        "right % of kept",
    ]
    show([*columns, "of kept and answerable", "right % of rejected"], label_rows(runs))


if __name__ == "__main__":
    main()
