"""One phase of GRPO, a step at a time: the loop calls `publish`, `update` and `save`.

TRL computes the advantages (Eq. 2 of arXiv 2511.15661), the clipped loss, the KL term and the importance
correction (`visplay.training.trl`). This module takes the optimizer step and writes the checkpoint. With
several ranks the first one calls it, and the others `follow`.
"""

import math
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from transformers import set_seed

from rollouts.engine import AdapterVersion, RolloutEngine
from visplay.config.names import named
from visplay.config.sections import Optimizer, Phase
from visplay.errors import TrainingDiverged
from visplay.models.memory import MAX_ADAPTERS
from visplay.models.policy import Policy, adapter_state, save_adapter, write_adapter
from visplay.runs.checkpoints import next_version, numbered
from visplay.seeds import mix_seed
from visplay.storage import read_part, write_part
from visplay.training.arguments import grpo_arguments, reentrant
from visplay.training.ranks import ALONE, Ranks
from visplay.training.trl import EngineGRPOTrainer, Rollout, with_advantages

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Learner:
    """An adapter that is trained for one phase; it goes on after the last checkpoint in its folder.

    Args:
        policy: the base VLM; it carries the adapter from `with` to its end.
        start: the adapter to begin with; the reference of the KL term, but for `optimizer.reference: base`.
        phase: steps, prompts per step, G, temperature, length.
        optimizer: learning rate, clipping, KL, updates per batch.
        corrected: weigh tokens by the ratio of trainer to engine (importance correction), which with several
            updates per batch takes one more forward pass; in one process, on the same weights, it is 1.
        folder: for versions, checkpoints and the records of finished steps; all ranks see it.
        seed: of the phase.
        ranks: that learn; each holds a Learner, and rank 0 tells the others of its own.

    Attributes:
        history: the metrics of each finished step, earlier processes' included; on rank 0.
        records: what else is to be known of these steps.
        done: how many steps are saved.
        version: what was published last.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        start: AdapterVersion,
        phase: Phase,
        optimizer: Optimizer,
        corrected: bool,
        folder: Path,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        self._policy, self._start, self._phase, self._optimizer = policy, start, phase, optimizer
        self._corrected, self._folder, self._seed, self._ranks = corrected, folder, seed, ranks
        finished = finished_steps(folder) if ranks.first else []
        if ranks.first:
            ranks.broadcast(
                {"start": start, "phase": phase, "optimizer": optimizer, "corrected": corrected,
                 "folder": folder, "seed": seed}
            )  # fmt: skip
        self.done: int = ranks.broadcast(len(finished))
        self.history = [step["metrics"] for step in finished]
        self.records = [record for step in finished for record in step["records"]]
        self.version = replace(start, version=start.version + self.done)
        self._published: list[AdapterVersion] = []
        self._metrics: dict[str, float] = {}
        self._updates = optimizer.updates_per_batch
        self._writing: Future[None] | None = None
        self._trl: Any = None

    def __enter__(self) -> "Learner":
        """Put the adapter on the base, as the last checkpoint left it."""
        if self._ranks.first:
            for left in [*self._folder.glob("checkpoint-*/"), *self._folder.glob(f"{self._start.name}-*/")]:
                if left != self._checkpoint:  # cut short by a kill
                    shutil.rmtree(left)
        if self.done < self._phase.steps:
            self._begin()
        return self

    def _begin(self) -> None:
        peft_model = self._policy.with_adapter(self._start)
        arguments = grpo_arguments(
            self._phase, self._optimizer, corrected=self._corrected, folder=self._folder, seed=self._seed,
            model=peft_model, ranks=self._ranks,
        )  # fmt: skip
        if arguments.gradient_checkpointing and not reentrant(arguments):
            self._policy.keep_gradients_out_of_inputs(peft_model)
        loss = self._optimizer.loss
        own = named(loss, key="optimizer.loss") if loss else None
        trl = EngineGRPOTrainer(self._policy, peft_model, arguments, ranks=self._ranks, own_loss=own)
        if self._optimizer.kl > 0 and not self._optimizer.keeps_start:
            peft_model.delete_adapter("ref")  # without it TRL switches LoRA off, which leaves the base
        if self.done:  # not before: TRL's reference is a copy of what is on the model
            peft_model.load_adapter(str(self._checkpoint / "adapter"), "default", is_trainable=True)
        self._trl, self._peft, self._accelerator = trl, peft_model, trl.accelerator
        self._model, self._adamw, self._rates = trl.prepared(updates=self._phase.steps * self._updates)
        if self.done:
            kept = torch.load(self._checkpoint / "optimizer.pt", map_location="cpu", weights_only=True)
            set_optimizer_state_dict(self._model, self._adamw.optimizer, kept["adamw"], options=_WHOLE)
            self._rates.load_state_dict(kept["rates"])
        self._state = adapter_state(trl.model)
        # Under autocast PEFT's cast to the adapter's 32 bits is undone at once.
        self._uncast = disable_input_dtype_casting(peft_model, active=bool(arguments.bf16))
        self._uncast.__enter__()

    def __exit__(self, *_: Any) -> None:
        """Take it off again; what is being written is finished."""
        if self._writing:
            self._writing.exception()
        if self._trl is None:
            return
        self._uncast.__exit__(None, None, None)
        self._trl.pictures.__exit__()
        if self._ranks.sharded:
            self._policy.dismiss()
        else:
            self._policy.without_adapter(self._peft)

    @classmethod
    def follow(cls, policy: Policy, ranks: Ranks) -> None:
        """Learn what rank 0 trains, phase by phase, until it says that there is no more.

        Raises:
            RankLost: another rank is gone.
        """
        while lesson := ranks.broadcast():
            with cls(policy, ranks=ranks, **lesson) as learner:
                for _ in learner.steps():
                    learner.update()
                    learner.save()

    def steps(self) -> Iterator[int]:
        """The steps that are left, from 0 on; each ends with `save`."""
        while self.done < self._phase.steps:
            step = self.done
            yield step
            assert self.done == step + 1, f"step {step} was not saved"

    def publish(self, engine: RolloutEngine) -> AdapterVersion:
        """Give the engine the weights as they are now, as the next version."""
        self.version = next_version(self.version, self._folder)
        save_adapter(self._peft, self.version, state=self._state)
        return self._hold(engine)

    def publish_again(self, engine: RolloutEngine) -> AdapterVersion:
        """Give the engine what the process before this one had published last (`optimizer.ahead`)."""
        self.version = numbered(self._folder, self.version.name, self.version.version)
        shutil.copytree(self._checkpoint / "behind", str(self.version.path))
        return self._hold(engine)

    def _hold(self, engine: RolloutEngine) -> AdapterVersion:
        engine.publish(self.version)
        self._published.append(self.version)
        for old in self._published[:-MAX_ADAPTERS]:  # which no engine holds any more
            shutil.rmtree(str(old.path))
        del self._published[:-MAX_ADAPTERS]
        return self.version

    def update(self, rollouts: Sequence[Rollout] = ()) -> dict[str, float]:
        """Learn from a step's rollouts, [P * G], those of a prompt side by side.

        Returns:
            The metrics of TRL, `loss`, `grad_norm` and `learning_rate`, means over the step's updates.

        Raises:
            TrainingDiverged: a reward, the loss or the gradient is not finite; the weights are as they were.
            OSError: the checkpoint of the step before could not be written.
        """
        self._written()
        step, each = self.done + 1, len(rollouts) // self._ranks.size
        for one in rollouts:
            if not math.isfinite(one.reward):  # TRL would take it for an advantage of 0
                raise TrainingDiverged(f"step {step}: a reward is {one.reward}; the steps before it are kept")
        if self._optimizer.advantage and rollouts:
            rollouts = with_advantages(rollouts, self._optimizer.advantage, group_size=self._phase.group_size)
        parts = [rollouts[i : i + each] for i in range(0, len(rollouts), each)] if self._ranks.first else None
        # Drawn anew for each step, the state of the generators is no part of a checkpoint.
        set_seed(mix_seed(self._seed, "learn", self.done) + self._ranks.place)
        batch = self._trl.batch(self._ranks.scatter(parts))
        losses, norms, rate = [], [], self._rates.get_last_lr()[0]
        for micro_batches in self._trl.windows(batch, updates=self._updates):
            loss, norm = self._descend(micro_batches)
            for name, value in (("loss", loss), ("grad_norm", norm)):
                if not math.isfinite(value):
                    raise TrainingDiverged(
                        f"step {step}: {name} is {value}; the steps before it are kept. Start a run of "
                        "another name with a lower optimizer.learning_rate or a higher optimizer.kl"
                    )
            self._adamw.step()
            self._rates.step()
            self._model.zero_grad()
            losses.append(loss)
            norms.append(norm)
        self._state = adapter_state(self._trl.model)
        means = {"loss": sum(losses) / len(losses), "grad_norm": sum(norms) / len(norms)}
        self._metrics = {"step": float(step)} | self._trl.metrics(**means, learning_rate=rate)
        stale = self.version.version - rollouts[0].completion.adapter.version if rollouts else 0
        if self._optimizer.ahead:
            self._metrics["staleness"] = float(stale)
        return self._metrics

    def _descend(self, micro_batches: list[dict[str, Any]]) -> tuple[float, float]:
        """The gradient of one update, clipped, in place; returns its loss and its norm before that."""
        total = torch.zeros((), device=self._accelerator.device)
        for micro in micro_batches:
            last = micro is micro_batches[-1]
            with nullcontext() if last else self._accelerator.no_sync(self._model):
                loss = self._trl.loss(self._model, micro, of=len(micro_batches))
                self._accelerator.backward(loss)
            total += loss.detach()
        limit = self._trl.args.max_grad_norm or math.inf
        norm = self._accelerator.clip_grad_norm_(self._model.parameters(), limit)
        return float(self._accelerator.gather(total).mean()), float(norm)

    def save(self, records: Sequence[dict[str, Any]] = ()) -> None:
        """End the step: keep its metrics, its records and a checkpoint.

        They are written while the next step is sampled; a process that is killed meanwhile begins that step
        again. The next `update` waits for them.
        """
        self.done += 1
        adamw = get_optimizer_state_dict(self._model, self._adamw.optimizer, options=_WHOLE)
        if not self._ranks.first:
            return
        self.history.append(self._metrics)
        self.records += records
        kept = {"metrics": self._metrics, "records": list(records)}
        folder, step, version, state = self._checkpoint, self.done, self.version, self._state
        optimizer = {"adamw": adamw, "rates": self._rates.state_dict()}

        def write() -> None:
            write_part(self._folder / f"step-{step}.json", kept)
            write_adapter(self._peft, folder / "adapter", state=state)
            torch.save(optimizer, folder / "optimizer.pt")
            if self._optimizer.ahead:
                shutil.copytree(str(version.path), folder / "behind")
            write_part(self._folder / "checkpoint.json", {"step": step}, covers=folder)
            for other in self._folder.glob("checkpoint-*/"):
                if other != folder:
                    shutil.rmtree(other)

        self._writing = in_background(write)

    def _written(self) -> None:
        """Wait until the last step is on disk."""
        if self._writing:
            self._writing.result()

    @property
    def trained(self) -> AdapterVersion:
        """What the phase leaves, all its steps done; it is not published."""
        self._written()
        number = self._start.version + self._phase.steps + 1
        return replace(self._start, version=number, path=self._checkpoint / "adapter")

    @property
    def _checkpoint(self) -> Path:
        return self._folder / f"checkpoint-{self.done}"


def in_background(work: Callable[[], None]) -> "Future[None]":
    """Run `work` in a daemon thread, so that a process that ends does not wait for it."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
            future.set_result(None)
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="learning", daemon=True).start()
    return future


def finished_steps(folder: Path) -> list[dict[str, Any]]:
    """The steps up to the last checkpoint of a phase that was stopped: `metrics` and `records` of each.

    The list is empty if any of it, the checkpoint included, is not as it was written; the phase then begins
    again.
    """
    last = read_part(folder / "checkpoint.json")
    if last is None:
        return []
    steps = [read_part(folder / f"step-{step}.json") for step in range(1, last["step"] + 1)]
    return [] if None in steps else steps
