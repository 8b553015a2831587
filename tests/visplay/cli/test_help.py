"""The help: every command in a group, two examples each, all of which the parser takes."""

import re
import shlex
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from visplay.cli.main import GROUPS, app

NAMES = [name for commands in GROUPS.values() for name in commands]
WIDTH = 80


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": str(WIDTH)})
    assert done.exit_code == 0, done.output
    return done.output


def parse(arguments: list[str]) -> None:
    """Have the parser of the command read its arguments, without running it."""
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    context = command.make_context("visplay", list(arguments))
    context.close()


def test_groups_hold_every_command_there_is() -> None:
    root: Any = typer.main.get_command(app)
    found = {
        f"{name} {inner}".strip()
        for name, command in root.commands.items()
        for inner in getattr(command, "commands", {"": None})
    }
    assert found == set(NAMES)


def test_the_help_lists_commands_by_group() -> None:
    text = shown()
    places = [text.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)
    for name in NAMES:
        assert re.search(rf"^  {name.split()[0]} ", text, re.MULTILINE), name
    assert max(map(len, text.splitlines())) <= WIDTH


def test_there_are_few_commands() -> None:
    assert len(NAMES) <= 14


@pytest.mark.parametrize("name", NAMES)
def test_examples_end_the_help_and_are_read_by_the_parser(name: str) -> None:
    examples = shown(*name.split()).split("Examples:\n")[1]
    lines = [line.strip() for line in examples.split("\n\n")[0].splitlines()]
    assert len(lines) == 2
    for line in lines:
        command = shlex.split(re.split(r" [|&]+ ", line)[0])
        assert command[0] == "visplay" and command[1:][: len(name.split())] == name.split()
        parse(command[1:])
