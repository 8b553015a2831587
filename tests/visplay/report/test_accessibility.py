"""Every page has nothing that axe-core objects to, in light and dark and on a phone, with all of it open."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.visplay.evaluation.test_comparison import evaluation
from tests.visplay.report.axe import needs_axe, violations
from tests.visplay.report.chromium import Browser, Tab, chromium, needs_chromium
from tests.visplay.report.small_run import write_json, write_small_run, write_unfinished
from visplay.evaluation.comparison import compare, find_side
from visplay.report import write_report
from visplay.report.comparison import write_comparison
from visplay.report.watch import LiveServer

pytestmark = [needs_chromium, needs_axe, pytest.mark.slow]
PAGES = ("report", "comparison", "live")


def write_full_run(folder: Path, *, right: int) -> Path:
    """A small run with one of everything that a page can show."""
    folder.mkdir()
    run = write_small_run(folder)
    for name, count in (("before", 20), ("after", 40), ("iteration-1/evaluation", right)):
        evaluation(run / name, [i < count for i in range(60)], benchmark="pocket-dusk")
    # Two questions change in each direction.
    evaluation(
        run / "iteration-0/evaluation", [2 <= i < right + 2 for i in range(60)], benchmark="pocket-dusk"
    )
    write_json(run / "iteration-1/health/alarms.json", {"alarms": ["valid is 0.1"]})
    health = {"iteration": 1, "phase": "health", "valid": 0.9, "probe_silver": 0.6}
    change = {"after": "", "key": "engine.backend", "before": "hf", "now": "vllm"}
    for name, row in (("metrics", health), ("changes", change)):
        with (run / f"{name}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
    config = run / "config.yaml"
    config.write_text(
        config.read_text() + f"questioner: {{steps: {right}}}\nhealth: {{limits: {{valid: 0.5}}}}\n"
    )
    step = {"metrics": {"step": 1, "reward": 0.5}, "records": []}
    write_unfinished(run / "iteration-2/questioner.partial/unfinished/step-1.json", step)
    return run


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("pages")
    runs = [write_full_run(folder / name, right=right) for name, right in (("a", 20), ("b", 45))]
    report = write_report(runs[0])
    first, second = (find_side(str(report.parent / name)) for name in ("before", "after"))
    compared = write_comparison(folder / "comparison.html", first, second, compare(first, second))
    with LiveServer(runs[1]) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        files = (report, compared)
        yield dict(zip(PAGES, (*(file.as_uri() for file in files), server.url), strict=True))
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    opened = browser.tab()
    yield opened
    opened.close()
    assert [error for error in opened.errors if "favicon" not in error] == []


def opened_wide(tab: Tab, url: str) -> None:
    """The page with every fold open and every chart drawn."""
    tab.go(url)
    tab.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    tab.run("window.dispatchEvent(new Event('beforeprint'))")
    tab.wait_for("[...document.querySelectorAll('.chart')].every((one) => one.querySelector('.main-svg'))")


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (False, 390)])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing(tab: Tab, addresses: dict[str, str], page: str, dark: bool, width: int) -> None:
    tab.size(width, 900, mobile=width < 500)
    tab.dark(dark)
    opened_wide(tab, addresses[page])
    assert violations(tab) == []


@pytest.mark.parametrize("page", PAGES)
def test_tab_goes_through_the_page_in_order_and_shows_where_it_is(
    tab: Tab, addresses: dict[str, str], page: str
) -> None:
    tab.go(addresses[page])
    tab.run("window.places = []; document.querySelector('.skip').focus()")
    for _ in range(12):
        here = tab.run(
            "(() => { const one = document.activeElement, before = window.places.at(-1);"
            " window.places.push(one); return { body: one === document.body,"
            " outline: getComputedStyle(one).outlineStyle,"
            " after: !before || Boolean(before.compareDocumentPosition(one) & 4) }; })()"
        )
        assert not here["body"] and here["outline"] == "solid" and here["after"], here
        tab.key("Tab", code=9)


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_wider_than_the_screen(tab: Tab, addresses: dict[str, str], page: str, width: int) -> None:
    tab.size(width, 800, mobile=width < 500)
    opened_wide(tab, addresses[page])
    assert tab.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [400, 1280])
def test_the_verdict_of_a_comparison_is_seen_without_scrolling(
    tab: Tab, addresses: dict[str, str], width: int
) -> None:
    tab.size(width, 800, mobile=width < 500)
    tab.go(addresses["comparison"])
    heads = "[...document.querySelectorAll('thead tr:first-child')].map((row) => row.cells[1].textContent)"
    assert tab.run(heads)[0] == "verdict"
    cell = "document.querySelector('main table tbody tr').cells[1].getBoundingClientRect().right"
    assert tab.run(cell) < width
    if width == 1280:
        wide = "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth)"
        assert tab.run(f"{wide}.length") == 0


def test_axe_is_one_that_objects(tab: Tab, addresses: dict[str, str]) -> None:
    tab.go(addresses["report"])
    tab.run("document.querySelector('.lead').style.color = '#ccc'; document.documentElement.lang = ''")
    assert {line.split(":")[0] for line in violations(tab)} == {"color-contrast", "html-has-lang"}
