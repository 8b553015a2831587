"""Every row of the hand-made table of raw outputs, over all rules of scoring."""

from pathlib import Path

import pytest

from visplay.evaluation.items import Gold
from visplay.evaluation.scoring import score_output

TABLE = Path(__file__).parents[2] / "golden" / "raw_outputs.tsv"


def rows() -> list[object]:
    table = []
    for number, line in enumerate(TABLE.read_text(encoding="utf-8").splitlines()[1:], start=2):
        rule, output, options, gold, extra, verdict = line.split("\t")
        name, _, value = extra.partition("=")
        held = Gold(
            rule=rule,
            answers=tuple(gold.split("||")),
            options=tuple(options.split("|")) if options else (),
            decimals=int(value) if name == "decimals" else None,
            tolerance=float(value) if name == "tolerance" else None,
        )
        table.append(pytest.param(output, held, name == "cut", verdict, id=f"line {number}: {rule}"))
    return table


@pytest.mark.parametrize(("output", "gold", "cut", "verdict"), rows())
def test_raw_output(output: str, gold: Gold, cut: bool, verdict: str) -> None:
    score = score_output(output, gold, cut=cut)
    said = score.status if score.status != "ok" else "right" if score.correct else "wrong"
    assert said == verdict, score
    assert score.score == float(verdict == "right")


def test_the_table_is_as_large_and_as_wide_as_it_says() -> None:
    lines = TABLE.read_text(encoding="utf-8").splitlines()[1:]
    assert len(set(lines)) == len(lines) >= 150
    assert {line.split("\t")[0] for line in lines} == {
        "choice", "yes_no", "number", "open", "relaxed", "text",
    }  # fmt: skip
    assert {line.split("\t")[-1] for line in lines} == {"right", "wrong", "unparsed", "truncated"}
