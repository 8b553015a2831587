"""Intervals and paired tests for accuracies; rows that share a picture or a problem form a cluster.

The bootstrap draws whole clusters with replacement (Cameron, Gelbach, Miller 2008,
doi:10.1162/rest.90.3.414) and takes percentiles.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any, Literal

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 2000
FLIPS = 20_000
_MOST_EXACT = 14  # largest number of clusters for which all sign flips are enumerated
POWER = 0.8
Word = Literal["better", "worse", "can't tell"]
_MOST_DRAWS = 4_000_000  # at once; bounds the memory of a resampling to some tens of megabytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A share of `n` rows with its interval; all of `value`, `low`, `high` in [0, 1]."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Accuracy after minus accuracy before, on the same rows.

    Attributes:
        difference: the difference in [-1, 1].
        low: lower end of the 95 % bootstrap interval.
        high: upper end of the 95 % bootstrap interval.
        n: number of rows.
        gained: number of rows that were wrong before and are right after.
        lost: number of rows that were right before and are wrong after.
        p_value: two-sided p-value of no change, from McNemar's exact test if rows are independent, else from
            a permutation test that flips the signs of whole clusters; `judged` corrects it for other tests.
        minimum_detectable: the true difference that this number of rows detects with 80 % power.
    """

    difference: float
    low: float
    high: float
    n: int
    gained: int
    lost: int
    p_value: float
    minimum_detectable: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on one of `tests` comparisons; `p` is corrected for their number."""

    word: Word
    p: float
    tests: int


def accuracy_interval(
    scores: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Estimate:
    """Mean score with its 95 % interval: Wilson's for independent rows of 0 and 1, else a bootstrap.

    Args:
        scores: [rows] right or wrong, or a grade in [0, 1], e.g. a judge's or an estimate of pass@k.
        clusters: [rows] the cluster of each row, e.g. its picture; None for independent rows.
        seed: seed of the bootstrap over clusters, or over rows without clusters.

    Raises:
        ValueError: no rows, a score outside [0, 1], or not one cluster per row.
    """
    values = _as_array(scores, name="scores")
    if clusters is None and np.isin(values, (0, 1)).all():
        return _wilson(values, len(values))
    return _resampled(values, range(len(values)) if clusters is None else clusters, seed=seed)


def _wilson(values: Any, count: int) -> Estimate:
    """The mean with Wilson's score interval for `count` independent rows."""
    value = float(values.mean())
    low, high = proportion_confint(value * count, count, alpha=0.05, method="wilson")
    return Estimate(value=value, low=float(low), high=float(high), n=len(values))


def _resampled(values: Any, clusters: Sequence[Hashable], *, seed: int) -> Estimate:
    """The mean with the percentiles of resampled clusters.

    If all clusters have the same mean, resampling has no spread. The interval is then Wilson's with the
    number of clusters as the number of rows: it is wide, but its width is not zero.
    """
    sums, sizes = _cluster_sums(values, clusters)
    shares = _bootstrap(sums, sizes, seed=seed)
    if np.ptp(shares) == 0:
        return _wilson(values, len(sums))
    low, high = np.quantile(shares, [0.025, 0.975])
    return Estimate(value=float(values.mean()), low=float(low), high=float(high), n=len(values))


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> PairedDifference:
    """Compare two checkpoints on the same rows.

    A percentile interval is too narrow if only a few rows changed: with four gained and none lost among a
    hundred rows it excludes 0, although chance alone gives such a result one time in eight. A verdict
    therefore needs both the test and the interval.

    Args:
        before: [rows] right or wrong, or a grade in [0, 1]; for grades the test is the sign test.
        after: [rows] the same rows after, in the same order.
        clusters: [rows] the cluster of each row; None for independent rows.
        seed: seed of the bootstrap.

    Raises:
        ValueError: no rows, or lengths that differ.
    """
    first, second = _as_array(before, name="before"), _as_array(after, name="after")
    if len(first) != len(second):
        raise ValueError(f"before and after must hold the same rows, got {len(first)} and {len(second)}")
    change = second - first
    sums, sizes = _cluster_sums(change, range(len(change)) if clusters is None else clusters)
    shares = _bootstrap(sums, sizes, seed=seed)
    low, high = (float(end) for end in np.quantile(shares, [0.025, 0.975]))
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    if len(sums) == len(change):
        p_value = float(mcnemar([[0, lost], [gained, 0]], exact=True).pvalue)
    else:
        p_value = sign_flip_p(sums, seed=seed)
    # If no row changed there is no spread: compute it as if one row had changed.
    spread = max(float(shares.std(ddof=1)), 1 / len(change))
    reach = float(stats.norm.ppf(0.975) + stats.norm.ppf(POWER))
    return PairedDifference(
        difference=float(change.mean()), low=low, high=high, n=len(change), gained=gained, lost=lost,
        p_value=p_value, minimum_detectable=reach * spread,
    )  # fmt: skip


