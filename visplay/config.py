"""The configuration of a run: a YAML file, overridden by `key.sub=value`, checked strictly.

Defaults are the values of arXiv 2511.15661 and, where the paper leaves one open, of its released code.
A YAML file says only what differs.
"""

import difflib
import hashlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import rewards
from visplay.errors import ConfigError, CorruptArtifact

_CHECKSUM = "# sha256 of what follows: "  # the first line of a run's own configuration


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(Section):
    """The base VLM."""

    path: str = Field(
        "pocket", description="A hub id, a local folder, or `pocket` for the VLM in the package."
    )
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Weights' type.")
    device: str = Field("auto", description="`cpu`, `cuda`, `cuda:1`; `auto` takes a GPU where there is one.")
    trust_remote_code: bool = Field(False, description="Run the code that the model's repository carries.")
    max_pixels: int | None = Field(
        None, ge=1, description="A larger picture is scaled down to it, by processors with such a limit."
    )
    min_pixels: int | None = Field(None, ge=1, description="A smaller picture is scaled up to it.")


class Lora(Section):
    """The adapter that is trained."""

    rank: int = Field(16, ge=1, description="Rank of the update.")
    alpha: int = Field(32, ge=1, description="The update is scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input while training.")
    targets: list[str] = Field(
        [], description="Module names; empty: all linear layers of the language model."
    )


class Engine(Section):
    """What generates the rollouts; docs/engines.md compares the three."""

    backend: Literal["transformers", "vllm", "server"] = Field(
        "transformers", description="`vllm` in this process, or `server`: one or more vLLM servers."
    )
    batch_size: int = Field(
        512, ge=1, description="Sequences decoded side by side by transformers; vLLM decides for itself."
    )
    vllm: dict[str, Any] = Field(
        {}, description="Further arguments of vLLM's engine, e.g. `gpu_memory_utilization: 0.4`."
    )
    sync: Literal["adapter", "merged"] = Field(
        "adapter",
        description="`merged` (with `vllm`): reload base weights with the adapter merged into them.",
    )
    sleep: bool = Field(False, description="With `vllm` on a GPU: leave it to the trainer while that works.")
    urls: list[str] = Field(
        [], description="With `server`: base URLs of running servers; docs/engines.md has their options."
    )
    replicas: int = Field(
        0, ge=0, description="With `server` and no URLs: so many are started here, and stopped at the end."
    )
    devices: list[str] = Field(
        [], description="CUDA_VISIBLE_DEVICES of each replica started here; empty: all see all."
    )
    concurrency: int = Field(64, ge=1, description="With `server`: prompts under way at each of them.")


class Images(Section):
    """The unlabelled pictures."""

    source: Path = Field(description="A folder of pictures, a parquet file or a datasets folder.")
    column: str = Field("image", description="The image column of a parquet file or dataset.")
    limit: int | None = Field(None, ge=1, description="Use the first so many pictures only.")


class Votes(Section):
    """How the frozen Reasoner answers when it votes; `samples` (m) is a value of the rewards."""

    temperature: float = Field(1.0, gt=0, description="Sampling temperature of a vote.")
    top_k: int = Field(40, ge=0, description="Truncation of a vote; 0 is off.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus truncation of a vote; 1 is off.")


