"""The help: every command in a group, two examples each, all of which the parser takes."""

import re
import shlex
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from visplay.cli.examples import EXAMPLES
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
    assert found == set(NAMES) == set(EXAMPLES)


def test_the_help_lists_commands_by_group() -> None:
    text = shown()
    places = [text.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)
    for name in NAMES:
        assert re.search(rf"^  {name.split()[0]} ", text, re.MULTILINE), name
    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.parametrize("name", NAMES)
def test_examples_end_the_help_and_are_read_by_the_parser(name: str) -> None:
    text = shown(*name.split())
    for words, line in EXAMPLES[name]:
        assert f"  {words}:\n" in text and f"      {line}\n" in text
        command = shlex.split(re.split(r" [|&]+ ", line)[0])
        assert command[0] == "visplay" and command[1:][: len(name.split())] == name.split()
        parse(command[1:])


def test_the_parser_refuses_what_is_wrong() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["train", "mine.yaml", "--no-such"])
