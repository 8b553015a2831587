"""Intervals and tests against hand-computed values, statsmodels, scipy and a simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from visplay.evaluation.statistics import (
    PairedDifference,
    accuracy_interval,
    judged,
    paired_difference,
    pass_at_k,
    sign_flip_p,
)


def word(pair: PairedDifference) -> str:
    return judged([pair])[0].word


def test_wilson_interval_of_eight_in_ten() -> None:
    # z = 1.959964: centre (0.8 + z^2/20) / (1 + z^2/10), as in Wilson 1927.
    estimate = accuracy_interval([1] * 8 + [0] * 2)
    assert (estimate.value, estimate.n) == (0.8, 10)
    reference = stats.binomtest(8, 10).proportion_ci(0.95, method="wilson")
    assert estimate.low == pytest.approx(reference.low, abs=1e-9) == pytest.approx(0.490162, abs=1e-6)
    assert estimate.high == pytest.approx(reference.high, abs=1e-9) == pytest.approx(0.943318, abs=1e-6)


def test_clusters_of_one_agree_with_the_binomial_spread() -> None:
    correct = [1] * 700 + [0] * 300
    estimate = accuracy_interval(correct, clusters=range(1000))
    spread = (0.7 * 0.3 / 1000) ** 0.5
    assert estimate.low == pytest.approx(0.7 - 1.96 * spread, abs=0.003)
    assert estimate.high == pytest.approx(0.7 + 1.96 * spread, abs=0.003)


def test_equal_rows_within_clusters_count_once() -> None:
    # 100 clusters of nine equal rows carry the information of 100 rows, not of 900.
    outcomes = [1] * 60 + [0] * 40
    clustered = accuracy_interval(np.repeat(outcomes, 9), clusters=np.repeat(np.arange(100), 9).tolist())
    spread = (0.6 * 0.4 / 100) ** 0.5
    assert clustered.value == 0.6
    assert clustered.high - clustered.low == pytest.approx(2 * 1.96 * spread, abs=0.015)


def test_clusters_without_spread_do_not_give_an_interval_of_width_zero() -> None:
    all_right = accuracy_interval([1] * 40, clusters=[row // 4 for row in range(40)])
    reference = stats.binomtest(10, 10).proportion_ci(0.95, method="wilson")
    assert (all_right.value, all_right.n) == (1.0, 40)
    assert all_right.low == pytest.approx(reference.low, abs=1e-9)
    lone = accuracy_interval([1, 0], clusters=["a", "a"])
    assert lone.low < 0.1 and lone.high > 0.9


def test_shares_are_of_the_rows_drawn_not_of_all_rows() -> None:
    # Two pictures, one row right and three rows wrong: drawing one of them twice gives 1 or 0.
    estimate = accuracy_interval([1, 0, 0, 0], clusters=["a", "b", "b", "b"])
    assert (estimate.value, estimate.low, estimate.high) == (0.25, 0.0, 1.0)


def test_same_seed_same_interval() -> None:
    correct, clusters = [1, 0, 1, 1, 0, 1], [0, 0, 1, 1, 2, 2]
    assert accuracy_interval(correct, clusters=clusters) == accuracy_interval(correct, clusters=clusters)


def test_paired_difference_by_hand() -> None:
    # 30 gained, 10 lost of 200: McNemar p = 2 P(Binomial(40, 1/2) <= 10); the variance of the mean change
    # is (40 / 200 - 0.1^2) / 200.
    before = [0] * 30 + [1] * 10 + [1] * 100 + [0] * 60
    after = [1] * 30 + [0] * 10 + [1] * 100 + [0] * 60
    result = paired_difference(before, after)
    assert (result.gained, result.lost, result.n) == (30, 10, 200)
    assert result.difference == pytest.approx(0.1)
    assert result.p_value == pytest.approx(2 * stats.binom.cdf(10, 40, 0.5), abs=1e-12)
    spread = ((0.2 - 0.01) / 200) ** 0.5
    assert result.low == pytest.approx(0.1 - 1.96 * spread, abs=0.006)
    assert result.high == pytest.approx(0.1 + 1.96 * spread, abs=0.006)
    assert result.minimum_detectable == pytest.approx(2.8016 * spread, rel=0.05)
    assert word(result) == "better"
    mirrored = paired_difference(after, before)
    assert (word(mirrored), mirrored.gained, mirrored.lost) == ("worse", 10, 30)
    assert mirrored.difference == pytest.approx(-0.1)


def test_no_verdict_where_the_interval_or_the_test_is_undecided() -> None:
    assert paired_difference([0, 1, 0, 1] * 10, [1, 0, 0, 1] * 10).p_value > 0.05
    few = paired_difference([0] * 4 + [1] * 96, [1] * 100)  # interval above 0, but p = 2 / 16
    assert few.low > 0
    assert few.p_value == pytest.approx(0.125)
    assert word(few) == "can't tell"


def test_identical_checkpoints_show_no_difference_and_a_finite_reach() -> None:
    same = paired_difference([1, 0] * 50, [1, 0] * 50)
    assert (same.difference, same.p_value, word(same)) == (0.0, 1.0, "can't tell")
    assert same.minimum_detectable == pytest.approx(2.8016 / 100, rel=1e-3)


def test_clusters_widen_a_paired_interval() -> None:
    # All gains are in three pictures of ten rows each, all losses in one: far from certain.
    before = [0] * 30 + [1] * 10 + [1] * 160
    after = [1] * 30 + [0] * 10 + [1] * 160
    rows = paired_difference(before, after)
    pictures = paired_difference(before, after, clusters=[row // 10 for row in range(200)])
    assert word(rows) == "better"
    assert word(pictures) == "can't tell"
    assert pictures.low < 0 < pictures.high


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, made monotone: 0.04, 0.06, 0.06, 0.06.
    pairs = [{"low": 0.1, "high": 0.2, "p_value": p} for p in (0.04, 0.01, 0.03, 0.02)]
    found = judged(pairs)
    assert [one.p for one in found] == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert [one.word for one in found] == ["can't tell", "better", "can't tell", "can't tell"]
    assert {one.tests for one in found} == {4} and judged([]) == []
    assert judged([{"low": -0.01, "high": 0.2, "p_value": 1e-9}])[0].word == "can't tell"


def test_turned_signs_by_hand() -> None:
    # Of the 8 signs of 3, 2, 1 only +++ and --- come as far as 6; ++- and --+, too, as far as 4.
    assert sign_flip_p([3, 2, 1, 0, 0]) == 2 / 8
    assert sign_flip_p([3, 2, -1]) == 4 / 8
    assert sign_flip_p([0, 0]) == 1.0


def test_turned_signs_at_random_are_the_sign_test_where_all_clusters_gain_alike() -> None:
    exact = stats.binomtest(35, 50, 0.5).pvalue
    assert sign_flip_p([2] * 35 + [-2] * 15) == pytest.approx(exact, abs=0.002)


def test_without_a_change_clusters_that_move_together_are_seldom_called_one() -> None:
    """Half of a cluster of ten moves together: McNemar's test takes rows as independent and fails here."""
    rng = np.random.default_rng(3)
    draws, flips, rows = 400, 0, 0
    for draw in range(draws):
        change = np.repeat(rng.choice([-1, 0, 1], size=60, p=[0.2, 0.6, 0.2]), 5)
        noise = rng.choice([-1, 0, 1], size=300, p=[0.1, 0.8, 0.1])
        sums = change.reshape(60, 5).sum(axis=1) + noise.reshape(60, 5).sum(axis=1)
        flips += sign_flip_p(sums, seed=draw) < 0.05
        gained, lost = ((change > 0).sum() + (noise > 0).sum(), (change < 0).sum() + (noise < 0).sum())
        rows += stats.binomtest(int(gained), int(gained + lost), 0.5).pvalue < 0.05
    assert flips / draws < 0.08 and rows / draws > 0.2


