"""Average-linkage agglomerative clustering, cut where the mean distance reaches a threshold.

Two clusters merge while the mean distance of their members is below the threshold. Equal to scikit-learn's
AgglomerativeClustering with a precomputed metric and `distance_threshold`, ties included.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

_SMALL = 32


def average_linkage(distances: NDArray[np.float64], *, threshold: float) -> NDArray[np.intp]:
    """Returns the cluster of each point, [n].

    Args:
        distances: [n, n], symmetric.
        threshold: the cut, in units of distance.
    """
    count = len(distances)
    labels = np.arange(count)
    if count < 2:
        return labels
    near = distances < threshold
    if count <= _SMALL:
        merges = _chain(distances.tolist())
    elif not (near.sum() - near.trace()):
        return labels
    else:
        tree = linkage(squareform(distances, checks=False), method="average")
        return _cut(tree, threshold=threshold)
    for kept, dropped, distance in sorted(merges, key=lambda merge: merge[2]):
        if distance >= threshold:
            break
        labels[labels == labels[dropped]] = labels[kept]
    return labels


def linked_sizes(
    distances: NDArray[np.float64], weights: NDArray[np.float64], *, threshold: float
) -> NDArray[np.float64]:
    """Returns the weight of each point's cluster, for many small sets of points at once, [sets, n].

    Where being near is transitive, the clusters are the sets of points near to each other, whatever the
    order of merging; only the other sets are clustered one by one.

    Args:
        distances: [sets, n, n], symmetric.
        weights: [sets, n]; 0 for padding.
        threshold: the cut, in units of distance.
    """
    near = (distances < threshold) & (weights[:, :, None] > 0) & (weights[:, None, :] > 0)
    links = near.astype(np.float64)
    sizes: NDArray[np.float64] = (links @ weights[:, :, None])[:, :, 0]
    for index in np.flatnonzero((((links @ links) > 0) != near).any(axis=(1, 2))):
        used = np.flatnonzero(weights[index])
        labels = average_linkage(distances[index][np.ix_(used, used)], threshold=threshold)
        sizes[index, used] = np.bincount(labels, weights[index, used])[labels]
    return sizes


def _cut(tree: NDArray[np.float64], *, threshold: float) -> NDArray[np.intp]:
    count = len(tree) + 1
    members: dict[int, list[int]] = {index: [index] for index in range(count)}
    for step, (left, right, distance, _) in enumerate(tree):
        if distance >= threshold:
            break
        members[count + step] = members.pop(int(left)) + members.pop(int(right))
    labels = np.zeros(count, np.intp)
    for label, points in enumerate(members.values()):
        labels[points] = label
    return labels


def _chain(distances: list[list[float]]) -> list[tuple[int, int, float]]:
    """Follows nearest neighbours until two are each other's, and merges these (Murtagh 1983).

    The same walk as scipy's `linkage`, without its cost per call: a tie goes to the point we came from,
    else to the lowest index; the merged cluster keeps the higher index.

    Returns:
        (kept, dropped, distance) of each merge.
    """
    alive = list(range(len(distances)))
    size = [1] * len(distances)
    path: list[int] = []
    merges: list[tuple[int, int, float]] = []
    while len(alive) > 1:
        path = path or [alive[0]]
        while True:
            here = path[-1]
            row = distances[here]
            nearest = path[-2] if len(path) > 1 else -1
            shortest = row[nearest] if len(path) > 1 else float("inf")
            for other in alive:
                if row[other] < shortest and other != here:
                    nearest, shortest = other, row[other]
            if len(path) > 1 and nearest == path[-2]:
                break
            path.append(nearest)
        del path[-2:]
        dropped, kept = min(here, nearest), max(here, nearest)
        alive.remove(dropped)
        n_dropped, n_kept = size[dropped], size[kept]
        for other in alive:
            if other != kept:
                mean = (n_dropped * distances[dropped][other] + n_kept * distances[kept][other]) / (
                    n_dropped + n_kept
                )
                distances[kept][other] = distances[other][kept] = mean
        size[kept] = n_dropped + n_kept
        merges.append((kept, dropped, shortest))
    return merges
