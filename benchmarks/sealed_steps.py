"""How long does it take to start a run that has 1,000 finished steps, and to get to the first that is not?

    python -m benchmarks.sealed_steps --steps 1000 --adapter-mb 1 --rounds 5

makes a run folder by the run's own `step`: 250 iterations with an adapter in two of four steps. `start` is
`Run.opened`: lock, configuration, journal, every seal, every file by size and time. `to the next step` is
what the loop does with finished steps: asks for each and reads who plays which role. `in full` is a start
with `--verify`. Model, pictures and engine are not in it. Times are medians with smallest and largest.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from statistics import median

from visplay.config.loading import Config, check_config
from visplay.runs.checkpoints import kept_adapter
from visplay.runs.run import Run

PHASES = ("questioner", "curation", "reasoner", "health")
TRAINED = ("questioner", "reasoner")
ROWS = 50_000  # bytes of a phase's parquet file


def make_run(config: Config, *, steps: int, adapter_bytes: int) -> None:
    with Run(config.folder).opened(config) as run:
        for number in range(steps):
            phase = PHASES[number % len(PHASES)]
            with run.step(f"iteration-{1 + number // len(PHASES)}/{phase}") as scratch:
                (scratch / "metrics.jsonl").write_text(json.dumps({"phase": phase, "step": number}) + "\n")
                (scratch / "rows.parquet").write_bytes(os.urandom(ROWS))
                if phase in TRAINED:
                    (scratch / "adapter").mkdir()
                    (scratch / "adapter" / "adapter_model.safetensors").write_bytes(os.urandom(adapter_bytes))
                    (scratch / "adapter.json").write_text(json.dumps({"name": "shared", "version": number}))


def start(config: Config, *, verify: bool = False) -> float:
    begun = time.perf_counter()
    with Run(config.folder).opened(config, verify=verify):
        return time.perf_counter() - begun


def to_the_next_step(config: Config, *, steps: int) -> float:
    with Run(config.folder).opened(config) as run:
        begun = time.perf_counter()
        for number in range(steps):
            name = f"iteration-{1 + number // len(PHASES)}/{PHASES[number % len(PHASES)]}"
            assert run.has(name)
            if name.endswith(TRAINED):
                kept_adapter(run.folder / name)
        return time.perf_counter() - begun


def told(what: str, measure: Callable[[], float], *, rounds: int) -> None:
    times = [measure() for _ in range(rounds)]
    spread = f"({min(times):.2f} to {max(times):.2f}, n = {rounds})"
    print(f"{what:32} {median(times):7.2f} s  {spread}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--adapter-mb", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = check_config({"images": {"source": "none"}, "output": folder})
        begun = time.perf_counter()
        make_run(config, steps=options.steps, adapter_bytes=int(options.adapter_mb * 1e6))
        size = sum(path.stat().st_size for path in config.folder.rglob("*") if path.is_file())
        print(f"{options.steps} steps, {size / 1e9:.2f} GB, made in {time.perf_counter() - begun:.0f} s")
        told("first start after the last step", lambda: start(config), rounds=1)
        told("start", lambda: start(config), rounds=options.rounds)
        told("to the next step", lambda: to_the_next_step(config, steps=options.steps), rounds=options.rounds)
        told("start, in full", lambda: start(config, verify=True), rounds=options.rounds)


if __name__ == "__main__":
    main()
