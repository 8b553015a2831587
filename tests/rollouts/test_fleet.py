"""A fleet of servers that leave and come back, and of which one is slow: told with servers that sleep.

What real vLLM servers do is in test_servers.py.
"""

import base64
import io
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.stub_vllm import StubServer, stub_servers
from rollouts import server_engine
from rollouts.chat import Chat
from rollouts.engine import BASE, EngineUnavailable, Prompt, RequestRefused
from rollouts.server_engine import ServerEngine
from rollouts.servers import replica
from rollouts.servers.launch import server_url
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
from visplay.config.loading import check_config
from visplay.errors import ConfigError


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


def test_a_server_that_does_not_see_the_runs_folder_is_named(chat: Chat, tmp_path: Path) -> None:
    here, there = StubServer(), StubServer(sees=tmp_path / "elsewhere")
    with fleet(chat, here, there) as engine:
        version = adapter(tmp_path / "run", 1)
        complaint = f"shared@1 is not published: {there.url} cannot read {version.path}: .* the same path"
        with pytest.raises(EngineUnavailable, match=complaint):
            engine.publish(version)
        assert held(here) == []


def answers(chat: Chat, *stubs: StubServer, **options: Any) -> Words:
    with fleet(chat, *stubs, **options) as engine:
        return words(engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING))


def test_completions_are_the_same_whoever_serves_them(chat: Chat) -> None:
    """One server, three of which one is slow, and room for one group at a time: other places, other order."""
    alone = answers(chat, StubServer())
    assert len({tokens for group in alone for tokens in group}) > 40  # of 48: seeds and prompts differ
    assert answers(chat, StubServer(), StubServer(), StubServer(seconds_per_token=0.05)) == alone
    assert answers(chat, StubServer(), StubServer(seconds_per_token=0.02), max_num_seqs=1) == alone


def test_log_probs_are_asked_for_where_they_are_needed_only(chat: Chat) -> None:
    with fleet(chat, StubServer()) as engine:
        scored = engine.generate(PROMPTS[:2], adapter=BASE, sampling=SAMPLING)
        unscored = engine.generate(PROMPTS[:2], adapter=BASE, sampling=replace(SAMPLING, logprobs=False))
    assert words(scored) == words(unscored)
    assert all(len(c.logprobs) == len(c.token_ids) for group in scored for c in group)
    assert all(c.logprobs == () for group in unscored for c in group)


def test_two_batches_are_under_way_at_once_and_adapters_wait_for_both(chat: Chat, tmp_path: Path) -> None:
    stub = StubServer()
    stub.held = True
    with fleet(chat, stub) as engine, ThreadPoolExecutor(3) as pool:
        batches = [
            pool.submit(engine.generate, prompts, adapter=BASE, sampling=SAMPLING)
            for prompts in (PROMPTS[:4], PROMPTS[4:8])
        ]
        wait_until(lambda: stub.computed == 8 * SAMPLING.n)
        version = adapter(tmp_path, 1)
        published = pool.submit(engine.publish, version)
        time.sleep(0.3)
        assert not published.done() and held(stub) == []
        stub.held = False
        assert [len(batch.result(20)) for batch in batches] == [4, 4]
        published.result(20)
        assert held(stub) == paths(version)


