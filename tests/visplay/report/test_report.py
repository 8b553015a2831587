"""The report of a small made-up run: nothing hostile runs, nothing is fetched, every figure is the file's."""

import json
import re
import shutil
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tests.visplay.evaluation.test_comparison import evaluation
from tests.visplay.report.small_run import (
    ATTACK,
    benchmark,
    change,
    interval,
    page_of,
    rollouts_of,
    write_json,
    write_small_run,
)
from visplay.config.sections import LIMITS
from visplay.errors import CorruptArtifact, RunError
from visplay.evaluation.verdict import difference, estimate, headlines, points, quantity
from visplay.loop import alarms
from visplay.report import write_report
from visplay.report.figures import health_figures
from visplay.report.reading import read_run_data


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_small_run(tmp_path)


def test_hostile_text_stays_text(run: Path) -> None:
    html, tags = page_of(run)
    assert html.count("<script") == 6  # two blocks of data, plotly, and our three
    assert "<script>alert" not in html
    assert ATTACK in {question.get("question") for question in rollouts_of(html)["questions"]}
    allowed = {"src", "alt", "loading", "width"}
    assert all(set(attributes) <= allowed for tag, attributes in tags.found if tag == "img")
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    assert not any(tag == "b" for tag, _ in tags.found)


def test_hostile_names_cannot_leave_the_figures_data(run: Path) -> None:
    path = run / "iteration-0/evaluation/summary.json"
    figures = json.loads(path.read_text())["benchmarks"]["pocket-dusk"]
    name = "</script><script>alert(1)</script>"
    figures["sampled"] |= {"samples": name, f"maj@{name}": figures["sampled"].pop("maj@8")}
    write_json(path, {"benchmarks": {ATTACK: figures}})
    html, tags = page_of(run)
    assert html.count("<script") == 6
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
    assert policy.count("'sha256-") == 4
    assert "connect-src" not in policy


def test_figures_in_the_page_are_those_of_the_files(run: Path) -> None:
    _, tags = page_of(run)
    text = " ".join(tags.text.replace("\u00a0", " ").split())
    for expected in (
        "65.1 % (62.3–67.8)",  # noqa: RUF001 - base
        "70.4 % (67.6–73.1)",  # noqa: RUF001 - iteration 1
        "71.7 % (68.9–74.4) maj@8 of 300",  # noqa: RUF001 - its majority vote
        "+5.4 (+3.3 to +7.5)",
        "Self-play helped on pocket-dusk: +5.4 points [+3.3, +7.5]",
        "67.9 % of the silver answers kept for training were right in iteration 1 (n = 222; truth is known"
        " here), so its labels are mostly right.",
        "Iteration 1 is better than the base by +5.4 points (95 % interval +3.3 to +7.5; p < 0.001",
        "Among 1 000 questions, 83 changed from wrong to right and 29 from right to wrong.",
        "31.2 %", "98.7 %", "0.4 %", "45.7 %",
        "1 200 (97.2 %)", "1 100 (91.7 %)", "345", "222 (18.0 %)", "67.9 % (65.1–70.6)",  # noqa: RUF001
        "400 (32.4 %)",
        "All 5 rollouts: 5 questions on 2 pictures",
    ):  # fmt: skip
        assert expected in text, expected


def test_synthetic_results_say_so(run: Path) -> None:
    _, tags = page_of(run)
    assert "Synthetic. The pictures and questions belong to the pocket world" in tags.text
    assert "pocket-dusk (synthetic)" in tags.text
    (run / "iteration-1/curation/summary.json").unlink()  # no known truth: pictures of another sort
    _, tags = page_of(run)
    assert "Synthetic. The pocket model was trained on drawn shapes only." in tags.text


def test_a_curation_that_stopped_when_enough_was_kept_says_so(run: Path) -> None:
    said = "stops when it has kept curation.margin times"
    summary = run / "iteration-1/curation/summary.json"
    labels = json.loads(summary.read_text())
    for pictures in ({}, {"pictures": 30, "pool": 30}, {"pictures": 30, "pool": None}):
        write_json(summary, labels | pictures)
        assert said not in page_of(run)[1].text
    write_json(summary, labels | {"pictures": 128, "pool": 50_000})
    _, tags = page_of(run)
    assert said in tags.text and "128 of 50\u202f000" in tags.text


