"""Serve a run's page locally while the run is in progress; a request renders it again if files have changed.

The server answers GET requests for the page and for its version. It listens on 127.0.0.1 only and refuses a
request with another `Host` (DNS rebinding). It writes nothing into the run's folder.
"""

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from visplay.errors import VisplayError
from visplay.report.page import render_run
from visplay.runs.run import UNFINISHED

# The files that the page depends on; a change of any of them changes the version.
WATCHED = (
    "config.yaml", "manifest.parquet", "journal.jsonl", "metrics.jsonl",
    f"iteration-*/*.partial/{UNFINISHED}/*.json",
)  # fmt: skip
REST = 4.0  # a page is rendered again after this many times its rendering time: the run needs the CPU
SECURITY = {
    "Content-Security-Policy": "frame-ancestors 'none'",  # the rest is in the page
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class LivePage:
    """The page of a run; a request renders it again if the run has made progress."""

    def __init__(self, run_folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = run_folder, clock
        self._lock = threading.Lock()
        self._thumbnails: dict[str, str] = {}
        self._not_before = 0.0
        self._version, self._html = "", ""
        self.version()

    def version(self) -> str:
        """The version of the page's content.

        Raises:
            RunError: no page exists yet, and the folder is not a run's or holds an unreadable file.
        """
        with self._lock:
            now = self._stamp()
            if now != self._version and self._clock() >= self._not_before:
                self._make(now)
            return self._version

    def html(self) -> str:
        """The page as it is now."""
        self.version()
        with self._lock:
            return self._html

    def _make(self, version: str) -> None:
        begun = self._clock()
        try:
            html = render_run(self._folder, version=version, thumbnails_made=self._thumbnails)
        except VisplayError:
            if not self._html:
                raise
            return  # a step was renamed during the read: the page stays unchanged until the next request
        finally:
            self._not_before = self._clock() + REST * (self._clock() - begun)
        self._version, self._html = version, html

    def _stamp(self) -> str:
        digest = hashlib.sha256()
        for pattern in WATCHED:
            for path in sorted(self._folder.glob(pattern)):
                try:
                    found = path.stat()
                except FileNotFoundError:
                    continue
                digest.update(
                    f"{path} {found.st_mtime_ns} {found.st_size}\n".encode(errors="surrogateescape")
                )
        return digest.hexdigest()[:16]


class _Handler(BaseHTTPRequestHandler):
    """Answers GET requests for two paths from this machine."""

    timeout = 10  # seconds until a silent client is disconnected
    server: "LiveServer"
    server_version, sys_version = "visplay", ""

    def do_GET(self) -> None:
        """Serve the page or its version."""
        if not is_local(self):
            return self._answer(403, "this page is served to 127.0.0.1 and localhost only\n")
        if self.path not in ("/", "/version"):
            return self._answer(404, "not found; the page is at /\n")
        try:
            if self.path == "/version":
                return self._answer(200, self.server.page.version())
            return self._answer(200, self.server.page.html(), kind="text/html")
        except VisplayError as error:
            return self._answer(503, f"{error}\n")

    def _refuse(self) -> None:
        self._answer(405, "only GET\n")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def _answer(self, status: int, text: str, *, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in SECURITY.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if status == 405:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a line per request would hide the run's own lines."""


class LiveServer(ThreadingHTTPServer):
    """Serves one run's page on 127.0.0.1 at `url`. Use it as a context manager, and call `serve_forever`.

    Args:
        run_folder: the run's folder.
        port: the port; 0 selects a free one.

    Raises:
        RunError: the folder is not a run's, or holds a file that cannot be read.
        VisplayError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, run_folder: Path, *, port: int = 0) -> None:
        self.page = LivePage(run_folder)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise VisplayError(
                f"port {port} is not available ({os.strerror(error.errno or 0)}); choose another --port"
            ) from error
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that disconnected in the middle of a request."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def is_local(request: BaseHTTPRequestHandler) -> bool:
    """Whether a request's `Host` is this machine at the server's port; another may be DNS rebinding."""
    assert isinstance(request.server, HTTPServer)
    port = request.server.server_port
    local = [f"{name}{end}" for name in ("127.0.0.1", "localhost") for end in (f":{port}", "")]
    given = request.headers.get_all("Host") or []
    return len(given) == 1 and given[0] in (local if port == 80 else local[::2])
