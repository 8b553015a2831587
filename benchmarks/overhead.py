"""What surviving, watching and tracking cost: their seconds inside one pocket run, as a share of it.

Runs one iteration of `configs/pocket.yaml` in this process, with a clock around everything that writes a
checkpoint, an artifact or the journal, computes health figures, asks blind questions or sends to a tracker:

    python benchmarks/overhead.py --images runs/demo-images

The clocks nest: what one span holds is not counted again in the one around it.
"""

import argparse
import functools
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers

from visplay import storage
from visplay.config.loading import load_config
from visplay.loop import alarms, curation, grpo, health
from visplay.loop.selfplay import selfplay
from visplay.progress import Display
from visplay.runs import checkpoints, run, tracking

FUNCTIONS = {
    "journal and artifacts": [
        (storage, "write_text"), (storage, "write_part"), (storage, "read_part"), (storage, "append_jsonl"),
        (storage, "write_parquet"), (checkpoints, "promote"),
    ],
    "health": [
        (health, "question_health"), (alarms, "iteration_figures"), (alarms, "best_iteration"),
        (curation, "probe_blind_answers"),
    ],
}  # fmt: skip
METHODS = {
    "journal and artifacts": [
        (run.Run, "has"), (run.Run, "_put_in_place"), (run.Run, "collect_metrics"),
        (run.Run, "journal"),
    ],
    "checkpoints inside phases": [(transformers.Trainer, "_save_checkpoint"), (grpo._Steps, "on_save")],
    "tracking": [(tracking.Tracker, "log_step"), (tracking.Tracker, "log_rows")],
}  # fmt: skip


class Clock:
    """Seconds by what they went to; the inner span's are not the outer one's."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._spans: list[str] = []
        self._since = time.perf_counter()

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **values: Any) -> Any:
            self._note()
            self._spans.append(name)
            try:
                return function(*args, **values)
            finally:
                self._note()
                self._spans.pop()

        return timed

    def stop(self) -> dict[str, float]:
        self._note()
        return dict(self.seconds)

    def _note(self) -> None:
        now = time.perf_counter()
        self.seconds[self._spans[-1] if self._spans else "the run itself"] += now - self._since
        self._since = now


def watch(clock: Clock) -> None:
    """Put the clock around every function above, wherever a module has imported it by name."""
    modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "visplay"]
    for name, functions in FUNCTIONS.items():
        for owner, attribute in functions:
            plain = getattr(owner, attribute)
            timed = clock.around(name, plain)
            for module in modules:
                if getattr(module, attribute, None) is plain:
                    setattr(module, attribute, timed)
    for name, methods in METHODS.items():
        for kind, attribute in methods:
            setattr(kind, attribute, clock.around(name, getattr(kind, attribute)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="what `visplay pocket images` wrote")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        config = load_config(
            Path("configs/pocket.yaml"),
            [
                f"images.source={arguments.images}", f"output={scratch}", "iterations=1", "threads=1",
                "report_to=[tensorboard]", *arguments.set,
            ],
        )  # fmt: skip
        clock = Clock()
        watch(clock)
        selfplay(config, display=Display())
        seconds = clock.stop()
    total = sum(seconds.values())
    for name, spent in sorted(seconds.items(), key=lambda pair: -pair[1]):
        print(f"{name:28} {spent:8.2f} s  {100 * spent / total:5.2f} %")
    cost = total - seconds["the run itself"]
    print(f"{'all that is not the run':28} {cost:8.2f} s  {100 * cost / total:5.2f} %")


if __name__ == "__main__":
    main()