class Optimizer(Section):
    """GRPO (arXiv 2402.03300) with AdamW; the same in both phases."""

    learning_rate: float = Field(
        1e-5, gt=0, description="Constant; 1e-6 is the paper's for full fine-tuning."
    )
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's.")
    clip_low: float = Field(0.2, ge=0, description="The ratio is clipped below at 1 - clip_low.")
    clip_high: float = Field(0.3, ge=0, description="The ratio is clipped above at 1 + clip_high.")
    kl: float = Field(
        1e-2, ge=0, description="Weight of the KL divergence to the policy at the phase's start."
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient clipping.")
    micro_batch_size: int = Field(8, ge=1, description="Completions per forward and backward pass.")
    checkpoint_every: int = Field(
        1, ge=1, description="Steps between checkpoints inside a phase; a killed run goes on from the last."
    )


class Phase(Section):
    """What the two trained phases share."""

    steps: int = Field(20, ge=0, description="Optimizer steps; 0 leaves the role untrained.")
    prompts_per_step: int = Field(8, ge=1, description="Prompts per optimizer step.")
    group_size: int = Field(8, ge=2, description="G: completions per prompt.")
    temperature: float = Field(1.0, gt=0, description="Sampling temperature of the rollouts.")
    max_tokens: int = Field(4096, ge=1, description="Length limit of a completion, in tokens.")


class QuestionerPhase(Phase):
    """The Questioner's phase."""

    types: list[str] = Field(
        ["multiple choice", "numerical", "yes/no", "short answer"],
        min_length=1,
        description="Question types the Questioner may choose from.",
    )
    max_tokens: int = Field(1024, ge=1, description="Length limit of a question with its tags, in tokens.")


class Curation(Section):
    """From questions to silver examples."""

    questions_per_image: int = Field(8, ge=1, description="N: questions per picture.")
    images: int | None = Field(
        None, ge=1, description="Ask about so many pictures (drawn by seed); all if absent."
    )
    budget: int = Field(2048, ge=1, description="Keep at most so many silver examples (drawn by seed).")


class Evaluation(Section):
    """Accuracy before the first and after every iteration."""

    benchmarks: list[str] = Field(
        ["pocket-dusk"], description="Ids, see `visplay benchmarks`, or YAML files of your own."
    )
    sources: dict[str, Path] = Field({}, description="Benchmark id: local copy of its data.")
    limit: int = Field(1000, ge=1, description="Questions per benchmark, drawn by `seed`.")
    full_at_end: bool = Field(
        False, description="After the last iteration, ask base and Reasoner every question and compare."
    )
    contamination_bits: int = Field(
        10,
        ge=-1,
        le=256,
        description="Report training pictures whose pHash is so near a benchmark's; -1 is off.",
    )
    split: Literal["held-out", "development"] = Field("held-out", description="Pocket scenes to ask about.")
    maj_k: int = Field(8, ge=1, description="Samples for majority voting.")
    maj_limit: int = Field(1000, ge=0, description="Questions that get the majority vote; 0 is off.")
    blind_limit: int = Field(1000, ge=0, description="Questions asked again with a grey picture; 0 is off.")
    seed: int = Field(0, ge=0, description="Draws subsets and, on pocket, the scenes.")


class Limits(Section):
    """What is healthy; beyond a limit an alarm is raised, null is off. All but `kl` are shares."""

    min_valid: float | None = Field(0.5, description="Of the questions, well-formed.")
    min_distinct: float | None = Field(0.1, description="Of the valid questions, different ones.")
    min_kept: float | None = Field(0.02, description="Of the valid questions, informative.")
    max_low_confidence: float | None = Field(0.5, description="Of the voted questions, c < 0.25.")
    min_silver_accuracy: float | None = Field(0.3, description="Of the kept silver answers, right if known.")
    max_same_answer: float | None = Field(0.8, description="Of the benchmark answers, one and the same.")
    min_parsed: float | None = Field(0.5, description="Of the benchmark answers, in a box.")
    max_no_spread: float | None = Field(0.9, description="Of the training groups, with equal rewards.")
    max_kl: float | None = Field(1.0, description="Nats from the phase's start.")
    min_accuracy_change: float | None = Field(0.0, description="Against the base, where called worse.")


class Health(Section):
    """What to do when an iteration's figures say that the method has gone wrong."""

    action: Literal["warn", "stop", "roll_back"] = Field(
        "warn",
        description="`stop` ends the run after the iteration; `roll_back` goes on from the best one so far.",
    )
    limits: Limits = Limits()


class Checkpoints(Section):
    """Which adapters stay; rollouts, silver sets and samples always do."""

    keep_last: int | None = Field(
        None, ge=1, description="Keep those of so many last iterations and of the best one; all if absent."
    )


class Rewards(BaseModel):
    """A preset and the values that differ from it, e.g. `rewards.samples=5`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    preset: str = Field("paper", description="paper, official, rzero or soft.")
    questioner_terms: dict[str, float] = Field({}, description="Own rewards, `module:function: weight`.")
    reasoner_terms: dict[str, float] = Field({}, description="The same for the Reasoner.")

    def resolve(self) -> rewards.Preset:
        """The values to use.

        Raises:
            ValueError: an unknown preset or value.
        """
        return rewards.preset(self.preset, **(self.model_extra or {}))

    def terms(self, role: Literal["questioner", "reasoner"]) -> list[rewards.Term]:
        """The rewards of one's own, imported by name.

        Raises:
            ConfigError: a name that cannot be imported.
        """
        named = self.questioner_terms if role == "questioner" else self.reasoner_terms
        terms = []
        for name, weight in named.items():
            try:
                function = pkgutil.resolve_name(name)
            except (ImportError, AttributeError, ValueError) as error:
                raise ConfigError(
                    f"rewards.{role}_terms: {name!r} cannot be imported ({error}); write module:function, "
                    "and start visplay where the module can be found, or set PYTHONPATH"
                ) from error
            terms.append(rewards.Term(name=name.rpartition(":")[2], weight=weight, function=function))
        return terms


class Config(Section):
    """A whole run."""

    name: str = Field("run", pattern=r"^[\w.-]+$", description="The run's folder is `output/name`.")
    output: Path = Field(Path("runs"), description="Where runs lie.")
    seed: int = Field(0, ge=0, description="Of everything that is drawn.")
    threads: int | None = Field(None, ge=1, description="CPU threads; absent: torch's choice.")
    iterations: int = Field(3, ge=1, description="Self-play iterations.")
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
    for override in overrides:
        if "=" not in override:
            raise ConfigError(f"an override must look like key.sub=value, got {override!r}")
    try:
        merged = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_dotlist(list(overrides)))
        data = OmegaConf.to_container(merged)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold keys and values")
    return check_config(data)


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
    text: str = OmegaConf.to_yaml(OmegaConf.create(config.model_dump(mode="json")))
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
        data = OmegaConf.to_container(OmegaConf.create(content.decode()))
    except (OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
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
        return f"{key}: {detail['msg'].lower()}, got {detail['input']!r}"
    known = _known_keys(detail["loc"][:-1])
    near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"{key}: no such key; {hint}"


def _known_keys(path: Sequence[int | str]) -> list[str]:
    section: Any = Config
    for part in path:
        section = section.model_fields[str(part)].annotation
    return list(section.model_fields)
