"""Do silver labels decay over many iterations, and which guard helps?

Runs the pocket configuration for ten short iterations for each arm and seed, each run in a process of its
own, and prints the curves. A finished run is not done again, so two invocations with different arms can
share two cores, and a last one with all arms prints the tables and writes the chart:

    python -m benchmarks.guards --images runs/demo-images --arms none
    python -m benchmarks.guards --images runs/demo-images --show --chart docs/images/guards.svg
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow.parquet as pq

from benchmarks.charts import Curve, draw
from visplay.evaluation import verdict as wording
from visplay.evaluation.comparison import compare_samples
from visplay.evaluation.records import read_records
from visplay.evaluation.statistics import PairedDifference
from visplay.loop.alarms import best_iteration, out_of_patience
from visplay.runs.results import read_summaries

ARMS = {
    "none": [],
    "mixed": ["guards.base_questions=0.5", "guards.replay=0.5"],
    "anchors": ["guards.anchors=0.25", "guards.anchor_benchmark=pocket-dusk"],
}
# Half of a pocket iteration, measured by greedy answers alone: ten of them in half an hour on one core.
SHORT = [
    "threads=1", "iterations=10", "questioner.steps=5", "curation.images=150",
    "curation.margin=all", "reasoner.steps=10",
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


def accuracy(benchmark: str) -> Callable[[Path], Curve]:
    return lambda run: {i: s[benchmark]["accuracy"]["value"] for i, s in read_summaries(run).items()}


def curated(figure: Callable[[dict[str, Any]], float]) -> Callable[[Path], Curve]:
    def curve(run: Path) -> Curve:
        files = run.glob("iteration-*/curation/summary.json")
        found = {int(f.parts[-3].removeprefix("iteration-")): json.loads(f.read_text()) for f in files}
        return {i: figure(summary) for i, summary in sorted(found.items())}

    return curve


CURVES: dict[str, Callable[[Path], Curve]] = {
    "dusky scenes, % right": accuracy("pocket-dusk"),
    "easy-vqa, % right": accuracy("easy-vqa"),
    "silver answers kept, % right": curated(lambda s: s["silver_accuracy"]["kept"]["value"]),
    "answerable, % of the valid questions": curated(lambda s: s["answerable"] / s["valid"]),
    "kept, % of the valid questions": curated(lambda s: s["kept"] / s["valid"]),
    "different questions, % of the valid": curated(lambda s: s["distinct"] / s["valid"]),
}


def print_curves(runs: dict[str, list[Path]]) -> None:
    for title, curve in CURVES.items():
        print(f"\n{title}: mean over seeds (each seed)")
        for arm, folders in runs.items():
            curves = [curve(run) for run in folders]
            for i in sorted(set.intersection(*(set(c) for c in curves))):
                each = ", ".join(f"{100 * c[i]:.1f}" for c in curves)
                print(f"  {arm:8} {i:2}  {100 * mean(c[i] for c in curves):5.1f}  ({each})")


def print_ends(runs: dict[str, list[Path]]) -> None:
    """Each run's last iteration against its base and against the run without guards and of the same seed."""
    for benchmark in ("pocket-dusk", "easy-vqa"):
        print(f"\n{benchmark}: last iteration")
        for arm, folders in runs.items():
            for run in folders:
                summaries = read_summaries(run)
                last = summaries[max(summaries)][benchmark]
                line = f"  {run.name:10} {wording.estimate(last['accuracy'])}"
                line += f"; to the base {wording.difference(last['paired'])}"
                unguarded = run.with_name(run.name.replace(arm, "none"))
                if arm != "none" and unguarded in runs.get("none", ()):
                    against = difference(run, unguarded, benchmark)
                    line += f"; to no guards {wording.difference(against)}, {against.verdict}"
                print(line)


def print_labels(runs: dict[str, list[Path]]) -> None:
    """When each run's alarm for silver answers first rang, and whose questions had answers at its end."""
    print("\nfirst alarm for silver answers; answerable, % of the last valid questions, by asker")
    for run in (run for folders in runs.values() for run in folders):
        alarms = {
            int(f.parts[-3].removeprefix("iteration-")): f for f in run.glob("iteration-*/health/alarms.json")
        }
        rang = [i for i in sorted(alarms) if "silver_accuracy is" in alarms[i].read_text()]
        last = run / f"iteration-{max(alarms)}" / "curation" / "candidates.parquet"
        rows = [row for row in pq.read_table(last).to_pylist() if row["valid"]]
        shares = []
        for asker in ("questioner", "base"):
            own = [row["truth"] is not None for row in rows if row.get("asked_by", "questioner") == asker]
            shares += [f"{asker} {100 * mean(own):.1f} of {len(own)}"] if own else []
        print(f"  {run.name:10} iteration {rang[0] if rang else 'none'}; {', '.join(shares)}")


def print_stops(runs: dict[str, list[Path]]) -> None:
    """What early stopping would have given: the run is the same up to there, so none has to be run for it.

    The probe is easy-vqa, what is shown are the dusky scenes: nothing is chosen by what it is measured by.
    """
    print("\nearly stopping on easy-vqa: dusky scenes after the best iteration")
    for run in (run for folders in runs.values() for run in folders):
        summaries = read_summaries(run)
        for patience in (1, 2):
            ends = (i for i in summaries if out_of_patience(run, i, patience=patience, probe="easy-vqa"))
            end = min(ends, default=max(summaries))
            best = best_iteration(run, last=end, probe="easy-vqa")
            found = summaries[best]["pocket-dusk"]
            against = difference(run, run, "pocket-dusk", iteration=best)
            line = f"  {run.name:10} patience {patience} ends after {end}; iteration {best} has "
            line += (
                f"{wording.estimate(found['accuracy'])}; to the last iteration {wording.difference(against)}"
            )
            print(line + f", {against.verdict}")


def difference(run: Path, other: Path, benchmark: str, *, iteration: int | None = None) -> PairedDifference:
    """From the last iteration of `other` to `iteration` of `run`, the last one by default."""
    sides = []
    for folder, wanted in ((other, None), (run, iteration)):
        number = max(read_summaries(folder)) if wanted is None else wanted
        sides.append(read_records(folder / f"iteration-{number}/evaluation/{benchmark}/greedy.jsonl"))
    found = compare_samples(benchmark, *sides).paired
    assert found is not None, f"{run}: too many rows failed"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="what `visplay pocket images` wrote")
    parser.add_argument("--output", type=Path, default=Path("runs/guards"))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--show", action="store_true", help="print the tables of finished runs and stop")
    parser.add_argument("--chart", type=Path, help="draw the curves to this file")
    arguments = parser.parse_args()
    runs: dict[str, list[Path]] = {}
    for arm in arguments.arms:
        for seed in arguments.seeds:
            folder = arguments.output / f"{arm}-{seed}"
            if not arguments.show:
                train(arm, seed, images=arguments.images, output=arguments.output)
            if (folder / "report.html").exists():
                runs.setdefault(arm, []).append(folder)
    print_curves(runs)
    print_ends(runs)
    print_labels(runs)
    print_stops(runs)
    if arguments.chart:
        found = {
            arm: [{title: curve(run) for title, curve in CURVES.items()} for run in folders]
            for arm, folders in runs.items()
        }
        draw(found, list(CURVES), arguments.chart)


if __name__ == "__main__":
    main()
