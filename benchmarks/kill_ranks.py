"""Does a run on two ranks that is killed again and again end as if nothing had happened?

A small run is made by two ranks undisturbed. Then it is made again, with `kill -9` to its launcher, to rank 0
or to rank 1, in turn, at random instants, and the same command is given again each time. What was sampled,
rewarded and trained must be equal to the bit, nothing lost and nothing done twice.

With `--server` a vLLM server makes the rollouts and is killed in its turn, too. It is started again at once,
as a supervisor would; a run that ended for want of a server is given again when the server answers.
vLLM's log-probs depend in their last digits on what it computes side by side: there rows must be equal and
adapters may differ by rounding.

    python -m benchmarks.kill_ranks --kills 30 --seed 0
    python -m benchmarks.kill_ranks --kills 8 --seed 1 --server
"""

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.kill_and_resume import digests
from benchmarks.many_ranks import SETTINGS, adapters_apart, launch, rows_apart
from benchmarks.pocket_server import start_server, wait_for
from visplay.pocket.truth import write_pictures

VICTIMS = ("launcher", "rank 0", "rank 1")
PORT = 8078
ROUNDING = 1e-4  # relative L2 of adapters, where a server made the rollouts


def victim_of(process: "subprocess.Popen[bytes]", name: str) -> int | None:
    """The process id; None where that rank is not up yet."""
    if name == "launcher":
        return process.pid
    for child in psutil.Process(process.pid).children():
        if child.environ().get("RANK") == name[-1]:
            return child.pid
    return None


def in_flight(run: Path) -> str:
    """The step that a run is in, by its scratch folder."""
    found = sorted(run.glob("iteration-*/*.partial"), key=lambda p: p.stat().st_mtime)
    return found[-1].name.removesuffix(".partial") if found else "between steps"


class Supervised:
    """A server that is started again whenever it is gone."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process = start_server(PORT, log)

    def kill(self) -> None:
        """With its engine, and start it again."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = start_server(PORT, self._log)

    def wait(self) -> None:
        """Until it answers."""
        wait_for(PORT, self._process)

    def end(self) -> None:
        """For good."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def kill_ranks(
    folder: Path, *, kills: int, seed: int, settings: dict[str, Any], how: str, server: Supervised | None
) -> dict[str, Any]:
    """Kill and go on until all kills are spent; returns what differed."""
    lot, name = random.Random(seed), settings["name"]
    victims = (*VICTIMS, "server") if server else VICTIMS
    began = time.monotonic()
    assert launch(folder / "undisturbed", how, settings).wait() == 0, (folder / "undisturbed/log").read_text()
    seconds = time.monotonic() - began
    fell: Counter[str] = Counter()
    runs, different, last, apart_by, without_server = 0, [], [0.0], [0.0], 0
    while fell.total() < kills:
        here = folder / f"killed-{runs}"
        while True:
            if server:
                server.wait()
            process = launch(here, how, settings)
            started, after = time.monotonic(), lot.uniform(8, seconds)
            victim = victims[fell.total() % len(victims)]
            while process.poll() is None and (fell.total() >= kills or time.monotonic() - started < after):
                time.sleep(0.05)
            where = in_flight(here / name)
            if process.poll() is None and victim == "server" and server:
                server.kill()
                fell[f"server, {where}"] += 1
                print(f"kill {fell.total()} of {here.name}: server in {where}", flush=True)
            elif process.poll() is None and (pid := victim_of(process, victim)) is not None:
                os.kill(pid, signal.SIGKILL)
                killed = time.monotonic()
                process.wait()
                while _alive(here):
                    time.sleep(0.1)
                last.append(time.monotonic() - killed)
                fell[f"{victim}, {where}"] += 1
                print(f"kill {fell.total()} of {here.name}: {victim} in {where}", flush=True)
                continue
            if process.wait() == 0:
                break
            said = (here / "log").read_text()[-4000:]
            assert victim == "server" and "no server" in said, said
            without_server += 1
        if server:
            apart = rows_apart(folder / "undisturbed" / name, here / name)
            apart_by.append(adapters_apart(folder / "undisturbed" / name, here / name))
            apart += [f"adapters, by {apart_by[-1]:.1e}"] if apart_by[-1] > ROUNDING else []
        else:
            want, got = digests(folder / "undisturbed" / name), digests(here / name)
            apart = [p for p in {**want, **got} if want.get(p) != got.get(p)]
        print(f"{here.name} ended; what differs: {apart}", flush=True)
        different += [f"{here.name}/{p}" for p in apart]
        runs += 1
    return {
        "kills": dict(fell), "runs": runs, "different": different, "adapters apart": max(apart_by),
        "ended for want of a server": without_server, "longest until all were gone": max(last),
    }  # fmt: skip


def _alive(folder: Path) -> bool:
    """Whether a process of the run is still there."""
    mark = str(folder / "runner.py")
    return any(mark in (p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))


def main() -> None:
    """Kill and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", default="ddp:2", help="ddp:W or fsdp2:W")
    parser.add_argument("--server", action="store_true", help="a vLLM server makes the rollouts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        pictures = Path(scratch) / "pictures"
        write_pictures(pictures, count=24, seed=3, style="dusk")
        settings = SETTINGS | {"iterations": 1, "images": {"source": str(pictures)}}
        server = Supervised(Path(scratch) / "server.log") if options.server else None
        if server:
            settings["engine"] = {"backend": "server", "urls": [f"http://127.0.0.1:{PORT}"]}
            server.wait()
        try:
            outcome = kill_ranks(
                Path(scratch), kills=options.kills, seed=options.seed, settings=settings, how=options.ranks,
                server=server,
            )  # fmt: skip
        finally:
            if server:
                server.end()
        print(json.dumps(outcome, indent=1))
    raise SystemExit(bool(outcome["different"]))


if __name__ == "__main__":
    main()