def test_pass_at_k_by_hand() -> None:
    assert pass_at_k(4, 2, 2) == pytest.approx(1 - 1 / 6)  # one of the six pairs has no right answer
    assert pass_at_k(8, 0, 8) == 0
    assert pass_at_k(8, 1, 8) == 1
    assert pass_at_k(8, 3, 1) == pytest.approx(3 / 8)
    with pytest.raises(ValueError, match="n=4, c=5, k=1"):
        pass_at_k(4, 5, 1)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_interval_holds_the_value(correct: list[bool]) -> None:
    estimate = accuracy_interval(correct)
    assert -1e-9 <= estimate.low <= estimate.value + 1e-9
    assert estimate.value - 1e-9 <= estimate.high <= 1 + 1e-9


def test_rows_are_checked() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        accuracy_interval([])
    with pytest.raises(ValueError, match=r"scores must be in \[0, 1\]"):
        accuracy_interval([0, 2])
    with pytest.raises(ValueError, match="one cluster per row, got 1 for 2"):
        accuracy_interval([0, 1], clusters=["a"])
    with pytest.raises(ValueError, match="the same rows, got 1 and 2"):
        paired_difference([1], [1, 0])


def test_cluster_interval_covers_the_truth_as_often_as_it_says() -> None:
    # 80 pictures of 10 questions each, accuracy of a picture from Beta(3, 2): the truth is 0.6. Taking the
    # rows as independent would cover it in about 80 % of the draws only.
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(80), 10).tolist()
    covered = {True: 0, False: 0}
    for draw in range(300):
        correct = rng.random(800) < np.repeat(rng.beta(3, 2, size=80), 10)
        for clustered in covered:
            estimate = accuracy_interval(
                correct.tolist(), clusters=clusters if clustered else None, seed=draw
            )
            covered[clustered] += estimate.low <= 0.6 <= estimate.high
    assert 0.92 <= covered[True] / 300 <= 0.98
    assert covered[False] / 300 < 0.88
