"""What 50,000 pictures cost: starts, memory of a Questioner phase, decodes a step, contamination.

    python -m benchmarks.data_at_scale --pictures 50000 --large 5000 --folder /tmp/pictures

makes PNGs of 32 x 32 random pixels (and, with `--large`, JPEGs of 1280 x 960 smooth ones), and lets runs of
the pocket VLM look at them, each in a process of its own. The engine is scripted and answers at once;
trainer, prompts, pictures and run folder are real. Memory is resident, sampled every 20 ms: as the phase
begins, and its peak. Pictures that are opened are counted by an audit hook: each is a decode.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from tests.visplay.loop.test_decodes import Reads
from tests.visplay.scripted import BACKEND
from tests.visplay.small import SMALL
from visplay.config.loading import Config, check_config
from visplay.data.images import read_images
from visplay.loop import measuring, questioner
from visplay.loop.asking import judge, parse, vote
from visplay.loop.context import first_roles, open_context
from visplay.progress import Display

STEPS, PROMPTS = 5, 8
MB = 1e6


def write_pictures(folder: Path, *, count: int, size: tuple[int, int], suffix: str) -> None:
    """Pictures that are not there yet; no two are alike."""
    lot = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}{suffix}"
        if suffix == ".png":
            pixels = lot.integers(0, 256, (size[1], size[0], 3), np.uint8)
        else:  # smooth, as photographs are
            pixels = lot.integers(0, 256, (size[1] // 32, size[0] // 32, 3), np.uint8)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize(size).save(path)


def settings(pictures: Path, output: Path, *, limit: int) -> Config:
    phase = {**SMALL["questioner"], "steps": STEPS, "prompts_per_step": PROMPTS}
    return check_config(
        {
            **SMALL, "name": f"of-{limit}", "output": str(output), "engine": {"backend": BACKEND},
            "images": {"source": str(pictures), "limit": limit}, "questioner": phase,
        }
    )  # fmt: skip


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


class Peak:
    """The largest resident memory of this process since it began."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.begun = self.most = self._process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._process.memory_info().rss)

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def start(pictures: Path, output: Path, limit: int) -> dict[str, Any]:
    """One look at all pictures, with what earlier ones have left."""
    config = settings(pictures, output, limit=limit)
    config.folder.mkdir(parents=True, exist_ok=True)
    reads = Reads(pictures)
    with reads.counted() as opened:
        seconds, images = timed(
            lambda: read_images(pictures, limit=limit, cache=config.folder / "pictures.jsonl")
        )
    return {"pictures": len(images), "seconds": round(seconds, 2), "opened": sum(opened.values())}


def phase(pictures: Path, output: Path, limit: int) -> dict[str, Any]:
    """A run's start and its Questioner phase."""
    config = settings(pictures, output, limit=limit)
    reads = Reads(pictures)
    begun = time.perf_counter()
    with open_context(config, display=Display.quiet()) as ctx:
        opened = time.perf_counter() - begun
        roles = first_roles(ctx)
        peak = Peak()
        with reads.counted() as asked:
            questioner.train(ctx, 1, roles, ask=[parse, judge, vote])
        peak.end()
    return {
        "pictures": len(ctx.images), "start_seconds": round(opened, 2), "begun_mb": round(peak.begun / MB),
        "grown_mb": round((peak.most - peak.begun) / MB), "decodes": sum(asked.values()),
        "shown": STEPS * PROMPTS, "most_of_one": max(asked.values()),
    }  # fmt: skip


def contamination(pictures: Path, output: Path, limit: int) -> dict[str, Any]:
    """The check, and what a start after it does again."""
    config, reads, found = settings(pictures, output, limit=limit), Reads(pictures), []
    for _ in range(2):
        with open_context(config, display=Display.quiet()) as ctx:
            first_roles(ctx)
            with reads.counted() as counts:
                seconds, _ = timed(lambda: measuring.check_contamination(ctx))
            found.append({"seconds": round(seconds, 2), "decodes": sum(counts.values())})
    return {"pictures": len(ctx.images), "first": found[0], "second": found[1]}


PARTS = {"start": start, "phase": phase, "contamination": contamination}


def alone(part: str, pictures: Path, output: Path, limit: int) -> None:
    """Run a part in a process of its own and print what it found."""
    command = [sys.executable, "-m", "benchmarks.data_at_scale", "--part", part, "--pictures", str(limit)]
    command += ["--folder", str(pictures), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    print(part, done.stdout.strip().splitlines()[-1], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--large", type=int, default=0, help="JPEGs of 1280 x 960 to look at, too")
    parser.add_argument(
        "--folder", type=Path, help="of pictures, made where they lack; absent: a temporary one"
    )
    parser.add_argument("--output", type=Path, help="of runs; absent: a temporary one")
    parser.add_argument("--part", choices=PARTS, help="only this, in this process; for the program itself")
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.folder, options.output, options.pictures)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        pictures, output = (
            options.folder or Path(scratch, "pictures"),
            options.output or Path(scratch, "runs"),
        )
        write_pictures(pictures / "small", count=options.pictures, size=(32, 32), suffix=".png")
        write_pictures(pictures / "large", count=options.large, size=(1280, 960), suffix=".jpg")
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        for kind, count in (("small", options.pictures), ("large", options.large)):
            for _ in range(3 if count else 0):
                alone("start", pictures / kind, output / kind, count)
        for share in (100, 10, 1):
            alone("phase", pictures / "small", output / "small", options.pictures // share)
        alone("contamination", pictures / "small", output / "small", options.pictures)


if __name__ == "__main__":
    main()
