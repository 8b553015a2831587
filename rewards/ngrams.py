"""N-grams of many questions as 0/1 matrices.

An n-gram that occurs c times in a question is written as c features (n-gram, 1) .. (n-gram, c). The number
of features that two questions share is then BLEU's clipped count of matches.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

ORDERS = 4


def ngram_features(
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
    for order in range(ORDERS):
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
