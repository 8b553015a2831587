"""Code blocks of the docs: commands read by the parser, YAML by what reads a user's file, Python run.

A block of commands that no test can run or read has `<!-- not run: WHY -->` before it. The Python of
docs/extending.md is run by tests/visplay/test_extending.py, README's by test_readme.py, the notebook by
test_notebook.py.
"""

import ast
import importlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rewards import Question
from tests.docs.pages import BLOCKS, PAGES, ROOT, Block
from tests.visplay.cli.test_help import parse
from visplay.config.loading import Config, dump_config, load_config
from visplay.config.sections import LIMITS
from visplay.evaluation.spec import find_spec
from visplay.loop.asking import Asked

MAKE = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
ENDINGS = ("py", "yaml", "json", "jsonl", "parquet", "pt")
FUNCTIONS = (
    "engine.generate", "rewards.vote", "curation.curate", "questioner.train",
    "rewards.questioner_rewards", "rewards.reasoner_rewards",
)  # fmt: skip
KEY = re.compile(r"`((?:[a-z_]+\.)+[a-z_]+)(?::[^`]*|=[^`]*)?`")


def commands(block: Block) -> Iterator[str]:
    """The lines of a block that a shell would run, continued ones joined."""
    if block.language in ("", "bash", "sh", "console"):
        for line in block.text.replace("\\\n", " ").splitlines():
            line = re.split(r"\s#\s", line)[0].strip().removeprefix("$ ")
            yield from (part.strip() for part in re.split(r" && | \|\| | \| ", line) if part.strip())


LINES = [(str(block), line) for block in BLOCKS for line in commands(block)]


@pytest.mark.parametrize(("where", "line"), [(w, line) for w, line in LINES if line.startswith("visplay ")])
def test_commands_are_read_by_the_parser(where: str, line: str) -> None:
    parse(shlex.split(line)[1:])


@pytest.mark.parametrize(("where", "line"), [(w, line) for w, line in LINES if line.startswith("make ")])
def test_targets_exist(where: str, line: str) -> None:
    targets = [word for word in shlex.split(line)[1:] if "=" not in word]
    assert set(targets) <= MAKE


def test_programs_exist() -> None:
    """`python -m benchmarks.x`, `python benchmarks/x.py`, `pytest path`, in blocks and in the text."""
    for page in PAGES:
        text = page.read_text()
        files = [f"{name.replace('.', '/')}.py" for name in re.findall(r"python -m (benchmarks\.\w+)", text)]
        files += re.findall(r"python (benchmarks/[\w/]+\.py)", text)
        files += re.findall(r"\bpytest (?:-m \w+ )?(tests/[\w/]+(?:\.py)?)", text)
        files += re.findall(
            r"(?<!\*)`((?:visplay|rollouts|rewards|tests|benchmarks|configs)/[\w/.-]+\.(?:py|yaml))`", text
        )
        for file in files:
            # The table of promises in CONTRIBUTING.md names tests from their folder on.
            here = (ROOT / file, ROOT / "tests" / file, (ROOT / file).with_suffix("") / "__main__.py")
            assert any(path.exists() for path in here), f"{page.name}: {file}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=str)
def test_yaml_is_loaded(block: Block, tmp_path: Path) -> None:
    """A configuration, or a part of one, or a benchmark: from a file, as the command line reads it."""
    file = tmp_path / "block.yaml"
    file.write_text(block.text)
    if block.text.startswith("id:") or "\nid:" in block.text:
        assert find_spec(str(file)).id
    else:
        config = load_config(file, ["images.source=photos"])
        file.write_text(dump_config(config))
        assert load_config(file) == config


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=str)
def test_python_parses_and_imports_what_there_is(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "visplay"
        ):
            assert hasattr(importlib.import_module("visplay"), node.attr)


def test_the_python_of_the_rewards_runs() -> None:
    (example,) = [b.text for b in BLOCKS if b.page == "rewards.md" and b.language == "python"]
    asked = "<type>counting</type><question>How many cups are there?</question><answer>2</answer>"
    given: dict[str, Any] = {"text": asked, "samples": ["\\boxed{3}", "\\boxed{3}", "\\boxed{2}"]}
    exec(compile(example, "rewards.md", "exec"), given)
    assert given["vote"].answer == "3" and given["answers"] == ["3", "3", "2"]


def test_the_reward_of_the_tutorials_pays_short_questions() -> None:
    (example,) = [b.text for b in BLOCKS if b.page == "tutorials.md" and b.language == "python"]
    given: dict[str, Any] = {}
    exec(compile(example, "tutorials.md", "exec"), given)
    questions = (Question(type="t", question=text, answer="") for text in ("How many?", "How many? " * 9))
    assert given["short"]([Asked(picture="p", question=one) for one in questions]) == [1.0, 0.0]
    assert given["short"]([Asked(picture="p")]) == [0.0]


def test_keys_that_pages_name_exist() -> None:
    sections = {
        name for name, field in Config.model_fields.items() if hasattr(field.annotation, "model_fields")
    }
    named = {
        (page.name, key)
        for page in PAGES
        if page.name != "architecture.md"  # it names functions of modules that are called as sections are
        for key in KEY.findall(page.read_text())
        if key.split(".")[0] in sections and key not in FUNCTIONS and key.split(".")[-1] not in ENDINGS
    }
    unknown = [f"{page}: {key}" for page, key in sorted(named) if not _exists(key)]
    assert len(named) > 100 and unknown == []


def _exists(key: str) -> bool:
    fields: Any = Config.model_fields
    first, *rest = key.split(".")
    if (first, rest[0]) == ("health", "limits"):
        return len(rest) == 1 or rest[1] in LIMITS
    for name in (first, *rest):
        if name not in fields:
            return False
        kind = fields[name].annotation
        if not hasattr(kind, "model_fields"):
            return True
        fields = kind.model_fields
    return True


def how_checked(block: Block) -> str:
    """What is done with a block; a block that nothing is done with needs the comment, or is `text`."""
    if block.not_run:
        return "not run"
    if block.language == "json":
        json.loads(block.text)
    if block.language:
        return {"python": "run", "yaml": "loaded", "json": "loaded", "text": "text"}[block.language]
    extras = re.findall(r"pip install -e '?\.\[(\w+)\]", block.text)
    assert all(re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.M) for extra in extras)
    known = ("visplay ", "make ", "pip install -e ", "python -m benchmarks.")
    unknown = [line for line in commands(block) if not line.startswith(known)]
    assert not unknown, f"{block}: no test reads {unknown}; put `<!-- not run: WHY -->` before the block"
    return "read by the parser"


def test_every_block_is_run_or_loaded_or_says_why_not() -> None:
    found = Counter(how_checked(block) for block in BLOCKS)
    assert found["not run"] <= 7 and found["text"] <= 4, found  # one more needs a good reason
    assert found["run"] >= 9 and found["loaded"] >= 13 and found["read by the parser"] >= 13, found
    run = {block.page for block in BLOCKS if block.language == "python"}
    assert run == {"README.md", "extending.md", "rewards.md", "tutorials.md"}  # each has its test, see above
