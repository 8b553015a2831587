r"""The tables of docs/wide-world.md and docs/when-self-play-helps.md, from stored answers and without a run.

docs/results/evidence.parquet has a row for each answer that a table counts: which base, which arm, which
question, right or wrong. Without an option this program prints every table from it. `--add` reads what
`benchmarks.decoding`, `benchmarks.positive_control` and `benchmarks.gate` have written:

    python -m benchmarks.evidence
    python -m benchmarks.evidence --base 0 --write-docs \
        --add runs/decoding-0.jsonl runs/control-0/even.jsonl runs/gate-wide/paper-0

A gain is a gain over the best way of decoding of the same base. The unit of an interval over bases is the
base (Student's t); an interval for one base is over its questions (a bootstrap).
"""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import t

from benchmarks.decoding import WORLDS
from visplay.evaluation.records import read_records
from visplay.evaluation.statistics import paired_difference
from visplay.pocket.benchmark import wide

DOCS = Path(__file__).parents[1] / "docs"
STORE = DOCS / "results" / "evidence.parquet"
PAGES = [DOCS / "wide-world.md", DOCS / "when-self-play-helps.md"]
MARK = re.compile(r"(<!-- evidence: ([\w -]+) -->)\n.*?\n?(<!-- end -->)", re.DOTALL)
SCHEMA = pa.schema(
    [
        ("world", pa.string()), ("base", pa.int8()), ("arm", pa.string()), ("seed", pa.int8()),
        ("iteration", pa.int8()), ("split", pa.string()), ("item", pa.string()), ("kind", pa.string()),
        ("right", pa.bool_()),
    ]
)  # fmt: skip
DECODING = "decoding: "
GREEDY = f"{DECODING}greedy"
GOLD = "gold labels, {mix}"
Row = dict[str, Any]
Flags = dict[str, bool]  # item -> right
Key = tuple[str, int, str, int, int, str]  # world, base, arm, seed, iteration, split


def rows_of(path: Path, base: int) -> Iterator[Row]:
    """The rows of one file or run folder.

    Raises:
        ValueError: it is none of the three kinds.
    """
    if path.is_dir():
        yield from _of_run(path, base)
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "decoding" in entry:
            items = WORLDS[entry["world"]](entry["n"], entry["seed"], entry["split"])
            common = {
                "world": entry["world"], "arm": DECODING + entry["decoding"], "seed": 0, "iteration": 0,
                "split": entry["split"],
            }  # fmt: skip
        elif "mix" in entry:
            items = wide(len(entry["right"]), entry.get("seed", 0), "development")
            common = {
                "world": "wide", "arm": GOLD.format(mix=entry["mix"]), "seed": entry.get("seed", 0),
                "iteration": entry["iteration"], "split": "development",
            }  # fmt: skip
        else:
            raise ValueError(f"{path} is neither of benchmarks.decoding nor of benchmarks.positive_control")
        for item, flag in zip(items, entry["right"], strict=True):
            yield {**common, "base": base, "item": item.key, "kind": item.kind or "", "right": flag == "1"}


def _of_run(run: Path, base: int) -> Iterator[Row]:
    arm, _, seed = run.name.rpartition("-")
    for folder in sorted(run.glob("iteration-*/evaluation/pocket-*")):
        iteration = int(folder.parts[-3].partition("-")[2])
        for record in read_records(folder / "greedy.jsonl"):
            yield {
                "world": folder.name.removeprefix("pocket-"), "base": base, "arm": arm, "seed": int(seed),
                "iteration": iteration, "split": "development", "item": record["item"],
                "kind": record["kind"] or "", "right": bool(record["correct"]),
            }  # fmt: skip


def add(paths: list[Path], base: int) -> None:
    """Put the rows of these files into the store, in place of those with the same key."""
    rows = pq.read_table(STORE).to_pylist() if STORE.exists() else []
    new = [row for path in paths for row in rows_of(path, base)]
    replaced = {_key(row) for row in new}
    rows = [row for row in rows if _key(row) not in replaced] + new
    rows.sort(key=lambda row: (*_key(row), row["item"]))
    STORE.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), STORE, compression="zstd")


