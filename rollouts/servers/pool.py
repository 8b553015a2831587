"""A pool of vLLM servers: it distributes requests, monitors the servers and loads adapters on all of them."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollouts.engine import AdapterVersion, EngineUnavailable, same_version
from rollouts.servers.replica import Answer, Replica, ReplicaFault, ReplicaLost, ReplicaRefused

_TRIES = 5  # attempts per group, and outages of a server without an answer in between
_DEATHS = 4  # deaths of a process of ours after which it is not restarted
_ANSWER_SECONDS = 60.0  # timeout for a server that should already be running
_WELL_SECONDS = 300.0  # seconds of answers after which earlier deaths of a server are reset
_STALLED = 3  # multiple of the patience after which a healthy server must have completed a group
_TICK = 0.05  # seconds
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class Group:
    """The n completions of one prompt: one request, answered once.

    Attributes:
        request: builds the body of `/inference/v1/generate` without the model; it is called in a thread,
            because it encodes pictures.
        model: the adapter's name on the servers; None is the base VLM, whose name depends on the server.
        n: number of sequences.
        said: the errors so far, by attempt; `failed_at` are the servers of these attempts.
    """

    request: Callable[[], dict[str, Any]]
    model: str | None
    n: int
    answer: Answer | None = None
    said: list[str] = field(default_factory=list)
    failed_at: set[Replica] = field(default_factory=set)


class Pool:
    """Monitors the servers; every live server always holds all current adapters.

    A group goes to the server with the fewest concurrent sequences. A server is removed if a connection to it
    breaks, its process ends, or it sends no response for `silence` seconds; any response counts. Its groups
    go to other servers. When it answers again, it is readmitted with the current adapters. A group that fails
    five times, or a server that is lost five times without an answer in between, is given up, with the
    reason.

    Args:
        replicas: servers without requests.
        prefix: prefix of the names of our adapters, which distinguishes them from those of other runs.
        max_adapters: versions kept; one more drops the least recently used.
        sequences: limit of concurrent sequences per server; a larger group goes to an idle server.
        patience: seconds without any server before giving up.
        silence: seconds without any response of a server before it is removed.
        check_every: seconds between health checks.

    Attributes:
        events: (monotonic seconds, URL, `lost` or `back`) of every server taken out or back.
    """

    def __init__(
        self, replicas: Sequence[Replica], *, prefix: str, max_adapters: int, sequences: int, patience: float,
        silence: float, check_every: float,
    ) -> None:  # fmt: skip
        self._replicas, self._prefix, self._max_adapters = list(replicas), prefix, max_adapters
        self._sequences, self._patience = sequences, patience
        self._silence, self._check_every = silence, check_every
        self._current: dict[str, AdapterVersion] = {}  # by their names on the servers
        self._changing = asyncio.Lock()  # adapters are published, or a server is readmitted, one at a time
        self._watchers: list[asyncio.Task[None]] = []
        self.events: list[tuple[float, str, str]] = []

    def alive(self) -> list[Replica]:
        """The servers that may get work."""
        return [replica for replica in self._replicas if replica.alive]

    def name(self, adapter: AdapterVersion) -> str:
        """The name of a version on the servers."""
        return f"{self._prefix}-{adapter.name}-{adapter.version}"

    def use(self, adapter: AdapterVersion) -> str:
        """The name of a loaded version, which becomes the most recently used one.

        Raises:
            KeyError: the version is not loaded.
        """
        name = self.name(adapter)
        if name not in self._current:
            raise KeyError(f"adapter {adapter} is not loaded; publish it first. Loaded: {self._held()}")
        self._current[name] = self._current.pop(name)
        return name

    async def answers(self, groups: Sequence[Group]) -> list[Answer]:
        """Return one answer per group, in order.

        Raises:
            EngineUnavailable: no server is left, or one group failed too often.
            ReplicaRefused: a server rejects such a request.
        """
        waiting, tasks = deque(groups), dict[asyncio.Task[Answer], tuple[Group, Replica]]()
        seen = time.monotonic()
        try:
            while waiting or tasks:
                seen = time.monotonic() if self.alive() else self._give_up_after(seen)
                while waiting and (replica := self._free(waiting[0])):
                    group = waiting.popleft()
                    replica.begin(group.n)
                    task = asyncio.create_task(_ask(replica, group))
                    tasks[task] = group, replica
                if not tasks:
                    await asyncio.sleep(_TICK)
                    continue
                done, _ = await asyncio.wait(tasks, timeout=_TICK, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    group, replica = tasks.pop(task)
                    replica.under_way -= group.n
                    try:
                        group.answer = task.result()
                        replica.did_well()
                    except (ReplicaLost, ReplicaFault) as error:
                        self._note_trouble(group, replica, error)
                        waiting.append(group)
        finally:
            for task, (group, replica) in tasks.items():
                replica.under_way -= group.n
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [group.answer for group in groups if group.answer is not None]

    def _free(self, group: Group) -> Replica | None:
        """The least loaded server with capacity; servers that failed on this group come last."""
        asked, now = [r for r in self.alive() if r not in group.failed_at] or self.alive(), time.monotonic()
        room = [r for r in asked if not r.under_way or r.under_way + group.n <= self._sequences]
        return min((r for r in room if r.not_before <= now), key=lambda r: r.under_way, default=None)

    def _note_trouble(self, group: Group, replica: Replica, error: ReplicaLost | ReplicaFault) -> None:
        group.said.append(str(error))
        group.failed_at.add(replica)
        if isinstance(error, ReplicaLost):
            self._take_out(replica, str(error))
        else:
            replica.did_badly()
        if len(group.said) >= _TRIES:
            raise EngineUnavailable(
                f"completions of one prompt failed {_TRIES} times: " + "; ".join(dict.fromkeys(group.said))
            ) from error

    def _give_up_after(self, seen: float) -> float:
        why = "; ".join(dict.fromkeys(r.given_up or r.why_lost or f"{r.url} is out" for r in self._replicas))
        if all(replica.given_up for replica in self._replicas):
            raise EngineUnavailable(f"no server is left: {why}")
        if time.monotonic() > seen + self._patience:
            raise EngineUnavailable(f"no server answers, after {self._patience:g} s: {why}")
        return seen

    async def open(self) -> None:
        """Start our servers and wait until all answer.

        Raises:
            EngineUnavailable: a server of ours did not answer within the patience, or another one in a
                minute; or a server rejects a request.
        """
        for replica in self._replicas:
            replica.lost.set()
            if replica.server:
                replica.server.start()
        begun = time.monotonic()
        for replica in self._replicas:
            seconds = self._patience if replica.server else min(self._patience, _ANSWER_SECONDS)
            while trouble := await self._try_to_readmit(replica):
                if replica.server and not replica.server.running():
                    raise EngineUnavailable(f"a server did not start:\n{replica.server.log_tail()}")
                if isinstance(trouble, ReplicaRefused):
                    raise EngineUnavailable(str(trouble)) from trouble
                if time.monotonic() > begun + seconds:
                    raise EngineUnavailable(
                        f"after {seconds:g} s, {trouble}; is it running, and is its address right?"
                    ) from trouble
                await asyncio.sleep(self._check_every)
        self._watchers = [asyncio.create_task(self._watch(replica)) for replica in self._replicas]

    async def close(self) -> None:
        """Stop monitoring, unload our adapters, and stop our servers."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        theirs = [replica for replica in self.alive() if not replica.server]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                unloads = (r.unload(name) for r in theirs for name in self._current)
                await asyncio.gather(*unloads, return_exceptions=True)
        servers = [replica.server for replica in self._replicas if replica.server]
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in servers))

    async def publish(self, adapter: AdapterVersion) -> None:
        """Load an adapter on all available servers, or on none.

        Raises:
            ValueError: this version was already published from another path.
            EngineUnavailable: no server answers, or one rejects the adapter.
        """
        name, seen = self.name(adapter), time.monotonic()
        if same_version(self._current.get(name), adapter):
            return
        while not self.alive():
            self._give_up_after(seen)
            await asyncio.sleep(self._check_every)
        async with self._changing:
            await self._forget_gone()
            try:
                await self._each(self.alive(), lambda replica: replica.load(name, adapter))
            except EngineUnavailable as error:
                await self._drop(name)
                raise EngineUnavailable(f"{adapter} is not published: {error}") from error
            self._current[name] = adapter
            while len(self._current) > self._max_adapters:
                await self._drop(next(iter(self._current)))
        if not self.alive():  # the last one was lost meanwhile; those that come back load it
            await self.publish(adapter)

    async def _each(
        self, replicas: Sequence[Replica], do: Callable[[Replica], Coroutine[Any, Any, None]]
    ) -> None:
        """Send a request to all servers; lost ones are removed, and catch up when they are readmitted."""
        results = await asyncio.gather(*(r.unless_lost(do(r)) for r in replicas), return_exceptions=True)
        for replica, result in zip(replicas, results, strict=True):
            if isinstance(result, ReplicaLost):
                self._take_out(replica, str(result))
        for result in results:
            if isinstance(result, ReplicaFault | ReplicaRefused):
                raise EngineUnavailable(str(result)) from result
            if isinstance(result, BaseException) and not isinstance(result, ReplicaLost):
                raise result

    async def _drop(self, name: str) -> None:
        self._current.pop(name, None)
        await asyncio.gather(*(replica.unload(name) for replica in self.alive()), return_exceptions=True)

    async def _forget_gone(self) -> None:
        """Drop versions whose files were removed, as at the end of a phase; they are not requested again."""
        for name, adapter in list(self._current.items()):
            if adapter.path and not adapter.path.exists():
                await self._drop(name)

    def _take_out(self, replica: Replica, why: str) -> None:
        """Send the server no more work, and end its requests."""
        if replica.alive:
            replica.why_lost, replica.outages = why, replica.outages + 1
            replica.lost.set()
            self.events.append((time.monotonic(), replica.url, "lost"))
            _log.warning("%s; its work goes to the others", why)
            if replica.outages >= _TRIES:
                self._give_up(replica, f"{replica.url} was lost {_TRIES} times in a row, last: {why}")

    def _give_up(self, replica: Replica, why: str) -> None:
        replica.given_up = why
        _log.warning("%s; it is not asked any more", why)

    async def _watch(self, replica: Replica) -> None:
        said = ""
        while True:
            await asyncio.sleep(self._check_every)
            if replica.given_up:  # meanwhile
                return
            now, stalled = time.monotonic(), _STALLED * self._patience
            if not replica.alive:
                trouble = await self._try_to_readmit(replica)
                if isinstance(trouble, ReplicaRefused) and str(trouble) != said:
                    said = str(trouble)
                    _log.warning("%s answers and is not taken back: %s", replica.url, trouble)
            elif trouble := await replica.trouble():
                self._take_out(replica, str(trouble))
            elif now > replica.heard + self._silence:
                self._take_out(replica, f"{replica.url} has said nothing for {self._silence:g} s")
            elif replica.under_way and now > replica.completed + stalled:
                self._take_out(replica, f"{replica.url} has completed nothing for {stalled:g} s")
            elif replica.server and now > replica.back_since + _WELL_SECONDS:
                replica.server.deaths = 0

    async def _try_to_readmit(self, replica: Replica) -> Exception | None:
        """If the server answers, load missing adapters and readmit it; if it is ours and dead, restart it.

        Returns its problem, or None.
        """
        server = replica.server
        async with self._changing:
            if self._watchers and server and not server.running():
                if server.died() and server.deaths >= _DEATHS:
                    self._give_up(replica, f"{replica.url} has died {_DEATHS} times:\n{server.log_tail()}")
                    return None
                await asyncio.to_thread(server.start)
        if trouble := await replica.trouble(at_once=True):
            return trouble
        async with self._changing:
            try:
                await self._equip(replica)
            except (ReplicaLost, ReplicaFault, ReplicaRefused) as error:
                return error
            if replica.given_up:
                return None
            replica.back_since = time.monotonic()
            replica.lost.clear()
            self.events.append((time.monotonic(), replica.url, "back"))
            if self._watchers:  # else it is the start
                _log.warning("%s is taken back with adapters %s", replica.url, self._held())
            return None

    async def _equip(self, replica: Replica) -> None:
        """Load the current adapters on a server, and unload all others of ours."""
        await self._forget_gone()
        held = await replica.served()
        for name in held:
            if name.startswith(self._prefix) and name not in self._current:
                await replica.unload(name)
        for name, adapter in self._current.items():
            if held.get(name) != str(adapter.path):
                await replica.load(name, adapter)

    def _held(self) -> str:
        return ", ".join(map(str, self._current.values()))


async def _ask(replica: Replica, group: Group) -> Answer:
    request = await asyncio.to_thread(group.request)
    return await replica.generate(request, group.model, n=group.n)
