"""Servers of ours that leave the GPU to a trainer at work, told with stubs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.stub_vllm import StubServer
from rollouts.chat import Chat
from rollouts.server_engine import ServerEngine
from rollouts.servers.launch import Server
from tests.rollouts.fleets import PROMPTS, SAMPLING, adapter, came, held, paths, wait_until


class StubProcess(Server):
    """A server of ours whose process is a stub."""

    def __init__(self, log: Path, *, sleeps: bool) -> None:
        super().__init__("none", lora_rank=8, max_adapters=3, log=log, sleeps=sleeps, options={})
        self.stub = StubServer()
        self.stub.stop()
        self.url, self.up = self.stub.url, False

    def start(self) -> None:
        self.stop()
        self.starts += 1
        self.stub.start()
        self.up = True

    def running(self) -> bool:
        return self.up

    def stop(self) -> None:
        self.stub.stop()
        self.up = False


@contextmanager
def owned(chat: Chat, *servers: StubProcess) -> Iterator[ServerEngine]:
    engine = ServerEngine(servers, chat=chat, check_every=0.02, tolerance=1e-4)
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
        dies.stop()
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
