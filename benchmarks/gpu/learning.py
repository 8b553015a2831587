"""A Reasoner's phase through the Learner, with the clock and the memory of rollouts and learning apart.

Operations are counted as those of matrix products with weights, 2 for each weight and token; attention's own
products and LoRA's are left out. With a frozen base, one token of a step costs the language model a forward
pass, a backward pass of its inputs alone, one more forward pass for the reference of the KL term and one for
the importance correction, where there is one. The LM head sees completions only. The vision tower sees
patches, its merger one for every four of them, and goes forward only. "MFU, each completion with its prompt"
counts these, as the reports before the prompt was computed once did; HFU adds the language model's forward
pass that gradient checkpointing repeats. "MFU" counts what a step needs: no pass for the importance
correction, each prompt once and each picture once.
"""

import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.stand import Row, Stand, memory_rows
from benchmarks.stepping import Groups, run_phase
from rollouts.engine import Completion, RolloutEngine
from visplay.runs.checkpoints import numbered


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """Of one optimizer step: `model` for MFU, `hardware` for HFU."""

    model: float
    hardware: float


def count_operations(
    model: Any, *, tokens: int, completion_tokens: int, patches: int, kl: bool, corrected: bool,
    checkpointing: bool,
) -> Operations:  # fmt: skip
    """Operations of one step; see this file's first lines.

    Args:
        model: the base VLM.
        tokens: of prompts and completions that a step learns from.
        completion_tokens: of completions alone.
        patches: of pictures, each counted for every completion, as TRL runs it.
        kl: whether there is a reference.
        corrected: whether log-probs are computed once more for the importance correction.
        checkpointing: whether layers are computed again in the backward pass.
    """
    decoder, embedding = model.get_decoder(), model.get_input_embeddings()
    layers = sum(p.numel() for p in decoder.parameters()) - embedding.weight.numel()
    merged = model.config.vision_config.spatial_merge_size**2
    vision = sum(
        p.numel() / (merged if "merger" in name else 1)
        for name, p in model.named_parameters()
        if "visual" in name
    )
    once = 2 * layers * tokens
    text = once + 2 * embedding.weight.numel() * completion_tokens
    forwards = 1 + kl + corrected
    pictures = 2 * vision * patches * forwards
    counted = (forwards + 1) * text + pictures
    return Operations(model=counted, hardware=counted + once * checkpointing)


