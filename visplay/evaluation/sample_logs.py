"""The two sides of a comparison, whoever wrote them: an evaluation, a run, lmms-eval's sample logs."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from visplay.errors import EvaluationError, VisplayError
from visplay.evaluation.benchmarks import load_benchmark
from visplay.evaluation.items import Item
from visplay.evaluation.records import GREEDY, Record, picture_digest, read_records
from visplay.evaluation.spec import shipped_specs
from visplay.evaluation.target import find_target
from visplay.storage import read_jsonl

_LOG = re.compile(r"^(?:.*_)?samples_(?P<task>.+)\.jsonl$")
_METRICS = ("exact_match", "accuracy", "acc", "score", "gpt_eval_score")
_FAILED = "[LMMS_EVAL_"  # lmms-eval writes its client's failure in the answer's place
LoadPicture = Callable[[Record], Image.Image | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One checkpoint's stored samples.

    Attributes:
        name: how it is called.
        reads: benchmark id -> a function that reads its samples from the start.
        picture: gives the first picture of a sample, None where there is none to be had.
    """

    name: str
    reads: Mapping[str, Callable[[], Iterator[Record]]]
    picture: LoadPicture = field(default=lambda record: None)


def find_side(text: str, *, metric: str | None = None) -> Side:
    """Find stored samples.

    Args:
        text: a folder of `visplay evaluate`, RUN, RUN@ITERATION, or a file or folder of lmms-eval's logs.
        metric: which metric of lmms-eval's logs says what is right; None looks for a usual one.

    Raises:
        EvaluationError: there are none.
    """
    path = Path(text)
    if (path / "evaluation.json").is_file():
        return _of_evaluation(path)
    if path.is_file() and path.suffix == ".jsonl":
        return _of_logs([path], name=path.stem, metric=metric)
    logs = sorted(file for file in path.rglob("*.jsonl") if _LOG.match(file.name)) if path.is_dir() else []
    if logs and not (path / "journal.jsonl").is_file():
        return _of_logs(logs, name=path.name, metric=metric)
    if (Path(text.rpartition("@")[0] or text) / "journal.jsonl").is_file():
        target = find_target(text, trust_remote_code=True)  # only its samples are read
        return _of_evaluation(
            Path(str(target.folder)) / f"iteration-{target.iteration}" / "evaluation", name=target.name
        )
    raise EvaluationError(
        f"{text} holds no stored samples; name a folder that visplay evaluate wrote, a run, RUN@ITERATION, "
        "or lmms-eval's ..._samples_TASK.jsonl"
    )


def _of_evaluation(folder: Path, *, name: str = "") -> Side:
    files = sorted(folder.glob(f"*/{GREEDY}.jsonl"))
    if not files or not (folder / "evaluation.json").is_file():
        raise EvaluationError(
            f"{folder} has no finished benchmark that this version can read; measure it with visplay evaluate"
        )
    about = json.loads((folder / "evaluation.json").read_text())
    shipped: dict[str, dict[str, Item]] = {}

    def picture(record: Record) -> Image.Image | None:
        # A digest is ours, but the file may have been edited: nothing but hex digits makes a path.
        digests = [d for d in record.get("pictures") or [] if re.fullmatch("[0-9a-f]{32}", str(d))]
        for digest in digests:
            if (file := folder / "pictures" / f"{digest}.png").is_file():
                return Image.open(file).convert("RGB")
        if record["benchmark"] not in shipped:
            shipped[record["benchmark"]] = _shipped_items(record["benchmark"], about)
        item = shipped[record["benchmark"]].get(record["item"])
        images = item.images() if item else ()
        return next((image for image in images if picture_digest(image) in digests), None)

    reads = {file.parent.name: partial(read_records, file) for file in files}
    return Side(name=name or str(about.get("name") or folder.name), reads=reads, picture=picture)


