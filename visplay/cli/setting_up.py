"""The commands that set up: doctor, plan, config, pocket."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from visplay.cli.playing import API_KEY
from visplay.errors import ConfigError


def doctor(
    config: Annotated[
        Path | None,
        typer.Argument(help="Configuration file whose model, pictures and engine are checked, too."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values to set on top of it: key.sub=value ...")
    ] = None,
) -> None:
    """Say what is installed, what fits together and what this machine has; each finding with its fix.

    Examples:
        visplay doctor
        visplay doctor mine.yaml
    """
    from visplay.cli.doctor import examine
    from visplay.config.loading import load_config

    settings = load_config(config, overrides or []) if config else None
    verdicts = []
    for finding in examine(settings, api_key=os.environ.get(API_KEY)):
        typer.echo(str(finding))
        verdicts.append(finding.verdict)
    raise typer.Exit(code=int("bad" in verdicts))


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
    """Say what memory, work and disk a run will take; no weights are read.

    Examples:
        visplay plan mine.yaml
        visplay plan mine.yaml reasoner.max_tokens=1024 --card rtx4090
    """
    from visplay.cli.plan import print_plan
    from visplay.config.loading import load_config
    from visplay.models.memory import find_card

    cards = [find_card(name) for name in card or ()]
    settings = load_config(config, overrides or [])
    print_plan(settings, cards=cards, prompt_tokens=prompt_tokens, pictures=pictures, kept=kept)


def config_init(
    model: Annotated[
        str, typer.Argument(help="Base VLM: a hub id, a local folder, or pocket for the VLM in the package.")
    ],
    images: Annotated[
        str, typer.Argument(help="Pictures: whatever images.source takes; docs/pictures.md has the list.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="YAML file to write; it must not be there yet. Default: print it.")
    ] = None,
    card: Annotated[
        str | None, typer.Option(help="Card to write for, e.g. rtx4090. Default: what this machine has.")
    ] = None,
) -> None:
    """Write a first configuration, with comments, of what fits a model and this machine.

    Examples:
        visplay config init Qwen/Qwen2.5-VL-3B-Instruct photos --out my.yaml
        visplay config init Qwen/Qwen2.5-VL-7B-Instruct photos --card h100
    """
    from visplay.cli.plan import card_here, draft
    from visplay.models.memory import find_card
    from visplay.runs.run import outside_runs
    from visplay.storage import write_text

    if out is not None and outside_runs(out).exists():
        raise ConfigError(f"{out} already exists; name another file with --out, or remove it")
    text = draft(model, images, card=find_card(card) if card else card_here(), file=out)
    if out is None:
        typer.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    typer.echo(f"{out} is written; see what it will take with: visplay plan {out}")


def config_keys() -> None:
    """Print every configuration key with its default, as docs/configuration.md has them.

    Examples:
        visplay config keys
        visplay config keys | grep curation
    """
    from visplay.config.reference import config_reference

    typer.echo(config_reference(), nl=False)


def pocket_images(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; made if absent.")],
    count: Annotated[int, typer.Option(min=1, help="Number of pictures.")] = 1500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes.")] = 1,
    style: Annotated[
        Literal["dusk", "clean", "ladder"],
        typer.Option(help="Drawing style: dusk is harder to see, the ladder's scenes are crowded."),
    ] = "dusk",
) -> None:
    """Write synthetic pictures as PNG files, and beside them, for telemetry only, what they show.

    Examples:
        visplay pocket images runs/demo-images
        visplay pocket images runs/ladder-images --style ladder
    """
    from visplay.pocket.truth import write_pictures
    from visplay.progress import Display
    from visplay.runs.run import outside_runs

    display = Display()
    with display.bar("pictures", total=count) as advance:
        write_pictures(outside_runs(folder), count=count, seed=seed, style=style, on_picture=advance)
    display.say(f"{count} pictures in {folder}")
