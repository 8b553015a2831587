"""Which server is asked for which group: work goes to who is free, and nobody waits for the slowest."""

import asyncio
import contextlib
import hashlib
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rollouts.engine import EngineUnavailable
from rollouts.servers.fleet import Fleet
from rollouts.servers.replica import Replica, ReplicaFault, ReplicaLost

_FAULTS_FORGIVEN = 4  # per group; then it is not the servers that are ill
_BACKOFF = 0.05  # seconds after a group's first fault; twice as long after each further one
_UNEVEN = 1.25  # a server's load above its share for which a group still goes where its pictures are known
_SLOW = 2.0  # a server so many times slower than the fastest is left out, unless there is much to do
_LATE = 1.5  # times what an idle server would take: it then asks for the group, too
_FORGIVEN = 0.03  # of what a server lacks in speed is not believed any more at the next call
_LEAST_SPEED = 1e-3
_TICK = 0.05  # seconds


@dataclass(slots=True, kw_only=True, eq=False)
class Group:
    """The n completions of one prompt: one request, and the one answer that was waited for.

    Attributes:
        request: body of `/inference/v1/generate` without the model.
        model: the adapter's name on the servers; None is the base VLM, which each server names for itself.
        route: the same for groups that share pictures and version.
        tokens: the most that it can occupy at a server: prompt and completions, n times.
        answer: as the server gave it.
        faults: what servers said that failed with it.
    """

    request: dict[str, Any]
    model: str | None
    route: str
    tokens: int
    answer: dict[str, Any] | None = None
    faults: list[str] = field(default_factory=list)
    failed_at: set[Replica] = field(default_factory=set)
    not_before: float = 0.0
    attempts: list["_Attempt"] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class _Attempt:
    group: Group
    replica: Replica
    since: float
    task: asyncio.Task[dict[str, Any]]


@dataclass(slots=True, eq=False)
class _Share:
    """What a server has had to do of its own in this call: groups that no other was asked for before."""

    under_way: int = 0
    since: float = 0.0  # when there last was nothing
    busy: float = 0.0  # seconds with something under way
    ended: int = 0  # groups, answered or taken back
    answered: int = 0  # groups
    seconds: float = 0.0  # of the groups that it answered, added up
    tokens: int = 0  # of these

    def more(self) -> None:
        if not self.under_way:
            self.since = time.monotonic()
        self.under_way += 1

    def less(self) -> None:
        self.under_way -= 1
        if not self.under_way:
            self.busy += time.monotonic() - self.since


