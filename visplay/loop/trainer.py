"""TRL's GRPOTrainer with rollouts from our engine, on one rank or many, and what a finished step leaves."""

import itertools
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate.utils.fsdp_utils import save_fsdp_optimizer
from PIL import Image
from transformers import TrainerCallback
from transformers.trainer import SCHEDULER_NAME
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import split_pixel_values_by_grid, split_tensor_dict, unsplit_pixel_values_by_grid

from visplay.errors import PreflightError, TrainingDiverged
from visplay.loop.lengths import CHUNK, Shown, indifferent, longest_first, reordered
from visplay.loop.pictures import Pictures
from visplay.models.policy import adapter_state, write_adapter
from visplay.ranks import Ranks
from visplay.storage import read_part, write_part

BEHIND = "behind"  # in a checkpoint: the adapter before its last step, with which the next step is rolled out


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    """One completion with all that TRL must know of it.

    Attributes:
        messages: of the prompt.
        images: of the prompt, RGB.
        prompt_ids: of the prompt, pictures expanded.
        completion_ids: sampled.
        logprobs: of these, by the engine.
        reward: what it is paid.
    """

    messages: list[dict[str, Any]]
    images: list[Image.Image]
    prompt_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float]
    reward: float


class Player(Protocol):
    """Rolls out a step; rank 0 has one."""

    def __call__(self, rows: list[int], state: dict[str, torch.Tensor]) -> list[Rolled]:
        """The completions of a step.

        Args:
            rows: [P * G] of the prompts, each G times in a row.
            state: the adapter's weights as they are now.
        """
        ...


class EngineGRPOTrainer(GRPOTrainer):
    """GRPOTrainer that samples from our engine as it would from vLLM, importance correction included.

    Each rank draws its share of a step's rows, P * G / W; rank 0 plays them all in their order, which is that
    of one process alone, and each rank learns from its share. TRL gathers rewards before it compares them.
    The private names below are TRL 1.16's; `tests/visplay/loop/test_trl.py` fails where another has others.
    """

    def __init__(self, *, ranks: Ranks, player: Player | None, **arguments: Any) -> None:
        super().__init__(reward_funcs=_reward, rollout_func=self._rolled_out, **arguments)
        self._ranks, self._player = ranks, player
        self._rolled: list[Rolled] = []
        self._pictures = Pictures(
            self.accelerator.unwrap_model(self.model).get_base_model(), whole=not ranks.sharded
        )
        self._keys: list[int] = []  # [rows] whose pictures those have that a loss is about to be computed of
        self.use_vllm = True  # whose log-probs TRL then takes for the engine's

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        """As TRL's, on prompts that rank 0 makes and plays when their step comes, and deals out."""
        own = self._ranks.collect([example["row"] for example in inputs])
        state = adapter_state(self.model)
        parts = None
        if self._player is not None:
            rolled = self._player([row for rows in own for row in rows], state)
            ends = [sum(map(len, own[: i + 1])) for i in range(len(own))]
            parts = [rolled[end - len(rows) : end] for rows, end in zip(own, ends, strict=True)]
        self._rolled = self._ranks.deal(parts)
        self._last_loaded_step = self.state.global_step  # else TRL would publish, too
        here = {id(picture): _here(picture) for one in self._rolled for picture in one.images}
        numbers: dict[tuple[int, ...], int] = {}
        keys = [numbers.setdefault(tuple(map(id, one.images)), len(numbers)) for one in self._rolled]
        self._pictures.forget()
        self._keys = keys if () not in numbers else []
        batch = super()._generate_and_score_completions(
            [
                {"prompt": one.messages, "images": [here[id(picture)] for picture in one.images]}
                for one in self._rolled
            ]
        )
        return batch | {"pictures": self._keys} if self._keys else batch

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """As TRL's, but completions of like length share a micro-batch where TRL shuffles them."""
        arguments: Any = self.args
        each = arguments.steps_per_generation
        if not indifferent(arguments) or self.aux_loss_enabled:
            return super()._prepare_inputs(generation_batch)
        if self._step % each == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(generation_batch)
            order = longest_first(batch["completion_mask"])
            split: Any = split_pixel_values_by_grid(reordered(batch, order))
            micro: list[Any] = split_tensor_dict(split, each)
            self._buffered_inputs: Any = [unsplit_pixel_values_by_grid(batch) for batch in micro]
        return self._buffered_inputs[self._step % each]

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        self._keys = inputs.get("pictures", [])
        return super()._compute_loss(model, inputs)

    def rows_from(self, step: int) -> Iterator[list[int]]:
        """Rows [P * G] of this step and those after it, as TRL draws them where a process begins with it."""
        sampler: Any = self._get_train_sampler()
        arguments: Any = self.args
        size = arguments.generation_batch_size
        drawn = size * arguments.steps_per_generation  # TRL draws a step's rows once per micro-batch
        steps = len(sampler) // drawn
        for skipped in itertools.chain([step % steps], itertools.repeat(0)):
            rows = iter(sampler)
            for i in range(steps):
                once = list(itertools.islice(rows, drawn))[:size]
                if i >= skipped:
                    yield once

    def _rolled_out(self, prompts: list[Any], _: GRPOTrainer) -> dict[str, list[Any]]:
        assert len(prompts) == len(self._rolled), (len(prompts), len(self._rolled))
        names = ("prompt_ids", "completion_ids", "logprobs", "reward")
        return {name: [getattr(one, name) for one in self._rolled] for name in names}

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **inputs: Any,
    ) -> Any:
        """As TRL's, but by length in chunks that leave out padding, and each picture seen once a step.

        TRL does not know `batch_num_images`, by which LLaVA-OneVision counts pictures. Where every prompt has
        one picture the model does without it.
        """
        counts = inputs.pop("batch_num_images", None)
        if counts is not None and (counts > 1).any():
            raise PreflightError(
                "TRL cannot train this VLM on prompts with several pictures; take guards.anchors whose "
                "items have one"
            )
        order = longest_first(attention_mask[:, -logits_to_keep:])
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, **inputs}
        batch = {name: value for name, value in batch.items() if value is not None}
        keys = [self._keys[row] for row in order] if self._keys else []
        batch = reordered(batch, order)
        # Ranks that learn together must call the model equally often, and a router's loss is of a batch.
        chunk = len(order) if self._ranks.size > 1 or compute_aux_loss else CHUNK
        results = super()._get_per_token_logps_and_entropies(
            Shown(model, pictures=self._pictures, keys=keys, batch=batch), logits_to_keep=logits_to_keep,
            batch_size=min(batch_size or len(order), chunk), compute_entropy=compute_entropy,
            compute_aux_loss=compute_aux_loss, **batch,
        )  # fmt: skip
        back = torch.tensor(order, device=input_ids.device).argsort()
        logps, entropies, aux_loss = results
        return logps[back], None if entropies is None else entropies[back], aux_loss

    def train(self, *args: Any, **options: Any) -> Any:
        """As TRL's."""
        with self._pictures:
            return super().train(*args, **options)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The adapter alone, whole: transformers would put the base together again, and keep no adapter."""
        state = adapter_state(self.model)
        if self._ranks.first:
            write_adapter(self.model, Path(str(output_dir or self.args.output_dir)), state=state)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The adapter is on the model already; what is left to load is the optimizer's."""

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """As transformers', which would put a base in pieces together again here, too."""
        if not self._ranks.sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        plugin = self.accelerator.state.fsdp_plugin
        save_fsdp_optimizer(plugin, self.accelerator, self.optimizer, self.model, output_dir)
        if self._ranks.first and self.lr_scheduler is not None:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)


