"""The majority vote: many answers to one question -> a silver answer, and what its confidence says."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.answers.equivalence import answer_form


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """How the sampled answers split.

    Attributes:
        answer: the silver answer, in the spelling most samples used; None where no sample was parsed.
        confidence: c, its share of the samples; 0 where there is no silver answer.
        shares: (answer, share) of every distinct answer, largest first, ties by first vote.
        parsed: samples with an answer.
        samples: the denominator m: all samples, or the parsed ones if unparsed were not counted.
    """

    answer: str | None
    confidence: float
    shares: tuple[tuple[str, float], ...]
    parsed: int
    samples: int


def vote(
    answers: Sequence[str | None],
    *,
    question: str | None = None,
    options: Sequence[str] | None = None,
    count_unparsed: bool = True,
) -> Vote:
    """Counts equivalent answers together; the largest class is the silver answer.

    `p(y) = count of equivalent answers / m` and `c = max p`, where m is every sample: an answer that could
    not be parsed counts in the denominator and for no answer. Ties go to the class whose first vote came
    first; nothing else depends on the order.

    Args:
        answers: extracted answers, None where a sample held none; a blank one counts as None.
        question: what was asked; see `equivalent`.
        options: texts of a multiple-choice question's options, A first.
        count_unparsed: False drops unparsed samples from m, as the released code does in curation.
    """
    counts = Counter(answers)
    labels = tuple(options) if options else ()
    groups: dict[str, list[str]] = {}
    for text in counts:
        if text is not None and (key := answer_form(text, question=question, options=labels).key):
            groups.setdefault(key, []).append(text)

    def size(group: list[str]) -> int:
        return sum(counts[text] for text in group)

    first = {text: place for place, text in enumerate(counts)}
    classes = sorted(groups.values(), key=lambda group: (-size(group), min(first[text] for text in group)))
    parsed = sum(map(size, classes))
    samples = len(answers) if count_unparsed else parsed
    shares = tuple((_spelling(group, counts), size(group) / samples) for group in classes)
    answer, confidence = shares[0] if shares else (None, 0.0)
    return Vote(answer=answer, confidence=confidence, shares=shares, parsed=parsed, samples=samples)


def _spelling(group: list[str], counts: Counter[str | None]) -> str:
    """Returns the most frequent text of a class; ties go to the shortest, then the alphabet's first."""
    return min(group, key=lambda text: (-counts[text], len(text), text))


def uncertainty(confidence: float, *, target: float = 0.5) -> float:
    """How near the votes are to the confidence that pays most: 1 there, falling in a straight line to 0.

    With the target 0.5 this is `1 - |2c - 1|`: 1 where the votes split evenly, 0 where they agree (Eq. 5,
    arXiv 2511.15661). Above it `c / target` and `(1 - c) / (1 - target)` pay for questions on which the
    Reasoner is surer, whose silver answers are more often right.

    Args:
        confidence: c, the vote share of the silver answer, in [0, 1]; 0 where nothing was parsed.
        target: the confidence that pays most, in (0, 1).
    """
    c = _checked(confidence)
    return c / target if c <= target else (1.0 - c) / (1.0 - target)


def minority_share(confidence: float) -> float:
    """Returns `min(c, 1 - c)`, the difficulty that VisPlay's released code uses: half of `uncertainty`."""
    return min(_checked(confidence), 1.0 - confidence)


def in_informative_band(confidence: float, low: float, high: float) -> bool:
    """Says whether a question is worth learning from: `low <= c <= high` (Eq. 9, arXiv 2511.15661)."""
    return low <= _checked(confidence) <= high


def _checked(confidence: float) -> float:
    if not 0.0 <= confidence <= 1.0:
        raise ValueError(f"confidence must be in [0, 1], got {confidence}")
    return confidence
