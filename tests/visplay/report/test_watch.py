"""`visplay report --watch`: the page of a run that goes on, on this machine only."""

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.visplay.report.chromium import chromium, needs_chromium
from tests.visplay.report.small_run import candidate, rollouts_of, write_small_run, write_unfinished
from visplay.errors import RunError, VisplayError
from visplay.report.watch import LivePage, LiveServer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_small_run(tmp_path)


@pytest.fixture
def server(run: Path) -> Iterator[LiveServer]:
    with serving(run) as started:
        yield started


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server for those that only ask: their run stays as it is."""
    with serving(write_small_run(tmp_path_factory.mktemp("run"))) as started:
        yield started


@contextmanager
def serving(run: Path) -> Iterator[LiveServer]:
    with LiveServer(run) as started:
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def ask(server: LiveServer, path: str, *, host: str | None = "", method: str = "GET") -> tuple[int, Any, str]:
    """Status, headers and body; `host` "" is the server's own, None leaves the header out."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, body


def go_on(run: Path, step: int) -> None:
    """Another optimizer step of the Questioner is finished."""
    row = candidate("a" * 64, f"Question of step {step}?", step=step, completion="", reward=0.5)
    write_unfinished(
        run / f"iteration-2/questioner.partial/unfinished/step-{step}.json",
        {"metrics": {"step": step, "reward": 0.5}, "records": [row]},
    )


def test_the_page_says_what_the_run_has_done_since(run: Path) -> None:
    page = LivePage(run, clock=lambda: 0.0)
    first = page.version()
    assert page.version() == first and f'data-version="{first}"' in page.html()
    go_on(run, 1)
    second = page.version()
    assert second != first and "iteration 2, questioner, 1 steps, reward 0.5 in the last" in page.html()
    assert "Question of step 1?" in {q.get("question") for q in rollouts_of(page.html())["questions"]}
    assert not (run / "report.html").exists()


def test_the_page_is_not_made_more_often_than_the_run_can_bear(run: Path) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    page = LivePage(run, clock=clock)  # making it took a second by this clock
    first = page.version()
    go_on(run, 1)
    assert page.version() == first
    now[0] += 10.0
    assert page.version() != first


def test_a_file_that_cannot_be_read_leaves_the_page_as_it_was(run: Path) -> None:
    page = LivePage(run, clock=lambda: 0.0)
    before = page.html()
    summary = run / "iteration-1/curation/summary.json"
    whole = summary.read_text()
    summary.write_text(whole[:20])
    go_on(run, 1)
    assert page.html() == before
    summary.write_text(whole)
    assert page.html() != before


def test_a_folder_that_is_no_run_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no config\.yaml"):
        LiveServer(tmp_path)


def test_a_port_that_is_taken_is_named(run: Path, server: LiveServer) -> None:
    with pytest.raises(VisplayError, match=rf"port {server.server_port} .* choose another --port"):
        LiveServer(run, port=server.server_port)


def test_it_listens_on_the_loopback_only(looked_at: LiveServer) -> None:
    assert looked_at.server_address[0] == "127.0.0.1"
    assert looked_at.url == f"http://127.0.0.1:{looked_at.server_port}/"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:{port}", "localhost:1", "127.0.0.1", None]
)
@pytest.mark.parametrize("path", ["/", "/version"])
def test_another_host_is_refused(looked_at: LiveServer, host: str | None, path: str) -> None:
    status, _, body = ask(looked_at, path, host=host and host.format(port=looked_at.server_port))
    assert status == 403 and body.startswith("this page is served to 127.0.0.1")


def test_own_names_are_served(looked_at: LiveServer) -> None:
    for name in ("127.0.0.1", "localhost"):
        assert ask(looked_at, "/", host=f"{name}:{looked_at.server_port}")[0] == 200


@pytest.mark.parametrize(
    "path", ["/config.yaml", "/../config.yaml", "/%2e%2e/config.yaml", "/iteration-1/", "/?x", "/version/"]
)
def test_there_is_nothing_else_to_fetch(looked_at: LiveServer, path: str) -> None:
    status, _, body = ask(looked_at, path)
    assert status == 404 and "config" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_only_get_is_answered(looked_at: LiveServer, method: str) -> None:
    status, headers, _ = ask(looked_at, "/", method=method)
    assert status == 405 and headers["Allow"] == "GET"


def test_answers_carry_their_protection(looked_at: LiveServer) -> None:
    for path in ("/", "/version", "/nothing"):
        headers = ask(looked_at, path)[1]
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
        assert "Python" not in headers["Server"] and "Access-Control-Allow-Origin" not in headers
    policy = unescape(ask(looked_at, "/")[2][:2000])
    assert "connect-src 'self'" in policy and policy.count("'sha256-") == 5


def test_ctrl_c_ends_it_cleanly(run: Path) -> None:
    command = [sys.executable, "-m", "visplay", "report", str(run), "--watch"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore it
    ) as watching:  # fmt: skip
        try:
            assert watching.stdout is not None
            said = watching.stdout.readline()
            assert said.startswith("http://127.0.0.1:") and re.search(r"ssh -L (\d+):127.0.0.1:\1 HOST", said)
            os.kill(watching.pid, signal.SIGINT)
            rest, errors = watching.communicate(timeout=60)
        finally:
            watching.kill()
    assert (watching.returncode, rest, errors) == (0, "", "")


@pytest.mark.slow
@needs_chromium
def test_an_open_page_follows_the_run_and_keeps_its_filters(
    run: Path, server: LiveServer, tmp_path: Path
) -> None:
    with chromium(tmp_path / "profile") as browser:
        tab = browser.tab()
        tab.go(server.url + "#samples?phase=questioner")
        counted = "document.getElementById('count').textContent"
        assert tab.run(counted).startswith("5 of 5")  # no such question yet, so no such choice
        select = "document.querySelector('[data-filter=phase]')"
        tab.run(f"{select}.value = 'curation'; window.old = true;")
        tab.run(f"{select}.dispatchEvent(new Event('input', {{ bubbles: true }}))")
        tab.run("window.scrollTo({ top: 700, behavior: 'instant' })")
        go_on(run, 1)
        tab.wait_for("window.old === undefined && document.readyState === 'complete'")
        assert tab.wait_for(f"{counted}.startsWith('4 of 6')")
        tab.wait_for("Math.abs(window.scrollY - 700) < 100")
        assert "1 steps, reward 0.5" in tab.run("document.body.innerText")
        tab.wait_for("document.querySelector('#live output').textContent === 'up to date'")

        tab.run("document.getElementById('follow').click()")
        tab.run("window.old = true")
        go_on(run, 2)
        tab.wait_for("document.querySelector('#live output').textContent === 'a new version is available'")
        time.sleep(1.5)
        assert tab.run("window.old") is True
        hosts = {url.split("/")[2] for url in tab.requests if url.startswith("http")}
        assert hosts == {f"127.0.0.1:{server.server_port}"}
        assert [error for error in tab.errors if "favicon" not in error] == [] and tab.alerts == []