class _Here(Image.Image):
    """A picture that is not sent along where TRL gathers the prompts of all ranks for a log, nor copied."""

    def __deepcopy__(self, memo: Any) -> "_Here":
        return self

    def __reduce__(self) -> Any:
        return Image.new, ("RGB", (1, 1))


def _here(picture: Image.Image) -> Image.Image:
    mine = picture.copy()
    mine.__class__ = _Here
    return mine


def _reward(prompts: Any, completions: Any, reward: list[float], **_: Any) -> list[float | None]:
    return list(reward)


_reward.__name__ = "reward"


class Steps(TrainerCallback):
    """Keeps what each step leaves, times aside, so that equal runs give equal numbers; rank 0 writes it.

    `step-N.json` is written when step N is over; `checkpoint.json` names the last step whose checkpoint is
    whole, and older checkpoints go only after that.
    """

    def __init__(
        self,
        scratch: Path,
        *,
        finished: list[dict[str, Any]],
        on_step: Callable[[dict[str, float]], None],
        ranks: Ranks,
    ) -> None:
        self._scratch, self.finished, self._on_step, self._ranks = scratch, finished, on_step, ranks
        self.folder = scratch / "trainer"
        self.records: list[dict[str, Any]] = []  # of the step in flight
        self.extra: dict[str, float] = {}  # metrics of it that TRL does not know
        self.behind: Path | None = None  # the adapter before it, where a process that resumes needs that
        if ranks.first:
            self._drop_others()  # cut short by a kill
        for step in finished:
            on_step(step["metrics"])

    @property
    def all_records(self) -> list[dict[str, Any]]:
        """Of the finished steps, oldest first."""
        return [record for step in self.finished for record in step["records"]]

    @property
    def checkpoint(self) -> Path:
        """TRL's checkpoint after the finished steps."""
        return self.folder / f"checkpoint-{len(self.finished)}"

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Keep one row per optimizer step."""
        if "reward" not in logs:
            return  # the summary at the end of training
        row = {"step": float(state.global_step)}
        kept = {k: v for k, v in logs.items() if k not in ("step_time", "epoch", "num_tokens")}
        # transformers logs None for what is not finite
        row |= {k: math.nan if v is None else float(v) for k, v in kept.items()} | self.extra
        for name in ("loss", "grad_norm"):
            if not math.isfinite(row[name]):
                raise TrainingDiverged(
                    f"step {state.global_step}: {name} is {row[name]}; the steps before it are kept. Start a "
                    "run of another name with a lower optimizer.learning_rate or a higher optimizer.kl"
                )
        step = {"metrics": row, "records": self.records}
        self.finished.append(step)
        if self._ranks.first:
            write_part(self._scratch / f"step-{state.global_step}.json", step)
        self._on_step(row)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note that this step's checkpoint is whole, every rank's part of it, and drop the one before."""
        self._ranks.wait()
        if not self._ranks.first:
            return
        if self.behind is not None:
            shutil.copytree(self.behind, self.checkpoint / BEHIND, dirs_exist_ok=True)
        note = self._scratch / "checkpoint.json"
        write_part(note, {"step": state.global_step}, covers=self.checkpoint)
        self._drop_others()

    def _drop_others(self) -> None:
        for other in self.folder.glob("checkpoint-*"):
            if other != self.checkpoint:
                shutil.rmtree(other)


def finished_steps(scratch: Path) -> list[dict[str, Any]]:
    """The steps up to the last checkpoint of a phase that was stopped: `metrics` and `records` of each.

    None where any of it, the checkpoint included, is not as it was written: the phase then begins again.
    """
    last = read_part(scratch / "checkpoint.json")
    if last is None:
        return []
    steps = [read_part(scratch / f"step-{step}.json") for step in range(1, last["step"] + 1)]
    return [] if None in steps else steps
