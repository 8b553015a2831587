"""Render a comparison of two checkpoints as one self-contained HTML file that fetches nothing."""

from pathlib import Path
from typing import Any

from visplay.errors import EvaluationError
from visplay.evaluation.comparison import Compared, Side, compare, find_side, samples_of
from visplay.evaluation.records import Record
from visplay.evaluation.verdict import is_synthetic
from visplay.report.samples import cut, side_for, thumbnail
from visplay.report.template import page, save_page

MOST_FLIPS = 40  # shown, in each direction and benchmark
MOST_IN_RUN = 12  # on the page of a run, in each direction


def write_comparison(path: Path, first: Side, second: Side, compared: list[Compared]) -> Path:
    """Write the page and return its path; see `save_page`."""
    return save_page(path, render_comparison(first, second, compared))


def render_comparison(first: Side, second: Side, compared: list[Compared]) -> str:
    """The page as HTML."""
    side = side_for(sum(min(len(some), MOST_FLIPS) for one in compared for some in (one.gained, one.lost)))
    shown = [flip for one in compared for flip in _flips(first, second, one, side=side, most=MOST_FLIPS)]
    return page(
        "comparison.html",
        scripts=("charts.js", "zoom.js", "comparison.js"),
        first=first.name,
        second=second.name,
        compared=compared,
        flips=shown,
        benchmarks=[one.benchmark for one in compared],
        synthetic=[one.benchmark for one in compared if is_synthetic(one.benchmark)],
        counted={"shown": len(shown), "all": sum(len(one.gained) + len(one.lost) for one in compared)},
        specs={"forest": forest(compared)},
    )


def changed_in_run(run: Path, *, last: int) -> list[dict[str, Any]]:
    """The first questions of each benchmark that changed between the base and the last iteration of a run.

    Pictures of benchmarks on the hub are not fetched; a local copy of the benchmark (`sources`) has them.
    """
    try:
        first, second = (find_side(str(run / f"iteration-{i}/evaluation"), fetch=False) for i in (0, last))
        compared = compare(first, second)
    except EvaluationError:  # nothing is stored, or no benchmark was measured twice
        return []
    most = max(1, MOST_IN_RUN // len(compared))
    return [flip for one in compared for flip in _flips(first, second, one, side=side_for(24), most=most)]


def forest(compared: list[Compared]) -> dict[str, Any]:
    """The plotly figure of the differences with their intervals, one row per benchmark."""
    known = [one for one in compared if one.paired is not None][::-1]
    pairs = [one.paired for one in known if one.paired is not None]
    return {
        "data": [
            {
                "type": "scatter", "mode": "markers", "name": "difference, 95 % interval",
                "x": [100 * p.difference for p in pairs], "y": [one.benchmark for one in known],
                "marker": {"color": "series-1", "size": 9, "symbol": "square"},
                "error_x": {
                    "type": "data", "symmetric": False, "color": "series-1", "thickness": 2, "width": 5,
                    "array": [100 * (p.high - p.difference) for p in pairs],
                    "arrayminus": [100 * (p.difference - p.low) for p in pairs],
                },
                "hovertemplate": "%{y}: %{x:+.1f} points<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": {"title": {"text": "accuracy, after minus before, points"}, "rangemode": "tozero",
                      "zeroline": True, "zerolinewidth": 3, "fixedrange": True},
            "yaxis": {"type": "category", "fixedrange": True, "title": {"text": ""}},
        },
    }  # fmt: skip


def _flips(first: Side, second: Side, one: Compared, *, side: int, most: int) -> list[dict[str, Any]]:
    """The first items that changed in each direction, with both samples and the picture as a data URI."""
    found = []
    for direction, changed in (("gained", one.gained), ("lost", one.lost)):
        before, after = (samples_of(s, one.benchmark, changed[:most]) for s in (first, second))
        for item in changed[:most]:
            old, new = before[item], after[item]
            picture = _picture(first, old, side=side) or _picture(second, new, side=side)
            about = {"benchmark": one.benchmark, "item": item, "direction": direction, "picture": picture}
            found.append(about | {"before": _cut(old), "after": _cut(new)})
    return found


def _picture(shown: Side, record: Record, *, side: int) -> str:
    def load(key: str) -> Any:
        image = shown.picture(record)
        if image is None:
            raise KeyError(key)
        return image

    return thumbnail(record["item"], load, side=side)


def _cut(record: Record) -> Record:
    return {**record, "output": cut(record["output"] or "")}
