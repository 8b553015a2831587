"""What an export says of itself: the figures of its run with their intervals, and what was not measured.

The words are the templates in `cards/`.
"""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import jinja2

from visplay.config.loading import Config
from visplay.evaluation.verdict import blind, difference, estimate, headline, headlines, quantity
from visplay.runs.results import read_summaries
from visplay.runs.run import read_starts

Form = Literal["adapter", "merged"]


def model_card(
    run: Path,
    config: Config,
    *,
    role: str,
    iteration: int,
    form: Form,
    saved: tuple[str, float] | None = None,
) -> str:
    """The card of a trained role, each figure computed from the run's stored samples.

    `saved` tells the type of merged weights, and the share of the adapter's change that is in them.
    """
    measured = headlines(read_summaries(run), iteration=iteration)
    path = run / f"iteration-{iteration}" / "curation" / "summary.json"
    silver = json.loads(path.read_text())["silver_accuracy"] if path.exists() else None
    return _filled(
        "model.md", run, config, role=role, iteration=iteration, form=form, measured=measured, saved=saved,
        on_the_hub=_on_the_hub(config.model.path), kept=silver["kept"] if silver else None,
        unblinded=[line.benchmark for line in measured if blind(line.last or line.base or {}) is None],
    )  # fmt: skip


def silver_card(run: Path, config: Config, **figures: Any) -> str:
    """The card of a silver set, with the YAML by which `datasets` and the hub's viewer find its files.

    Args:
        run: its folder.
        config: its configuration.
        figures: `rows` by iteration and `types` by name, as counts; `confidence`, the lowest and the highest;
            `doubles` and `tagged`, the rows left out; `right`, an estimate or None where the truth is not
            known; `validity`, whether a judge of questions gave some.
    """
    return _filled("silver.md", run, config, **figures)


def _filled(name: str, run: Path, config: Config, **values: Any) -> str:
    versions = read_starts(run)[-1]
    used = [f"{n} {v}" for n, v in versions.items() if n not in ("step", "date") and v != "not installed"]
    model = config.model.path
    text = files("visplay.evaluation").joinpath("cards", name).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )  # the cards are text, not HTML
    return environment.from_string(text).render(
        config=config,
        base=model if _on_the_hub(model) else Path(model).name,  # without the folders of whoever trained it
        trained_by="trained by self-play without labels (VisPlay, arXiv 2511.15661) with visplay "
        f"{versions['visplay']}: method\n`{config.method}`, control `{config.control}`, adapters "
        f"`{config.adapters}`, seed {config.seed}.",
        made_with=", ".join(used),
        headline=headline, estimate=estimate, difference=difference, quantity=quantity, blind=blind, **values,
    )  # fmt: skip


def _on_the_hub(model: str) -> bool:
    """Whether a model's path is the id of a repository; the hub refuses a card that names another."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", model) is not None and not Path(model).exists()
