"""The notebook for a free hosted GPU: made of the page, its cells parse, its configuration fits the card."""

import ast
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.docs.pages import ROOT
from tests.docs.test_words import PATTERNS, prose
from tests.visplay.cli.test_help import parse
from tests.visplay.models.released_sizes import HERE, needs_processors, qwen2_5_vl
from visplay.config.loading import load_config
from visplay.models.memory import find_card
from visplay.planning.plan import make_plan
from visplay.planning.work import iteration_work

NOTEBOOK = ROOT / "docs" / "free-gpu.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
TEXT = "\n\n".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")


def test_it_is_what_the_program_makes_of_the_page() -> None:
    spec = spec_from_file_location("free_gpu", ROOT / "docs" / "site" / "free_gpu.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.notebook() == NOTEBOOK.read_text(), "python docs/site/free_gpu.py"
    nbformat.validate(nbformat.reads(NOTEBOOK.read_text(), as_version=4))


def shell(cell: str) -> Iterator[list[str]]:
    """The commands of a cell, each as words."""
    for line in cell.splitlines():
        if line.startswith("!"):
            words = shlex.split(line[1:])
            separators = [-1, *(i for i, word in enumerate(words) if word in ("&&", "||")), len(words)]
            yield from (words[a + 1 : b] for a, b in itertools.pairwise(separators))


def test_every_cell_parses() -> None:
    found = []
    for cell in CODE:
        if not cell.startswith("%%writefile"):
            ast.parse("\n".join(line for line in cell.splitlines() if line[:1] not in ("!", "%")))
        for words in shell(cell):
            assert words[0] in ("visplay", "mkdir", "test", "cp"), words
            if words[0] == "visplay":
                parse(words[1:])
                found.append(words[1])
    assert found == ["doctor", "plan", "doctor", "train", "report", "evaluate", "export"]
    (install,) = [line for cell in CODE for line in cell.splitlines() if line.startswith("%pip")]
    assert install == '%pip install --quiet "git+{REPOSITORY}"'


def test_its_text_is_plain_english_and_says_that_nothing_was_run() -> None:
    assert "It has not been run on such a card." in prose(TEXT)
    assert [name for name in PATTERNS if re.search(PATTERNS[name], prose(TEXT))] == []


def written(folder: Path, *overrides: str) -> Any:
    (cell,) = [cell for cell in CODE if cell.startswith("%%writefile mine.yaml\n")]
    (folder / "mine.yaml").write_text(cell.partition("\n")[2])
    return load_config(folder / "mine.yaml", overrides)


def test_its_configuration_is_loaded(tmp_path: Path) -> None:
    config = written(tmp_path)
    assert (config.model.dtype, config.engine.backend) == ("float16", "transformers")
    assert find_card("t4").memory == 15 << 30
    count = sum(work.completions for work in iteration_work(config, pictures=300))
    (said,) = re.findall(r"samples about ([\d,]+) completions", TEXT)
    assert count == pytest.approx(int(said.replace(",", "")), rel=0.1)


@needs_processors
@pytest.mark.slow
def test_its_configuration_fits_the_card_by_the_plan(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in (HERE / "qwen2_5_vl_7b").iterdir():
        if file.name not in ("config.json", "SOURCE"):
            (model / file.name).symlink_to(file)
    qwen2_5_vl("3B").save_pretrained(model)
    config = written(tmp_path, f"model.path={model}")
    plan = make_plan(config, on_gpu=True)
    assert plan.largest_micro(find_card("t4"), "asleep") > config.optimizer.micro_batch_size  # room to spare
    (said,) = re.findall(r"expects ([\d.]+) GB", TEXT)
    assert f"{plan.together('asleep') / 1e9:.1f}" == said