@pytest.mark.parametrize("method", ["paper", "steady"])
def test_the_page_names_the_method(run: Path, method: str) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "method": method}))
    assert f"<span>method</span> {method}" in write_report(run).read_text()


def test_alarms_are_shown_as_text(run: Path) -> None:
    write_json(run / "iteration-1/health/alarms.json", {"alarms": [f"valid is 0.1 {ATTACK}", "\ud800|\0"]})
    page = write_report(run).read_text()
    assert "<strong>Alarm, iteration 1.</strong> valid is 0.1 &lt;/script&gt;" in page
    assert ATTACK not in page and "\ufffd|\ufffd" in page


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
    rollouts = rollouts_of(page_of(run)[0])
    assert {picture["data"] for picture in rollouts["pictures"]} == {""}
    assert "How many stars?" in {q.get("question") for q in rollouts["questions"]}


def test_pictures_can_be_handed_in(run: Path) -> None:
    html, _ = page_of(run, load_image=lambda key: Image.new("L", (8, 8), 3))
    assert html.count("data:image/png;base64,") == 2


def test_a_folder_that_is_no_run_and_a_broken_file_are_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no config\.yaml"):
        write_report(tmp_path / "pictures")
    (run / "iteration-1/curation/summary.json").write_text('{"questions": ')
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        write_report(run)


def test_no_gain_is_claimed_that_the_interval_does_not_carry() -> None:
    for paired in (change(0.01, -0.01, 0.03, p_value=0.4), change(0.01, -0.01, 0.03, p_value=1e-9)):
        [line] = headlines({0: {"x": benchmark(0.6)}, 1: {"x": benchmark(0.61, paired=paired)}})
        assert line.verdict == "can't tell"
        assert line.sentence.startswith("Iteration 1 does not differ significantly from the base")
    [line] = headlines({0: {"x": benchmark(0.6)}})
    assert (line.verdict, line.sentence) == ("", "Only the base has been measured so far.")


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


def write_health(run: Path, *rows: dict[str, Any], limits: str = "{}") -> None:
    text = "".join(
        json.dumps({"iteration": i, "phase": "health"} | row) + "\n" for i, row in enumerate(rows, start=1)
    )
    (run / "metrics.jsonl").write_text(text)
    config = run / "config.yaml"
    config.write_text(config.read_text() + f"health: {{limits: {limits}}}\n")


def test_health_figures_have_limit_status_and_chart_whatever_they_are_called(run: Path) -> None:
    rows = [
        {"valid": (0.3, 0.9)[i - 1], "brand_new": 3.5 * i, "kl": None, "words": "none", "truncated": 0.75,
         "judged": {"value": 0.5, "low": 0.4, "high": 0.7}, "alarms": 2} for i in (1, 2)
    ]  # fmt: skip
    write_health(run, *rows, limits="{valid: 0.4, no_spread: null}")
    valid, truncated, brand_new, judged = health_figures(read_run_data(run))
    assert (valid.name, valid.limit, valid.at_most, valid.beyond) == ("valid", 0.4, False, [1])
    assert (truncated.name, truncated.limit, truncated.at_most) == ("truncated", 0.5, True)
    assert truncated.beyond == [1, 2]
    assert [(d["x"], d["y"]) for d in valid.spec["data"]] == [(["1", "2"], [0.3, 0.9])]
    assert [shape["y0"] for shape in valid.spec["layout"]["shapes"]] == [0.4]
    assert (brand_new.name, brand_new.limit, brand_new.beyond) == ("brand_new", None, [])
    assert brand_new.spec["data"][0]["y"] == [3.5, 7.0] and "shapes" not in brand_new.spec["layout"]
    assert judged.spec["data"][0]["error_y"]["array"] == pytest.approx([0.2, 0.2])
    html, tags = page_of(run)
    text = " ".join(tags.text.split())
    assert "2 of 2 figures were beyond the limit." in text and "2 figures without a limit" in text
    assert "valid 0.9 at least 0.4 ok alarm in 1 Questions in the right format" in text
    assert "truncated 0.75 at most 0.5 alarm Training completions cut off" in text
    assert "brand new 7 none no limit" in text
    assert 'role="img" aria-label="valid by iteration: 0.3, 0.9"' in html
    drawn = re.search(r'<svg[^>]* aria-label="valid by iteration.*?</svg>', html, re.DOTALL)
    assert drawn is not None and re.findall(r"[MV]?[\d.]+,[\d.]+", drawn[0]) == ["4.0,17.0", "76.0,3.0"]


