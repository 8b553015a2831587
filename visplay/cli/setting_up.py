"""The commands that set up: doctor, plan, config, pocket."""

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from visplay.cli.playing import API_KEY
from visplay.errors import ConfigError


def doctor(
    config: Annotated[Path | None, typer.Argument()] = None,
    overrides: Annotated[list[str] | None, typer.Argument()] = None,
) -> None:
    """Check packages, versions and this machine; each finding comes with its fix.

    Args:
        config: Configuration file whose model, pictures and engine are checked, too.
        overrides: Keys that override the file: key.sub=value ...

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
    config: Path,
    overrides: Annotated[list[str] | None, typer.Argument()] = None,
    card: list[str] | None = None,
    pictures: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Print the memory and work that a run will need, without reading weights.

    Args:
        config: Configuration file (YAML) of a run.
        overrides: Keys that override the file: key.sub=value ...
        card: Card to plan for, e.g. h100 or rtx4090; may be repeated. Default: all known.
        pictures: Number of pictures; default: those in images.source.

    Examples:
        visplay plan mine.yaml
        visplay plan mine.yaml reasoner.max_tokens=1024 --card rtx4090
    """
    from visplay.cli.plan import print_plan
    from visplay.config.loading import load_config
    from visplay.models.memory import find_card

    cards = [find_card(name) for name in card or ()]
    print_plan(load_config(config, overrides or []), cards=cards, pictures=pictures)


def config_init(
    model: str,
    images: str,
    out: Path | None = None,
    card: str | None = None,
) -> None:
    """Write a first configuration, with comments, that fits a model and this machine.

    Args:
        model: Base VLM: a hub id, a local folder, or pocket or pocket-wide, the VLMs in the package.
        images: Pictures, as for images.source; docs/pictures.md lists the forms.
        out: YAML file to write; it must not exist. Default: print it.
        card: Card to write for, e.g. rtx4090. Default: the card of this machine.

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
    about = text.partition("# visplay train")[0].replace("# ", "")  # whether it fits, the peak, the plan
    typer.echo(f"{about}{out} is written")


def config_show(
    config: Path,
    overrides: Annotated[list[str] | None, typer.Argument()] = None,
) -> None:
    """Print a configuration with every key, as a run would use it.

    Args:
        config: Configuration file (YAML) of a run.
        overrides: Keys that override the file: key.sub=value ...

    Examples:
        visplay config show mine.yaml
        visplay config show mine.yaml method=steady
    """
    from visplay.config.loading import load_config
    from visplay.config.yaml_text import dump_yaml

    typer.echo(dump_yaml(load_config(config, overrides or []).model_dump(mode="json")), nl=False)


def config_keys(schema: bool = False) -> None:
    """Print every configuration key with its default, as in docs/configuration.md.

    Args:
        schema: Print a JSON schema instead, by which editors complete and check a configuration.

    Examples:
        visplay config keys | grep curation
        visplay config keys --schema
    """
    from visplay.config.loading import Config
    from visplay.config.reference import config_reference

    typer.echo(json.dumps(Config.model_json_schema(), indent=1) if schema else config_reference(), nl=False)


def pocket_images(
    folder: Path,
    count: Annotated[int, typer.Option(min=1)] = 1500,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    style: Literal["dusk", "clean", "ladder", "wide"] = "dusk",
) -> None:
    """Write synthetic pictures (PNG) and, for measurement only, a description of each scene.

    Args:
        folder: Folder to write to; made if absent.
        count: Number of pictures.
        seed: Seed of the scenes.
        style: Scenes: clean, dusk (harder to see), ladder (crowded) or wide (for pocket-wide).

    Examples:
        visplay pocket images runs/demo-images --style wide
        visplay pocket images runs/ladder-images --style ladder
    """
    from visplay.pocket.truth import write_pictures
    from visplay.progress import Display
    from visplay.runs.run import outside_runs

    display = Display()
    with display.bar("pictures", total=count) as advance:
        write_pictures(outside_runs(folder), count=count, seed=seed, style=style, on_picture=advance)
    display.say(f"{count} pictures in {folder}")
