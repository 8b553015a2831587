"""Stored samples: one JSON line per completion, with a key that identifies it.

A key is a hash of prompt, pictures, model, adapter, engine, sampling and scorer. Lines of two checkpoints are
therefore never mixed, an interrupted evaluation resumes, and a new scorer scores old lines again.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rewards import AnswerForm
from rollouts.engine import Prompt, Sampling
from visplay.errors import EvaluationError
from visplay.evaluation.items import Gold, Item
from visplay.evaluation.scoring import SCORER, Score, score_output
from visplay.storage import write_bytes

_ANSWER = ("generation", "output", "finish", "tokens")
GREEDY, BLIND, SAMPLED = "greedy", "blind", "sampled"  # names of the files of samples
Record = dict[str, Any]


def generation_key(
    prompt: Prompt, *, pictures: Sequence[str], model: str, adapter: str, engine: str, sampling: Sampling,
    sample: int,
) -> str:  # fmt: skip
    """Hash everything that determines a completion; `sample` numbers the completions of one prompt."""
    parts = [list(prompt.messages), list(pictures), model, adapter, engine, asdict(sampling), sample]
    return _hash(parts)


def new_record(
    item: Item, prompt: Prompt, *, benchmark: str, generation: str, sample: int, pictures: Sequence[str],
    form: AnswerForm,
) -> Record:  # fmt: skip
    """Create the record of a sample that has no completion yet."""
    return {
        "key": "", "generation": generation, "benchmark": benchmark, "item": item.key,
        "row": item.row, "sample": sample, "cluster": item.cluster, "kind": item.kind,
        "groups": item.groups, "question": item.question,
        "gold": item.gold.to_json(), "form": form, "pictures": list(pictures), "prompt": prompt_text(prompt),
        "output": None, "finish": None, "tokens": 0, "error": None,
    }  # fmt: skip


def scored(record: Record) -> Record:
    """Score a record with the current scorer; an engine's error remains an error."""
    if record["output"] is None:
        score = Score(status="engine_error", answer=None, score=None, stage="engine")
    else:
        gold = Gold.from_json(record["gold"])
        score = score_output(
            record["output"], gold, cut=record["finish"] == "length", form=record.get("form", "boxed"),
            question=record.get("question"),
        )  # fmt: skip
    return with_score(record, score)


def with_score(record: Record, score: Score) -> Record:
    """Add this verdict and its key to a record."""
    key = _hash([record["generation"], record["gold"], SCORER])  # the prompt determines the form
    verdict = {
        "answer": score.answer, "status": score.status, "score": score.score, "correct": score.correct,
        "stage": score.stage, "scorer": SCORER,
    }  # fmt: skip
    return {**record, **verdict, "key": key}


def prompt_text(prompt: Prompt) -> str:
    """The text of a prompt with `<image>` for each picture."""
    blocks = [block for message in prompt.messages for block in message["content"]]
    return "".join("<image>" if block["type"] == "image" else block["text"] for block in blocks)


def read_records(path: Path) -> Iterator[Record]:
    """Yield the lines of a file of samples; a truncated last line is skipped.

    Raises:
        EvaluationError: a line is not a stored sample.
    """
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                record = json.loads(line)
                record["item"], record["benchmark"]
            except (ValueError, KeyError, TypeError) as error:
                raise EvaluationError(f"{path}, line {number}: not a stored sample ({error!r})") from error
            yield record


def read_answers(path: Path) -> tuple[dict[str, Record], int]:
    """The stored answers of a file by their `generation`, and the number of damaged lines.

    A last line that a kill truncated does not count as damaged. Damaged lines are not used.
    """
    found: dict[str, Record] = {}
    damaged = 0
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else ():
        try:
            answer = json.loads(line)
            intact = stored_answer(answer) == answer
        except (ValueError, KeyError, TypeError):
            intact = False
        if intact:
            found[answer["generation"]] = {name: answer[name] for name in _ANSWER}
        damaged += not intact
    return found, damaged


def stored_answer(record: Record) -> Record:
    """The stored fields of an answered sample, with a checksum that detects damage."""
    answer = {name: record[name] for name in _ANSWER}
    return answer | {"check": _hash(list(answer.values()))[:16]}


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a file of samples atomically."""
    # ASCII only, so that no character of a model's text can end a line.
    write_bytes(path, b"".join(json.dumps(record).encode() + b"\n" for record in records))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
