"""The verdicts on all comparisons of a run, and the text of verdicts and figures.

Every page, table, card and alarm uses the verdicts of `verdicts`, which takes all comparisons of a run as one
family: the best iteration is chosen on the same questions that measure it, so every benchmark and iteration
that was compared with the base counts. No sentence claims more than its interval supports.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from visplay.evaluation.statistics import Estimate, PairedDifference, Verdict, judged

Evaluations = Mapping[int, Mapping[str, Mapping[str, Any]]]  # iteration -> benchmark -> figures
MINUS, DASH, SPACE = "\u2212", "\u2013", "\u00a0"  # a minus sign, an en dash, a non-breaking space
UNKNOWN = "\u2014"
SYNTHETIC = ("pocket", "easy-vqa", "easy_vqa")  # benchmarks whose pictures are drawn by a program
TRUSTED, EVEN, DISTRUSTED = "mostly right", "no better than even", "mostly wrong"


def verdicts(evaluations: Evaluations) -> dict[tuple[int, str], Verdict]:
    """The verdict on each (iteration, benchmark) of a run that was compared with the base.

    Holm's correction covers all of them.
    """
    compared = {
        (iteration, name): figures["paired"]
        for iteration in sorted(evaluations)
        for name, figures in evaluations[iteration].items()
        if figures.get("paired")
    }
    return dict(zip(compared, judged(list(compared.values())), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One benchmark: the base, an iteration and the verdict on their difference.

    Attributes:
        benchmark: the benchmark's id.
        synthetic: whether its pictures are drawn by a program.
        n: number of questions.
        base: figures of the base, or None.
        last: figures of the iteration, or None if only the base was measured.
        verdict: "better", "worse", "can't tell" or "".
        sentence: the verdict with its figures.
    """

    benchmark: str
    synthetic: bool
    n: int
    base: dict[str, Any] | None
    last: dict[str, Any] | None
    verdict: str
    sentence: str


def headlines(evaluations: dict[int, dict[str, Any]], *, iteration: int | None = None) -> list[Headline]:
    """Compare the base with an iteration, the last measured one by default, on every benchmark."""
    last = max(evaluations, default=0) if iteration is None else iteration
    base, final = evaluations.get(0, {}), evaluations.get(last, {}) if last else {}
    found, lines = verdicts(evaluations), []
    for name in dict.fromkeys([*base, *final]):
        verdict, own = found.get((last, name)), final.get(name)
        if verdict and own:
            sentence = _sentence(own["paired"], verdict, iteration=last)
        elif own:
            why = f": {own['withheld']}" if own.get("withheld") else ""
            sentence = f"No paired comparison with the base exists{why}."
        else:
            sentence = "Only the base has been measured so far."
        lines.append(
            Headline(
                benchmark=name, synthetic=is_synthetic(name),
                n=int((own or base.get(name) or {}).get("n", 0)), base=base.get(name), last=own,
                verdict=verdict.word if verdict else "", sentence=sentence,
            )
        )  # fmt: skip
    return lines


def _sentence(paired: Mapping[str, Any], verdict: Verdict, *, iteration: int) -> str:
    many = f", Holm's correction for {verdict.tests} comparisons" if verdict.tests > 1 else ""
    interval = f"95 % interval {points(paired['low'])} to {points(paired['high'])}; {p_text(verdict.p)}{many}"
    by = f"{points(paired['difference'])} points ({interval})"
    changed = (
        f"Among {quantity(paired['n'])} questions, {quantity(paired['gained'])} changed from wrong to right "
        f"and {quantity(paired['lost'])} from right to wrong."
    )
    if verdict.word == "can't tell":
        return f"Iteration {iteration} does not differ significantly from the base: {by}. {changed}"
    return f"Iteration {iteration} is {verdict.word} than the base by {by}. {changed}"


def sum_up(
    evaluations: Evaluations, *, curations: Mapping[int, Mapping[str, Any]],
    health: Mapping[int, Mapping[str, Any]], config: Mapping[str, Any],
) -> list[str]:  # fmt: skip
    """Say whether self-play helped and whether its labels can be trusted, in one or more sentences each.

    Args:
        evaluations: iteration -> benchmark -> figures; iteration 0 is the base.
        curations: iteration -> figures of the labels.
        health: iteration -> health figures; `probe_silver` is used, shares in [0, 1] or None.
        config: the run's configuration as plain data; missing keys are treated as unknown.
    """
    return [*_helped(evaluations, config), *_labels(curations, health, evaluations, config)]


