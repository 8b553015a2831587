"""The command line."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from rollouts.engine import EngineUnavailable
from visplay import __version__, launcher
from visplay.cli import measuring as commands
from visplay.cli.again import this_command
from visplay.cli.quiet import quieten
from visplay.errors import RankLost, TrainingDiverged, VisplayError
from visplay.runs.shutdown import graceful_shutdown

API_KEY = "VLLM_API_KEY"  # vLLM's own name: servers that we start read it too

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
for command in (
    commands.evaluate,
    commands.rescore,
    commands.compare,
    commands.benchmarks,
    commands.serve,
    commands.lmms_eval,
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    # Taken out, so that no program we start inherits it.
    context.obj = {"judge_key": os.environ.pop("VISPLAY_JUDGE_API_KEY", None)}


@app.command()
def train(
    config: Annotated[
        Path, typer.Argument(help="Configuration file (YAML); see configs/ and docs/configuration.md.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values to set on top: seed=1 optimizer.learning_rate=1e-4 ...")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what `visplay plan` prints and write nothing.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Hash every file of finished steps, not only those that have changed."),
    ] = False,
) -> None:
    """Run self-play; the same command resumes a run that was stopped.

    The run lies in OUTPUT/NAME: metrics, rollouts, silver examples, adapters, evaluations, report.html.
    """
    from visplay.cli.printing import print_result
    from visplay.config.loading import load_config
    from visplay.progress import Display
    from visplay.report import write_report

    settings = load_config(config, overrides or [])
    if dry_run:
        from visplay.cli.planning import print_plan

        print_plan(settings)
        return
    display = Display() if launcher.rank() == 0 else Display.quiet()
    with graceful_shutdown(this_command(), say=display.say):
        from visplay.loop.selfplay import selfplay

        folder = selfplay(settings, display=display, api_key=os.environ.get(API_KEY), verify=verify)
        if launcher.rank() != 0:
            return
        print_result(folder)
        display.say(f"report: {write_report(folder)}")


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(help="Configuration file (YAML) of a run.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values to set on top of it: key.sub=value ...")
    ] = None,
    card: Annotated[
        list[str] | None,
        typer.Option(help="Card to plan for, e.g. h100 or rtx4090; may be repeated. Default: all known."),
    ] = None,
    prompt_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Tokens of a prompt with its picture; default: measured with one of 640 x 480 pixels."
        ),
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(min=1, help="Number of pictures; default: those in images.source.")
    ] = None,
    ranks: Annotated[
        int, typer.Option(min=1, help="Ranks of the trainer, each on a card of its own, for the times.")
    ] = 1,
    kept: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1,
            help="Share of questions that curation keeps; default: what the run has kept so far, "
            "or a quarter.",
        ),
    ] = None,
) -> None:
    """Say what memory, work, time and disk a run will take; no weights are read."""
    from visplay.cli.planning import print_plan
    from visplay.config.loading import load_config
    from visplay.models.cards import find_card

    cards = [find_card(name) for name in card or ()]
    settings = load_config(config, overrides or [])
    print_plan(settings, cards=cards, prompt_tokens=prompt_tokens, pictures=pictures, kept=kept, ranks=ranks)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the runs.")] = Path("runs"),
) -> None:
    """List runs: how far each has come, whether a process works on it, its last accuracy."""
    from visplay.cli.listing import print_runs

    print_runs(folder)


@app.command()
def verify(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Hash every file of a run's finished steps and say which are not what was written."""
    from visplay.cli.listing import print_damage

    raise typer.Exit(code=int(print_damage(run)))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, finished or not.")],
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Serve the page to this machine while the run goes on, instead of writing it."
        ),
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port that --watch serves on; 0: any free one.")
    ] = 0,
) -> None:
    """Write RUN/report.html, one page that opens from disk without a network, or serve it with --watch."""
    if watch:
        from visplay.report.watch import LiveServer

        with LiveServer(run, port=port) as server, suppress(KeyboardInterrupt):
            typer.echo(f"{server.url} (Ctrl-C ends it)")
            server.serve_forever()
        return
    from visplay.cli.printing import print_result
    from visplay.report import write_report

    print_result(run)
    typer.echo(write_report(run))


