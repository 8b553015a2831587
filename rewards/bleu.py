"""Sentence BLEU between many questions at once, equal to nltk's with smoothing method 1.

BLEU: Papineni et al. 2002. Smoothing method 1: Chen and Cherry 2014, a precision of 0/d becomes 0.1/d.
An n-gram that occurs c times in a question is written as c features (n-gram, 1) .. (n-gram, c); the
clipped matches of two questions are then the number of features they share: a product of 0/1 matrices.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_ORDERS = 4
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
    lengths, features = question_features(questions, np.zeros(count, np.int64))
    shared = [_split_by_frequency(matrix) for matrix in features]
    distances = np.zeros((count, count))
    for start in range(0, count, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, count)
        log_score = np.zeros((stop - start, count - start))
        for order, (dense, rest) in enumerate(shared):
            matches = dense[start:stop] @ dense[start:].T
            products = (rest[start:stop] @ rest[start:].T).tocoo()
            matches[products.row, products.col] += products.data
            log_score += _log_precision(matches, lengths[start:stop, None], order)
            if order == 0:
                unrelated = matches == 0
        block = 1.0 - np.exp(log_score / _ORDERS) * _brevity(lengths[start:stop, None], lengths[None, start:])
        block[unrelated] = 1.0
        block[np.tril_indices(stop - start)] = 0.0
        distances[start:stop, start:] = block
        distances[start:, start:stop] += block.T
    return distances


def grouped_bleu_distances(groups: Sequence[Sequence[str]]) -> Matrix:
    """Returns `bleu_distances` of every group at once, [groups, size, size], for many small groups.

    Args:
        groups: texts; a group smaller than the largest is padded with points at distance 1 from all.
    """
    sizes = np.array([len(group) for group in groups], np.int64)
    widest = int(sizes.max(initial=0))
    distances = np.ones((len(groups), widest, widest))
    distances[:, np.arange(widest), np.arange(widest)] = 0.0
    owner = np.repeat(np.arange(len(groups)), sizes)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    lengths, features = question_features([text for group in groups for text in group], owner)
    matches = np.zeros((_ORDERS, len(groups), widest, widest), np.float32)
    for order, matrix in enumerate(features):
        products = (matrix @ matrix.T).tocoo()
        row, column = products.coords
        matches[order, owner[row], place[row], place[column]] = products.data
    hypothesis, first, second = np.nonzero(np.triu(matches[0], k=1))
    length = np.zeros((len(groups), widest), np.int64)
    length[owner, place] = lengths
    h, r = length[hypothesis, first], length[hypothesis, second]
    found = matches[:, hypothesis, first, second]
    log_score = sum(_log_precision(found[order], h, order) for order in range(_ORDERS))
    distance = 1.0 - np.exp(log_score / _ORDERS) * _brevity(h, r)
    distances[hypothesis, first, second] = distances[hypothesis, second, first] = distance
    return distances


def question_features(
    questions: Sequence[str], groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[sparse.csr_array]]:
    """Returns lengths in tokens, [n], and for each n-gram order a 0/1 matrix, [n, features].

    Args:
        questions: n texts.
        groups: [n], non-negative; questions of different groups share no feature.
    """
    vocabulary: defaultdict[str, int] = defaultdict(itertools.count().__next__)
    split = [question.split() for question in questions]
    lengths = np.array([len(tokens) for tokens in split], np.int64)
    tokens = np.array(list(map(vocabulary.__getitem__, itertools.chain.from_iterable(split))), np.int64)
    rows = np.repeat(np.arange(len(questions)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(tokens))
    start = tokens + len(vocabulary) * groups[rows]
    matrices = [
        _indicator(ids, rows_of_order, len(questions))
        for ids, rows_of_order in _ngrams(start, tokens, rows, left, size=len(vocabulary))
    ]
    return lengths, matrices


def _ngrams(
    ids: NDArray[np.int64],
    tokens: NDArray[np.int64],
    rows: NDArray[np.int64],
    left: NDArray[np.int64],
    *,
    size: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields, for orders 1 to 4, an id for each n-gram occurrence and the row it stands in."""
    positions = np.arange(len(tokens))
    for order in range(_ORDERS):
        keep = left[positions] > order
        positions, ids = positions[keep], ids[keep]
        if order:
            ids = ids * size + tokens[positions + order]
        ids = np.unique(ids, return_inverse=True)[1]
        yield ids, rows[positions]


def _indicator(ids: NDArray[np.int64], rows: NDArray[np.int64], count: int) -> sparse.csr_array:
    """Returns the 0/1 matrix of (n-gram, occurrence) features, [count, features]."""
    by_ngram = np.argsort(ids, kind="stable")  # rows stay in order within an n-gram
    ids, rows = ids[by_ngram], rows[by_ngram]
    new_run = np.ones(len(ids), bool)
    new_run[1:] = (ids[1:] != ids[:-1]) | (rows[1:] != rows[:-1])
    places = np.arange(len(ids))
    occurrence = places - np.maximum.accumulate(np.where(new_run, places, 0))
    again = np.flatnonzero(occurrence)
    width = ids.max(initial=-1) + 1
    repeats, columns_again = np.unique(ids[again] + width * occurrence[again], return_inverse=True)
    ids[again] = width + columns_again
    ones = np.ones(len(ids), np.float32)
    return sparse.csr_array((ones, (rows, ids)), shape=(count, width + len(repeats)))


def _split_by_frequency(matrix: sparse.csr_array) -> tuple[NDArray[np.float32], sparse.csr_array]:
    """Parts the features into frequent ones (dense, for BLAS) and the rest; those of one question go."""
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1])
    frequent = frequency > max(_DENSE_FROM, matrix.shape[0] // _DENSE_FROM)
    by_column = matrix.tocsc()
    return by_column[:, frequent].toarray(), by_column[:, (frequency > 1) & ~frequent].tocsr()


def _log_precision(matches: NDArray[np.float32], lengths: NDArray[np.int64], order: int) -> Matrix:
    """Returns the log of the smoothed precision; `order` counts from 0, `lengths` are the hypotheses'."""
    table = np.log(np.maximum(np.arange(matches.max(initial=0) + 1), _SMOOTHING))
    return np.asarray(table[matches.astype(np.intp)] - np.log(np.maximum(1, lengths - order)))


def _brevity(hypothesis: NDArray[np.int64], reference: NDArray[np.int64]) -> Matrix:
    """Returns the brevity penalty, `exp(1 - r/h)` where the hypothesis is the shorter one."""
    return np.asarray(np.exp(np.minimum(0.0, 1.0 - reference / np.maximum(hypothesis, 1))))
