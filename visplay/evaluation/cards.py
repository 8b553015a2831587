"""What an export says of itself: the figures of its run with their intervals, and what was not measured."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from visplay.config.loading import Config
from visplay.evaluation.statistics import Estimate
from visplay.evaluation.wording import (
    Headline,
    blind,
    difference,
    estimate,
    headline,
    headlines,
    quantity,
)
from visplay.runs.results import read_summaries
from visplay.runs.run import read_starts

Form = Literal["adapter", "merged"]
UNLABELLED = "How many of its silver answers were right is not known: the pictures have no labels."


def model_card(run: Path, config: Config, *, role: str, iteration: int, form: Form) -> str:
    """The card of a trained role, each figure computed from the run's stored samples."""
    versions = read_starts(run)[-1]
    summaries = read_summaries(run)
    kind = "A LoRA adapter for" if form == "adapter" else "The merged weights of a LoRA adapter on"
    library = "peft" if form == "adapter" else "transformers"
    measured = headlines({i: figures for i, figures in summaries.items() if i in (0, iteration)})
    base = f"base_model: {config.model.path}\n" if _on_the_hub(config.model.path) else ""
    return f"""---
{base}library_name: {library}
pipeline_tag: image-text-to-text
---
# {config.name}, iteration {iteration}, {role}

{kind} `{_shown(config.model.path)}`,
{_trained_by(config, versions)}

## What was measured
{_measured(measured, iteration)}

{_labels(run, iteration)}

## What was not measured
{_missing(measured, role=role, iteration=iteration, labels=_silver_accuracy(run, iteration) is not None)}

## Made with
{_made_with(versions)}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SilverFigures:
    """What the card of a silver set tells.

    Attributes:
        rows: by iteration, how many are written.
        types: by question type, how many.
        confidence: the lowest and the highest, in [0, 1].
        doubles: rows of the same picture and question that a later one took the place of.
        tagged: rows left out because their text holds `<image>` or the like.
        right: share of silver answers that are right; None where the truth is not known.
        validity: whether a judge of questions gave some.
    """

    rows: dict[int, int]
    types: dict[str, int]
    confidence: tuple[float, float]
    doubles: int
    tagged: int
    right: Estimate | None
    validity: bool


def silver_card(run: Path, config: Config, figures: SilverFigures) -> str:
    """The card of a silver set, with the YAML by which `datasets` and the hub's viewer find its files."""
    versions = read_starts(run)[-1]
    total = sum(figures.rows.values())
    per_iteration = ", ".join(f"{quantity(n)} of iteration {i}" for i, n in figures.rows.items())
    types = ", ".join(f"{quantity(n)} {name}" for name, n in sorted(figures.types.items()))
    low, high = figures.confidence
    if figures.right is None:
        right = (
            "**How many of them are right is not known**: the pictures have no labels. Confidence is the "
            "share of the Reasoner's own votes and no accuracy."
        )
    else:
        right = (
            f"{estimate(figures.right)} of the {quantity(figures.right.n)} silver answers are right, by an "
            "oracle of the pictures that training never saw (95 % interval, resampled by picture; "
            "column `right`)."
        )
    judged = "a judge's, in [0, 1]" if figures.validity else "null: no judge of questions was asked"
    return f"""---
pretty_name: {json.dumps(f"{config.name}, silver set")}
task_categories:
- visual-question-answering
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---
# {config.name}, silver set

{quantity(total)} questions about pictures without labels ({per_iteration}). A Questioner asked them, and the
answer is the majority of a Reasoner's votes: a silver answer. Both are `{_shown(config.model.path)}`,
{_trained_by(config, versions)}

## How right it is
{right}
Curation kept questions whose confidence lies in a band; here it is from {low:.3g} to {high:.3g}.

## What is in it
{types}. One row for each picture and question, word for word: where one was kept more than once the last is
here, with the last vote, and {quantity(figures.doubles)} earlier are left out. {quantity(figures.tagged)} are
left out because `<image>`, `<video>` or `<audio>` stands in their text, which trainers take for a picture.

| column | what |
|---|---|
| images | the picture, as a list of one; without EXIF, place or comments |
| messages | what the Reasoner was told, options included, and the silver answer without reasoning |
| tagged_messages | the same with `<image>` where the picture stands |
| question, options, type | as the Questioner wrote them |
| silver_answer, confidence | the majority answer, and its share of the votes |
| validity | {judged} |
| blind_agreement | share of votes without the picture for the same answer; null where none were asked |
| right | whether the silver answer is true; null where that is not known |
| image_key, iteration | SHA-256 of the picture's file, when it was asked |

TRL and ms-swift read `messages` and `images`; LLaMA-Factory reads `tagged_messages` by the
`dataset_info.json` beside this file (`dataset_dir`: this folder, `dataset: silver`).

## Whose pictures
Their licence is their owners' matter. Nothing is known of it here, none is given, and who publishes this set
must have the right to.

## Made with
{_made_with(versions)}
"""


