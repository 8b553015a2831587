"""Silver examples: what curation keeps and the Reasoner learns from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rewards import Vote


@dataclass(frozen=True, slots=True, kw_only=True)
class SilverExample:
    """A picture, a question about it and the vote that answered it."""

    image_key: str
    question: str
    vote: Vote


def read_silver(folder: Path) -> list[SilverExample]:
    """The examples that a curation kept, from its `candidates.parquet`."""
    return [
        SilverExample(image_key=row["image_key"], question=row["question"], vote=stored_vote(row))
        for row in pq.read_table(folder / "candidates.parquet").to_pylist()
        if row["kept"]
    ]


def stored_vote(row: dict[str, Any]) -> Vote:
    """The vote on a candidate that has one, from its row."""
    return Vote(
        answer=row["silver_answer"], confidence=row["confidence"], parsed=row["parsed"],
        samples=row["samples"], shares=tuple(zip(row["answers"], row["shares"], strict=True)),
    )  # fmt: skip