def _helped(evaluations: Evaluations, config: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name for i in sorted(evaluations) for name in evaluations[i]))
    if not names:
        return ["Nothing is measured (evaluation.benchmarks), so it is unknown whether self-play helps."]
    last = max(evaluations)
    if not last:
        known = {name: a["value"] for name in names if (a := evaluations[0][name].get("accuracy"))}
        bases = _listed(f"{share(value)} on {name}" for name, value in known.items())
        start = f"; the base starts from {bases}" if bases else ""
        return [f"No iteration is measured yet, so it is unknown whether self-play helps{start}."]
    found, said, open_, unknown = verdicts(evaluations), [], [], []
    control = config.get("control") or "none"
    who = "Self-play" if control == "none" else f"This control ({control})"
    for name in names:
        own = {i: verdict for (i, benchmark), verdict in found.items() if benchmark == name}
        paired = {i: evaluations[i][name]["paired"] for i in own}
        if not own:
            unknown.append(f"{name} ({evaluations[last].get(name, {}).get('withheld') or 'not compared'})")
            continue
        final = max(own)
        better = [i for i in own if own[i].word == "better"]
        if better:
            best = max(better, key=lambda i: (paired[i]["difference"], -i))
            after = "" if best == final else (
                f", the best of {len(own)} iterations as chosen on these questions; after iteration {final} "
                f"the verdict is {own[final].word} ({_points(paired[final])})"
            )  # fmt: skip
            said.append(f"{who} helped on {name}: {_points(paired[best])} after iteration {best}{after}.")
        elif own[final].word == "worse":
            said.append(f"{who} hurt on {name}: {_points(paired[final])} after iteration {final}.")
        else:
            open_.append(f"{name} ({_points(paired[final])} after iteration {final})")
    if any(verdict.word == "better" for verdict in found.values()):
        said.append("Gains are over the base's greedy answers; gains from decoding alone are not tested.")
    if open_:
        tests = f", corrected for {len(found)} comparisons" if len(found) > 1 else ""
        said.append(f"Whether {who[0].lower() + who[1:]} helped can't be told on {_listed(open_)}{tests}.")
    if unknown:
        said.append(f"No figure is reported on {_listed(unknown)}.")
    return said


def _probe(evaluations: Evaluations, config: Mapping[str, Any]) -> str:
    first = next(iter(next(iter(evaluations.values()), {})), None)
    return (config.get("health") or {}).get("probe") or first or "the probe"


def _labels(
    curations: Mapping[int, Mapping[str, Any]], health: Mapping[int, Mapping[str, Any]],
    evaluations: Evaluations, config: Mapping[str, Any],
) -> list[str]:  # fmt: skip
    if not curations:
        return ["No labels have been made yet."]
    known = {
        i: own["kept"] for i, c in curations.items() if (own := c.get("silver_accuracy")) and own.get("kept")
    }
    if known:
        trust = _trust({i: _trusted(own) for i, own in known.items()})
        return [f"{_right(known)}, so {trust}."]
    if any(c.get("silver_accuracy") is not None for c in curations.values()):
        return ["No silver answer was kept, so there are no labels to judge."]
    unknown = "The true answers of its questions are not known"
    probed = {i: row["probe_silver"] for i, row in health.items() if row.get("probe_silver") is not None}
    if not probed:
        return [f"{unknown} and no probe was voted on, so it is unknown whether its labels are right."]
    probe, last = _probe(evaluations, config), max(probed)
    word = "right more often than not" if probed[last] > 0.5 else "wrong at least as often as right"
    return [
        f"{unknown}. On labelled questions of {probe}, {share(probed[last])} of the votes of "
        f"moderate confidence were right after iteration {last}: {word} there. It is unknown whether its own "
        "labels are right."
    ]


def _right(known: Mapping[int, Mapping[str, Any]]) -> str:
    """The share of right silver answers in the first and the last iteration where it is known."""
    first, last = min(known), max(known)
    said = f"{share(known[first]['value'])} of the silver answers kept for training were right"
    said += f" in iteration {first} (n = {quantity(known[first]['n'])}; truth is known here)"
    if last > first:
        said += f", {share(known[last]['value'])} in iteration {last} (n = {quantity(known[last]['n'])})"
    return said


