"""A fleet of servers that leave and come back, and of which one is slow: told with servers that sleep.

What real vLLM servers do is in test_servers.py.
"""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stub_vllm import StubServer
from rollouts.chat import Chat
from rollouts.engine import BASE, AdapterVersion, EngineUnavailable
from rollouts.server_engine import ServerEngine
from tests.rollouts.fleets import (
    PROMPTS,
    SAMPLING,
    Words,
    adapter,
    came,
    fleet,
    held,
    paths,
    wait_until,
    words,
)


@pytest.mark.parametrize("forget", [True, False], ids=["started again", "cut off"])
def test_a_server_that_left_in_one_phase_is_taken_back_in_the_next_with_the_adapters_that_are_live(
    chat: Chat, tmp_path: Path, forget: bool
) -> None:
    lost, stays = StubServer(), StubServer()
    with fleet(chat, lost, stays) as engine:
        frozen = adapter(tmp_path / "step", 0)
        phase_1 = [adapter(tmp_path / "phase-1", version) for version in (1, 2)]
        for version in (frozen, *phase_1):
            engine.publish(version)
        assert held(lost) == held(stays) == paths(frozen, *phase_1)
        lost.stop()
        wait_until(lambda: came(engine, lost, "lost") == 1)
        shutil.rmtree(tmp_path / "phase-1")  # the phase has ended
        engine.generate(PROMPTS[:1], adapter=frozen, sampling=SAMPLING)
        phase_2 = adapter(tmp_path / "phase-2", 3)
        engine.publish(phase_2)
        assert held(stays) == paths(frozen, phase_2)  # what has gone is let go of
        lost.start(forget=forget)
        wait_until(lambda: came(engine, lost, "back") == 2)
        assert held(lost) == paths(frozen, phase_2)
        assert lost.adapters == stays.adapters
        lost.asked.clear()
        groups = engine.generate(PROMPTS, adapter=phase_2, sampling=SAMPLING)
        assert {completion.adapter for group in groups for completion in group} == {phase_2}
        assert len(set(lost.asked)) == 1 and lost.asked[0].endswith("shared-3")


def test_a_version_whose_files_go_while_nobody_is_there_keeps_none_from_coming_back(
    chat: Chat, tmp_path: Path
) -> None:
    only = StubServer()
    with fleet(chat, only) as engine:
        gone, kept = adapter(tmp_path / "phase-1", 1), adapter(tmp_path / "step", 2)
        engine.publish(gone)
        engine.publish(kept)
        only.stop()
        wait_until(lambda: came(engine, only, "lost") == 1)
        shutil.rmtree(tmp_path / "phase-1")
        only.start()
        groups = engine.generate(PROMPTS[:2], adapter=kept, sampling=SAMPLING)  # waits for it
        assert [completion.adapter for group in groups for completion in group] == [kept] * 4
        assert held(only) == paths(kept)
        with pytest.raises(KeyError, match=r"shared@1 is not loaded; publish it first\. Loaded: shared@2"):
            engine.generate(PROMPTS[:1], adapter=gone, sampling=SAMPLING)


def test_adapters_of_other_runs_stay_on_a_server_that_comes_back(chat: Chat, tmp_path: Path) -> None:
    shared, other = StubServer(), StubServer()
    with fleet(chat, shared, other) as engine:
        theirs = adapter(tmp_path / "theirs", 7)
        shared.adapters["visplay-0123abcd-shared-7"] = (str(theirs.path), "theirs")
        engine.publish(adapter(tmp_path / "ours", 1))
        shared.stop()
        wait_until(lambda: came(engine, shared, "lost") == 1)
        shared.start(forget=False)
        wait_until(lambda: came(engine, shared, "back") == 2)
        assert "visplay-0123abcd-shared-7" in shared.adapters and len(shared.adapters) == 2


