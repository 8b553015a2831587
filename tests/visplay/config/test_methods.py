"""Named methods: values of several sections; what a configuration says goes before them."""

from pathlib import Path

import pytest

from visplay.config.loading import check_config, dump_config, load_config
from visplay.config.method import METHODS, differences
from visplay.config.yaml_text import read_yaml
from visplay.errors import ConfigError

IMAGES = {"images": {"source": "photos"}}


def test_what_is_set_goes_before_the_method() -> None:
    config = check_config({**IMAGES, "method": "steady", "curation": {"low": 0.6}})
    assert (config.curation.low, config.curation.high) == (0.6, 0.95)
    assert config.rewards.target_confidence == 0.8
    assert config.judge.function == "visplay.loop.judging:ask_base"


def test_an_override_on_the_command_line_does_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("method: steady\nimages: {source: photos}\n")
    config = load_config(tmp_path / "mine.yaml", ["judge.function=null"])
    assert config.judge.function is None and config.curation.low == 0.5
    assert check_config(read_yaml(dump_config(config))) == config  # as a run keeps it
    other = load_config(tmp_path / "mine.yaml", ["method=official"])  # nothing of steady is left
    assert other == check_config({**IMAGES, "method": "official"})


def test_official_has_the_values_of_the_released_code() -> None:
    """bruno686/VisPlay: min(c, 1 - c), -1 for what is invalid, 0.3 to 0.8 of 9 answers, 0.9 and 0.1."""
    config = check_config({**IMAGES, "method": "official"})
    values = config.rewards.values()
    assert (values.questioner, values.redundancy_scope, values.format_weight) == ("official", "batch", 0.1)
    band = config.curation
    assert (band.low, band.high, band.samples, band.count_unparsed) == (0.3, 0.8, 9, False)
    assert (config.optimizer.updates_per_batch, config.adapters) == (4, "per_role")


def test_paper_and_the_default_are_one() -> None:
    assert check_config({**IMAGES, "method": "paper"}) == check_config(IMAGES)
    assert check_config(IMAGES).adapters == "per_role"  # two models in the paper


def test_what_differs_from_a_method_is_named() -> None:
    assert differences(check_config({**IMAGES, "method": "steady"})) == []
    found = differences(check_config({**IMAGES, "curation": {"low": 0.4}}))
    assert found[0] == "curation.low: 0.4 here, 0.25 in paper"
    assert "curation.margin: 2.0 here, all in the source of paper" in found
    assert "training: LoRA here, all weights in the source of paper" in found
    official = differences(check_config({**IMAGES, "method": "official"}))
    assert "reasoner.prompts_per_step: 8 here, 512 in the source of official" in official
    as_released = {
        "method": "official", "curation": {"margin": "all"}, "optimizer": {"learning_rate": 1e-6},
        "questioner": {"prompts_per_step": 512}, "reasoner": {"prompts_per_step": 512},
    }  # fmt: skip
    (only,) = differences(check_config({**IMAGES, **as_released}))
    assert only.startswith("training: LoRA here")


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ConfigError, match=r"method: .*'paper'.* or 'steady'.*got 'stable'"):
        check_config({**IMAGES, "method": "stable"})


@pytest.mark.parametrize("path", sorted(Path("configs").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_have_one_method(path: Path) -> None:
    assert load_config(path).method == ("steady" if path.name in ("ladder.yaml", "demo.yaml") else "paper")


def test_every_method_has_values_that_a_configuration_takes() -> None:
    for name in METHODS:
        assert check_config({**IMAGES, "method": name}).method == name
