"""Sentence BLEU between many questions at once, equal to nltk's with smoothing method 1.

BLEU: Papineni et al. 2002. Smoothing method 1: Chen and Cherry 2014, a precision of 0/d becomes 0.1/d.
The clipped n-gram matches of all pairs are a product of 0/1 matrices; see `rewards.diversity.ngrams`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rewards.diversity.ngrams import ORDERS, ngram_features

_SMOOTHING = 0.1
_BLOCK_ROWS = 512
_DENSE_FROM = 64

Matrix = NDArray[np.float64]


def bleu_distances(questions: Sequence[str]) -> Matrix:
    """Returns `1 - BLEU-4` between all pairs of questions, [n, n], symmetric, zero on the diagonal.

    BLEU is not symmetric: the distance of i and j (i < j) takes i as hypothesis and j as reference, as the
    released code of VisPlay does. Tokens are split at white space; a question without tokens is at distance
    1 from every other.

    Args:
        questions: n texts.
    """
    count = len(questions)
    lengths, features = ngram_features(questions)
    shared = [_split_by_frequency(matrix) for matrix in features]
    distances = np.zeros((count, count))
    for start in range(0, count, _BLOCK_ROWS):
        rows, columns = slice(start, min(start + _BLOCK_ROWS, count)), slice(start, count)
        block = 1.0 - _scores(shared, lengths, rows, columns)
        block[np.tril_indices(len(block))] = 0.0
        distances[rows, columns] = block
        distances[columns, rows] += block.T
    return distances


def _scores(
    shared: Sequence[tuple[NDArray[np.float32], sparse.csr_array]],
    lengths: NDArray[np.int64],
    rows: slice,
    columns: slice,
) -> Matrix:
    """Returns BLEU of the questions in `rows` against those in `columns`."""
    hypothesis, reference = lengths[rows, None], lengths[None, columns]
    log_score = np.zeros((len(hypothesis), reference.shape[1]))
    unrelated = np.zeros(log_score.shape, bool)
    for order, (dense, rest) in enumerate(shared):
        matches = dense[rows] @ dense[columns].T
        products = (rest[rows] @ rest[columns].T).tocoo()
        row, column = products.coords
        matches[row, column] += products.data
        log_score += _log_precision(matches, hypothesis, order)
        if order == 0:
            unrelated = matches == 0
    scores = np.exp(log_score / ORDERS) * _brevity(hypothesis, reference)
    scores[unrelated] = 0.0
    return scores


def _split_by_frequency(matrix: sparse.csr_array) -> tuple[NDArray[np.float32], sparse.csr_array]:
    """Parts the features into frequent ones (dense, for BLAS) and the rest, both [n, features].

    Features of one question only are dropped: nothing can match them.
    """
    frequency = np.diff(matrix.indptr)
    frequent = frequency > max(_DENSE_FROM, matrix.shape[1] // _DENSE_FROM)
    dense: NDArray[np.float32] = matrix[frequent].toarray().T
    return np.ascontiguousarray(dense), matrix[(frequency > 1) & ~frequent].T.tocsr()


def _log_precision(matches: NDArray[np.float32], lengths: NDArray[np.int64], order: int) -> Matrix:
    """Returns the log of the smoothed precision; `order` counts from 0, `lengths` are the hypotheses'."""
    table = np.log(np.maximum(np.arange(matches.max(initial=0) + 1), _SMOOTHING))
    return np.asarray(table[matches.astype(np.intp)] - np.log(np.maximum(1, lengths - order)))


def _brevity(hypothesis: NDArray[np.int64], reference: NDArray[np.int64]) -> Matrix:
    """Returns the brevity penalty, `exp(1 - r/h)` where the hypothesis is the shorter one."""
    return np.asarray(np.exp(np.minimum(0.0, 1.0 - reference / np.maximum(hypothesis, 1))))
