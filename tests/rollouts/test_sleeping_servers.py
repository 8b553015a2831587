"""Servers of ours that leave the GPU to a trainer at work, told with stubs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.stub_vllm import StubServer
from rollouts.chat import Chat
from rollouts.engine import BASE
from rollouts.server_engine import ServerEngine
from rollouts.servers.launch import Server
from tests.rollouts.fleets import PROMPTS, SAMPLING, adapter, came, held, paths, wait_until


class StubProcess(Server):
    """A server of ours whose process is a stub."""

    def __init__(self, log: Path, *, sleeps: bool) -> None:
        super().__init__("none", lora_rank=8, max_adapters=3, log=log, sleeps=sleeps, options={})
        self.stub = StubServer()
        self.stub.stop()
        self.loading = threading.Timer(0, self.stub.start)
        self.url, self.up, self.ended, self.takes = self.stub.url, False, False, 0.0

    def start(self) -> None:
        self.deaths += self.ended
        self.stop()
        self.starts += 1
        self.up = True
        if not self.takes:
            self.stub.start()
            return
        self.loading = threading.Timer(self.takes, self.stub.start)
        self.loading.start()

    def running(self) -> bool:
        return self.up

    def died(self) -> bool:
        return self.ended

    def die(self) -> None:
        self.stop()
        self.ended = True

    def stop(self) -> None:
        self.loading.cancel()
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


def slept(server: StubProcess) -> list[str]:
    return [call for call in server.stub.calls if "lora" not in call]


def test_servers_of_ours_sleep_while_the_trainer_works_and_wake_when_they_are_asked(
    chat: Chat, tmp_path: Path
) -> None:
    servers = [StubProcess(tmp_path / str(i), sleeps=True) for i in range(2)]
    with owned(chat, *servers) as engine:
        for server in servers:
            server.stub.calls.clear()  # of the start
        engine.publish(version := adapter(tmp_path, 1))
        engine.generate(PROMPTS, adapter=version, sampling=SAMPLING)
        assert [slept(server) for server in servers] == [[], []]
        engine.sleep()
        engine.sleep()
        assert [slept(server) for server in servers] == [["/sleep?level=1", "/reset_encoder_cache"]] * 2
        assert all(server.stub.asleep for server in servers)
        engine.generate(PROMPTS, adapter=version, sampling=SAMPLING)
        assert [slept(server)[2:] for server in servers] == [["/wake_up"]] * 2
        engine.sleep()
        engine.publish(adapter(tmp_path, 2))
        assert not any(server.stub.asleep for server in servers)


def test_a_server_that_dies_in_its_sleep_is_started_again_when_the_others_wake(
    chat: Chat, tmp_path: Path
) -> None:
    dies, stays = (StubProcess(tmp_path / str(i), sleeps=True) for i in range(2))
    with owned(chat, dies, stays) as engine:
        engine.publish(version := adapter(tmp_path, 1))
        engine.sleep()
        dies.die()
        wait_until(lambda: came(engine, dies.stub, "lost") == 1)
        time.sleep(0.2)  # ten health checks
        assert dies.starts == 1
        engine.generate(PROMPTS, adapter=version, sampling=SAMPLING)
        wait_until(lambda: came(engine, dies.stub, "back") == 2)
        assert dies.starts == 2 and held(dies.stub) == paths(version) and not dies.stub.asleep


def test_a_server_that_is_out_leaves_the_gpu_to_the_trainer(chat: Chat, tmp_path: Path) -> None:
    hangs, stays = (StubProcess(tmp_path / str(i), sleeps=True) for i in range(2))
    with owned(chat, hangs, stays) as engine:
        hangs.stub.stop()  # its process is there, and does not answer
        wait_until(lambda: came(engine, hangs.stub, "lost") == 1)
        engine.sleep()
        assert not hangs.running() and stays.running()


def test_a_start_that_takes_longer_than_a_step_comes_to_its_end(chat: Chat, tmp_path: Path) -> None:
    dies, stays = (StubProcess(tmp_path / str(i), sleeps=True) for i in range(2))
    with owned(chat, dies, stays) as engine:
        dies.takes = 0.5
        dies.die()
        wait_until(lambda: dies.starts == 2)
        for _ in range(6):  # steps that generate for less than the start takes
            engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
            engine.sleep()
            assert dies.stub.asleep and stays.stub.asleep
        assert (dies.starts, dies.deaths) == (2, 1)


def test_only_a_server_that_dies_again_and_again_is_given_up(
    chat: Chat, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dies, stays = (StubProcess(tmp_path / str(i), sleeps=False) for i in range(2))
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


def test_servers_without_the_switch_are_left_awake(chat: Chat, tmp_path: Path) -> None:
    with owned(chat, server := StubProcess(tmp_path / "log", sleeps=False)) as engine:
        engine.sleep()
        assert slept(server) == []


def test_only_a_server_that_sleeps_has_the_developers_switches(tmp_path: Path) -> None:
    commands = {
        sleeps: Server(
            "m", lora_rank=8, max_adapters=3, log=tmp_path / "log", sleeps=sleeps, options={}
        ).command
        for sleeps in (True, False)
    }
    switches = {"VLLM_SERVER_DEV_MODE=1", "--enable-sleep-mode"}
    assert switches <= set(commands[True]) and not switches & set(commands[False])
    assert all(command[command.index("--host") + 1] == "127.0.0.1" for command in commands.values())
