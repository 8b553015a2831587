"""A run in a few sentences: whether self-play helped, on what, by how much, and whether its labels are right.

The words follow the stored statistics. "Helped" and "hurt" need a paired interval that excludes 0 and an
exact test that holds after Holm's correction for every benchmark and iteration that was compared with the
base: the best iteration is picked on the same questions that then tell how good it is.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from visplay.evaluation.statistics import holm
from visplay.evaluation.wording import points, quantity, share, verdict_of

Evaluations = Mapping[int, Mapping[str, Mapping[str, Any]]]
TRUSTED, EVEN, DISTRUSTED = "mostly right", "no better than even", "mostly wrong"
COLLAPSED = 0.01  # of the silver answers right


def sum_up(
    evaluations: Evaluations, *, curations: Mapping[int, Mapping[str, Any]],
    health: Mapping[int, Mapping[str, Any]], config: Mapping[str, Any],
) -> list[str]:  # fmt: skip
    """Say whether self-play helped, and whether its labels can be trusted, one sentence or more each.

    Args:
        evaluations: iteration -> benchmark -> figures; iteration 0 is the base.
        curations: iteration -> figures of the labels.
        health: iteration -> what is watched, of which `probe_silver`, `learned` and `corrupted` are used,
            shares in [0, 1] or None.
        config: of the run, plain data; what it does not hold is taken as not known.
    """
    return [
        *_helped(evaluations, config),
        *_labels(curations, health, evaluations, config),
    ]


def _helped(evaluations: Evaluations, config: Mapping[str, Any]) -> list[str]:
    iterations = [i for i in sorted(evaluations) if i > 0]
    names = list(dict.fromkeys(name for i in sorted(evaluations) for name in evaluations[i]))
    if not names:
        asked = (config.get("evaluation") or {}).get("benchmarks")
        if asked or asked is None:
            return ["Nothing is measured yet, so nothing tells whether self-play helps."]
        return ["No benchmark was asked (evaluation.benchmarks), so nothing tells whether self-play helped."]
    if not iterations:
        known = {name: accuracy for name in names if (accuracy := _accuracy(evaluations[0][name]))}
        bases = _listed(
            f"{share(a['value'])} on {name} (n = {quantity(a['n'])})" for name, a in known.items()
        )
        start = f"; the base starts from {bases}" if bases else ""
        return [f"No iteration is measured yet, so nothing tells whether self-play helps{start}."]
    tested = [(i, name) for i in iterations for name in names if _paired(evaluations, i, name)]
    adjusted = holm([_paired(evaluations, *one)["p_value"] for one in tested])
    verdicts = {
        one: verdict_of(_paired(evaluations, *one)) if p < 0.05 else "can't tell"
        for one, p in zip(tested, adjusted, strict=True)
    }
    clear, open_, unknown = [], [], []
    for name in names:
        own = {i: verdicts[i, name] for i in iterations if (i, name) in verdicts}
        if not own:
            why = evaluations[iterations[-1]].get(name, {}).get("withheld")
            unknown.append(f"{name} ({why or 'not compared with the base'})")
        elif "better" in own.values() or own[max(own)] == "worse":
            clear.append(_clear(name, evaluations, own, last=iterations[-1]))
        else:
            open_.append(_open(name, evaluations, max(own), last=iterations[-1], tests=len(tested)))
    clear.sort(key=lambda said: said.startswith("hurt"))
    control = config.get("control") or "none"
    who = "Self-play" if control == "none" else f"This control ({control})"
    said = [f"{'It' if i else who} {words}." for i, words in enumerate(clear)]
    if open_:
        said.append(
            f"Whether {'it' if said else who[0].lower() + who[1:]} helped can't be told on {_listed(open_)}."
        )
    if unknown:
        said.append(f"There is no figure on {_listed(unknown)}.")
    return said


def _clear(name: str, evaluations: Evaluations, verdicts: Mapping[int, str], *, last: int) -> str:
    """`helped on NAME: ...`, by the best of the better iterations and what came of it; or `hurt on ...`."""
    gains = {
        i: _paired(evaluations, i, name)["difference"] for i, word in verdicts.items() if word == "better"
    }
    if not gains:
        return (
            f"hurt on {name}: {_change(evaluations, max(verdicts), name)}{_withheld(evaluations, last, name)}"
        )
    best = max(gains, key=lambda i: (gains[i], -i))
    said = f"helped on {name}: {_change(evaluations, best, name)}"
    later = max(verdicts)
    if later > best:
        said += f", the best of {len(verdicts)} iterations as picked on these questions"
        now, low = _paired(evaluations, later, name)["difference"], _paired(evaluations, best, name)["low"]
        reached = share((_accuracy(evaluations[later][name]) or {}).get("value"))
        said += f"; after iteration {later} it was {'back ' if now < low else ''}at {reached}"
        said += {"better": "", "worse": ", worse than the base"}.get(
            verdicts[later], ", which can't be told from the base"
        )
    return said + _withheld(evaluations, last, name)


def _open(name: str, evaluations: Evaluations, iteration: int, *, last: int, tests: int) -> str:
    paired = _paired(evaluations, iteration, name)
    said = f"{name} ({_points(paired)} after iteration {iteration}, n = {quantity(paired['n'])}"
    if verdict_of(paired) != "can't tell":  # it stood alone
        said += f"; {verdict_of(paired)} by itself, but not among {tests} comparisons"
    return f"{said}{_withheld(evaluations, last, name)})"


def _change(evaluations: Evaluations, iteration: int, name: str) -> str:
    """`61.3 to 83.1 %, +21.8 points [+18.7, +25.0] after iteration 1 (n = 1 000)`."""
    paired = _paired(evaluations, iteration, name)
    before = _accuracy(evaluations.get(0, {}).get(name)) or {}
    after = _accuracy(evaluations[iteration][name]) or {}
    ends = f"{100 * before['value']:.1f} to {share(after['value'])}, " if before and after else ""
    return f"{ends}{_points(paired)} after iteration {iteration} (n = {quantity(paired['n'])})"


def _withheld(evaluations: Evaluations, last: int, name: str) -> str:
    why = evaluations[last].get(name, {}).get("withheld")
    return f"; iteration {last} has no figure ({why})" if why else ""


def _probe(evaluations: Evaluations, config: Mapping[str, Any]) -> str:
    first = next(iter(next(iter(evaluations.values()), {})), None)
    return (config.get("health") or {}).get("probe") or first or "the probe"


def _labels(
    curations: Mapping[int, Mapping[str, Any]], health: Mapping[int, Mapping[str, Any]],
    evaluations: Evaluations, config: Mapping[str, Any],
) -> list[str]:  # fmt: skip
    if not curations:
        return ["It has made no labels yet."]
    known = {
        i: own["kept"] for i, c in curations.items() if (own := c.get("silver_accuracy")) and own.get("kept")
    }
    if known:
        trust = _trust({i: _trusted(own) for i, own in known.items()})
        return [f"{_right(known)}, so {trust}.", *_collapsed(known, config)]
    if any(c.get("silver_accuracy") is not None for c in curations.values()):
        return ["No silver answer was kept, so there are no labels to judge."]
    unknown = "The true answers of its questions are not known"
    probed = {i: row["probe_silver"] for i, row in health.items() if row.get("probe_silver") is not None}
    if not probed:
        return [f"{unknown} and no probe was voted on, so nothing tells whether its labels are right."]
    probe, last = _probe(evaluations, config), max(probed)
    word = "right more often than not" if probed[last] > 0.5 else "wrong at least as often as right"
    return [
        f"{unknown}. On labelled questions of {probe}, {share(probed[last])} of the votes of "
        f"moderate confidence were right after iteration {last}: {word} there; whether its own labels are, "
        "nothing tells."
    ]


def _right(known: Mapping[int, Mapping[str, Any]]) -> str:
    """How many silver answers were right: of the first and of the last iteration that is known."""
    first, last = min(known), max(known)
    said = f"{share(known[first]['value'])} of the silver answers kept for training were right"
    said += f" in iteration {first} (n = {quantity(known[first]['n'])}; truth is known here)"
    if last > first:
        said += f", {share(known[last]['value'])} in iteration {last} (n = {quantity(known[last]['n'])})"
    return said


def _collapsed(known: Mapping[int, Mapping[str, Any]], config: Mapping[str, Any]) -> list[str]:
    """The model collapse step of arXiv 2603.08660: the first whose reward is right in under 1 %."""
    gone = [i for i in sorted(known) if known[i]["value"] < COLLAPSED]
    steps = (config.get("reasoner") or {}).get("steps")
    if not gone or not steps:
        return []
    step = (gone[0] - 1) * steps + 1
    return [
        f"They collapsed at Reasoner step {quantity(step)}, where iteration {gone[0]} began: fewer than "
        f"{share(COLLAPSED)} were right (the model collapse step of arXiv 2603.08660)."
    ]


def _trusted(kept: Mapping[str, Any]) -> str:
    """What the interval carries."""
    return TRUSTED if kept["low"] > 0.5 else DISTRUSTED if kept["high"] < 0.5 else EVEN


def _trust(words: Mapping[int, str]) -> str:
    """Whether labels can be trusted: throughout, until some iteration, or in some iterations only."""
    doubted = [i for i, word in sorted(words.items()) if word != TRUSTED]
    if not doubted:
        return f"its labels are {TRUSTED}"
    found = sorted({words[i] for i in doubted}, reverse=True)  # "no better than even" before "mostly wrong"
    what = f"are to be distrusted ({' or '.join(found)})"
    if len(doubted) == len(words):
        return f"its labels {what}"
    from_then_on = [i for i in sorted(words) if i >= doubted[0]]
    if doubted == from_then_on:
        return f"its labels {what} from iteration {doubted[0]} on"
    return f"its labels {what} in iteration{'s' * (len(doubted) > 1)} {_listed(map(str, doubted))}"


def _paired(evaluations: Evaluations, iteration: int, name: str) -> Mapping[str, Any]:
    return evaluations[iteration].get(name, {}).get("paired") or {}


def _accuracy(figures: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return (figures or {}).get("accuracy")


def _points(paired: Mapping[str, Any]) -> str:
    return f"{points(paired['difference'])} points [{points(paired['low'])}, {points(paired['high'])}]"


def _listed(words: Iterable[str]) -> str:
    *front, last = [*words] or [""]
    return f"{', '.join(front)} and {last}" if front else last
