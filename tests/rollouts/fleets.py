"""Fleets of stub servers for tests."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.stub_vllm import StubServer, stub_servers
from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, Completion, Prompt, Sampling
from rollouts.server_engine import ServerEngine
from visplay.config.sections import Model

Words = list[list[tuple[int, ...]]]  # token ids [prompts][n]
POCKET = Model(path="pocket")
SAMPLING = Sampling(n=2, max_tokens=8, seed=3)
PROMPTS = [
    Prompt(messages=({"role": "user", "content": [{"type": "text", "text": f"Is {i} even?"}]},), key=str(i))
    for i in range(24)
]


@contextmanager
def fleet(chat: Chat, *stubs: StubServer, **options: Any) -> Iterator[ServerEngine]:
    with stub_servers(*stubs) as urls:
        settings = {"check_every": 0.05, "patience": 5.0, "silence": 2.0, **options}
        engine = ServerEngine(urls, chat=chat, **settings)
        try:
            yield engine
        finally:
            engine.close()


def adapter(folder: Path, version: int, *, content: str | None = None) -> AdapterVersion:
    path = folder / f"shared-{version}"
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text(content or f"{folder.name} {version}")
    return AdapterVersion(name="shared", version=version, path=path)


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def came(engine: ServerEngine, stub: StubServer, what: str) -> int:
    return sum((url, event) == (stub.url, what) for _, url, event in engine._pool.events)


def held(stub: StubServer) -> list[str]:
    """Paths of the adapters that a server has."""
    return sorted(path for path, _ in stub.adapters.values())


def paths(*adapters: AdapterVersion) -> list[str]:
    return sorted(str(adapter.path) for adapter in adapters)


def words(groups: list[list[Completion]]) -> Words:
    return [[completion.token_ids for completion in group] for group in groups]
