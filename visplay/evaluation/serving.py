"""One checkpoint on the loopback as an OpenAI-compatible endpoint: enough for an evaluation, not for users.

Requests that wait at the same time are answered as one batch. A picture must come as a data URI: nothing is
ever fetched. Nothing but the loopback is listened to, and a request to another host's name is refused.
"""

import base64
import binascii
import json
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling
from visplay.data.decoding import decode

LARGEST = 64 * 2**20  # bytes of a request
GATHER = 0.02  # seconds that a batch waits for company
FOREIGN = {"error": {"message": "only requests to 127.0.0.1 and localhost are answered"}}
Asked = tuple[Prompt, Sampling, "Future[Completion]"]


@dataclass(slots=True, kw_only=True)
class Batcher:
    """Collects what waits and asks the engine for all of it at once, in a thread of its own."""

    engine: RolloutEngine
    adapter: AdapterVersion
    batch_size: int
    waiting: "queue.Queue[Asked | None]" = field(default_factory=queue.Queue)

    def ask(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """One completion; blocks until it is there and raises what the engine raised."""
        future: Future[Completion] = Future()
        self.waiting.put((prompt, sampling, future))
        return future.result()

    def work(self) -> None:
        """Answer until None is put into `waiting`."""
        while (first := self.waiting.get()) is not None:
            batch = [first]
            while len(batch) < self.batch_size:
                try:
                    more = self.waiting.get(timeout=GATHER)
                except queue.Empty:
                    break
                if more is None:
                    self.waiting.put(None)
                    break
                batch.append(more)
            for sampling in dict.fromkeys(sampling for _, sampling, _ in batch):
                for pictured in (True, False):
                    own = [b for b in batch if b[1] == sampling and bool(b[0].images) is pictured]
                    self._answer(own, sampling)

    def _answer(self, batch: list[Asked], sampling: Sampling) -> None:
        if not batch:
            return
        try:
            groups = self.engine.generate([b[0] for b in batch], adapter=self.adapter, sampling=sampling)
        # Whatever the backend raises becomes the answer of these requests; the server goes on.
        except Exception as error:
            for _, _, future in batch:
                future.set_exception(error)
            return
        for (_, _, future), group in zip(batch, groups, strict=True):
            future.set_result(group[0])


@contextmanager
def serving(
    engine: RolloutEngine, *, adapter: AdapterVersion, model: str, batch_size: int = 32, port: int = 0
) -> Iterator[str]:
    """Serve `adapter` while the block runs; yields the address, up to and with `/v1`.

    Args:
        engine: with `adapter` published.
        adapter: which version answers.
        model: the name that requests give; another one is refused.
        batch_size: requests answered at once.
        port: on 127.0.0.1; 0 takes a free one.
    """
    batcher = Batcher(engine=engine, adapter=adapter, batch_size=batch_size)
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(batcher, model))
    server.daemon_threads = True
    threads = [threading.Thread(target=work, daemon=True) for work in (server.serve_forever, batcher.work)]
    for thread in threads:
        thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        batcher.waiting.put(None)
        for thread in threads:
            thread.join()


def is_local(request: BaseHTTPRequestHandler) -> bool:
    """Whether a request's `Host` is this machine at the server's port; else it may be DNS rebinding."""
    assert isinstance(request.server, HTTPServer)
    port = request.server.server_port
    local = [f"{name}{end}" for name in ("127.0.0.1", "localhost") for end in (f":{port}", "")]
    given = request.headers.get_all("Host") or []
    return len(given) == 1 and given[0] in (local if port == 80 else local[::2])


def read_request(body: dict[str, Any]) -> tuple[Prompt, Sampling]:
    """The prompt and sampling of a chat request.

    Raises:
        ValueError: the request holds something that cannot be answered; the message says what.
    """
    messages: list[dict[str, Any]] = []
    images: list[Any] = []
    for message in body.get("messages") or []:
        content: Any = message["content"]
        blocks: list[dict[str, Any]] = []
        given: Any = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in given:
            if block.get("type") == "text":
                blocks.append({"type": "text", "text": str(block["text"])})
            elif block.get("type") == "image_url":
                images.append(_picture(str(block["image_url"]["url"])))
                blocks.append({"type": "image"})
            else:
                raise ValueError(f"a content block of type {block.get('type')!r} cannot be answered")
        messages.append({"role": str(message["role"]), "content": blocks})
    if not messages:
        raise ValueError("messages is empty")
    sampling = Sampling(
        temperature=float(body.get("temperature") or 0), top_p=float(body.get("top_p") or 1),
        max_tokens=int(body.get("max_completion_tokens") or body.get("max_tokens") or 1024),
        seed=int(body.get("seed") or 0),
    )  # fmt: skip
    return Prompt(messages=tuple(messages), images=tuple(images)), sampling


def _picture(url: str) -> Any:
    head, _, data = url.partition(";base64,")
    if not head.startswith("data:image/") or not data:
        raise ValueError("a picture must be a data URI with base64; nothing is fetched")
    try:
        return decode(base64.b64decode(data, validate=True))
    except binascii.Error as error:
        raise ValueError(f"a picture is not base64: {error}") from error


def _handler(batcher: Batcher, model: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not is_local(self):
                return self._reply(403, FOREIGN)
            self._reply(200, {"object": "list", "data": [{"id": model, "object": "model"}]})

        def do_POST(self) -> None:
            if not is_local(self):
                return self._reply(403, FOREIGN)
            try:
                length = int(self.headers.get("Content-Length") or 0)
                if not 0 < length <= LARGEST:
                    raise ValueError(f"a request must have 1 to {LARGEST} bytes, got {length}")
                body = json.loads(self.rfile.read(length))
                if body.get("model") != model:
                    raise ValueError(f"there is no model {body.get('model')!r}, only {model!r}")
                prompt, sampling = read_request(body)
            # Requests are foreign data: whatever is wrong with one is said to its sender.
            except Exception as error:
                self._reply(400, {"error": {"message": str(error)}})
                return
            try:
                completion = batcher.ask(prompt, sampling)
            except Exception as error:
                self._reply(500, {"error": {"message": f"{type(error).__name__}: {error}"}})
                return
            self._reply(200, _chat_completion(completion, model))

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _chat_completion(completion: Completion, model: str) -> dict[str, Any]:
    asked, said = len(completion.prompt_ids), len(completion.token_ids)
    message = {"role": "assistant", "content": completion.text}
    return {
        "id": "visplay", "object": "chat.completion", "created": 0, "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": completion.finish_reason}],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }  # fmt: skip