def test_every_health_figure_has_a_meaning_of_one_line() -> None:
    source = files("visplay.report").joinpath("health.html").read_text(encoding="utf-8")
    meanings = dict(re.findall(r'^  "(\w+)": "(.+)",$', source, re.MULTILINE))
    folder = Path("missing")
    known = {*LIMITS, *alarms._OF_ANSWERS, "questioner_tokens", "reasoner_tokens"}
    known |= {*alarms._question_figures(folder), *alarms._training_figures(folder)}
    assert known == set(meanings)
    assert max(map(len, meanings.values())) <= 50


@pytest.mark.parametrize(
    ("changes", "labels", "expected"),
    [
        ({"a": (0.194, 0.15, 0.24, 1e-6)}, (0.74, 0.70, 0.78),
         "+19.4 points on a; 74.0 % of the labels right."),
        ({"a": (-0.05, -0.08, -0.02, 1e-4)}, (0.47, 0.40, 0.56),
         "\u22125.0 points on a; only 47.0 % of the labels right, so do not trust them."),
        ({"a": (0.018, -0.025, 0.056, 0.4)}, None,
         "Inconclusive: +1.8 points on a may be chance; the labels could not be checked (no ground truth)."),
        ({"a": (0.1, 0.05, 0.15, 1e-6), "b": (0.01, -0.03, 0.05, 0.6)}, (0.74, 0.70, 0.78),
         "+10.0 points on a, inconclusive on b; 74.0 % of the labels right."),
        ({"a": (0.01, -0.03, 0.05, 0.6), "b": (0.02, -0.03, 0.05, 0.6)}, (0.74, 0.70, 0.78),
         "Inconclusive: +1.0 points on a and +2.0 points on b may be chance; 74.0 % of the labels right."),
        ({"a": (0.1, 0.05, 0.15, 1e-6), "b": (0.01, -0.03, 0.05, 0.6), "c": (-0.1, -0.15, -0.05, 1e-6)}, None,
         "Better on 1, worse on 1, inconclusive on 1 of 3 benchmarks; the labels could not be checked"
         " (no ground truth)."),
        ({}, (0.74, 0.70, 0.78), "Nothing is measured yet; 74.0 % of the labels right."),
    ],
)  # fmt: skip
def test_one_line_says_what_happened_and_whether_labels_can_be_trusted(
    run: Path, changes: dict[str, tuple[float, float, float, float]], labels: Any, expected: str
) -> None:
    base = {name: benchmark(0.6) for name in changes}
    last = {
        name: benchmark(0.6 + d, paired=change(d, low, high, p_value=p))
        for name, (d, low, high, p) in changes.items()
    }
    for i, figures in enumerate((base, last)):
        write_json(run / f"iteration-{i}/evaluation/summary.json", {"benchmarks": figures})
    summary = run / "iteration-1/curation/summary.json"
    kept = labels and {"kept": dict(zip(("value", "low", "high"), labels, strict=True)) | {"n": 222}}
    write_json(
        summary, json.loads(summary.read_text()) | {"silver_accuracy": kept and kept | {"rejected": None}}
    )
    html, _ = page_of(run)
    lead = re.search(r'<p class="lead">(.*?)</p>', html, re.DOTALL)
    assert lead is not None and unescape(lead[1]).replace("\u00a0", " ") == expected


