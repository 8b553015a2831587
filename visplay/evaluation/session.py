"""Run an evaluation in a folder: settings, samples of every benchmark, the judge's replies, the figures.

```
FOLDER/evaluation.json       who answered and how
FOLDER/BENCHMARK/greedy.jsonl, blind.jsonl, sampled.jsonl
FOLDER/BENCHMARK/greedy.answers ...  every answer that was ever given, with all settings
FOLDER/judge.jsonl           replies of the judge
FOLDER/pictures/             a small copy of each picture, named by its digest (optional)
FOLDER/summary.json          figures, computed from the samples
```
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rollouts.engine import Sampling
from visplay.errors import EvaluationError, RunLocked
from visplay.evaluation.benchmarks import Split, load_benchmark
from visplay.evaluation.comparison import compare_samples
from visplay.evaluation.items import Item
from visplay.evaluation.judge import Judge, judge_records, rescored
from visplay.evaluation.metrics import Figures, figures_of, mean_of_parts, sampled_figures
from visplay.evaluation.prompts import blinded
from visplay.evaluation.records import BLIND, GREEDY, SAMPLED, Record, read_records, write_records
from visplay.evaluation.sampling import Reasoner, evaluate_items
from visplay.evaluation.scoring import SCORER
from visplay.evaluation.spec import Spec, expand, shipped_specs
from visplay.progress import Display
from visplay.runs.run import outside_runs
from visplay.storage import PARTIAL, write_text

JUDGED = "judge.jsonl"
_HEAVY = ("output", "prompt", "question", "pictures", "error", "generation", "key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The benchmarks and settings of an evaluation.

    Attributes:
        benchmarks: ids or YAML files.
        sources: benchmark id -> local copy.
        limit: number of items per benchmark, drawn with `seed`; None uses all.
        seed: seed of subsets, scenes and samples.
        split: the split of benchmarks that a function makes.
        max_tokens: the largest length of an answer.
        samples: k answers for avg@k, maj@k and pass@k, drawn with `temperature` and `top_k`; 0 draws none.
        sampled_limit: number of first items that are sampled; None samples all.
        blind_limit: number of first items that are also asked with grey pictures; None asks all, 0 none.
        keep_pictures: store a small copy of each picture, which pages show.
    """

    benchmarks: Sequence[str]
    sources: dict[str, Path] = field(default_factory=dict)
    limit: int | None = None
    seed: int = 0
    split: Split = "held-out"
    max_tokens: int = 1024
    samples: int = 0
    temperature: float = 1.0
    top_k: int = 40
    sampled_limit: int | None = None
    blind_limit: int | None = 0
    keep_pictures: bool = True

    @property
    def greedy(self) -> Sampling:
        """Sampling of the greedy answer, which accuracy is computed from."""
        return Sampling(temperature=0, max_tokens=self.max_tokens, seed=self.seed, logprobs=False)

    @property
    def sampled(self) -> Sampling | None:
        """Sampling of the k answers; None if there are none."""
        drawn = Sampling(
            n=max(1, self.samples), temperature=self.temperature, top_k=self.top_k,
            max_tokens=self.max_tokens, seed=self.seed, logprobs=False,
        )  # fmt: skip
        return drawn if self.samples else None


def require_benchmarks(plan: Plan) -> None:
    """Check, before a model is loaded, that each benchmark is available; else raise as `run_evaluation`."""
    specs = expand(plan.benchmarks)
    for name in plan.sources:
        if name not in {spec.id for spec in specs}:
            raise EvaluationError(f"--source {name}=...: {name} is not one of the requested benchmarks")
    for spec in specs:
        load_benchmark(spec, limit=1, seed=plan.seed, split=plan.split, source=plan.sources.get(spec.id))


def run_evaluation(
    reasoner: Reasoner,
    plan: Plan,
    *,
    folder: Path,
    about: dict[str, Any],
    judge: Judge | None,
    display: Display,
    base: Path | None = None,
) -> dict[str, Figures]:
    """Ask everything that is not stored in `folder` yet, and write the figures.

    Args:
        reasoner: the Reasoner that answers.
        plan: the benchmarks and settings.
        folder: created if absent; an interrupted evaluation is resumed.
        about: notes on the model, which are stored.
        judge: for benchmarks that only a judge can grade; without it their samples get `judge_error`.
        display: where progress is shown.
        base: the folder of another evaluation for the paired difference.

    Raises:
        RunLocked: another process writes to the folder.
        BenchmarkError: a benchmark's data is not available.
    """
    specs = expand(plan.benchmarks)
    with _locked(folder):
        noted = about | _noted(reasoner, plan, specs)
        write_text(folder / "evaluation.json", json.dumps(noted, indent=2))
        pictures = folder / "pictures" if plan.keep_pictures else None
        for own in ([pictures] if pictures else []) + [folder / spec.id for spec in specs]:
            own.mkdir(exist_ok=True)
        for spec in specs:
            items = load_benchmark(
                spec, limit=plan.limit, seed=plan.seed, split=plan.split, source=plan.sources.get(spec.id)
            )
            for name, asked, sampling in _rounds(items, plan):
                path = folder / spec.id / f"{name}.jsonl"
                with display.bar(f"{spec.id}, {name}", total=len(asked)) as advance:
                    records = evaluate_items(
                        reasoner, asked, benchmark=spec.id, sampling=sampling, path=path,
                        pictures=pictures, advance=advance, say=display.say,
                    )  # fmt: skip
                if judge is not None:
                    write_records(path, judge_records(judge, records, store=folder / JUDGED))
        return summarise(folder, specs, base=base)


