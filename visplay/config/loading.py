"""The configuration of a run: a YAML file, overridden by `key.sub=value`, checked strictly.

A YAML file says only what differs; `visplay.config.sections` has the keys.
"""

import difflib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from visplay.config.sections import (
    Checkpoints,
    Curation,
    Engine,
    Evaluation,
    Guards,
    Health,
    Images,
    Lora,
    Model,
    Optimizer,
    Phase,
    QuestionerPhase,
    Rewards,
    Section,
    Votes,
)
from visplay.config.yaml_text import dump_yaml, merged, read_overrides, read_yaml
from visplay.errors import ConfigError, CorruptArtifact

_CHECKSUM = "# sha256 of what follows: "  # the first line of a run's own configuration


class Config(Section):
    """A whole run."""

    name: str = Field(
        "run",
        pattern=r"^[\w.-]*[\w-][\w.-]*$",
        max_length=100,
        description="The run's folder is `output/name`.",
    )
    output: Path = Field(Path("runs"), description="Where runs lie.")
    seed: int = Field(0, ge=0, description="Of everything that is drawn.")
    threads: int | None = Field(None, ge=1, description="CPU threads; absent: torch's choice.")
    iterations: int = Field(3, ge=1, description="Self-play iterations.")
    report_to: list[Literal["tensorboard", "wandb", "trackio"]] = Field(
        [], description="Trackers that are sent the metrics, too; each must be installed."
    )
    adapters: Literal["shared", "per_role"] = Field(
        "shared", description="One LoRA for both roles, or one each on the same base."
    )
    control: Literal["none", "random_reward"] = Field(
        "none", description="`random_reward`: the same loop, its rewards drawn by lot."
    )
    model: Model = Model()
    lora: Lora = Lora()
    engine: Engine = Engine()
    images: Images
    rewards: Rewards = Rewards()
    votes: Votes = Votes()
    questioner: QuestionerPhase = QuestionerPhase()
    curation: Curation = Curation()
    reasoner: Phase = Phase()
    optimizer: Optimizer = Optimizer()
    evaluation: Evaluation = Evaluation()
    guards: Guards = Guards()
    health: Health = Health()
    checkpoints: Checkpoints = Checkpoints()

    @model_validator(mode="after")
    def _engine_fits_together(self) -> Self:
        engine = self.engine
        if engine.backend == "server" and bool(engine.urls) == bool(engine.replicas):
            raise ValueError(
                "engine.backend=server takes either engine.urls or engine.replicas >= 1, "
                f"got urls={engine.urls} and replicas={engine.replicas}"
            )
        if engine.devices and len(engine.devices) != engine.replicas:
            raise ValueError(
                f"engine.devices must name one per replica: {engine.replicas}, got {len(engine.devices)}"
            )
        if engine.sync == "merged" and engine.backend == "server":
            raise ValueError("engine.sync=merged reloads weights in process; set engine.backend=vllm")
        return self

    @property
    def folder(self) -> Path:
        """The run directory."""
        return self.output / self.name


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply `key.sub=value` overrides and check the result.

    Raises:
        ConfigError: a missing file, broken YAML, or a key or value that is not allowed; it names the key.
    """
    if not path.is_file():
        raise ConfigError(f"there is no configuration file {path}")
    try:
        given = read_overrides(overrides)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    try:
        data = read_yaml(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold keys and values")
    return check_config(merged(data, given))


def check_config(data: dict[Any, Any]) -> Config:
    """Make a Config of plain data.

    Raises:
        ConfigError: naming every wrong key with the nearest right one, and every wrong value.
    """
    try:
        config = Config.model_validate(data)
        config.rewards.resolve()
        config.rewards.terms("questioner"), config.rewards.terms("reasoner")
    except ValidationError as error:
        raise ConfigError("\n".join(_complaint(detail) for detail in error.errors())) from error
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return config


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML under its checksum; reading it back gives the same configuration."""
    text = dump_yaml(config.model_dump(mode="json"))
    return f"{_CHECKSUM}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def read_config(path: Path) -> dict[str, Any]:
    """What `dump_config` wrote, as plain data.

    Raises:
        CorruptArtifact: the file is damaged or was edited.
    """
    content = path.read_bytes()
    first, _, rest = content.partition(b"\n")
    if first.startswith(_CHECKSUM.encode()) and first[-64:] != hashlib.sha256(rest).hexdigest().encode():
        raise CorruptArtifact(f"{path} is not as the run wrote it")
    try:
        data = read_yaml(content.decode())
    except ValueError as error:
        raise CorruptArtifact(f"{path} is damaged: {error}") from error
    if not isinstance(data, dict) or not data:
        raise CorruptArtifact(f"{path} is damaged: it holds no keys")
    return {str(key): value for key, value in data.items()}


def completed_config(data: dict[str, Any]) -> dict[str, Any]:
    """What `read_config` read, with the defaults of keys that did not exist when it was written.

    So the default of a new key must be what was done before there was the key. Data that this version does
    not understand is returned as it is.
    """
    try:
        return Config.model_validate(data).model_dump(mode="json")
    except ValidationError:
        return data


def flat_config(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their full key, `optimizer.learning_rate`."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        nested = isinstance(value, dict) and value
        flat |= flat_config(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _complaint(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if not key:  # several keys that do not fit together; the message names them
        return str(detail["ctx"]["error"])
    if detail["type"] != "extra_forbidden":
        message = detail["msg"].removeprefix("Value error, ")
        return f"{key}: {message[0].lower()}{message[1:]}, got {detail['input']!r:.200}"
    known = _known_keys(detail["loc"][:-1])
    near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"{key}: no such key; {hint}"


def _known_keys(path: Sequence[int | str]) -> list[str]:
    section: Any = Config
    for part in path:
        section = section.model_fields[str(part)].annotation
    return list(section.model_fields)
