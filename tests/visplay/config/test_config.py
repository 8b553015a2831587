from pathlib import Path

import pytest

from visplay.config.loading import check_config, check_names, dump_config, enough_kept, load_config
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
    assert (config.method, config.votes.samples, config.rewards.redundancy_weight) == ("paper", 10, 1.0)
    assert (config.curation.low, config.curation.high) == (0.25, 0.75)
    assert (config.optimizer.kl, config.optimizer.updates_per_batch) == (1e-2, 1)
    assert (config.questioner.group_size, config.questioner.steps, config.iterations) == (8, 20, 3)
    assert (config.votes.temperature, config.votes.top_k) == (1.0, 40)
    assert config.optimizer.learning_rate == 1e-5
    assert config.model.trust_remote_code is False


def test_where_curation_stops(tmp_path: Path) -> None:
    def enough(**values: object) -> int | None:
        return enough_kept(check_config({"images": {"source": str(tmp_path)}, **values}))

    assert enough() == 2 * 20 * 8
    assert enough(curation={"margin": 1.26}, reasoner={"steps": 1, "prompts_per_step": 3}) == 4
    assert enough(curation={"margin": "all"}) is None
    assert enough_kept(load_config(Path("configs/paper-qwen2.5-vl-3b.yaml"))) is None


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("seed: 1\nimages: {source: a}\noptimizer: {learning_rate: 1e-4}\n")
    config = load_config(path, ["seed=7", "optimizer.kl=0.5", "votes.samples=4"])
    assert (config.seed, config.optimizer.kl, config.optimizer.learning_rate) == (7, 0.5, 1e-4)
    assert config.votes.samples == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["num_generations=4"],
            "num_generations: a name of other libraries; set reasoner.group_size instead",
        ),
        (["optimizer.beta=0.1"], "optimizer.beta: a name of other libraries; set optimizer.kl instead"),
        (["sed=1"], "sed: no such key; did you mean 'seed'?"),
        (["optimizer.learning_rat=1"], "did you mean 'learning_rate'?"),
        (["micro_batch_size=4"], "micro_batch_size: no such key; did you mean optimizer.micro_batch_size?"),
        (["steps=4"], "steps: no such key; did you mean questioner.steps or reasoner.steps?"),
        (
            ["questioner.group_size=1"],
            "questioner.group_size: input should be greater than or equal to 2, got 1",
        ),
        (["health.limits.vaild=0.2"], "no such figure: 'vaild'; did you mean 'valid'?"),
        (["roles.critic.step=1"], "roles.critic.step: no such key; did you mean 'steps'?"),
        (["votes.sampels=3"], "did you mean 'samples'?"),
        (["curation.low=0.8"], "curation.low must be <= curation.high, got 0.8 and 0.75"),
        (["curation.margin=0.5"], "curation.margin: must be a number of at least 1, or `all`, got 0.5"),
        (["curation.margin=some"], "curation.margin: must be a number of at least 1, or `all`, got 'some'"),
        (["rewards.questioner=papr"], "rewards.questioner: input should be 'paper' or 'official'"),
        (
            ["name=../elsewhere"],
            "name: letters, digits, `-`, `_` and `.` are allowed, and not dots alone, got",
        ),
        (["engine.backend=server"], "engine.backend=server takes either engine.urls or engine.replicas >= 1"),
        (["engine.backend=vlm"], "engine.backend: it must be auto, transformers, vllm, server or module:"),
        (["roles={shared: {steps: 1}}"], "a role needs a name of its own in small letters, got 'shared'"),
        (["engine.replicas=2", "engine.devices=['0']"], "engine.devices must name one per replica: 2, got 1"),
        (["seed"], "an override must look like key.sub=value, got 'seed'"),
        (["use_vllm=true"], "use_vllm: a name of other libraries; set engine.backend instead"),
        (["reasoner=5"], "reasoner: it must hold keys with values, KEY: VALUE, got 5"),
        (["engine.vllm=[a]"], "engine.vllm: it must hold keys with values, KEY: VALUE, got ['a']"),
        (["images.source=[a, b]"], "images.source: it must be one path, got ['a', 'b']"),
        (["images.source=[a"], "images.source: while parsing a flow sequence"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, overrides: list[str], message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("images: {source: a}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert message in str(caught.value)


def test_a_message_says_once_what_it_got(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config({"images": {"source": "a"}, "curation": {"low": 0.9, "high": 0.2}})
    assert str(caught.value) == "curation: curation.low must be <= curation.high, got 0.9 and 0.2"


def test_names_are_imported_at_the_start_of_a_run_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("images: {source: a}\n")
    for override, key in (
        ("rewards.questioner_terms={nowhere:f: 1}", "rewards.questioner_terms"),
        ("loop=nowhere:f", "loop"),
        ("judge.function=nowhere:f", r"judge\.function"),
        ("images.oracle=nowhere:f", r"images\.oracle"),
        ("engine.backend=nowhere:f", r"engine\.backend"),
        ("optimizer.advantage=nowhere:f", r"optimizer\.advantage"),
        ("optimizer.loss=nowhere:f", r"optimizer\.loss"),
    ):
        config = load_config(path, [override])
        with pytest.raises(ConfigError, match=f"{key}: 'nowhere:f' cannot be imported"):
            check_names(config)
    with pytest.raises(ConfigError, match=r"'json' cannot be imported .module is no function"):
        check_names(load_config(path, ["judge.function=json"]))


@pytest.mark.parametrize(
    ("key", "terms"),
    [("questioner_terms", "{math:validity: 1}"), ("reasoner_terms", "{math:accuracy: 1}"),
     ("reasoner_terms", "{math:sqrt: 1, cmath:sqrt: 1}")],
)  # fmt: skip
def test_no_reward_of_ones_own_hides_another_part(tmp_path: Path, key: str, terms: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("images: {source: a}\n")
    with pytest.raises(ConfigError, match=rf"rewards\.{key}: two parts of the reward would be called"):
        check_names(load_config(path, [f"rewards.{key}={terms}"]))


def test_a_missing_file_and_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"is a folder, but not of a run .* give a YAML file"):
        load_config(tmp_path)
    (tmp_path / "broken.yaml").write_text("a: [1,")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "broken.yaml")
    (tmp_path / "empty.yaml").write_text("seed: 1\n")
    with pytest.raises(ConfigError, match="images: this key is required"):
        load_config(tmp_path / "empty.yaml")


def test_the_path_of_a_configuration_may_be_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("images: {source: a}\n")
    assert load_config(str(tmp_path / "c.yaml")) == load_config(tmp_path / "c.yaml")


def test_its_repr_is_short(tmp_path: Path) -> None:
    config = check_config({"images": {"source": "a"}, "name": "mine"})
    assert repr(config) == str(config) == "Config('runs/mine', method='paper', model='pocket')"


def test_there_are_a_hundred_keys_at_most() -> None:
    keys = [line for line in config_reference().splitlines() if line.startswith("| `")]
    assert len(keys) <= 100


def test_the_reference_follows_the_code() -> None:
    assert Path("docs/configuration.md").read_text() == config_reference(), "run: visplay config keys"
