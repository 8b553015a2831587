"""Writing the report: one HTML file with its own style, scripts, pictures and plotting library.

Everything that a model, a file name or a configuration wrote is hostile here. Jinja escapes all of it, the
scripts make text of it, and a content security policy lets the page run only the scripts it was written with
and fetch nothing at all.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from visplay.data.images import reopen_images
from visplay.errors import ImageSourceError
from visplay.evaluation import wording
from visplay.report.figures import accuracy_figures, health_figures, label_figures, training_figures
from visplay.report.pictures import SIDE, LoadImage, thumbnails
from visplay.report.reading import Story, read_story
from visplay.report.samples import ANSWERING, CURATION, TRAINING, browsable, choices
from visplay.storage import write_text

# What questions are filtered by: the name, its label, and the word for all.
FILTERS = (
    ("iteration", "Iteration", "all"),
    ("phase", "Asked in", "training and curation"),
    ("type", "Type", "all"),
    ("outcome", "Kept, or why not", "all"),
    ("judged", "Silver answer", "all"),
    ("paid", "Questioner's reward", "all"),
    ("answered", "Reasoner's attempts", "all"),
)
# Values of them that are not shown as they are stored.
WORDS = {
    ("phase", TRAINING): "training",
    ("phase", CURATION): "curation",
    ("phase", ANSWERING): "neither: only answered",
    ("answered", "all"): "all rewarded",
    ("answered", "some"): "some rewarded",
    ("answered", "none"): "none rewarded",
}
NO_TEXT = re.compile("[\\0\ud800-\udfff]")  # not allowed in HTML, or not in UTF-8


def write_report(run_folder: Path, *, load_image: LoadImage | None = None) -> Path:
    """Write `report.html` into a run folder, finished or not, and return its path.

    Args:
        run_folder: a run's folder; all it needs to hold is `config.yaml`.
        load_image: gives the picture of a key; None looks in the run's own image source, and a report whose
            pictures are gone is written without them.

    Raises:
        RunError: the folder is not a run's.
        CorruptArtifact: a file in it cannot be read.
    """
    target = run_folder / "report.html"
    write_text(target, render_run(run_folder, load_image=load_image))
    return target


def render_run(
    run_folder: Path, *, load_image: LoadImage | None = None, version: str | None = None,
    thumbnails_made: dict[str, str] | None = None,
) -> str:  # fmt: skip
    """The page of a run as HTML.

    Args:
        run_folder: as for `write_report`.
        load_image: as for `write_report`.
        version: what the page was made from, for a page that is served and reloads itself; None for a file.
        thumbnails_made: thumbnails by key that need not be made again; new ones are added.

    Raises:
        RunError: the folder is not a run's.
        CorruptArtifact: a file in it cannot be read.
    """
    story = read_story(run_folder)
    shown = browsable(story)
    pictures = thumbnails(
        shown.pictures, load_image or _own_images(story, run_folder),
        made={} if thumbnails_made is None else thumbnails_made,
    )  # fmt: skip
    place = {key: i for i, key in enumerate(shown.pictures)}
    figures = {
        "accuracy": accuracy_figures(story),
        "labels": label_figures(story),
        "health": health_figures(story),
        "training": training_figures(story),
    }
    return page(
        "page.html",
        scripts=("charts.js", "browser.js") + (("live.js",) if version is not None else ()),
        live=version is not None,
        version=version,
        story=story,
        facts=_facts(story),
        headlines=wording.headlines(story.evaluations),
        figures=figures,
        specs={f"{part}-{i}": f.spec for part, some in figures.items() for i, f in enumerate(some)},
        rollouts={
            "questions": [question | {"picture": place[question["picture"]]} for question in shown.questions],
            "pictures": [
                {"key": key, "source": story.sources.get(key, ""), "data": pictures.get(key)}
                for key in shown.pictures
            ],
        },
        filters=FILTERS,
        words=WORDS,
        choices=choices(shown.questions),
        counted={
            "rollouts": shown.rollouts, "all_rollouts": shown.all_rollouts,
            "questions": len(shown.questions), "pictures": len(shown.pictures),
            "left_out": len(shown.pictures) - len(pictures),
        },
        reasons=sorted({r for c in story.curations.values() for r in c.get("rejects") or {}}),
    )  # fmt: skip


def page(template: str, *, scripts: Iterable[str], live: bool = False, **values: Any) -> str:
    """A template of this package with style, scripts, plotting library and its content security policy.

    Everything in `values` is escaped. `live` lets the page ask the server that it came from, and no other.
    """
    trusted = [Markup(get_plotlyjs()), *(Markup(_asset(name)) for name in scripts)]  # ours and plotly's
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters |= {
        name: getattr(wording, name)
        for name in ("share", "estimate", "points", "difference", "quantity", "p_text", "interval")
    }
    environment.globals |= {"ratio": wording.ratio, "majority_key": wording.majority_key}
    html = environment.get_template(template).render(
        style=Markup(_asset("page.css")), scripts=trusted, policy=_policy(trusted, live=live), **values
    )
    return NO_TEXT.sub("\ufffd", html)


def _own_images(story: Story, run_folder: Path) -> LoadImage | None:
    images = story.config.get("images") or {}
    manifest = run_folder / "manifest.parquet"
    if not images.get("source") or not manifest.is_file():
        return None
    try:
        opened = reopen_images(images["source"], column=images.get("column") or "image", manifest=manifest)
    except ImageSourceError:
        return None
    return partial(opened.load, at_least=SIDE)


def _facts(story: Story) -> dict[str, str]:
    """What a reader must know about a run, in the order of its telling; what is not said is left out."""
    rewards, images = story.config.get("rewards") or {}, story.config.get("images") or {}
    known = {
        "model": _model_path(story),
        "adapters": story.config.get("adapters"),
        "rewards": rewards.get("preset"),
        "control": story.config.get("control") if story.config.get("control") != "none" else None,
        "pictures": images.get("source")
        and f"{wording.quantity(len(story.sources))} from {images['source']}",
        "seed": story.config.get("seed"),
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def _model_path(story: Story) -> Any:
    return (story.config.get("model") or {}).get("path")


def _policy(scripts: Iterable[str], *, live: bool) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    connect = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; {connect}"
        "base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return files("visplay.report").joinpath(name).read_text(encoding="utf-8")
