"""The command line: which commands there are, in which group, and what their help ends with."""

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rollouts.engine import EngineUnavailable, RequestRefused
from visplay import __version__, launcher
from visplay.cli import measuring, playing, setting_up
from visplay.cli.examples import help_ending
from visplay.cli.quiet import quieten
from visplay.errors import RankLost, TrainingDiverged, VisplayError

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
        "rescore": measuring.rescore,
    },
    "Set up": {
        "doctor": setting_up.doctor,
        "plan": setting_up.plan,
        "config init": setting_up.config_init,
        "config keys": setting_up.config_keys,
        "pocket images": setting_up.pocket_images,
    },
}
FAMILIES = {
    "config": "Write a first configuration, or print every key there is.",
    "pocket": "The pocket world: synthetic scenes.",
}


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
    "Start with:  visplay pocket images runs/demo-images  and then  visplay train configs/demo.yaml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
families = {
    name: typer.Typer(help=words, no_args_is_help=True, rich_markup_mode=None)
    for name, words in FAMILIES.items()
}
for _name, _family in families.items():
    app.add_typer(_family, name=_name)
for _commands in GROUPS.values():
    for _name, _command in _commands.items():
        _first, _, _second = _name.partition(" ")
        _parent = families[_first] if _second else app
        _parent.command(_second or _first, epilog=help_ending(_name))(_command)


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
    """Run the command line; an expected error is one clear message and exit code 1."""
    quieten()
    os.environ.setdefault("WANDB_PROJECT", "visplay")
    try:
        app()
    except (VisplayError, EngineUnavailable, RequestRefused) as error:
        first = launcher.rank() == 0
        if first or not isinstance(error, RankLost | TrainingDiverged):  # those, rank 0 tells of
            print(f"{'' if first else f'rank {launcher.rank()}: '}error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
