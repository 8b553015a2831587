"""One vLLM server of a pool: its HTTP requests and its state."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, TypeVar

import httpx2

from rollouts.engine import AdapterVersion
from rollouts.servers.launch import Server

_T = TypeVar("_T")
_LONGEST_COMPLAINT = 500  # characters of a server's message that an error repeats
_HEALTH_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_LOAD_SECONDS = 60.0
_GENERATE = "/inference/v1/generate"


class ReplicaLost(Exception):
    """The server does not answer; another server must do its work."""


class ReplicaFault(Exception):
    """The server failed on this request, but may succeed on it later."""


class ReplicaRefused(Exception):
    """The server rejects the request permanently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer: `completions` as token ids and log-probs, both [tokens], by index."""

    prompt_ids: list[int]
    completions: list[tuple[list[int], list[float]]]


@dataclass(slots=True, kw_only=True, eq=False)
class Replica:
    """A server's address, its known state, and its requests.

    Attributes:
        url: base URL.
        client: sends the requests with the API key.
        server: the process, if we started it.
        base: the name under which it serves the base VLM; known after its first answer.
        lost: set while it does not answer; every current request then raises `ReplicaLost`.
        why_lost: the reason of its removal.
        given_up: the reason why it gets no more requests, or "".
        heard: time of its last response, in monotonic seconds.
        completed: time of its last completed group, or of a group that it got while idle.
        back_since: time of its last readmission.
        under_way: number of requested sequences that are not finished.
        outages: number of losses without a completed group in between.
        faults: number of consecutive failed requests; it gets no request before `not_before`.
    """

    url: str
    client: httpx2.AsyncClient
    server: Server | None = None
    base: str = ""
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    why_lost: str = ""
    given_up: str = ""
    heard: float = 0.0
    completed: float = 0.0
    back_since: float = 0.0
    under_way: int = 0
    outages: int = 0
    faults: int = 0
    not_before: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether it may get work."""
        return not self.lost.is_set()

    def begin(self, n: int) -> None:
        """Record a request for n sequences."""
        self.completed = self.completed if self.under_way else time.monotonic()
        self.under_way += n

    def did_well(self) -> None:
        """Record a completed group."""
        self.completed, self.outages, self.faults = time.monotonic(), 0, 0

    def did_badly(self) -> None:
        """Record a failed request; the next request is delayed."""
        self.faults += 1
        self.not_before = time.monotonic() + min(5.0, 0.05 * 2**self.faults)

    async def trouble(self, *, at_once: bool = False) -> ReplicaLost | None:
        """The reason why the server or its engine is unusable; None if it is healthy or only slow to answer.

        With `at_once`, a slow server counts as unusable.
        """
        if self.server is not None and not self.server.running():
            return ReplicaLost(f"{self.url} does not answer: its process has ended")
        try:
            answer = await self.client.get(f"{self.url}/health", timeout=_HEALTH_SECONDS)
        except httpx2.HTTPError as error:
            slow = isinstance(error, httpx2.TimeoutException) and not at_once
            return None if slow else _lost(self.url, error)
        self.heard = time.monotonic()
        well = answer.status_code == 200
        return None if well else ReplicaLost(f"{self.url} is not healthy: status {answer.status_code}")

    async def served(self) -> dict[str, str]:
        """The served models with the paths that they were loaded from; stores the base VLM's name."""
        answer = await self._send("GET", "/v1/models", timeout=_HEALTH_SECONDS)
        try:
            held = {card["id"]: (card["root"], card["parent"]) for card in answer["data"]}
            self.base = next(name for name, (_, parent) in held.items() if parent is None)
        except (AttributeError, KeyError, TypeError, StopIteration) as error:
            raise ReplicaRefused(f"{self.url} is no vLLM server: /v1/models says {answer!r:.200}") from error
        return {name: root for name, (root, _) in held.items()}

    async def load(self, name: str, adapter: AdapterVersion) -> None:
        """Load an adapter under `name`. Does nothing if it is already loaded from the same path."""
        path = adapter.path.absolute() if adapter.path else None
        body = {"lora_name": name, "lora_path": str(path)}
        try:
            await self._send("POST", "/v1/load_lora_adapter", body, timeout=_LOAD_SECONDS)
        except (ReplicaRefused, ReplicaFault) as error:  # vLLM's errors for unloadable adapters
            if (await self.served()).get(name) == str(path):
                return
            if "No adapter found" in str(error):
                raise ReplicaRefused(
                    f"{self.url} cannot read {path}: servers load adapters from their own file systems; let "
                    "each see the run's folder under the same path (a shared one; docs/engines.md, Servers)"
                ) from error
            raise ReplicaRefused(str(error)) from error

    async def unload(self, name: str) -> None:
        """Unload an adapter; a missing one is not an error."""
        try:
            await self._send("POST", "/v1/unload_lora_adapter", {"lora_name": name}, timeout=_HEALTH_SECONDS)
        except ReplicaRefused as refusal:
            if "cannot be found" not in str(refusal):
                raise

    async def generate(self, request: dict[str, Any], model: str | None, *, n: int) -> Answer:
        """Send one request of `/inference/v1/generate` to an adapter, or to the base VLM for None.

        Raises:
            ReplicaLost: the server does not answer, or has lost the adapter.
            ReplicaFault: the server failed, or its answer is not usable.
            ReplicaRefused: the server rejects such a request.
        """
        asked = model or self.base
        answer = await self.unless_lost(self._send("POST", _GENERATE, request | {"model": asked}))
        scored = request["sampling_params"]["logprobs"] is not None
        try:
            if answer["model"] != asked:
                raise ValueError(f"it is of {answer['model']!r} and not of {asked!r}")
            choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
            reasons = [choice["finish_reason"] for choice in choices]
            if len(reasons) != n or not {"stop", "length"}.issuperset(reasons):
                raise ValueError(f"{n} completions were asked for, and ended as {reasons}")
            made = [
                (
                    [int(i) for i in c["token_ids"]],
                    [float(t["logprob"]) for t in c["logprobs"]["content"]] if scored else [],
                )
                for c in choices
            ]
            for ids, logprobs in made:
                if not ids or (scored and len(ids) != len(logprobs)) or not all(map(isfinite, logprobs)):
                    raise ValueError(f"a completion has {len(ids)} tokens and {len(logprobs)} log-probs")
            return Answer(prompt_ids=[int(i) for i in answer["prompt_token_ids"]], completions=made)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ReplicaFault(
                f"{self.url}{_GENERATE} gives an answer that cannot be used ({type(error).__name__}: {error})"
            ) from error

    async def unless_lost(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do `work`, or raise `ReplicaLost` as soon as the server is removed."""
        working, losing = asyncio.ensure_future(work), asyncio.ensure_future(self.lost.wait())
        try:
            await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise ReplicaLost(f"{self.url} stopped answering")
        finally:
            working.cancel()
            losing.cancel()

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout: float | None = None
    ) -> Any:
        """Send a request; without a timeout the pool decides when the server counts as lost."""
        limits = httpx2.Timeout(timeout, connect=_CONNECT_SECONDS)
        try:
            answer = await self.client.request(method, self.url + path, json=body, timeout=limits)
        except httpx2.HTTPError as error:
            raise _lost(self.url, error) from error
        self.heard = time.monotonic()
        status, complaint = answer.status_code, f"{answer.status_code} {answer.text[:_LONGEST_COMPLAINT]}"
        if status == 200:
            try:
                return (
                    answer.json() if answer.headers.get("content-type", "").startswith("app") else answer.text
                )
            except ValueError as error:
                raise ReplicaFault(f"{self.url}{path} answers with broken JSON: {complaint}") from error
        if status == 401:
            raise ReplicaRefused(
                f"{self.url} does not take the API key: set VLLM_API_KEY to the server's own"
            )
        if status == 404 and path == _GENERATE:  # it was restarted in the meantime
            raise ReplicaLost(f"{self.url} does not hold what it is asked for: {complaint}")
        if status == 429 or status >= 500:
            raise ReplicaFault(f"{self.url}{path}: {complaint}")
        raise ReplicaRefused(f"{self.url}{path}: {complaint}")


def _lost(url: str, error: Exception) -> ReplicaLost:
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return ReplicaLost(f"{url} does not answer ({said})")
