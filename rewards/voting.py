"""The majority vote: many answers to one question -> a silver answer and its confidence."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rewards.equivalence import equivalent


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """How the sampled answers split.

    Attributes:
        answer: the silver answer; None where no sample was parsed.
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
    options: Sequence[str] | None = None,
    tolerance: float | None = None,
    equivalence: Callable[[str, str], bool] | None = None,
    count_unparsed: bool = True,
) -> Vote:
    """Counts equivalent answers together; the largest class is the silver answer.

    `p(y) = count of equivalent answers / m` and `c = max p`, where m is every sample: an answer that could
    not be parsed counts in the denominator and for no answer. Ties go to the class whose first vote came
    first. Classes do not hang on the order of the answers.

    Args:
        answers: extracted answers, None where a sample held none.
        options: texts of a multiple-choice question's options, A first.
        tolerance: relative tolerance between numbers.
        equivalence: decides in place of `equivalent` whether two distinct texts are one answer.
        count_unparsed: False drops unparsed samples from m, as the released code does in curation.
    """
    parsed = [answer for answer in answers if answer is not None]
    same = equivalence or (lambda a, b: equivalent(a, b, options=options, tolerance=tolerance).equal)
    counts = Counter(parsed)
    first = {text: place for place, text in reversed(list(enumerate(parsed)))}
    classes: list[list[str]] = []
    for text in sorted(counts, key=lambda text: (-counts[text], text)):
        home = next((members for members in classes if same(members[0], text)), None)
        if home is None:
            classes.append([text])
        else:
            home.append(text)
    sizes = [
        (sum(counts[t] for t in members), min(first[t] for t in members), members[0]) for members in classes
    ]
    sizes.sort(key=lambda entry: (-entry[0], entry[1]))
    samples = len(answers) if count_unparsed else len(parsed)
    shares = tuple((text, size / samples) for size, _, text in sizes)
    return Vote(
        answer=shares[0][0] if shares else None,
        confidence=shares[0][1] if shares else 0.0,
        shares=shares,
        parsed=len(parsed),
        samples=samples,
    )
