"""How alike questions are: BLEU distances, clusters, redundancy (Eq. 6, arXiv 2511.15661).

BLEU: Papineni et al. 2002. Smoothing method 1: Chen and Cherry 2014, a precision of 0/d becomes 0.1/d.
An n-gram that occurs c times in a question is written as c features (n-gram, 1) .. (n-gram, c), so that the
clipped matches of all pairs of questions are a product of 0/1 matrices.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

_ORDERS = 4
_SMOOTHING = 0.1
_BLOCK_ROWS = 512
_DENSE_FROM = 64

Matrix = NDArray[np.float64]


def bleu_distances(questions: Sequence[str]) -> Matrix:
    """Returns `1 - BLEU-4` between all pairs of questions, [n, n], symmetric, zero on the diagonal.

    Equal to nltk's sentence BLEU with smoothing method 1. BLEU is not symmetric: the distance of i and j
    (i < j) takes i as hypothesis and j as reference, as the released code of VisPlay does. Tokens are split
    at white space; a question without tokens is at distance 1 from every other.

    Args:
        questions: n texts.
    """
    count = len(questions)
    split = [question.split() for question in questions]
    lengths = np.array([len(words) for words in split], np.int64)
    shared = [_split_by_frequency(_features(split, size)) for size in range(1, _ORDERS + 1)]
    distances = np.zeros((count, count))
    for start in range(0, count, _BLOCK_ROWS):
        rows, columns = slice(start, min(start + _BLOCK_ROWS, count)), slice(start, count)
        block = 1.0 - _scores(shared, lengths, rows, columns)
        block[np.tril_indices(len(block))] = 0.0
        distances[rows, columns] = block
        distances[columns, rows] += block.T
    return distances


def _features(split: Sequence[Sequence[str]], size: int) -> sparse.csr_array:
    """Returns which (n-gram, occurrence) each question has, 0/1, [features, n]."""
    numbers: defaultdict[tuple[tuple[str, ...], int], int] = defaultdict(itertools.count().__next__)
    cells = []
    for column, words in enumerate(split):
        seen: Counter[tuple[str, ...]] = Counter()
        for gram in zip(*(words[start:] for start in range(size)), strict=False):
            seen[gram] += 1
            cells.append((numbers[gram, seen[gram]], column))
    places = np.array(cells, np.int64).reshape(-1, 2).T
    ones = np.ones(len(cells), np.float32)
    return sparse.csr_array((ones, (places[0], places[1])), shape=(len(numbers), len(split)))


def _split_by_frequency(matrix: sparse.csr_array) -> tuple[NDArray[np.float32], sparse.csr_array]:
    """Parts the features into frequent ones (dense, for BLAS) and the rest, both [n, features].

    Features of one question only are dropped: nothing can match them.
    """
    frequency = np.diff(matrix.indptr)
    frequent = frequency > max(_DENSE_FROM, matrix.shape[1] // _DENSE_FROM)
    dense: NDArray[np.float32] = matrix[frequent].toarray().T
    return np.ascontiguousarray(dense), matrix[(frequency > 1) & ~frequent].T.tocsr()


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
        logs = np.log(np.maximum(np.arange(matches.max(initial=0) + 1), _SMOOTHING))
        log_score += logs[matches.astype(np.intp)] - np.log(np.maximum(1, hypothesis - order))
        if order == 0:
            unrelated = matches == 0
    brevity = np.minimum(0.0, 1.0 - reference / np.maximum(hypothesis, 1))
    scores = np.exp(log_score / _ORDERS + brevity)
    scores[unrelated] = 0.0
    return np.asarray(scores)


def average_linkage(distances: Matrix, *, threshold: float) -> NDArray[np.intp]:
    """Returns the cluster of each point, numbered from 0, [n].

    Two clusters merge while the mean distance of their members is below the threshold. Equal to
    scikit-learn's AgglomerativeClustering with a precomputed metric and `distance_threshold`, ties included.

    Args:
        distances: [n, n], symmetric.
        threshold: the cut, in units of distance; pairs at just this distance do not merge.
    """
    if len(distances) < 2:
        return np.zeros(len(distances), np.intp)
    tree = linkage(squareform(distances, checks=False), method="average")
    labels: NDArray[np.intp] = fcluster(tree, np.nextafter(threshold, -np.inf), criterion="distance") - 1
    return labels


def cluster_shares(questions: Sequence[str], *, threshold: float = 0.5) -> Matrix:
    """Returns, for each question, the size of its cluster divided by n, [n].

    Clusters are average-linkage agglomerative, cut at the threshold, exactly as in VisPlay's released code.

    Args:
        questions: n texts.
        threshold: the cut, in units of distance, > 0.
    """
    return _shares(average_linkage(bleu_distances(questions), threshold=threshold))


def cluster_labels(questions: Sequence[str], *, threshold: float = 0.5) -> list[int]:
    """Returns the number of each question's cluster, [n]; equal texts always share one.

    Args:
        questions: n texts.
        threshold: the cut, in units of distance, > 0.
    """
    texts = [" ".join(text.split()) for text in questions]
    points = sorted(set(texts))
    labels = average_linkage(bleu_distances(points), threshold=threshold)
    of = dict(zip(points, labels.tolist(), strict=True))
    return [of[text] for text in texts]


def merged_cluster_shares(questions: Sequence[str], *, threshold: float = 0.5) -> Matrix:
    """Returns `cluster_shares` with equal texts merged first, [n].

    The shares do not depend on the order of the questions, and a copy of a question never lowers its share.
    That deviates from the released code in two ways: equal texts are one point however short they are (the
    BLEU of a question of two words with itself is 0.32, so the code never counts its copies), and the points
    are put in order of their text before the unsymmetric BLEU sees them. A cluster's size still counts every
    copy; white space between words is not told apart.

    Args:
        questions: n texts.
        threshold: the cut, in units of distance, > 0.
    """
    return _shares(np.array(cluster_labels(questions, threshold=threshold), np.intp))


def _shares(labels: NDArray[np.intp]) -> Matrix:
    return np.bincount(labels)[labels] / max(1, len(labels))
