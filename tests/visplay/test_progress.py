"""What the display says."""

import io
import threading
from itertools import count

import pytest
from rich.console import Console

from rollouts.servers import pool
from visplay.progress import Display, span


def test_what_servers_log_is_said_while_a_run_goes_on() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=200))
    pool._log.warning("before")
    with display.telling("rollouts"):
        logged = threading.Thread(target=pool._log.warning, args=("%s does not answer", "http://a"))
        logged.start()
        logged.join()
        pool._log.info("details")
    pool._log.warning("after")
    assert out.getvalue() == "http://a does not answer\n"


def plain(width: int = 200) -> tuple[Display, io.StringIO]:
    out = io.StringIO()
    return Display(Console(file=out, width=width), every_seconds=0), out


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a second whenever it is asked."""
    clock = count()
    monkeypatch.setattr("visplay.progress.time.monotonic", lambda: float(next(clock)))


@pytest.mark.usefixtures("seconds")
def test_a_bar_says_how_far_it_is_its_rate_and_the_time_left() -> None:
    display, out = plain()
    with display.step("iteration 1"), display.bar("questioner", total=4) as advance:
        display.generated(300)
        advance("reward 0.500")
    line = out.getvalue().strip()
    assert line.startswith("iteration 1, questioner 1/4 reward 0.500 ")
    assert "tok/s" in line and line.endswith(" left")


@pytest.mark.usefixtures("seconds")
def test_outside_a_run_nothing_is_said_of_one() -> None:
    display, out = plain()
    with display.bar("pocket-dusk, greedy", total=2) as advance:
        advance("questions", 1, 50)
        advance("questions", 1, 50)
    first, last = out.getvalue().splitlines()
    assert first.startswith("pocket-dusk, greedy 1/2 questions ") and "run" not in first
    assert "tok/s" in last and last.endswith(" 0 s left")


@pytest.mark.usefixtures("seconds")
def test_no_time_left_is_told_before_anything_is_done() -> None:
    display, out = plain()
    with display.step("iteration 1"), display.bar("curation", total=9) as advance:
        advance("nothing kept", 0)
        advance("kept", 3)
    first, second = out.getvalue().splitlines()
    assert first == "iteration 1, curation 0/9 nothing kept"
    assert second.startswith("iteration 1, curation 3/9 kept") and second.endswith(" left")


def test_a_bar_in_a_terminal_fits_80_columns() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=80, force_terminal=True))
    with display.step("iteration 12"), display.bar("questioner", total=20) as advance:
        display.generated(10)
        advance("reward 0.416")
        advance("reward 0.416")
    assert "iteration 12, questioner" in out.getvalue() and "reward 0.416" in out.getvalue()
    assert "…" not in out.getvalue()


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (0.4, "0 s"),
        (99, "99 s"),
        (100, "2 min"),
        (5_000, "83 min"),
        (7_200, "2 h 0 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_spans(time: float, words: str) -> None:
    assert span(time) == words
