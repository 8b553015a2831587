"""A small made-up run with hostile text wherever a model or a file name can put it, and its page apart."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from plotly.offline import get_plotlyjs

from visplay.data.images import read_images
from visplay.report import write_report
from visplay.storage import write_part

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" onmouseover='alert(3)' {{ 7 * 7 }}"


def interval(value: float, n: int = 1000) -> dict[str, float]:
    return {"value": value, "low": value - 0.028, "high": value + 0.027, "n": n}


def benchmark(accuracy: float, *, paired: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "n": 1000, "headline": accuracy, "accuracy": interval(accuracy), "parse_rate": 0.987,
        "truncation_rate": 0.004, "mean_tokens": 12.5,
        "sampled": {"n": 300, "samples": 8, "maj@8": interval(accuracy + 0.0123, n=300)},
        "blind": {"n": 1000, "accuracy": interval(0.312)},
        "groups": {"kind": {"count": interval(0.4567, n=260)}},
        "paired": paired,
    }  # fmt: skip


def change(difference: float, low: float, high: float, *, p_value: float = 0.0004) -> dict[str, Any]:
    return {"difference": difference, "low": low, "high": high, "p_value": p_value, "gained": 83, "lost": 29,
            "n": 1000, "minimum_detectable": 0.02}  # fmt: skip


def candidate(key: str, question: str, **differing: Any) -> dict[str, Any]:
    return {
        "image_key": key, "valid": True, "failure": "", "question": question, "type": "numerical",
        "answers": ["2", "3"], "shares": [0.5, 0.375], "silver_answer": "2", "confidence": 0.5, "parsed": 7,
        "samples": 8, "kept": True, "reject_reason": "", "truth": "2",
    } | differing  # fmt: skip


def write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_unfinished(path: Path, value: Any) -> None:
    """A piece of a step that is under way, as the run writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_part(path, value)


def write_small_run(tmp_path: Path) -> Path:
    """A finished run of one iteration, with hostile text wherever a model or a file name can put it."""
    for shade in (10, 200):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (300, 200), (shade, 0, 0)).save(tmp_path / "pictures" / f"{shade} <b>bold<b>.png")
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    images = read_images(tmp_path / "pictures")
    images.write_manifest(folder)
    first, second = (record.key for record in images.records)
    (folder / "config.yaml").write_text(
        f"name: tiny\niterations: 1\nseed: 3\nmodel: {{path: pocket}}\n"
        f"images: {{source: '{tmp_path / 'pictures'}', column: image}}\nnote: '<script>alert(0)</script>'\n"
    )
    steps = [
        {"iteration": 1, "phase": phase, "step": step, "reward": 0.25 * step, "kl": float("nan")}
        for phase in ("questioner", "reasoner")
        for step in (1, 2)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps))
    write_json(
        folder / "iteration-0/evaluation/summary.json", {"benchmarks": {"pocket-dusk": benchmark(0.6514)}}
    )
    better = change(0.0541, 0.0332, 0.0749)
    write_json(
        folder / "iteration-1/evaluation/summary.json",
        {"benchmarks": {"pocket-dusk": benchmark(0.7043, paired=better)}},
    )
    write_json(
        folder / "iteration-1/curation/summary.json",
        {
            "questions": 1234, "valid": 1200, "answerable": 1100, "distinct": 345, "kept": 222,
            "silver_accuracy": {"kept": interval(0.6789, n=222), "rejected": None},
            "calibration": [{"confidence": 0.55, "n": 40, "accuracy": 0.5}],
            "rejects": {"confidence too high": 400, "not a well-formed question": 34},
            "confidence_histogram": [[0.0, 12], [0.5, 30]],
        },
    )  # fmt: skip
    write_rows(
        folder / "iteration-1/curation/candidates.parquet",
        [
            candidate(first, ATTACK, answers=[ATTACK, "3"]),
            candidate(first, "How many stars?", truth="3", kept=False, reject_reason="confidence too high"),
            candidate(second, "Is it art?", truth=None, type="yes/no"),
            candidate(second, "", valid=False, failure="no question block", kept=False, silver_answer=None,
                      answers=[], shares=[], samples=0, parsed=0, reject_reason="not a well-formed question"),
        ],
    )  # fmt: skip
    write_rows(
        folder / "iteration-1/reasoner/rollouts.parquet",
        [{"step": 1, "image_key": first, "question": "How many?", "completion": ATTACK, "silver_answer": "2",
          "reward": 1.0}],
    )  # fmt: skip
    return folder


class Tags(HTMLParser):
    """Collects what a browser would see as tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(folder: Path, **options: Any) -> tuple[str, Tags]:
    """The page without plotly's library, which is not ours to judge, and its tags."""
    html = write_report(folder, **options).read_text(encoding="utf-8").replace(get_plotlyjs(), "")
    tags = Tags()
    tags.feed(html)
    return html, tags


def rollouts_of(html: str) -> dict[str, Any]:
    """The data that the page's browser of questions reads."""
    data = re.search(r'<script type="application/json" id="rollouts">(.*?)</script>', html, re.DOTALL)
    assert data is not None
    return json.loads(data[1])
