"""Redundancy: how much of a group asks the same thing (Eq. 6, arXiv 2511.15661)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rewards.diversity.bleu import bleu_distances
from rewards.diversity.clusters import average_linkage


def cluster_shares(questions: Sequence[str], *, threshold: float = 0.5) -> NDArray[np.float64]:
    """Returns, for each question, the size of its cluster divided by n, [n].

    Clusters are average-linkage agglomerative, cut at the threshold, exactly as in VisPlay's released code.

    Args:
        questions: n texts.
        threshold: the cut, in units of distance, > 0.
    """
    labels = average_linkage(bleu_distances(questions), threshold=threshold)
    return np.bincount(labels)[labels] / max(1, len(questions))


def cluster_labels(questions: Sequence[str], *, threshold: float = 0.5) -> list[int]:
    """Returns the number of each question's cluster, [n]; equal texts always share one.

    Args:
        questions: n texts.
        threshold: the cut, in units of distance, > 0.
    """
    points = sorted({" ".join(text.split()) for text in questions})
    labels = average_linkage(bleu_distances(points), threshold=threshold)
    of = {text: int(label) for text, label in zip(points, labels, strict=True)}
    return [of[" ".join(text.split())] for text in questions]


def merged_cluster_shares(questions: Sequence[str], *, threshold: float = 0.5) -> NDArray[np.float64]:
    """Returns `cluster_shares` with equal texts merged first, [n].

    So the shares do not hang on the order of the questions, and a copy of a question never lowers its share.
    That deviates from the released code in two ways: equal texts are one point however short they are (the
    BLEU of a question of two words with itself is 0.32, so the code never counts its copies), and the points
    are put in order of their text before the unsymmetric BLEU sees them. A cluster's size still counts every
    copy; white space between words is not told apart.

    Args:
        questions: n texts.
        threshold: the cut, in units of distance, > 0.
    """
    labels = np.array(cluster_labels(questions, threshold=threshold), np.intp)
    return np.bincount(labels)[labels] / max(1, len(questions))
