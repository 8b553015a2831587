"""What a comparison claims, against references and stated simulations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from visplay.evaluation.statistics import (
    accuracy_interval,
    decompose,
    judged,
    paired_difference,
)

STATUS = st.sampled_from([("ok", True), ("ok", False), ("unparsed", False), ("truncated", False)])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_equals_the_exact_binomial_test(rows: list[tuple[bool, bool]]) -> None:
    found = paired_difference([a for a, _ in rows], [b for _, b in rows])
    gained, changed = sum(b and not a for a, b in rows), sum(a != b for a, b in rows)
    reference = stats.binomtest(gained, changed, 0.5).pvalue if changed else 1.0
    assert found.p_value == pytest.approx(reference, abs=1e-12)


def test_decomposition_by_hand() -> None:
    # Before: 10 rows, 5 read (3 right), 4 cut off, 1 unreadable. After: 9 read (6 right), 0 cut off, 1 not.
    before = [("ok", True)] * 3 + [("ok", False)] * 2 + [("truncated", False)] * 4 + [("unparsed", False)]
    after = [("ok", True)] * 6 + [("ok", False)] * 3 + [("unparsed", False)]
    parts = decompose(before, after)
    mean = (3 / 5 + 6 / 9) / 2
    assert parts.total == pytest.approx(0.3)
    assert parts.truncation == pytest.approx(0.4 * mean)
    assert parts.format == pytest.approx(0.0)
    assert parts.answers == pytest.approx((6 / 9 - 3 / 5) * (0.5 + 0.9) / 2)


@given(st.lists(STATUS, min_size=1, max_size=40), st.lists(STATUS, min_size=1, max_size=40))
def test_the_parts_add_up(before: list[tuple[str, bool]], after: list[tuple[str, bool]]) -> None:
    parts = decompose(before, after)
    right = [sum(correct for _, correct in rows) / len(rows) for rows in (before, after)]
    assert parts.total == pytest.approx(right[1] - right[0], abs=1e-9)
    assert parts.truncation + parts.format + parts.answers == pytest.approx(parts.total, abs=1e-9)


def test_grades_get_a_bootstrap_interval_and_a_sign_test() -> None:
    grades = [0.0, 0.5, 1.0, 0.3] * 50
    estimate = accuracy_interval(grades)
    spread = float(np.std(grades)) / 200**0.5
    assert estimate.value == pytest.approx(0.45)
    assert estimate.low == pytest.approx(0.45 - 1.96 * spread, abs=0.01)
    paired = paired_difference([0.2] * 10, [0.3] * 9 + [0.1])
    assert (paired.gained, paired.lost) == (9, 1)
    assert paired.p_value == pytest.approx(2 * stats.binom.cdf(1, 10, 0.5))
    with pytest.raises(ValueError, match=r"scores must be in \[0, 1\]"):
        accuracy_interval([1.2])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.85])
def test_an_accuracy_is_covered_as_often_as_it_says(share: float) -> None:
    # Exact, no simulation: the chance, over all outcomes of 400 rows, that the interval holds the truth.
    outcomes = np.arange(401)
    chances = stats.binom.pmf(outcomes, 400, share)
    covered = 0.0
    for right in outcomes[chances > 1e-9]:
        estimate = accuracy_interval([1] * int(right) + [0] * int(400 - right))
        covered += float(chances[right]) * (estimate.low <= share <= estimate.high)
    assert covered == pytest.approx(0.95, abs=0.02)


def simulate_pairs(
    rng: np.random.Generator, *, pictures: int, each: int, gain: float
) -> tuple[list[int], ...]:
    """Rows of checkpoint A and B in clusters: a picture moves both, B is better by `gain` on average."""
    ease = np.repeat(rng.beta(3, 2, size=pictures), each)
    shift = np.repeat(rng.choice([-0.1, 0.1], size=pictures), each) + gain
    drawn = rng.random((2, pictures * each))
    before = drawn[0] < ease
    keep = rng.random(pictures * each) < 0.6  # the two mostly answer alike
    after = np.where(keep, drawn[0], drawn[1]) < np.clip(ease + shift, 0, 1)
    return before.astype(int).tolist(), after.astype(int).tolist()


def true_gain(gain: float) -> float:
    """Mean of clip(ease + shift) - ease by numerical integration over the Beta density."""
    ease = (np.arange(200_000) + 0.5) / 200_000
    weight = stats.beta.pdf(ease, 3, 2)
    change = sum(np.clip(ease + shift + gain, 0, 1) - ease for shift in (-0.1, 0.1)) / 2
    return float((weight * change).sum() / weight.sum())


@pytest.mark.slow
def test_a_paired_difference_is_covered_as_often_as_it_says() -> None:
    # 150 pictures of 4 questions. 1,000 draws: the standard error of the coverage is 0.7 points.
    rng = np.random.default_rng(11)
    clusters = np.repeat(np.arange(150), 4).tolist()
    truth, covered = true_gain(0.05), 0
    for draw in range(1000):
        before, after = simulate_pairs(rng, pictures=150, each=4, gain=0.05)
        found = paired_difference(before, after, clusters=clusters, seed=draw)
        covered += found.low <= truth <= found.high
    assert covered / 1000 == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
def test_the_minimum_detectable_effect_is_found_four_times_in_five() -> None:
    # Independent rows, 1,000 of them; B flips 8 % of A's wrong rows and 8 % - effect of its right ones.
    rng = np.random.default_rng(12)
    before = np.array([1, 0] * 500)
    flips = np.where(before == 0, 0.08, 0.08)
    at_rest = paired_difference(
        before.tolist(), np.where(rng.random(1000) < flips, 1 - before, before).tolist()
    )
    effect = at_rest.minimum_detectable
    found = 0
    for draw in range(150):
        moved = np.where(before == 0, 0.08 + effect, 0.08 - effect)
        after = np.where(rng.random(1000) < moved, 1 - before, before)
        found += judged([paired_difference(before.tolist(), after.tolist(), seed=draw)])[0].word == "better"
    assert found / 150 == pytest.approx(0.8, abs=0.1)
