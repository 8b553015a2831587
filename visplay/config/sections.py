"""The sections of the configuration: every key, its default, its bounds and its meaning.

Defaults are the values of arXiv 2511.15661 and, where the paper leaves one open, of its released code.
"""

import datetime
import math
import re
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

import rewards
from rewards.parsing import type_key
from rollouts.servers.launch import server_url
from visplay.config.names import named
from visplay.errors import ConfigError, nearest

_PLAIN_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d*)?(?:\.\d*)?(?:[eE][-+]?\d+)?")


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, numbers no truth values and nothing infinite."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _one_for_a_list_of_it(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields.get(info.field_name or "")
        one = isinstance(value, str) and field is not None and get_origin(field.annotation) is list
        return [value] if one else value

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[info.field_name].annotation if info.field_name in cls.model_fields else Any
        kind = get_args(kind)[1] if get_origin(kind) is dict else kind
        kinds = get_args(kind) or (kind,)
        values = value.values() if isinstance(value, dict) else (value,)
        if value == "" and (Path in kinds or info.field_name == "path"):
            raise ValueError("must not be empty")
        words = {word for one in kinds for word in get_args(one)}  # `all` in place of a number
        if str in kinds or not {int, float} & set(kinds) or (isinstance(value, str) and value in words):
            return value
        if any(isinstance(v, str) and not _PLAIN_NUMBER.fullmatch(v) for v in values):
            raise ValueError("must be a number in decimal digits, without leading zeros")
        if bool not in kinds and any(isinstance(v, bool) for v in values):
            off = " (null switches it off)" if type(None) in kinds else ""
            raise ValueError(f"must be a number{off}; off, no, on and yes are truth values in YAML")
        return value


POCKET = {"pocket": "model", "pocket-wide": "wide"}  # the VLMs in the package, and their folders


class Model(Section):
    """The base VLM."""

    path: str = "pocket"
    """A hub id, a local folder, or `pocket` or `pocket-wide` for a VLM in the package."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`; `auto` uses a GPU if there is one."""
    trust_remote_code: bool = False
    """Run code from the model's repository."""
    max_pixels: int | None = Field(None, ge=1)
    """Larger pictures are scaled down to this size, by processors with such a limit."""
    min_pixels: int | None = Field(None, ge=1)
    """Smaller pictures are scaled up to this size."""
    processor: dict[str, Any] = {}
    """Settings of the processor, for trainer and engine: `do_image_splitting: false` ..."""
    chat_template_kwargs: dict[str, Any] = {}
    """Variables of the chat template: `enable_thinking: false` ..."""
    options: dict[str, Any] = {}
    """Further arguments of `from_pretrained`: `attn_implementation` ..."""
    date: datetime.date | None = None
    """Date for templates that print one; none: the day on which the run started."""

    @property
    def source(self) -> str:
        """What `from_pretrained` takes: a hub id or a folder."""
        return str(files("visplay") / "pocket" / POCKET[self.path]) if self.path in POCKET else self.path


def trusted(model: Model, *, again: bool, shown: str) -> Model:
    """The base VLM of a stored run; the caller decides again whether its repository's code may run.

    Raises:
        ConfigError: the run trusted that code, and the caller does not.
    """
    if model.trust_remote_code and not again:
        raise ConfigError(
            f"{shown} loads its base VLM {model.path!r} with trust_remote_code, which runs code of that "
            "repository; add --trust-remote-code if you trust it"
        )
    return model.model_copy(update={"trust_remote_code": again})


