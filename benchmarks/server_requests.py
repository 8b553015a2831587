"""How soon requests with large pictures leave for a server, and how many sequences are then under way.

    python -m benchmarks.server_requests

A stub server, which computes nothing, is asked about 64 pictures of 1024 x 1024 pixels, 16 completions of at
most 4,096 tokens each. A picture of noise is encoded as PNG and as BMP beside it. Then six chunks of
curation, each a batch of questions and after it a batch of votes, go through another stub that computes 32
sequences at a time, one chunk after the other and overlapping. The work's own time is that of all tokens
with no place empty.
"""

import base64
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.stub_vllm import StubServer, stub_servers
from rollouts.chat import Chat
from rollouts.engine import BASE, Prompt, Sampling
from rollouts.server_engine import ServerEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Model
from visplay.loop.curation import _in_order
from visplay.models.processor import load_processor
from visplay.prompts import reasoner_prompt

PICTURES, SIDE, GROUP = 64, 1024, 16


def encoding(picture: Image.Image, kind: str) -> float:
    """Seconds that a picture takes to become text."""
    begun = time.perf_counter()
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"compress_level": 1} if kind == "PNG" else {}))
    base64.b64encode(buffer.getvalue())
    return time.perf_counter() - begun


def main() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (PICTURES, SIDE, SIDE, 3), dtype=np.uint8)
    pictures = [Image.fromarray(one) for one in noise]
    for kind in ("PNG", "BMP"):
        print(f"{kind}: {min(encoding(pictures[0], kind) for _ in range(5)) * 1e3:.1f} ms a picture")
    model = Model(path="pocket")
    chat = Chat.load(load_processor(model), model.source)
    prompts = [
        reasoner_prompt(picture, f"How many dots of colour {i}?", words=Prompts())
        for i, picture in enumerate(pictures)
    ]
    stub = StubServer(sequences=100_000)
    stub.held = True
    with stub_servers(stub) as urls, ThreadPoolExecutor(1) as pool:
        engine = ServerEngine(urls, chat=chat)
        begun = time.perf_counter()
        sampling = Sampling(n=GROUP, max_tokens=4096)
        done = pool.submit(engine.generate, prompts, adapter=BASE, sampling=sampling)
        waiting = threading.Event()
        while not stub.asked:
            waiting.wait(0.005)
        soon = time.perf_counter() - begun
        print(f"first request after {soon:.2f} s ({PICTURES} pictures of {SIDE} x {SIDE})")
        until = time.monotonic() + 60
        while stub.computed < PICTURES * GROUP and time.monotonic() < until:
            waiting.wait(0.05)
        print(f"{stub.computed} sequences under way after {time.perf_counter() - begun:.2f} s")
        stub.held = False
        done.result()
        engine.close()
    chunks(chat)


def chunks(chat: Chat, *, count: int = 6, groups: int = 64, sequences: int = 32) -> None:
    """Seconds of chunks of two batches each, one at a time and three at a time."""
    seconds_per_token = 0.02
    asked = [
        Prompt(messages=({"role": "user", "content": [{"type": "text", "text": f"Is {i} even?"}]},))
        for i in range(2 * count * groups)
    ]
    stub = StubServer(seconds_per_token=seconds_per_token, sequences=sequences)
    with stub_servers(stub) as urls:
        engine = ServerEngine(urls, chat=chat)

        def work(chunk: int) -> list[dict[str, Any]]:
            rows = []
            for batch in (2 * chunk, 2 * chunk + 1):
                own = asked[batch * groups : (batch + 1) * groups]
                made = engine.generate(own, adapter=BASE, sampling=Sampling(max_tokens=200, logprobs=False))
                rows += [{"tokens": len(one[0].token_ids)} for one in made]
            return rows

        for at_once in (1, 3):
            begun = time.perf_counter()
            rows = [row for part in _in_order(range(count), work, at_once, lambda _: True) for row in part]
            taken = time.perf_counter() - begun
            own = sum(row["tokens"] for row in rows) * seconds_per_token / sequences
            longest = max(row["tokens"] for row in rows)
            print(
                f"{count} chunks, {at_once} at once: {taken:.1f} s, {taken / own:.2f} of the work's own "
                f"{own:.1f} s (longest completion {longest} tokens)"
            )
        engine.close()


if __name__ == "__main__":
    main()
