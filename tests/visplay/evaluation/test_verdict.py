"""One verdict for one number, wherever it is read; and no sentence says more than its interval carries."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.visplay.report.small_run import benchmark, change, write_json
from visplay.cli.printing import print_result
from visplay.evaluation.verdict import headlines, sum_up, verdicts

CONFIG = {"evaluation": {"benchmarks": ["dusk", "easy"]}}
BETTER = change(0.218, 0.187, 0.25, p_value=1e-9)
OPEN = change(0.004, -0.01, 0.018, p_value=0.7)
WORSE = change(-0.1, -0.13, -0.07, p_value=1e-9)
CLOSE = change(0.04, 0.01, 0.07, p_value=0.013)  # better by itself


def said(
    evaluations: dict[int, dict[str, Any]], *, curations: dict[int, Any] | None = None,
    health: dict[int, Any] | None = None, config: dict[str, Any] = CONFIG,
) -> tuple[str, str]:  # fmt: skip
    """What is said of the help, and of the labels."""
    sentences = sum_up(evaluations, curations=curations or {}, health=health or {}, config=config)
    *helped, labels = (
        text.replace("\u00a0", " ").replace("\u202f", " ").replace("\u2212", "-") for text in sentences
    )
    return " ".join(helped), labels


def silver(value: float, *, half: float = 0.04, n: int = 637) -> dict[str, Any]:
    kept = {"value": value, "low": value - half, "high": value + half, "n": n}
    return {"silver_accuracy": {"kept": kept, "rejected": None}}


def withheld() -> dict[str, Any]:
    return {"n": 1000, "accuracy": None, "headline": None, "withheld": "90 of 1000 rows failed"}


def test_all_benchmarks_and_iterations_of_a_run_are_one_family() -> None:
    run = {0: {}} | {
        i: {"dusk": benchmark(0.6, paired=OPEN), "easy": benchmark(0.6, paired=OPEN)} for i in (1, 2)
    }
    run[3] = {"dusk": benchmark(0.64, paired=CLOSE), "easy": benchmark(0.6, paired=WORSE)}
    found = verdicts(run)
    assert {verdict.tests for verdict in found.values()} == {6} and len(found) == 6
    assert found[3, "dusk"].p == pytest.approx(5 * 0.013) and found[3, "dusk"].word == "can't tell"
    assert found[3, "easy"].word == "worse"
    alone = verdicts({0: {}, 3: {"dusk": benchmark(0.64, paired=CLOSE)}})
    assert alone[3, "dusk"].word == "better"


def test_page_terminal_and_card_give_one_verdict_on_one_number(tmp_path: Path) -> None:
    """Five iterations, p = 0.013 on a benchmark in the last: no place calls that better."""
    run = {0: {"dusk": benchmark(0.6)}} | {i: {"dusk": benchmark(0.604, paired=OPEN)} for i in range(1, 5)}
    run[5] = {"dusk": benchmark(0.64, paired=CLOSE)}
    for iteration, own in run.items():
        write_json(tmp_path / f"iteration-{iteration}/evaluation/summary.json", {"benchmarks": own})
    (line,) = headlines(run)
    assert line.verdict == "can't tell" and "Holm's correction for 5 comparisons" in line.sentence
    (in_the_card,) = headlines(run, iteration=5)
    assert in_the_card == line
    helped, _ = said(run)
    assert helped == (
        "Whether self-play helped can't be told on dusk (+4.0 points [+1.0, +7.0], n = 1 000 after "
        "iteration 5), corrected for 5 comparisons."
    )
    console = Console(width=200, record=True)
    print_result(tmp_path, console)
    assert "5: can't tell, +4.0" in console.export_text() and "better" not in console.export_text()


def test_gain_harm_and_what_is_open_are_told_with_their_intervals() -> None:
    base = {"dusk": benchmark(0.613), "easy": benchmark(0.7)}
    after = {"dusk": benchmark(0.831, paired=BETTER), "easy": benchmark(0.704, paired=OPEN)}
    text = said({0: base, 1: after})[0]
    assert text.startswith(
        "Self-play helped on dusk: +21.8 points [+18.7, +25.0], n = 1 000 after iteration 1."
    )
    assert "Gains are over the base's greedy answers" in text
    assert "helped can't be told on easy (+0.4 points [-1.0, +1.8], n = 1 000 after iteration 1)" in text
    text = said(
        {0: base, 1: {"dusk": benchmark(0.831, paired=BETTER)}, 2: {"dusk": benchmark(0.5, paired=WORSE)}}
    )[0]
    assert (
        "the best of 2 iterations as chosen on these questions; after iteration 2 the verdict is worse"
        in text
    )
    assert "hurt on dusk: -10.0 points" in said({0: base, 1: {"dusk": benchmark(0.5, paired=WORSE)}})[0]
    dip = {0: base, 1: {"dusk": benchmark(0.5, paired=WORSE)}, 2: {"dusk": benchmark(0.604, paired=OPEN)}}
    assert said(dip)[0].startswith("Whether self-play helped can't be told on dusk (+0.4 points")
    control = {0: {}, 1: {"dusk": benchmark(0.8, paired=BETTER)}}
    assert said(control, config={"control": "random_reward"})[0].startswith(
        "This control (random_reward) helped"
    )


def test_what_was_not_measured_has_its_sentence() -> None:
    assert said({})[0].startswith("Nothing is measured (evaluation.benchmarks), so it is unknown")
    only_base = said({0: {"dusk": benchmark(0.613), "easy": withheld()}})[0]
    assert only_base.endswith("whether self-play helps; the base starts from 61.3 % on dusk.")
    failed = said({0: {"dusk": benchmark(0.613)}, 1: {"dusk": withheld()}})[0]
    assert failed == "No figure is reported on dusk (90 of 1000 rows failed)."
    assert said({1: {"dusk": benchmark(0.613)}})[0] == "No figure is reported on dusk (not compared)."


@pytest.mark.parametrize(
    ("known", "trust"),
    [
        ([0.57], "its labels are mostly right."),
        ([0.52], "its labels should not be trusted (no better than even)."),
        ([0.4], "its labels should not be trusted (mostly wrong)."),
        ([0.6, 0.5, 0.3],
         "its labels should not be trusted (no better than even or mostly wrong) from iteration 2 on."),
        ([0.6, 0.3, 0.6, 0.3, 0.6], "its labels should not be trusted (mostly wrong) in iterations 2 and 4."),
        ([0.6, 0.3, 0.6], "its labels should not be trusted (mostly wrong) in iteration 2."),
    ],
)  # fmt: skip
def test_labels_whose_truth_is_known(known: list[float], trust: str) -> None:
    text = said({}, curations={i: silver(value) for i, value in enumerate(known, start=1)})[1]
    first = f"{100 * known[0]:.1f} % of the silver answers kept for training were right in iteration 1 "
    first += "(n = 637; truth is known here)"
    later = f", {100 * known[-1]:.1f} % in iteration {len(known)} (n = 637)" if len(known) > 1 else ""
    assert text == f"{first}{later}, so {trust}"


def test_labels_whose_truth_is_not_known() -> None:
    blank = {1: {"silver_accuracy": None}, 2: {"silver_accuracy": None}}
    assert said({})[1] == "No labels have been made yet."
    assert said({}, curations=blank)[1] == (
        "The true answers of its questions are not known and no probe was voted on, so it is unknown whether "
        "its labels are right."
    )
    health = {1: {"probe_silver": 0.9}, 2: {"probe_silver": 0.5}, 3: {"probe_silver": None}}
    assert said({0: {"dusk": benchmark(0.6)}}, curations=blank, health=health)[1] == (
        "The true answers of its questions are not known. On labelled questions of dusk, 50.0 % of the votes "
        "of moderate confidence were right after iteration 2: "
        "wrong at least as often as right there. It is "
        "unknown whether its own labels are right."
    )
    named = said(
        {}, curations=blank, health={1: {"probe_silver": 0.7}}, config={"health": {"probe": "mmstar"}}
    )[1]
    assert "On labelled questions of mmstar, 70.0 %" in named and "right more often than not there" in named
    assert said({}, curations={1: {"silver_accuracy": {"kept": None, "rejected": None}}})[1].startswith(
        "No silver"
    )
