from pathlib import Path

import pytest

from visplay.config.loading import (
    check_config,
    check_names,
    completed_config,
    dump_config,
    enough_kept,
    load_config,
)
from visplay.config.reference import config_reference
from visplay.config.yaml_text import read_yaml
from visplay.errors import ConfigError

CONFIGS = sorted(Path("configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_is_valid_and_survives_a_round_trip(path: Path) -> None:
    config = load_config(path)
    assert check_config(read_yaml(dump_config(config))) == config


def test_the_papers_values_are_the_defaults(tmp_path: Path) -> None:
    config = check_config({"images": {"source": str(tmp_path)}})
    preset = config.rewards.resolve()
    assert (preset.name, preset.samples, preset.redundancy_weight) == ("paper", 10, 1.0)
    assert (preset.low, preset.high) == (0.25, 0.75)
    assert (config.optimizer.clip_low, config.optimizer.clip_high, config.optimizer.kl) == (0.2, 0.3, 1e-2)
    assert (config.questioner.group_size, config.questioner.steps, config.iterations) == (8, 20, 3)
    assert (config.votes.temperature, config.votes.top_k) == (1.0, 40)
    assert config.optimizer.learning_rate == 1e-5
    assert config.model.trust_remote_code is False


def test_where_curation_stops(tmp_path: Path) -> None:
    def enough(**values: object) -> int | None:
        return enough_kept(check_config({"images": {"source": str(tmp_path)}, **values}))

    assert enough() == 2 * 20 * 8
    assert enough(curation={"margin": 1.26}, reasoner={"steps": 1, "prompts_per_step": 3}) == 4
    assert enough(curation={"budget": 100}) == 100
    assert enough(curation={"margin": "all"}) is None
    assert enough_kept(load_config(Path("configs/paper-qwen2.5-vl-3b.yaml"))) is None


def test_a_run_from_before_curation_stopped_goes_on_as_it_began() -> None:
    assert completed_config({"images": {"source": "."}})["curation"]["margin"] == "all"
    assert completed_config({"images": {"source": "."}, "curation": {"margin": 3}})["curation"]["margin"] == 3


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("seed: 1\nimages: {source: a}\noptimizer: {learning_rate: 1e-4}\n")
    config = load_config(path, ["seed=7", "optimizer.kl=0.5", "rewards.samples=4"])
    assert (config.seed, config.optimizer.kl, config.optimizer.learning_rate) == (7, 0.5, 1e-4)
    assert config.rewards.resolve().samples == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sed=1"], "sed: no such key; did you mean 'seed'?"),
        (["optimizer.learning_rat=1"], "did you mean 'learning_rate'?"),
        (
            ["questioner.group_size=1"],
            "questioner.group_size: input should be greater than or equal to 2, got 1",
        ),
        (
            ["health.limits.max_kl=-1"],
            "health.limits.max_kl: input should be greater than or equal to 0, got -1",
        ),
        (
            ["health.limits.min_valid=50"],
            "health.limits.min_valid: input should be less than or equal to 1, got",
        ),
        (["rewards.sampels=3"], "did you mean 'samples'?"),
        (["curation.margin=0.5"], "curation.margin: must be a number of at least 1, or `all`, got 0.5"),
        (["curation.margin=some"], "curation.margin: must be a number of at least 1, or `all`, got 'some'"),
        (["rewards.preset=papr"], "did you mean 'paper'?"),
        (["name=../elsewhere"], "name: "),
        (["engine.backend=server"], "engine.backend=server takes either engine.urls or engine.replicas >= 1"),
        (["engine.sync=merged"], "engine.sync: 'merged' is no longer there"),
        (["engine.backend=vlm"], "engine.backend: string should match pattern"),
        (
            ["roles={shared: {steps: 1}}"],
            "a role needs a name of its own in small letters, got 'shared'",
        ),
        (["engine.replicas=2", "engine.devices=['0']"], "engine.devices must name one per replica: 2, got 1"),
        (["seed"], "an override must look like key.sub=value, got 'seed'"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, overrides: list[str], message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("images: {source: a}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert message in str(caught.value)


def test_names_are_imported_at_the_start_of_a_run_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("images: {source: a}\n")
    for override, key in (
        ("rewards.questioner_terms={nowhere:f: 1}", "rewards.questioner_terms"),
        ("loop=nowhere:f", "loop"),
        ("judge.function=nowhere:f", r"judge\.function"),
        ("images.oracle=nowhere:f", r"images\.oracle"),
        ("engine.backend=nowhere:f", r"engine\.backend"),
    ):
        config = load_config(path, [override])
        with pytest.raises(ConfigError, match=f"{key}: 'nowhere:f' cannot be imported"):
            check_names(config)


@pytest.mark.parametrize(
    ("gone", "warning"),
    [
        ("sync: adapter", r"engine\.sync is no longer a key; leave it out"),
        ("concurrency: 64", r"engine\.concurrency is no longer a key; engine\.max_num_seqs bounds"),
    ],
)
def test_a_key_that_is_gone_is_warned_of_where_it_changes_nothing(
    tmp_path: Path, gone: str, warning: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"images: {{source: a}}\nengine: {{{gone}, batch_size: 3}}\n")
    with pytest.warns(FutureWarning, match=warning):
        assert load_config(path).engine.batch_size == 3


def test_a_missing_file_and_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1,")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "broken.yaml")
    (tmp_path / "empty.yaml").write_text("seed: 1\n")
    with pytest.raises(ConfigError, match="images: field required"):
        load_config(tmp_path / "empty.yaml")


def test_the_reference_follows_the_code() -> None:
    assert Path("docs/configuration.md").read_text() == config_reference(), "run: visplay config keys"
