"""The configuration of a run: a YAML file, overridden by `key.sub=value`, checked strictly.

A YAML file says only what differs; `visplay.config.sections` has the keys.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from visplay.config import sections
from visplay.config.method import MethodName, with_method
from visplay.config.names import OF_TRL, named
from visplay.config.prompts import Prompts
from visplay.config.sections import POCKET, Phase, Section
from visplay.config.yaml_text import dump_yaml, merged, read_overrides, read_yaml
from visplay.errors import ConfigError, CorruptArtifact, nearest

PATTERNS = {
    "id": "letters, digits, `-`, `_` and `.` are allowed",
    "name": "letters, digits, `-`, `_` and `.` are allowed, and not dots alone",
    "backend": "it must be auto, transformers, vllm, server or module:function",
}  # what the patterns of keys say
WORDS = {"missing": "this key is required", "path_type": "it must be one path"}  # for pydantic's, by type
WORDS |= dict.fromkeys(("model_type", "dict_type"), "it must hold keys with values, KEY: VALUE")
TAKEN = ("questioner", "reasoner", "curation", "evaluation", "health", "shared", "base")

_CHECKSUM = "# sha256 of what follows: "  # the first line of a run's own configuration


class Config(Section):
    """A whole run."""

    name: str = Field("run", pattern=r"^[\w.-]*[\w-][\w.-]*$", max_length=100)
    """The run's folder is `output/name`."""
    output: Path = Path("runs")
    """Folder of all runs."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Random seed of the whole run."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; none: torch's default."""
    iterations: int = Field(3, ge=1)
    """Self-play iterations."""
    report_to: list[Literal["tensorboard", "wandb", "trackio"]] = Field([])
    """Trackers that also get the metrics; each must be installed."""
    method: MethodName = "paper"
    """Sets votes, band, judge, rewards and curation; keys that you set override it. docs/methods.md"""
    adapters: Literal["shared", "per_role"] = "per_role"
    """One LoRA for both roles, or one for each role on the same base."""
    control: Literal["none", "random_reward"] = "none"
    """`random_reward`: the same loop with random rewards."""
    loop: str = "visplay.loop.selfplay:visplay"
    """`module:function` of the loop; docs/extending.md says how to write one."""
    roles: dict[str, Phase] = Field({})
    """Further roles that a custom loop trains, each with the keys of `reasoner`."""
    model: sections.Model = sections.Model()
    lora: sections.Lora = sections.Lora()
    engine: sections.Engine = sections.Engine()
    images: sections.Images
    prompts: Prompts = Prompts()
    rewards: sections.Rewards = sections.Rewards()
    votes: sections.Votes = sections.Votes()
    questioner: sections.QuestionerPhase = sections.QuestionerPhase()
    judge: sections.Judge = sections.Judge()
    curation: sections.Curation = sections.Curation()
    reasoner: Phase = Phase()
    optimizer: sections.Optimizer = sections.Optimizer()
    evaluation: sections.Evaluation = sections.Evaluation()
    health: sections.Health = sections.Health()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
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
        unmeasured = not self.evaluation.benchmarks
        if unmeasured and (self.health.patience or self.health.action == "roll_back"):
            raise ValueError(
                "evaluation.benchmarks is empty, and health.patience and health.action=roll_back need a "
                "benchmark; name one, or leave them out"
            )
        for role in self.roles:
            if role in TAKEN or not re.fullmatch("[a-z][a-z_]*", role):
                raise ValueError(
                    f"roles: a role needs a name of its own in small letters, got {role!r}; taken are "
                    f"{', '.join(TAKEN)}"
                )
        return self

    def __repr__(self) -> str:
        return f"Config({str(self.folder)!r}, method={self.method!r}, model={self.model.path!r})"

    __str__ = __repr__

    @property
    def role_names(self) -> tuple[str, ...]:
        """The roles that are trained."""
        return ("questioner", "reasoner", *self.roles)

    @property
    def folder(self) -> Path:
        """The run directory."""
        return self.output / self.name