def test_a_picture_is_encoded_once_a_call_without_loss(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the threads that send requests, not before the first of them leaves."""
    encoded: list[str] = []
    url = server_engine._data_url
    monkeypatch.setattr(server_engine, "_data_url", lambda image: encoded.append(url(image)) or encoded[-1])
    picture = Image.radial_gradient("L").resize((40, 30)).convert("RGB")
    blocks = [{"type": "image"}, {"type": "text", "text": "How many?"}]
    prompts = [Prompt(messages=({"role": "user", "content": blocks},), images=(picture,))] * 6
    with fleet(chat, StubServer()) as engine:
        engine.generate(prompts, adapter=BASE, sampling=SAMPLING)
    kind, _, data = encoded[0].partition(",")
    assert len(encoded) == 1 and kind == "data:image/bmp;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).tobytes() == picture.tobytes()


def test_each_group_is_asked_once(chat: Chat) -> None:
    slow, idle = StubServer(seconds_per_token=0.1), StubServer()
    with fleet(chat, slow, idle) as engine:
        groups = engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
    assert slow.asked and len(slow.asked) + len(idle.asked) == len(PROMPTS)
    assert [len(group) for group in groups] == [SAMPLING.n] * len(PROMPTS)


@contextmanager
def under_way(chat: Chat, *stubs: StubServer, groups: int, **options: Any) -> Iterator[None]:
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


def test_work_goes_to_the_server_with_the_least_of_it(chat: Chat) -> None:
    stubs = [StubServer() for _ in range(3)]
    with under_way(chat, *stubs, groups=24):
        assert [len(stub.asked) for stub in stubs] == [8, 8, 8]


def test_no_server_has_more_completions_under_way_than_it_may(chat: Chat) -> None:
    stubs = [StubServer() for _ in range(2)]
    with under_way(chat, *stubs, groups=6, max_num_seqs=3 * SAMPLING.n + 1):
        assert [len(stub.asked) for stub in stubs] == [3, 3]
    assert [stub.most_at_once for stub in stubs] == [3 * SAMPLING.n] * 2


def test_groups_of_a_server_that_dies_in_mid_batch_are_answered_by_others(chat: Chat) -> None:
    dies, stays = StubServer(), StubServer(seconds_per_token=0.01)
    dies.held = True
    alone = answers(chat, StubServer())
    with fleet(chat, dies, stays) as engine, ThreadPoolExecutor(1) as pool:
        batch = pool.submit(engine.generate, PROMPTS, adapter=BASE, sampling=SAMPLING)
        wait_until(lambda: bool(dies.asked))
        dies.stop()
        assert words(batch.result(20)) == alone


def test_a_server_too_busy_for_a_health_check_keeps_its_work(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "_HEALTH_SECONDS", 0.05)
    busy = StubServer(seconds_per_token=0.05)
    busy.quiet_when_busy = True
    with fleet(chat, busy, silence=1.0, max_num_seqs=4) as engine:  # twelve rounds of up to 0.4 s
        engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
        assert came(engine, busy, "lost") == 0 and len(busy.asked) == len(PROMPTS)


@pytest.mark.parametrize(
    ("quiet", "options", "why"),
    [
        (True, {"silence": 0.5}, "has said nothing for 0.5 s"),
        (False, {"patience": 0.3}, "has completed nothing for 0.9 s"),
    ],
    ids=["silent", "healthy, and completes nothing"],
)
def test_a_server_that_hangs_loses_its_work_to_others(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    quiet: bool, options: dict[str, float], why: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(replica, "_HEALTH_SECONDS", 0.05)
    hangs, well = StubServer(), StubServer()
    hangs.held, hangs.quiet_when_busy = True, quiet
    with fleet(chat, hangs, well, **options) as engine:
        engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
        assert why in caplog.text
        wait_until(lambda: hangs.computed == 0)  # what it had under way was taken back


class Says(StubServer):
    """Answers requests for completions, and whatever `path` names, in its own way."""

    def __init__(self, change: Callable[[Any], Any], *, status: int = 200, path: str = "") -> None:
        self.change, self.status, self.path = change, status, path
        super().__init__()

    def answer(self, path: str, body: dict[str, Any], alive: Any) -> tuple[int, Any]:
        status, said = super().answer(path, body, alive)
        mine = path == self.path if self.path else status == 200 and "prompt_token_ids" in said
        return (self.status, self.change(said)) if mine else (status, said)


def edited(**fields: Any) -> Callable[[Any], Any]:
    return lambda said: said | {"choices": [{**choice, **fields} for choice in said["choices"]]}


MALFORMED = {
    "broken JSON": lambda said: b"{oops",
    "a list": lambda said: [said],
    "no completions": lambda said: {k: v for k, v in said.items() if k != "choices"},
    "one too few": lambda said: said | {"choices": said["choices"][1:]},
    "no log-probs": edited(logprobs=None),
    "no tokens": edited(token_ids=[], logprobs={"content": []}),
    "not a number": edited(token_ids=[1], logprobs={"content": [{"logprob": float("nan")}]}),
    "aborted": edited(finish_reason="abort"),
    "of another model": lambda said: said | {"model": "another"},
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_an_answer_that_cannot_be_used_is_that_servers_fault(
    chat: Chat, change: Callable[[Any], Any]
) -> None:
    wrong, right = Says(change), StubServer()
    alone = answers(chat, StubServer())
    assert answers(chat, wrong, right) == alone and wrong.asked


def test_answers_that_nobody_can_use_end_with_what_is_wrong(chat: Chat) -> None:
    change = MALFORMED["no log-probs"]
    with fleet(chat, Says(change)) as engine, pytest.raises(EngineUnavailable) as raised:
        engine.generate(PROMPTS[:1], adapter=BASE, sampling=SAMPLING)
    assert "failed 5 times" in str(raised.value) and "/inference/v1/generate" in str(raised.value)


def test_a_malformed_answer_at_the_start_names_the_server(chat: Chat) -> None:
    with (
        stub_servers(wrong := Says(lambda said: b"{oops", path="/v1/models")),
        pytest.raises(EngineUnavailable, match=rf"{wrong.url}/v1/models answers with broken JSON"),
    ):
        ServerEngine([wrong.url], chat=chat, patience=0.2, check_every=0.05)


def test_a_malformed_answer_to_an_adapter_counts_only_where_it_is_not_loaded(
    chat: Chat, tmp_path: Path
) -> None:
    wrong = Says(lambda said: b"{oops", path="/v1/load_lora_adapter")
    with fleet(chat, wrong) as engine:
        engine.publish(version := adapter(tmp_path / "first", 1))
        assert held(wrong) == paths(version)
        wrong.change = lambda said: wrong.adapters.clear() or b"{oops"
        complaint = rf"shared@2 is not published: {wrong.url}/v1/load_lora_adapter answers with broken JSON"
        with pytest.raises(EngineUnavailable, match=complaint):
            engine.publish(adapter(tmp_path / "second", 2))


def test_a_server_that_breaks_off_every_answer_is_given_up_with_the_reason(chat: Chat) -> None:
    class BreaksOff(StubServer):
        def answer(self, path: str, body: dict[str, Any], alive: Any) -> tuple[int, Any]:
            status, said = super().answer(path, body, alive)
            return (0, None) if status == 200 and "prompt_token_ids" in said else (status, said)

    breaks = BreaksOff()
    with fleet(chat, breaks) as engine, pytest.raises(EngineUnavailable) as raised:
        engine.generate(PROMPTS[:1], adapter=BASE, sampling=SAMPLING)
    assert "failed 5 times" in str(raised.value) and "does not answer (" in str(raised.value)
    breaks, well = BreaksOff(), StubServer()
    with fleet(chat, breaks, well) as engine:
        for _ in range(200):  # until it was lost five times, however busy the machine is
            assert len(engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)) == len(PROMPTS)
            time.sleep(0.1)
            if came(engine, breaks, "lost") == 5:
                break
        asked = len(breaks.asked)
        engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
        assert came(engine, breaks, "lost") == 5 and len(breaks.asked) == asked


def test_a_request_that_is_refused_says_why_and_what_to_set(chat: Chat) -> None:
    said = "This model's maximum context length is 64 tokens"
    refuses = Says(lambda _: said, status=400)
    why = r"context length is 64 tokens.*engine\.vllm\.max_model_len"
    with fleet(chat, refuses) as engine, pytest.raises(RequestRefused, match=why):
        engine.generate(PROMPTS[:1], adapter=BASE, sampling=SAMPLING)


def test_a_server_that_was_started_anew_in_between_is_given_the_adapter_again(
    chat: Chat, tmp_path: Path
) -> None:
    forgets = StubServer()
    with fleet(chat, forgets) as engine:
        engine.publish(version := adapter(tmp_path, 1))
        forgets.adapters.clear()
        groups = engine.generate(PROMPTS[:2], adapter=version, sampling=SAMPLING)
        assert {completion.adapter for group in groups for completion in group} == {version}


def test_a_server_that_fails_with_a_group_is_not_asked_for_it_again(chat: Chat) -> None:
    fails = Says(lambda _: "out of luck", status=500)
    with fleet(chat, fails, healthy := StubServer()) as engine:
        engine.generate(PROMPTS, adapter=BASE, sampling=SAMPLING)
        assert len(healthy.asked) == len(PROMPTS)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "must look like http://HOST:PORT"),
        ("127.0.0.1:8000", "must look like http://HOST:PORT"),
        ("ftp://127.0.0.1:8000", "must look like http://HOST:PORT"),
        ("http://:8000", "must look like http://HOST:PORT"),
        ("http://127.0.0.1:80a", "Port could not be cast"),
        ("http://127.0.0.1:99999", "Port out of range"),
        ("http://my host:8000", "holds a space"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_where_it_is_written(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=r"engine\.urls.*" + why):
        check_config({"images": {"source": "x"}, "engine": {"backend": "server", "urls": [url]}})
    assert server_url(" http://127.0.0.1:8000/\n") == "http://127.0.0.1:8000"


@pytest.mark.parametrize("key", ["schl\u00fcssel", "two words", "line\nbreak"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(chat: Chat, key: str) -> None:
    with pytest.raises(ValueError, match="VLLM_API_KEY has a space or a character") as raised:
        ServerEngine(["http://127.0.0.1:1"], chat=chat, api_key=key)
    assert key not in str(raised.value)


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