def test_a_server_that_comes_back_with_other_weights_is_left_out_and_said(
    chat: Chat, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed, other = StubServer(), StubServer()
    with fleet(chat, changed, other) as engine:
        engine.publish(version := adapter(tmp_path, 1))
        changed.stop()
        wait_until(lambda: came(engine, changed, "lost") == 1)
        changed.base = "another revision"
        changed.start()
        wait_until(lambda: "is not taken back" in caplog.text)
        assert "nats apart with the base VLM: give all servers the same model, revision" in caplog.text
        changed.asked.clear()
        engine.generate(PROMPTS, adapter=version, sampling=SAMPLING)
        assert not changed.asked and came(engine, changed, "back") == 1
        changed.base = other.base
        wait_until(lambda: came(engine, changed, "back") == 2)


def test_a_server_that_does_not_see_the_runs_folder_is_named(chat: Chat, tmp_path: Path) -> None:
    here, there = StubServer(), StubServer(sees=tmp_path / "elsewhere")
    with fleet(chat, here, there) as engine:
        version = adapter(tmp_path / "run", 1)
        complaint = f"shared@1 is not published: {there.url} cannot read {version.path}: .* the same path"
        with pytest.raises(EngineUnavailable, match=complaint):
            engine.publish(version)
        assert held(here) == []


def test_another_file_under_the_same_path_is_found_when_it_is_published(chat: Chat, tmp_path: Path) -> None:
    """As where two machines have a folder of one name that they don't share."""

    class Elsewhere(StubServer):
        def _load(self, path: Path, name: str) -> tuple[int, str]:
            status, said = super()._load(path, name)
            self.adapters[name] = (str(path), "an older file")
            return status, said

    here, there = StubServer(), Elsewhere()
    with fleet(chat, here, there) as engine:
        with pytest.raises(EngineUnavailable, match=r"nats apart with visplay-.*-shared-1: give all"):
            engine.publish(adapter(tmp_path, 1))
        assert held(here) == held(there) == []
        with pytest.raises(KeyError):
            engine.generate(PROMPTS[:1], adapter=AdapterVersion(name="shared", version=1, path=tmp_path),
                            sampling=SAMPLING)  # fmt: skip


def answers(chat: Chat, *stubs: StubServer, **options: int) -> Words:
    with fleet(chat, *stubs, **options) as engine:
        return words(engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING))


def test_completions_are_the_same_whoever_serves_them(chat: Chat) -> None:
    """One server, three of which one is slow, and room for one group at a time: other routes, other order."""
    alone = answers(chat, StubServer())
    assert len({tokens for group in alone for tokens in group}) > 40  # of 48: seeds and prompts differ
    assert answers(chat, StubServer(), StubServer(), StubServer(seconds_per_token=0.05)) == alone
    assert answers(chat, StubServer(), StubServer(seconds_per_token=0.02), tokens_in_flight=1) == alone


@contextmanager
def under_way(chat: Chat, *stubs: StubServer, groups: int, **options: int) -> Iterator[None]:
    """While so many groups are at the servers, none of which answers before the end."""
    for stub in stubs:
        stub.held = True
    with fleet(chat, *stubs, **options) as engine, ThreadPoolExecutor(1) as pool:
        batch = pool.submit(engine.generate, PROMPTS, adapter=BASE, sampling=SAMPLING)
        try:
            wait_until(lambda: sum(stub.computed for stub in stubs) == groups * SAMPLING.n)
            yield
        finally:
            for stub in stubs:
                stub.held = False
        assert len(batch.result(20)) == len(PROMPTS)


def test_work_is_spread_by_load(chat: Chat) -> None:
    stubs = [StubServer() for _ in range(3)]
    with under_way(chat, *stubs, groups=24):
        assert max(len(stub.asked) for stub in stubs) <= 11  # a share is 8, a quarter and one more allowed


def test_no_server_has_more_tokens_under_way_than_it_may(chat: Chat) -> None:
    stubs = [StubServer() for _ in range(2)]
    tokens = [SAMPLING.n * (len(chat.ids(prompt)) + SAMPLING.max_tokens) for prompt in PROMPTS]
    assert max(tokens) * 3 < min(tokens) * 4
    with under_way(chat, *stubs, groups=6, tokens_in_flight=3 * max(tokens)):
        assert [len(stub.asked) for stub in stubs] == [3, 3]
    assert [stub.most_at_once for stub in stubs] == [3 * SAMPLING.n] * 2


