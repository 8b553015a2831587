"""N-grams of many questions as 0/1 matrices.

An n-gram that occurs c times in a question is written as c features (n-gram, 1) .. (n-gram, c). The number
of features that two questions share is then BLEU's clipped count of matches.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

ORDERS = 4

Integers = NDArray[np.int64]


def ngram_features(questions: Sequence[str]) -> tuple[Integers, list[sparse.csr_array]]:
    """Returns lengths in tokens, [n], and for each n-gram order a 0/1 matrix, [features, n].

    Args:
        questions: n texts, split at white space.
    """
    vocabulary: defaultdict[str, int] = defaultdict(itertools.count().__next__)
    split = [question.split() for question in questions]
    lengths = np.array([len(words) for words in split], np.int64)
    tokens = np.array(list(map(vocabulary.__getitem__, itertools.chain.from_iterable(split))), np.int64)
    rows = np.repeat(np.arange(len(questions)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(tokens))
    positions = np.arange(len(tokens))
    keys = tokens
    shared = np.ones(len(tokens), bool)
    matrices = []
    for order in range(ORDERS):
        if order:
            # An n-gram that two questions share begins with a shorter one that they share.
            keep = shared & (left[positions] > order)
            positions = positions[keep]
            keys = keys[keep] * len(vocabulary) + tokens[positions + order]
        # The keys are numbered anew at each order, so that the next order's fit into 64 bits.
        keys, shared, matrix = _indicator(keys, rows[positions], len(questions))
        matrices.append(matrix)
    return lengths, matrices


def _indicator(
    keys: Integers, rows: Integers, count: int
) -> tuple[Integers, NDArray[np.bool_], sparse.csr_array]:
    """Returns the keys numbered from 0, which stand in several rows, and the matrix of (key, occurrence).

    Args:
        keys: one per n-gram occurrence, in the order of the rows.
        rows: which question it stands in, ascending.
        count: number of questions.

    Returns:
        [keys], [keys] and 0/1 [features, count].
    """
    by_key = np.argsort(keys, kind="stable")  # rows stay ascending within a key
    sorted_keys, sorted_rows = keys[by_key], rows[by_key]
    new_key = np.ones(len(keys), bool)
    new_key[1:] = sorted_keys[1:] != sorted_keys[:-1]
    new_run = new_key.copy()
    new_run[1:] |= sorted_rows[1:] != sorted_rows[:-1]
    numbers = np.cumsum(new_key) - 1
    renumbered = np.empty_like(keys)
    renumbered[by_key] = numbers
    first = np.flatnonzero(new_run)
    again = np.flatnonzero(~new_run)
    occurrence = again - first[np.cumsum(new_run)[again] - 1]
    width = int(new_key.sum())
    repeats = numbers[again] + width * occurrence
    by_repeat = np.argsort(repeats, kind="stable")
    new_repeat = np.unique(repeats, return_counts=True)[1]
    frequency = np.bincount(numbers[first], minlength=width)
    sizes = np.concatenate([frequency, new_repeat])
    indices = np.concatenate([sorted_rows[first], sorted_rows[again[by_repeat]]])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    ones = np.ones(len(indices), np.float32)
    return (
        renumbered,
        frequency[renumbered] > 1,
        sparse.csr_array((ones, indices, starts), shape=(len(sizes), count)),
    )