def load_config(path: str | Path | Mapping[str, Any] | Config, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, a mapping or a Config, apply `key.sub=value` overrides and check the result.

    Raises:
        ConfigError: a missing file, broken YAML, or a key or value that is not allowed; it names the key.
    """
    try:
        given = read_overrides(overrides)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    path = path.model_dump(mode="json") if isinstance(path, Config) else path
    if isinstance(path, Mapping):
        return check_config(_located(merged(dict(path), given)))
    if not Path(path).exists():
        raise ConfigError(f"there is no configuration file {path}")
    if Path(path).is_dir():
        raise ConfigError(
            f"{path} is a folder, but not of a run (no config.yaml); give a YAML file or runs/NAME"
        )
    try:
        data = read_yaml(Path(path).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold keys and values")
    return check_config(_located(merged(data, given)))


def _located(data: dict[str, Any]) -> dict[str, Any]:
    """The data with `~` as the home folder, and the paths of the base and the pictures from the root.

    A run may be read, resumed and exported from another folder than it was begun in.
    """
    for section, key in (("model", "path"), ("images", "source"), ("", "output")):
        held = data.get(section) if section else data
        text = held.get(key) if isinstance(held, dict) else None
        if isinstance(held, dict) and isinstance(text, str) and text and not text.startswith("hub:"):
            path = Path(text).expanduser()
            whole = section and text not in POCKET and path.exists()
            held = held | {key: str(path.absolute()) if whole else str(path) if text[0] == "~" else text}
            data = data | ({section: held} if section else held)
    return data


def check_config(data: dict[Any, Any]) -> Config:
    """Make a Config of plain data; nothing that it names is imported, see `check_names`.

    Raises:
        ConfigError: naming every wrong key with the nearest right one, and every wrong value.
    """
    try:
        return Config.model_validate(with_method(data))
    except ValidationError as error:
        raise ConfigError("\n".join(complaint(detail, Config) for detail in error.errors())) from error


def check_names(config: Config) -> None:
    """Check, before anything is loaded, that all custom functions can be imported; else raise ConfigError."""
    config.rewards.terms("questioner"), config.rewards.terms("reasoner")
    for name, key in functions_of(config).items():
        named(name, key=key)


def functions_of(config: Config) -> dict[str, str]:
    """Every `module:function` that the configuration names, and its key."""
    own, given = config.optimizer, config.rewards
    held: dict[str | None, str] = {config.loop: "loop", config.judge.function: "judge.function"}
    held |= {own.advantage: "optimizer.advantage", own.loss: "optimizer.loss"}
    held |= {config.images.oracle: "images.oracle", config.engine.backend: "engine.backend"}
    held |= dict.fromkeys(given.questioner_terms, "rewards.questioner_terms")
    held |= dict.fromkeys(given.reasoner_terms, "rewards.reasoner_terms")
    return {name: key for name, key in held.items() if name and (":" in name or key != "engine.backend")}


def phase_of(config: Config, role: str) -> Phase:
    """The settings of the phase that trains a role."""
    phase: Phase = config.roles[role] if role in config.roles else getattr(config, role)
    return phase


def enough_kept(config: Config) -> int | None:
    """How many silver examples end a curation: `curation.margin` times what the Reasoner's phase uses.

    None where all pictures are asked about.
    """
    phase, own = config.reasoner, config.curation
    if own.margin == "all":
        return None
    return math.ceil(own.margin * phase.steps * phase.prompts_per_step)


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML under its checksum; reading it back gives the same configuration."""
    text = dump_yaml(config.model_dump(mode="json"))
    return f"{_CHECKSUM}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def read_config(path: Path) -> dict[str, Any]:
    """What `dump_config` wrote, as plain data.

    Raises:
        CorruptArtifact: the file is damaged or was edited.
    """
    first, _, rest = path.read_bytes().partition(b"\n")
    if first != f"{_CHECKSUM}{hashlib.sha256(rest).hexdigest()}".encode():
        if first.startswith(_CHECKSUM.encode()):
            raise CorruptArtifact(f"{path} is not as the run wrote it")
        rest = first + b"\n" + rest  # written by hand
    try:
        data = read_yaml(rest.decode())
    except ValueError as error:
        raise CorruptArtifact(f"{path} is damaged: {error}") from error
    if not isinstance(data, dict) or not data:
        raise CorruptArtifact(f"{path} is damaged: it holds no keys")
    return {str(key): value for key, value in data.items()}


def complaint(detail: Any, top: type[Section]) -> str:
    """One of pydantic's errors in words: the key, what is wrong, and what it holds or the nearest key."""
    key, kind = ".".join(str(part) for part in detail["loc"]), detail["type"]
    if not key and kind == "value_error":  # several keys that do not fit together; the message names them
        return str(detail["ctx"]["error"])
    if kind != "extra_forbidden":
        message = WORDS.get(kind) or detail["msg"].removeprefix("Value error, ")
        message = PATTERNS[key.rpartition(".")[2]] if kind == "string_pattern_mismatch" else message
        got = "" if kind == "missing" or ", got " in message else f", got {detail['input']!r:.200}"
        return f"{key or 'the file'}: {message[0].lower()}{message[1:]}{got}"
    if own := OF_TRL.get(str(detail["loc"][-1])):
        return f"{key}: a name of other libraries; set {own.replace('PHASE', 'reasoner')} instead"
    known, name = _known_keys(top, detail["loc"][:-1]), str(detail["loc"][-1])
    sections = {key: field.annotation for key, field in top.model_fields.items()}
    inside = [f"{key}.{name}" for key, kind in sections.items() if name in getattr(kind, "model_fields", ())]
    if inside and len(detail["loc"]) == 1:
        return f"{key}: no such key; did you mean {' or '.join(inside)}?"
    return f"{key}: no such key{nearest(name, known)}"


def _known_keys(section: Any, path: Sequence[int | str]) -> list[str]:
    for part in path:  # a section, or a mapping of names to sections
        fields = getattr(section, "model_fields", None)
        section = fields[str(part)].annotation if fields else get_args(section)[1]
    return list(section.model_fields)