def leave_out(engine: ServerEngine, stub: StubServer) -> None:
    """Ask until a call leaves the server out."""
    asked = -1
    while len(stub.asked) > asked:
        asked = len(stub.asked)
        groups = engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
        assert [len(group) for group in groups] == [SAMPLING.n] * len(PROMPTS)


def test_a_server_that_hangs_holds_up_nobody_and_is_given_nothing_more(chat: Chat) -> None:
    """It is healthy and never answers: the test would not end if its groups were waited for."""
    hangs, healthy = StubServer(), [StubServer(seconds_per_token=0.01) for _ in range(2)]
    hangs.held = True
    with fleet(chat, hangs, *healthy) as engine:
        leave_out(engine, hangs)
        assert hangs.asked and came(engine, hangs, "lost") == 0


def test_a_slow_server_that_has_recovered_is_used_again(chat: Chat) -> None:
    slow, healthy = StubServer(seconds_per_token=0.1), StubServer(seconds_per_token=0.002)
    with fleet(chat, slow, healthy) as engine:
        leave_out(engine, slow)
        slow.seconds_per_token = 0.002
        slow.asked.clear()
        while not slow.asked:  # what was seen of it is believed less and less
            engine.generate(PROMPTS[:4], adapter=BASE, sampling=SAMPLING)


def test_groups_of_a_server_that_dies_in_mid_batch_are_answered_by_others(chat: Chat) -> None:
    dies, stays = StubServer(), StubServer(seconds_per_token=0.01)
    dies.held = True
    alone = answers(chat, StubServer())
    with fleet(chat, dies, stays) as engine, ThreadPoolExecutor(1) as pool:
        batch = pool.submit(engine.generate, PROMPTS, adapter=BASE, sampling=SAMPLING)
        wait_until(lambda: bool(dies.asked))
        dies.stop()
        assert words(batch.result(20)) == alone


def test_a_group_that_fails_everywhere_is_said_with_what_the_servers_said(chat: Chat) -> None:
    class Fails(StubServer):
        def answer(self, path: str, body: dict[str, Any], alive: Any) -> tuple[int, Any]:
            status, said = super().answer(path, body, alive)
            return (500, "out of luck") if status == 200 and "prompt_token_ids" in said else (status, said)

    with fleet(chat, Fails(), Fails()) as engine, pytest.raises(EngineUnavailable) as raised:
        engine.generate(PROMPTS[:1], adapter=BASE, sampling=SAMPLING)
    assert str(raised.value).count("out of luck") == 5
    with fleet(chat, Fails(), healthy := StubServer()) as engine:  # one that fails is not asked twice
        engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
        assert len(healthy.asked) == len(PROMPTS)


def test_requests_that_are_taken_back_leave_the_server(chat: Chat) -> None:
    hangs, healthy = StubServer(), StubServer()
    hangs.held = True
    with fleet(chat, hangs, healthy) as engine:
        engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
        assert hangs.asked
        wait_until(lambda: hangs.computed == 0)


def test_an_engine_is_closed_with_a_batch_under_way(chat: Chat) -> None:
    """As at Ctrl-C, when another thread waits for rollouts of the next step."""
    hangs = StubServer()
    hangs.held = True
    with fleet(chat, hangs) as engine, ThreadPoolExecutor() as pool:
        batch = pool.submit(engine.generate, PROMPTS, adapter=BASE, sampling=SAMPLING)
        wait_until(lambda: hangs.computed > 0)
        began = time.monotonic()
        engine.close()
        assert time.monotonic() - began < 3
        with pytest.raises(CancelledError):
            batch.result()
        with pytest.raises(EngineUnavailable, match="closed"):
            engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
        engine.close()  # again, to no effect
