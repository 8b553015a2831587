"""Which adapter versions a run that is resumed hands to its engine, and that they are whole."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rollouts.engine import AdapterVersion
from tests.visplay.contexts import context
from tests.visplay.loop.faulty import StopsAt, settings
from tests.visplay.loop.test_curation import settled
from visplay.config.sections import Lora
from visplay.errors import ConfigError
from visplay.evaluation.export import export
from visplay.loop import context as loop_context
from visplay.loop.ask import ask
from visplay.loop.selfplay import selfplay
from visplay.models.policy import Policy
from visplay.progress import Display
from visplay.training.ranks import Ranks


class Notes:
    """An engine that notes what is published to it."""

    def __init__(self) -> None:
        self.published: list[str] = []

    def publish(self, adapter: AdapterVersion) -> None:
        self.published.append(str(adapter))


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 8])
def test_ranks_are_told_that_one_vllm_generates_for_all(
    size: int, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Started(Exception):
        pass

    def started(*_: Any, **__: Any) -> None:
        raise Started

    monkeypatch.setattr(loop_context, "backend_of", lambda *_: "vllm")
    monkeypatch.setattr(loop_context, "checked_engine", started)
    monkeypatch.setattr(Ranks, "broadcast", lambda _, what=None: what)
    display = StopsAt()
    with (
        pytest.raises(Started),
        loop_context.open_context(settings(scenes, tmp_path), display=display, ranks=Ranks(size=size)),
    ):
        pass
    told = "one vLLM on rank 0's GPU generates for all 8 ranks; engine.backend=server with engine.replicas"
    assert any(told in line for line in display.said) is (size == 8)


def test_of_all_adapters_on_the_way_only_the_last_ones_are_published(tmp_path: Path) -> None:
    engine = Notes()
    ctx = context(settled(tmp_path), engine)
    first = AdapterVersion(name="questioner", version=0, path=tmp_path / "questioner-0")
    Policy.of(ctx.config.model, lora=Lora(rank=1)).create_adapter(first, seed=0)
    for name, version in (("questioner", 0), ("reasoner", 0), *(("reasoner", 2 + i) for i in range(5))):
        folder = tmp_path / f"{name}-{version}"
        if version != 5 and not folder.exists():  # else pruned
            shutil.copytree(tmp_path / "questioner-0", folder)
        ctx.publish(AdapterVersion(name=name, version=version, path=folder))
    assert engine.published == []

    def work(folder: Path) -> list[dict[str, Any]]:
        assert engine.published == ["reasoner@4", "reasoner@6", "questioner@0", "reasoner@6"]
        return []

    ctx.step("iteration-1/first", work)
    assert len(engine.published) == 4
    ctx.step("iteration-1/first", work)  # done
    ctx.step("iteration-1/second", work)  # nothing is published twice


def damage(adapter: Path, *, how: str) -> None:
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    last = sorted(tensors)[-1]
    if how == "renamed":
        tensors = {f"other.{name}": tensor for name, tensor in tensors.items()}
    elif how == "missing":
        del tensors[last]
    else:
        tensors[last] = torch.full_like(tensors[last], torch.nan)
    save_file(tensors, file, metadata={"format": "pt"})


def train(run: Path, scenes: Path) -> None:
    selfplay(settings(scenes, run.parent, name=run.name, iterations=2), display=StopsAt())


def look_at(run: Path, scenes: Path) -> None:
    picture = next(scenes.glob("*.png"))
    ask(run, picture, iteration=1, questions=1, seed=0, display=Display.quiet())


def take_out(run: Path, scenes: Path) -> None:
    export(run, run.parent / "out", iteration=1)


@pytest.mark.parametrize("use", [train, look_at, take_out])
@pytest.mark.parametrize(
    ("how", "said"), [("renamed", "names"), ("missing", "1 tens"), ("nan", "not finite")]
)
def test_a_damaged_adapter_is_refused_on_every_way_in(
    use: Callable[[Path, Path], None], how: str, said: str, whole: Path, scenes: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    damage(run / "iteration-1/reasoner/adapter", how=how)
    with pytest.raises(ConfigError, match=f"the adapter in .*{said}"):
        use(run, scenes)
    assert not (tmp_path / "out").exists()
