"""Redundancy: how much of a group asks the same thing (Eq. 6, arXiv 2511.15661)."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rewards.diversity.bleu import bleu_distances, bleu_scores, grouped_bleu_distances
from rewards.diversity.clusters import average_linkage, linked_sizes

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


def cluster_labels(
    questions: Sequence[str], *, threshold: float = 0.5, distances: Distances = bleu_distances
) -> list[int]:
    """Returns the number of each question's cluster, [n]; equal texts always share one.

    Args:
        questions: n texts.
        threshold: the cut, in units of distance, > 0.
        distances: texts to a symmetric [n, n] matrix of distances.
    """
    points = sorted({" ".join(text.split()) for text in questions})
    labels = average_linkage(distances(points), threshold=threshold)
    of = {text: int(label) for text, label in zip(points, labels, strict=True)}
    return [of[" ".join(text.split())] for text in questions]


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


def embedding_distances(embed: Callable[[Sequence[str]], NDArray[np.float64]]) -> Distances:
    """Makes a distance out of a sentence encoder: `1 - cosine similarity`, so paraphrases come out near.

    Sentence-BERT (arXiv 1908.10084). BLEU sees words, not meaning: it tells `What colour is the car?` from
    `Which hue does the car have?`. Such distances are smaller than BLEU's; lower the threshold with them.

    Args:
        embed: n texts to vectors, [n, width]; for example `SentenceTransformer(path).encode`.
    """

    def distances(questions: Sequence[str]) -> NDArray[np.float64]:
        if not questions:
            return np.zeros((0, 0))
        vectors = np.asarray(embed(questions), np.float64)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        found: NDArray[np.float64] = np.clip(1.0 - vectors @ vectors.T, 0.0, 2.0)
        np.fill_diagonal(found, 0.0)
        return found

    return distances


def remembered_similarity(
    questions: Sequence[str],
    memory: Sequence[str],
    *,
    threshold: float = 0.5,
    distances: Distances = bleu_distances,
) -> NDArray[np.float64]:
    """Returns how like the nearest remembered question each one is, [n]; 0 if none is within the threshold.

    Redundancy inside a group cannot see that today's group repeats yesterday's. Keeping earlier outputs and
    scoring novelty against them is novelty search with an archive (Lehman and Stanley 2011).

    Args:
        questions: n texts; an empty one is like nothing.
        memory: earlier questions; see `remember`.
        threshold: distances from here on count as different, > 0.
        distances: as for `cluster_shares`.
    """
    if not questions or not memory:
        return np.zeros(len(questions))
    if distances is bleu_distances:
        similarity = bleu_scores(questions, memory)
    else:
        similarity = 1.0 - distances([*questions, *memory])[: len(questions), len(questions) :]
    known = {" ".join(text.split()) for text in memory}
    plain = [" ".join(text.split()) for text in questions]
    nearest = np.where([text in known for text in plain], 1.0, similarity.max(axis=1))
    return np.where((1.0 - nearest < threshold) & [bool(text) for text in plain], nearest, 0.0)


def remember(memory: Sequence[str], questions: Sequence[str], *, size: int) -> tuple[str, ...]:
    """Returns the memory with new questions added: the `size` newest distinct ones, oldest first."""
    newest = dict.fromkeys(reversed([*memory, *questions]))
    newest.pop("", None)
    return tuple(reversed(list(newest)[:size]))
