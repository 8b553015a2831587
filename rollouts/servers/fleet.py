"""Which servers answer, and which adapters each of them must hold."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollouts.engine import AdapterVersion, EngineUnavailable, same_version
from rollouts.servers.fingerprints import Fingerprints
from rollouts.servers.replica import Replica, ReplicaFault, ReplicaLost, ReplicaRefused

_MISSES_ALLOWED = 2  # health checks in a row without an answer
_STARTS_ALLOWED = 4  # of a server of ours
_ANSWER_SECONDS = 60.0  # for one that is said to run already
_Trouble = (ReplicaLost, ReplicaFault, ReplicaRefused)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An adapter as the servers know it."""

    adapter: AdapterVersion
    name: str
    path: Path


class Fleet:
    """The servers, watched all the time; at any moment each that is alive holds all current adapters.

    Args:
        replicas: none of them asked yet.
        prefix: of the names of our adapters, by which they are told from those of other runs.
        fingerprints: by which servers are seen to hold the same weights.
        max_adapters: versions kept; one more drops the least recently used.
        check_every: seconds between health checks.

    Attributes:
        asleep: some of them have given their GPU's memory back.
        events: (monotonic seconds, URL, `lost` or `back`) of every server taken out or back.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        *,
        prefix: str,
        fingerprints: Fingerprints,
        max_adapters: int,
        check_every: float,
    ) -> None:
        self._replicas, self._prefix, self._fingerprints = list(replicas), prefix, fingerprints
        self._max_adapters, self._check_every = max_adapters, check_every
        self._current: dict[tuple[str, int], Published] = {}
        self._changing = asyncio.Lock()  # adapters are published, or a server is readmitted, one at a time
        self._watchers: list[asyncio.Task[None]] = []
        self._said: set[str] = set()
        self.asleep = False
        self.events: list[tuple[float, str, str]] = []
        for replica in self._replicas:
            replica.lost.set()

    def alive(self) -> list[Replica]:
        """Those that may be given work."""
        return [replica for replica in self._replicas if replica.alive]

    def published(self, adapter: AdapterVersion) -> bool:
        """Whether the servers hold this version; see `same_version`."""
        held = self._current.get((adapter.name, adapter.version))
        return same_version(held.adapter if held else None, adapter)

    def use(self, adapter: AdapterVersion) -> Published:
        """The version as the servers know it, now the most recently used.

        Raises:
            KeyError: they don't.
        """
        key = (adapter.name, adapter.version)
        if key not in self._current:
            raise KeyError(f"adapter {adapter} is not loaded; publish it first. Loaded: {self._held()}")
        self._current[key] = self._current.pop(key)
        return self._current[key]

    async def open(self, patience: float) -> None:
        """Start our servers and wait until all answer.

        Raises:
            EngineUnavailable: one of ours did not in `patience` seconds, another one in a minute; or it will
                not do what it is asked.
        """
        for replica in self._replicas:
            if replica.server:
                replica.server.start()
        begun = time.monotonic()
        for replica in self._replicas:
            seconds = patience if replica.server else min(patience, _ANSWER_SECONDS)
            while not replica.alive:
                if replica.server and not replica.server.running():
                    raise EngineUnavailable(f"a server did not start:\n{replica.server.log_tail()}")
                trouble = await self._try_to_readmit(replica)
                if isinstance(trouble, ReplicaRefused):
                    raise EngineUnavailable(str(trouble)) from trouble
                if trouble and time.monotonic() > begun + seconds:
                    raise EngineUnavailable(
                        f"after {seconds:g} s, {trouble}; is it running, and is its address right?"
                    ) from trouble
                await asyncio.sleep(0 if replica.alive else self._check_every)
        self._watchers = [asyncio.create_task(self._watch(replica)) for replica in self._replicas]

    async def close(self) -> None:
        """Stop watching, let go of our adapters, stop our servers."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        theirs = [replica for replica in self.alive() if not replica.server]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                names = [p.name for p in self._current.values()]
                unloads = (r.unload(name) for r in theirs for name in names)
                await asyncio.gather(*unloads, return_exceptions=True)
        ours = [replica.server for replica in self._replicas if replica.server]
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in ours))

    def take_out(self, replica: Replica) -> None:
        """Give it no more work, and end what it has under way."""
        if replica.alive:
            replica.lost.set()
            self._note(replica, "lost")
            _log.warning("%s does not answer; its work goes to the others", replica.url)

    async def publish(self, published: Published) -> None:
        """Load an adapter on all that answer, or on none.

        Raises:
            ReplicaLost: none of them is left.
            ReplicaRefused: one will not load it.
        """
        async with self._changing:
            await self._forget_gone()
            asked = self.alive()
            loads = (r.unless_lost(self._load(r, published)) for r in asked)
            results = await asyncio.gather(*loads, return_exceptions=True)
            refusals = []
            for replica, result in zip(asked, results, strict=True):
                if isinstance(result, ReplicaLost):  # it gets the adapter when it is readmitted
                    self.take_out(replica)
                elif isinstance(result, BaseException):
                    refusals.append(result)
            if refusals:
                await self._drop(published)
                raise refusals[0]
            if not self.alive():
                raise ReplicaLost("no server is left")
            self._current[published.adapter.name, published.adapter.version] = published
            while len(self._current) > self._max_adapters:
                await self._drop(self._current.pop(next(iter(self._current))))

    async def sleep(self) -> None:
        """Put servers that can sleep to sleep; none is started or taken back until they wake.

        One that is out, or just starting, would keep the GPU: it is stopped, and started again afterwards.
        """
        async with self._changing:
            sleepers = {r: r.server for r in self._replicas if r.server and r.server.sleeps}
            if sleepers and not self.asleep:
                self.asleep = True
                out = [server for replica, server in sleepers.items() if not replica.alive]
                await asyncio.gather(*(asyncio.to_thread(server.stop) for server in out))
                await self._each_sleeper(Replica.sleep)

    async def wake(self) -> None:
        """Undo `sleep`."""
        async with self._changing:
            if self.asleep:
                await self._each_sleeper(Replica.wake)
                self.asleep = False

    async def _each_sleeper(self, do: Callable[[Replica], Coroutine[Any, Any, None]]) -> None:
        sleepers = [r for r in self.alive() if r.server and r.server.sleeps]
        results = await asyncio.gather(*(r.unless_lost(do(r)) for r in sleepers), return_exceptions=True)
        for replica, result in zip(sleepers, results, strict=True):
            if isinstance(result, ReplicaLost):
                self.take_out(replica)
            elif isinstance(result, BaseException):
                raise result

    async def _load(self, replica: Replica, published: Published) -> None:
        await replica.load(published.name, published.path)
        await self._fingerprints.check(replica, published.name)

    async def _drop(self, published: Published) -> None:
        self._fingerprints.forget(published.name)
        unloads = (replica.unload(published.name) for replica in self.alive())
        await asyncio.gather(*unloads, return_exceptions=True)

    async def _forget_gone(self) -> None:
        """Drop versions whose files have gone, as those of a phase do when it ends: nobody asks for them."""
        for key, published in list(self._current.items()):
            if not published.path.exists():
                await self._drop(self._current.pop(key))

    async def _watch(self, replica: Replica) -> None:
        while True:
            await asyncio.sleep(self._check_every)
            if not replica.alive and self.asleep:
                continue  # the GPU is somebody else's
            if not replica.alive:
                trouble = await self._try_to_readmit(replica)
                if isinstance(trouble, ReplicaRefused) and str(trouble) not in self._said:
                    self._said.add(str(trouble))
                    _log.warning("%s answers and is not taken back: %s", replica.url, trouble)
                continue
            replica.misses = 0 if await replica.healthy() else replica.misses + 1
            gone = replica.server is not None and not replica.server.running()
            if gone or replica.misses >= _MISSES_ALLOWED:
                self.take_out(replica)

    async def _try_to_readmit(self, replica: Replica) -> Exception | None:
        """Where it answers, load what it lacks, and give it work; where it is ours and dead, start it.

        Returns what is wrong with it, None where nothing is.
        """
        server = replica.server
        async with self._changing:
            if server and not server.running() and server.starts < _STARTS_ALLOWED and not self.asleep:
                await asyncio.to_thread(server.start)
        if not await replica.healthy():
            return ReplicaLost(f"{replica.url} does not answer its health check")
        async with self._changing:
            try:
                await self._equip(replica)
            except _Trouble as trouble:
                return trouble
            replica.misses = 0
            replica.lost.clear()
            self._note(replica, "back")
            if self._watchers:  # else it is the start
                _log.warning("%s is taken back with adapters %s", replica.url, self._held())
            return None

    async def _equip(self, replica: Replica) -> None:
        """Give a server the current adapters, leave it no other of ours; see that it computes with them."""
        await self._forget_gone()
        if replica.server and replica.server.sleeps:  # it may have left in its sleep
            await replica.wake()
        held = await replica.served()
        current = {published.name: published for published in self._current.values()}
        for name in held:
            if name.startswith(self._prefix) and name not in current:
                await replica.unload(name)
        await self._fingerprints.check(replica)
        for name, published in current.items():
            if held.get(name) == str(published.path):
                await self._fingerprints.check(replica, name)
            else:
                await self._load(replica, published)

    def _held(self) -> str:
        return ", ".join(str(published.adapter) for published in self._current.values())

    def _note(self, replica: Replica, what: str) -> None:
        self.events.append((time.monotonic(), replica.url, what))
