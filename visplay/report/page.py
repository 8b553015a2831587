"""Writing the report: one HTML file with its own style, script, pictures and plotting library.

Everything that a model, a file name or a configuration wrote is hostile here. Jinja escapes all of it, and a
content security policy lets the page run only the two scripts it was written with and fetch nothing at all.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from visplay.errors import ImageSourceError
from visplay.images import reopen_images
from visplay.report import wording
from visplay.report.figures import accuracy_figures, label_figures, training_figures
from visplay.report.reading import Story, read_story
from visplay.report.samples import LoadImage, Shown, choose_answers, choose_questions, thumbnail
from visplay.storage import write_text


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
    story = read_story(run_folder)
    target = run_folder / "report.html"
    write_text(target, render_page(story, load_image=load_image or _own_images(story, run_folder)))
    return target


def render_page(story: Story, *, load_image: LoadImage | None) -> str:
    """The page of a run as HTML."""
    shown = [replace(s, picture=thumbnail(s.key, load_image)) for s in choose_questions(story)]
    figures = {
        "accuracy": accuracy_figures(story),
        "labels": label_figures(story),
        "training": training_figures(story),
    }
    return page(
        "page.html",
        story=story,
        facts=_facts(story),
        headlines=wording.headlines(story.evaluations),
        figures=figures,
        specs={f"{part}-{i}": f.spec for part, some in figures.items() for i, f in enumerate(some)},
        shown=shown,
        answers=_with_pictures(choose_answers(story, [s.key for s in shown]), shown),
        choices=_choices(shown),
        counted={"shown": sum(len(s.asked) for s in shown), "all": sum(map(len, story.candidates.values()))},
        reasons=sorted({r for c in story.curations.values() for r in c.get("rejects") or {}}),
    )


def page(template: str, **values: Any) -> str:
    """A template of this package with style, script, plotting library and its content security policy.

    Everything in `values` is escaped.
    """
    scripts = [Markup(get_plotlyjs()), Markup(_asset("page.js"))]  # ours and plotly's, not a model's
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        name: getattr(wording, name)
        for name in ("share", "estimate", "points", "difference", "quantity", "p_text", "interval")
    }
    environment.globals |= {"ratio": wording.ratio, "majority_key": wording.majority_key}
    return environment.get_template(template).render(
        style=Markup(_asset("page.css")), scripts=scripts, policy=_policy(scripts), **values
    )


def _own_images(story: Story, run_folder: Path) -> LoadImage | None:
    images = story.config.get("images") or {}
    manifest = run_folder / "manifest.parquet"
    if not images.get("source") or not manifest.is_file():
        return None
    try:
        opened = reopen_images(images["source"], column=images.get("column") or "image", manifest=manifest)
    except ImageSourceError:
        return None
    return opened.load


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


def _choices(shown: Iterable[Shown]) -> dict[str, list[str]]:
    """What the browser of samples can be filtered by."""
    asked = [question for s in shown for question in s.asked]
    outcomes = {question.outcome for question in asked}
    return {
        "iteration": [str(i) for i in sorted({question.iteration for question in asked})],
        "outcome": [*(["kept"] if "kept" in outcomes else []), *sorted(outcomes - {"kept"})],
        "type": sorted({question.type for question in asked if question.type}),
        "judged": sorted({question.judged for question in asked if question.judged}, reverse=True),
    }


def _with_pictures(answers: list[dict[str, Any]], shown: Iterable[Shown]) -> list[dict[str, Any]]:
    pictures = {s.key: s.picture for s in shown}
    return [answer | {"picture": pictures[answer["image_key"]]} for answer in answers]


def _policy(scripts: Iterable[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return files("visplay.report").joinpath(name).read_text(encoding="utf-8")
