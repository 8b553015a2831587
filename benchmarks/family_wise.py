"""How often a family of comparisons without any true change has a verdict other than "can't tell".

    python -m benchmarks.family_wise --families 300

A family is ten paired comparisons of 1,000 questions in clusters of 4 or 10, whose changes are equal within a
cluster for the share of clusters that is given. One family in twenty may be wrong.
"""

import argparse
import math

import numpy as np

from visplay.evaluation.statistics import judged, paired_difference

COMPARISONS, QUESTIONS = 10, 1000


def family(rng: np.random.Generator, *, size: int, together: float) -> bool:
    """Whether any of the comparisons gets a verdict although nothing changed."""
    count = QUESTIONS // size
    pairs = []
    for _ in range(COMPARISONS):
        whole = np.repeat(rng.random(count) < together, size)
        of_cluster = np.repeat(rng.choice([-1, 0, 1], count, p=[0.1, 0.8, 0.1]), size)
        change = np.where(whole, of_cluster, rng.choice([-1, 0, 1], QUESTIONS, p=[0.1, 0.8, 0.1]))
        before = np.where(change == 0, rng.random(QUESTIONS) < 0.6, change < 0)
        after = np.where(change == 0, before, change > 0)
        clusters = np.repeat(np.arange(count), size)
        pairs.append(paired_difference(before.tolist(), after.tolist(), clusters=clusters.tolist()))
    return any(verdict.word in ("better", "worse") for verdict in judged(pairs))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", type=int, default=300, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for size, together in ((4, 0.5), (4, 1.0), (10, 0.5), (10, 1.0)):
        rng = np.random.default_rng([options.seed, size, int(10 * together)])
        wrong = sum(family(rng, size=size, together=together) for _ in range(options.families))
        share = wrong / options.families
        error = 1.96 * math.sqrt(max(share * (1 - share), 1e-9) / options.families)
        print(
            f"clusters of {size}, {together:.0%} of them change as one: {wrong} of {options.families} "
            f"families wrong, {share:.1%} +- {error:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
