"""The command line."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from visplay import __version__
from visplay.errors import VisplayError

app = typer.Typer(
    help="A vision-language model improves itself from unlabelled images.\n\n"
    "Start with:  visplay pocket images runs/demo-images  and then  visplay train configs/pocket.yaml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
pocket_app = typer.Typer(
    help="The pocket world: synthetic scenes and the tiny VLM that sees them.", no_args_is_help=True
)
app.add_typer(pocket_app, name="pocket")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A YAML file; see configs/ and docs/configuration.md.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values that differ: seed=1 optimizer.learning_rate=1e-4 ...")
    ] = None,
) -> None:
    """Run self-play; the same command goes on with a run that was stopped.

    The run lies in OUTPUT/NAME: metrics, rollouts, silver examples, adapters, evaluations, report.html.
    """
    from visplay.config import load_config
    from visplay.evaluation.table import print_result
    from visplay.progress import Display
    from visplay.report import write_report

    settings = load_config(config, overrides or [])
    from visplay.selfplay import selfplay

    display = Display()
    folder = selfplay(settings, display=display)
    print_result(folder)
    display.say(f"report: {write_report(folder)}")


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run's folder, finished or not.")]) -> None:
    """Write RUN/report.html, one page that opens from disk without a network."""
    from visplay.evaluation.table import print_result
    from visplay.report import write_report

    print_result(run)
    typer.echo(write_report(run))


@app.command()
def keys() -> None:
    """Print every configuration key with its default, as docs/configuration.md has them."""
    from visplay.reference import config_reference

    typer.echo(config_reference(), nl=False)


@pocket_app.command("images")
def pocket_images(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if absent.")],
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 1500,
    seed: Annotated[int, typer.Option(min=0, help="Decides the scenes.")] = 1,
    style: Annotated[Literal["dusk", "clean"], typer.Option(help="How they are drawn.")] = "dusk",
) -> None:
    """Write synthetic pictures as PNG files, and beside them, for telemetry only, what they show."""
    from visplay.pocket.truth import write_pictures
    from visplay.progress import Display

    display = Display()
    with display.bar("pictures", total=count) as advance:
        write_pictures(folder, count=count, seed=seed, style=style, on_picture=advance)
    display.say(f"{count} pictures in {folder}")


@pocket_app.command("build")
def pocket_build(
    out: Annotated[Path, typer.Argument(help="Where the checkpoint goes.")],
    seed: Annotated[int, typer.Option(min=0, help="Decides weights and batches.")] = 0,
) -> None:
    """Train the pocket VLM from random weights, as the shipped one was; goes on after a kill."""
    from visplay.pocket.build import Recipe, build
    from visplay.pocket.card import write_card

    recipe = Recipe(seed=seed)
    typer.echo(write_card(build(out, recipe=recipe, log=typer.echo), recipe=recipe))


def main() -> None:
    """Run the command line; an expected error is one clear message and exit code 1."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # our own display says what matters
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    try:
        app()
    except VisplayError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
