"""The answers and questions that the tables of the pages count, in two small files.

docs/results/evidence.parquet has a row for each answer: which base, arm, seed, iteration and question, right
or wrong. docs/results/questions.parquet counts what each phase of a run asked, by kind of question.
`benchmarks.evidence` adds rows and prints the tables.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.decoding import WORLDS
from benchmarks.gate import ARMS, run_of
from benchmarks.gate_tables import held_out_folder
from visplay.config.yaml_text import read_yaml
from visplay.evaluation.records import read_records
from visplay.loop.asking import Asked
from visplay.loop.health import is_right
from visplay.pocket.benchmark import wide
from visplay.pocket.oracle import parse_query
from visplay.runs.results import read_summaries

DOCS = Path(__file__).parents[1] / "docs"
STORE = DOCS / "results" / "evidence.parquet"
QUESTIONS = DOCS / "results" / "questions.parquet"
SCHEMA = pa.schema(
    [
        ("world", pa.string()), ("base", pa.int8()), ("arm", pa.string()), ("seed", pa.int8()),
        ("iteration", pa.int8()), ("split", pa.string()), ("item", pa.string()), ("kind", pa.string()),
        ("right", pa.bool_()),
    ]
)  # fmt: skip
RUN = ("world", "base", "arm", "seed", "iteration")
COUNTS = ("asked", "answerable", "votes", "kept", "kept_answerable", "kept_right")
MALFORMED, OUTSIDE = "malformed", "outside the grammar"  # further kinds of what a Questioner writes
QUESTIONS_SCHEMA = pa.schema(
    [
        ("world", pa.string()), ("base", pa.int8()), ("arm", pa.string()), ("seed", pa.int8()),
        ("iteration", pa.int8()), ("phase", pa.string()), ("kind", pa.string()),
        *((name, pa.int32()) for name in COUNTS),
    ]
)  # fmt: skip
DECODING = "decoding: "
GREEDY = f"{DECODING}greedy"
GOLD = "gold labels, {mix}"
GOLD_ARM, GOLD_OWN = "gold, oracle's mix", "gold, base's mix"
UNTRAINED = "paper, untrained Questioner"  # for its questions
TRIED = "tried: "  # begins the names of runs that chose the settings of decision 019
VIEWED = "steady, views, memory"  # votes on changed pictures, a penalty for repeated skills; both are removed
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
    arm, seed = arm_of(run)
    config = run / "config.yaml"
    held = read_yaml(config.read_text(encoding="utf-8")) if config.exists() else {}
    own = held.get("evaluation", {}).get("split", "development")
    found = [
        (own, int(folder.parts[-3].partition("-")[2]), folder)
        for folder in sorted(run.glob("iteration-*/evaluation/*/"))
    ]
    found += [
        ("held-out", iteration, folder)
        for iteration in read_summaries(run)
        for folder in sorted(held_out_folder(run, iteration, run.parent).glob("*/"))
    ]
    for split, iteration, folder in found:
        if (folder / "greedy.jsonl").exists():
            for record in read_records(folder / "greedy.jsonl"):
                yield {
                    "world": folder.name.removeprefix("pocket-"), "base": base, "arm": arm, "seed": seed,
                    "iteration": iteration, "split": split, "item": record["item"],
                    "kind": record["kind"] or "", "right": bool(record["correct"]),
                }  # fmt: skip


def arm_of(run: Path) -> tuple[str, int]:
    """The arm and the seed of a run of `benchmarks.gate`, from its folder's name."""
    seed = int(run.name.rpartition("-")[2])
    known = {run_of(run.parent, arm, seed).name: arm for arm in (*ARMS, VIEWED)}
    return known.get(run.name, run.name.rpartition("-")[0]), seed


def questions_of(run: Path, base: int) -> Iterator[Row]:
    """What each finished iteration of a run asked, kept and labelled rightly, by phase and kind of question.

    A row counts the questions of one kind: asked, with a true answer, votes taken on them, kept, and of
    those kept with a true answer and with that answer as the silver one. The Reasoner's phase counts its
    rollouts as votes.
    """
    arm, seed = arm_of(run)
    summaries = read_summaries(run)
    world = next(iter(summaries[0])).removeprefix("pocket-")
    for iteration in sorted(set(summaries) - {0}):
        folder = run / f"iteration-{iteration}"
        counts: dict[tuple[str, str], dict[str, int]] = {}
        for phase, file in (("questioner", "rollouts"), ("curation", "candidates"), ("reasoner", "rollouts")):
            path = folder / phase / f"{file}.parquet"
            for record in pq.read_table(path).to_pylist() if path.exists() else ():
                if phase == "reasoner":
                    found = dict.fromkeys(COUNTS, 0) | {"votes": 1}
                    kind = ""
                else:
                    row = Asked.from_record(record)
                    query = parse_query(record["question"])
                    kind = MALFORMED if not record["valid"] else query.kind if query else OUTSIDE
                    kept = bool(record.get("kept"))
                    found = {
                        "asked": 1, "answerable": int(row.truth is not None), "votes": record["samples"],
                        "kept": int(kept), "kept_answerable": int(kept and row.truth is not None),
                        "kept_right": int(kept and is_right(row)),
                    }  # fmt: skip
                own = counts.setdefault((phase, kind), dict.fromkeys(COUNTS, 0))
                for name, value in found.items():
                    own[name] += value
        for (phase, kind), own in counts.items():
            run_row = dict(zip(RUN, (world, base, arm, seed, iteration), strict=True))
            yield {**run_row, "phase": phase, "kind": kind, **own}


def add(paths: list[Path], base: int) -> None:
    """Put the rows of these files into the stores, in place of those with the same key."""
    _replace(STORE, SCHEMA, [row for path in paths for row in rows_of(path, base)], by=(*RUN, "split"))
    asked = [row for path in paths if path.is_dir() for row in questions_of(path, base)]
    _replace(QUESTIONS, QUESTIONS_SCHEMA, asked, by=RUN)


def _replace(store: Path, schema: pa.Schema, new: list[Row], *, by: tuple[str, ...]) -> None:
    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in by)

    if not new:
        return
    replaced = {key(row) for row in new}
    old = pq.read_table(store).to_pylist() if store.exists() else []
    rows = [row for row in old if key(row) not in replaced] + new
    rows.sort(key=lambda row: (*key(row), row.get("item", ""), row["kind"]))
    store.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), store, compression="zstd")


def load() -> dict[Key, Flags]:
    """Right or wrong by item, for each arm, iteration and split."""
    found: dict[Key, Flags] = {}
    for row in pq.read_table(STORE).to_pylist():
        key = tuple(row[name] for name in (*RUN, "split"))
        found.setdefault(key, {})[row["item"]] = row["right"]
    return found


def kind_of_items(world: str) -> dict[str, str]:
    """The kind of question of each item of a world."""
    table = pq.read_table(STORE, columns=["item", "kind"], filters=[("world", "=", world)]).to_pylist()
    return {row["item"]: row["kind"] for row in table}


def load_questions(world: str) -> list[Row]:
    """What the phases of each run of a world asked, one row a kind of question."""
    return pq.read_table(QUESTIONS, filters=[("world", "=", world)]).to_pylist()
