"""Which adapter versions a run that is resumed hands to its engine."""

from pathlib import Path
from typing import Any

from rollouts.engine import AdapterVersion
from tests.visplay.contexts import context
from tests.visplay.loop.test_curation import settled


class Notes:
    """An engine that notes what is published to it."""

    def __init__(self) -> None:
        self.published: list[str] = []

    def publish(self, adapter: AdapterVersion) -> None:
        self.published.append(str(adapter))


def test_of_all_adapters_on_the_way_only_the_last_ones_are_published(tmp_path: Path) -> None:
    engine = Notes()
    ctx = context(settled(tmp_path), engine)
    for name, version in (("questioner", 0), ("reasoner", 0), *(("reasoner", 2 + i) for i in range(5))):
        folder = tmp_path / f"{name}-{version}"
        if version != 5:  # pruned
            folder.mkdir()
        ctx.publish(AdapterVersion(name=name, version=version, path=folder))
    assert engine.published == []

    def work(folder: Path) -> list[dict[str, Any]]:
        assert engine.published == ["reasoner@4", "reasoner@6", "questioner@0", "reasoner@6"]
        return []

    ctx.step("iteration-1/first", work)
    assert len(engine.published) == 4
    ctx.step("iteration-1/first", work)  # done
    ctx.step("iteration-1/second", work)  # nothing is published twice
