"""Does a server compute with the weights that it names? Seen by its log-probs, beside the other servers'."""

from collections.abc import Sequence

from rollouts.servers.replica import Replica, ReplicaRefused

_NOISE = 0.05  # nats, on average, that two servers in 16 bits may be apart by rounding
_BASE = ""


class Fingerprints:
    """Log-probs of one prompt by each adapter, and by the base VLM, as the first server gave them.

    A server may have another base, or another file under the same path: it takes every request and answers
    with the right names.

    Args:
        token_ids: [tokens] of the prompt; more than one.
        tolerance: mean distance of log-probs beyond which two servers hold other weights, in nats; > 0.
    """

    def __init__(self, token_ids: Sequence[int], *, tolerance: float) -> None:
        self._token_ids, self._tolerance = list(token_ids), tolerance
        self._known: dict[str, tuple[str, list[float]]] = {}  # adapter's name -> URL and log-probs

    async def check(self, replica: Replica, name: str = _BASE) -> None:
        """Ask a server with an adapter, or the base VLM; what the first one says holds for all.

        Raises:
            ReplicaRefused: it computes something else than the first.
            ReplicaLost: it does not answer.
        """
        found = await replica.prompt_logprobs(name or replica.base, self._token_ids)
        url, known = self._known.setdefault(name, (replica.url, found))
        apart = _distance(found, known)
        effect = _distance(known, self._known[_BASE][1]) if _BASE in self._known else 0.0
        # In 16 bits the tolerance is wide: then an adapter must not be taken for half of its effect, either.
        if apart > self._tolerance or (name and apart > max(_NOISE, effect / 2)):
            raise ReplicaRefused(
                f"{replica.url} and {url} answer {apart:.2g} nats apart with {name or 'the base VLM'}: give "
                "all servers the same model, revision and dtype, and let each see the run's folder, not "
                "another one under the same path"
            )

    def forget(self, name: str) -> None:
        """Of an adapter that is not served any more."""
        self._known.pop(name, None)


def _distance(first: Sequence[float], second: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) / len(first)
