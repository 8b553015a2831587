"""What every phase uses: the players at their table, one way to sample, one way to vote."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

import rewards
from rewards import ParseFailure, Question, Vote
from rollouts.engine import AdapterVersion, Completion, Prompt, RolloutEngine, Sampling
from visplay.config.loading import Config
from visplay.data.images import ImageSet
from visplay.data.images import greyed_out as greyed_out
from visplay.errors import AdapterMismatch
from visplay.models.policy import Policy
from visplay.progress import Display, Stopwatch
from visplay.prompts import reasoner_prompt
from visplay.runs.tracking import Tracker
from visplay.seeds import mix_seed as mix_seed
from visplay.storage import write_bytes

# (picture key, question) -> the true answer, None where the picture does not settle it; telemetry only.
Oracle = Callable[[str, Question], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What the players sit at: everything that stays the same through a run."""

    config: Config
    preset: rewards.Preset
    policy: Policy
    engine: RolloutEngine
    images: ImageSet
    oracle: Oracle | None
    watch: Stopwatch
    display: Display
    tracker: Tracker


def sample(
    table: Table, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
) -> list[list[Completion]]:
    """Completions [prompts][n] of one version.

    Raises:
        AdapterMismatch: the engine answered with other weights than it was asked for.
    """
    with table.watch("generation"):
        groups = table.engine.generate(prompts, adapter=adapter, sampling=sampling)
    for group in groups:
        for completion in group:
            if completion.adapter != adapter:
                raise AdapterMismatch(f"asked {adapter} for a completion and got one of {completion.adapter}")
    return groups


def take_votes(
    table: Table,
    keys: Sequence[str],
    groups: Sequence[Sequence[Question | ParseFailure]],
    *,
    reasoner: AdapterVersion,
    phase: Literal["questioner", "curation"],
    seed: int,
    blind: bool = False,
    samples: int | None = None,
) -> list[list[Vote | None]]:
    """Let the Reasoner answer each question m times; None for what is not a question.

    Args:
        table: engine, pictures and configuration.
        keys: [P] of the pictures.
        groups: [P][G] what was asked about each; the same question twice is answered once.
        reasoner: the version that votes.
        phase: decides m and the denominator, which the preset may set apart.
        seed: of the sampling.
        blind: grey the pictures out.
        samples: m, in place of the preset's.
    """
    config, preset = table.config, table.preset
    asked = [(key, item) for key, group in zip(keys, groups, strict=True) for item in group]
    distinct = list(dict.fromkeys((key, item.question) for key, item in asked if isinstance(item, Question)))
    in_curation = phase == "curation"
    sampling = Sampling(
        n=samples or (preset.curation_samples if in_curation else preset.samples),
        temperature=config.votes.temperature, top_k=config.votes.top_k, top_p=config.votes.top_p,
        max_tokens=config.reasoner.max_tokens, seed=seed,
    )  # fmt: skip
    with table.watch("pictures"):
        pictures = {key: table.images.load(key) for key, _ in distinct}
        if blind:
            pictures = {key: greyed_out(picture) for key, picture in pictures.items()}
        prompts = [reasoner_prompt(pictures[key], question, key=key) for key, question in distinct]
    answers = sample(table, prompts, adapter=reasoner, sampling=sampling)
    with table.watch("rewards"):
        votes = {
            question: rewards.vote(
                [rewards.extract_answer(completion.text) for completion in group],
                count_unparsed=preset.curation_counts_unparsed or not in_curation,
            )
            for question, group in zip(distinct, answers, strict=True)
        }
    return [
        [votes[key, item.question] if isinstance(item, Question) else None for item in group]
        for key, group in zip(keys, groups, strict=True)
    ]


def write_table(path: Path, records: list[dict[str, Any]]) -> None:
    """Write rows as parquet, whole or not at all."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), buffer)
    write_bytes(path, buffer.getvalue())
