"""A server that speaks as much of vLLM's protocol as `ServerEngine` asks for, and sleeps where vLLM computes.

Tokens and log-probs follow from the prompt, its pictures, the seed and the adapter's files: two servers give
one answer, and another adapter another. It can be slow, fall silent, and come back as it was or anew.
"""

import hashlib
import json
import random
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
FIRST_WORD, WORDS = 100, 50  # token ids are from FIRST_WORD on: no control token


class StubServer:
    """One server on the loopback interface.

    Args:
        seconds_per_token: of a sequence, as long as there is room for it.
        sequences: computed side by side; further ones wait.
        sees: the folder that it can read adapters from; None sees all.
        base: what its base VLM is; servers of another base compute other log-probs.
    """

    def __init__(
        self,
        *,
        seconds_per_token: float = 0.0,
        sequences: int = 256,
        sees: Path | None = None,
        base: str = "b",
    ) -> None:
        self.seconds_per_token, self.sees, self.base = seconds_per_token, sees, base
        self.adapters: dict[str, tuple[str, str]] = {}  # name -> path and what the files come to
        self.asked: list[str] = []  # names of the models that were asked for completions
        self.calls: list[str] = []  # what else was asked
        self.held = False  # while it is, nothing is answered
        self.quiet_when_busy = False
        self.computed = self.most_at_once = 0  # sequences
        self._most, self._room = sequences, threading.Condition()
        self._listening: ThreadingHTTPServer | None = None
        self._address = (LOOPBACK, 0)
        self.start()

    @property
    def url(self) -> str:
        """Its address, the same after it has come back."""
        return f"http://{LOOPBACK}:{self._address[1]}"

    def start(self, *, forget: bool = True) -> None:
        """Come up, again on the same port; `forget` as a new process would."""
        self.adapters = {} if forget else self.adapters
        self._listening = _Listening(self._address, _handler(self))
        self._address = (LOOPBACK, self._listening.server_address[1])
        threading.Thread(target=self._listening.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Fall silent: what is under way is not answered."""
        listening, self._listening = self._listening, None
        if listening:
            listening.shutdown()
            listening.server_close()

    def answers(self, listening: object) -> bool:
        """Whether a connection made to `listening` is still answered."""
        return listening is self._listening

    def healthy(self) -> bool:
        """Whether it finds the time to answer a health check; else it says nothing."""
        return not self.quiet_when_busy or self.computed == 0

    def answer(self, path: str, body: dict[str, Any], alive: Any) -> tuple[int, Any]:
        """Status and JSON for a request; (0, ...) for none, as who asked has gone."""
        if path == "/health":
            while not self.healthy() and alive():
                time.sleep(0.01)
            return (200, {}) if alive() else (0, None)
        if path == "/v1/models":
            cards = [{"id": "base", "root": "model", "parent": None}]
            cards += [{"id": n, "root": root, "parent": "base"} for n, (root, _) in self.adapters.items()]
            return 200, {"data": cards}
        if path == "/inference/v1/generate":
            return self._generate(body, alive)
        self.calls.append(path)
        if path == "/v1/load_lora_adapter":
            return self._load(Path(body["lora_path"]), body["lora_name"])
        if path == "/v1/unload_lora_adapter":
            if self.adapters.pop(body["lora_name"], None) is None:
                return 404, f"The lora adapter '{body['lora_name']}' cannot be found."
            return 200, "Success"
        return 404, "Not Found"

    def _load(self, path: Path, name: str) -> tuple[int, str]:
        if name in self.adapters:
            return 400, f"The lora adapter '{name}' has already been loaded."
        if not path.is_dir() or (self.sees and not path.is_relative_to(self.sees)):
            return 404, f"Loading lora {name} failed: No adapter found for {path}"
        content = hashlib.sha256()
        for file in sorted(path.iterdir()):
            content.update(file.read_bytes())
        self.adapters[name] = (str(path), content.hexdigest())
        return 200, "Success"

    def _generate(self, body: dict[str, Any], alive: Any) -> tuple[int, Any]:
        name, parameters = body["model"], body["sampling_params"]
        if name != "base" and name not in self.adapters:
            return 404, f"The model `{name}` does not exist."
        weights = self.base + (self.adapters[name][1] if name in self.adapters else "")
        if parameters.get("prompt_logprobs") is not None:
            steps = [{str(t): {"logprob": -_share(f"{t} {weights}")}} for t in body["token_ids"][1:]]
            return 200, {"model": name, "choices": [], "prompt_logprobs": [None, *steps]}
        self.asked.append(name)
        seed = parameters.get("seed")
        seed = random.getrandbits(32) if seed is None else seed
        pictures = [part["uuid"] for part in body["content_parts"] or []]
        about = f"{body['token_ids']} {pictures} {weights}"
        choices = [
            _completion(about, seed=seed + i, most=parameters["max_tokens"]) for i in range(parameters["n"])
        ]
        if not self._take_time(choices, alive):
            return 0, None
        choices = [{"index": i, **choice} for i, choice in enumerate(choices)]
        return 200, {"model": name, "choices": choices, "prompt_token_ids": body["token_ids"]}

    def _take_time(self, choices: list[dict[str, Any]], alive: Any) -> bool:
        """Compute for as long as the longest takes, once there is room; False where who asked has gone."""
        needed = min(len(choices), self._most)
        with self._room:
            while self.computed + needed > self._most:
                if not alive():
                    return False
                self._room.wait(0.02)
            self.computed += needed
            self.most_at_once = max(self.most_at_once, self.computed)
        try:
            until = time.monotonic() + self.seconds_per_token * max(len(c["token_ids"]) for c in choices)
            while self.held or time.monotonic() < until:
                time.sleep(0.01 if self.held else min(0.01, max(until - time.monotonic(), 0.0)))
                if not alive():
                    return False
            return True
        finally:
            with self._room:
                self.computed -= needed
                self._room.notify_all()


@contextmanager
def stub_servers(*servers: StubServer) -> Iterator[list[str]]:
    """Their addresses; they fall silent at the end."""
    try:
        yield [server.url for server in servers]
    finally:
        for server in servers:
            server.stop()


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024


def _handler(stub: StubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            status, said = stub.answer(self.path, body, self._alive)
            if not status or not stub.answers(self.server):
                self.close_connection = True
                return
            text = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _alive(self) -> bool:
            """Whether the server is there, and who asked still listens."""
            readable, _, _ = select.select([self.connection], [], [], 0)
            return stub.answers(self.server) and not readable

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _completion(about: str, *, seed: int, most: int) -> dict[str, Any]:
    length = 1 + int(most * _share(f"{about} {seed}")) % most
    words = [_share(f"{about} {seed} {i}") for i in range(length)]
    return {
        "token_ids": [FIRST_WORD + int(WORDS * word) for word in words],
        "logprobs": {"content": [{"logprob": -word} for word in words]},
        "finish_reason": "length",
    }


def _share(text: str) -> float:
    """In [0, 1), by a hash."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 256**6
