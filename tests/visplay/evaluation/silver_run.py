"""A run's folder with curations written by hand: no model has to be loaded to export its silver set."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rewards import Question, Vote
from visplay.config.loading import check_config, dump_config
from visplay.data.images import read_images
from visplay.loop.asking import Asked
from visplay.runs.run import FORMAT
from visplay.schema import CANDIDATES
from visplay.storage import append_jsonl, write_parquet, write_text


def asked(
    picture: str, question: str, answer: str, *, kind: str = "numerical", truth: str | None = None,
    confidence: float = 0.75, options: Sequence[str] = (), reject: str = "",
) -> Asked:  # fmt: skip
    vote = Vote(answer=answer, confidence=confidence, parsed=4, samples=4, shares=((answer, confidence),))
    return Asked(
        picture=picture, vote=vote, truth=truth, reject=reject,
        question=Question(type=kind, question=question, answer="", options=tuple(options)),
    )  # fmt: skip


def silver_run(
    folder: Path, pictures: Path, curations: Mapping[int, Sequence[Asked]], *, truth: bool, **values: Any
) -> Path:
    """The folder of a run that has curated these rows, by iteration, and done nothing else."""
    run = folder / "run"
    own = {"images": {"source": str(pictures)}, "output": str(folder), "name": "run", "optimizer": {}}
    config = check_config({**own, "model": {"path": "org/base"}, **values})
    run.mkdir(parents=True)
    write_text(run / "config.yaml", dump_config(config))
    starts = [{"step": "", "date": "2026-01-01", "visplay": "0.2.0", "vllm": "not installed"}]
    write_text(run / "versions.json", json.dumps({"format": FORMAT, "starts": starts}))
    read_images(pictures).write_manifest(run)
    for iteration, rows in curations.items():
        step = run / f"iteration-{iteration}" / "curation"
        step.mkdir(parents=True)
        records = [row.record() | {"kept": not row.reject} for row in rows]
        write_parquet(step / "candidates.parquet", records, CANDIDATES)
        accuracy = {"kept": None, "rejected": None} if truth else None
        write_text(step / "summary.json", json.dumps({"silver_accuracy": accuracy}))
        append_jsonl(run / "journal.jsonl", {"step": f"iteration-{iteration}/curation"})
    return run