def _shipped_items(name: str, about: dict[str, Any]) -> dict[str, Item]:
    """The items that were asked, by their key, to show their pictures; none of a benchmark of one's own.

    What an evaluation names of its own may be code, and reading a folder must run nothing that it names.
    """
    try:
        spec, source = shipped_specs()[name], about["sources"].get(name)
        items = load_benchmark(
            spec, limit=about["limit"], seed=about["seed"], split=about["split"],
            source=Path(source) if source else None,
        )  # fmt: skip
    except (VisplayError, LookupError, TypeError, ValueError, AttributeError):
        return {}  # not shipped, not to be had here, or of another version: the page goes without
    return {item.key: item for item in items}


def _of_logs(files: list[Path], *, name: str, metric: str | None) -> Side:
    reads: dict[str, Callable[[], Iterator[Record]]] = {}
    for file in files:  # of several runs of one task the names begin with the date: the last one counts
        match = _LOG.match(file.name)
        task = _benchmark(match["task"] if match else file.stem)
        reads[task] = partial(read_log, file, metric=metric)
    return Side(name=name, reads=reads)


def read_log(file: Path, *, metric: str | None = None) -> Iterator[Record]:
    """The samples of one lmms-eval log (0.7), in our form; what it could not answer is an `engine_error`.

    Raises:
        EvaluationError: a line is no sample of lmms-eval, or holds no metric that says what is right.
    """
    match = _LOG.match(file.name)
    task = _benchmark(match["task"] if match else file.stem)
    for number, sample in enumerate(read_jsonl(file), start=1):
        try:
            said = sample["filtered_resps"]
            said = said[0] if isinstance(said, list) and said else said
            output, row = str(said if said not in ([], None) else ""), int(sample["doc_id"])
            target = str(sample["target"])
        except (KeyError, ValueError, TypeError) as error:
            raise EvaluationError(
                f"{file}, line {number}: not a sample of lmms-eval's ({error!r:.80})"
            ) from error
        ours = _our_target(target)
        score = (
            None if output.startswith(_FAILED) else _metric(sample, metric, shown=f"{file}, line {number}")
        )
        counts = sample.get("token_counts") or [None]
        yield {
            "item": ours.get("item", str(row)), "row": ours.get("row", row), "benchmark": task,
            "cluster": ours.get("cluster", str(row)), "kind": "", "groups": {},
            "question": ours.get("question", str(sample.get("input") or "")),
            "prompt": str(sample.get("input") or ""), "output": output, "answer": output[:500],
            "gold": ours.get("gold", {"rule": "text", "answers": [target]}), "pictures": [],
            "status": "engine_error" if score is None else ours.get("status", "ok"),
            "score": score, "correct": score is not None and score >= 0.5, "finish": "stop",
            "foreign": not ours, "tokens": int((counts[0] or {}).get("output_tokens") or 0),
        }  # fmt: skip


def _benchmark(task: str) -> str:
    """Our id of one of lmms-eval's tasks; its own name where we have none."""
    known = {spec.lmms_task: spec.id for spec in shipped_specs().values() if spec.lmms_task}
    return known.get(task, task.removeprefix("visplay_"))


def _our_target(target: str) -> dict[str, Any]:
    """What our own task files write as the target; empty for everyone else's."""
    if not target.startswith('{"visplay"'):
        return {}
    found: dict[str, Any] = json.loads(target)["visplay"]
    return found


def _metric(sample: dict[str, Any], metric: str | None, *, shown: str) -> float:
    names = (
        [metric]
        if metric
        else [*_METRICS, *(name for name in sample if name.endswith(("_acc", "_accuracy")))]
    )
    for name in names:
        value = sample.get(name)
        if isinstance(value, dict):  # e.g. MMMU's: what was parsed beside what is right
            value = next((value[k] for k in ("score", "correct", "hit", "true_false") if k in value), value)
        if isinstance(value, dict) and {"answer", "parsed_pred"} <= set(value):
            value = str(value["answer"]) == str(value["parsed_pred"])
        if isinstance(value, bool | int | float) and 0 <= value <= 1:
            return float(value)
    known = [name for name, value in sample.items() if isinstance(value, bool | int | float | dict)]
    raise EvaluationError(f"{shown}: no metric from 0 to 1 among {known}; name one with --metric")
