"""The tables of the docs are those that the stored answers give, and a gain is one over the best decoding."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import evidence
from visplay.pocket.benchmark import wide


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
    assert evidence.STORE.stat().st_size < 2_000_000


def test_the_readme_has_the_means_of_the_stored_answers() -> None:
    found = evidence.load()
    greedy, best, gold = ([], [], [])
    for base in (0, 1, 2):
        gold_of = {k[4]: v for k, v in found.items() if k[:3] == ("wide", base, "gold labels, even")}
        way = evidence.best_decoding(found, "wide", base)
        for own, flags in ((greedy, found["wide", base, evidence.GREEDY, 0, 0, "development"]),
                           (best, found["wide", base, way, 0, 0, "development"]),
                           (gold, gold_of[max(gold_of)])):  # fmt: skip
            own.append(100 * sum(flags.values()) / len(flags))
    row = " | ".join(f"{sum(own) / 3:.1f}" for own in (greedy, best)) + f" | **{sum(gold) / 3:.1f}**"
    readme = (evidence.DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert f"| wide, mean of three bases | {row} |" in readme
    gains = evidence.gates(found, "wide").splitlines()[-2]
    low, high = gains.split("[")[1].split("]")[0].replace("+", "").split(", ")
    assert f"gains {sum(gold) / 3 - sum(best) / 3:.1f} points [{low}, {high}]" in readme


def line(**entry: object) -> str:
    return json.dumps(entry) + "\n"


def test_a_gain_is_over_the_best_decoding_of_the_same_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "STORE", tmp_path / "evidence.parquet")
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
        evidence.add([ways, control], base)
        evidence.add([control], base)  # once more changes nothing
    found = evidence.load()
    assert len(pq.read_table(evidence.STORE)) == 2 * 5 * 12
    assert evidence.best_decoding(found, "wide", 0) == "decoding: majority of 10"
    table = evidence.arms(found, "wide")
    assert "| gold labels, even | 0, 0 | 12 | majority of 10: 50.0 | 25.0, 91.7 | +41.7 [" in table
    # Bases gain 41.7 and 25.0 points: 33.3, and Student's t with one degree of freedom.
    assert "| **mean over bases** | | | | **+33.3 [-72.6, +139.2]** |" in table
    gates = evidence.gates(found, "wide")
    assert "| **a: mean over bases** | **+10** | | | **+33.3 [-72.6, +139.2]** |" in gates
    assert "| **b: mean over bases** | **+5** | | | **+33.3 [-72.6, +139.2]** |" in gates
    assert "| base, greedy | " in evidence.kinds(found, "wide")
    assert {item.key for item in wide(12, 0, "development")} == set(
        found["wide", 0, "gold labels, even", 0, 1, "development"]
    )


def test_what_is_no_evidence_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text(line(loss=1.0))
    with pytest.raises(ValueError, match="neither"):
        list(evidence.rows_of(tmp_path / "other.jsonl", 0))
