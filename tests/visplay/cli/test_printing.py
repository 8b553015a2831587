import io
import json
from pathlib import Path

from rich.console import Console

from visplay.cli.printing import print_result


def estimate(value: float, n: int) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": n}


def printed(run: Path) -> str:
    text = io.StringIO()
    print_result(run, Console(width=80, file=text))
    return text.getvalue()


def test_a_figure_of_fewer_questions_says_how_many(tmp_path: Path) -> None:
    figures = {
        "n": 1000, "headline": 0.6, "accuracy": estimate(0.6, 1000), "parse_rate": 0.99,
        "sampled": {"n": 300, "samples": 8, "maj@8": estimate(0.7, 300)},
        "blind": {"n": 1000, "accuracy": estimate(0.25, 1000)},
    }  # fmt: skip
    paired = {"difference": 0.012, "low": -0.01, "high": 0.034, "p_value": 0.3,
              "n": 1000}  # fmt: skip
    for iteration, own in ((0, figures), (1, {**figures, "paired": paired})):
        folder = tmp_path / f"iteration-{iteration}" / "evaluation"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"benchmarks": {"pocket-dusk": own}}))
    text = printed(tmp_path)
    assert "pocket-dusk (synthetic)" in text
    assert [line.split() for line in text.splitlines() if "maj@8" in line or "of " in line] == [
        ["iteration", "n", "accuracy", "maj@8", "blind", "parsed", "cut", "off"],
        ["of", "300"],
        ["of", "300"],
    ]
    assert "60.0\u00a0% (55.0\u201365.0)" in text and "25.0\u00a0%" in text
    assert "Whether self-play helped can't be told on pocket-dusk (+1.2 points" in " ".join(text.split())
    assert "1: can't tell, +1.2 (\u22121.0 to +3.4) points to the base" in text


def test_nothing_measured_yet(tmp_path: Path) -> None:
    assert printed(tmp_path).startswith("Nothing is measured (evaluation.benchmarks), so it is unknown")
