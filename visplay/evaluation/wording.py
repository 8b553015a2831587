"""Figures in words: no sentence claims more than the interval beside it carries."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from visplay.evaluation.statistics import Estimate, holm

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


def majority_key(figures: dict[str, Any]) -> str | None:
    """The name of the majority-vote figure, e.g. `maj@8`."""
    return next((key for key in figures if key.startswith("maj@")), None)


def finite(value: Any) -> float | None:
    """The value where it can be drawn and stand in JSON: no NaN, nothing infinite or missing."""
    return value if _is_number(value) else None


def share(value: Any) -> str:
    """A share in [0, 1] as a percentage with one decimal."""
    return f"{100 * value:.1f}{SPACE}%" if _is_number(value) else UNKNOWN


def estimate(figures: Any) -> str:
    """A share with its interval, `71.3 % (68.4-74.1)`."""
    if not isinstance(figures, dict):
        return UNKNOWN
    return f"{share(figures['value'])} ({100 * figures['low']:.1f}{DASH}{100 * figures['high']:.1f})"


def interval(found: Estimate) -> str:
    """An estimate with its interval, `71.3 % (68.4-74.1)`."""
    return estimate(asdict(found))


def points(value: Any) -> str:
    """A difference of shares in percentage points, always with its sign."""
    if not _is_number(value):
        return UNKNOWN
    rounded = round(100 * value, 1)
    sign = MINUS if rounded < 0 else "+" if rounded > 0 else "\u00b1"
    return f"{sign}{abs(rounded):.1f}"


def difference(paired: Any) -> str:
    """A paired difference with its interval, in points."""
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
    verdict = _verdict(paired) if paired else ""
    if paired:
        sentence = _sentence(paired, verdict, iteration=iteration, p_adjusted=p_adjusted)
    elif last:
        sentence = "There is no paired comparison with the base."
    else:
        sentence = "Only the base has been measured so far."
    return Headline(
        benchmark=name, synthetic=is_synthetic(name), n=int(figures.get("n", 0)), base=base, last=last,
        verdict=verdict, sentence=sentence, p_adjusted=p_adjusted,
    )  # fmt: skip


def _verdict(paired: dict[str, Any]) -> str:
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


def percent_interval(estimate: dict[str, float] | None) -> str:
    """`81.2 [78.7, 83.5]`, in percent."""
    if estimate is None:
        return "unknown"
    return f"{100 * estimate['value']:.1f} [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"


def points_interval(paired: dict[str, Any]) -> str:
    """`+2.2 [+0.7, +3.7]`, a paired difference in percentage points."""
    difference, low, high = (100 * paired[name] for name in ("difference", "low", "high"))
    return f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]"
