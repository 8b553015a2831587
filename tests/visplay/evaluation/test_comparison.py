"""Comparing stored samples: verdicts by hand, what is left out, other tools' logs, the page."""

import json
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rollouts.engine import AdapterVersion, Prompt, Sampling, image_id
from tests.visplay.evaluation.asked import items, reasoner
from tests.visplay.report.chromium import chromium, needs_chromium
from visplay.cli.printing import print_comparison
from visplay.errors import EvaluationError
from visplay.evaluation.benchmarks import load_benchmark
from visplay.evaluation.comparison import compare, find_side
from visplay.evaluation.records import read_records, write_records
from visplay.evaluation.sampling import evaluate_items
from visplay.evaluation.statistics import judged
from visplay.report.comparison import render_comparison

GREEDY = Sampling(temperature=0, max_tokens=2000)
ATTACK = "</pre><script>alert('x')</script><img src=x onerror=alert(1)>{{ 7*7 }}"


def evaluation(folder: Path, right: Sequence[bool], *, benchmark: str = "b", said: str = "") -> Path:
    """A folder as `visplay evaluate` writes it, whose answers are right where `right` says so."""

    def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        number = int(prompt.key[1:])
        return [f"{said} \\boxed{{{number % 3 if right[number] else 'no'}}}"]

    own = folder / benchmark
    own.mkdir(parents=True)
    (folder / "pictures").mkdir(exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps({"name": folder.name}))
    evaluate_items(
        reasoner(script), items(len(right)), benchmark=benchmark, sampling=GREEDY,
        path=own / "greedy.jsonl", pictures=folder / "pictures",
    )  # fmt: skip
    return folder


def test_a_clear_gain_is_better_and_its_mirror_worse(tmp_path: Path) -> None:
    before = evaluation(tmp_path / "old", [i % 2 == 0 for i in range(200)])
    after = evaluation(tmp_path / "new", [i % 2 == 0 or i < 60 for i in range(200)])
    (one,) = compare(find_side(str(before)), find_side(str(after)))
    assert one.paired is not None and one.before is not None and one.after is not None
    assert (one.word, one.n, len(one.gained), one.lost) == ("better", 200, 30, [])
    assert (one.before.value, one.after.value, one.paired.difference) == (0.5, 0.65, pytest.approx(0.15))
    assert one.gained[0] == "q1"
    assert compare(find_side(str(after)), find_side(str(before)))[0].word == "worse"
    assert compare(find_side(str(before)), find_side(str(before)))[0].word == "can't tell"


def test_holm_takes_back_a_verdict_that_stands_among_many(tmp_path: Path) -> None:
    # Seven gained and none lost: p = 2 / 128 = 0.0156 alone, 0.0625 among four benchmarks.
    for name in ("a", "b", "c", "d"):
        gain = 7 if name == "a" else 0
        evaluation(tmp_path / f"old-{name}", [i >= 60 for i in range(120)], benchmark=name)
        evaluation(
            tmp_path / f"new-{name}",
            [i >= 60 or i in range(0, 2 * gain, 2) for i in range(120)],
            benchmark=name,
        )
        for side in ("old", "new"):
            (tmp_path / side).mkdir(exist_ok=True)
            (tmp_path / side / "evaluation.json").write_text("{}")
            (tmp_path / f"{side}-{name}" / name).rename(tmp_path / side / name)
    found = compare(find_side(str(tmp_path / "old")), find_side(str(tmp_path / "new")))
    first = found[0]
    assert first.paired is not None and first.paired.p_value == pytest.approx(2 / 128)
    assert first.verdict is not None and judged([first.paired])[0].word == "better"
    assert first.verdict.p == pytest.approx(4 * 2 / 128) and first.word == "can't tell"


def change(folder: Path, edit: Any) -> None:
    path = folder / "b" / "greedy.jsonl"
    write_records(path, [edit(i, record) for i, record in enumerate(list(read_records(path)))])


def test_failed_rows_are_in_no_comparison_and_too_many_stop_it(tmp_path: Path) -> None:
    before = evaluation(tmp_path / "old", [True] * 200)
    after = evaluation(tmp_path / "new", [True] * 200)
    lost = {"status": "engine_error", "score": None, "correct": False}
    change(after, lambda i, r: {**r, **lost} if i == 7 else r)
    (one,) = compare(find_side(str(before)), find_side(str(after)))
    assert (one.n, one.left_out, one.withheld) == (199, {"failed on one side": 1}, "")
    assert one.after is not None and one.after.value == 1.0
    change(after, lambda i, r: {**r, **lost} if i < 3 else r)
    (one,) = compare(find_side(str(before)), find_side(str(after)))
    assert one.paired is None and one.word == "can't tell"
    assert one.withheld == "4 of 200 rows failed on one side; 99% must count"


