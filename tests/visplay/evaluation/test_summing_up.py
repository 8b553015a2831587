"""A run in a few sentences: each case by itself, and none says more than its interval carries."""

from typing import Any

import pytest

from tests.visplay.report.small_run import benchmark, change
from visplay.evaluation.summing_up import sum_up

CONFIG = {"evaluation": {"benchmarks": ["dusk", "easy"]}}
BETTER = change(0.218, 0.187, 0.25, verdict="better", p_value=1e-9)
OPEN = change(0.004, -0.01, 0.018, verdict="can't tell", p_value=0.7)
WORSE = change(-0.1, -0.13, -0.07, verdict="worse", p_value=1e-9)


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


def test_a_gain_is_told_with_its_figures_and_what_is_open_beside_it() -> None:
    base = {"dusk": benchmark(0.613), "easy": benchmark(0.7)}
    after = {"dusk": benchmark(0.831, paired=BETTER), "easy": benchmark(0.704, paired=OPEN)}
    assert said({0: base, 1: after})[0] == (
        "Self-play helped on dusk: 61.3 to 83.1 %, +21.8 points [+18.7, +25.0] after iteration 1 "
        "(n = 1 000). "
        "Whether it helped can't be told on easy (+0.4 points [-1.0, +1.8] after iteration 1, n = 1 000)."
    )


@pytest.mark.parametrize(
    ("last", "ending"),
    [
        (benchmark(0.759, paired=change(0.146, 0.11, 0.18, verdict="better", p_value=1e-9)),
         "after iteration 2 it was back at 75.9 %."),
        (benchmark(0.82, paired=change(0.207, 0.17, 0.24, verdict="better", p_value=1e-9)),
         "after iteration 2 it was at 82.0 %."),  # within the best one's interval
        (benchmark(0.617, paired=OPEN),
         "after iteration 2 it was back at 61.7 %, which can't be told from the base."),
        (benchmark(0.513, paired=WORSE), "after iteration 2 it was back at 51.3 %, worse than the base."),
        (withheld(), "(n = 1 000); iteration 2 has no figure (90 of 1000 rows failed)."),
    ],
)  # fmt: skip
def test_what_came_after_the_best_iteration_is_told(last: dict[str, Any], ending: str) -> None:
    run = {0: {"dusk": benchmark(0.613)}, 1: {"dusk": benchmark(0.831, paired=BETTER)}, 2: {"dusk": last}}
    text = said(run)[0]
    assert text.startswith("Self-play helped on dusk: 61.3 to 83.1 %") and text.endswith(ending)
    picked = "the best of 2 iterations as picked on these questions"
    assert (picked in text) == (last.get("accuracy") is not None)


def test_harm_is_told_as_such_and_after_what_helped() -> None:
    base = {"easy": benchmark(0.7), "dusk": benchmark(0.613)}
    worse = benchmark(0.6, paired=WORSE)
    assert said({0: base, 1: {"easy": worse}})[0].startswith(
        "Self-play hurt on easy: 70.0 to 60.0 %, -10.0 points [-13.0, -7.0] after iteration 1"
    )
    both = said({0: base, 1: {"easy": worse, "dusk": benchmark(0.831, paired=BETTER)}})[0]
    assert 0 < both.index("Self-play helped on dusk") + 1 < both.index("It hurt on easy")


def test_a_dip_that_recovered_is_open() -> None:
    run = {0: {"dusk": benchmark(0.6)}, 1: {"dusk": benchmark(0.5, paired=WORSE)},
           2: {"dusk": benchmark(0.604, paired=OPEN)}}  # fmt: skip
    assert said(run)[0].startswith("Whether self-play helped can't be told on dusk (+0.4 points")


def test_no_gain_that_many_comparisons_take_back_or_the_interval_does_not_carry() -> None:
    close = change(0.02, 0.001, 0.04, verdict="better", p_value=0.03)  # 0.06 after Holm, of two
    text = said({0: {}, 1: {"dusk": benchmark(0.6, paired=close), "easy": benchmark(0.6, paired=OPEN)}})[0]
    assert "helped on" not in text
    assert (
        "can't be told on dusk (+2.0 points [+0.1, +4.0] after iteration 1, n = 1 000; better by itself, "
        "but not among 2 comparisons) and easy" in text
    )
    claimed = change(0.01, -0.01, 0.03, verdict="better", p_value=1e-9)
    assert "can't be told on dusk" in said({0: {}, 1: {"dusk": benchmark(0.6, paired=claimed)}})[0]


