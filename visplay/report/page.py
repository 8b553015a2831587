"""Writing the report: one HTML file with its own style, scripts, pictures and plotting library."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from visplay.config.loading import check_config
from visplay.config.method import differences
from visplay.data.images import reopen_images
from visplay.errors import ConfigError, ImageSourceError
from visplay.evaluation import verdict as wording
from visplay.evaluation.verdict import sum_up
from visplay.report import figures as drawn
from visplay.report.comparison import changed_in_run
from visplay.report.reading import RunData, read_run_data
from visplay.report.samples import LoadImage, browsable, choices, side_for, thumbnails
from visplay.report.template import page, save_page
from visplay.storage import write_text


def write_report(run_folder: Path, *, out: Path | None = None, load_image: LoadImage | None = None) -> Path:
    """Write `report.html` into a run folder, finished or not, or the page `out`, and return its path.

    Args:
        run_folder: a run's folder; only its `config.yaml` is required.
        out: the path of the page; use it where the run's folder cannot be written to.
        load_image: returns the picture of a key; None reads the run's own image source. Pictures that cannot
            be loaded are left out.

    Raises:
        RunError: the folder is not a run's, or the page cannot be written to `out`.
        CorruptArtifact: a file in it cannot be read.
        EvaluationError: a file of stored samples cannot be read.
    """
    html = render_run(run_folder, load_image=load_image)
    if out is not None:
        return save_page(out, html)
    write_text(run_folder / "report.html", html)
    return run_folder / "report.html"


def render_run(
    run_folder: Path, *, load_image: LoadImage | None = None, version: str | None = None,
    thumbnails_made: dict[str, str] | None = None,
) -> str:  # fmt: skip
    """The page of a run as HTML.

    Args:
        run_folder: as in `write_report`.
        load_image: as in `write_report`.
        version: identifies the content of a served page, which reloads itself; None: the page is a file.
        thumbnails_made: a cache of thumbnails by side and key; new ones are added to it.

    Raises:
        RunError: the folder is not a run's.
        CorruptArtifact: a file in it cannot be read.
    """
    run_data = read_run_data(run_folder)
    shown = browsable(run_data)
    pictures = thumbnails(
        shown.pictures, load_image or _own_images(run_data, run_folder, side=side_for(len(shown.pictures))),
        made={} if thumbnails_made is None else thumbnails_made,
    )  # fmt: skip
    place = {key: i for i, key in enumerate(shown.pictures)}
    figures: dict[str, Sequence[drawn.Figure | drawn.Checked]] = {
        "accuracy": drawn.accuracy_figures(run_data),
        "labels": drawn.label_figures(run_data),
        "health": drawn.health_figures(run_data),
        "training": drawn.training_figures(run_data),
    }
    return page(
        "page.html",
        scripts=("charts.js", "zoom.js", "browser.js") + (("live.js",) if version is not None else ()),
        live=version is not None, version=version, run_data=run_data,
        summed_up=sum_up(
            run_data.evaluations, curations=run_data.curations, health=run_data.health, config=run_data.config
        ),
        facts=_facts(run_data), headlines=wording.headlines(run_data.evaluations), figures=figures,
        specs={f"{part}-{i}": f.spec for part, some in figures.items() for i, f in enumerate(some)},
        rollouts={
            "questions": [question | {"picture": place[question["picture"]]} for question in shown.questions],
            "pictures": [
                {"key": key, "source": run_data.sources.get(key, ""), "data": pictures.get(key)}
                for key in shown.pictures
            ],
        },
        choices=choices(shown.questions),
        flips=changed_in_run(run_folder, last=run_data.last) if version is None else [],
        counted={
            "rollouts": shown.rollouts, "all_rollouts": shown.all_rollouts,
            "questions": len(shown.questions), "pictures": len(shown.pictures),
            "left_out": len(shown.pictures) - len(pictures),
        },
        stopped_early=any(
            c.get("pool") and c.get("pictures", 0) < c["pool"] for c in run_data.curations.values()
        ),
        reasons=sorted({r for c in run_data.curations.values() for r in c.get("rejects") or {}}),
    )  # fmt: skip


def _own_images(run_data: RunData, run_folder: Path, *, side: int) -> LoadImage | None:
    images = run_data.config.get("images") or {}
    manifest = run_folder / "manifest.parquet"
    if not images.get("source") or not manifest.is_file():
        return None
    try:
        opened = reopen_images(images["source"], manifest=manifest, column=images.get("column", "image"))
    except ImageSourceError:
        return None
    return partial(opened.load, at_least=side)


def _facts(run_data: RunData) -> dict[str, str]:
    """Facts about a run in the order in which the page shows them; unknown ones are left out."""
    images = run_data.config.get("images") or {}
    known = {
        "model": (run_data.config.get("model") or {}).get("path"),
        "method": run_data.config.get("method"),
        "differs from it": _differences(run_data),
        "adapters": run_data.config.get("adapters"),
        "control": run_data.config.get("control") if run_data.config.get("control") != "none" else None,
        "pictures": images.get("source")
        and f"{wording.quantity(len(run_data.sources))} from {images['source']}",
        "seed": run_data.config.get("seed"),
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def _differences(run_data: RunData) -> str | None:
    """Settings in which the run differs from its method; None if there are none."""
    try:
        return "; ".join(differences(check_config(run_data.config))) or None
    except ConfigError:  # the run folder's configuration is truncated
        return None
