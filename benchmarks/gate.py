"""Which gate keeps silver answers right over many iterations?

Ten short iterations of the pocket configuration for each arm and seed, in the world of dusky scenes or on the
ladder of questions, each in a process of its own. All is chosen on development scenes; `--held-out` asks
held-out ones once, at the end, with the adapters that are there. A finished run is not done again, so two
invocations with different arms can share two cores, and a last one prints the tables:

    python -m benchmarks.gate --world ladder --images runs/ladder-images --arms paper steady --seeds 0
    python -m benchmarks.gate --world ladder --images runs/ladder-images --show
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import rewards
from benchmarks.gate_tables import (
    ask_held_out,
    draw_curves,
    print_against,
    print_curves,
    print_ends,
    print_held_out,
    print_steps,
)
from visplay.loop import curation, measuring, questioner, reasoner, watching
from visplay.loop.asking import Asked, Groups, Round, Stage, judge, parse, vote
from visplay.loop.context import RunContext
from visplay.loop.curation import band
from visplay.pocket.oracle import QUESTION_TYPES, WIDE, draw_question, oracle
from visplay.pocket.truth import Truth
from visplay.runs.checkpoints import Roles
from visplay.runs.results import read_summaries
from visplay.seeds import mix_seed

BAND = ["curation.low=0.5", "curation.high=0.95"]
TARGET = ["rewards.target_confidence=0.8"]
JUDGE = ["judge.function=visplay.loop.judging:ask_base"]
STEADY = [*BAND, *TARGET, *JUDGE]
UNTRAINED = "questioner.steps=0"
CONDITIONED = "loop=benchmarks.conditioned:conditioned"
# Gold labels for what an untrained Questioner or the oracle asks, whatever the votes say.
GOLD = [
    UNTRAINED, "judge.function=benchmarks.gate:settled", "votes.samples=2", "curation.low=0.0",
    "curation.high=1.0", "adapters=per_role",
]  # fmt: skip
ARMS: dict[str, list[str]] = {
    # Ceilings: gold labels, and silver ones on questions of every kind.
    "gold, oracle's mix": [*GOLD, "loop=benchmarks.gate:gold_evenly"],
    "gold, base's mix": [*GOLD, "loop=benchmarks.gate:gold"],
    "paper, oracle's mix": [UNTRAINED, "loop=benchmarks.gate:votes_evenly"],
    "band, oracle's mix": [*BAND, UNTRAINED, "loop=benchmarks.gate:votes_evenly"],
    # From the paper's method to `steady`, part by part.
    "paper": [],
    "band": BAND,
    "target": [*BAND, *TARGET],
    "steady": STEADY,
    # Two by two with "steady": the Questioner trained or not, kept questions in its prompt or not.
    "steady, untrained Questioner": [*STEADY, UNTRAINED],
    "steady, conditioned": [*STEADY, CONDITIONED],
    "steady, conditioned, untrained Questioner": [*STEADY, CONDITIONED, UNTRAINED],
    "paper, untrained Questioner": [UNTRAINED],
    "paper, random rewards": ["control=random_reward"],
}
# A quarter of a pocket iteration for the Questioner, half of one for the Reasoner.
SHORT = [
    "threads=1", "adapters=shared", "iterations=10", "questioner.steps=5",
    "questioner.prompts_per_step=4", "votes.samples=5", "curation.margin=1",
    "reasoner.steps=10", "reasoner.max_tokens=160",
    "evaluation.limit=500", "evaluation.maj_limit=100", "evaluation.blind_limit=0",
    "evaluation.split=development",
]  # fmt: skip
WORLDS: dict[str, list[str]] = {
    "dusk": ["evaluation.benchmarks=[pocket-dusk,easy-vqa]", "optimizer.learning_rate=3e-4"],
    "ladder": ["evaluation.benchmarks=[pocket-ladder,easy-vqa]", "optimizer.learning_rate=1.5e-4"],
    # The base is one of one's own: --set model.path=runs/wide-0
    "wide": [
        "evaluation.benchmarks=[pocket-wide]", "evaluation.limit=360", "evaluation.maj_limit=0",
        "optimizer.learning_rate=2e-3", "optimizer.kl=0.05", "optimizer.reference=base",
        "optimizer.grpo={lr_scheduler_type: cosine, warmup_steps: 2}",
        "adapters=per_role", "iterations=8", "questioner.steps=6", "questioner.learning_rate=1e-3",
        "reasoner.steps=6", "reasoner.prompts_per_step=32", "reasoner.max_tokens=100", "curation.images=150",
    ],
}  # fmt: skip


def settled(ctx: RunContext, rows: Sequence[Asked], round: Round) -> list[float]:
    """A judge that knows the truth: 1 where the picture settles the question, else 0."""
    assert ctx.oracle is not None
    return [float(row.truth is not None) for row in rows]


def told(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """The true answer in place of the majority's; its confidence stays."""
    for row in (row for group in groups for row in group):
        if row.vote is not None and row.truth is not None:
            agreed = max(1, int(10 * row.vote.confidence + 0.5))
            row.vote = rewards.vote([row.truth] * agreed + [None] * (10 - agreed))
    return groups