@dataclass
class Phase:
    """One phase, watched.

    Attributes:
        stand: the VLM under test.
        engine: that samples.
        corrected: see `visplay.training.learner.Learner`.
        part: name of the rows.
    """

    stand: Stand
    engine: RolloutEngine
    corrected: bool
    part: str
    generating: float = 0.0
    marks: list[tuple[float, float]] = field(default_factory=list)  # seconds in all, of generation
    completions: list[list[Completion]] = field(default_factory=list)  # of each step
    peaks: dict[str, dict[str, int]] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    def run(self, folder: Path) -> None:
        """Train for `stand.steps` steps; rewards are drawn from the completions, to have gradients."""
        stand = self.stand
        config = stand.config
        start = numbered(folder, "shared", 0)
        stand.policy.create_adapter(start, seed=0)
        self.marks.append((stand.wait(), 0.0))
        phase = config.reasoner
        self.history = run_phase(
            stand.policy, start=start, engine=self.engine, sample=self._sample,
            prompts=stand.prompts(phase.steps * phase.prompts_per_step), score=_half, phase=phase,
            optimizer=config.optimizer, corrected=self.corrected, folder=folder / "unfinished",
            on_step=self._on_step,
        ).history  # fmt: skip

    def _sample(self, *arguments: Any, **options: Any) -> list[list[Completion]]:
        self.stand.begin_peak()
        began = self.stand.wait()
        groups = self.engine.generate(*arguments, **options)
        self.generating += self.stand.wait() - began
        self._note("of rollouts")
        self.completions.append([completion for group in groups for completion in group])
        self.stand.begin_peak()
        return groups

    def _on_step(self, row: dict[str, float]) -> None:
        self.marks.append((self.stand.wait(), self.generating))
        self._note("of learning")

    def _note(self, phase: str) -> None:
        known = self.peaks.setdefault(phase, {})
        for kind, size in self.stand.end_peak().items():
            known[kind] = max(known.get(kind, 0), size)

    def rows(self, planned: dict[str, dict[str, int]]) -> list[Row]:
        """What was measured; the first step is left out of times where there are more."""
        pairs = list(zip(self.marks, self.marks[1:], strict=False))[-max(1, len(self.marks) - 2) :]
        whole = statistics.median(b[0] - a[0] for a, b in pairs)
        learning = statistics.median(b[0] - a[0] - (b[1] - a[1]) for a, b in pairs)
        ours = self.completions[-1]
        completion = sum(len(c.token_ids) for c in ours)
        tokens = completion + sum(len(c.prompt_ids) for c in ours)
        rows = [
            self._row("seconds a step", whole, "s", f"median of {len(pairs)}; {len(ours)} completions"),
            self._row("of which learning", learning, "s", f"{tokens} tokens, prompts and pictures too"),
            self._row("rollouts", completion / (whole - learning), "tok/s", "completions' tokens in a step"),
            self._row("learning", tokens / learning, "tok/s", "prompts and pictures counted"),
            *self._speed(learning, tokens=tokens, completion=completion),
            self._row("gradient norm", self.history[-1]["grad_norm"], "", self._moved()),
        ]
        for phase, found in self.peaks.items():
            rows += memory_rows(self.part, phase, found, planned)
        if self.corrected:
            for name in ("mean", "max"):
                apart = self.history[-1][f"sampling/sampling_logp_difference/{name}"]
                rows.append(self._row(f"log-probs apart, {name}", apart, "nats"))
        return rows

    def _speed(self, seconds: float, *, tokens: int, completion: int) -> list[Row]:
        stand, config = self.stand, self.stand.config
        picture = stand.prompt_tokens()[1] * stand.scale.vision["spatial_merge_size"] ** 2
        done = count_operations(
            stand.policy.model, tokens=tokens, completion_tokens=completion,
            patches=picture * len(self.completions[-1]), kl=config.optimizer.kl > 0, corrected=self.corrected,
            checkpointing=stand.device != "cpu",
        )  # fmt: skip
        group = config.reasoner.group_size
        read = sum(len(c.prompt_ids) for c in self.completions[-1][::group])
        forwards = 1 + (config.optimizer.kl > 0)
        needed = count_operations(
            stand.policy.model, tokens=completion + read, completion_tokens=completion,
            patches=picture * len(self.completions[-1][::group]) // forwards, kl=config.optimizer.kl > 0,
            corrected=False, checkpointing=False,
        )  # fmt: skip
        rows = [self._row("operations", needed.model / seconds / 1e12, "TFLOP/s", "that a step needs")]
        for name, count in (
            ("MFU", needed.model),
            ("MFU, each completion with its prompt", done.model),
            ("HFU", done.hardware),
        ):
            if stand.peak_flops is None:
                rows.append(self._row(name, "unknown", "", stand.peak_source))
            else:
                share = 100 * count / seconds / stand.peak_flops
                peak = f"of {stand.peak_flops / 1e12:g} TFLOP/s, {stand.peak_source}"
                rows.append(self._row(name, share, "%", peak))
        return rows

    def _moved(self) -> str:
        """Whether every step learned something.

        Raises:
            ArithmeticError: a gradient that is 0 or not finite.
        """
        norms = [row["grad_norm"] for row in self.history]
        if not all(math.isfinite(norm) and norm > 0 for norm in norms):
            raise ArithmeticError(f"gradient norms of the steps are {norms}; all must be finite and above 0")
        return f"of {len(norms)} steps, all finite and above 0"

    def _row(self, what: str, value: float | str, unit: str = "", note: str = "") -> Row:
        return Row(part=self.part, what=what, value=value, unit=unit, note=note)


def _half(groups: Groups) -> list[list[float]]:
    """Half of a group is right: its completions' first tokens decide which."""
    rewards = []
    for group in groups:
        order = sorted(range(len(group)), key=lambda i: (group[i].token_ids[0], i))
        right = set(order[: len(group) // 2])
        rewards.append([float(i in right) for i in range(len(group))])
    return rewards