def sign_flip_p(sums: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p-value of no change from the gain of each cluster, [clusters].

    Under no change, a cluster's gain is as likely as the same loss. The p-value is the share of sign flips
    with a sum at least as far from 0 (Fisher 1935; all flips up to 2^14, else `FLIPS` random ones).
    """
    moved = np.asarray(sums, dtype=np.float64)
    moved = moved[moved != 0]
    if not len(moved):
        return 1.0
    seen = abs(moved.sum()) - 1e-9
    if len(moved) <= _MOST_EXACT:
        turned = 1 - 2 * ((np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1)
        return float((abs(turned @ moved) >= seen).mean())
    rng, as_far = np.random.default_rng(seed), 0
    for rows in _batches(FLIPS, max(1, _MOST_DRAWS // len(moved))):
        turned = 2 * rng.integers(0, 2, size=(rows, len(moved)), dtype=np.int8) - 1
        as_far += int((abs(turned @ moved) >= seen).sum())
    return (1 + as_far) / (1 + FLIPS)


def judged(pairs: Sequence[PairedDifference | Mapping[str, Any]]) -> list[Verdict]:
    """The verdicts on all comparisons of one family, with Holm's correction for their number.

    "better" and "worse" need the interval to exclude 0 and the corrected p-value to be below 0.05.
    """
    found = [asdict(pair) if isinstance(pair, PairedDifference) else pair for pair in pairs]
    if not found:
        return []
    corrected = multipletests([pair["p_value"] for pair in found], method="holm")[1]
    verdicts = []
    for pair, p in zip(found, corrected, strict=True):
        way: Word = "better" if pair["low"] > 0 else "worse" if pair["high"] < 0 else "can't tell"
        verdicts.append(Verdict(word=way if p < 0.05 else "can't tell", p=float(p), tests=len(found)))
    return verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """A decomposition of a change of accuracy; the three parts add up to `total`. All are in [-1, 1].

    accuracy = parse rate * accuracy given parsed, and parse rate = 1 - truncated - unparsed otherwise.

    Attributes:
        total: accuracy after minus before.
        truncation: the part from fewer or more truncated answers.
        format: the part from fewer or more other unparsed answers.
        answers: the part from better or worse parsed answers.
    """

    total: float
    truncation: float
    format: float
    answers: float


def decompose(before: Sequence[tuple[str, bool]], after: Sequence[tuple[str, bool]]) -> Decomposition:
    """Decompose a change of accuracy into truncation, format and answers.

    With r = p a (parse rate times accuracy given parsed), r2 - r1 = (p2 - p1) (a1 + a2) / 2 +
    (a2 - a1) (p1 + p2) / 2: the two-factor decomposition of Kitagawa 1955 (doi:10.2307/2281213).

    Args:
        before: [rows] (status, correct); status is `ok`, `unparsed` or `truncated`.
        after: [rows] the same rows after.

    Raises:
        ValueError: no rows.
    """
    if not before or not after:
        raise ValueError(f"decompose needs rows on both sides, got {len(before)} and {len(after)}")
    (p1, cut1, a1), (p2, cut2, a2) = _rates(before), _rates(after)
    # If one side has no parsed answer, its accuracy given parsed is unknown: use the other side's.
    first, second = (a1 if a1 is not None else a2 or 0.0), (a2 if a2 is not None else a1 or 0.0)
    mean_accuracy = (first + second) / 2
    return Decomposition(
        total=p2 * second - p1 * first,
        truncation=(cut1 - cut2) * mean_accuracy,
        format=((p2 - p1) + (cut2 - cut1)) * mean_accuracy,
        answers=(second - first) * (p1 + p2) / 2,
    )


def _rates(rows: Sequence[tuple[str, bool]]) -> tuple[float, float, float | None]:
    """Parse rate, truncation rate, accuracy given parsed."""
    parsed = [correct for status, correct in rows if status == "ok"]
    cut = sum(status == "truncated" for status, _ in rows)
    return len(parsed) / len(rows), cut / len(rows), sum(parsed) / len(parsed) if parsed else None


def pass_at_k(n: int, c: int, k: int) -> float:
    """Estimate the probability that at least one of `k` samples is right, from `c` right ones of `n`.

    1 - C(n - c, k) / C(n, k): Eq. 1 of Chen et al. 2021, arXiv 2107.03374; unbiased.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass_at_k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return 1 - comb(n - c, k) / comb(n, k)


def _as_array(values: Sequence[float], *, name: str) -> Any:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"{name} must hold at least one row, got {len(array)}")
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name} must be in [0, 1]")
    return array


def _cluster_sums(values: Any, clusters: Sequence[Hashable]) -> tuple[Any, Any]:
    """The sum of `values` and the number of rows per cluster, both [clusters], in order of appearance."""
    if len(values) != len(clusters):
        raise ValueError(
            f"clusters must name one cluster per row, got {len(clusters)} for {len(values)} rows"
        )
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(cluster, len(number)) for cluster in clusters])
    return np.bincount(index, weights=values), np.bincount(index).astype(np.float64)


def _bootstrap(sums: Any, sizes: Any, *, seed: int) -> Any:
    """Shares in [RESAMPLES] bootstrap samples of the clusters, drawn with replacement."""
    rng = np.random.default_rng(seed)
    parts = []
    for rows in _batches(RESAMPLES, max(1, _MOST_DRAWS // len(sums))):
        drawn = rng.integers(0, len(sums), size=(rows, len(sums)), dtype=np.int32)
        parts.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(parts)


def _batches(total: int, size: int) -> Iterator[int]:
    for start in range(0, total, size):
        yield min(size, total - start)