def rescore(folder: Path, *, judge: Judge | None = None) -> dict[str, Figures]:
    """Score all stored samples with the current scorer, without a model; a judge grades ungraded samples.

    Raises:
        EvaluationError: the folder has no evaluation.
        RunLocked: another process writes to it.
    """
    if not (folder / "evaluation.json").is_file():
        raise EvaluationError(f"{folder} has no evaluation.json; name a folder that visplay evaluate wrote")
    with _locked(folder):
        for path in sorted(folder.glob("*/*.jsonl")):
            records: Iterable[Record] = (rescored(record) for record in read_records(path))
            if judge is not None:
                records = judge_records(judge, list(records), store=folder / JUDGED)
            write_records(path, records)
        about = json.loads((folder / "evaluation.json").read_text())
        write_text(folder / "evaluation.json", json.dumps(about | {"scorer": SCORER}, indent=2))
        return summarise(folder, [])


def summarise(folder: Path, specs: Sequence[Spec], *, base: Path | None = None) -> dict[str, Figures]:
    """Compute the figures of all stored samples and write `summary.json` in the order of the benchmarks.

    Args:
        folder: the evaluation's folder.
        specs: the specs of custom benchmarks.
        base: the folder of another evaluation. Benchmarks that both have get `paired`, the paired difference
            of the greedy answers, or None if too many rows failed.
    """
    known = shipped_specs() | {spec.id: spec for spec in specs}
    asked: list[str] = json.loads((folder / "evaluation.json").read_text()).get("benchmarks") or []
    files = {path.parent.name: path for path in sorted(folder.glob(f"*/{GREEDY}.jsonl"))}
    summary: dict[str, Figures] = {}
    for name in dict.fromkeys([*(name for name in asked if name in files), *files]):
        path = files[name]
        headline = known[name].headline if name in known else "accuracy"
        figures = figures_of(_light(path), headline=headline)
        if (grey := path.with_name(f"{BLIND}.jsonl")).exists():
            figures["blind"] = figures_of(_light(grey), headline=headline)
        if base is not None and (before := base / name / path.name).exists():
            paired = compare_samples(name, read_records(before), read_records(path)).paired
            figures["paired"] = asdict(paired) if paired else None
        if (sampled := path.with_name(f"{SAMPLED}.jsonl")).exists():
            figures["sampled"] = sampled_figures(_light(sampled))
        summary[name] = figures
    for spec in known.values():
        if spec.parts and (mean := mean_of_parts(spec, summary)):
            summary[spec.id] = mean
    write_text(folder / "summary.json", json.dumps({"benchmarks": summary}, indent=2))
    return summary


def _light(path: Path) -> list[Record]:
    """The samples of a file without their long texts, which figures do not need."""
    return [{k: v for k, v in record.items() if k not in _HEAVY} for record in read_records(path)]


def _rounds(items: Sequence[Item], plan: Plan) -> Iterator[tuple[str, Sequence[Item], Sampling]]:
    yield GREEDY, items, plan.greedy
    if blind := blinded(items[: plan.blind_limit]):
        yield BLIND, blind, plan.greedy
    if plan.sampled is not None:
        yield SAMPLED, items[: plan.sampled_limit], plan.sampled


def _noted(reasoner: Reasoner, plan: Plan, specs: Sequence[Spec]) -> dict[str, Any]:
    """The settings that determine the samples, and the sources of the questions."""
    return {
        "model_digest": reasoner.model_digest, "adapter_digest": reasoner.adapter_digest,
        "engine": reasoner.backend, "scorer": SCORER, "benchmarks": [spec.id for spec in specs],
        "sources": {name: str(path) for name, path in plan.sources.items()},
        "limit": plan.limit, "seed": plan.seed, "split": plan.split, "greedy": asdict(plan.greedy),
        "sampled": asdict(plan.sampled) if plan.sampled else None,
    }  # fmt: skip


def require_place(folder: Path) -> None:
    """Check that an evaluation may be written to a folder: it is new, empty or an evaluation's.

    Raises:
        RunError: it is inside a run's folder.
        EvaluationError: it is a file, or has other content.
    """
    outside_runs(folder)
    if folder.exists() and not folder.is_dir():
        raise EvaluationError(f"--out: {folder} is a file; name a folder")
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if "evaluation.json" not in found and (others := found - {"lock", f"evaluation.json{PARTIAL}"}):
        raise EvaluationError(
            f"--out: {folder} has files ({', '.join(sorted(others)[:3])}) but no evaluation; name a new "
            "folder"
        )


def _locked(folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(folder / "lock").acquire(timeout=0)
    except Timeout as error:
        raise RunLocked(f"another process writes to {folder}") from error
