"""Figures of a report as plotly JSON; colours are names that the page looks up in its palette."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from visplay.config.sections import AT_MOST, LIMITS
from visplay.evaluation.verdict import blind, estimate, finite, is_synthetic, majority, quantity, share
from visplay.report.reading import RunData

# Shown in this order; a metric that no row has is left out.
TRAINING = {
    "reward": "Reward",
    "reward_std": "Spread of reward over a step's completions",
    "completions/mean_length": "Completion length (tokens)",
    "entropy": "Entropy (nats per token)",
    "kl": "KL divergence to the reference",
    "sampling/importance_sampling_ratio/mean": "Importance ratio, engine to trainer",
}
BLIND = "blind (picture greyed out)"
COLORS = ("series-1", "series-2", "series-3", "series-4", "series-5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One chart and the same figures as a table.

    Attributes:
        title: the quantity that the chart shows.
        note: how to read the chart.
        spec: plotly's `data` and `layout`.
        columns: column names of the table.
        rows: cells of the table as text.
    """

    title: str
    note: str
    spec: dict[str, Any]
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A health figure by iteration, its limit if it has one, and whether that is a limit from above."""

    name: str
    points: dict[int, dict[str, float]]
    limit: float | None
    at_most: bool

    @property
    def beyond(self) -> list[int]:
        """The iterations in which the figure was beyond its limit."""
        limit, sign = self.limit, 1 if self.at_most else -1
        return [i for i, p in self.points.items() if limit is not None and sign * (p["value"] - limit) > 0]

    @property
    def spec(self) -> dict[str, Any]:
        """The chart, with the limit as a dotted line."""
        layout = by_iteration("") | {"showlegend": False}
        layout["yaxis"]["autorangeoptions"] = {"include": [0, self.limit or 0]}
        if self.limit is not None:
            line = {"color": "bad", "dash": "dot", "width": 2}
            layout["shapes"] = [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": self.limit,
                                 "y1": self.limit, "line": line}]  # fmt: skip
        return {"data": [with_interval(self.points, self.name, color=COLORS[0], scale=1)], "layout": layout}


def accuracy_figures(run_data: RunData) -> list[Figure]:
    """Accuracy by iteration, one chart per benchmark."""
    names = list(dict.fromkeys(name for summary in run_data.evaluations.values() for name in summary))
    return [_accuracy(run_data, name) for name in names]


def label_figures(run_data: RunData) -> list[Figure]:
    """Silver accuracy, difficulty, diversity and calibration of the questions, by iteration."""
    made = [
        _of_curations(
            run_data,
            "silver_accuracy",
            {"kept": "kept for training", "rejected": "rejected"},
            title="Silver answers that are true",
            note="The majority answer is compared with the oracle's; unanswerable questions count as wrong.",
            axis="true, %",
        ),
        _of_curations(
            run_data,
            "judge",
            {"precision": "answerable, of what it let pass", "recall": "let pass, of what is answerable"},
            title="Is the judge right?",
            note="The judge's verdicts are compared with the oracle's.",
            axis="%",
        ),
        _diversity(run_data),
        _confidence(run_data),
        _calibration(run_data),
    ]
    return [figure for figure in made if figure is not None]


def health_figures(run_data: RunData) -> list[Checked]:
    """The figures of `health/metrics.jsonl`, those with a limit first."""
    rows, known = run_data.health, ("iteration", "phase", "alarms")
    limits = LIMITS | ((run_data.config.get("health") or {}).get("limits") or {})
    names = dict.fromkeys(key for row in rows.values() for key in row if key not in known)
    made = [
        Checked(
            name=name, limit=finite(limits.get(name)), at_most=name in AT_MOST,
            points={i: found for i, row in rows.items() if (found := _measured(row.get(name)))},
        )
        for name in names
    ]  # fmt: skip
    return sorted((figure for figure in made if figure.points), key=lambda figure: figure.limit is None)


def training_figures(run_data: RunData) -> list[Figure]:
    """One chart per training metric, with a line per phase."""
    return [
        _training(run_data, key, title)
        for key, title in TRAINING.items()
        if any(finite(row.get(key)) is not None for row in _trained(run_data))
    ]


def _shares(
    title: str, note: str, series: Mapping[str, Mapping[int, Any]], *, axis: str
) -> Figure:  # fmt: skip
    """Shares by iteration with their intervals: one line and one table column per label."""
    data = [
        with_interval(points, label, color=color, dashed=label == BLIND)
        for color, (label, found) in zip(COLORS, series.items(), strict=False)
        if (points := {i: point for i, point in found.items() if point})
    ]
    iterations = dict.fromkeys(i for found in series.values() for i in found)
    return Figure(
        title=title,
        note=note,
        spec={"data": data, "layout": by_iteration(axis)},
        columns=("iteration", *series),
        rows=[
            (iteration_name(i), *(estimate(found.get(i)) for found in series.values())) for i in iterations
        ],
    )


def _accuracy(run_data: RunData, name: str) -> Figure:
    measured = {i: summary[name] for i, summary in sorted(run_data.evaluations.items()) if name in summary}
    votes = {i: majority(figures) for i, figures in measured.items()}
    series = {
        "one greedy answer": {i: figures.get("accuracy") for i, figures in measured.items()},
        next((key for key, found in votes.values() if found), "maj@k"): {i: v for i, (_, v) in votes.items()},
        BLIND: {i: blind(figures) for i, figures in measured.items()},
    }
    note = "Bars are 95 % intervals. Blind accuracy shows how much can be guessed without the picture."
    return _shares(name + (" (synthetic)" if is_synthetic(name) else ""), note, series, axis="accuracy, %")


def _of_curations(
    run_data: RunData, key: str, labels: Mapping[str, str], *, title: str, note: str, axis: str
) -> Figure | None:
    """Shares under `key` in the curations' figures, for these `labels`."""
    known = {i: c[key] for i, c in run_data.curations.items() if c.get(key)}
    series = {label: {i: found.get(name) for i, found in known.items()} for name, label in labels.items()}
    return _shares(title, note, series, axis=axis) if known else None


