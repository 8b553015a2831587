"""A headless Chromium, driven over its debugging pipe: no port, and nothing to install beside the browser.

Chromium is no Python package, so `make setup` cannot bring it. Where there is none these tests are skipped,
and pytest's summary (`-ra`) ends with what was not tested and the mend.
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="NOT TESTED: the report in a browser; install Chromium (apt-get install chromium)",
)
PATIENCE = 60  # seconds; a busy machine is slow
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--hide-scrollbars", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
]  # fmt: skip


class Tab:
    """One page of the browser, and what it did: scripts that alerted, requests it made, errors it had."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser, self._session = browser, session
        self.requests: list[str] = []
        self.alerts: list[str] = []
        self.errors: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, parameters, session=self._session)

    def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)
        return value

    def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )

    def dark(self, yes: bool = True) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if yes else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def go(self, url: str) -> None:
        """Open an address and wait until it is loaded."""
        self.call("Page.navigate", url="about:blank")  # so that another fragment of a page loads it again
        self.call("Page.navigate", url=url)
        self.wait_for(
            f"location.href.startsWith({json.dumps(url[:60])}) && document.readyState === 'complete'"
        )

    def key(self, name: str, *, code: int = 0, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, **typed)

    def close(self) -> None:
        self.call("Page.close")

    def note(self, event: dict[str, Any]) -> None:
        """Keep what an event says."""
        method, given = event["method"], event["params"]
        if method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.alerts.append(given["message"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(given["exceptionDetails"])[:2000])
        elif method == "Log.entryAdded":
            self.errors.append(given["entry"]["text"])


class Browser:
    """The process and its pipe."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        theirs_in, self._out = map(_out_of_the_way, os.pipe())
        self._in, theirs_out = map(_out_of_the_way, os.pipe())
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
        program = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'  # Chromium's two ends are 3 and 4
        self._process = subprocess.Popen(
            ["bash", "-c", program, "bash", *command], pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._unread, self._count = b"", 0
        self._tabs: dict[str, Tab] = {}

    def tab(self) -> Tab:
        """A new, empty page."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self._tabs[session] = tab = Tab(self, session)
        for domain in ("Page", "Network", "Runtime", "Log"):
            tab.call(f"{domain}.enable")
        return tab

    def call(self, method: str, parameters: dict[str, Any], *, session: str | None = None) -> dict[str, Any]:
        """Ask for something and wait for the answer; events on the way go to their page."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        self._send(message | ({"sessionId": session} if session else {}))
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            tab = self._tabs.get(answer.get("sessionId", ""))
            if tab and "method" in answer:
                tab.note(answer)
                if answer["method"] == "Page.javascriptDialogOpening":  # or the page would wait for ever
                    self._send({"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True},
                                "sessionId": answer["sessionId"]})  # fmt: skip

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._in)
        os.close(self._out)

    def _send(self, message: dict[str, Any]) -> None:
        left = json.dumps(message).encode() + b"\0"
        while left:
            left = left[os.write(self._out, left) :]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            assert ready, "Chromium does not answer"
            got = os.read(self._in, 1 << 20)
            assert got, "Chromium has gone"
            self._unread += got
        message, self._unread = self._unread.split(b"\0", 1)
        return json.loads(message)


def _out_of_the_way(descriptor: int) -> int:
    """The same end of a pipe under a number that is neither 3 nor 4."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, ended by its handle."""
    browser = Browser(profile)
    try:
        yield browser
    finally:
        browser.close()