def test_a_run_that_has_measured_only_its_base_says_so(run: Path) -> None:
    for part in ("evaluation", "curation"):
        (run / f"iteration-1/{part}/summary.json").unlink()
    assert '<p class="lead">Only the base is measured so far; no labels yet.</p>' in page_of(run)[0]


def test_kinds_show_their_change_with_its_sign(run: Path) -> None:
    values = {"count": (0.4, 0.6), "exists": (0.85, 0.72), "color": (0.5, 0.51), "same": (0.5, 0.5)}
    for i in (0, 1):
        path = run / f"iteration-{i}/evaluation/summary.json"
        figures = json.loads(path.read_text())
        kinds = {kind: interval(pair[i], n=260) for kind, pair in values.items()}
        figures["benchmarks"]["pocket-dusk"]["groups"]["kind"] = kinds | ({"new": interval(0.5)} if i else {})
        write_json(path, figures)
    html, _ = page_of(run)
    assert re.findall(r'<span class="change ([^"]*)">([^<]*)<', html) == [
        ("good clear", "+20.0"), ("bad clear", "\u221213.0"), ("good", "+1.0"), ("", "±0.0")]  # fmt: skip
    assert "<td>—</td>" in html  # the base had none of this kind


def test_the_page_says_if_kept_labels_are_no_better_than_rejected_ones(run: Path) -> None:
    summary = run / "iteration-1/curation/summary.json"
    labels = json.loads(summary.read_text())
    for rejected, said in ((0.66, "not clearly better"), (0.8, "less often right"), (0.4, None)):
        silver = {"kept": interval(0.68), "rejected": interval(rejected)}
        write_json(summary, labels | {"silver_accuracy": silver})
        text = page_of(run)[1].text
        assert (said in text) if said else ("In iteration 1 the kept labels" not in text)


def test_what_was_changed_on_the_way_is_told_as_text(run: Path) -> None:
    row = {"after": "iteration-1/curation", "key": "engine.backend", "before": "hf", "now": "<b>vllm"}
    (run / "changes.jsonl").write_text(json.dumps(row) + "\n")
    html = write_report(run).read_text()
    assert "Changed after iteration-1/curation." in html
    assert "engine.backend: hf → &lt;b&gt;vllm" in html


def test_benchmark_questions_that_changed_are_shown_in_both_directions(run: Path) -> None:
    assert "Which benchmark questions changed?" not in page_of(run)[0]  # no answers are stored
    for iteration, right in ((0, [i < 20 for i in range(40)]), (1, [i >= 3 for i in range(40)])):
        evaluation(run / f"iteration-{iteration}/evaluation", right, benchmark="own", said=ATTACK)
    html, tags = page_of(run)
    assert "From wrong to right: 12 shown" in html and "From right to wrong: 3 shown" in html
    flips = [attrs for tag, attrs in tags.found if "data-direction" in attrs]
    assert [flip["data-direction"] for flip in flips] == ["gained"] * 12 + ["lost"] * 3
    shown = [attrs for tag, attrs in tags.found if tag == "img" and "Picture of q" in (attrs["alt"] or "")]
    assert len(shown) == 15 and all((attrs["src"] or "").startswith("data:image/") for attrs in shown)
    assert "before: wrong" in tags.text and "after: right" in tags.text and "gold: 2" in tags.text
    assert "alert(1)</script><img" not in html and ATTACK in tags.text
    for part in ("own/greedy.jsonl", "evaluation.json"):  # any part may be missing
        (run / "iteration-0/evaluation" / part).unlink()
        assert "Which benchmark questions changed?" not in page_of(run)[0]


def test_no_picture_is_fetched_for_the_page_of_a_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visplay.evaluation.items.hub_table", lambda *_, **__: pytest.fail("asked the hub"))
    for iteration, right in ((0, [False]), (1, [True])):
        folder = evaluation(run / f"iteration-{iteration}/evaluation", right, benchmark="mmstar")
        about = {"sources": {}, "limit": 1, "seed": 0, "split": "held-out"}
        (folder / "evaluation.json").write_text(json.dumps(about))
        shutil.rmtree(folder / "pictures")
    assert "picture not available" in page_of(run)[0]