def _trusted(kept: Mapping[str, Any]) -> str:
    """The judgement that the interval supports."""
    return TRUSTED if kept["low"] > 0.5 else DISTRUSTED if kept["high"] < 0.5 else EVEN


def _trust(words: Mapping[int, str]) -> str:
    """Whether labels can be trusted in all iterations, until some iteration, or in some iterations only."""
    doubted = [i for i, word in sorted(words.items()) if word != TRUSTED]
    if not doubted:
        return f"its labels are {TRUSTED}"
    found = sorted({words[i] for i in doubted}, reverse=True)  # "no better than even" before "mostly wrong"
    what = f"should not be trusted ({' or '.join(found)})"
    if len(doubted) == len(words):
        return f"its labels {what}"
    from_then_on = [i for i in sorted(words) if i >= doubted[0]]
    if doubted == from_then_on:
        return f"its labels {what} from iteration {doubted[0]} on"
    return f"its labels {what} in iteration{'s' * (len(doubted) > 1)} {_listed(map(str, doubted))}"


def _points(paired: Mapping[str, Any]) -> str:
    """`+21.8 points [+18.7, +25.0], n = 1 000`."""
    interval = f"[{points(paired['low'])}, {points(paired['high'])}]"
    return f"{points(paired['difference'])} points {interval}, n = {quantity(paired['n'])}"


def _listed(words: Iterable[str]) -> str:
    *front, last = [*words] or [""]
    return f"{', '.join(front)} and {last}" if front else last


def is_synthetic(benchmark: str) -> bool:
    """Whether the pictures of a benchmark are drawn by a program."""
    return benchmark.startswith(SYNTHETIC)


def majority(figures: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The vote of all samples: its name, e.g. `maj@8`, and the estimate; None if no samples were drawn."""
    sampled = figures.get("sampled") or {}
    name = f"maj@{sampled.get('samples') or 'k'}"
    return name, sampled.get(name)


def blind(figures: dict[str, Any]) -> dict[str, Any] | None:
    """The estimate of the accuracy on greyed-out pictures; None if it was not measured."""
    estimate: dict[str, Any] | None = (figures.get("blind") or {}).get("accuracy")
    return estimate


def headline(figures: dict[str, Any]) -> str:
    """A benchmark's headline figure: accuracy with its interval, or another mean, e.g. of its parts."""
    own, value = figures.get("accuracy"), figures.get("headline")
    return estimate(own) if own and value in (None, own["value"]) else share(value)


def finite(value: Any) -> float | None:
    """The value if it can be drawn and written as JSON; None for NaN, infinite and missing values."""
    return value if _is_number(value) else None


def share(value: Any) -> str:
    """A share in [0, 1] as a percentage with one decimal."""
    return f"{100 * value:.1f}{SPACE}%" if _is_number(value) else UNKNOWN


def estimate(found: Any) -> str:
    """A share with its interval, `71.3 % (68.4-74.1)`, from an `Estimate` or its stored form."""
    figures = asdict(found) if isinstance(found, Estimate) else found
    if not isinstance(figures, dict):
        return UNKNOWN
    return f"{share(figures['value'])} ({100 * figures['low']:.1f}{DASH}{100 * figures['high']:.1f})"


def points(value: Any) -> str:
    """A difference of shares in percentage points with its sign."""
    if not _is_number(value):
        return UNKNOWN
    rounded = round(100 * value, 1)
    sign = MINUS if rounded < 0 else "+" if rounded > 0 else "\u00b1"
    return f"{sign}{abs(rounded):.1f}"


def difference(found: Any) -> str:
    """A paired difference with its interval, in points, from a `PairedDifference` or its stored form."""
    paired = asdict(found) if isinstance(found, PairedDifference) else found
    if not isinstance(paired, dict):
        return UNKNOWN
    return f"{points(paired['difference'])} ({points(paired['low'])} to {points(paired['high'])})"


def p_text(p: float) -> str:
    """A p-value; it is never shown as 0."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def quantity(value: Any) -> str:
    """Format a figure: integers with grouped thousands, other numbers to four significant digits."""
    if not _is_number(value):
        return UNKNOWN if value is None else str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f").replace("-", MINUS)
    return f"{value:.4g}".replace("-", MINUS)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def ratio(part: Any, whole: Any) -> str:
    """A part of a whole with its percentage; the whole may be zero or unknown."""
    if not _is_number(part) or not _is_number(whole):
        return UNKNOWN
    return f"{quantity(part)} ({share(part / whole)})" if whole else quantity(part)
