"""Several runs on one page: the figures are those of the files, and hostile text stays text."""

import json
import re
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from typer.testing import CliRunner

from tests.visplay.evaluation.test_comparison import evaluation
from tests.visplay.report.small_run import ATTACK, Tags, write_json, write_small_run
from visplay.cli.main import app
from visplay.errors import RunError
from visplay.evaluation.comparison import compare_all, find_side
from visplay.report.runs import differing, render_runs, run_names, write_runs


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs of the same questions: the second is right on 25 of 60 that the first has wrong."""
    made = []
    for name, right in (("a", 20), ("b", 45)):
        (tmp_path / name).mkdir()
        run = write_small_run(tmp_path / name)
        evaluation(run / "iteration-1/evaluation", [i < right for i in range(60)], benchmark="pocket-dusk")
        config = run / "config.yaml"
        config.write_text(
            config.read_text() + f"reasoner: {{steps: {right}, prompt: {json.dumps(ATTACK)}}}\n"
        )
        made.append(run)
    return made


def text_of(html: str) -> str:
    tags = Tags()
    tags.feed(html.replace(get_plotlyjs(), "").replace("</t", " </t").replace("</d", " </d"))
    return " ".join(tags.text.replace("\u00a0", " ").split())


def test_the_page_holds_what_the_files_hold(runs: list[Path]) -> None:
    text = text_of(render_runs(runs))
    for expected in (
        "a/runs/tiny, b/runs/tiny",
        "Self-play helped on pocket-dusk: +5.4 points",
        "70.4 % (67.6\u201373.1) iteration 1",  # best and last
        "+5.4 (+3.3 to +7.5) points better",
        "a/runs/tiny@1,b/runs/tiny@1 60 33.3 % (16.7\u201350.0) 75.0 % (58.3\u201388.3) +41.7",
        "p < 0.001 better",
        "reasoner.steps 20 45",
    ):  # fmt: skip
        assert expected in text, expected
    assert "reasoner.prompt" not in text  # the same in both
    assert "images.source" in text and "seed 3" not in text


def test_hostile_text_stays_text(runs: list[Path]) -> None:
    config = runs[0] / "config.yaml"
    config.write_text(
        config.read_text().replace("seed: 3", f"seed: 3\n{json.dumps(ATTACK)}: {json.dumps(ATTACK)}")
    )
    path = runs[0] / "iteration-1/evaluation/summary.json"
    write_json(path, {"benchmarks": {ATTACK: json.loads(path.read_text())["benchmarks"]["pocket-dusk"]}})
    html = render_runs(runs).replace(get_plotlyjs(), "")
    tags = Tags()
    tags.feed(html)
    assert html.count("<script") == 2  # one block of data, and plotly
    assert "<script>alert" not in html and ATTACK in tags.text
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    assert not any(tag == "img" for tag, _ in tags.found)
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(http|//)", html)


def test_a_run_that_has_only_begun_stands_beside_a_finished_one(runs: list[Path], tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.yaml").write_text("iterations: 3\n")
    text = text_of(render_runs([runs[0], begun]))
    assert "begun Nothing is measured, so nothing tells whether self-play helps" in text
    assert (
        "begun not measured" in text
        and "begun is not compared question by question: nothing is measured" in text
    )


def test_without_samples_runs_are_compared_by_their_figures_only(runs: list[Path]) -> None:
    (runs[1] / "iteration-1/evaluation/evaluation.json").unlink()
    text = text_of(render_runs(runs))
    assert "b/runs/tiny is not compared question by question: no samples of iteration 1 are stored." in text
    assert "second minus first" not in text and "Self-play helped" in text


def test_runs_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    assert run_names([tmp_path / "x/one", tmp_path / "y/two"]) == ["one", "two"]
    assert run_names([tmp_path / "x/run", tmp_path / "y/run"]) == ["x/run", "y/run"]


def test_only_what_differs_is_listed() -> None:
    one = {"name": "a", "seed": 1, "lora": {"rank": 8, "alpha": 16}, "control": "none", "threads": None}
    other = {"name": "b", "seed": 1, "lora": {"rank": 4, "alpha": 16}, "threads": 2, "note": "new"}
    assert differing({"a": one, "b": other}) == {
        "lora.rank": ["8", "4"], "control": ["none", "not set"], "threads": ["null", "2"],
        "note": ["not set", "new"],
    }  # fmt: skip
    assert differing({"a": one, "c": {**one, "name": "c"}}) == {}


def test_holm_counts_the_comparisons_of_all_runs(tmp_path: Path) -> None:
    # Seven gained and none lost, a to b and a to c: p = 2 / 128 = 0.0156 each, 0.0469 of three.
    for name, gain in (("a", 0), ("b", 7), ("c", 7)):
        evaluation(tmp_path / name, [i < 30 or i in range(30, 30 + 2 * gain, 2) for i in range(60)])
    found = compare_all([find_side(str(tmp_path / name)) for name in "abc"])
    assert [(first, second, one.verdict.p, one.word) for first, second, one in found] == [
        ("a", "b", pytest.approx(3 * 2 / 128), "better"),
        ("a", "c", pytest.approx(3 * 2 / 128), "better"),
        ("b", "c", pytest.approx(1.0), "can't tell"),
    ]


def test_one_run_named_twice_and_one_alone_are_refused(runs: list[Path], tmp_path: Path) -> None:
    for given in ([runs[0]], [runs[0], runs[0].parent / "tiny"]):
        with pytest.raises(RunError, match="two or more different runs are needed"):
            write_runs(tmp_path / "page.html", given)
    assert not (tmp_path / "page.html").exists()


def test_the_command_writes_the_page_and_refuses_what_cannot_be(runs: list[Path], tmp_path: Path) -> None:
    a, b = map(str, runs)
    page = tmp_path / "new" / "page.html"
    done = CliRunner().invoke(app, ["report", a, b, "--out", str(page)])
    assert done.exit_code == 0 and done.output.strip().endswith("page.html") and page.is_file()
    for arguments, why in (
        ([a, b, "--watch"], "--watch serves one run, got 2"),
        ([a, "--out", "x.html", "--watch"], "--watch writes no page"),
        ([a, "--out", str(tmp_path / "mine.yaml")], "must have a name that ends in .html"),
        ([a, b, "--out", f"{a}/config.yaml"], "must have a name that ends in .html"),
    ):
        refused = CliRunner().invoke(app, ["report", *arguments])
        assert isinstance(refused.exception, RunError) and why in str(refused.exception)


def test_the_page_of_one_run_may_be_written_elsewhere(runs: list[Path], tmp_path: Path) -> None:
    (runs[0] / "report.html").unlink(missing_ok=True)
    page = tmp_path / "elsewhere" / "page.html"
    done = CliRunner().invoke(app, ["report", str(runs[0]), "--out", str(page)])
    assert done.exit_code == 0 and page.is_file() and not (runs[0] / "report.html").exists()
