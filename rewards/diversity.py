"""Redundancy: how much of a group asks the same thing (Eq. 6, arXiv 2511.15661)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from rewards.bleu import bleu_distances

Distances = Callable[[Sequence[str]], NDArray[np.float64]]


def cluster_shares(
    questions: Sequence[str], *, threshold: float = 0.5, distances: Distances = bleu_distances
) -> NDArray[np.float64]:
    """Returns, for each question, the size of its cluster divided by n, [n].

    Clusters are average-linkage agglomerative: two merge while the mean distance of their members is
    below the threshold. Equal to scikit-learn's AgglomerativeClustering on the same distances.

    Args:
        questions: n texts.
        threshold: the cut, in units of distance, > 0.
        distances: texts to a symmetric [n, n] matrix of distances.
    """
    labels = average_linkage(distances(questions), threshold=threshold)
    return np.bincount(labels)[labels] / max(1, len(questions))


def distinct_shares(
    questions: Sequence[str], *, threshold: float = 0.5, distances: Distances = bleu_distances
) -> NDArray[np.float64]:
    """Returns cluster shares that do not hang on the order of the questions, [n].

    Deviates from the released code in two ways, so that a duplicate always counts as one and a group's
    rewards move with its members: equal texts are one point however short they are (BLEU of a question of
    two words with itself is 0.32), and the points are put in order of their text before the unsymmetric
    BLEU sees them. A cluster's size still counts every copy.

    Args:
        questions: n texts; white space between words is not told apart.
        threshold: the cut, in units of distance, > 0.
        distances: texts to a symmetric [n, n] matrix of distances.
    """
    plain = [" ".join(question.split()) for question in questions]
    texts = sorted(set(plain))
    place = {text: index for index, text in enumerate(texts)}
    labels = average_linkage(distances(texts), threshold=threshold)[[place[text] for text in plain]]
    return np.bincount(labels)[labels] / max(1, len(questions))


def average_linkage(distances: NDArray[np.float64], *, threshold: float) -> NDArray[np.intp]:
    """Returns the cluster of each point, numbered from 0, [n].

    Args:
        distances: [n, n], symmetric.
        threshold: clusters merge while their mean distance is below it.
    """
    count = len(distances)
    labels = np.arange(count)
    if count < 2:
        return labels
    merges = linkage(squareform(distances, checks=False), method="average")
    members: dict[int, list[int]] = {index: [index] for index in range(count)}
    for step, (left, right, distance, _) in enumerate(merges):
        if distance >= threshold:
            break
        joined = members.pop(int(left)) + members.pop(int(right))
        members[count + step] = joined
    for label, points in enumerate(members.values()):
        labels[points] = label
    return labels
