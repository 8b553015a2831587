"""The majority vote: many answers to one question -> a silver answer and its confidence."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rewards.answers.canonical import canonical
from rewards.answers.equivalence import Judge, Mathematics, answer_form, compare, equivalent
from rewards.answers.form import Form, same

Equivalence = Callable[[str, str], bool]


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
    tolerance: float | None = None,
    equivalence: Equivalence | None = None,
    count_unparsed: bool = True,
    judge: Judge | None = None,
    mathematics: Mathematics | None = None,
) -> Vote:
    """Counts equivalent answers together; the largest class is the silver answer.

    `p(y) = count of equivalent answers / m` and `c = max p`, where m is every sample: an answer that could
    not be parsed counts in the denominator and for no answer. Ties go to the class whose first vote came
    first; nothing else depends on the order. Equivalence is not transitive (`50` and `0.5` both equal
    `50 %`), so classes grow around their most frequent form: forms are taken by falling count, and each
    joins the first class whose leading form it equals.

    Args:
        answers: extracted answers, None where a sample held none; a blank one counts as None.
        question: what is answered.
        options: texts of a multiple-choice question's options, A first.
        tolerance: relative tolerance between numbers, >= 0.
        equivalence: decides in place of `equivalent` whether two distinct texts are one answer.
        count_unparsed: False drops unparsed samples from m, as the released code does in curation.
        judge: see `equivalent`; asked only about leading forms that differ.
        mathematics: see `equivalent`.
    """
    counts = Counter(answers)
    labels = tuple(options) if options else _said_options(counts)
    groups: dict[tuple[str, str], list[str]] = {}
    for text in counts:
        if text is None:
            continue
        form = answer_form(text, options=labels, mathematics=mathematics)
        if form.kind == "empty":
            continue
        name = (form.kind, form.key) if equivalence is None else ("", text)
        groups.setdefault(name, []).append(text)

    first = {text: place for place, text in enumerate(counts)}
    classes = list(groups.values())
    forms: dict[tuple[str, str], Form] = {}

    def same_answer(one: tuple[str, str], other: tuple[str, str]) -> bool:
        if equivalence is not None:
            return equivalence(one[1], other[1])
        known = same(forms[one], forms[other], tolerance=tolerance)
        if judge is not None and not known:
            a, b = min(groups[one]), min(groups[other])
            return equivalent(
                a, b, options=labels, tolerance=tolerance, judge=judge, mathematics=mathematics
            ).equal
        if known is None:
            return compare(forms[one], forms[other], tolerance=tolerance, mathematics=mathematics).equal
        return known

    if len(groups) > 1:
        # Texts of one form may still reach the mathematics stage in different spellings: take a fixed one.
        forms = {
            name: answer_form(min(texts), options=labels, mathematics=mathematics)
            for name, texts in groups.items()
        }
        classes = _classes(groups, counts, {} if equivalence is not None else forms, tolerance, same_answer)
    sizes = [
        (sum(counts[text] for text in group), min(first[text] for text in group), group) for group in classes
    ]
    sizes.sort(key=lambda entry: (-entry[0], entry[1]))
    parsed = sum(size for size, _, _ in sizes)
    samples = len(answers) if count_unparsed else parsed
    shares = tuple((_spelling(group, counts), size / samples) for size, _, group in sizes)
    answer, confidence = shares[0] if shares else (None, 0.0)
    return Vote(answer=answer, confidence=confidence, shares=shares, parsed=parsed, samples=samples)


def _said_options(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Options that answers name themselves: where one says `B. blue`, B and blue are one answer.

    None where two of them contradict each other. Options that nobody names are empty.
    """
    said: dict[str, dict[str, str]] = {}
    for text in texts:
        form = canonical(text) if text is not None else None
        if form is not None and form.kind == "letter" and form.items:
            said.setdefault(form.name, {})[f"{form.items[0].kind}:{form.items[0].key}"] = form.latex
    keys = [key for found in said.values() for key in found]
    if not said or len(keys) > len(said) or len(set(keys)) < len(keys):
        return ()
    letters = (chr(code) for code in range(65, ord(max(said)) + 1))
    return tuple(next(iter(said.get(letter, {}).values()), "") for letter in letters)


def _classes(
    groups: dict[tuple[str, str], list[str]],
    counts: Counter[str | None],
    forms: dict[tuple[str, str], Form],
    tolerance: float | None,
    same_answer: Callable[[tuple[str, str], tuple[str, str]], bool],
) -> list[list[str]]:
    """Joins groups of one form each into classes around the most frequent forms."""
    size = {name: sum(counts[text] for text in texts) for name, texts in groups.items()}
    classes: list[list[str]] = []
    joined: list[list[tuple[str, str]]] = []
    open_unit = {name: _open_unit(forms[name]) if name in forms else 0 for name in groups}
    for name in sorted(groups, key=lambda name: (-size[name], open_unit[name], name)):
        for members, leaders in zip(classes, joined, strict=True):
            apart = any(_contradict(forms[name], forms[one], tolerance) for one in leaders if name in forms)
            meant = leaders if open_unit[name] and forms[leaders[0]].counts else leaders[:1]
            if not apart and any(same_answer(one, name) for one in meant):
                members.extend(groups[name])
                leaders.append(name)
                break
        else:
            classes.append(list(groups[name]))
            joined.append([name])
    return classes


def _open_unit(form: Form) -> int:
    """0 where a value's unit is said, 1 where none is, 2 for `units`: these two join whatever they equal."""
    if form.kind not in ("number", "math"):
        return 0
    return 1 if form.counts is None else 2 * form.counts.vague


def _contradict(one: Form, other: Form, tolerance: float | None) -> bool:
    """Whether two units tell answers apart, though a third may be either: 5 m and 5 cm beside 5."""
    if not one.counts or not other.counts or one.counts.vague or other.counts.vague:
        return False
    return same(one, other, tolerance=tolerance) is False


def _spelling(group: list[str], counts: Counter[str | None]) -> str:
    """Returns the most frequent text of a class; ties go to the shortest, then the alphabet's first."""
    if len(group) == 1:
        return group[0]
    return min(group, key=lambda text: (-counts[text], len(text), text))
