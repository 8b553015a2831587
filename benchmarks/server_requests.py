"""How soon requests with large pictures leave for a server, and how many sequences are then under way.

    python -m benchmarks.server_requests

A stub server, which computes nothing, is asked about 64 pictures of 1024 x 1024 pixels, 16 completions of at
most 4,096 tokens each. A picture of noise is encoded as PNG and as BMP beside it.
"""

import base64
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from benchmarks.stub_vllm import StubServer, stub_servers
from rollouts.chat import Chat
from rollouts.engine import BASE, Sampling
from rollouts.server_engine import ServerEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Model
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


if __name__ == "__main__":
    main()
