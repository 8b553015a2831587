import io
import json
from pathlib import Path

from rich.console import Console

from visplay.cli.printing import print_result


def estimate(value: float, n: int) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": n}


def printed(run: Path) -> str:
    text = io.StringIO()
    print_result(run, Console(width=200, file=text))
    return text.getvalue()


def test_a_figure_of_fewer_questions_says_how_many(tmp_path: Path) -> None:
    figures = {
        "n": 1000, "accuracy": estimate(0.6, 1000), "maj@8": estimate(0.7, 300),
        "blind": estimate(0.25, 1000), "parse_rate": 0.99, "mean_tokens": 12.0, "paired": None,
    }  # fmt: skip
    paired = {"difference": 0.012, "low": -0.01, "high": 0.034, "verdict": "can't tell"}
    for iteration, own in ((0, figures), (1, {**figures, "paired": paired})):
        folder = tmp_path / f"iteration-{iteration}" / "evaluation"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"benchmarks": {"pocket-dusk": own}}))
    text = printed(tmp_path)
    assert "pocket-dusk (synthetic), n = 1000" in text
    assert "maj@8, n = 300" in text and "blind, n" not in text
    assert "60.0 [55.0, 65.0]" in text and "+1.2 [-1.0, +3.4]" in text and "can't tell" in text


def test_nothing_measured_yet(tmp_path: Path) -> None:
    assert "no evaluation is finished yet" in printed(tmp_path)
