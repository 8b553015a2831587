"""Rollouts from vLLM servers: addresses that are given, or replicas that we start, own and stop."""

import base64
import io
import threading
import uuid
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import httpx2
import torch
from anyio.from_thread import start_blocking_portal
from PIL import Image
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from rollouts.chat import Chat, image_id
from rollouts.engine import AdapterVersion, Completion, EngineUnavailable, Prompt, Sampling
from rollouts.servers.dispatch import Dispatch, Group
from rollouts.servers.fingerprints import Fingerprints
from rollouts.servers.fleet import Fleet, Published
from rollouts.servers.launch import Server
from rollouts.servers.replica import Replica, ReplicaFault, ReplicaLost, ReplicaRefused

_T = TypeVar("_T")
_PROBE = Prompt(messages=({"role": "user", "content": [{"type": "text", "text": "Is there a red square?"}]},))


class ServerEngine:
    """Draws completions from several vLLM servers, each of which holds every published adapter.

    A group of n completions is one request; `Dispatch` says which server it goes to. One that fails its
    health checks is taken out and its groups go to others; it is taken back, with the adapters as they then
    are, when it answers again. A group has one place in the result, filled once.

    Args:
        servers: base URLs of running servers, or servers of ours that are not started yet.
        chat: how this VLM's prompts become tokens.
        max_adapters: versions kept; publishing one more drops the least recently used.
        tokens_in_flight: the most that prompts and completions under way may come to at each server.
        deterministic: seed each request.
        api_key: sent to all of them; None sends none.
        patience: seconds without any server that answers before giving up; also to wait for the start.
        check_every: seconds between health checks.
        tolerance: mean distance of log-probs at which two servers hold other weights, in nats; > 0.

    Raises:
        EngineUnavailable: one of the servers did not come up.
    """

    def __init__(
        self,
        servers: Sequence[str | Server],
        *,
        chat: Chat,
        max_adapters: int = 3,
        tokens_in_flight: int = 1 << 19,
        deterministic: bool = True,
        api_key: str | None = None,
        patience: float = 600.0,
        check_every: float = 1.0,
        tolerance: float = 1.0,
    ) -> None:
        self._chat, self._patience, self._deterministic = chat, patience, deterministic
        self._tokens_in_flight = tokens_in_flight
        self._in_use = threading.Lock()  # held while requests are in flight or adapters change
        self._prefix = f"visplay-{uuid.uuid4().hex[:8]}"  # other runs may use the same servers
        self._closed = False
        self._answers: Future[list[dict[str, Any]]] | None = None  # of the last batch
        self._portal_context = start_blocking_portal()
        self._portal = self._portal_context.__enter__()
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # Nothing is taken from the environment, so no proxy either.
        self._client = httpx2.AsyncClient(
            headers=headers, trust_env=False, limits=httpx2.Limits(max_connections=None)
        )
        replicas = [
            Replica(
                url=s.url if isinstance(s, Server) else s.rstrip("/"), client=self._client,
                server=s if isinstance(s, Server) else None,
            )
            for s in servers
        ]  # fmt: skip
        self._fleet = Fleet(
            replicas, prefix=self._prefix, max_adapters=max_adapters, check_every=check_every,
            fingerprints=Fingerprints(chat.ids(_PROBE), tolerance=tolerance),
        )  # fmt: skip
        try:
            self._portal.call(self._fleet.open, patience)
        except BaseException:
            self.close()
            raise

    @property
    def events(self) -> list[tuple[float, str, str]]:
        """(monotonic seconds, URL, `lost` or `back`) of every server taken out or back so far."""
        return list(self._fleet.events)

    def publish(self, adapter: AdapterVersion) -> None:
        """Load a version on every server that answers, or, where one refuses it, on none.

        Raises:
            ValueError: this version is there already, from another path.
            EngineUnavailable: no server answers, or one refused the adapter.
        """
        if adapter.path is None or self._fleet.published(adapter):
            return
        name = f"{self._prefix}-{adapter.name}-{adapter.version}"
        published = Published(adapter=adapter, name=name, path=adapter.path.absolute())

        async def attempt() -> None:
            await self._fleet.publish(published)

        with self._in_use:
            self._wake()
            try:
                self._portal.call(self._patiently, attempt)
            except ReplicaRefused as error:
                raise EngineUnavailable(f"{adapter} is not published: {error}") from error

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        """See `RolloutEngine.generate`.

        Raises:
            KeyError: `adapter` was never published, or has been dropped since.
            ValueError: a server refused a request.
            EngineUnavailable: no server answers, or what it answers is not what was asked for.
        """
        with self._in_use:
            name = self._fleet.use(adapter).name if adapter.path is not None else None
            urls: dict[str, str] = {}
            groups = [
                self._group(prompt, place=i, sampling=sampling, name=name, urls=urls)
                for i, prompt in enumerate(prompts)
            ]
            dispatch = Dispatch(
                self._fleet, groups, tokens_in_flight=self._tokens_in_flight, patience=self._patience
            )
            self._wake()
            if self._closed:
                raise EngineUnavailable("the engine was closed")
            self._answers = self._portal.start_task_soon(dispatch.answers)
            answers = self._answers.result()
        return [self._completions(answer, adapter=adapter, sampling=sampling) for answer in answers]

    def sleep(self) -> None:
        """Leave the GPU to the trainer, where servers of ours can; others have machines of their own.

        Raises:
            EngineUnavailable: a server will not sleep.
        """
        with self._in_use:
            self._do(self._fleet.sleep)

    def close(self) -> None:
        """Let go of our adapters and stop the servers that we started; nothing under way is waited for."""
        if self._closed:
            return
        self._closed = True
        if self._answers is not None:
            self._answers.cancel()
        try:
            self._portal.call(self._fleet.close)
            self._portal.call(self._client.aclose)
        finally:
            self._portal_context.__exit__(None, None, None)

    def _wake(self) -> None:
        if self._fleet.asleep:
            torch.cuda.empty_cache()  # what a trainer in this process has freed and still holds
            self._do(self._fleet.wake)

    def _do(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            self._portal.call(change)
        except (ReplicaFault, ReplicaRefused) as error:
            raise EngineUnavailable(str(error)) from error

    def _group(
        self, prompt: Prompt, *, place: int, sampling: Sampling, name: str | None, urls: dict[str, str]
    ) -> Group:
        ids = [image_id(image) for image in prompt.images]
        for key, image in zip(ids, prompt.images, strict=True):
            if key not in urls:
                urls[key] = _data_url(image)
        token_ids = self._chat.ids(prompt)
        request = {
            "token_ids": token_ids,
            "content_parts": [{"type": "image_url", "url": urls[key], "uuid": key} for key in ids] or None,
            "sampling_params": self._chat.parameters(sampling, prompt=place, seeded=self._deterministic),
            "return_token_ids": True,
        }
        return Group(
            request=request, model=name, route=f"{' '.join(ids) or prompt.key} {name}",
            tokens=sampling.n * (len(token_ids) + sampling.max_tokens),
        )  # fmt: skip

    async def _patiently(self, attempt: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Try until it works, is refused, or nobody has answered for too long."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((ReplicaLost, ReplicaFault)),
            wait=wait_exponential_jitter(multiplier=0.05, max=5, jitter=0.2),
            stop=stop_after_delay(self._patience),
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except (ReplicaLost, ReplicaFault) as error:
            raise EngineUnavailable(f"no server answers, after {self._patience:g} s: {error}") from error

    def _completions(
        self, answer: dict[str, Any], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[Completion]:
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        assert len(choices) == sampling.n, (len(choices), sampling.n)
        return [
            self._chat.completion(
                token_ids=choice["token_ids"],
                logprobs=[token["logprob"] for token in choice["logprobs"]["content"]],
                prompt_ids=answer["prompt_token_ids"],
                adapter=adapter,  # that it made this is what `Dispatch` has seen
            )
            for choice in choices
        ]


def _data_url(image: Image.Image) -> str:
    """Lossless, so that the server sees the same pixels."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
