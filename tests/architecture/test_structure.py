"""The house rules that a program can check: names, sizes, import rules, exports."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("visplay", "rollouts", "rewards")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc"}
LONGEST = 400  # lines


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name_of)
def test_no_file_is_a_drawer_for_everything(path: Path) -> None:
    assert path.stem not in DRAWERS and path.parent.name not in DRAWERS, (
        f"{name_of(path)}: name what it is about"
    )


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name_of)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST, f"{name_of(path)} has {lines} lines, {LONGEST} at most: find a better cut"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_command_line_reads_the_environment(path: Path) -> None:
    if path.parent.name == "cli" or path.name == "launcher.py":  # a launcher says all it says there
        return
    reads = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert not reads, f"{name_of(path)} reads the environment in line(s) {reads}; take an argument instead"


# Imported where they are used: optional, of one system, or slow to import where most commands need none.
LATE = {"datasets", "easy_vqa", "math_verify", "resource", "rollouts.vllm_engine", "sympy"}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_command_line_and_late_packages_are_imported_inside_functions(path: Path) -> None:
    if path.parent.name == "cli":
        return
    tree = ast.parse(path.read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    imports = [n for function in functions for n in ast.walk(function)]
    named = {a.name for n in imports if isinstance(n, ast.Import) for a in n.names}
    named |= {str(n.module) for n in imports if isinstance(n, ast.ImportFrom)}
    assert named <= LATE, f"{name_of(path)} imports {named - LATE} inside a function"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist(package: str) -> None:
    module = importlib.import_module(package)
    exported = getattr(module, "__all__", [])
    assert sorted(exported) == sorted(set(exported))
    assert [name for name in exported if not hasattr(module, name)] == []


def test_import_rules_are_kept() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_folder_of_a_single_person_in_the_sources() -> None:
    personal = ("/home/", "/Users/", "/root/")
    found = [
        name_of(path) for path in SOURCES for start in personal if start in path.read_text(encoding="utf-8")
    ]
    assert found == []


def test_stored_samples_are_scored_and_compared_without_torch() -> None:
    program = (
        "import sys, visplay.cli.main, visplay.evaluation.session, visplay.report.comparison;"
        "import visplay.evaluation.comparison;"
        "print([name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_table_of_promises_names_tests_that_are_there() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().split("### Which test holds which promise")[1]
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)`", table.split("\n## ")[0])
    assert len(named) > 30
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []
