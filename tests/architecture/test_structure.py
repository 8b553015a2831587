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


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = [name_of(p) for p in SOURCES + TESTS if p.stem in DRAWERS or p.parent.name in DRAWERS]
    assert drawers == [], "name what it is about"


# Lines of Python at most; a budget is raised by a decision that says what for (docs/decisions/).
BUDGETS = {
    "visplay": 1061, "visplay/config": 1046, "visplay/data": 779, "visplay/models": 1430, "visplay/runs": 775,
    "visplay/training": 1495, "visplay/loop": 2077, "visplay/planning": 345, "visplay/evaluation": 3343,
    "visplay/report": 1320, "visplay/cli": 1527, "visplay/pocket": 672, "rollouts": 1850, "rewards": 2435,
    "rewards/answers": 1688,
}  # fmt: skip
MOST_LINES, MOST_FILES = 20_151, 130


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_rooms_keep_to_their_budgets() -> None:
    found = {}
    for room, budget in BUDGETS.items():
        folder = ROOT / room
        files = folder.glob("*.py") if room == "visplay" else folder.rglob("*.py")
        if (size := sum(map(lines_of, files))) > budget:
            found[room] = (size, budget)
    assert found == {}
    assert {f"visplay/{path.parent.name}" for path in (ROOT / "visplay").glob("*/__init__.py")} < set(BUDGETS)
    assert sum(map(lines_of, SOURCES)) <= MOST_LINES and len(SOURCES) <= MOST_FILES


def test_only_the_command_line_reads_the_environment() -> None:
    reads = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        if path.parent.name != "cli" and path.name != "launcher.py"  # a launcher says all it says there
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert reads == [], "take an argument instead"


def test_no_verdict_on_answers_depends_on_how_busy_the_machine_is() -> None:
    clocks = {
        "time",
        "datetime",
        "signal",
        "threading",
        "multiprocessing",
        "concurrent",
        "subprocess",
        "asyncio",
    }
    found = {
        (name_of(path), name.partition(".")[0])
        for path in SOURCES
        if path.is_relative_to(ROOT / "rewards")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [*(alias.name for alias in node.names), getattr(node, "module", None) or ""]
    }
    assert {(path, name) for path, name in found if name in clocks} == set()


# Imported where they are used: optional, of one system, or slow to import where most commands need none.
LATE = {"datasets", "easy_vqa", "math_verify", "resource", "rollouts.vllm_engine", "sympy"}


def test_only_the_command_line_and_late_packages_are_imported_inside_functions() -> None:
    found = {}
    for path in (path for path in SOURCES if path.parent.name != "cli"):
        tree = ast.parse(path.read_text())
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        imports = [n for function in functions for n in ast.walk(function)]
        named = {a.name for n in imports if isinstance(n, ast.Import) for a in n.names}
        named |= {str(n.module) for n in imports if isinstance(n, ast.ImportFrom)}
        if named - LATE:
            found[name_of(path)] = named - LATE
    assert found == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist(package: str) -> None:
    module = importlib.import_module(package)
    exported = getattr(module, "__all__", [])
    assert sorted(exported) == sorted(set(exported))
    assert [name for name in exported if not hasattr(module, name)] == []


def test_no_folder_of_a_single_person_in_the_sources() -> None:
    personal = ("/home/", "/Users/", "/root/")
    found = [
        name_of(path) for path in SOURCES for start in personal if start in path.read_text(encoding="utf-8")
    ]
    assert found == []


def test_runs_are_listed_and_reported_and_samples_scored_and_compared_without_torch() -> None:
    program = (
        "import sys, visplay.cli.main, visplay.cli.printing, visplay.evaluation.session; visplay.load_config;"
        "import visplay.evaluation.comparison, visplay.report, visplay.report.comparison;"
        "print([name for name in ('torch', 'transformers', 'datasets', 'vllm') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_table_of_promises_names_tests_that_are_there() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().split("### Guarantees and their tests")[1]
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)`", table.split("\n## ")[0])
    assert len(named) > 30
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []


def test_every_test_marked_extra_is_in_an_area_of_ci() -> None:
    text = (ROOT / ".ci/run").read_text().replace("\\\n", "")
    areas = re.findall(r"^area (.+?) -- (.+)$", text, re.MULTILINE)
    tests = [ROOT / path for named, _ in areas for path in named.split()]
    covered = [ROOT / path for _, named in areas for path in named.split()]
    assert [path for path in tests + covered if not path.exists()] == []
    extra = [path for path in TESTS if "mark.extra" in path.read_text() and path != Path(__file__)]
    assert len(extra) > 8
    assert [path for path in extra if not any(path.is_relative_to(area) for area in tests)] == []
