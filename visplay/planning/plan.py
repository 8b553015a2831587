"""Plan a run: the memory of trainer and engine, from the configuration, before anything is loaded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image

from rollouts.chat import Chat
from rollouts.engine import Prompt
from visplay.config.loading import Config, phase_of
from visplay.config.sections import POCKET
from visplay.data.survey import ImageRecord
from visplay.errors import ConfigError
from visplay.models.counting import Held, Size, base_dtype, count_held, measure_size, read_architecture
from visplay.models.engines import Beside, backend_of, runs_on_cpu
from visplay.models.memory import (
    ASLEEP,
    CONTEXT,
    MARGIN,
    Batch,
    Card,
    EngineMemory,
    Sharding,
    TrainerMemory,
    sequence_length,
    trainer_memory,
    transformers_memory,
    vllm_memory,
)
from visplay.models.processor import load_processor
from visplay.prompts import canary_prompt, questioner_prompt

PICTURE = (640, 480)  # pixels of the picture in a measured prompt
ASSUMED_PROMPT = 1024  # tokens, if no processor is available to measure a prompt
USABLE = 0.98  # of a card's nominal memory
Together = Literal["asleep", "awake"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A prompt with one picture.

    Attributes:
        tokens: number of tokens.
        pixel_bytes: bytes of the pixel values.
        how: whether it is measured or assumed, as text.
    """

    tokens: int
    pixel_bytes: int
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a run.

    Attributes:
        config: the run's configuration.
        size: sizes of its VLM and adapter.
        held: activations of the language model for one completion.
        batch: the batch of one optimizer step.
        prompt: the prompt with its picture.
        on_gpu: False for a run on a CPU.
        backend: the engine, with `auto` resolved for `on_gpu`.
    """

    config: Config
    size: Size
    held: Held
    batch: Batch
    prompt: Measured
    on_gpu: bool
    backend: str

    @property
    def longest(self) -> int:
        """The longest sequence that the engine must support, in tokens."""
        return sequence_length(
            prompt=self.batch.prompt, completion=self.batch.completion, context=self.size.context
        )

    @property
    def shares(self) -> bool:
        """Whether vLLM runs in the trainer's process on its card."""
        return self.backend == "vllm"

    @property
    def trainer_micro(self) -> int:
        """The configured number of completions per micro-batch."""
        return min(self.config.optimizer.micro_batch_size, self.batch.rows)

    def trainer(
        self, *, micro: int | None = None, sharding: Sharding = "one", ranks: int = 1
    ) -> TrainerMemory:
        """The trainer's memory with a micro-batch of `micro` completions; None uses the configuration's."""
        return trainer_memory(
            self.size, self.held, self.batch, micro=micro or self.trainer_micro,
            kl=self.config.optimizer.keeps_start, on_gpu=self.on_gpu, sharding=sharding, ranks=ranks,
        )  # fmt: skip

    def engine(self) -> EngineMemory:
        """The engine's memory on each of its GPUs."""
        if self.backend == "transformers":
            longest = self.batch.tokens
            return transformers_memory(self.size, sequences=self.config.engine.batch_size, longest=longest)
        spread = int(self.config.engine.vllm.get("tensor_parallel_size", 1))
        rank = self.config.lora.rank
        return vllm_memory(self.size, rank=rank, longest=self.longest, tensor_parallel=spread)

    def together(self, how: Together, *, micro: int | None = None) -> int:
        """Peak memory of trainer and engine on one card, in bytes; servers use separate cards."""
        trainer, engine = self.trainer(micro=micro), self.engine()
        if self.backend != "transformers" and not self.shares:  # it uses separate cards
            return trainer.total
        if self.backend == "transformers":  # one shared base, and they never work at the same time
            rests = trainer.total - trainer.kept - trainer.working
            return max(trainer.total + engine.adapters, rests + engine.least)
        if how == "awake":
            return trainer.total + engine.least + MARGIN
        plays = trainer.weights + trainer.standing + CONTEXT + engine.least + MARGIN
        return max(trainer.total + ASLEEP, plays)

    def micros(self) -> list[int]:
        """Possible micro-batches, largest first: powers of two that divide each phase's batch."""
        config = self.config
        sizes = [
            phase.prompts_per_step * phase.group_size
            for role in config.role_names
            if (phase := phase_of(config, role)).steps
        ]
        common = math.gcd(*sizes) if sizes else 1
        return [2**i for i in range(common.bit_length(), -1, -1) if common % 2**i == 0]

    def largest_micro(self, card: Card, how: Together | Literal["fsdp2", "ddp"], *, ranks: int = 1) -> int:
        """The largest micro-batch that fits on a card; 0 if none fits."""
        for micro in self.micros():
            if how == "asleep" or how == "awake":
                needed = self.together(how, micro=micro)
            elif self.batch.rows % (micro * ranks):
                continue
            else:
                needed = self.trainer(micro=micro, sharding=how, ranks=ranks).total
            if needed <= USABLE * card.memory:
                return micro
        return 0


