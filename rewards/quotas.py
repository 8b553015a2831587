"""Question-type quotas: no type may crowd out the others.

The paper asks for three types but nothing holds the Questioner to a mixture; this penalty is this project's
own, the same proportion-of-the-batch idea as the redundancy of Eq. 6 (arXiv 2511.15661).
"""

from collections import Counter
from collections.abc import Mapping, Sequence


def quota_excess(types: Sequence[str | None], quotas: Mapping[str, float]) -> list[float]:
    """Returns `max(0, share of the question's type - quota)` for each question.

    Args:
        types: of each question in the batch; None for an invalid one, which counts in the batch's size only.
        quotas: the largest share that a type may take, in [0, 1]; a type that is absent has no quota.
    """
    counts = Counter(types)
    return [
        max(0.0, counts[kind] / len(types) - quotas[kind]) if kind is not None and kind in quotas else 0.0
        for kind in types
    ]
