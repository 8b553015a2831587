"""Figures in words: no sentence claims more than the interval beside it carries."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from visplay.evaluation.statistics import Estimate, PairedDifference, holm

MINUS, DASH, SPACE = "\u2212", "\u2013", "\u00a0"  # a true minus, an en dash, a space that does not break
UNKNOWN = "\u2014"
SYNTHETIC = ("pocket", "easy-vqa", "easy_vqa")  # benchmarks whose pictures a program drew


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One benchmark: the base, the last iteration and what may be said about their difference.

    Attributes:
        benchmark: its id.
        synthetic: whether a program drew its pictures.
        n: questions.
        base: figures of the base, or None.
        last: figures of the last measured iteration, or None where only the base was measured.
        verdict: "better", "worse", "can't tell" or "".
        sentence: the same with the figures.
        p_adjusted: McNemar's p after Holm's correction over the benchmarks, or None.
    """

    benchmark: str
    synthetic: bool
    n: int
    base: dict[str, Any] | None
    last: dict[str, Any] | None
    verdict: str
    sentence: str
    p_adjusted: float | None


def headlines(evaluations: dict[int, dict[str, Any]]) -> list[Headline]:
    """Compare the base with the last measured iteration on every benchmark."""
    last = max(evaluations, default=0)
    base, final = evaluations.get(0, {}), evaluations[last] if last else {}
    names = list(dict.fromkeys([*base, *final]))
    tested = [name for name in names if final.get(name, {}).get("paired")]
    adjusted = dict(zip(tested, holm([final[name]["paired"]["p_value"] for name in tested]), strict=True))
    return [
        _headline(name, base.get(name), final.get(name), iteration=last, p_adjusted=adjusted.get(name))
        for name in names
    ]


def is_synthetic(benchmark: str) -> bool:
    """Whether the pictures of a benchmark were drawn by a program."""
    return benchmark.startswith(SYNTHETIC)


def majority(figures: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The vote of all samples: its name, e.g. `maj@8`, and the estimate; None where none was taken."""
    sampled = figures.get("sampled") or {}
    name = f"maj@{sampled.get('samples') or 'k'}"
    return name, sampled.get(name)


def blind(figures: dict[str, Any]) -> dict[str, Any] | None:
    """The estimate of the accuracy on greyed-out pictures; None where it was not asked."""
    estimate: dict[str, Any] | None = (figures.get("controls") or {}).get("blind", {}).get("accuracy")
    return estimate


def headline(figures: dict[str, Any]) -> str:
    """What a benchmark is reported by: accuracy with its interval, or another mean, e.g. of its parts."""
    own, value = figures.get("accuracy"), figures.get("headline")
    return estimate(own) if own and value in (None, own["value"]) else share(value)


def finite(value: Any) -> float | None:
    """The value where it can be drawn and stand in JSON: no NaN, nothing infinite or missing."""
    return value if _is_number(value) else None


def share(value: Any) -> str:
    """A share in [0, 1] as a percentage with one decimal."""
    return f"{100 * value:.1f}{SPACE}%" if _is_number(value) else UNKNOWN


def estimate(found: Any) -> str:
    """A share with its interval, `71.3 % (68.4-74.1)`: of an `Estimate` or of its stored form."""
    figures = asdict(found) if isinstance(found, Estimate) else found
    if not isinstance(figures, dict):
        return UNKNOWN
    return f"{share(figures['value'])} ({100 * figures['low']:.1f}{DASH}{100 * figures['high']:.1f})"


def points(value: Any) -> str:
    """A difference of shares in percentage points, always with its sign."""
    if not _is_number(value):
        return UNKNOWN
    rounded = round(100 * value, 1)
    sign = MINUS if rounded < 0 else "+" if rounded > 0 else "\u00b1"
    return f"{sign}{abs(rounded):.1f}"


def difference(found: Any) -> str:
    """A paired difference with its interval, in points: of a `PairedDifference` or of its stored form."""
    paired = asdict(found) if isinstance(found, PairedDifference) else found
    if not isinstance(paired, dict):
        return UNKNOWN
    return f"{points(paired['difference'])} ({points(paired['low'])} to {points(paired['high'])})"


def p_text(p: float) -> str:
    """A p-value, never as an exact zero."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def quantity(value: Any) -> str:
    """Any figure: whole numbers with thousands apart, others to four significant digits."""
    if not _is_number(value):
        return UNKNOWN if value is None else str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f").replace("-", MINUS)
    return f"{value:.4g}".replace("-", MINUS)


def _headline(
    name: str, base: dict[str, Any] | None, last: dict[str, Any] | None, *, iteration: int,
    p_adjusted: float | None,
) -> Headline:  # fmt: skip
    paired = (last or {}).get("paired")
    figures = last or base or {}
    verdict = verdict_of(paired) if paired else ""
    if paired:
        sentence = _sentence(paired, verdict, iteration=iteration, p_adjusted=p_adjusted)
    elif last:
        why = f": {last['withheld']}" if last.get("withheld") else ""
        sentence = f"There is no paired comparison with the base{why}."
    else:
        sentence = "Only the base has been measured so far."
    return Headline(
        benchmark=name, synthetic=is_synthetic(name), n=int(figures.get("n", 0)), base=base, last=last,
        verdict=verdict, sentence=sentence, p_adjusted=p_adjusted,
    )  # fmt: skip


def verdict_of(paired: Mapping[str, Any]) -> str:
    """The stored verdict, unless the stored interval does not carry it."""
    if paired["verdict"] == "better" and paired["low"] > 0:
        return "better"
    if paired["verdict"] == "worse" and paired["high"] < 0:
        return "worse"
    return "can't tell"


def _sentence(paired: dict[str, Any], verdict: str, *, iteration: int, p_adjusted: float | None) -> str:
    changed = (
        f"Of {quantity(paired['n'])} questions {quantity(paired['gained'])} went from wrong to right and"
        f" {quantity(paired['lost'])} from right to wrong ({p_text(paired['p_value'])}, exact McNemar)."
    )
    interval = f"{points(paired['low'])} to {points(paired['high'])}"
    if verdict == "can't tell":
        said = f"These questions cannot tell iteration {iteration} from the base: the difference of "
        return said + f"{points(paired['difference'])} points has a 95 % interval of {interval}. {changed}"
    said = f"Iteration {iteration} is {verdict} than the base by {points(paired['difference'])} points"
    said += f" (95 % interval {interval}). {changed}"
    if p_adjusted is not None and p_adjusted >= 0.05:
        said += f" Holm's correction for the other benchmarks weakens this to {p_text(p_adjusted)}."
    return said


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def ratio(part: Any, whole: Any) -> str:
    """A part of a whole with its percentage; the whole may be zero or unknown."""
    if not _is_number(part) or not _is_number(whole):
        return UNKNOWN
    return f"{quantity(part)} ({share(part / whole)})" if whole else quantity(part)
