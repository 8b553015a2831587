"""Rollouts from vLLM servers at given addresses, or from replicas that visplay starts and stops."""

import base64
import io
import ssl
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import httpx2
from anyio.from_thread import start_blocking_portal
from PIL import Image

from rollouts.chat import Chat
from rollouts.engine import (
    AdapterVersion,
    Completion,
    EngineUnavailable,
    Prompt,
    RequestRefused,
    Sampling,
    image_id,
)
from rollouts.servers.launch import Server, server_url
from rollouts.servers.pool import Group, Pool
from rollouts.servers.replica import Answer, Replica, ReplicaRefused


class ServerEngine:
    """Generates completions with several vLLM servers; every server holds every published adapter.

    A group of n completions is one request, and `Pool` selects its server. Each group's result is set once.

    Args:
        servers: base URLs of running servers, or replicas that are not started yet.
        chat: converts this VLM's prompts to tokens.
        max_adapters: versions kept; publishing one more drops the least recently used.
        max_num_seqs: the largest number of concurrent sequences per server.
        api_key: sent to all servers; None sends no key.
        patience: seconds without any available server before an error; also the timeout of the start.
        silence: seconds without a response of a server before its work goes to others.
        check_every: seconds between health checks.

    Raises:
        ValueError: an address or the key is not valid.
        EngineUnavailable: one of the servers did not start.
    """

    def __init__(
        self,
        servers: Sequence[str | Server],
        *,
        chat: Chat,
        max_adapters: int = 3,
        max_num_seqs: int = 1024,
        api_key: str | None = None,
        patience: float = 600.0,
        silence: float = 60.0,
        check_every: float = 1.0,
    ) -> None:
        self._chat = chat
        urls = [s.url if isinstance(s, Server) else server_url(s) for s in servers]
        if api_key and not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
            raise ValueError("VLLM_API_KEY has a space or a character that is not allowed in HTTP headers")
        self._free = threading.Condition()  # notified when a batch ends; adapters change only without batches
        self._closed = False
        self._answers: set[Future[list[Answer]]] = set()  # of the batches in flight
        self._portal_context = start_blocking_portal()
        self._portal = self._portal_context.__enter__()
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # Proxies in the environment are ignored; certificates are OpenSSL's, and SSL_CERT_FILE adds more.
        self._client = httpx2.AsyncClient(
            headers=headers, trust_env=False, limits=httpx2.Limits(max_connections=None),
            verify=ssl.create_default_context(),
        )  # fmt: skip
        self._pool = Pool(
            [
                Replica(url=url, client=self._client, server=s if isinstance(s, Server) else None)
                for url, s in zip(urls, servers, strict=True)
            ],
            prefix=f"visplay-{uuid.uuid4().hex[:8]}",  # other runs may use the same servers
            max_adapters=max_adapters, sequences=max_num_seqs, patience=patience, silence=silence,
            check_every=check_every,
        )  # fmt: skip
        try:
            self._portal.call(self._pool.open)
        except BaseException:
            self.close()
            raise

    def publish(self, adapter: AdapterVersion) -> None:
        """Load a version on every available server, or on none if one rejects it.

        Raises:
            ValueError: this version was already published from another path.
            EngineUnavailable: no server answers, or one rejected the adapter.
        """
        if adapter.path is not None:
            with self._free:
                self._free.wait_for(lambda: not self._answers)
                self._portal.call(self._pool.publish, adapter)

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        """See `RolloutEngine.generate`. Several threads may call it at the same time.

        Raises:
            KeyError: `adapter` was never published, or has been dropped since.
            RequestRefused: a server rejects such a prompt.
            EngineUnavailable: no server answers, or an answer does not match its request.
        """
        with self._free:
            name = self._pool.use(adapter) if adapter.path is not None else None
            encoded = _Encoded()
            groups = [
                self._group(prompt, place=i, sampling=sampling, name=name, encoded=encoded)
                for i, prompt in enumerate(prompts)
            ]
            if self._closed:
                raise EngineUnavailable("the engine was closed")
            batch = self._portal.start_task_soon(self._pool.answers, groups)
            self._answers.add(batch)
        try:
            answers = batch.result()
        except ReplicaRefused as error:
            raise RequestRefused(
                f"{error}; where a prompt is too long, give the servers a larger --max-model-len "
                "(engine.vllm.max_model_len), or lower model.max_pixels or max_tokens"
            ) from error
        finally:
            with self._free:
                self._answers.discard(batch)
                self._free.notify_all()
        return [
            [
                self._chat.completion(
                    token_ids=token_ids,
                    logprobs=logprobs,
                    prompt_ids=answer.prompt_ids,
                    adapter=adapter,  # `Replica.generate` has checked this
                )
                for token_ids, logprobs in answer.completions
            ]
            for answer in answers
        ]

    def sleep(self) -> None:
        """Do nothing, because servers use separate GPUs."""

    def close(self) -> None:
        """Unload our adapters and stop the servers that we started, without waiting for requests."""
        if self._closed:
            return
        self._closed = True
        for batch in list(self._answers):
            batch.cancel()
        try:
            self._portal.call(self._pool.close)
            self._portal.call(self._client.aclose)
        finally:
            self._portal_context.__exit__(None, None, None)

    def _group(
        self, prompt: Prompt, *, place: int, sampling: Sampling, name: str | None, encoded: "_Encoded"
    ) -> Group:
        token_ids, parameters = self._chat.ids(prompt), self._chat.parameters(sampling, prompt=place)

        def request() -> dict[str, Any]:
            parts = [encoded.part(image) for image in prompt.images]
            return {
                "token_ids": token_ids, "content_parts": parts or None, "sampling_params": parameters,
                "return_token_ids": True,
            }  # fmt: skip

        return Group(request=request, model=name, n=sampling.n)


class _Encoded:
    """The encoded pictures of a call; the first thread that needs a picture encodes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[int, Future[dict[str, str]]] = {}  # by object id; all exist for the whole call

    def part(self, image: Image.Image) -> dict[str, str]:
        """The picture as a part of a request's content."""
        with self._lock:
            part = self._parts.get(id(image))
            if mine := part is None:
                part = self._parts[id(image)] = Future()
        if mine:
            try:
                part.set_result({"type": "image_url", "url": _data_url(image), "uuid": image_id(image)})
            except BaseException as error:
                part.set_exception(error)
        return part.result()


def _data_url(image: Image.Image) -> str:
    """Encode losslessly, so that the server gets the same pixels, 30 times as fast as PNG."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "BMP")
    return "data:image/bmp;base64," + base64.b64encode(buffer.getvalue()).decode()
