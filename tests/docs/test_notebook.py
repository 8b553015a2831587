"""The notebook runs on any run: here on a small one."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from tests.docs.pages import ROOT
from tests.visplay.small import SMALL
from visplay.pocket.truth import write_pictures

NOTEBOOK = ROOT / "docs" / "reading-a-run.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_was_executed_in_order_and_shows_no_errors() -> None:
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert "error" not in kinds and "display_data" in kinds
    assert str(Path.home()) not in NOTEBOOK.read_text() and "site-packages" not in NOTEBOOK.read_text()


def test_its_cells_import_public_names_only() -> None:
    source = "\n".join(cell.source for cell in read().cells if cell.cell_type == "code")
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {getattr(node, "module", None) or node.names[0].name for node in nodes}
    assert named == {"pandas", "visplay", "rewards"}


def test_its_figures_are_those_of_the_page_on_the_report() -> None:
    """Both show the run of `make demo`."""
    shown = str([output for cell in read().cells for output in cell.get("outputs", [])])
    (points,) = re.findall(r"504 +NaN +NaN\\n +1 .*? 504 +(0\.\d+)", shown)
    page = (ROOT / "docs" / "report.md").read_text()
    assert f"+{100 * float(points):.1f} points [" in page


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_its_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path / "pictures", count=16, seed=0, style="clean")
    images = {"source": "pictures", "oracle": "visplay.pocket.truth:read_truth"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**SMALL, "images": images, "name": "demo"}))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    subprocess.run(
        [sys.executable, "-m", "visplay", "train", "run.yaml"], cwd=tmp_path, check=True, capture_output=True
    )
    notebook = read()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("boxed" in str(output.get("text", "")) for output in outputs)
