r"""The tables of docs/wide-world.md and docs/when-self-play-helps.md, from stored answers and without a run.

docs/results/evidence.parquet has a row for each answer that a table counts: which base, which arm, which
question, right or wrong. docs/results/questions.parquet counts what each phase of a run asked, by kind of
question. Without an option this program prints every table from them. `--add` reads what
`benchmarks.decoding`, `benchmarks.positive_control` and `benchmarks.gate` have written:

    python -m benchmarks.evidence
    python -m benchmarks.evidence --base 0 --write-docs \
        --add runs/decoding-0.jsonl runs/control-0/even.jsonl runs/gate-wide/paper-0

A gain is a gain over the best way of decoding of the same base. The unit of an interval over bases is the
base (Student's t); an interval for one base is over its questions (a bootstrap).
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from scipy.stats import t
from statsmodels.stats.power import TTestPower

from benchmarks.charts import COLORS
from benchmarks.evidence_store import (
    COUNTS,
    DECODING,
    DOCS,
    GOLD,
    GOLD_ARM,
    GOLD_OWN,
    GREEDY,
    TRIED,
    UNTRAINED,
    VIEWED,
    Flags,
    Key,
    Row,
    add,
    kind_of_items,
    load,
    load_questions,
)
from benchmarks.gate import ARMS
from benchmarks.pocket_vlm.wide import KNOWN
from visplay.evaluation.statistics import paired_difference

PAGES = [
    DOCS / "wide-world.md", DOCS / "when-self-play-helps.md",
    DOCS / "decisions" / "019-arms-that-tolerate-noise.md",
]  # fmt: skip
MARK = re.compile(r"(<!-- evidence: ([\w -]+) -->)\n.*?\n?(<!-- end -->)", re.DOTALL)
CHARTED = (
    GOLD_ARM, "band, oracle's mix", "paper", "steady", "steady, untrained Questioner",
    "paper, random rewards",
)  # fmt: skip
AS_BASE = ("steady, untrained Questioner", UNTRAINED)  # arms whose first questions are the base's
# What two arms differ in, the arm that has it, and the arm that has it not.
QUESTIONER = (
    ("training, bare prompt", "steady", "steady, untrained Questioner"),
    ("training, conditioned prompt", "steady, conditioned", "steady, conditioned, untrained Questioner"),
    ("conditioning, untrained", "steady, conditioned, untrained Questioner", "steady, untrained Questioner"),
    ("conditioning, trained", "steady, conditioned", "steady"),
)
PARTS = (
    ("band", "band", "paper"), ("target", "target", "band"), ("judge", "steady", "target"),
    ("band, target and judge", "steady", "paper"), ("views and memory (removed)", VIEWED, "steady"),
)  # fmt: skip


def _accuracy(flags: Flags) -> float:
    return 100 * sum(flags.values()) / len(flags)


def best_decoding(found: dict[Key, Flags], world: str, base: int, split: str = "development") -> str:
    """The way of decoding with most right answers on development scenes; of equals the first by name."""
    ways = {key[2]: _accuracy(flags) for key, flags in found.items()
            if key[:2] == (world, base) and key[2].startswith(DECODING) and key[5] == split}  # fmt: skip
    if not ways:
        raise SystemExit(f"{world}, base {base}: no decoding is stored; run benchmarks.decoding, --add it")
    return max(sorted(ways), key=lambda way: ways[way])


def gain(before: Flags, after: Flags) -> tuple[float, str, int]:
    """Points gained on the questions of both, with the interval over questions, and how many they are."""
    common = sorted(set(before) & set(after))
    if not common:
        raise ValueError("no question was asked of both")
    paired = paired_difference([before[item] for item in common], [after[item] for item in common])
    shown = f"{100 * paired.difference:+.1f} [{100 * paired.low:+.1f}, {100 * paired.high:+.1f}]"
    return 100 * paired.difference, shown, len(common)


def over_bases(values: list[float], *, power: bool = False) -> str:
    """The mean with its 95 % interval over bases; of one base the mean alone.

    With `power`, an interval that includes 0 comes with the difference that would have been detected.
    """
    if len(values) < 2:
        return f"{mean(values):+.1f} (one base)"
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    shown = f"{mean(values):+.1f} [{mean(values) - half:+.1f}, {mean(values) + half:+.1f}]"
    return f"{shown}; detectable: {detectable(values):.1f}" if power and abs(mean(values)) < half else shown


def decoding(found: dict[Key, Flags], world: str, split: str) -> str:
    """Percent right by way of decoding and base."""
    keys = [key for key in found if key[0] == world and key[2].startswith(DECODING) and key[5] == split]
    bases = sorted({key[1] for key in keys})
    sizes = sorted({len(found[key]) for key in keys})
    lines = [
        f"| {split}, n = {', '.join(map(str, sizes))}; % right | "
        + " | ".join(f"base {base}" for base in bases) + " |",
        "|---|" + "---|" * len(bases),
    ]  # fmt: skip
    for arm in sorted({key[2] for key in keys}, key=lambda arm: (arm != GREEDY, arm)):
        cells = [found.get((world, base, arm, 0, 0, split)) for base in bases]
        shown = [f"{_accuracy(flags):.1f}" if flags else "" for flags in cells]
        lines.append(f"| {arm.removeprefix(DECODING)} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def arms(found: dict[Key, Flags], world: str) -> str:
    """Gold labels by iteration: percent right, and points over the best decoding of the same base."""
    lines = [
        "| arm | base, seed | n | best decoding | % right, iterations 0, 1, ... | last over best decoding |",
        "|---|---|---|---|---|---|",
    ]
    trained = sorted(key for key in found if key[0] == world and key[2].startswith("gold labels"))
    for arm in sorted({key[2] for key in trained}):
        gains: dict[int, list[float]] = {}
        for base, seed in sorted({(key[1], key[3]) for key in trained if key[2] == arm}):
            iterations = [key[4] for key in trained if key[1:4] == (base, arm, seed)]
            values = [found[world, base, arm, seed, i, "development"] for i in iterations]
            best = best_decoding(found, world, base)
            reference = found[world, base, best, 0, 0, "development"]
            points, shown, n = gain(reference, values[-1])
            gains.setdefault(base, []).append(points)
            curve = ", ".join(f"{_accuracy(one):.1f}" for one in values)
            name = f"{best.removeprefix(DECODING)}: {_accuracy(reference):.1f}"
            lines.append(f"| {arm} | {base}, {seed} | {n} | {name} | {curve} | {shown} |")
        means = over_bases([mean(own) for own in gains.values()])
        lines.append(f"| {arm} | **mean over bases** | | | | **{means}** |")
    return "\n".join(lines)


def gates(found: dict[Key, Flags], world: str) -> str:
    """Both gates by base: gold labels over the best decoding, an even mix over the Questioner's own."""
    lines = ["| gate | target | trained | base | iterations | points |", "|---|---|---|---|---|---|"]
    for how, even, own in (
        ("by benchmarks.positive_control", GOLD.format(mix="even"), GOLD.format(mix="base")),
        ("in the loop of the arms", GOLD_ARM, GOLD_OWN),
    ):
        over: dict[str, dict[int, list[float]]] = {"a": {}, "b": {}}
        alone = {(run.base, run.seed): run.by_iteration for run in _runs(found, world, own, "development")}
        for run in _runs(found, world, even, "development"):
            best = found[world, run.base, best_decoding(found, world, run.base), 0, 0, "development"]
            common = {*run.by_iteration} & {*alone.get((run.base, run.seed), {})} - {0}
            pairs = [("a: gold labels over the best decoding", "+10", max(run.by_iteration), best)]
            if common:
                last = max(common)
                pairs.append(
                    ("b: even mix over the Questioner's own", "+5", last, alone[run.base, run.seed][last])
                )
            for name, target, last, before in pairs:
                points, shown, _ = gain(before, run.by_iteration[last])
                over[name[0]].setdefault(run.base, []).append(points)
                lines.append(f"| {name} | {target} | {how} | {run.name} | {last} | {shown} |")
        for name, target in (("a", 10), ("b", 5)):
            if over[name]:
                mean_over = over_bases([mean(seeds) for seeds in over[name].values()])
                lines.append(f"| **{name}: mean over bases** | **+{target}** | {how} | | | **{mean_over}** |")
    return "\n".join(lines)


