"""The tables of the docs are those that the stored answers give, and a gain is one over the best decoding."""

import argparse
import json
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import cast

import pyarrow.parquet as pq
import pytest

import rewards
from benchmarks import decoding, evidence, evidence_store
from benchmarks.gate import run_of
from benchmarks.gate_tables import held_out_folder
from rewards import Question
from visplay.loop.asking import Asked
from visplay.pocket.benchmark import wide
from visplay.schema import CANDIDATES
from visplay.storage import write_parquet


def test_the_pages_have_the_tables_of_the_stored_answers() -> None:
    made = evidence.tables()
    marks = 0
    for page in evidence.PAGES:
        text = page.read_text(encoding="utf-8")
        assert evidence.filled(text, made) == text, "run `python -m benchmarks.evidence --write-docs`"
        marks += len(evidence.MARK.findall(text))
    assert marks >= 4
    with pytest.raises(KeyError, match="wide gate"):
        evidence.filled("<!-- evidence: wide gate -->\nold\n<!-- end -->", made)
    assert evidence_store.STORE.stat().st_size < 2_000_000


def test_the_readme_has_the_means_of_the_stored_answers() -> None:
    found = evidence_store.load()
    over, values = {}, {}
    for line in evidence.selfplay(found, "wide", "held-out").splitlines()[2:]:
        arm, _, n, *_, last = (cell.strip(" *") for cell in line.strip("|").split("|"))
        assert n == "504"
        over[arm] = last.partition(";")[0].replace(" ", " points ", 1)
    for arm in (evidence.GOLD_ARM, "paper"):
        by_base: dict[int, list[float]] = {}
        for (world, base, name, seed, iteration, split), flags in found.items():
            ends = max(key[4] for key in found if key[:4] == (world, base, name, seed) and key[5] == split)
            if (world, name, split, iteration) == ("wide", arm, "held-out", ends):
                by_base.setdefault(base, []).append(100 * mean(flags.values()))
        values[arm] = mean(map(mean, by_base.values()))
    readme = (evidence.DOCS.parent / "README.md").read_text(encoding="utf-8")
    shown = f"{over['greedy']} | {over['best decoding']} | {values[evidence.GOLD_ARM]:.1f}"
    assert f"| wide, mean of three bases | {shown} | {values['paper']:.1f} |" in readme.replace("**", "")
    for arm in (evidence.GOLD_ARM, "paper", "steady"):
        assert over[arm] in readme


def line(**entry: object) -> str:
    return json.dumps(entry) + "\n"


def test_a_gain_is_over_the_best_decoding_of_the_same_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_store, "STORE", tmp_path / "evidence.parquet")
    for base, lifted in ((0, "111111111110"), (1, "111111111000")):
        ways, control = tmp_path / f"ways-{base}.jsonl", tmp_path / f"even-{base}.jsonl"
        common = {"world": "wide", "split": "development", "seed": 0, "n": 12}
        ways.write_text(
            line(**common, decoding="greedy", right="111000000000")
            + line(**common, decoding="majority of 10", right="111111000000")
        )
        control.write_text(
            line(mix="even", seed=0, iteration=0, right="111000000000")
            + line(mix="even", seed=0, iteration=1, right=lifted)
            + line(mix="base", seed=0, iteration=1, right="111111000000")
        )
        evidence_store.add([ways, control], base)
        evidence_store.add([control], base)  # once more changes nothing
    found = evidence_store.load()
    assert len(pq.read_table(evidence_store.STORE)) == 2 * 5 * 12
    assert evidence.best_decoding(found, "wide", 0) == "decoding: majority of 10"
    table = evidence.arms(found, "wide")
    assert "| gold labels, even | 0, 0 | 12 | majority of 10: 50.0 | 25.0, 91.7 | +41.7 [" in table
    # Bases gain 41.7 and 25.0 points: 33.3, and Student's t with one degree of freedom.
    assert "| **mean over bases** | | | | **+33.3 [-72.6, +139.2]** |" in table
    gates = evidence.gates(found, "wide")
    assert "| **a: mean over bases** | **+10** | by benchmarks.positive_control | | | **+33.3 [" in gates
    assert "| **b: mean over bases** | **+5** | by benchmarks.positive_control | | | **+33.3 [" in gates
    assert "| base, greedy | " in evidence.kinds(found, "wide")
    assert {item.key for item in wide(12, 0, "development")} == set(
        found["wide", 0, "gold labels, even", 0, 1, "development"]
    )


def test_what_is_no_evidence_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text(line(loss=1.0))
    with pytest.raises(ValueError, match="neither"):
        list(evidence_store.rows_of(tmp_path / "other.jsonl", 0))