def _key(row: Row) -> Key:
    return tuple(row[name] for name in ("world", "base", "arm", "seed", "iteration", "split"))


def load() -> dict[Key, Flags]:
    """Right or wrong by item, for each arm, iteration and split."""
    found: dict[Key, Flags] = {}
    for row in pq.read_table(STORE).to_pylist():
        found.setdefault(_key(row), {})[row["item"]] = row["right"]
    return found


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


def over_bases(values: list[float]) -> str:
    """The mean with its 95 % interval over bases; of one base the mean alone."""
    if len(values) < 2:
        return f"{mean(values):+.1f} (one base)"
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return f"{mean(values):+.1f} [{mean(values) - half:+.1f}, {mean(values) + half:+.1f}]"


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
    """Each arm by iteration: percent right, and points over the best decoding of the same base."""
    lines = [
        "| arm | base, seed | n | best decoding | % right, iterations 0, 1, ... | last over best decoding |",
        "|---|---|---|---|---|---|",
    ]
    trained = sorted(key for key in found if key[0] == world and not key[2].startswith(DECODING))
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
    even, own = GOLD.format(mix="even"), GOLD.format(mix="base")
    lines = ["| gate | target | base | iterations | points |", "|---|---|---|---|---|"]
    over_decoding: list[float] = []
    over_own: list[float] = []
    for base in sorted({key[1] for key in found if key[0] == world and key[2] == even}):
        after = {
            arm: {key[4]: flags for key, flags in found.items() if key[:3] == (world, base, arm)}
            for arm in (even, own)
        }
        best = found[world, base, best_decoding(found, world, base), 0, 0, "development"]
        last = max(after[even])
        points, shown, _ = gain(best, after[even][last])
        over_decoding.append(points)
        lines.append(f"| a: gold labels over the best decoding | +10 | {base} | {last} | {shown} |")
        if common := {*after[even]} & {*after[own]} - {0}:
            same = max(common)
            points, shown, _ = gain(after[own][same], after[even][same])
            over_own.append(points)
            lines.append(f"| b: even mix over the Questioner's own | +5 | {base} | {same} | {shown} |")
    for name, target, values in (("a", 10, over_decoding), ("b", 5, over_own)):
        if values:
            lines.append(f"| **{name}: mean over bases** | **+{target}** | | | **{over_bases(values)}** |")
    return "\n".join(lines)


def kinds(found: dict[Key, Flags], world: str) -> str:
    """Each base and each arm's last iteration by kind of question, mean over bases and seeds."""
    table = pq.read_table(STORE, columns=["item", "kind"], filters=[("world", "=", world)]).to_pylist()
    kind_of = {row["item"]: row["kind"] for row in table}
    last: dict[str, dict[tuple[int, int], Flags]] = {}
    for key in sorted(key for key in found if key[0] == world and key[5] == "development"):
        if key[2] == GREEDY or not key[2].startswith(DECODING):
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


def tables() -> dict[str, str]:
    """Every table by its name, in Markdown."""
    found = load()
    made: dict[str, str] = {}
    for world in sorted({key[0] for key in found}):
        for split in ("development", "held-out"):
            if any(key[0] == world and key[5] == split for key in found):
                made[f"{world} decoding {split}"] = decoding(found, world, split)
        if any(key[0] == world and not key[2].startswith(DECODING) for key in found):
            made[f"{world} arms"] = arms(found, world)
            made[f"{world} kinds"] = kinds(found, world)
        if any(key[0] == world and key[2] == GOLD.format(mix="even") for key in found):
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
        for page in PAGES:
            page.write_text(filled(page.read_text(encoding="utf-8"), made), encoding="utf-8")
    for name, table in made.items():
        print(f"\n## {name}\n\n{table}")


if __name__ == "__main__":
    main()
