"""What makes a step of learning fast: each of its means switched off in turn, and TRL's own trainer.

All of them learn from the same completions with the same adapter, so that their gradients can be compared.
"""

import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from datasets import Dataset
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from benchmarks.gpu.stand import Row, Stand
from rollouts.engine import AdapterVersion, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.sections import Optimizer
from visplay.models.engines import start_engine
from visplay.models.policy import adapter_state, write_adapter
from visplay.runs.checkpoints import numbered
from visplay.training import groups, learner
from visplay.training.arguments import grpo_arguments
from visplay.training.learner import Learner
from visplay.training.trl import Rollout

STEPS = 3  # of each way; the first is not timed


def ways(stand: Stand) -> Iterator[Row]:
    """Learning as it is, and with one of its means switched off."""
    rollouts, start = _rollouts(stand)
    on_gpu = stand.device != "cpu"
    checkpointed = {"gradient_checkpointing": not on_gpu}
    found: dict[str, tuple[float, torch.Tensor]] = {}
    rows = len(rollouts)
    for name, off, grpo in (
        ("as it is", nullcontext(), {}),
        ("prompt for each completion", mock.patch.object(groups, "_why_not", lambda _: "switched off"), {}),
        ("LoRA's inputs cast", mock.patch.object(learner, "disable_input_dtype_casting", _casting), {}),
        (f"{'without' if on_gpu else 'with'} checkpointing", nullcontext(), checkpointed),
    ):
        with off, stand.peak() as peak:
            found[name] = _learn(stand, rollouts, start, stand.folder / "ways" / name, grpo)
        seconds, gradient = found[name]
        base, reference = found["as it is"]
        apart = float((gradient - reference).norm() / reference.norm())
        note = f"{seconds / base:.2f} of as it is; gradient {apart:.1e} apart"
        yield Row(part="ways", what=name, value=seconds, unit="s", note=note)
        for kind, size in peak.items():
            yield Row(part="ways", what=f"{name}, {kind}", value=size / 1e9, unit="GB")
    seconds, gradient = _by_trl(stand, rollouts, start)
    base, reference = found["as it is"]
    apart = float((gradient - reference).norm() / reference.norm())
    note = f"ours takes {base / seconds:.2f} of it; gradient {apart:.1e} apart"
    yield Row(part="ways", what="TRL's own train()", value=seconds, unit="s", note=note)
    yield Row(part="ways", what="rows learned", value=rows / base, unit="rows/s", note=f"{rows} a step")


def host(stand: Stand) -> Iterator[Row]:
    """What the CPU does in a step of learning: prompts, and the copy and the files of an adapter."""
    _, start = _rollouts(stand)
    prompts, chat = stand.prompts(stand.config.reasoner.prompts_per_step), stand.policy.chat
    model = stand.policy.with_adapter(start)
    state = adapter_state(model)
    try:
        for what, work in (
            ("prompts through the processor", lambda: [chat.encode([prompt]) for prompt in prompts]),
            ("adapter copied", lambda: adapter_state(model)),
            ("adapter written", lambda: write_adapter(model, stand.folder / "host", state=state)),
        ):
            seconds = statistics.median(_timed(stand, work) for _ in range(3))
            yield Row(part="host", what=what, value=seconds, unit="s", note="median of 3")
    finally:
        stand.policy.without_adapter(model)


def _rollouts(stand: Stand) -> tuple[list[Rollout], AdapterVersion]:
    """A step's completions by the transformers engine, half of each group rewarded, and their adapter."""
    start = numbered(stand.folder / "ways", "shared", 0)
    if not start.path or not start.path.exists():
        stand.policy.create_adapter(start, seed=0)
    config, phase = stand.config, stand.config.reasoner
    engine = start_engine(
        config.model, config.engine, lora_rank=config.lora.rank, logs=stand.folder, policy=stand.policy
    )
    assert isinstance(engine, TransformersEngine)
    engine.publish(start)
    prompts = stand.prompts(phase.prompts_per_step)
    sampling = Sampling(n=phase.group_size, max_tokens=stand.tokens)
    sampled = engine.generate(prompts, adapter=start, sampling=sampling)
    engine.close()
    return [
        Rollout(prompt=prompt, completion=completion, reward=float(i % 2))
        for prompt, group in zip(prompts, sampled, strict=True)
        for i, completion in enumerate(group)
    ], start


