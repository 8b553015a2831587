"""One phase of GRPO, step by step: the loop calls `publish`, `update` and `save`.

TRL computes the advantages (Eq. 2 of arXiv 2511.15661), the clipped loss, the KL term and the importance
correction (`visplay.training.trl`). This module performs the optimizer step and writes the checkpoint. With
several ranks rank 0 calls it, and the others `follow`.
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
    """Trains an adapter for one phase; it resumes from the last checkpoint in its folder.

    Args:
        policy: the base VLM; it has the adapter inside the `with` block.
        start: the initial adapter; it is the KL term's reference unless `optimizer.reference` is `base`.
        phase: steps, prompts per step, G, temperature, length.
        optimizer: learning rate, clipping, KL, updates per batch.
        corrected: weight tokens by the ratio of trainer to engine (importance correction). With several
            updates per batch this needs another forward pass; in one process on the same weights it is 1.
        folder: folder of versions, checkpoints and records of finished steps; all ranks see it.
        seed: seed of the phase.
        ranks: the ranks; each holds a Learner, and rank 0 sends its calls to the others.

    Attributes:
        history: the metrics of each finished step, including those of earlier processes; on rank 0.
        records: further data of these steps.
        done: number of saved steps.
        version: the version that was published last.
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
        """Attach the adapter from the last checkpoint to the base."""
        if self._ranks.first:
            for left in [*self._folder.glob("checkpoint-*/"), *self._folder.glob(f"{self._start.name}-*/")]:
                if left != self._checkpoint:  # left incomplete by a kill
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
            peft_model.delete_adapter("ref")  # without it TRL disables LoRA: the reference is the base
        if self.done:  # only now, because TRL copies the model's current adapter as reference
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
        """Detach the adapter after pending writes have finished."""
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
        """Join the training of rank 0, phase by phase, until it ends.

        Raises:
            RankLost: another rank has died.
        """
        while lesson := ranks.broadcast():
            with cls(policy, ranks=ranks, **lesson) as learner:
                for _ in learner.steps():
                    learner.update()
                    learner.save()

    def steps(self) -> Iterator[int]:
        """Yield the indices of the remaining steps, from 0; each step must end with `save`."""
        while self.done < self._phase.steps:
            step = self.done
            yield step
            assert self.done == step + 1, f"step {step} was not saved"

    def publish(self, engine: RolloutEngine) -> AdapterVersion:
        """Publish the current weights to the engine as the next version."""
        self.version = next_version(self.version, self._folder)
        save_adapter(self._peft, self.version, state=self._state)
        return self._hold(engine)

    def publish_again(self, engine: RolloutEngine) -> AdapterVersion:
        """Publish the version that the previous process had published last (`optimizer.ahead`)."""
        self.version = numbered(self._folder, self.version.name, self.version.version)
        shutil.copytree(self._checkpoint / "behind", str(self.version.path))
        return self._hold(engine)

    def _hold(self, engine: RolloutEngine) -> AdapterVersion:
        engine.publish(self.version)
        self._published.append(self.version)
        for old in self._published[:-MAX_ADAPTERS]:  # no engine holds them any more
            shutil.rmtree(str(old.path))
        del self._published[:-MAX_ADAPTERS]
        return self.version

    def update(self, rollouts: Sequence[Rollout] = ()) -> dict[str, float]:
        """Learn from a step's rollouts, [P * G], where those of a prompt are adjacent.

        Returns:
            TRL's metrics, `loss`, `grad_norm` and `learning_rate`, as means over the step's updates.

        Raises:
            TrainingDiverged: a reward, the loss or the gradient is not finite; the weights are unchanged.
            OSError: the checkpoint of the previous step could not be written.
        """
        self._written()
        step, each = self.done + 1, len(rollouts) // self._ranks.size
        for one in rollouts:
            if not math.isfinite(one.reward):  # TRL would treat it as an advantage of 0
                raise TrainingDiverged(f"step {step}: a reward is {one.reward}; the steps before it are kept")
        if self._optimizer.advantage and rollouts:
            rollouts = with_advantages(rollouts, self._optimizer.advantage, group_size=self._phase.group_size)
        parts = [rollouts[i : i + each] for i in range(0, len(rollouts), each)] if self._ranks.first else None
        # Generators are seeded for each step, so their state is not part of a checkpoint.
        set_seed(mix_seed(self._seed, "learn", self.done) + self._ranks.place)
        batch = self._trl.batch(self._ranks.scatter(parts))
        losses, norms, rate = [], [], self._rates.get_last_lr()[0]
        for micro_batches in self._trl.windows(batch, updates=self._updates):
            loss, norm = self._descend(micro_batches)
            for name, value in (("loss", loss), ("grad_norm", norm)):
                if not math.isfinite(value):
                    raise TrainingDiverged(
                        f"step {step}: {name} is {value}; the steps before it are kept. Start a run with "
                        "another name and a lower optimizer.learning_rate or a higher optimizer.kl"
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
        """Compute and clip the gradient of one update; returns the loss and the norm before clipping."""
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
        """Finish the step: save its metrics, its records and a checkpoint.

        They are written in the background while the next step is sampled, and the next `update` waits for
        them. A process that is killed before they are written repeats the step.
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
        """The version after all steps of the phase; it is not published."""
        self._written()
        number = self._start.version + self._phase.steps + 1
        return replace(self._start, version=number, path=self._checkpoint / "adapter")

    @property
    def _checkpoint(self) -> Path:
        return self._folder / f"checkpoint-{self.done}"


def in_background(work: Callable[[], None]) -> "Future[None]":
    """Run `work` in a daemon thread, for which an ending process does not wait."""
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
    """Read `metrics` and `records` of the steps up to the last checkpoint of a stopped phase.

    The list is empty if any file, including the checkpoint, is damaged; the phase then starts from its
    beginning.
    """
    last = read_part(folder / "checkpoint.json")
    if last is None:
        return []
    steps = [read_part(folder / f"step-{step}.json") for step in range(1, last["step"] + 1)]
    return [] if None in steps else steps
