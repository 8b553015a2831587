"""A small OpenAI-compatible server on the loopback, for the tests of the judge."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[int, dict[str, Any]], tuple[int, str]]  # (number of the call, body) -> HTTP status, text


class Endpoint:
    """What the server saw."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []


@contextmanager
def serving(reply: Reply) -> Iterator[Endpoint]:
    """Answer each POST with `reply`; a status of 0 closes the connection without an answer."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                seen.bodies.append(body)
                seen.keys.append(self.headers.get("Authorization"))
                status, text = reply(len(seen.bodies), body)
            if status == 0:
                self.close_connection = True
                return
            message = {"choices": [{"message": {"role": "assistant", "content": text}}]}
            data = json.dumps(message).encode() if status == 200 else text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen = Endpoint(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
