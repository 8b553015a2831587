"""Does a run on two ranks that is killed again and again end as if nothing had happened?

A small run is made by two ranks undisturbed. Then it is made again, with `kill -9` to its launcher, to rank 0
or to rank 1, in turn, at random instants, and the same command is given again each time. What was sampled,
rewarded and trained must be equal to the bit, nothing lost and nothing done twice.

    python -m benchmarks.kill_ranks --kills 30 --seed 0
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
from benchmarks.many_ranks import SETTINGS, launch
from visplay.pocket.truth import write_pictures

VICTIMS = ("launcher", "rank 0", "rank 1")


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


def kill_ranks(folder: Path, *, kills: int, seed: int, settings: dict[str, Any], how: str) -> dict[str, Any]:
    """Kill and go on until all kills are spent; returns what differed."""
    lot = random.Random(seed)
    began = time.monotonic()
    assert launch(folder / "undisturbed", how, settings).wait() == 0, (folder / "undisturbed/log").read_text()
    seconds = time.monotonic() - began
    want = digests(folder / "undisturbed" / settings["name"])
    fell: Counter[str] = Counter()
    runs, different, last = 0, [], [0.0]
    while fell.total() < kills:
        here = folder / f"killed-{runs}"
        while True:
            process = launch(here, how, settings)
            started, after = time.monotonic(), lot.uniform(8, seconds)
            name = VICTIMS[fell.total() % len(VICTIMS)]
            while process.poll() is None and (fell.total() >= kills or time.monotonic() - started < after):
                time.sleep(0.05)
            if process.poll() is None and (pid := victim_of(process, name)) is not None:
                where = in_flight(here / settings["name"])
                os.kill(pid, signal.SIGKILL)
                killed = time.monotonic()
                process.wait()
                while _alive(here):
                    time.sleep(0.1)
                last.append(time.monotonic() - killed)
                fell[f"{name}, {where}"] += 1
                print(f"kill {fell.total()} of {here.name}: {name} in {where}", flush=True)
                continue
            if process.wait() == 0:
                break
            raise AssertionError((here / "log").read_text()[-4000:])
        got = digests(here / settings["name"])
        apart = [f"{here.name}/{p}" for p in {**want, **got} if want.get(p) != got.get(p)]
        print(f"{here.name} ended; files that differ: {apart}", flush=True)
        different += apart
        runs += 1
    return {
        "kills": dict(fell),
        "runs": runs,
        "different": different,
        "longest until all were gone": max(last),
    }


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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        pictures = Path(scratch) / "pictures"
        write_pictures(pictures, count=24, seed=3, style="dusk")
        settings = SETTINGS | {"iterations": 1, "images": {"source": str(pictures)}}
        outcome = kill_ranks(
            Path(scratch), kills=options.kills, seed=options.seed, settings=settings, how=options.ranks
        )
        print(json.dumps(outcome, indent=1))
    raise SystemExit(bool(outcome["different"]))


if __name__ == "__main__":
    main()