def test_rows_that_are_not_the_same_are_not_compared(tmp_path: Path) -> None:
    before = evaluation(tmp_path / "old", [True] * 100)
    after = evaluation(tmp_path / "new", [True] * 90)
    gold = {"rule": "text", "answers": ["another"]}
    change(after, lambda i, r: {**r, "gold": gold} if i < 3 else {**r, "question": "another"} if i < 5 else r)
    (one,) = compare(find_side(str(before)), find_side(str(after)))
    assert one.n == 85 and one.left_out == {
        "another question or gold answer": 5,
        "on the first side only": 10,
    }
    evaluation(tmp_path / "other", [True] * 4, benchmark="z")
    with pytest.raises(EvaluationError, match="no benchmark in common"):
        compare(find_side(str(before)), find_side(str(tmp_path / "other")))


def test_what_has_no_samples_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no stored samples"):
        find_side(str(tmp_path))


def test_the_page_shows_what_changed_escapes_everything_and_fetches_nothing(tmp_path: Path) -> None:
    before = evaluation(tmp_path / "old", [i % 2 == 0 for i in range(60)], said=ATTACK)
    after = evaluation(tmp_path / "new", [i % 2 == 0 or i < 20 for i in range(60)], said="fine")
    change(before, lambda i, r: {**r, "question": ATTACK, "answer": ATTACK})
    change(after, lambda i, r: {**r, "question": ATTACK})
    sides = find_side(str(before)), find_side(str(after))
    text = render_comparison(*sides, compare(*sides))
    without_scripts = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "onerror=alert" in unescape(without_scripts) and "<img src=x" not in text
    assert "alert('x')</script>" not in text and "{{ 7*7 }}" in unescape(without_scripts)
    assert (
        text.count('<article class="sample"') == 10 and without_scripts.count("data:image/png;base64") == 10
    )
    assert not re.search(r'(?:src|href)="(?!data:|#)', without_scripts)
    assert "default-src 'none'" in unescape(text) and "10 changed from wrong to right" in without_scripts
    specs = json.loads(re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)[1])
    assert specs["forest"]["data"][0]["x"] == [pytest.approx(100 * 10 / 60)]


@pytest.mark.slow
@needs_chromium
def test_the_page_filters_and_runs_nothing_hostile_in_a_browser(tmp_path: Path) -> None:
    before = evaluation(tmp_path / "old", [i % 2 == 0 for i in range(60)], said=ATTACK)
    after = evaluation(tmp_path / "new", [i == 3 or (i % 2 == 0 and i > 8) for i in range(60)], said=ATTACK)
    sides = find_side(str(before)), find_side(str(after))
    page = tmp_path / "page.html"
    page.write_text(render_comparison(*sides, compare(*sides)))
    with chromium(tmp_path / "profile") as browser:
        tab = browser.tab()
        tab.go(page.as_uri())
        counted = "document.getElementById('count').textContent"
        assert tab.run(counted) == "6 of the 6 questions shown here"
        for direction, count in (("gained", 1), ("lost", 5), ("", 6)):
            tab.run(f"document.querySelector('[data-filter=direction]').value = {direction!r}")
            tab.run("document.querySelector('.filter').dispatchEvent(new Event('input'))")
            assert tab.run(counted) == f"{count} of the 6 questions shown here"
            assert (
                tab.run("[...document.querySelectorAll('.sample')].filter((one) => !one.hidden).length")
                == count
            )
        assert tab.alerts == tab.errors == []
        assert {url.split(":")[0] for url in tab.requests} <= {"about", "file", "data"}


def test_printed_lines_say_verdict_and_parts(tmp_path: Path) -> None:
    before = evaluation(tmp_path / "old", [False] * 60)
    after = evaluation(tmp_path / "new", [i < 30 for i in range(60)])
    console = Console(record=True, width=200)
    sides = find_side(str(before)), find_side(str(after))
    print_comparison("old", "new", compare(*sides), console)
    text = console.export_text()
    assert "better" in text and "+50.0 (+" in text and "30 to right, 0 to wrong" in text
    assert "of +50.0 points \u00b10.0 come from answers cut off" in text


def test_pictures_come_from_shipped_benchmarks_and_from_nowhere_else(tmp_path: Path) -> None:
    (item, *_) = load_benchmark("pocket-dusk", limit=2, seed=0)
    shown = {"item": item.key, "benchmark": "pocket-dusk", "pictures": [image_id(item.images()[0])]}
    folder = evaluation(tmp_path / "run", [True] * 4, benchmark="pocket-dusk")
    about = {"name": "run", "limit": 2, "seed": 0, "split": "held-out", "sources": {}}
    (folder / "evaluation.json").write_text(json.dumps(about))
    found = find_side(str(folder)).picture(shown)
    assert found is not None and found.tobytes() == item.images()[0].tobytes()
    assert find_side(str(folder)).picture({**shown, "pictures": ["0" * 64]}) is None  # another picture
    assert find_side(str(folder)).picture({**shown, "benchmark": "own"}) is None
    (folder / "evaluation.json").write_text("{}")
    assert find_side(str(folder)).picture(shown) is None


def test_a_page_without_pictures_is_written_all_the_same(tmp_path: Path) -> None:
    before = evaluation(tmp_path / "old", [False] * 20)
    after = evaluation(tmp_path / "new", [True] * 20)
    for folder in (before, after):
        change(folder, lambda i, r: {**r, "pictures": ["../../etc/passwd"]})
    sides = find_side(str(before)), find_side(str(after))
    assert "picture not available" in render_comparison(*sides, compare(*sides))
