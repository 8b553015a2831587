"""One picture, asked about and answered by a trained run: what the two roles do, to look at."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from rollouts.transformers_engine import TransformersEngine
from visplay.data.images import read_images
from visplay.loop.context import Table
from visplay.loop.phases import ask_and_vote
from visplay.models.policy import Policy, load_base
from visplay.progress import Display, Stopwatch
from visplay.runs.checkpoints import adapters_after
from visplay.runs.results import run_config
from visplay.runs.tracking import Tracker


def ask(
    run: Path, picture: Path, *, iteration: int | None, questions: int, seed: int, display: Display
) -> list[dict[str, Any]]:
    """Let a run's Questioner ask about a picture and its Reasoner vote, just as curation does.

    Args:
        run: a run's folder.
        picture: any picture file.
        iteration: whose adapters; None takes the last finished one.
        questions: N, >= 1.
        seed: of the sampling.
        display: where progress is shown.

    Returns:
        One row per question, as in `candidates.parquet`.

    Raises:
        RunError: not a run, or the iteration is not finished.
        ImageSourceError: the picture cannot be read.
    """
    config = run_config(run)
    _, adapters = adapters_after(run, iteration=iteration)
    images = read_images(picture)
    model, processor = load_base(config.model)
    table = Table(
        config=config.model_copy(
            update={"curation": config.curation.model_copy(update={"questions_per_image": questions})}
        ),
        preset=config.rewards.resolve(),
        policy=Policy(model, processor, lora=config.lora),  # nothing is trained: one copy of the base will do
        engine=TransformersEngine(model, processor, batch_size=config.engine.batch_size),
        images=images,
        oracle=None,
        watch=Stopwatch(),
        display=display,
        tracker=Tracker(config.model_copy(update={"report_to": []})),
    )
    for adapter in adapters.values():
        table.engine.publish(adapter)
    keys = [images.records[0].key]
    return ask_and_vote(
        table, keys, questioner=adapters["questioner"], reasoner=adapters["reasoner"], seed=seed
    )


def print_asked(rows: list[dict[str, Any]], console: Console | None = None) -> None:
    """Print questions and votes; what a model wrote can neither style nor steer the terminal."""
    shown = RichTable(show_lines=True)
    for column in ("type", "question", "votes", "silver answer", "c", "for training"):
        shown.add_column(column, overflow="fold")
    for row in rows:
        votes = [
            f"{round(share * row['samples'])} x {answer}"
            for answer, share in zip(row["answers"], row["shares"], strict=True)
        ]
        cells = [
            row["type"], row["question"] or row["failure"], "\n".join(votes), row["silver_answer"] or "",
            f"{row['confidence']:.2f}", row["reject_reason"] or "kept",
        ]  # fmt: skip
        shown.add_row(*(Text(_printable(cell)) for cell in cells))
    (console or Console()).print(shown)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
