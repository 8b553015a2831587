"""The commands that play: train, report, runs, ask, export."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from visplay import launcher
from visplay.cli.measuring import this_command
from visplay.errors import RunError
from visplay.runs.shutdown import graceful_shutdown

API_KEY = "VLLM_API_KEY"  # vLLM's own name: servers that we start read it too


def train(
    config: Path,
    overrides: Annotated[list[str] | None, typer.Argument()] = None,
) -> None:
    """Run self-play; the same command resumes a run that was stopped.

    The run's folder is OUTPUT/NAME: metrics, rollouts, silver examples, adapters, evaluations, report.html.

    Args:
        config: Configuration file (YAML); see configs/ and docs/configuration.md. A run's folder resumes it.
        overrides: Keys that override the file: seed=1 optimizer.learning_rate=1e-4 ...

    Examples:
        visplay train mine.yaml seed=1 reasoner.steps=40
        visplay train runs/mine
    """
    from visplay.cli.printing import print_result
    from visplay.config.loading import load_config
    from visplay.progress import Display
    from visplay.report import write_report

    if (config / "config.yaml").is_file():
        place = [f"output={json.dumps(str(config.parent))}", f"name={json.dumps(config.resolve().name)}"]
        config, overrides = config / "config.yaml", [*place, *(overrides or [])]
    settings = load_config(config, overrides or [])
    display = Display() if launcher.rank() == 0 else Display.quiet()
    with graceful_shutdown(this_command(), say=display.say):
        from visplay.loop.selfplay import selfplay

        folder = selfplay(settings, display=display, api_key=os.environ.get(API_KEY))
        if launcher.rank() != 0:
            return
        page = write_report(folder)  # first: a terminal may not take what is printed
        print_result(folder)
        display.say(f"report: {page}")


def report(
    run: Path,
    out: Path | None = None,
    watch: bool = False,
    port: Annotated[int, typer.Option(min=0, max=65535)] = 0,
) -> None:
    """Write RUN/report.html, one page that opens from disk without a network, or serve it with --watch.

    Args:
        run: Folder of a run, finished or not.
        out: HTML file to write; default: report.html in the run.
        watch: Serve the page to this machine while the run is in progress, instead of writing it.
        port: Port that --watch serves on; 0: any free one.

    Examples:
        visplay report runs/mine --watch --port 8080
        visplay report runs/mine --out mine.html
    """
    if watch and out is not None:
        raise RunError("--watch writes no page; leave --out or --watch out")
    if watch:
        from visplay.report.watch import LiveServer

        with LiveServer(run, port=port) as server, suppress(KeyboardInterrupt):
            here = server.server_port
            typer.echo(
                f"{server.url} (Ctrl-C ends it); from another machine: ssh -L {here}:127.0.0.1:{here} HOST"
            )
            server.serve_forever()
        return
    from visplay.cli.printing import print_result
    from visplay.report import write_report

    page = write_report(run, out=out)  # first: it says what is wrong with a folder
    print_result(run)
    typer.echo(page)


def runs(
    folder: Annotated[Path, typer.Argument()] = Path("runs"),
) -> None:
    """List runs with their progress, whether a process works on them, and their last accuracy.

    Args:
        folder: Folder that holds the runs.

    Examples:
        visplay runs
        visplay runs /data/runs
    """
    from visplay.cli.printing import print_runs

    print_runs(folder)


def ask(
    run: Path,
    picture: Path,
    iteration: Annotated[int | None, typer.Option(min=0)] = None,
    questions: Annotated[int, typer.Option(min=1)] = 8,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    trust_remote_code: bool = False,
) -> None:
    """Show what the Questioner asks about a picture and how the Reasoner votes.

    Args:
        run: Folder of the run whose Questioner asks and whose Reasoner answers.
        picture: Picture file to ask about.
        iteration: Iteration after which the weights are taken; default: the last.
        questions: Number of questions.
        seed: Seed of the sampling.
        trust_remote_code: Run the code in the model's repository.

    Examples:
        visplay ask runs/mine photo.jpg
        visplay ask runs/mine photo.jpg --iteration 0 --questions 20
    """
    from visplay.cli.printing import print_asked
    from visplay.loop.ask import ask as let_them
    from visplay.progress import Display

    rows = let_them(
        run, picture, iteration=iteration, questions=questions, seed=seed, display=Display(),
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    print_asked(rows)


def export(
    run: Path,
    out: Path,
    role: str = "reasoner",
    iteration: Annotated[int | None, typer.Option(min=0)] = None,
    form: Literal["adapter", "merged"] = "adapter",
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    silver: bool = False,
    trust_remote_code: bool = False,
) -> None:
    """Write a trained role as a checkpoint for transformers and vLLM, or the silver set.

    The folder also gets a model card with the run's figures; `hf upload` publishes it on the hub.

    Args:
        run: Folder of the run.
        out: New folder to write to.
        role: Role whose weights are written.
        iteration: Iteration after which the weights are taken, default: the last; with --silver whose
            examples, default: those of all.
        form: Write a PEFT adapter, or the whole model with the adapter merged in.
        dtype: Type of merged weights; auto: the run's, if the adapter's change survives in it.
        silver: Write the silver set instead of weights: the kept examples as a dataset with pictures.
        trust_remote_code: Run the code in the model's repository.

    Examples:
        visplay export runs/mine out/reasoner
        visplay export runs/mine out/silver --silver
    """
    if silver and (role, form) != ("reasoner", "adapter"):
        raise typer.BadParameter(
            "--silver writes no weights, so --role and --form have no effect; leave them out"
        )
    if silver:
        from visplay.evaluation.silver import export_silver

        written = export_silver(run, out, iteration=iteration)
    else:
        from visplay.evaluation.export import export as write

        written = write(
            run, out, role=role, iteration=iteration, form=form, dtype=dtype,
            trust_remote_code=trust_remote_code,
        )  # fmt: skip
    typer.echo(written)