def evenly(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """The oracle's questions, as many of each kind of the wide world, in place of the Questioner's."""
    assert isinstance(ctx.oracle, Truth)
    for row in (row for group in groups for row in group):
        scene = ctx.oracle.scene(row.picture)
        rng = np.random.default_rng(mix_seed(round.seed_of("evenly"), row.picture, row.completion))
        kind, asked = draw_question(rng, scene, dict.fromkeys(WIDE, 1 / len(WIDE)))
        row.completion = (
            f"<type>{QUESTION_TYPES[kind]}</type><question>{asked}</question>"
            f"<answer>{oracle(scene, asked)}</answer>"
        )
    return groups


def gold(ctx: RunContext, roles: Roles, *, first: Sequence[Stage] = ()) -> None:
    """Algorithm 1 with gold labels in place of silver ones; the stages `first` come before all others."""
    for iteration in ctx.iterations():
        roles = questioner.train(ctx, iteration, roles, ask=[parse, judge, vote])
        stages = [*first, parse, judge, vote, told, band]
        examples = curation.curate(ctx, iteration, roles, ask=stages)
        roles = reasoner.train(ctx, iteration, roles, examples)
        measuring.measure(ctx, iteration, roles)
        roles = watching.finish(ctx, iteration, roles)


def gold_evenly(ctx: RunContext, roles: Roles) -> None:
    """The same on the oracle's mix of kinds."""
    gold(ctx, roles, first=[evenly])


def votes_evenly(ctx: RunContext, roles: Roles) -> None:
    """Silver labels and the band of the configuration on the oracle's mix of kinds."""
    for iteration in ctx.iterations():
        roles = questioner.train(ctx, iteration, roles, ask=[parse, vote])
        examples = curation.curate(ctx, iteration, roles, ask=[evenly, parse, judge, vote, band])
        roles = reasoner.train(ctx, iteration, roles, examples)
        measuring.measure(ctx, iteration, roles)
        roles = watching.finish(ctx, iteration, roles)


def run_of(output: Path, arm: str, seed: int) -> Path:
    """Where the run of an arm lies."""
    return output / f"{arm.replace(', ', '-').replace(' ', '-').replace(chr(39), '')}-{seed}"


def train(arm: str, seed: int, *, world: str, images: Path, output: Path, further: list[str]) -> None:
    """Make, or go on with, one run."""
    run = run_of(output, arm, seed)
    command = [
        sys.executable, "-m", "visplay", "train", "configs/pocket.yaml", f"images.source={images}",
        f"output={output}", f"name={run.name}", f"seed={seed}", *SHORT, *WORLDS[world], *ARMS[arm], *further,
    ]  # fmt: skip
    print(" ".join(command[1:]), flush=True)
    output.mkdir(parents=True, exist_ok=True)
    with (output / f"{run.name}.log").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


def main() -> None:
    """Train, or print what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="what `visplay pocket images` wrote")
    parser.add_argument("--world", choices=WORLDS, default="dusk")
    parser.add_argument("--output", type=Path, help="default: runs/gate-WORLD")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides")
    parser.add_argument("--show", action="store_true", help="print the tables of what there is")
    parser.add_argument(
        "--held-out", choices=("ends", "all"),
        help="measure the runs there are on held-out scenes: base, best and last iteration, or all",
    )  # fmt: skip
    parser.add_argument("--questions", type=int, default=1000, help="held-out questions (default: 1000)")
    parser.add_argument("--against", choices=ARMS, help="also print the paired differences to this arm")
    parser.add_argument("--chart", type=Path, help="draw the curves to this file")
    options = parser.parse_args()
    output = options.output or Path(f"runs/gate-{options.world}")
    pairs = [(arm, seed) for seed in options.seeds for arm in options.arms]
    for arm, seed in () if options.show or options.held_out or options.chart else pairs:
        train(arm, seed, world=options.world, images=options.images, output=output, further=options.set)
    runs: dict[str, list[Path]] = {}
    for arm, seed in pairs:
        if read_summaries(run := run_of(output, arm, seed)):
            runs.setdefault(arm, []).append(run)
    every = [run for folders in runs.values() for run in folders]
    for run in every if options.held_out else ():
        ask_held_out(
            run, every_iteration=options.held_out == "all", output=output, questions=options.questions
        )
    print_curves(runs)
    print_ends(runs)
    print_steps(runs)
    if options.against:
        if options.against not in runs:
            parser.error(
                f"--against {options.against}: no run of it among --arms and --seeds has been measured"
            )
        print_against(runs, options.against, output=output)
    print_held_out(every, output=output)
    if options.chart:
        draw_curves(runs, options.chart)


if __name__ == "__main__":
    main()
