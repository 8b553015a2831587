"""The report of a small made-up run: nothing hostile runs, nothing is fetched, every figure is the file's."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from plotly.offline import get_plotlyjs

from visplay.errors import CorruptArtifact, RunError
from visplay.images import read_images
from visplay.report import write_report
from visplay.report.reading import read_story
from visplay.report.samples import choose_questions
from visplay.report.wording import difference, estimate, headlines, points, quantity

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" onmouseover='alert(3)' {{ 7 * 7 }}"


def interval(value: float, n: int = 1000) -> dict[str, float]:
    return {"value": value, "low": value - 0.028, "high": value + 0.027, "n": n}


def benchmark(accuracy: float, *, paired: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "n": 1000, "accuracy": interval(accuracy), "maj@8": interval(accuracy + 0.0123), "parse_rate": 0.987,
        "truncation_rate": 0.004, "blind": interval(0.312), "kinds": {"count": interval(0.4567, n=260)},
        "paired": paired,
    }  # fmt: skip


def change(
    difference: float, low: float, high: float, *, verdict: str, p_value: float = 0.0004
) -> dict[str, Any]:
    return {"difference": difference, "low": low, "high": high, "p_value": p_value, "verdict": verdict,
            "gained": 83, "lost": 29, "n": 1000, "minimum_detectable": 0.02}  # fmt: skip


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


@pytest.fixture
def run(tmp_path: Path) -> Path:
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
    better = change(0.0541, 0.0332, 0.0749, verdict="better")
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


def test_hostile_text_stays_text(run: Path) -> None:
    html, tags = page_of(run)
    assert html.count("<script") == 3  # the figures' data, plotly, and our own
    assert "<script>alert" not in html
    assert "49" not in re.findall(r"alert\(3\)[^<]{0,12}", html)[0]
    assert ATTACK in tags.text
    allowed = {"src", "alt", "loading", "width"}
    assert all(set(attributes) <= allowed for tag, attributes in tags.found if tag == "img")
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    assert not any(tag == "b" for tag, _ in tags.found)


def test_hostile_names_cannot_leave_the_figures_data(run: Path) -> None:
    path = run / "iteration-0/evaluation/summary.json"
    figures = json.loads(path.read_text())["benchmarks"]["pocket-dusk"]
    figures["maj@</script><script>alert(1)</script>"] = figures.pop("maj@8")
    write_json(path, {"benchmarks": {ATTACK: figures}})
    html, tags = page_of(run)
    assert html.count("<script") == 3
    data = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    assert data is not None and "maj@</script><script>alert(1)</script>" in str(json.loads(data[1]))
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)


def test_nothing_is_fetched(run: Path) -> None:
    html, tags = page_of(run)
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(http|//)", html)
    assert "@import" not in html and "url(" not in html
    assert not any(tag in {"link", "iframe", "object", "base"} for tag, _ in tags.found)
    assert all(a["src"].startswith("data:image/") for tag, a in tags.found if tag == "img" and a["src"])
    [policy] = [a["content"] for tag, a in tags.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.count("'sha256-") == 2


def test_figures_in_the_page_are_those_of_the_files(run: Path) -> None:
    _, tags = page_of(run)
    text = " ".join(tags.text.replace("\u00a0", " ").split())
    for expected in (
        "65.1 % (62.3–67.8)",  # noqa: RUF001 - base
        "70.4 % (67.6–73.1)",  # noqa: RUF001 - iteration 1
        "71.7 % (68.9–74.4)",  # noqa: RUF001 - its majority vote
        "+5.4 (+3.3 to +7.5)",
        "Iteration 1 is better than the base by +5.4 points (95 % interval +3.3 to +7.5).",
        "Of 1 000 questions 83 went from wrong to right and 29 from right to wrong (p < 0.001, exact",
        "31.2 %", "98.7 %", "0.4 %", "45.7 %",
        "1 200 (97.2 %)", "1 100 (91.7 %)", "345", "222 (18.0 %)", "67.9 % (65.1–70.6)",  # noqa: RUF001
        "400 (32.4 %)",
        "4 of 4 questions on 2 pictures",
    ):  # fmt: skip
        assert expected in text, expected


def test_samples_show_votes_outcome_and_truth(run: Path) -> None:
    html, tags = page_of(run)
    assert [t for t, _ in tags.found].count("article") == 2
    assert html.count('src="data:image/jpeg;base64,') == 3  # two pictures, one of them again beside an answer
    for expected in (
        "silver answer is true", "silver answer is false; true: 3", "cannot be answered", "(not readable)",
        "rejected: confidence too high", "no question block", "4/8", "3/8", "1/8",
    ):  # fmt: skip
        assert expected in tags.text, expected
    outcomes = [a["data-outcome"] for _, a in tags.found if "data-outcome" in a]
    assert sorted(str(o) for o in outcomes) == [
        "confidence too high", "kept", "kept", "not a well-formed question",
    ]  # fmt: skip
    assert all(a.get("data-filter") for tag, a in tags.found if tag in {"select", "input"})


def test_synthetic_results_say_so(run: Path) -> None:
    _, tags = page_of(run)
    assert "Synthetic. Pictures and questions belong to the pocket world" in tags.text
    assert "pocket-dusk (synthetic)" in tags.text
    (run / "iteration-1/curation/summary.json").unlink()  # no known truth: pictures of another sort
    _, tags = page_of(run)
    assert "Synthetic. The pocket model has been taught on drawn shapes only." in tags.text


def test_alarms_are_shown_as_text(run: Path) -> None:
    write_json(run / "iteration-1/health/alarms.json", {"alarms": [f"valid is 0.1 {ATTACK}"]})
    page = write_report(run).read_text()
    assert "<strong>Alarm, iteration 1.</strong> valid is 0.1 &lt;/script&gt;" in page
    assert ATTACK not in page


def test_a_run_that_has_only_begun_renders(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("iterations: 3\n")
    _, tags = page_of(tmp_path)
    assert "Nothing has been measured yet." in tags.text and "Unfinished." in tags.text


@pytest.mark.parametrize(
    "missing",
    ["metrics.jsonl", "manifest.parquet", "iteration-0/evaluation/summary.json",
     "iteration-1/evaluation/summary.json", "iteration-1/curation/summary.json",
     "iteration-1/curation/candidates.parquet", "iteration-1/reasoner/rollouts.parquet"],
)  # fmt: skip
def test_any_part_may_be_missing(run: Path, missing: str) -> None:
    (run / missing).unlink()
    _, tags = page_of(run)
    assert "Configuration" in tags.text


def test_lost_pictures_leave_their_questions(run: Path) -> None:
    for path in (run.parents[1] / "pictures").iterdir():
        path.unlink()
    _, tags = page_of(run)
    assert "picture not at hand" in tags.text and "How many stars?" in tags.text


def test_pictures_can_be_handed_in(run: Path) -> None:
    html, _ = page_of(run, load_image=lambda key: Image.new("L", (8, 8), 3))
    assert html.count('src="data:image/png;base64,') == 3


def test_a_folder_that_is_no_run_and_a_broken_file_are_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no config\.yaml"):
        write_report(tmp_path / "pictures")
    (run / "iteration-1/curation/summary.json").write_text('{"questions": ')
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        write_report(run)


def test_no_gain_is_claimed_that_the_interval_does_not_carry() -> None:
    for paired in (
        change(0.01, -0.01, 0.03, verdict="can't tell", p_value=0.4),
        change(0.01, -0.01, 0.03, verdict="better", p_value=0.4),  # a file that claims too much
    ):
        [line] = headlines({0: {"x": benchmark(0.6)}, 1: {"x": benchmark(0.61, paired=paired)}})
        assert line.verdict == "can't tell"
        assert line.sentence.startswith("These questions cannot tell iteration 1 from the base")
    [line] = headlines({0: {"x": benchmark(0.6)}})
    assert (line.verdict, line.sentence) == ("", "Only the base has been measured so far.")


def test_holm_weakens_a_verdict_among_several_benchmarks() -> None:
    close = change(0.02, 0.001, 0.04, verdict="better", p_value=0.03)
    open_ = change(0.0, -0.02, 0.02, verdict="can't tell", p_value=0.9)
    lines = headlines({0: {}, 2: {"x": benchmark(0.6, paired=close), "y": benchmark(0.6, paired=open_)}})
    assert lines[0].p_adjusted == pytest.approx(0.06)
    assert "weakens this to p = 0.060" in lines[0].sentence


def test_words_for_figures() -> None:
    assert points(-0.0421) == "\u22124.2"
    assert points(0.0004) == "\u00b10.0"
    assert estimate(None) == "\u2014"
    assert estimate({"value": 0.5, "low": 0.4, "high": 0.6}) == "50.0\u00a0% (40.0\u201360.0)"
    assert difference({"difference": 0.1, "low": -0.05, "high": 0.25}) == "+10.0 (\u22125.0 to +25.0)"
    assert [quantity(v) for v in (12345, 0.123456, -2.0, None)] == [
        "12\u202f345",
        "0.1235",
        "\u22122",
        "\u2014",
    ]


def test_rare_outcomes_are_shown_beside_common_ones(run: Path) -> None:
    rows = [candidate(f"{i % 60:064x}", f"question {i}") for i in range(900)]
    rows[700] |= {"kept": False, "reject_reason": "asked before"}
    write_rows(run / "iteration-1/curation/candidates.parquet", rows)
    shown = choose_questions(read_story(run))
    assert len(shown) <= 48
    assert sum(len(s.asked) for s in shown) == 240
    assert "asked before" in {q.outcome for s in shown for q in s.asked}


def test_one_answer_per_vote_is_counted_too(run: Path) -> None:
    row = candidate("a" * 64, "How many?", answers=["2", "3", "2", None])
    for column in ("shares", "samples", "parsed"):
        del row[column]
    write_rows(run / "iteration-1/curation/candidates.parquet", [row])
    [item] = choose_questions(read_story(run))[0].asked
    assert [(b.answer, b.share, b.silver) for b in item.ballots] == [
        ("2", 0.5, True), ("3", 0.25, False), (None, 0.25, False),
    ]  # fmt: skip
    assert item.votes == 4


def test_the_page_holds_a_bounded_number_of_pictures(run: Path) -> None:
    rows = [candidate(f"{i % 60:064x}", f"question {i}") for i in range(120)]
    write_rows(run / "iteration-1/curation/candidates.parquet", rows)
    shown = choose_questions(read_story(run))
    assert [len(s.asked) for s in shown] == [2] * 48
