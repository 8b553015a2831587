"""One vLLM server among several: what is asked of it over HTTP, and whether it still answers."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from rollouts.servers.launch import Server

_T = TypeVar("_T")
_LONGEST_COMPLAINT = 500  # characters of a server's message that an error repeats
_HEALTH_SECONDS = 5.0
_LOAD_SECONDS = 60.0


class ReplicaLost(Exception):
    """The server does not answer; its work is to be done by another."""


class ReplicaFault(Exception):
    """The server failed with this request, and may do better with it the next time."""


class ReplicaRefused(ValueError):
    """The server will not do what it was asked, however often."""


@dataclass(slots=True, kw_only=True, eq=False)
class Replica:
    """A server's address, its state as we know it, and its requests.

    Attributes:
        url: base URL.
        client: sends the requests; carries the API key.
        server: the process, where we started it.
        base: the name under which it serves the base VLM; known once it has answered.
        lost: set while it does not answer; every request under way then ends in `ReplicaLost`.
        misses: health checks without an answer, in a row.
        speed: tokens per second, lately, as a multiple of what the servers of the fleet do on average; > 0.
    """

    url: str
    client: httpx2.AsyncClient
    server: Server | None = None
    base: str = ""
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    misses: int = 0
    speed: float = 1.0

    @property
    def alive(self) -> bool:
        """Whether it may be given work."""
        return not self.lost.is_set()

    async def healthy(self) -> bool:
        """Whether the server, and the engine behind it, answer."""
        if self.server is not None and not self.server.running():
            return False
        try:
            answer = await self.client.get(f"{self.url}/health", timeout=_HEALTH_SECONDS)
        except httpx2.HTTPError:
            return False
        return answer.status_code == 200

    async def served(self) -> dict[str, str]:
        """Names of what it serves, each with the path that it was loaded from; notes the base VLM's."""
        answer = await self._send("GET", "/v1/models", timeout=_HEALTH_SECONDS)
        try:
            held = {card["id"]: (card["root"], card["parent"]) for card in answer["data"]}
            self.base = next(name for name, (_, parent) in held.items() if parent is None)
        except (KeyError, TypeError, StopIteration) as error:
            raise ReplicaRefused(f"{self.url} is no vLLM server: /v1/models says {answer!r:.200}") from error
        return {name: root for name, (root, _) in held.items()}

    async def load(self, name: str, path: Path) -> None:
        """Load an adapter under `name`; that it is there already, from the same path, is as good."""
        body = {"lora_name": name, "lora_path": str(path)}
        try:
            await self._send("POST", "/v1/load_lora_adapter", body, timeout=_LOAD_SECONDS)
        except (ReplicaRefused, ReplicaFault) as error:  # what cannot be loaded is a fault to vLLM too
            if (await self.served()).get(name) == str(path):
                return
            if "No adapter found" in str(error):
                raise ReplicaRefused(
                    f"{self.url} cannot read {path}: servers load adapters from their own file systems; let "
                    "each see the run's folder under the same path (a shared one; docs/engines.md, Servers)"
                ) from error
            raise ReplicaRefused(str(error)) from error

    async def unload(self, name: str) -> None:
        """Let go of an adapter; that it is not there is as good."""
        try:
            await self._send("POST", "/v1/unload_lora_adapter", {"lora_name": name}, timeout=_HEALTH_SECONDS)
        except ReplicaRefused as refusal:
            if "cannot be found" not in str(refusal):
                raise

    async def sleep(self) -> None:
        """Give the GPU's memory back; weights wait in main memory, the cache of pictures is emptied."""
        await self._send("POST", "/sleep?level=1", timeout=_LOAD_SECONDS)
        await self._send("POST", "/reset_encoder_cache", timeout=_LOAD_SECONDS)  # sleeping alone keeps it

    async def wake(self) -> None:
        """Take the GPU's memory again; one that is awake stays so."""
        await self._send("POST", "/wake_up", timeout=_LOAD_SECONDS)

    async def generate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request of `/inference/v1/generate`.

        Raises:
            ReplicaLost: it stopped answering, before or meanwhile.
            ReplicaFault: it failed.
            ReplicaRefused: it will not answer such a request.
        """
        return await self.unless_lost(self._send("POST", "/inference/v1/generate", request))

    async def prompt_logprobs(self, name: str, token_ids: list[int]) -> list[float]:
        """Log-probs [tokens - 1] of a prompt, from its second token on, by an adapter or the base VLM."""
        # vLLM computes them only beside a completion.
        sampling = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
        request = {"model": name, "token_ids": token_ids, "sampling_params": sampling}
        answer = await self._send("POST", "/inference/v1/generate", request, timeout=_LOAD_SECONDS)
        try:
            steps = zip(token_ids[1:], answer["prompt_logprobs"][1:], strict=True)
            return [step[str(token)]["logprob"] for token, step in steps]
        except (KeyError, TypeError, ValueError) as error:
            raise ReplicaRefused(f"{self.url} gives no log-probs of a prompt: {answer!r:.200}") from error

    async def unless_lost(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do `work`, or, once the server is taken out, raise `ReplicaLost` instead."""
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
        """Without a timeout, work may take its time: health checks say when nothing is to be hoped for."""
        limits = httpx2.Timeout(timeout, connect=_HEALTH_SECONDS)
        try:
            answer = await self.client.request(method, self.url + path, json=body, timeout=limits)
        except httpx2.HTTPError as error:
            raise ReplicaLost(f"{self.url} does not answer: {type(error).__name__}") from error
        if answer.status_code == 200:
            return answer.json() if answer.headers.get("content-type", "").startswith("app") else answer.text
        if answer.status_code == 401:
            raise ReplicaRefused(
                f"{self.url} does not take the API key: set VLLM_API_KEY to the server's own"
            )
        complaint = f"{self.url}{path}: {answer.status_code} {answer.text[:_LONGEST_COMPLAINT]}"
        if answer.status_code == 429 or answer.status_code >= 500:
            raise ReplicaFault(complaint)
        raise ReplicaRefused(complaint)
