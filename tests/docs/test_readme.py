"""README's Python example is run as it stands, beside a small configuration of the same name."""

from pathlib import Path

import pytest

from tests.docs.pages import BLOCKS, ROOT
from tests.visplay.small import SMALL
from visplay.config.loading import load_config
from visplay.config.yaml_text import dump_yaml, merged
from visplay.pocket.truth import write_pictures


@pytest.mark.slow
def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = [b.text for b in BLOCKS if b.page == "README.md" and b.language == "python"]
    shipped = load_config(str(ROOT / "configs" / "demo.yaml")).model_dump(mode="json")
    small = merged(shipped, {**SMALL, "evaluation": {**SMALL["evaluation"], "benchmarks": []}})
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.yaml").write_text(dump_yaml(small))
    write_pictures(tmp_path / "runs" / "demo-images", count=8, seed=1, style="wide")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "iteration" in said and said.strip().splitlines()[-1]
    assert (tmp_path / "runs" / "demo" / "config.yaml").is_file()
