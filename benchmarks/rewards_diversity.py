"""Redundancy against nltk + scikit-learn: `python benchmarks/rewards_diversity.py`.

Measures both sides in one process on one core. nltk is timed on a sample of pairs and extrapolated to all
of them; everything else is timed in full. Also says how far the two are apart on the sample.
"""

import argparse
import os
import random
import resource
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from sklearn.cluster import AgglomerativeClustering

from rewards import bleu_distances, cluster_shares, merged_cluster_shares

METHOD_1 = SmoothingFunction().method1
TEMPLATES = (
    "What is the color of the {a} {p} the {b}?",
    "How many {a}s are {p} the {b} in the picture?",
    "Is the {a} {p} the {b} larger than the {c}?",
    "Which object is located {p} the {b} and closest to the {a}?",
    "What would most likely happen if the {a} were moved {p} the {b}?",
    "If each {a} {p} the {b} costs {n} dollars, what is the total cost of all {a}s?",
    "Based on the {a} {p} the {b}, what can be inferred about the {c} in the image?",
)
NOUNS = (
    "cat dog man woman child table chair lamp car bus tree house bird horse boat clock phone book cup bottle "
    "window door bridge kite ball plate fork knife spoon bag hat coat shoe sign street wall fence flower"
)
PLACES = ("on", "under", "behind", "next to", "in front of", "to the left of", "to the right of", "above")


def question(rng: random.Random) -> str:
    a, b, c = rng.sample(NOUNS.split(), 3)
    return rng.choice(TEMPLATES).format(a=a, b=b, c=c, p=rng.choice(PLACES), n=rng.randint(2, 99))


def nltk_distances(questions: list[str]) -> np.ndarray:
    tokens = [text.split() for text in questions]
    distances = np.zeros((len(tokens), len(tokens)))
    for i in range(len(tokens)):
        for j in range(i + 1, len(tokens)):
            bleu = sentence_bleu([tokens[j]], tokens[i], smoothing_function=METHOD_1)
            distances[i, j] = distances[j, i] = 1 - bleu
    return distances


def sklearn_shares(distances: np.ndarray) -> np.ndarray:
    labels = AgglomerativeClustering(
        n_clusters=None, distance_threshold=0.5, metric="precomputed", linkage="average"
    ).fit_predict(distances)
    return np.bincount(labels)[labels] / len(labels)


def seconds(function, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=4096)
    parser.add_argument("--sample", type=int, default=256, help="questions whose pairs nltk is timed on")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    rng = random.Random(0)
    questions = [question(rng) for _ in range(arguments.questions)]
    sample = questions[: arguments.sample]

    ours = seconds(lambda: cluster_shares(questions), arguments.repeats)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    start = time.perf_counter()
    expected = nltk_distances(sample)
    per_pair = (time.perf_counter() - start) / (len(sample) * (len(sample) - 1) / 2)
    pairs = len(questions) * (len(questions) - 1) / 2
    distances = bleu_distances(questions)
    clustering = seconds(lambda: sklearn_shares(distances), 1)
    theirs = per_pair * pairs + clustering
    print(f"whole batch, {len(questions)} questions, {pairs:.0f} pairs")
    print(f"  ours {ours:.2f} s, peak memory of the process {memory:.2f} GiB")
    print(f"  nltk {per_pair * 1e6:.0f} us a pair on {len(sample)} questions -> {per_pair * pairs:.0f} s")
    print(f"  scikit-learn {clustering:.2f} s")
    print(f"  ratio {theirs / ours:.0f} x")
    apart = np.abs(expected - bleu_distances(sample)).max()
    print(f"  largest difference of a distance {apart:.1e}")
    apart = np.abs(sklearn_shares(distances) - cluster_shares(questions)).max()
    print(f"  largest difference of a share {apart:.1e}")

    groups = [[question(rng) for _ in range(7)] for _ in range(512)]
    groups = [[*group, rng.choice(group)] for group in groups]
    plain = seconds(lambda: [cluster_shares(group) for group in groups], 5 * arguments.repeats)
    merged = seconds(lambda: [merged_cluster_shares(group) for group in groups], 5 * arguments.repeats)
    start = time.perf_counter()
    reference = [sklearn_shares(nltk_distances(group)) for group in groups]
    theirs = time.perf_counter() - start
    apart = max(
        np.abs(cluster_shares(group) - shares).max() for group, shares in zip(groups, reference, strict=True)
    )
    print("512 groups of 8, one copy in each")
    print(f"  nltk + scikit-learn {theirs:.2f} s")
    print(f"  ours {plain * 1e3:.0f} ms, ratio {theirs / plain:.0f} x")
    print(f"  ours with duplicates merged {merged * 1e3:.0f} ms, ratio {theirs / merged:.0f} x")
    print(f"  largest difference of a share {apart:.1e}")


if __name__ == "__main__":
    main()