def kinds(found: dict[Key, Flags], world: str) -> str:
    """Each base and each arm's last iteration by kind of question, mean over bases and seeds."""
    kind_of = kind_of_items(world)
    last: dict[str, dict[tuple[int, int], Flags]] = {}
    for key in sorted(key for key in found if key[0] == world and key[5] == "development"):
        if key[2] != UNTRAINED and (key[2] == GREEDY or not key[2].startswith((DECODING, TRIED))):
            last.setdefault(key[2], {})[key[1], key[3]] = found[key]
    names = sorted(set(kind_of.values()))
    lines = ["| % right | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for arm, runs in last.items():
        cells = [
            mean(_accuracy({i: f for i, f in flags.items() if kind_of[i] == name}) for flags in runs.values())
            for name in names
        ]
        shown = "base, greedy" if arm == GREEDY else arm
        lines.append(f"| {shown} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |")
    return "\n".join(lines)


def detectable(values: list[float]) -> float:
    """The difference of a mean from 0 that a t test over these bases detects with a power of 80 %."""
    return float(TTestPower().solve_power(nobs=len(values), alpha=0.05, power=0.8)) * stdev(values)


def selfplay(found: dict[Key, Flags], world: str, split: str) -> str:
    """Each arm's last iteration over the best decoding of the same base: percent right, points, interval."""
    bases = _bases(found, world)
    lines = [
        "| arm | iterations | n | " + " | ".join(f"base {base}" for base in bases) + " | mean over bases |",
        "|---|" + "---|" * (len(bases) + 3),
    ]
    for name, arm in (("greedy", GREEDY), ("best decoding", "")):
        ways = [arm or best_decoding(found, world, base) for base in bases]
        values = [
            _accuracy(found[world, base, way, 0, 0, split]) for base, way in zip(bases, ways, strict=True)
        ]
        shown = [
            f"{value:.1f}" + f" ({way.removeprefix(DECODING)})" * (not arm)
            for value, way in zip(values, ways, strict=True)
        ]
        n = len(found[world, bases[0], ways[0], 0, 0, split])
        lines.append(f"| {name} | | {n} | " + " | ".join(shown) + f" | {mean(values):.1f} |")
    for arm in _arms(found, world, split):
        cells: dict[int, list[str]] = {}
        gains: dict[int, list[float]] = {}
        runs = _runs(found, world, arm, split)
        for run in runs:
            reference = found[world, run.base, best_decoding(found, world, run.base), 0, 0, split]
            points, shown_gain, n = gain(reference, run.last)
            value = _accuracy({item: run.last[item] for item in set(reference) & set(run.last)})
            gains.setdefault(run.base, []).append(points)
            cells.setdefault(run.base, []).append(f"{value:.1f}: {shown_gain}")
        last = sorted({max(run.by_iteration) for run in runs})
        own = [", ".join(cells.get(base, [])) for base in bases]
        lines.append(
            f"| {arm} | {' to '.join(map(str, dict.fromkeys((last[0], last[-1]))))} | {n} | "
            + " | ".join(own)
            + f" | **{over_bases([mean(one) for one in gains.values()], power=True)}** |"
        )
    return "\n".join(lines)


def _bases(found: dict[Key, Flags], world: str) -> list[int]:
    return sorted({key[1] for key in found if key[0] == world and key[2] == GREEDY})


def shares(found: dict[Key, Flags], world: str) -> str:
    """Points gained over greedy answers by iteration, mean over bases, and the share of the gold arm's."""
    curves = gained(found, world)
    last = max(max(curve) for curve in curves.values())
    lines = [
        f"| points over greedy{' (% of gold)' * (GOLD_ARM in curves)} | "
        + " | ".join(map(str, range(1, last + 1)))
        + " |",
        "|---|" + "---|" * last,
    ]
    for arm, curve in curves.items():
        cells = []
        for i in range(1, last + 1):
            top = curves.get(GOLD_ARM, {}).get(i)
            share = f" ({100 * curve[i] / top:.0f})" if i in curve and top and arm != GOLD_ARM else ""
            cells.append(f"{curve[i]:+.1f}{share}" if i in curve else "")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gained(found: dict[Key, Flags], world: str) -> dict[str, dict[int, float]]:
    """Points over greedy answers on development scenes by arm and iteration, mean over bases and their seeds.

    An iteration counts that at least one seed of every base has reached.
    """
    curves: dict[str, dict[int, float]] = {}
    for arm in _arms(found, world, "development"):
        runs = _runs(found, world, arm, "development")
        for i in sorted(_reached(runs) - {0}):
            over = [(run.base, _accuracy(run.by_iteration[i]) - _accuracy(run.by_iteration[0]))
                    for run in runs if i in run.by_iteration]  # fmt: skip
            curves.setdefault(arm, {})[i] = _by_base(over)
    return curves


def _reached(runs: "list[Arm]") -> set[int]:
    """The iterations that at least one seed of every base has."""
    bases = {run.base for run in runs}
    return set.intersection(
        *({i for run in runs if run.base == base for i in run.by_iteration} for base in bases)
    )


def _by_base(values: list[tuple[int, float]]) -> float:
    """The mean over bases of the mean over a base's seeds."""
    own: dict[int, list[float]] = {}
    for base, value in values:
        own.setdefault(base, []).append(value)
    return mean(map(mean, own.values()))


def tries(found: dict[Key, Flags], world: str) -> str:
    """Points over greedy answers of the runs on base 0 that chose the settings, by iteration."""
    names = sorted({key[2] for key in found if key[0] == world and key[2].startswith(TRIED)})
    shown = {name: name.removeprefix(TRIED) for name in names}
    shown |= {arm: f"both signs, 2e-3: {arm}" for arm in ("paper, random rewards", GOLD_ARM)}
    lines = ["| base 0, development, points over greedy | four iterations | last |", "|---|---|---|"]
    for arm, said in shown.items():
        run = _runs(found, world, arm, "development")[0]
        last = max(run.by_iteration)
        over = {i: _accuracy(run.by_iteration[i]) - _accuracy(run.by_iteration[0]) for i in (4, last)}
        lines.append(f"| {said} | {over[4]:+.1f} | {over[last]:+.1f} ({last}) |")
    return "\n".join(lines)


def decay(found: dict[Key, Flags], world: str) -> str:
    """From the iteration that is best on development scenes to the last one, on held-out scenes."""
    bases = _bases(found, world)
    lines = [
        "| arm | n | " + " | ".join(f"base {base}" for base in bases) + " | mean over bases |",
        "|---|" + "---|" * (len(bases) + 2),
    ]
    for arm in _arms(found, world, "held-out"):
        changes: dict[int, list[float]] = {}
        cells: dict[int, list[str]] = {}
        for run in _runs(found, world, arm, "held-out"):
            seen = {
                key[4]: _accuracy(flags)
                for key, flags in found.items()
                if (*key[:4], key[5]) == (world, run.base, arm, run.seed, "development")
            }
            best, last = max(seen, key=lambda i: (seen[i], -i)), max(seen)
            if not {best, last} <= set(run.by_iteration):  # the best one was not asked
                continue
            points, shown, _ = gain(run.by_iteration[best], run.last) if best < last else (0.0, "+0.0", 0)
            changes.setdefault(run.base, []).append(points)
            cells.setdefault(run.base, []).append(f"{best} to {last}: {shown}")
        if set(changes) != set(bases):
            continue
        own = [", ".join(cells[base]) for base in bases]
        means = over_bases([mean(one) for one in changes.values()])
        lines.append(f"| {arm} | {len(run.last)} | " + " | ".join(own) + f" | **{means}** |")
    return "\n".join(lines)


def questions(world: str) -> str:
    """What curation asked and kept in the first and the last iteration of each arm, mean over bases."""
    table = load_questions(world)
    lines = [
        "| arm | iteration | asked | answerable, % | known kinds, % | moved, points | kept | silver right, % "
        "| of the answerable, % | completions so far |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in sorted({row["arm"] for row in table}):
        own = [row for row in table if row["arm"] == arm]
        runs = sorted({(row["base"], row["seed"]) for row in own})
        last = min(max(row["iteration"] for row in own if (row["base"], row["seed"]) == run) for run in runs)
        for i in sorted({1, last}):
            each = [_curated(table, arm, run, i) for run in runs]
            columns = [[one[place] for one in each] for place in range(len(each[0]))]
            cells = [
                f"{mean(known):.0f}" if (known := [c for c in column if c is not None]) else ""
                for column in columns
            ]
            lines.append(f"| {arm} | {i} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _curated(table: list[Row], arm: str, run: tuple[int, int], iteration: int) -> list[float | None]:
    """One run's cells of `questions`; None where nothing is known."""
    own = [row for row in table if row["arm"] == arm and (row["base"], row["seed"]) == run]
    now = [row for row in own if row["iteration"] == iteration and row["phase"] == "curation"]
    total = {name: sum(row[name] for row in now) for name in COUNTS}
    mix = _mix(now)
    first = _mix(
        [
            row
            for row in table
            if row["arm"] == next((arm for arm in AS_BASE if any(one["arm"] == arm for one in table)), "")
            and (row["base"], row["iteration"], row["phase"]) == (run[0], 1, "curation")
        ]
    )
    moved = _apart(mix, first) if first else None
    spent = _completions(table, arm, run)[iteration]
    return [
        total["asked"],
        100 * total["answerable"] / total["asked"],
        100 * sum(mix.get(kind, 0) for kind in KNOWN),
        moved,
        total["kept"],
        100 * total["kept_right"] / total["kept"],
        100 * total["kept_right"] / total["kept_answerable"] if total["kept_answerable"] else None,
        spent,
    ]


def _mix(rows: list[Row]) -> dict[str, float]:
    asked = sum(row["asked"] for row in rows)
    return {row["kind"]: row["asked"] / asked for row in rows} if asked else {}


def _apart(one: dict[str, float], other: dict[str, float]) -> float:
    """The total variation between two mixes of kinds, in points."""
    return 50 * sum(abs(one.get(kind, 0) - other.get(kind, 0)) for kind in {*one, *other})


def differences(found: dict[Key, Flags], world: str, compared: Sequence[tuple[str, str, str]]) -> str:
    """Points by which arms with something are better than those without it: by base, and over bases.

    First the last iteration of both on held-out questions, then on development questions the last iterations
    that the completions of the cheaper arm cover. *Apart* compares the kinds asked in the last iteration.
    """
    table = load_questions(world)
    bases = _bases(found, world)
    lines = [
        "| points gained by | " + " | ".join(f"base {base}" for base in bases)
        + " | mean over bases, held-out | at equal completions, development | kinds apart, points |",
        "|---|" + "---|" * (len(bases) + 3),
    ]  # fmt: skip
    for name, *pair in compared:
        held = [{(run.base, run.seed): run for run in _runs(found, world, arm, "held-out")} for arm in pair]
        seen = [
            {(run.base, run.seed): run for run in _runs(found, world, arm, "development")} for arm in pair
        ]
        common = sorted(set.intersection(*map(set, (*held, *seen))))
        shared = {
            run: set(held[0][run].by_iteration) & set(held[1][run].by_iteration) - {0} for run in common
        }
        iterations = (
            set.intersection(*shared.values()) if {base for base, _ in common} == set(bases) else set()
        )
        if not iterations:
            continue
        last = max(iterations)  # of all runs alike
        by_base: dict[int, list[float]] = {}
        equal: dict[int, list[float]] = {}
        apart: list[float] = []
        for run in common:
            by_base.setdefault(run[0], []).append(
                gain(held[1][run].by_iteration[last], held[0][run].by_iteration[last])[0]
            )
            spent = [_completions(table, arm, run) for arm in pair]
            least = min(max(own.values()) for own in spent)
            place = [max(i for i, total in {0: 0, **own}.items() if total <= least) for own in spent]
            flags = [seen[side][run].by_iteration[place[side]] for side in (0, 1)]
            equal.setdefault(run[0], []).append(gain(flags[1], flags[0])[0])
            mixes = []
            for arm in pair:
                own = [row for row in table if (row["arm"], row["base"], row["seed"]) == (arm, *run)]
                mixes.append(
                    _mix([row for row in own if (row["iteration"], row["phase"]) == (last, "curation")])
                )
            apart.append(_apart(*mixes))
        values, at_equal = ([mean(own) for own in one.values()] for one in (by_base, equal))
        lines.append(
            f"| {name} | " + " | ".join(f"{value:+.1f}" for value in values)
            + f" | **{over_bases(values, power=True)}** | {over_bases(at_equal, power=True)} "
            f"| {mean(apart):.0f} |"
        )  # fmt: skip
    return "\n".join(lines)


def _completions(table: list[Row], arm: str, run: tuple[int, int]) -> dict[int, int]:
    """Completions that one run had spent after each iteration: questions, votes and rollouts."""
    own = [row for row in table if (row["arm"], row["base"], row["seed"]) == (arm, *run)]
    return {
        i: sum(row["asked"] + row["votes"] for row in own if row["iteration"] <= i)
        for i in sorted({row["iteration"] for row in own})
    }


class Arm(NamedTuple):
    """The answers of one run on one split."""

    base: int
    seed: int
    by_iteration: dict[int, Flags]

    @property
    def last(self) -> Flags:
        """The answers of the last iteration."""
        return self.by_iteration[max(self.by_iteration)]

    @property
    def name(self) -> str:
        """How tables name the run."""
        return f"{self.base}, seed {self.seed}" if self.seed else str(self.base)


def _arms(found: dict[Key, Flags], world: str, split: str) -> list[str]:
    """The arms of `benchmarks.gate` that are stored."""
    names = {key[2] for key in found if key[0] == world and key[5] == split}
    return [arm for arm in (*ARMS, VIEWED) if arm in names and arm != UNTRAINED]


def _runs(found: dict[Key, Flags], world: str, arm: str, split: str) -> list[Arm]:
    keys = [key for key in found if (key[0], key[2], key[5]) == (world, arm, split)]
    return [
        Arm(base, seed, {key[4]: found[key] for key in sorted(keys) if (key[1], key[3]) == (base, seed)})
        for base, seed in sorted({(key[1], key[3]) for key in keys})
    ]


def draw(found: dict[Key, Flags], world: str, path: Path) -> None:
    """Accuracy by iteration of each arm on development scenes: mean over bases, each base thin."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = world  # the same file each time
    figure, axis = pyplot.subplots(figsize=(8, 4.6), layout="constrained")
    drawn = [arm for arm in _arms(found, world, "development") if arm in CHARTED]
    for color, arm in zip(COLORS, drawn, strict=False):
        runs = _runs(found, world, arm, "development")
        for run in runs:
            values = [_accuracy(flags) for flags in run.by_iteration.values()]
            axis.plot(list(run.by_iteration), values, color=color, alpha=0.25, linewidth=1)
        reached = sorted(_reached(runs))
        means = [
            _by_base([(run.base, _accuracy(run.by_iteration[i])) for run in runs if i in run.by_iteration])
            for i in reached
        ]
        axis.plot(reached, means, color=color, linewidth=2.2, label=arm)
    bases = _bases(found, world)
    best = [found[world, base, best_decoding(found, world, base), 0, 0, "development"] for base in bases]
    axis.axhline(
        mean(map(_accuracy, best)), color="#555555", linestyle="--", linewidth=1, label="best decoding"
    )
    axis.set(xlabel="iteration", ylabel="% right, development")
    axis.grid(alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def tables() -> dict[str, str]:
    """Every table by its name, in Markdown."""
    found = load()
    made: dict[str, str] = {}
    for world in sorted({key[0] for key in found}):
        for split in ("development", "held-out"):
            if any(key[0] == world and key[5] == split for key in found):
                made[f"{world} decoding {split}"] = decoding(found, world, split)
        if any(key[0] == world and key[2].startswith("gold labels") for key in found):
            made[f"{world} arms"] = arms(found, world)
        if any(key[0] == world and key[2] in ARMS and key[5] == "development" for key in found):
            made[f"{world} kinds"] = kinds(found, world)
        for split in ("development", "held-out"):
            if _arms(found, world, split):
                made[f"{world} selfplay {split}"] = selfplay(found, world, split)
        if _arms(found, world, "development"):
            made[f"{world} shares"] = shares(found, world)
            if any(key[0] == world and key[2].startswith(TRIED) for key in found):
                made[f"{world} tries"] = tries(found, world)
            made[f"{world} questions"] = questions(world)
        if _arms(found, world, "held-out") and _arms(found, world, "development"):
            made[f"{world} decay"] = decay(found, world)
            made[f"{world} questioner"] = differences(found, world, QUESTIONER)
            made[f"{world} parts"] = differences(found, world, PARTS)
        if any(key[0] == world and key[2] in (GOLD.format(mix="even"), GOLD_ARM) for key in found):
            made[f"{world} gates"] = gates(found, world)
    return made


def filled(page: str, made: dict[str, str]) -> str:
    """The page with each `<!-- evidence: NAME -->` ... `<!-- end -->` holding the table of that name.

    Raises:
        KeyError: no table has that name, or nothing of it is stored.
    """
    return MARK.sub(lambda mark: f"{mark[1]}\n{made[mark[2]]}\n{mark[3]}", page)


def main() -> None:
    """Add rows, write the tables into the pages, or print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--add", nargs="+", type=Path, default=[], metavar="PATH", help="files and run folders"
    )
    parser.add_argument("--base", type=int, default=0, help="the seed of the base that answered")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into the pages")
    asked = parser.parse_args()
    if asked.add:
        add(asked.add, asked.base)
    made = tables()
    if asked.write_docs:
        found = load()
        draw(found, "wide", DOCS / "images" / "wide-arms.svg")
        for page in PAGES:
            page.write_text(filled(page.read_text(encoding="utf-8"), made), encoding="utf-8")
    for name, table in made.items():
        print(f"\n## {name}\n\n{table}")


if __name__ == "__main__":
    main()
