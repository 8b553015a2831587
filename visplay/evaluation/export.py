"""A trained Reasoner or Questioner as a checkpoint that transformers, PEFT and vLLM load as it is."""

import json
import shutil
from pathlib import Path
from typing import Any, Literal

from peft import PeftModel

from visplay.config.loading import Config
from visplay.config.sections import trusted
from visplay.errors import RunError
from visplay.evaluation.wording import difference, estimate, headline
from visplay.models.policy import load_base
from visplay.models.processor import load_processor
from visplay.runs.checkpoints import roles_after
from visplay.runs.results import read_summaries, run_config
from visplay.runs.run import read_starts
from visplay.storage import write_text

Form = Literal["adapter", "merged"]


def export(
    run: str | Path,
    out: str | Path,
    *,
    role: str = "reasoner",
    iteration: int | None = None,
    form: Form = "adapter",
    trust_remote_code: bool = False,
) -> Path:
    """Write what a run has trained to the new folder `out`, with a model card of the run's own figures.

    Args:
        run: a run's folder.
        out: where the checkpoint goes; must not exist, or be empty.
        role: `questioner` or `reasoner`; with shared adapters they are the same weights.
        iteration: after which; None takes the last finished one.
        form: `adapter` is a PEFT folder; `merged` the whole model with the adapter added into its weights.
        trust_remote_code: with `merged`, run the code that the base VLM's repository carries.

    Raises:
        RunError: not a run, no such role, the iteration is not finished, or `out` holds something.
        ConfigError: the run trusted the code of its base, and `trust_remote_code` was not given.
    """
    run, out = Path(run), Path(out)
    config = run_config(run)
    last, adapters = roles_after(run, iteration=iteration)
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out} is not empty; export into a new folder")
    if role not in adapters:
        raise RunError(f"{run} trains no role {role!r}; it trains {', '.join(adapters)}")
    adapter = adapters[role].path
    assert adapter is not None
    scratch = out.with_name(out.name + ".partial")
    shutil.rmtree(scratch, ignore_errors=True)
    if form == "adapter":
        shutil.copytree(adapter, scratch)
    else:
        trusting = trusted(config.model, again=trust_remote_code, shown=str(run))
        model, _ = load_base(trusting)
        merged: Any = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        merged.save_pretrained(scratch)
        # As it was published, with the run's settings of pictures; who loads it sets the template anew.
        load_processor(
            trusting.model_copy(update={"chat_template_kwargs": {}, "date": None})
        ).save_pretrained(scratch)
    write_text(scratch / "README.md", model_card(run, config, role=role, iteration=last, form=form))
    if out.exists():
        out.rmdir()
    scratch.rename(out)
    return out


def model_card(run: Path, config: Config, *, role: str, iteration: int, form: Form) -> str:
    """The card of an export, each figure computed from the run's stored samples."""
    versions = read_starts(run)[-1]
    summaries = read_summaries(run)
    kind = "A LoRA adapter for" if form == "adapter" else "The merged weights of a LoRA adapter on"
    library = "peft" if form == "adapter" else "transformers"
    rows = "\n".join(
        f"| {name} | {figures.get('n', '')} | {headline(summaries.get(0, {}).get(name, {}))} "
        f"| {headline(figures)} | {_verdict(figures.get('paired'))} |"
        for name, figures in summaries.get(iteration, {}).items()
    )
    return f"""---
base_model: {config.model.path}
library_name: {library}
pipeline_tag: image-text-to-text
---
# {config.name}, iteration {iteration}, {role}

{kind} `{config.model.path}`,
trained by self-play without labels (VisPlay, arXiv 2511.15661) with visplay {versions["visplay"]}:
preset `{config.rewards.preset}`, control `{config.control}`, adapters `{config.adapters}`, seed
{config.seed}.

## What was measured
Greedy accuracy of the Reasoner with 95 % intervals, on the same questions before and after; the difference
is in percentage points:

| benchmark | n | base | iteration {iteration} | paired difference |
|---|---|---|---|---|
{rows}

{_labels(run, iteration)}

## Made with
{", ".join(f"{name} {version}" for name, version in versions.items() if version != "not installed")}
"""


def _labels(run: Path, iteration: int) -> str:
    path = run / f"iteration-{iteration}" / "curation" / "summary.json"
    silver = json.loads(path.read_text())["silver_accuracy"] if path.exists() else None
    if silver is None or silver["kept"] is None:
        return "How many of its silver answers were right is not known: the pictures have no labels."
    return (
        f"Of the silver answers it was trained on in iteration {iteration}, {estimate(silver['kept'])} were "
        "right."
    )


def _verdict(paired: dict[str, Any] | None) -> str:
    return f"{difference(paired)}, {paired['verdict']}" if paired else ""