class Dispatch:
    """Has the groups of one call answered, each once, by whichever server does it first.

    - Each server has at most `tokens_in_flight` under way.
    - Consistent hashing with bounded loads (Mirrokni et al., arXiv 1608.01350): a group goes to the server
      that its route's hash puts first, or, where that has more than 1.25 times its share, to the next. Shares
      are by speed, in tokens per second, which is learnt from call to call.
    - A server less than half as fast as the fastest is given nothing, unless there is more to do than the
      others can have under way; its speed is forgotten by and by, so that it is tried again.
    - A server with no work of its own asks for what another has had for 1.5 times the time that it would take
      itself (hedged requests: Dean and Barroso, The Tail at Scale, 2013). The first answer counts, the other
      request is taken back. Seeds are the groups' own, so that it is the same answer.

    Args:
        fleet: whose servers are asked.
        groups: what is asked.
        tokens_in_flight: at each server; > 0. A larger group goes to one that has nothing else.
        patience: seconds without any server that answers before giving up.
    """

    def __init__(
        self, fleet: Fleet, groups: Sequence[Group], *, tokens_in_flight: int, patience: float
    ) -> None:
        self._fleet, self._groups, self._patience = fleet, groups, patience
        self._most = tokens_in_flight
        self._waiting = deque(groups)
        self._attempts: dict[asyncio.Task[dict[str, Any]], _Attempt] = {}
        self._ended: asyncio.Queue[asyncio.Task[dict[str, Any]]] = asyncio.Queue()
        self._load: Counter[Replica] = Counter()  # tokens under way
        self._shares: defaultdict[Replica, _Share] = defaultdict(_Share)
        self._to_do = sum(group.tokens for group in groups)
        self._alone_since: float | None = None

    async def answers(self) -> list[dict[str, Any]]:
        """The answers, in the order of the groups.

        Raises:
            EngineUnavailable: no server answers, or one group failed too often.
            ReplicaRefused: a server will not answer such a request.
        """
        fastest = max((replica.speed for replica in self._fleet.alive()), default=1.0)
        for replica in self._fleet.alive():
            replica.speed += _FORGIVEN * (fastest - replica.speed)
        try:
            while self._to_do:
                self._see_who_is_there()
                self._hand_out()
                self._ask_again()
                with contextlib.suppress(TimeoutError):
                    self._settle(await asyncio.wait_for(self._ended.get(), _TICK))
                while not self._ended.empty():
                    self._settle(self._ended.get_nowait())
        finally:
            tasks = list(self._attempts)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            self._settle(task)
        self._learn_speeds()
        return [group.answer for group in self._groups if group.answer is not None]

    def _see_who_is_there(self) -> None:
        if self._fleet.alive():
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = time.monotonic()
        elif time.monotonic() > self._alone_since + self._patience:
            raise EngineUnavailable(f"no server answers, after {self._patience:g} s: no server is left")

    def _hand_out(self) -> None:
        later = []
        while self._waiting:
            group = self._waiting.popleft()
            due = group.not_before <= time.monotonic()
            if due and (replica := self._choose(group)):
                self._ask(group, replica)
                continue
            later.append(group)
            if due:
                break
        self._waiting.extendleft(reversed(later))

    def _choose(self, group: Group) -> Replica | None:
        speeds = self._worth_asking()
        fit = [r for r in speeds if r not in group.failed_at] or list(speeds)
        free = [r for r in fit if self._has_room(r, group)]
        if not free:
            return None
        share = (sum(self._load[r] for r in speeds) + group.tokens) / sum(speeds.values())

        def order(replica: Replica) -> bytes:
            """Of the replica's own, so that one that leaves moves no other's groups."""
            return hashlib.sha256(f"{replica.url} {group.route}".encode()).digest()

        for replica in sorted(free, key=order):
            if self._load[replica] <= _UNEVEN * share * speeds[replica]:
                return replica
        return min(free, key=lambda r: self._load[r] / speeds[r])

    def _worth_asking(self) -> dict[Replica, float]:
        """Servers that do not hold up what the others have to do, with their speeds."""
        speeds = {replica: replica.speed for replica in self._fleet.alive()}
        fastest, total = max(speeds.values(), default=0.0), sum(speeds.values())

        def rounds(replica: Replica) -> float:
            """How often the others have to fill up with what there is to do."""
            others = self._most * (total - speeds[replica]) / fastest
            return max(1.0, self._to_do / others) if others else float("inf")

        return {r: speed for r, speed in speeds.items() if speed * _SLOW * rounds(r) >= fastest}

    def _has_room(self, replica: Replica, group: Group) -> bool:
        return not self._load[replica] or self._load[replica] + group.tokens <= self._most

    def _ask_again(self) -> None:
        """Where nothing waits, servers without work of their own ask for what others are late with."""
        idle = [r for r in self._fleet.alive() if not self._shares[r].under_way]
        pace = [r.speed * s.seconds / s.answered for r, s in self._shares.items() if s.answered]
        if self._waiting or not idle or not pace:
            return
        now = time.monotonic()
        for attempt in sorted(self._attempts.values(), key=lambda attempt: attempt.since):
            group = attempt.group
            free = [
                r for r in idle
                if r is not attempt.replica and r not in group.failed_at and self._has_room(r, group)
                and now - attempt.since > _LATE * min(pace) / r.speed
            ]  # fmt: skip
            if free and len(group.attempts) == 1:
                self._ask(group, min(free, key=self._load.__getitem__))

    def _ask(self, group: Group, replica: Replica) -> None:
        task = asyncio.create_task(_one_answer(group, replica))
        attempt = _Attempt(group=group, replica=replica, since=time.monotonic(), task=task)
        if not group.attempts:
            self._shares[replica].more()
        group.attempts.append(attempt)
        self._attempts[task] = attempt
        self._load[replica] += group.tokens
        task.add_done_callback(self._ended.put_nowait)

    def _settle(self, task: asyncio.Task[dict[str, Any]]) -> None:
        attempt = self._attempts.pop(task)
        group, replica = attempt.group, attempt.replica
        self._load[replica] -= group.tokens
        share = self._shares[replica] if group.attempts[0] is attempt else None
        if share:
            share.less()
        if task.cancelled() or group.answer is not None:
            task.cancelled() or task.exception()  # which says that we have seen it
            if share:
                share.ended += 1
            return
        try:
            group.answer = task.result()
        except (ReplicaLost, ReplicaFault) as error:
            group.attempts.remove(attempt)
            if isinstance(error, ReplicaLost):
                self._fleet.take_out(replica)
            else:
                _note_fault(group, replica, error)
            if not group.attempts:
                self._waiting.appendleft(group)
            elif share:
                self._shares[group.attempts[0].replica].more()
            return
        self._to_do -= group.tokens
        if share:
            share.ended += 1
            share.answered += 1
            share.seconds += time.monotonic() - attempt.since
            share.tokens += sum(len(choice["token_ids"]) for choice in group.answer["choices"])
        for other in group.attempts:
            if other is not attempt:
                other.task.cancel()

    def _learn_speeds(self) -> None:
        """From what servers that had something to do have done of it, relative to each other."""
        shares = {r: share for r, share in self._shares.items() if share.ended and share.busy}
        rates = {r: share.tokens / share.busy for r, share in shares.items()}
        if len(rates) < 2 or not any(rates.values()):
            return
        unit = sum(r.speed for r in rates) / sum(rates.values())
        for replica, rate in rates.items():
            weight = min(0.5, shares[replica].ended / 16)  # a few groups say little
            replica.speed += weight * (unit * rate - replica.speed)
            replica.speed = max(replica.speed, _LEAST_SPEED)


def _note_fault(group: Group, replica: Replica, fault: Exception) -> None:
    group.faults.append(str(fault))
    group.failed_at.add(replica)
    if len(group.faults) > _FAULTS_FORGIVEN:
        raise EngineUnavailable("; ".join(group.faults)) from fault
    group.not_before = time.monotonic() + _BACKOFF * 2 ** (len(group.faults) - 1)


async def _one_answer(group: Group, replica: Replica) -> dict[str, Any]:
    asked = group.model or replica.base
    answer = await replica.generate(group.request | {"model": asked})
    if answer["model"] != asked:
        raise EngineUnavailable(f"asked {asked!r} for completions and got those of {answer['model']!r}")
    reasons, n = [c["finish_reason"] for c in answer["choices"]], group.request["sampling_params"]["n"]
    if len(reasons) != n or any(reason not in ("stop", "length") for reason in reasons):
        raise ReplicaFault(f"{n} completions were asked for, and ended as {reasons}")
    return answer
