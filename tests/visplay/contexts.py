"""A run's context without a model, for tests of what is asked, voted, kept and drawn."""

from typing import Any

from visplay.config.loading import Config
from visplay.data.images import read_images
from visplay.loop.context import RunContext
from visplay.progress import Display, Stopwatch
from visplay.runs.run import Run
from visplay.runs.tracking import Tracker


def context(config: Config, engine: Any = None, *, policy: Any = None, oracle: Any = None) -> RunContext:
    images = read_images(config.images.source)
    config.folder.mkdir(parents=True, exist_ok=True)
    return RunContext(
        config=config, run=Run(config.folder), policy=policy, engine=engine,
        images=images, picture=images.load, oracle=oracle, control_tokens=frozenset(), watch=Stopwatch(),
        display=Display.quiet(), tracker=Tracker(config),
    )  # fmt: skip
