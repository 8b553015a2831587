"""Named methods: values of several sections; what a configuration says goes before them."""

from pathlib import Path

import pytest

from benchmarks.gate import ARMS, SHORT, WORLDS
from visplay.config.loading import check_config, dump_config, load_config
from visplay.config.method import METHODS
from visplay.config.yaml_text import merged, read_overrides, read_yaml
from visplay.errors import ConfigError

IMAGES = {"images": {"source": "photos"}}


def test_what_is_set_goes_before_the_method() -> None:
    config = check_config({**IMAGES, "method": "steady", "rewards": {"low": 0.6}, "votes": {"views": []}})
    preset = config.rewards.resolve()
    assert (preset.low, preset.high, preset.target_confidence) == (0.6, 0.95, 0.8)
    assert config.votes.views == [] and config.judge.function == "visplay.loop.judging:ask_base"


def test_an_override_on_the_command_line_does_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("method: steady\nimages: {source: photos}\n")
    config = load_config(tmp_path / "mine.yaml", ["judge.function=null", "rewards.preset=official"])
    assert config.judge.function is None and config.rewards.resolve().name == "official"
    again = check_config(read_yaml(dump_config(config)))  # as a run keeps it
    assert again == config


def test_the_papers_method_changes_nothing() -> None:
    assert METHODS["paper"] == {} and check_config({**IMAGES, "method": "paper"}) == check_config(IMAGES)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ConfigError, match=r"method: .*'paper' or 'steady'.*got 'stable'"):
        check_config({**IMAGES, "method": "stable"})


def test_steady_is_what_the_sweep_tried() -> None:
    tried = check_config(merged(IMAGES, read_overrides(ARMS["steady"])))
    shipped = check_config({**IMAGES, "method": "steady"})
    assert shipped.model_copy(update={"method": "paper"}) == tried


def test_the_ladders_configuration_is_the_sweeps_but_for_what_measures_it() -> None:
    overrides = [*SHORT, *WORLDS["ladder"], *ARMS["steady"], "images.source=runs/ladder-images"]
    tried = load_config(Path("configs/pocket.yaml"), overrides).model_dump()
    shipped = load_config(Path("configs/ladder.yaml")).model_dump()
    assert tried["evaluation"].pop("split") == "development"
    assert shipped["evaluation"].pop("split") == "held-out"
    apart = {key for key, value in tried.items() if value != shipped[key]}
    assert apart == {"name", "method", "threads"}
