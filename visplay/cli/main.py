"""The command line: which commands there are, and in which group."""

import inspect
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperGroup
from typer.models import ArgumentInfo

from rollouts.engine import EngineUnavailable, RequestRefused
from visplay import __version__, launcher
from visplay.cli import measuring, playing, setting_up
from visplay.errors import RankLost, TrainingDiverged, VisplayError
from visplay.runs.shutdown import what_to_do

GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "Play": {
        "train": playing.train,
        "report": playing.report,
        "runs": playing.runs,
        "ask": playing.ask,
        "export": playing.export,
    },
    "Measure": {
        "evaluate": measuring.evaluate,
        "compare": measuring.compare,
        "benchmarks": measuring.benchmarks,
    },
    "Set up": {
        "doctor": setting_up.doctor,
        "plan": setting_up.plan,
        "config init": setting_up.config_init,
        "config show": setting_up.config_show,
        "config keys": setting_up.config_keys,
        "pocket images": setting_up.pocket_images,
    },
}
FAMILIES = {
    "config": "Write a first configuration, or print one with every key.",
    "pocket": "The pocket world: synthetic scenes.",
}
METAVARS = {int: "N", int | None: "N", float: "X", Path: "PATH", Path | None: "PATH", str: "TEXT"}


class Grouped(TyperGroup):
    """Lists its commands by group."""

    def format_commands(self, context: Any, formatter: Any) -> None:
        """A section of the help for each group, its commands in our order."""
        for title, commands in GROUPS.items():
            names = dict.fromkeys(name.split()[0] for name in commands)
            with formatter.section(title):
                formatter.write_dl([(n, self.commands[n].get_short_help_str(limit=200)) for n in names])


app = typer.Typer(
    cls=Grouped,
    help="A vision-language model improves itself from unlabelled images.\n\n"
    "Start with:  visplay pocket images runs/demo-images --style wide; visplay train configs/demo.yaml",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
families = {
    name: typer.Typer(help=words, no_args_is_help=True, rich_markup_mode=None)
    for name, words in FAMILIES.items()
}
for _name, _family in families.items():
    app.add_typer(_family, name=_name)


def _documented(command: Callable[..., None]) -> str:
    """Give a command's parameters the help in its docstring; return the help of the command.

    A parameter without a default is an argument, others are options; a boolean is a flag with no opposite.
    """
    text, _, examples = inspect.cleandoc(command.__doc__ or "").partition("\n\nExamples:\n")
    about, _, listed = text.partition("\n\nArgs:\n")
    helps = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE))

    def with_help(given: inspect.Parameter) -> inspect.Parameter:
        annotated = get_origin(given.annotation) is Annotated
        kind, info = get_args(given.annotation) if annotated else (given.annotation, None)
        if info is None and given.default is given.empty:
            info = typer.Argument()
        elif info is None:
            info = typer.Option(*([f"--{given.name.replace('_', '-')}"] if kind is bool else []))
        if isinstance(info, ArgumentInfo):
            info.metavar = given.name.upper()
        else:
            info.metavar = METAVARS.get(kind)
        info.help = " ".join(helps.get(given.name, "").split())
        return given.replace(annotation=Annotated[kind, info])

    signature = inspect.signature(command)
    parameters = [p if p.annotation is typer.Context else with_help(p) for p in signature.parameters.values()]
    vars(command)["__signature__"] = signature.replace(parameters=parameters)
    return f"{about}\n\n\b\nExamples:\n{examples}"


for _commands in GROUPS.values():
    for _name, _command in _commands.items():
        _first, _, _second = _name.partition(" ")
        _parent = families[_first] if _second else app
        _parent.command(_second or _first, help=_documented(_command))(_command)


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


def main() -> None:
    """Run the command line; an expected error gives one message and exit code 1."""
    launcher.quieten()
    os.environ.setdefault("WANDB_PROJECT", "visplay")
    for stream in (sys.stdout, sys.stderr):  # one that is not UTF-8 gets `?`, and no command ends by it
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        _require_utf8(*sys.argv[1:], os.getcwd())
        app()
    except (VisplayError, EngineUnavailable, RequestRefused) as error:
        first = launcher.rank() == 0
        if first or not isinstance(error, RankLost | TrainingDiverged):  # those, rank 0 tells of
            print(f"{'' if first else f'rank {launcher.rank()}: '}error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except Exception as error:  # a full or closed disk, in a command that has nothing to resume
        if (said := what_to_do(error)) is None:
            raise
        print(f"error: {said} give the command again", file=sys.stderr)
        raise SystemExit(1) from error


def _require_utf8(*paths: str) -> None:
    """Check that paths are UTF-8: the libraries that read weights and tables open no others."""
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise VisplayError(f"{path!a} is not in UTF-8; rename that folder or file") from error
