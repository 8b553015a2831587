"""The page in a real browser, from disk, with 10,000 rollouts that are full of attacks."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.visplay.report.chromium import Browser, Tab, chromium, needs_chromium
from tests.visplay.report.many_rollouts import HOSTILE, rows_of, write_run
from visplay.report import write_report

pytestmark = [needs_chromium, pytest.mark.slow]
Row = dict[str, Any]
Fits = Callable[[Row], bool]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "runs" / "many"
    write_run(folder)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """An empty page."""
    opened = browser.tab()
    yield opened
    opened.close()
    assert opened.errors == [], "the page's own scripts and its policy leave nothing to complain about"


@pytest.fixture(scope="module")
def report(browser: Browser, run: Path) -> Tab:
    """The report, opened once for the tests that only look at it."""
    opened = browser.tab()
    opened.go(address(run))
    return opened


@pytest.fixture(scope="module")
def rows(run: Path) -> list[Row]:
    return rows_of(run)


def address(run: Path, **filters: str) -> str:
    return (run / "report.html").as_uri() + ("#samples?" + urlencode(filters) if filters else "")


def count(tab: Tab) -> int:
    return int(tab.run("document.getElementById('count').textContent.split(' ')[0]"))


def choose(tab: Tab, name: str, value: str) -> None:
    tab.run(
        f"(() => {{ const control = document.querySelector('[data-filter={name}]');"
        f" control.value = {json.dumps(value)};"
        " control.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )


def clear(tab: Tab, rows: list[Row]) -> None:
    tab.run("document.querySelector('.filter button[type=reset]').click()")
    tab.wait_for(f"document.getElementById('count').textContent.startsWith('{len(rows)} of {len(rows)} ')")


def test_no_script_runs_and_nothing_is_asked_of_a_network(tab: Tab, run: Path) -> None:
    tab.go(address(run))
    for text in HOSTILE[:-1]:
        choose(tab, "text", text[:60].replace("\x00", "").strip())
        tab.run("document.querySelectorAll('#questions details').forEach((part) => { part.open = true; })")
        tab.run("new Promise((done) => setTimeout(done, 30))")
    choose(tab, "text", "")
    tab.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    tab.run("window.scrollTo(0, document.body.scrollHeight)")
    tab.run("new Promise((done) => setTimeout(done, 300))")
    assert tab.alerts == []
    assert tab.run("window.hit === undefined")
    assert tab.run("document.querySelector('iframe, svg[onload], b, [onclick], [onerror]') === null")
    assert {url.split(":")[0] for url in tab.requests} <= {"about", "file", "data"}
    assert [url for url in tab.requests if url.startswith("file:")] == [address(run)]
    assert tab.run("[...document.querySelectorAll('img')].every((one) => one.src.startsWith('data:image/'))")


def test_names_in_charts_are_names(report: Tab) -> None:
    report.run("window.dispatchEvent(new Event('beforeprint'))")  # draws all
    assert report.run("document.querySelectorAll('.chart .main-svg').length") > 20
    legends = report.run("[...document.querySelectorAll('.chart .legendtext')].map((one) => one.textContent)")
    assert f"maj@{HOSTILE[7]}" in legends
    assert report.run("document.querySelectorAll('.chart a').length") == 0


def test_hostile_text_is_shown_as_it_was_written(report: Tab) -> None:
    choose(report, "text", HOSTILE[0])
    assert count(report) > 0
    assert report.run(f"document.getElementById('questions').textContent.includes({json.dumps(HOSTILE[0])})")
    written = (
        "[...document.querySelectorAll('#questions :is(.text, .ballots li > :first-child, pre, .file)')]"
    )
    assert report.run(f"{written}.every((one) => one.dir === 'auto')")  # a turned text turns no neighbour


ONE_OF_MANY: dict[str, Callable[[Row], Any]] = {
    "iteration": lambda row: str(row["iteration"]),
    "phase": lambda row: row["phase"],
    "type": lambda row: row["type"] or None,
    "outcome": lambda row: None if row["phase"] != "curation" else row["reject_reason"] or "kept",
    "judged": lambda row: None if not row["valid"] else "unanswerable" if row["truth"] is None
    else "true" if row["truth"] == row["silver_answer"] else "false",
    "paid": lambda row: None if row["phase"] != "questioner" else "above 0" if row["reward"] > 0
    else "below 0" if row["reward"] < 0 else "0",
    "answered": lambda row: {(): None, (0,): "none", (0, 1): "some", (1,): "all"}[
        tuple(sorted({a["reward"] for a in row["attempts"]}))
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_OF_MANY)
def test_every_choice_of_a_filter_finds_what_the_files_hold(report: Tab, rows: list[Row], name: str) -> None:
    clear(report, rows)
    select = f"document.querySelector('[data-filter={name}]')"
    values = report.run(f"[...{select}.options].map((one) => one.value)")
    expected = [ONE_OF_MANY[name](row) for row in rows]
    assert set(values) - {""} == set(expected) - {None}
    assert len(values) >= 3
    for value in values[1:]:
        choose(report, name, value)
        assert count(report) == expected.count(value), value
    choose(report, name, "")
    assert count(report) == len(rows)


def test_confidence_text_and_several_filters_at_once(report: Tab, rows: list[Row]) -> None:
    def voted(row: Row) -> bool:
        return bool(row["samples"])

    def said(row: Row, word: str) -> bool:
        own = [row["question"], row["failure"], row.get("completion"), row["silver_answer"], row["truth"]]
        texts = [*own, *row["answers"], *(attempt["completion"] for attempt in row["attempts"])]
        return any(word in text.lower() for text in texts if text)

    asked: list[tuple[dict[str, str], Fits]] = [
        ({"least": "25"}, lambda row: voted(row) and row["confidence"] >= 0.25),
        ({"most": "8.5"}, lambda row: voted(row) and row["confidence"] <= 0.085),
        ({"least": "16", "most": "26"}, lambda row: voted(row) and 0.16 <= row["confidence"] <= 0.26),
        ({"text": "No Question BLOCK"}, lambda row: said(row, "no question block")),
        ({"text": "seven because red"}, lambda row: said(row, "seven because red")),
        (
            {"iteration": "2", "outcome": "kept", "type": "yes/no", "least": "25", "text": "round thing"},
            lambda row: row["iteration"] == 2 and row.get("kept", False) and row["type"] == "yes/no"
            and row["confidence"] >= 0.25 and said(row, "round thing"),
        ),
    ]  # fmt: skip
    for filters, fits in asked:
        clear(report, rows)
        for name, value in filters.items():
            choose(report, name, value)
        found = sum(map(fits, rows))
        assert found > 0 and count(report) == found, filters
    choose(report, "text", "no text is like this")
    assert count(report) == 0 and report.run("!document.getElementById('none').hidden")


def test_filters_stand_in_the_address_and_survive_a_reload(tab: Tab, run: Path) -> None:
    tab.go(address(run, type="yes/no"))
    assert (
        tab.run("Math.abs(document.getElementById('samples').getBoundingClientRect().top)") < 60
    )  # the menu
    choose(tab, "type", "")
    choose(tab, "iteration", "2")
    choose(tab, "phase", "curation")
    tab.run("document.getElementById('more').click()")
    found = count(tab)
    assert "iteration=2" in tab.run("location.hash")
    tab.call("Page.reload")
    tab.wait_for(
        "document.readyState === 'complete' && document.querySelectorAll('.question').length === 100"
    )
    assert count(tab) == found
    assert tab.run("document.querySelector('[data-filter=iteration]').value") == "2"


def test_all_of_it_can_be_done_from_the_keyboard(tab: Tab, run: Path) -> None:
    tab.go(address(run))
    assert tab.run("[...document.querySelectorAll('[tabindex]')].every((one) => one.tabIndex <= 0)")
    tab.run("document.querySelector('.filter select').focus()")
    reached = []
    focused = "document.activeElement"
    for _ in range(16):
        name = f"{focused}.dataset.filter || {focused}.dataset.save || {focused}.type || ''"
        reached.append(tab.run(name))
        tab.key("Tab", code=9)
    assert reached[:14] == [*ONE_OF_MANY, "least", "most", "text", "sort", "reset", "csv", "json"]
    before = count(tab)
    tab.run("document.querySelector('[data-filter=iteration]').focus()")
    tab.key("ArrowDown", code=40)
    assert 0 < count(tab) < before
    tab.run("document.getElementById('more').focus()")
    tab.key("Enter", code=13, text="\r")
    tab.wait_for("document.querySelectorAll('.question').length === 100")
    tab.run("document.querySelector('#questions summary').focus()")
    tab.key("Enter", code=13, text="\r")
    tab.wait_for("document.querySelector('#questions details[open] pre[tabindex=\"0\"]') !== null")
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_questions_are_sorted_and_those_without_the_figure_come_last(report: Tab, rows: list[Row]) -> None:
    confidences = sorted(row["confidence"] for row in rows if row["samples"])
    rewards = sorted(row["reward"] for row in rows if row["phase"] == "questioner")
    for by, name, expected in (
        ("confidence", "confidence", confidences), ("-confidence", "confidence", confidences[::-1]),
        ("reward", "reward", rewards), ("-reward", "reward", rewards[::-1]),
    ):  # fmt: skip
        clear(report, rows)
        choose(report, "sort", by)
        assert count(report) == len(rows)
        assert report.run(f"matching.map((q) => q.{name}).slice(0, {len(expected)})") == expected
        assert "sort=" in report.run("location.hash")
    choose(report, "sort", "-disagreement")
    shown = report.run("matching.filter((q) => q.ballots).map(disagreement)")
    assert shown == sorted(shown, reverse=True)
    assert report.run("document.querySelectorAll('.question').length") == 50
    clear(report, rows)


def test_each_question_has_a_link_that_opens_it(tab: Tab, run: Path) -> None:
    tab.go(address(run, phase="questioner"))
    link = tab.run("document.querySelectorAll('.question a')[7].getAttribute('href')")
    text = tab.run("document.querySelectorAll('.question .text')[7].textContent")
    ids = "data.questions.map(idOf)"
    assert tab.run(f"new Set({ids}).size === data.questions.length")
    tab.go(address(run) + link)
    assert count(tab) == 1 and tab.run("document.querySelector('.question .text').textContent") == text
    assert tab.wait_for("document.querySelector('#questions details[open] pre') !== null")
    top = tab.run("document.querySelector('.sample').getBoundingClientRect().top")
    assert 0 <= top < 100
    assert "Clear" in tab.run("document.getElementById('count').textContent")
    tab.run("document.querySelector('.filter button[type=reset]').click()")
    tab.wait_for("document.getElementById('count').textContent.split(' ')[0] !== '1'")
    assert tab.run("location.hash") == "#samples"
    tab.run("document.querySelectorAll('.question a')[3].click()")  # on the page itself, too
    tab.wait_for("document.querySelectorAll('.question').length === 1")


def saved(tab: Tab, folder: Path, kind: str) -> str:
    tab.run(f"document.querySelector('[data-save={kind}]').click()")
    path = folder / f"questions.{kind}"
    end = time.monotonic() + 30
    while not path.is_file():
        assert time.monotonic() < end, f"{path.name} was not saved"
        time.sleep(0.05)
    return path.read_text(encoding="utf-8-sig")


def test_filtered_questions_are_downloaded_and_no_cell_is_a_formula(
    tab: Tab, run: Path, rows: list[Row], tmp_path: Path
) -> None:
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.go(address(run, iteration="1", phase="questioner", sort="reward"))
    texts = ["=1+1", "+1", "-1", "@x", "  =1", "\t=1", "\uff1d1", 'a "b", c']
    tab.run(
        "data.questions.filter((q) => q.reward !== undefined)"
        f".forEach((q, i) => {{ q.question = {json.dumps(texts)}[i % 8]; }})"
    )
    own = [row for row in rows if row["iteration"] == 1 and row["phase"] == "questioner"]
    table = list(csv.DictReader(io.StringIO(saved(tab, tmp_path, "csv"), newline="")))
    assert [float(row["reward"]) for row in table] == sorted(row["reward"] for row in own)  # numbers stay
    assert min(float(row["reward"]) for row in table) < 0
    assert {row["question"] for row in table} == {f"'{text}" for text in texts[:-1]} | {texts[-1]}
    cells = [cell for row in table for name, cell in row.items() if name != "reward" and cell]
    assert not any(cell.lstrip()[:1] in tuple("=+-@") for cell in cells)
    whole = json.loads(saved(tab, tmp_path, "json"))
    assert [one["id"] for one in whole] == [row["id"] for row in table] and len(whole) == len(own)
    assert {"completion", "ballots", "source", "key", "parts"} <= {name for one in whole for name in one}
    assert tab.alerts == []


def test_a_question_without_reward_says_why(tab: Tab, run: Path) -> None:
    tab.go(address(run, paid="0", shown="9999"))
    reasons = {
        "not a well-formed question": {"reward": 0},
        "rejected before the vote": {"question": "Q", "confidence": 0.5, "parts": {"validity": 0}},
        "all votes agree": {"question": "Q", "confidence": 1, "parts": {"validity": 1, "uncertainty": 0}},
        "no vote could be read": {"question": "Q", "confidence": 0, "parts": {"validity": 1}},
        "the penalty for similar questions outweighs the gain": {
            "question": "Q", "confidence": 0.5,
            "parts": {"validity": 1, "uncertainty": 0.5, "redundancy": 0.6}},
    }  # fmt: skip
    for reason, item in reasons.items():
        assert tab.run(f"whyZero({json.dumps(item)})") == reason
    chips = tab.run("[...document.querySelectorAll('.question')].map((one) => one.textContent)")
    assert chips and all("reward 0: " in chip for chip in chips)


def test_a_picture_enlarges_by_mouse_and_keyboard_and_esc_closes_it(tab: Tab, run: Path) -> None:
    tab.go(address(run))
    tab.run("document.querySelector('.zoom').focus()")
    tab.key("Enter", code=13, text="\r")
    tab.wait_for("document.getElementById('zoom').open")
    image = "document.querySelector('#zoom img')"
    assert tab.run(f"{image}.src === document.querySelector('.zoom img').src && {image}.width > 300")
    assert tab.run("document.getElementById('zoom').contains(document.activeElement)")
    tab.key("Escape", code=27)
    tab.wait_for("!document.getElementById('zoom').open")
    assert tab.run("document.activeElement.className") == "zoom"
    tab.run("document.querySelectorAll('.zoom')[1].click()")
    tab.wait_for("document.getElementById('zoom').open")
    tab.run("document.getElementById('zoom').click()")  # beside the picture
    assert not tab.run("document.getElementById('zoom').open")


@pytest.mark.parametrize("width", [400, 1280])
def test_menu_and_picture_stay_visible(tab: Tab, run: Path, width: int) -> None:
    tab.size(width, 800, mobile=width < 500)
    tab.go(address(run))
    tab.run("document.documentElement.style.scrollBehavior = 'auto'")
    tab.run(
        "[...document.querySelectorAll('.sample')].find((one) => one.offsetHeight > 1500).scrollIntoView()"
    )
    tab.run("window.scrollBy(0, 700)")
    tab.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    menu = tab.run(
        "(({ top, height }) => [top, height])(document.querySelector('nav').getBoundingClientRect())"
    )
    assert menu[0] == 0 and menu[1] < 60  # one line
    tops = tab.run("[...document.querySelectorAll('.frame')].map((one) => one.getBoundingClientRect().top)")
    assert any(40 <= top <= 60 for top in tops)
    tab.run("document.querySelector('nav a:last-child').focus()")
    tab.key("Enter", code=13, text="\r")
    tab.wait_for("location.hash === '#config'")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(tab: Tab, run: Path, width: int) -> None:
    tab.size(width, 800, mobile=width < 500)
    tab.go(address(run))
    for text in ("", "<script", "WWWW"):
        choose(tab, "text", text)
        tab.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        assert tab.run("document.documentElement.scrollWidth") <= width


def test_dark_mode_has_a_dark_page_that_can_be_read(tab: Tab, run: Path) -> None:
    light = []
    for dark in (False, True):
        tab.dark(dark)
        tab.go(address(run))
        style = "getComputedStyle(document.body)"
        colors = tab.run(f"[{style}.backgroundColor, {style}.color]")
        light.append([sum(map(int, color[4:-1].split(","))) / 765 for color in colors])
    assert light[0][0] > 0.9 and light[0][1] < 0.2 and light[1][0] < 0.15 and light[1][1] > 0.85


def test_verdict_and_tables_read_without_a_script(tab: Tab, run: Path) -> None:
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.call("Page.navigate", url=address(run))
    shown = tab.wait_for("document.querySelector('#config') && document.body.innerText")
    assert (
        "Iteration 1 is better than the base by +5.4 points" in shown
        and "This section needs JavaScript" in shown
    )
    assert "asked" in shown and "true among kept" in shown
    assert tab.run("document.querySelector('.filter').offsetHeight") == 0