def _diversity(run_data: RunData) -> Figure | None:
    known = {
        i: (c["distinct"], c["valid"])
        for i, c in run_data.curations.items()
        if finite(c.get("distinct")) is not None and c.get("valid")
    }
    if not known:
        return None
    data = {
        "type": "scatter", "mode": "lines+markers", "name": "different questions", "marker": {"size": 8},
        "x": [iteration_name(i) for i in known], "y": [100 * some / whole for some, whole in known.values()],
        "line": {"color": COLORS[0], "width": 2}, "hovertemplate": "%{y:.1f} %",
    }  # fmt: skip
    layout = by_iteration("of the well-formed questions, %")
    layout["yaxis"]["range"] = [-3, 103]
    return Figure(
        title="How diverse the questions are",
        note="The share of well-formed questions with distinct wording. It is a count without interval.",
        spec={"data": [data], "layout": layout},
        columns=("iteration", "different", "well-formed", "share"),
        rows=[(iteration_name(i), quantity(a), quantity(b), share(a / b)) for i, (a, b) in known.items()],
    )


def _measured(value: Any) -> dict[str, float] | None:
    """Whether a figure can be drawn: a number, or `value` with `low` and `high`."""
    if isinstance(value, dict):
        ends = {key: finite(value.get(key)) for key in ("low", "value", "high")}
        known = {key: end for key, end in ends.items() if end is not None}
        return known if len(known) == 3 else _measured(value.get("value"))
    number = finite(value)
    return None if number is None else {"low": number, "value": number, "high": number}


def _calibration(run_data: RunData) -> Figure | None:
    known = {i: c["calibration"] for i, c in run_data.curations.items() if c.get("calibration")}
    if not known:
        return None
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines+markers", "name": f"iteration {i}", "line": {"color": color},
            "x": [100 * cell["confidence"] for cell in cells],
            "y": [100 * cell["accuracy"] for cell in cells],
            "text": [f"n = {cell['n']}" for cell in cells], "marker": {"size": 7},
        }
        for color, (i, cells) in zip(itertools.cycle(COLORS), known.items(), strict=False)
    ]  # fmt: skip
    ideal = {"color": "muted", "dash": "dot", "width": 1.5}
    data.append({"type": "scatter", "mode": "lines", "name": "as sure as right", "x": [0, 100], "y": [0, 100],
                 "line": ideal, "hoverinfo": "skip"})  # fmt: skip
    layout = _layout("confidence, %", "true, %")
    layout["xaxis"]["range"] = layout["yaxis"]["range"] = [-3, 103]
    return Figure(
        title="Is confidence deserved?",
        note="Below the dotted line the votes are overconfident: they agree more often than they are right.",
        spec={"data": data, "layout": layout},
        columns=("iteration", "confidence", "true", "questions"),
        rows=[
            (iteration_name(i), share(cell["confidence"]), share(cell["accuracy"]), quantity(cell["n"]))
            for i, cells in known.items()
            for cell in cells
        ],
    )


