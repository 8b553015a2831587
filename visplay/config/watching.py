"""The sections that say how a run is measured, watched and guarded."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from visplay.config.sections import Section


class Evaluation(Section):
    """Accuracy before the first iteration and after each one that `every` counts."""

    every: int = Field(1, ge=1, description="Measure after every so many iterations, and after the last.")

    benchmarks: list[str] = Field(
        [], description="Ids, see `visplay benchmarks`, or YAML files of your own; empty: none is measured."
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


class Guards(Section):
    """Against collapse over many iterations; all off by default. docs/health.md has sources and findings."""

    base_questions: float = Field(
        0.0, ge=0, le=1, description="Of the curated pictures, asked about by the base model."
    )
    replay: float = Field(
        0.0, ge=0, le=0.9, description="Of the Reasoner's prompts, silver examples of earlier iterations."
    )
    anchors: float = Field(
        0.0, ge=0, le=0.9, description="Of the Reasoner's prompts, labelled examples (R-Few)."
    )
    anchor_benchmark: str = Field(
        "", description="Where they come from: a benchmark id, its development split, or a YAML file."
    )
    anchor_limit: int = Field(64, ge=1, description="So many labelled examples (drawn by seed).")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.anchors and not self.anchor_benchmark:
            raise ValueError("guards.anchors needs guards.anchor_benchmark: where labelled examples are")
        if self.anchors + self.replay > 0.9:
            raise ValueError(
                f"guards.anchors + guards.replay must leave a tenth for new examples, got {self.anchors} + "
                f"{self.replay}"
            )
        return self


Share = Annotated[float | None, Field(ge=0, le=1)]
AtLeastZero = Annotated[float | None, Field(ge=0)]


class Limits(Section):
    """What is healthy; beyond a limit an alarm is raised, null is off. docs/health.md has what each means."""

    min_valid: Share = Field(0.5, description="Of the questions, well-formed.")
    min_answerable: Share = Field(0.5, description="Of the valid questions, answerable if known.")
    min_distinct: Share = Field(0.1, description="Of the valid questions, different ones.")
    max_redundancy: Share = Field(0.5, description="Of the questions about one picture, alike.")
    max_same_question: Share = Field(0.2, description="Of the valid questions, one and the same.")
    max_repeated: Share = Field(0.95, description="Of the valid questions, asked in an iteration before.")
    min_kept: Share = Field(0.02, description="Of the valid questions, informative.")
    max_low_confidence: Share = Field(0.5, description="Of the voted questions, c < 0.25.")
    min_silver_accuracy: Share = Field(0.3, description="Of the kept silver answers, right if known.")
    min_probe_silver: Share = Field(0.3, description="Of the probe's in-band votes, right.")
    max_corrupted: Share = Field(
        0.1, description="Of the probe's questions, majority right in the base and now wrong."
    )
    min_flips: Share = Field(
        None, description="Of the probe's questions, another majority than at the last measurement."
    )
    min_judge_precision: Share = Field(0.5, description="Of what the judge let pass, answerable if known.")
    max_blind_answers: Share = Field(0.8, description="Of the kept questions, answered so without image.")
    max_same_answer: Share = Field(0.8, description="Of the benchmark answers, one and the same.")
    min_parsed: Share = Field(0.5, description="Of the benchmark answers, in a box.")
    max_truncated: Share = Field(0.5, description="Of the training completions, cut off.")
    max_no_spread: Share = Field(0.9, description="Of the training groups, with equal rewards.")
    max_kl: AtLeastZero = Field(1.0, description="Nats from the reference (`optimizer.reference`).")
    min_entropy: AtLeastZero = Field(0.001, description="Nats per token, at a phase's end.")
    max_ratio_error: AtLeastZero = Field(
        0.5, description="Mean importance ratio from 1: engine against trainer."
    )
    min_accuracy_change: float | None = Field(0.0, description="Against the base, where called worse.")


class Health(Section):
    """What to do when an iteration's figures say that the method has gone wrong."""

    every: int = Field(1, ge=1, description="Hold figures against limits after every so many iterations.")

    action: Literal["warn", "stop", "roll_back"] = Field(
        "warn",
        description="`stop` ends the run after the iteration; `roll_back` goes on from the best one so far.",
    )
    probe: str | None = Field(
        None, description="Which of the benchmarks says what is best; absent: the first of them."
    )
    patience: int | None = Field(
        None, ge=1, description="End the run after so many iterations without a better probe; absent: never."
    )
    blind_questions: int = Field(
        64,
        ge=0,
        description="Kept questions answered once more with a grey picture (drawn by seed); 0 is off.",
    )
    limits: Limits = Limits()
