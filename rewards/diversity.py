"""Redundancy: how much of a group asks the same thing (Eq. 6, arXiv 2511.15661)."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rewards.bleu import bleu_distances, grouped_bleu_distances
from rewards.clusters import average_linkage, linked_sizes

Distances = Callable[[Sequence[str]], NDArray[np.float64]]

_WIDEST_TOGETHER = 64


def cluster_shares(
    questions: Sequence[str], *, threshold: float = 0.5, distances: Distances = bleu_distances
) -> NDArray[np.float64]:
    """Returns, for each question, the size of its cluster divided by n, [n].

    Clusters are average-linkage agglomerative, cut at the threshold, exactly as in VisPlay's released code.

    Args:
        questions: n texts.
        threshold: the cut, in units of distance, > 0.
        distances: texts to a symmetric [n, n] matrix of distances.
    """
    labels = average_linkage(distances(questions), threshold=threshold)
    return np.bincount(labels)[labels] / max(1, len(questions))


def grouped_cluster_shares(
    groups: Sequence[Sequence[str]],
    *,
    threshold: float = 0.5,
    distances: Distances = bleu_distances,
    merge_duplicates: bool = False,
) -> list[NDArray[np.float64]]:
    """Returns `cluster_shares` of every group, much faster than one by one.

    With `merge_duplicates` the shares do not hang on the order of the questions, and a copy of a question
    never lowers its share. That deviates from the released code in two ways: equal texts are one point
    however short they are (the BLEU of a question of two words with itself is 0.32, so the code never
    counts its copies), and the points are put in order of their text before the unsymmetric BLEU sees
    them. A cluster's size still counts every copy.

    Args:
        groups: texts by group.
        threshold: the cut, in units of distance, > 0.
        distances: texts to a symmetric [n, n] matrix of distances.
        merge_duplicates: see above; white space between words is not told apart.
    """
    places: list[list[int]] = []
    points: list[list[str]] = []
    counts: list[list[int]] = []
    for group in groups:
        plain = [" ".join(text.split()) for text in group] if merge_duplicates else list(group)
        copies = Counter(plain) if merge_duplicates else None
        points.append(sorted(copies) if copies is not None else plain)
        counts.append([copies[text] for text in points[-1]] if copies is not None else [1] * len(plain))
        index = {text: place for place, text in enumerate(points[-1])} if copies is not None else {}
        places.append([index[text] for text in plain] if copies is not None else list(range(len(plain))))
    widest = max(map(len, points), default=0)
    if distances is bleu_distances and widest <= _WIDEST_TOGETHER:
        together = grouped_bleu_distances(points)
        weights = np.zeros((len(points), widest))
        for row, count in zip(weights, counts, strict=True):
            row[: len(count)] = count
        sizes = list(linked_sizes(together, weights, threshold=threshold))
    else:
        sizes = []
        for texts, count in zip(points, counts, strict=True):
            labels = average_linkage(distances(texts), threshold=threshold)
            sizes.append(np.bincount(labels, count)[labels])
    return [size[place] / max(1, len(place)) for size, place in zip(sizes, places, strict=True)]