def _confidence(run_data: RunData) -> Figure | None:
    known = {
        i: c["confidence_histogram"] for i, c in run_data.curations.items() if c.get("confidence_histogram")
    }
    if not known:
        return None
    data = []
    for color, (i, cells) in zip(itertools.cycle(COLORS), known.items(), strict=False):
        total = sum(count for _, count in cells) or 1
        data.append(
            {"type": "bar", "name": f"iteration {i}", "marker": {"color": color},
             "x": [f"{100 * start:.0f}" for start, _ in cells], "y": [100 * n / total for _, n in cells]}
        )  # fmt: skip
    layout = _layout("confidence from, %", "of the questions, %")
    layout["xaxis"]["type"] = "category"
    layout |= {"barmode": "group", "bargap": 0.25}
    return Figure(
        title="How sure the votes are",
        note="The method needs moderate confidence: unanimous and random votes give no training signal.",
        spec={"data": data, "layout": layout},
        columns=("iteration", "confidence from", "questions"),
        rows=[
            (iteration_name(i), share(start), quantity(n)) for i, cells in known.items() for start, n in cells
        ],
    )


def _training(run_data: RunData, key: str, title: str) -> Figure:
    data, rows = [], []
    known = [row for row in _trained(run_data) if finite(row.get(key)) is not None]
    phases = list(dict.fromkeys(str(row["phase"]) for row in known))
    for color, phase in zip(itertools.cycle(COLORS), phases, strict=False):
        label, steps = phase.capitalize(), [row for row in known if row["phase"] == phase]
        data.append(
            {"type": "scatter", "mode": "lines" if len(steps) > 1 else "markers", "name": label,
             "line": {"color": color, "width": 2}, "marker": {"color": color},
             "x": list(range(1, len(steps) + 1)), "y": [row[key] for row in steps],
             "text": [f"iteration {row.get('iteration')}, step {row.get('step')}" for row in steps]}
        )  # fmt: skip
        for row in steps:
            rows.append(
                (label, quantity(row.get("iteration")), quantity(row.get("step")), quantity(row[key]))
            )
    return Figure(
        title=title,
        note="",
        spec={"data": data, "layout": _layout("optimizer step, iterations one after the other", "")},
        columns=("phase", "iteration", "step", "value"),
        rows=rows,
    )


def _trained(run_data: RunData) -> list[dict[str, Any]]:
    """The rows of optimizer steps of all roles."""
    return [row for row in run_data.metrics if "reward" in row and "step" in row]


def with_interval(
    points: dict[int, Any], label: str, *, color: str, dashed: bool = False, scale: int = 100
) -> dict[str, Any]:
    """Values by iteration with their intervals; shares are converted to percent."""
    values = list(points.values())
    return {
        "type": "scatter", "mode": "lines+markers", "name": label,
        "x": [iteration_name(i) for i in points], "y": [scale * p["value"] for p in values],
        "line": {"color": color, "width": 2} | ({"dash": "dash"} if dashed else {}),
        "marker": {"size": 8, "color": color},
        "error_y": {
            "type": "data", "symmetric": False, "color": color, "thickness": 1.5, "width": 4,
            "array": [scale * (p["high"] - p["value"]) for p in values],
            "arrayminus": [scale * (p["value"] - p["low"]) for p in values],
        },
        "hovertemplate": "%{y:.1f} %" if scale == 100 else "%{y:.4g}",
    }  # fmt: skip


def _layout(x_title: str, y_title: str) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": x_title}, "fixedrange": True},
        "yaxis": {"title": {"text": y_title}, "fixedrange": True},
    }


def by_iteration(y_title: str) -> dict[str, Any]:
    """The layout of a chart whose x axis is the iteration."""
    layout = _layout("iteration", y_title)
    layout["xaxis"]["type"] = "category"
    return layout


def iteration_name(number: int) -> str:
    """The label in a chart and in its table."""
    return "base" if number == 0 else str(number)