def _trained_by(config: Config, versions: dict[str, Any]) -> str:
    return (
        f"trained by self-play without labels (VisPlay, arXiv 2511.15661) with visplay "
        f"{versions['visplay']}: method\n`{config.method}`, control `{config.control}`, adapters "
        f"`{config.adapters}`, seed {config.seed}."
    )


def _made_with(versions: dict[str, Any]) -> str:
    used = {name: version for name, version in versions.items() if name not in ("step", "date")}
    return ", ".join(f"{name} {version}" for name, version in used.items() if version != "not installed")


def _measured(measured: Sequence[Headline], iteration: int) -> str:
    if not measured:
        return f"Nothing, neither the base nor iteration {iteration}."
    rows = "\n".join(
        f"| {line.benchmark}{' (synthetic)' if line.synthetic else ''} | {line.n} "
        f"| {headline(line.base or {})} | {headline(line.last or {})} "
        f"| {estimate(blind(line.last or line.base or {}))} | {_paired(line)} |"
        for line in measured
    )
    sentences = "\n".join(f"- {line.benchmark}: {line.sentence}" for line in measured)
    return f"""Greedy accuracy of the Reasoner with 95 % intervals, on the same questions before and after;
the difference is in percentage points. `blind` is its accuracy with the pictures greyed out.

| benchmark | n | base | iteration {iteration} | blind | paired difference |
|---|---|---|---|---|---|
{rows}

{sentences}"""


def _paired(line: Headline) -> str:
    paired = (line.last or {}).get("paired")
    return f"{difference(paired)}, {line.verdict}" if paired else ""


def _missing(measured: Sequence[Headline], *, role: str, iteration: int, labels: bool) -> str:
    """One line for each thing that a reader might take for granted."""
    found = []
    if all(line.synthetic for line in measured):
        found.append("Anything on real pictures: no benchmark of them was asked.")
    if iteration and not any(line.last for line in measured):
        found.append(f"Iteration {iteration}: only the base was.")
    unblinded = [line.benchmark for line in measured if blind(line.last or line.base or {}) is None]
    if unblinded:
        found.append(f"How much is answered without the picture (no blind control): {', '.join(unblinded)}.")
    if role == "questioner":
        found.append("The Questioner itself: the figures are those of the Reasoner beside it.")
    if not labels:
        found.append("How many silver answers were right.")
    found.append("Anything but accuracy: neither safety nor bias, nor other languages.")
    return "\n".join(f"- {line}" for line in found)


def _labels(run: Path, iteration: int) -> str:
    if not iteration:
        return "It is the base with an adapter that changes nothing yet."
    kept = _silver_accuracy(run, iteration)
    if kept is None:
        return UNLABELLED
    return (
        f"Of the {quantity(kept['n'])} silver answers that curation kept in iteration {iteration}, "
        f"{estimate(kept)} were right."
    )


def _silver_accuracy(run: Path, iteration: int) -> dict[str, Any] | None:
    path = run / f"iteration-{iteration}" / "curation" / "summary.json"
    silver = json.loads(path.read_text())["silver_accuracy"] if path.exists() else None
    return silver["kept"] if silver else None


def _on_the_hub(model: str) -> bool:
    """Whether a model's path is the id of a repository; the hub refuses a card that names another."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", model) is not None and not Path(model).exists()


def _shown(model: str) -> str:
    """A model's path without the folders of whoever trained it."""
    return model if _on_the_hub(model) else Path(model).name