def test_what_was_not_measured_has_its_sentence() -> None:
    assert said({})[0] == "Nothing is measured yet, so nothing tells whether self-play helps."
    assert said({}, config={"evaluation": {"benchmarks": []}})[0] == (
        "No benchmark was asked (evaluation.benchmarks), so nothing tells whether self-play helped."
    )
    assert said({0: {"dusk": benchmark(0.613), "easy": withheld()}})[0] == (
        "No iteration is measured yet, so nothing tells whether self-play helps; "
        "the base starts from 61.3 % on dusk (n = 1 000)."
    )
    assert said({0: {"dusk": benchmark(0.613)}, 1: {"dusk": withheld()}})[0] == (
        "There is no figure on dusk (90 of 1000 rows failed)."
    )
    assert (
        said({1: {"dusk": benchmark(0.613)}})[0] == "There is no figure on dusk (not compared with the base)."
    )


def test_a_control_is_not_called_self_play() -> None:
    text = said({0: {}, 1: {"dusk": benchmark(0.8, paired=BETTER)}}, config={"control": "random_reward"})[0]
    assert text.startswith("This control (random_reward) helped on dusk: +21.8 points")


@pytest.mark.parametrize(
    ("known", "trust"),
    [
        ([0.57], "its labels are mostly right."),
        ([0.52], "its labels are to be distrusted (no better than even)."),
        ([0.4], "its labels are to be distrusted (mostly wrong)."),
        ([0.6, 0.5, 0.3],
         "its labels are to be distrusted (no better than even or mostly wrong) from iteration 2 on."),
        ([0.6, 0.3, 0.6, 0.3, 0.6], "its labels are to be distrusted (mostly wrong) in iterations 2 and 4."),
        ([0.6, 0.3, 0.6], "its labels are to be distrusted (mostly wrong) in iteration 2."),
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
    assert said({})[1] == "It has made no labels yet."
    assert said({}, curations=blank)[1] == (
        "The true answers of its questions are not known and no probe was voted on, so nothing tells whether "
        "its labels are right."
    )
    health = {1: {"probe_silver": 0.9}, 2: {"probe_silver": 0.5}, 3: {"probe_silver": None}}
    assert said({0: {"dusk": benchmark(0.6)}}, curations=blank, health=health)[1] == (
        "The true answers of its questions are not known. On labelled questions of dusk, 50.0 % of the votes "
        "of moderate confidence were right after iteration 2: "
        "wrong at least as often as right there; whether "
        "its own labels are, nothing tells."
    )
    named = said(
        {}, curations=blank, health={1: {"probe_silver": 0.7}}, config={"health": {"probe": "mmstar"}}
    )[1]
    assert "On labelled questions of mmstar, 70.0 %" in named and "right more often than not there" in named
    assert said({}, curations={1: {"silver_accuracy": {"kept": None, "rejected": None}}})[1].startswith(
        "No silver"
    )


def test_what_became_of_the_probes_questions() -> None:
    base, after = {"dusk": benchmark(0.613)}, {"dusk": benchmark(0.831, paired=BETTER)}
    health = {1: {"learned": 0.2, "corrupted": 0.03}, 2: {"learned": None, "corrupted": None}}
    helped, _ = said({0: base, 1: after}, health=health)
    assert helped.endswith(
        "By majority vote, 20.0 % of the sampled questions of dusk were learned since the base, wrong then "
        "and right after iteration 1; 3.0 % went the other way."
    )


@pytest.mark.parametrize(
    ("shares", "told"),
    [([0.6, 0.005, 0.4], "They collapsed at Reasoner step 21, where iteration 2 began"), ([0.6, 0.01], "")],
)
def test_the_step_of_collapse_is_named_and_only_where_the_labels_collapsed(
    shares: list[float], told: str
) -> None:
    curations = {i: silver(value, half=0.001) for i, value in enumerate(shares, 1)}
    config = {**CONFIG, "reasoner": {"steps": 20}}
    sentences = sum_up({}, curations=curations, health={}, config=config)
    assert sentences[-1].startswith(told) if told else "collapsed" not in " ".join(sentences)
