"""Average-linkage agglomerative clustering, cut where the mean distance reaches a threshold.

Two clusters merge while the mean distance of their members is below the threshold. Equal to scikit-learn's
AgglomerativeClustering with a precomputed metric and `distance_threshold`, ties included.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform


def average_linkage(distances: NDArray[np.float64], *, threshold: float) -> NDArray[np.intp]:
    """Returns the cluster of each point, numbered from 0, [n].

    Args:
        distances: [n, n], symmetric.
        threshold: the cut, in units of distance; pairs at just this distance do not merge.
    """
    if len(distances) < 2:
        return np.zeros(len(distances), np.intp)
    tree = linkage(squareform(distances, checks=False), method="average")
    labels: NDArray[np.intp] = fcluster(tree, np.nextafter(threshold, -np.inf), criterion="distance") - 1
    return labels
