"""Two real vLLM servers of ours: killed, frozen and refused, every request is answered once and rightly."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from rollouts.chat import Chat
from rollouts.engine import AdapterVersion, Completion, EngineUnavailable, Prompt, Sampling
from rollouts.server_engine import ServerEngine
from rollouts.servers.launch import Server, flags, tied
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Model
from visplay.models.engines import CPU_DEFAULTS
from visplay.models.policy import Policy, load_base
from visplay.models.preflight import randomize_lora_b
from visplay.models.processor import load_processor
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import reasoner_prompt
from visplay.runs.checkpoints import numbered

KEY = "a-key-for-this-test"
POCKET = Model(path="pocket", dtype="float32")
SAMPLING = Sampling(n=8, max_tokens=48, seed=1)


def started(test: Callable[..., None]) -> Callable[..., None]:
    """A test of servers that really start, a minute each."""
    return pytest.mark.extra(pytest.mark.slow(test))


@dataclass(frozen=True)
class Fleet:
    engine: ServerEngine
    servers: list[Server]
    adapters: list[AdapterVersion]
    prompts: list[Prompt]

    def generate(self, adapter: AdapterVersion) -> list[list[Completion]]:
        return self.engine.generate(self.prompts, adapter=adapter, sampling=SAMPLING)

    def wait_for(self, what: str, server: Server, *, since: float, seconds: float) -> float:
        """Seconds from `since` until the engine noted `what` of a server."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for at, url, event in self.engine._pool.events:
                if (url, event) == (server.url, what) and at >= since:
                    return at - since
            time.sleep(0.1)
        raise AssertionError(f"{server.url} was not {what} within {seconds} s: {self.engine._pool.events}")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    policy = Policy(*load_base(POCKET), lora=Lora(rank=4, alpha=8))
    adapters = [numbered(folder, "shared", version) for version in range(3)]
    for adapter in adapters:
        policy.create_adapter(adapter, seed=adapter.version)
        randomize_lora_b(adapter, size=0.3, seed=adapter.version)
    chat = Chat(policy.processor, config=policy.model.config, generation=policy.model.generation_config)
    options = {"dtype": "float32", **CPU_DEFAULTS}
    servers = [
        Server(
            POCKET.source, lora_rank=8, max_adapters=3, log=folder / f"{i}.log", options=options
        )
        for i in range(2)
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_API_KEY", KEY)  # the servers inherit it, also when they are started again
        engine = ServerEngine(servers, chat=chat, api_key=KEY, silence=10)
        pictures = [render(scene) for scene in sample_scenes(16, split="development", seed=0)]
        prompts = [
            reasoner_prompt(p, "How many shapes are there?", key=str(i), words=Prompts())
            for i, p in enumerate(pictures)
        ]
        engine.publish(adapters[0])
        yield Fleet(engine, servers, adapters, prompts)
        engine.close()
    assert not any(server.running() for server in servers)
    assert not any(KEY in server.log.read_text() for server in servers)


def same(first: list[list[Completion]], second: list[list[Completion]]) -> float:
    """The share of completions that are equal token by token; batches of another size round differently."""
    pairs = [pair for groups in zip(first, second, strict=True) for pair in zip(*groups, strict=True)]
    return sum(a.token_ids == b.token_ids for a, b in pairs) / len(pairs)


@started
def test_without_the_key_nothing_is_answered(fleet: Fleet) -> None:
    answer = httpx2.post(f"{fleet.servers[0].url}/inference/v1/generate", json={}, trust_env=False)
    assert answer.status_code == 401


@started
def test_an_adapter_that_one_refuses_is_on_none(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"none@0 is not published: .*cannot read .*/nowhere"):
        fleet.engine.publish(AdapterVersion(name="none", version=0, path=tmp_path / "nowhere"))
    headers = {"Authorization": f"Bearer {KEY}"}
    for server in fleet.servers:
        models = httpx2.get(f"{server.url}/v1/models", headers=headers, trust_env=False).json()["data"]
        assert [card["root"] for card in models][1:] == [str(fleet.adapters[0].path)]


@started
def test_servers_that_run_already_are_used_by_their_addresses_and_left_running(fleet: Fleet) -> None:
    urls = [f"{server.url}/" for server in fleet.servers]
    other = ServerEngine(urls, chat=fleet.engine._chat, api_key=KEY)
    other.publish(fleet.adapters[0])  # beside the fleet's own of this version, under another name
    theirs = other.generate(fleet.prompts, adapter=fleet.adapters[0], sampling=SAMPLING)
    other.close()
    assert same(theirs, fleet.generate(fleet.adapters[0])) > 0.95
    assert all(server.running() for server in fleet.servers)


@started
@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_server_lost_in_mid_batch_costs_no_completion(fleet: Fleet, harm: signal.Signals) -> None:
    victim, pid = fleet.servers[0], fleet.servers[0].pid
    assert pid is not None
    undisturbed = fleet.generate(fleet.adapters[0])
    newer = fleet.adapters[1 if harm is signal.SIGKILL else 2]
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(fleet.generate, fleet.adapters[0])
        time.sleep(0.5)
        assert not batch.done()
        started = time.monotonic()
        os.kill(pid, harm)
        disturbed = batch.result(300)
        answered = time.monotonic() - started
    noticed = fleet.wait_for("lost", victim, since=started, seconds=60)
    assert [len(group) for group in disturbed] == [8] * 16
    assert {c.adapter for group in disturbed for c in group} == {fleet.adapters[0]}
    assert same(undisturbed, disturbed) > 0.95
    fleet.engine.publish(newer)  # which the lost one has yet to learn of
    if harm is signal.SIGSTOP:
        os.kill(pid, signal.SIGCONT)
    back = fleet.wait_for("back", victim, since=started, seconds=300)
    print(f"{harm.name}: noticed {noticed:.1f} s, batch {answered:.1f} s, back {back:.1f} s after the signal")
    again = fleet.generate(newer)  # half of it by the one that came back
    assert {c.adapter for group in again for c in group} == {newer}
    assert same(undisturbed, again) < 0.9
    alone = fleet.engine.generate(fleet.prompts[:4], adapter=newer, sampling=replace(SAMPLING, n=1))
    assert [g[0].token_ids for g in alone] == [g[0].token_ids for g in again[:4]]


@started
def test_with_no_server_left_it_says_so(fleet: Fleet) -> None:
    """Last of this module: it stops both."""
    for server in fleet.servers:
        server.deaths = 4  # as if each had been started again too often
        os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(EngineUnavailable, match=r"no server is left: .* has died 4 times"):
        fleet.generate(fleet.adapters[0])


@started
def test_a_server_that_cannot_start_is_named_with_its_log_tail(tmp_path: Path) -> None:
    server = Server(str(tmp_path), lora_rank=8, max_adapters=3, log=tmp_path / "log", options={"no_such": 1})
    model, processor = load_base(POCKET)
    chat = Chat(processor, config=model.config, generation=model.generation_config)
    with pytest.raises(EngineUnavailable, match="did not start"):
        ServerEngine([server], chat=chat, patience=120)


def test_options_become_flags() -> None:
    options = {"enforce_eager": True, "enable_chunked_prefill": False, "revision": None, "seed": 3}
    assert flags(options) == ["--enforce-eager", "--no-enable-chunked-prefill", "--seed", "3"]
    assert flags({"mm_processor_kwargs": {"max_pixels": 9}}) == ["--mm-processor-kwargs", '{"max_pixels": 9}']


@contextmanager
def something_else(status: int, said: str) -> Iterator[str]:
    """The address of a server that is healthy and answers every other request with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "said", "complaint"),
    [
        (401, "{}", "does not take the API key: set VLLM_API_KEY"),
        (200, '{"data": [{"id": "gpt"}]}', "is no vLLM server: /v1/models says"),
        (404, "nothing", "/v1/models: 404 nothing"),
    ],
)
def test_an_address_of_something_else_is_said_at_once(status: int, said: str, complaint: str) -> None:
    chat = Chat.load(load_processor(POCKET), POCKET.source)
    with something_else(status, said) as url, pytest.raises(EngineUnavailable, match=complaint):
        ServerEngine([url], chat=chat)


def test_an_address_without_a_server_is_not_waited_for_long() -> None:
    chat = Chat.load(load_processor(POCKET), POCKET.source)
    with something_else(200, "") as url:
        pass  # nobody listens there any more
    with pytest.raises(
        EngineUnavailable, match=r"after 0\.1 s, .* is it running, and is its address right\?"
    ):
        ServerEngine([url], chat=chat, patience=0.1)


def test_what_a_launcher_sets_for_its_ranks_does_not_reach_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    of_ranks = [
        "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "ROLE_NAME", "WORLD_SIZE",
        "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
        "TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE", "ACCELERATE_USE_FSDP", "FSDP_VERSION",
    ]  # fmt: skip
    for name in (*of_ranks, "RANKING", "VLLM_API_KEY"):
        monkeypatch.setenv(name, "1")
    left = subprocess.run(tied(["env"]), check=True, capture_output=True, text=True).stdout
    names = {line.partition("=")[0] for line in left.splitlines()}
    assert not names & set(of_ranks)
    assert {"RANKING", "VLLM_API_KEY"} <= names
