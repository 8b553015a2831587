"""A chart of runs by iteration: arms side by side, a thin line for each seed, a thick one for their mean."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

Curve = dict[int, float]  # by iteration, shares in [0, 1]
COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")


def draw(found: Mapping[str, Sequence[Mapping[str, Curve]]], titles: Sequence[str], path: Path) -> None:
    """Draw six figures, in percent, as an SVG; `found` has, by arm, the curves of each seed by title."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(12, 6.2), layout="constrained")
    for axis, title in zip(axes.flat, titles, strict=True):
        for color, (arm, each) in zip(COLORS, found.items(), strict=False):
            for one in each:
                shares = [100 * value for value in one[title].values()]
                axis.plot(list(one[title]), shares, color=color, alpha=0.3, linewidth=1)
            shared = sorted(set.intersection(*(set(one[title]) for one in each)))
            means = [100 * mean(one[title][i] for one in each) for i in shared]
            axis.plot(
                shared,
                means,
                color=color,
                linewidth=2.2,
                label=f"{arm} ({len(each)} seed{'s' * (len(each) > 1)})",
            )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("iteration")
        axis.grid(alpha=0.25)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