class Lora(Section):
    """The trained adapter."""

    rank: int = Field(16, ge=1)
    """Rank of the update."""
    alpha: int = Field(32, ge=1)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input while training."""
    targets: list[str] = []
    """Module names; empty: all linear layers of the language model."""


# Arguments of vLLM's engine on which log-probs, adapters and addresses depend.
_OWNED_BY_VISPLAY = frozenset({
    "model", "served_model_name", "host", "port", "enable_lora", "max_lora_rank", "max_loras",
    "max_cpu_loras", "logprobs_mode", "enable_sleep_mode",
})  # fmt: skip


class Engine(Section):
    """What generates the rollouts; docs/engines.md compares the three."""

    backend: str = Field("auto", pattern=r"^(auto|transformers|vllm|server|[\w.]+:[\w.]+)$")
    """`transformers`, `vllm` in this process, `server` (vLLM's), or `module:function`; `auto` uses vLLM
    if it is installed and the model is on a GPU, else transformers."""
    batch_size: int = Field(512, ge=1)
    """Sequences that transformers decodes at the same time; vLLM has its own limit."""
    vllm: dict[str, Any] = {}
    """Further arguments of vLLM's engine; they override what docs/planning.md derives."""
    sleep: bool | None = None
    """With `vllm`: leave the GPU while the trainer works; none: decided by the plan if both share a GPU."""
    urls: list[str] = []
    """With `server`: base URLs of running servers; docs/engines.md has their options."""
    replicas: int = Field(0, ge=0)
    """Number of vLLM servers to start here and to stop at the end, with `server` and without `urls`."""
    devices: list[str] = []
    """CUDA_VISIBLE_DEVICES of each replica started here; empty: GPUs without a trainer."""
    max_num_seqs: int = Field(1024, ge=1)
    """With `server`: completions in progress at each server; the rest wait."""

    @field_validator("vllm")
    @classmethod
    def _arguments(cls, vllm: dict[str, Any]) -> dict[str, Any]:
        if owned := [name for name in vllm if name.replace("-", "_") in _OWNED_BY_VISPLAY]:
            raise ValueError(f"{owned[0]} is set by visplay itself; leave it out")
        return vllm

    @field_validator("urls")
    @classmethod
    def _addresses(cls, urls: list[str]) -> list[str]:
        return [server_url(url) for url in urls]


class Images(Section):
    """The unlabelled pictures."""

    source: Path
    """A folder of pictures; a parquet, JSON or CSV file, or a folder of parquet; a saved dataset; or
    `hub:OWNER/NAME[/SUBSET][@REVISION][:SPLIT]` (`train` by default)."""
    column: str = "image"
    """The image column of a table or dataset."""
    limit: int | None = Field(None, ge=1)
    """Use only this number of pictures, from the start of the source."""
    oracle: str | None = None
    """`module:function` that returns an oracle for the true answers, used only for telemetry."""

    def open_oracle(self) -> Any:
        """The oracle; None if none is named or it does not know this source."""
        return named(self.oracle, key="images.oracle")(self.source) if self.oracle else None


class Votes(Section):
    """How the frozen Reasoner answers when it votes on the Questioner's questions and on benchmarks."""

    samples: int = Field(10, ge=1)
    """m: answers per question."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature of a vote."""
    top_k: int = Field(40, ge=0)
    """Sample only from the k most likely tokens; 0 is off."""


class Optimizer(Section):
    """GRPO (arXiv 2402.03300) with AdamW, in every trained phase."""

    learning_rate: float = Field(1e-5, gt=0)
    """Constant; the paper trains all weights at 1e-6, and LoRA needs more."""
    kl: float = Field(1e-2, ge=0)
    """Weight of the KL divergence to the reference (beta)."""
    reference: Literal["start", "base"] = "start"
    """Reference of the KL term: the policy at the start of the phase, or the base VLM."""
    micro_batch_size: int = Field(8, ge=1)
    """Completions per forward and backward pass."""
    updates_per_batch: int = Field(1, ge=1)
    """Optimizer updates per step, each on its share of the rollouts. With 1 the ratio of new to old policy is
    1, and clipping does nothing."""
    ahead: int = Field(0, ge=0, le=1)
    """1: sample the next step, with weights one step old, while this one is learned; needs `engine.backend:
    server`. docs/scaling.md"""
    advantage: str | None = None
    """`module:function` that replaces TRL's advantages; docs/extending.md"""
    loss: str | None = None
    """`module:function` that replaces TRL's loss; docs/extending.md"""
    grpo: dict[str, Any] = {}
    """Further fields of TRL's GRPOConfig, e.g. `loss_type`, `epsilon_high`, `max_grad_norm`; those that
    visplay sets are refused."""

    @property
    def keeps_start(self) -> bool:
        """Whether the adapter that a phase begins with is held, beside the one that learns."""
        return self.kl > 0 and self.reference == "start"

    @property
    def by_rows(self) -> bool:
        """Whether the gradient does not depend on which rows share a micro-batch."""
        means = {"top_entropy_quantile", "entropy_coef"} & self.grpo.keys()
        return self.grpo.get("loss_type", "grpo") != "bnpo" and not means and self.loss is None


class Phase(Section):
    """A trained phase; here the Reasoner's."""

    steps: int = Field(20, ge=0)
    """Optimizer steps; 0 leaves the role untrained."""
    prompts_per_step: int = Field(8, ge=1)
    """Prompts per optimizer step."""
    group_size: int = Field(8, ge=2)
    """G: completions per prompt."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature of the rollouts."""
    max_tokens: int = Field(4096, ge=1)
    """Length limit of a completion, in tokens."""
    learning_rate: float | None = Field(None, gt=0)
    """Learning rate of this role; none: `optimizer.learning_rate`."""


class QuestionerPhase(Phase):
    """The Questioner's phase."""

    types: list[str] = Field(["multiple choice", "numerical", "yes/no", "short answer"], min_length=1)
    """Question types the Questioner may choose from."""
    max_tokens: int = Field(1024, ge=1)
    """Length limit of a question with its tags, in tokens."""

    @field_validator("types")
    @classmethod
    def _told_apart(cls, types: list[str]) -> list[str]:
        keys = [type_key(name) for name in types]
        if len(set(keys)) < len(keys) or not all(keys):
            raise ValueError("each type must be named once; case, hyphens and spaces do not tell types apart")
        return types


class Judge(Section):
    """Which questions are valid, decided before the vote; docs/extending.md shows a custom judge."""

    function: str | None = None
    """`module:function`, e.g. `visplay.loop.judging:ask_base` or `:ask_reasoner`; none: no judge."""
    least: float = Field(0.5, ge=0, le=1)
    """Questions with a lower validity are rejected."""


class Curation(Section):
    """Selection of silver examples from questions."""

    questions_per_image: int = Field(8, ge=1)
    """N: questions per picture."""
    images: int | None = Field(None, ge=1)
    """Ask about at most this number of pictures, chosen by seed; none: all."""
    margin: float | Literal["all"] = 2.0
    """Stop when this multiple, >= 1, of the examples that the Reasoner's phase uses is kept; pictures come in
    random order. `all` asks about every picture."""
    low: float = Field(0.25, ge=0, le=1)
    """Lower end of the band in which questions are kept, inclusive."""
    high: float = Field(0.75, ge=0, le=1)
    """Upper end of the band in which questions are kept, inclusive."""
    samples: int | None = Field(None, ge=1)
    """m in curation; none: `votes.samples`."""
    count_unparsed: bool = True
    """Whether unparsed answers count in the denominator of the confidence."""

    @field_validator("margin", mode="before")
    @classmethod
    def _a_factor_or_all(cls, margin: Any) -> Any:
        if margin != "all" and (not isinstance(margin, int | float) or not 1 <= margin < math.inf):
            raise ValueError("must be a number of at least 1, or `all`")
        return margin

    @model_validator(mode="after")
    def _a_band(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"curation.low must be <= curation.high, got {self.low} and {self.high}")
        return self


_PARTS = {  # of the built-in rewards
    "questioner": ("validity", "uncertainty", "redundancy"),
    "reasoner": ("parsed", "accuracy", "format"),
}


class Rewards(Section):
    """Rewards of both roles; docs/rewards.md has the equations."""

    questioner: Literal["paper", "official"] = "paper"
    """`paper`: max(0, uncertainty - redundancy), Eq. 8. `official`, of the released code: min(c, 1 - c) -
    redundancy, and -1 for a malformed question."""
    target_confidence: float = Field(0.5, ge=0.01, le=0.99)
    """The confidence c at which `paper` gives the highest reward; 0.5 is Eq. 5."""
    redundancy_weight: float = Field(1.0, ge=0)
    """Weight of the redundancy penalty (lambda)."""
    redundancy_scope: Literal["image", "batch"] = "image"
    """Compare a question with those about the same picture, or with those of the whole step."""
    format_weight: float = Field(0.0, ge=0, le=1)
    """Share of the Reasoner's reward for a `<think>` block before the box."""
    questioner_terms: dict[str, float] = {}
    """Custom rewards, `module:function: weight`."""
    reasoner_terms: dict[str, float] = {}
    """The same for the Reasoner."""

    def values(self) -> rewards.Values:
        """The numbers as the reward functions take them."""
        return rewards.Values(**self.model_dump(exclude={"questioner_terms", "reasoner_terms"}))

    def terms(self, role: Literal["questioner", "reasoner"]) -> list[rewards.Term]:
        """The custom rewards, imported by name.

        Raises:
            ConfigError: a name that cannot be imported, or that another part of the reward has.
        """
        chosen = self.questioner_terms if role == "questioner" else self.reasoner_terms
        names = [*_PARTS[role], *(name.rpartition(":")[2] for name in chosen)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(
                f"rewards.{role}_terms: two parts of the reward would be called {twice[0]!r}, and one would "
                "hide the other; give the function another name"
            )
        return [
            rewards.Term(
                name=name.rpartition(":")[2], weight=weight, function=named(name, key=f"rewards.{role}_terms")
            )
            for name, weight in chosen.items()
        ]


class Evaluation(Section):
    """Accuracy before the first iteration and after every `every` iterations."""

    every: int = Field(1, ge=1)
    """Measure after every N iterations, and after the last."""
    benchmarks: list[str] = []
    """Ids (see `visplay benchmarks`) or your own YAML files; empty: no evaluation."""
    sources: dict[str, Path] = {}
    """Benchmark id: local copy of its data."""
    limit: int = Field(1000, ge=1)
    """Questions per benchmark, the same in every run."""
    split: Literal["held-out", "development"] = "held-out"
    """Which pocket scenes to use."""
    maj_limit: int = Field(1000, ge=0)
    """Questions that get the majority vote; 0 is off."""
    blind_limit: int = Field(1000, ge=0)
    """Questions asked again with a grey picture; 0 is off."""


# Figure: what is healthy, as in docs/health.md; a figure beyond its limit raises an alarm.
LIMITS: dict[str, float] = {
    "valid": 0.5, "answerable": 0.5, "distinct": 0.1, "redundancy": 0.5, "kept": 0.02, "silver_accuracy": 0.3,
    "probe_silver": 0.3, "blind_answers": 0.8, "same_answer": 0.8, "parsed": 0.5, "truncated": 0.5,
    "no_spread": 0.9, "kl": 1.0, "ratio_error": 0.5, "accuracy_change": 0.0,
}  # fmt: skip
# The others are limits from below.
AT_MOST = {"redundancy", "blind_answers", "same_answer", "truncated", "no_spread", "kl", "ratio_error"}


class Health(Section):
    """What to do when the figures of an iteration show that training went wrong."""

    action: Literal["warn", "stop", "roll_back"] = "warn"
    """`stop` ends the run after the iteration; `roll_back` continues from the best iteration so far."""
    probe: str | None = None
    """Benchmark that decides which iteration is best; none: the first."""
    patience: int | None = Field(None, ge=1)
    """End the run after this number of iterations without a better probe; none: never."""
    limits: dict[str, float | None] = {}
    """Limits that differ from docs/health.md, by figure; null switches an alarm off."""

    @field_validator("limits")
    @classmethod
    def _known(cls, limits: dict[str, float | None]) -> dict[str, float | None]:
        for name in limits:
            if name not in LIMITS:
                raise ValueError(f"no such figure: {name!r}{nearest(name, LIMITS)}")
        return limits

    def limit(self, figure: str) -> float | None:
        """The limit of a figure; None where its alarm is off."""
        return self.limits.get(figure, LIMITS[figure])