def make_plan(config: Config, *, prompt_tokens: int | None = None, on_gpu: bool | None = None) -> Plan:
    """Plan a run from its configuration and its base VLM's `config.json`; no weights are read.

    Args:
        config: the run's configuration.
        prompt_tokens: tokens of a prompt with its picture; None measures one with a picture of `PICTURE`.
        on_gpu: plan for a GPU or for a CPU; None selects a CPU if the configuration sets it, or for the
            pocket VLM without a GPU.

    Raises:
        ConfigError: `config.json` is not available.
    """
    architecture = read_architecture(config.model)
    prompt = measure_prompt(config, size=PICTURE, tokens=prompt_tokens)
    if on_gpu is None:
        on_gpu = config.model.device != "cpu" and not (
            config.model.path in POCKET and runs_on_cpu(config.model)
        )
    backend = backend_of(config.model, config.engine)
    if config.engine.backend == "auto" and on_gpu and runs_on_cpu(config.model):
        backend = "vllm"  # the default on a machine with the planned card
    return _plan(config, architecture, prompt, on_gpu=on_gpu, backend=backend)


def beside_trainer(config: Config, records: Sequence[ImageRecord]) -> Beside:
    """Describe the trainer for an engine on the same GPU; prompts have the run's largest picture."""
    largest = max(records, key=lambda record: record.width * record.height)
    architecture = read_architecture(config.model)
    prompt = measure_prompt(config, size=(largest.width, largest.height))
    plan = _plan(config, architecture, prompt, on_gpu=True, backend="vllm")
    return Beside(size=plan.size, trainer=plan.trainer(), longest=plan.longest)


def measure_prompt(config: Config, *, size: tuple[int, int], tokens: int | None = None) -> Measured:
    """The longer of a Questioner's prompt and a Reasoner's, with a picture of `size`, width by height.

    Without a processor the sizes are assumed as for Qwen, and `how` says so.
    """
    try:
        processor = load_processor(config.model)
        same = {"revision": config.model.revision, "trust_remote_code": config.model.trust_remote_code}
        chat = Chat.load(processor, config.model.source, **same)
        picture = Image.new("RGB", size, (128, 128, 128))
        asking = questioner_prompt(picture, types=config.questioner.types, words=config.prompts)
        found = max(
            (_encoded(chat, prompt) for prompt in (asking, canary_prompt(picture, config.prompts))),
            key=lambda one: one[0],
        )
        how = f"measured with a picture of {size[0]} x {size[1]} pixels"
    except (ConfigError, ValueError) as error:
        found = ASSUMED_PROMPT, ASSUMED_PROMPT * 4 * 1176 * 4
        how = f"assumed, because no prompt could be built ({str(error)[:100]})"
    if tokens is not None:
        scale = tokens / found[0]
        found, how = (tokens, round(scale * found[1])), "as given"
    return Measured(tokens=found[0], pixel_bytes=found[1], how=how)


def _plan(config: Config, architecture: Any, prompt: Measured, *, on_gpu: bool, backend: str) -> Plan:
    dtype = base_dtype(architecture, config.model)
    phases = [phase for role in config.role_names if (phase := phase_of(config, role)).steps]
    batch = Batch(
        prompt=prompt.tokens,
        completion=max((phase.max_tokens for phase in phases), default=0),
        rows=max((phase.prompts_per_step * phase.group_size for phase in phases), default=1),
        pixel_bytes=prompt.pixel_bytes,
        group=min((phase.group_size for phase in phases), default=1),
    )
    again = bool(config.optimizer.grpo.get("gradient_checkpointing", on_gpu))
    size = measure_size(architecture, dtype=dtype, lora=config.lora)
    held = count_held(architecture, dtype=dtype, tokens=batch.tokens, checkpointing=again)
    return Plan(
        config=config, size=size, held=held, batch=batch, prompt=prompt, on_gpu=on_gpu, backend=backend
    )


def _encoded(chat: Chat, prompt: Prompt) -> tuple[int, int]:
    """The number of tokens and the bytes of pixel values of a prompt."""
    made = chat.encode([prompt])
    pixels: torch.Tensor = made["pixel_values"]
    return made["input_ids"].shape[1], pixels.numel() * pixels.element_size()
