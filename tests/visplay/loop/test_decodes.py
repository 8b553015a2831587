"""A picture is decoded once, however many prompts of a phase show it."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.visplay.loop.faulty import PICTURES, StopsAt, settings
from tests.visplay.small import SMALL
from visplay.loop import curation, questioner, reasoner
from visplay.loop.asking import judge, parse, vote
from visplay.loop.context import PICTURES_KEPT, first_roles, open_context
from visplay.loop.curation import band

pytestmark = pytest.mark.slow


class Reads:
    """Counts how often each file below a folder is opened."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._counts = f"{folder}/", Counter[str]()
        sys.addaudithook(self._heard)  # stays for the life of the process

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if isinstance(path, str) and path.startswith(self._folder):
                self._counts[path] += 1

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        self._counts.clear()
        found: Counter[str] = Counter()
        yield found
        found.update(self._counts)


def test_a_picture_is_read_and_decoded_once_a_step(scenes: Path, tmp_path: Path) -> None:
    """Each read is a decode: `ImageSet.load` is the only way to a picture, and keeps nothing itself."""
    config = settings(scenes, tmp_path)
    reads = Reads(scenes)
    with open_context(config, display=StopsAt()) as ctx:
        roles = first_roles(ctx)
        with reads.counted() as asked:  # asking, votes, and what TRL fetches for its own pass
            roles = questioner.train(ctx, 1, roles, ask=[parse, judge, vote])
        assert len(asked) == 3 * 2 and set(asked.values()) == {1}  # three steps of two pictures
        ctx.picture.cache_clear()
        with reads.counted() as curated:
            examples = curation.curate(ctx, 1, roles, ask=[parse, judge, vote, band])
        assert len(curated) == PICTURES and set(curated.values()) == {1}
        ctx.picture.cache_clear()
        with reads.counted() as answered:
            reasoner.train(ctx, 1, roles, examples)
        assert 1 <= len(answered) <= 3 * 2 and set(answered.values()) == {1}
    with reads.counted() as again, open_context(config, display=StopsAt()):
        pass
    # A second start opens the picture that the canaries show, and no other.
    assert sum(again[path] for path in again if path.endswith(".png")) == 1


def test_however_many_pictures_a_step_has_each_is_decoded_once(scenes: Path, tmp_path: Path) -> None:
    large = {"steps": 1, "prompts_per_step": PICTURES, "group_size": 4}
    config = settings(scenes, tmp_path, questioner={**SMALL["questioner"], **large})
    assert PICTURES > PICTURES_KEPT
    reads = Reads(scenes)
    with open_context(config, display=StopsAt()) as ctx:
        roles = first_roles(ctx)
        with reads.counted() as asked:
            questioner.train(ctx, 1, roles, ask=[parse, judge, vote])
    assert len(asked) == PICTURES and set(asked.values()) == {1}