def stored_run(output: Path, arm: str, right: dict[int, str]) -> Path:
    """A run of the wide world with development and held-out answers, and what its curation asked."""
    run = run_of(output, arm, 0)
    for iteration, flags in right.items():
        folder = run / f"iteration-{iteration}/evaluation"
        held_out = held_out_folder(run, iteration, output)
        for place, split in ((folder, "development"), (held_out, "held-out")):
            (place / "pocket-wide").mkdir(parents=True, exist_ok=True)
            answers = zip(wide(len(flags), 0, split), flags, strict=True)
            rows = [
                {"item": item.key, "benchmark": "pocket-wide", "kind": item.kind, "correct": flag == "1"}
                for item, flag in answers
            ]
            (place / "pocket-wide/greedy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            value = {"benchmarks": {"pocket-wide": {"accuracy": {"value": flags.count("1") / len(flags)}}}}
            (place / "summary.json").write_text(json.dumps(value))
    asked = Asked(picture="a", completion="x", truth="2")
    asked.question = Question(type="numerical", question="How many red shapes are there?", answer="2")
    asked.vote = rewards.vote(["2", "2", "3"])
    wrong = Asked(picture="b", completion="x", question=asked.question, vote=rewards.vote(["4"]), truth="2")
    unsettled = Asked(picture="c", completion="x", question=asked.question, vote=rewards.vote(["4"]))
    rows = [asked, wrong, unsettled, Asked(picture="d", completion="nothing", reject="no question")]
    folder = run / "iteration-1/curation"
    folder.mkdir(parents=True)
    records = [row.record() | {"kept": not row.reject} for row in rows]
    write_parquet(folder / "candidates.parquet", records, CANDIDATES)
    return run


def test_runs_of_self_play_give_their_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_store, "STORE", tmp_path / "evidence.parquet")
    monkeypatch.setattr(evidence_store, "QUESTIONS", tmp_path / "questions.parquet")
    for base, last in ((0, "111111111110"), (1, "111111111000")):
        output, ways = tmp_path / f"arms-{base}", tmp_path / f"ways-{base}.jsonl"
        ways.write_text(
            "".join(
                line(world="wide", split=split, seed=0, n=12, decoding=name, right=right)
                for split in ("development", "held-out")
                for name, right in (("greedy", "111000000000"), ("majority of 10", "111111000000"))
            )
        )
        runs = [
            stored_run(output, "paper, random rewards", {0: "111000000000", 1: "110000000000"}),
            stored_run(output, "gold, oracle's mix", {0: "111000000000", 1: last, 2: last}),
            stored_run(output, evidence.UNTRAINED, {0: "111000000000", 1: "111000000001"}),
        ]
        evidence_store.add([ways, *runs], base)
        evidence_store.add(runs, base)  # once more changes nothing
    found = evidence_store.load()
    assert len(pq.read_table(evidence_store.STORE)) == 2 * 2 * 12 * (2 + 2 + 3 + 2)
    for split in ("development", "held-out"):
        table = evidence.selfplay(found, "wide", split)
        # Bases gain 41.7 and 25.0 points: with two bases a t test detects 11.5 standard deviations of 11.8.
        assert "| greedy | | 12 | 25.0 | 25.0 | 25.0 |" in table
        assert "| best decoding | | 12 | 50.0 (majority of 10) | 50.0 (majority of 10) | 50.0 |" in table
        assert "| gold, oracle's mix | 2 | 12 | 91.7: +41.7 [" in table
        assert "] | **+33.3 [-72.6, +139.2]; detectable: 136.1** |" in table
        # Random rewards lose 33.3 points on both bases: the interval has no width, so no power is told.
        (means,) = [row for row in table.splitlines() if row.startswith("| paper, random rewards | 1 | ")]
        assert "[-33.3, -33.3]" in means and "detectable" not in means
    assert round(evidence.detectable([0.0, 1.0, 2.0]), 2) == 3.26
    assert "| paper, random rewards | -8.3 (-14) |  |" in evidence.shares(found, "wide")
    assert "| gold, oracle's mix | +58.3 | +58.3 |" in evidence.shares(found, "wide")
    assert "| paper, random rewards | 12 | 0 to 1: -8.3 [" in evidence.decay(found, "wide")
    # Four asked, two with an answer, one malformed, three of a known kind; three kept, one of them right.
    assert "| paper, random rewards | 1 | 4 | 50 | 75 | 0 | 3 | 33 | 50 | 9 |" in evidence.questions("wide")
    # Gold labels gain 58.3 points over random rewards' last iteration on base 0 and 50 more on base 1; both
    # runs have spent 9 completions after the first iteration, and the kinds asked are the same.
    pair = [("gold", "gold, oracle's mix", "paper, random rewards"), ("none", "paper", "band")]
    told = evidence.differences(found, "wide", pair)
    assert "| gold | +75.0 | +58.3 | **+66.7 [-39.2, +172.6]; detectable: " in told and "none" not in told
    assert told.splitlines()[-1].endswith("| +66.7 [-39.2, +172.6]; detectable: 136.1 | 0 |")
    evidence.draw(found, "wide", tmp_path / "arms.svg")
    assert "best decoding" in (tmp_path / "arms.svg").read_text()


def test_a_run_is_compared_with_the_best_decoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = stored_run(tmp_path, "paper", {0: "0" * 12, 1: "1" * 9 + "0" * 3})
    best = {item.key: False for item in wide(12, 0, "development")}
    decoding._print_against(run, "wide", best, decoding.Way("greedy"))
    assert "iteration 1: 75.0 % right, +75.0 [" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="not asked"):
        decoding._print_against(run, "wide", {"other": True}, decoding.Way("greedy"))


def test_without_development_scenes_the_named_way_is_the_best_one(capsys: pytest.CaptureFixture[str]) -> None:
    class Told:
        def first_tokens(self, items: list[object]) -> Counter[int]:
            assert items == []
            return Counter()

        def right(self, items: list[object], way: decoding.Way) -> list[bool]:
            return [way.name == "majority of 10"] * len(items)

    asked = argparse.Namespace(
        development=0, held_out=24, seed=0, tokens=6, ways=["majority of 10"], against=None, out=None
    )
    decoding._report(cast(decoding.Base, Told()), "wide", decoding.WORLDS["wide"], asked)
    said = capsys.readouterr().out
    assert "development" not in said and "| majority of 10 | 100.0 | +100.0 " in said