def _learn(
    stand: Stand, rollouts: Sequence[Rollout], start: AdapterVersion, folder: Path, grpo: dict[str, Any]
) -> tuple[float, torch.Tensor]:
    """Seconds of an update, median, and the first one's gradient."""
    optimizer = _optimizer(stand, grpo)
    phase = stand.config.reasoner.model_copy(update={"steps": STEPS})
    seconds = []
    with _gradients() as found, Learner(
        stand.policy, start=start, phase=phase, optimizer=optimizer, corrected=False, folder=folder, seed=0
    ) as learning:  # fmt: skip
        for _ in learning.steps():
            seconds.append(_timed(stand, lambda: learning.update(rollouts)))
            learning.save()
    return statistics.median(seconds[1:]), found[0]


def _by_trl(stand: Stand, rollouts: Sequence[Rollout], start: AdapterVersion) -> tuple[float, torch.Tensor]:
    """The same by TRL's `train()`, given the completions as its rollout function."""
    phase = stand.config.reasoner.model_copy(update={"steps": STEPS})
    model = stand.policy.with_adapter(start)
    arguments = grpo_arguments(
        phase, _optimizer(stand, {}), corrected=False, folder=stand.folder / "trl", seed=0, model=model
    )
    arguments.shuffle_dataset = False
    marks: list[float] = []

    class Marks(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            marks.append(stand.wait())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(stand.wait())

    def rolled_out(prompts: list[Any], trainer: Any) -> dict[str, list[Any]]:
        trainer._last_loaded_step = trainer.state.global_step
        return {
            "prompt_ids": [list(one.completion.prompt_ids) for one in rollouts],
            "completion_ids": [list(one.completion.token_ids) for one in rollouts],
            "logprobs": [list(one.completion.logprobs) for one in rollouts],
            "reward": [one.reward for one in rollouts],
        }

    def reward(prompts: Any, completions: Any, reward: list[float], **_: Any) -> list[float]:
        return reward

    firsts = [one.prompt for one in rollouts[:: phase.group_size]] * STEPS
    data = Dataset.from_dict({"row": list(range(len(firsts)))})
    data.set_transform(
        lambda batch: {
            "prompt": [stand.policy.chat.messages(firsts[row]) for row in batch["row"]],
            "images": [list(firsts[row].images) for row in batch["row"]],
        }
    )
    trainer = GRPOTrainer(
        model=model, reward_funcs=reward, rollout_func=rolled_out, args=arguments, train_dataset=data,
        processing_class=stand.policy.processor, callbacks=[Marks()],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    with _gradients() as found:
        trainer.train()
    stand.policy.without_adapter(model)
    # A step of TRL's begins with its batch, which it prepares before it says that the step begins.
    ends = marks[1::2]
    return statistics.median(b - a for a, b in itertools.pairwise(ends)), found[0]


def _optimizer(stand: Stand, grpo: dict[str, Any]) -> Optimizer:
    own = stand.config.optimizer
    return own.model_copy(update={"learning_rate": 1e-7, "grpo": {**own.grpo, **grpo}})


def _timed(stand: Stand, work: Callable[[], Any]) -> float:
    began = stand.wait()
    work()
    return stand.wait() - began


@contextmanager
def _casting(_: Any, *, active: bool) -> Iterator[None]:
    yield


@contextmanager
def _gradients() -> Iterator[list[torch.Tensor]]:
    """The gradient of each update, as the optimizer is given it."""
    found: list[torch.Tensor] = []

    def keep(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        own = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]
        if not found and any(bool(one.any()) for one in own):
            found.append(torch.cat(own).float().cpu())

    with ExitStack() as stack:
        stack.callback(register_optimizer_step_pre_hook(keep).remove)
        yield found
