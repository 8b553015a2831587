"""One picture, asked about and answered by a trained run: what the two roles do, to look at."""

from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from rewards import Question
from rollouts.transformers_engine import TransformersEngine
from visplay.data.images import read_images
from visplay.loop.asking import Round, band, grounded, judge, parse, vote
from visplay.loop.asking import ask as ask_about
from visplay.loop.context import RunContext
from visplay.loop.rows import Asked
from visplay.models.policy import Policy, load_base
from visplay.progress import Display, Stopwatch
from visplay.runs.checkpoints import roles_after
from visplay.runs.results import run_config
from visplay.runs.run import Run
from visplay.runs.tracking import Tracker


def ask(
    run: Path, picture: Path, *, iteration: int | None, questions: int, seed: int, display: Display
) -> list[Asked]:
    """Let a run's Questioner ask about a picture and its Reasoner vote, just as curation does.

    Args:
        run: a run's folder.
        picture: any picture file.
        iteration: whose adapters; None takes the last finished one.
        questions: N, >= 1.
        seed: of the sampling.
        display: where progress is shown.

    Returns:
        One row per question.

    Raises:
        RunError: not a run, or the iteration is not finished.
        ImageSourceError: the picture cannot be read.
    """
    config = run_config(run)
    _, roles = roles_after(run, iteration=iteration)
    images = read_images(picture)
    model, processor = load_base(config.model)
    ctx = RunContext(
        config=config.model_copy(
            update={"curation": config.curation.model_copy(update={"questions_per_image": questions})}
        ),
        preset=config.rewards.resolve(),
        run=Run(run),
        policy=Policy(model, processor, lora=config.lora),  # nothing is trained: one copy of the base will do
        engine=TransformersEngine(model, processor, batch_size=config.engine.batch_size),
        images=images,
        picture=images.load,
        oracle=None,
        watch=Stopwatch(),
        display=display,
        tracker=Tracker(config.model_copy(update={"report_to": []})),
    )
    for adapter in roles.values():
        ctx.engine.publish(adapter)
    round = Round(phase="curation", roles=roles, seed=seed)
    stages = [parse, judge, vote, band, grounded]
    (rows,) = ask_about(ctx, [images.records[0].key], round, stages=stages, questioner=roles["questioner"])
    return rows


def print_asked(rows: list[Asked], console: Console | None = None) -> None:
    """Print questions and votes; what a model wrote can neither style nor steer the terminal."""
    shown = RichTable(show_lines=True)
    for column in ("type", "question", "votes", "silver answer", "c", "for training"):
        shown.add_column(column, overflow="fold")
    for row in rows:
        vote = row.vote
        votes = [f"{round(share * vote.samples)} x {answer}" for answer, share in vote.shares] if vote else []
        question = row.question
        cells = [
            question.type if isinstance(question, Question) else "",
            question.question if isinstance(question, Question) else question.reason,
            "\n".join(votes), vote.answer or "" if vote else "", f"{vote.confidence if vote else 0.0:.2f}",
            row.reject or "kept",
        ]  # fmt: skip
        shown.add_row(*(Text(_printable(cell)) for cell in cells))
    (console or Console()).print(shown)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
