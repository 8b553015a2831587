"""Export a run's silver set as a dataset for TRL and ms-swift: a parquet file with the pictures.

Both put the picture before the user's text if the text has no `<image>`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import rewards
from visplay.config.prompts import Prompts
from visplay.data.decoding import to_hand_on
from visplay.data.images import reopen_images
from visplay.errors import RunError
from visplay.evaluation.export import card, write_export
from visplay.evaluation.statistics import accuracy_interval
from visplay.prompts import reasoner_text
from visplay.runs.results import read_json, read_with, run_config, run_steps
from visplay.storage import write_text

GROUP_BYTES = 16 * 2**20  # bytes of pictures in a row group; one row group is held at a time
GROUP_ROWS = 256
_TAG = re.compile(r"<(?:image|video|audio)>")
_COLUMNS = ("question", "options", "type", "silver_answer", "confidence", "validity", "image_key")


def export_silver(run: str | Path, out: str | Path, *, iteration: int | None = None) -> Path:
    """Write the examples that curation kept to the new folder `out`, with their pictures and a card.

    If the same question on the same picture was kept more than once, the last example is written.
    `visplay.data.decoding.to_hand_on` encodes the pictures. At most one row group of them is held at a time.

    Args:
        run: a run's folder.
        out: the dataset's folder; it must not exist or be empty.
        iteration: the iteration whose examples are written; None writes those of all finished curations.

    Raises:
        RunError: not a run, no such curation, nothing was kept, or `out` is not empty.
        ImageSourceError: the run's pictures have been moved or changed.
    """
    run, out = Path(run), Path(out)
    config = run_config(run)
    curations = [step.split("/")[0] for step in run_steps(run) if step.endswith("/curation")]
    done = sorted(int(step.removeprefix("iteration-")) for step in curations)
    if iteration is not None and iteration not in done:
        raise RunError(f"{run} has no finished curation of iteration {iteration}; it has those of {done}")
    tables = {
        i: run / f"iteration-{i}" / "curation" / "candidates.parquet"
        for i in (done if iteration is None else [iteration])
    }
    kept = [row for number, path in tables.items() for row in _kept(path, number)]
    if not kept:
        raise RunError(f"{run} has kept no silver example yet; continue it, or choose another iteration")
    last = {(row["image_key"], row["question"]): place for place, row in enumerate(kept)}
    once = [kept[place] for place in sorted(last.values())]
    rows = [row for row in once if not any(_TAG.search(t["content"]) for t in _turns(row, config.prompts))]
    if not rows:
        raise RunError(f"each silver example of {run} holds <image>, <video> or <audio> in its text")

    def write(scratch: Path) -> None:
        own = config.images
        opened = partial(reopen_images, own.source, column=own.column)
        images = read_with(lambda file: opened(manifest=file), run / "manifest.parquet")
        picture = lru_cache(4)(lambda key: to_hand_on(images.encoded(key)))

        def whole() -> Iterator[dict[str, Any]]:
            for row in rows:
                data, ending = picture(row["image_key"])
                named = {"bytes": data, "path": f"{row['image_key']}.{ending}"}
                yield row | {"images": [named], "messages": _turns(row, config.prompts)}

        (scratch / "data").mkdir()
        with pq.ParquetWriter(scratch / "data" / "train.parquet", _schema()) as writer:
            for group in _groups(whole()):
                writer.write_table(pa.Table.from_pylist(group, schema=writer.schema))
        figures = _figures(rows) | {"doubles": len(kept) - len(once), "tagged": len(once) - len(rows)}
        write_text(scratch / "README.md", card("silver.md", run, config, **figures))

    return write_export(out, write)


def _kept(candidates: Path, iteration: int) -> Iterator[dict[str, Any]]:
    """The rows that a curation kept, with its number and whether each is right; None if that is unknown.

    A run may name an oracle that does not know its pictures; then it stores no true answers.
    """
    summary = read_json(candidates.with_name("summary.json"))
    known = summary["silver_accuracy"] is not None
    read = partial(pq.read_table, columns=[*_COLUMNS, "truth"], filters=[("kept", "==", True)])
    table = read_with(read, candidates)
    for row in table.to_pylist():
        if row["silver_answer"] is not None:
            right = _is_right(row) if known else None
            yield {name: row[name] for name in _COLUMNS} | {"iteration": iteration, "right": right}


def _turns(row: dict[str, Any], words: Prompts) -> list[dict[str, str]]:
    """The Reasoner's prompt, and the silver answer in the form that the prompt asks for."""
    system = [{"role": "system", "content": words.system}] if words.system else []
    answer = row["silver_answer"]
    said = f"\\boxed{{{answer}}}" if words.answer_form == "boxed" else f"<answer>{answer}</answer>"
    return [
        *system,
        {"role": "user", "content": reasoner_text(row["question"], row["type"], words)},
        {"role": "assistant", "content": said},
    ]


def _is_right(row: dict[str, Any]) -> bool:
    """Whether a silver answer is true; the answer to an unanswerable question is wrong."""
    if row["truth"] is None:
        return False
    return rewards.equivalent(
        row["silver_answer"], row["truth"], question=row["question"], options=tuple(row["options"])
    ).equal


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each row group."""
    group, held = [], 0
    for row in rows:
        group.append(row)
        held += len(row["images"][0]["bytes"])
        if held >= GROUP_BYTES or len(group) == GROUP_ROWS:
            yield group
            group, held = [], 0
    if group:
        yield group


def _schema() -> pa.Schema:
    """The columns, with the metadata that makes `datasets` decode the pictures."""
    from datasets import Features, Image, List, Value

    text, turns = Value("string"), List({"role": Value("string"), "content": Value("string")})
    number = Value("float64")
    features = Features(
        {
            "images": List(Image()), "messages": turns, "question": text,
            "options": List(text), "type": text, "silver_answer": text, "confidence": number,
            "validity": number, "right": Value("bool"), "image_key": text,
            "iteration": Value("int32"),
        }
    )  # fmt: skip
    return features.arrow_schema


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The values of the card for the written rows.

    `rows` and `types` are counts by iteration and by name; `confidence` is the lowest and the highest one;
    `right` is an estimate, or None if the truth is unknown; `validity` says whether a judge gave scores.
    """
    right = [bool(row["right"]) for row in rows if row["right"] is not None]
    confidences = [row["confidence"] for row in rows]
    return {
        "rows": dict(sorted(Counter(row["iteration"] for row in rows).items())),
        "types": dict(Counter(row["type"] for row in rows)),
        "confidence": (min(confidences), max(confidences)),
        "right": accuracy_interval(right, clusters=[row["image_key"] for row in rows]) if right else None,
        "validity": any(row["validity"] is not None for row in rows),
    }
