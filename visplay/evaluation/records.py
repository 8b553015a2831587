"""Stored samples: one JSON line for each completion, keyed by everything that decides it.

A key is a hash of prompt, pictures, model, adapter, engine, sampling and scorer. So a line is never taken for
another checkpoint's, an interrupted evaluation goes on where it was, and a new scorer scores old lines again.
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
    """Hash of all that decides a completion; `sample` counts those of one prompt."""
    parts = [list(prompt.messages), list(pictures), model, adapter, engine, asdict(sampling), sample]
    return _hash(parts)


def new_record(
    item: Item, prompt: Prompt, *, benchmark: str, generation: str, sample: int, pictures: Sequence[str],
    form: AnswerForm,
) -> Record:  # fmt: skip
    """A sample before it is answered."""
    return {
        "key": "", "generation": generation, "benchmark": benchmark, "item": item.key,
        "row": item.row, "sample": sample, "cluster": item.cluster, "kind": item.kind,
        "groups": item.groups, "question": item.question,
        "gold": item.gold.to_json(), "form": form, "pictures": list(pictures), "prompt": prompt_text(prompt),
        "output": None, "finish": None, "tokens": 0, "error": None,
    }  # fmt: skip


def scored(record: Record) -> Record:
    """The record with its verdict by the present scorer; an engine's error stays one."""
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
    """The record with this verdict, and its key."""
    key = _hash([record["generation"], record["gold"], SCORER])  # the prompt decides the form
    verdict = {
        "answer": score.answer, "status": score.status, "score": score.score, "correct": score.correct,
        "stage": score.stage, "scorer": SCORER,
    }  # fmt: skip
    return {**record, **verdict, "key": key}


def prompt_text(prompt: Prompt) -> str:
    """The words of a prompt, with `<image>` for each picture."""
    blocks = [block for message in prompt.messages for block in message["content"]]
    return "".join("<image>" if block["type"] == "image" else block["text"] for block in blocks)


def read_records(path: Path) -> Iterator[Record]:
    """The lines of a file of samples, one at a time; a last line cut short is left out.

    Raises:
        EvaluationError: a line is not one of ours.
    """
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                record = json.loads(line)
                record["item"], record["benchmark"]
            except (ValueError, KeyError, TypeError) as error:
                raise EvaluationError(
                    f"{path}, line {number}: not a stored sample ({error!r:.80})"
                ) from error
            yield record


def read_answers(path: Path) -> tuple[dict[str, Record], int]:
    """The stored answers of a file by their `generation`, and how many of its lines are damaged.

    A last line cut short by a kill is no damage; nothing is taken from a line that is not as it was written.
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
    """What is kept of an answered sample, with a checksum that tells whether it is as it was written."""
    answer = {name: record[name] for name in _ANSWER}
    return answer | {"check": _hash(list(answer.values()))[:16]}


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a file of samples whole or not at all."""
    # In ASCII: no character of a model's text can end a line early.
    write_bytes(path, b"".join(json.dumps(record).encode() + b"\n" for record in records))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
