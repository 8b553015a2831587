"""Servers that we start and own, told with stubs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.stub_vllm import StubServer
from rollouts.chat import Chat
from rollouts.engine import BASE
from rollouts.server_engine import ServerEngine
from rollouts.servers.launch import Server
from tests.rollouts.fleets import PROMPTS, SAMPLING, came, wait_until


class StubProcess(Server):
    """A server of ours whose process is a stub."""

    def __init__(self, log: Path) -> None:
        super().__init__("none", lora_rank=8, max_adapters=3, log=log, options={})
        self.stub = StubServer()
        self.stub.stop()
        self.url, self.up, self.ended = self.stub.url, False, False

    def start(self) -> None:
        self.deaths += self.ended
        self.stop()
        self.starts += 1
        self.up = True
        self.stub.start()

    def running(self) -> bool:
        return self.up

    def died(self) -> bool:
        return self.ended

    def die(self) -> None:
        self.stop()
        self.ended = True

    def stop(self) -> None:
        self.stub.stop()
        self.up = self.ended = False

    def log_tail(self, *, lines: int = 15) -> str:
        return "out of luck"


@contextmanager
def owned(chat: Chat, *servers: StubProcess) -> Iterator[ServerEngine]:
    engine = ServerEngine(servers, chat=chat, check_every=0.02)
    try:
        yield engine
    finally:
        engine.close()


def test_only_a_server_that_dies_again_and_again_is_given_up(
    chat: Chat, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dies, stays = (StubProcess(tmp_path / str(i)) for i in range(2))
    with owned(chat, dies, stays) as engine:
        for death in range(1, 6):
            dies.die()
            if death < 5:
                wait_until(lambda: dies.starts == death + 1)  # noqa: B023
                wait_until(lambda: came(engine, dies.stub, "back") == death + 1)  # noqa: B023
                engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
        wait_until(lambda: "has died 4 times:\nout of luck; it is not asked any more" in caplog.text)
        engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
        assert dies.starts == 5 and came(engine, dies.stub, "back") == 5