@app.command()
def ask(
    picture: Annotated[Path, typer.Argument(help="Picture file to ask about.")],
    run: Annotated[
        Path, typer.Option(help="Folder of the run whose Questioner asks and whose Reasoner answers.")
    ],
    iteration: Annotated[
        int | None,
        typer.Option(min=0, help="Iteration after which the weights are taken; default: the last."),
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="Number of questions.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling.")] = 0,
    trust_remote_code: commands.Trust = False,
) -> None:
    """What the Questioner asks about a picture, and how the Reasoner votes."""
    from visplay.cli.printing import print_asked
    from visplay.loop.ask import ask as let_them
    from visplay.progress import Display

    rows = let_them(
        run, picture, iteration=iteration, questions=questions, seed=seed, display=Display(),
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    print_asked(rows)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path, typer.Argument(help="New folder to write the checkpoint to.")],
    role: Annotated[str, typer.Option(help="Role whose weights are written.")] = "reasoner",
    iteration: Annotated[
        int | None,
        typer.Option(min=0, help="Iteration after which the weights are taken; default: the last."),
    ] = None,
    form: Annotated[
        Literal["adapter", "merged"],
        typer.Option(help="Write a PEFT adapter, or the whole model with the adapter merged in."),
    ] = "adapter",
    trust_remote_code: commands.Trust = False,
) -> None:
    """Write a trained role as a checkpoint with a model card; transformers and vLLM load it as it is."""
    from visplay.evaluation.export import export as write

    typer.echo(
        write(run, out, role=role, iteration=iteration, form=form, trust_remote_code=trust_remote_code)
    )


@app.command()
def doctor(
    config: Annotated[
        Path | None,
        typer.Argument(help="Configuration file whose model, pictures and engine are checked, too."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values to set on top of it: key.sub=value ...")
    ] = None,
) -> None:
    """Say what is installed, what fits together and what this machine has; each finding with its fix."""
    from visplay.cli.doctor import examine
    from visplay.config.loading import load_config

    settings = load_config(config, overrides or []) if config else None
    verdicts = []
    for finding in examine(settings, api_key=os.environ.get(API_KEY)):
        typer.echo(str(finding))
        verdicts.append(finding.verdict)
    raise typer.Exit(code=int("bad" in verdicts))


@app.command()
def keys() -> None:
    """Print every configuration key with its default, as docs/configuration.md has them."""
    from visplay.config.reference import config_reference

    typer.echo(config_reference(), nl=False)


@pocket_app.command("images")
def pocket_images(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; made if absent.")],
    count: Annotated[int, typer.Option(min=1, help="Number of pictures.")] = 1500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes.")] = 1,
    style: Annotated[
        Literal["dusk", "clean"], typer.Option(help="Drawing style: dusk is harder to see.")
    ] = "dusk",
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
    out: Annotated[Path, typer.Argument(help="Folder to write the checkpoint to.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and batches.")] = 0,
) -> None:
    """Train the pocket VLM from random weights, as the shipped one was; goes on after a kill."""
    from visplay.pocket.recipe.build import Recipe, build
    from visplay.pocket.recipe.card import write_card

    recipe = Recipe(seed=seed)
    typer.echo(write_card(build(out, recipe=recipe, log=typer.echo), recipe=recipe))


def main() -> None:
    """Run the command line; an expected error is one clear message and exit code 1."""
    quieten()
    os.environ.setdefault("WANDB_PROJECT", "visplay")
    try:
        app()
    except (VisplayError, EngineUnavailable) as error:
        first = launcher.rank() == 0
        if first or not isinstance(error, RankLost | TrainingDiverged):  # those, rank 0 tells of
            print(f"{'' if first else f'rank {launcher.rank()}: '}error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
