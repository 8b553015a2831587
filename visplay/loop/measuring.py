"""Measure the Reasoner: greedy accuracy, majority vote, blind control, paired against the base."""

import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import rewards
from rollouts.engine import BASE, AdapterVersion, Completion, Sampling
from visplay.errors import BenchmarkError
from visplay.evaluation.benchmarks import load_benchmark
from visplay.evaluation.contamination import find_suspects
from visplay.evaluation.items import Item
from visplay.evaluation.prompts import greyed, item_prompt
from visplay.evaluation.reasoner import folder_digest, model_digest
from visplay.evaluation.sampling import Reasoner
from visplay.evaluation.scoring import compare, score_output
from visplay.evaluation.session import Plan, run_evaluation
from visplay.evaluation.spec import Spec, expand
from visplay.evaluation.statistics import accuracy_interval, paired_difference
from visplay.loop.context import RunContext
from visplay.runs.checkpoints import Roles
from visplay.runs.run import UNFINISHED
from visplay.storage import read_part, write_part, write_text


def measure(ctx: RunContext, iteration: int, roles: Roles) -> None:
    """Phase 4: held-out accuracy, beside the untrained model's from the first iteration on."""

    def work(folder: Path) -> list[dict[str, Any]]:
        base = ctx.run.folder / "iteration-0" / "evaluation" if iteration else None
        summary = evaluate(ctx, adapter=roles["reasoner"], folder=folder, base=base)
        return [{"iteration": iteration, "phase": "evaluation", "benchmarks": summary}]

    if iteration in (0, ctx.config.iterations) or iteration % ctx.config.evaluation.every == 0:
        ctx.step(f"iteration-{iteration}/evaluation", work)


def measure_in_full(ctx: RunContext, roles: Roles) -> None:
    """The base and the trained Reasoner on every question, in a folder of its own."""

    def work(folder: Path) -> list[dict[str, Any]]:
        evaluate_in_full(ctx, reasoner=roles["reasoner"], folder=folder)
        return []

    folder = ctx.step(f"full-{ctx.config.iterations}", work)
    ctx.display.say(f"compare on all questions: visplay compare {folder / 'base'} {folder / 'reasoner'}")


def evaluate(
    ctx: RunContext, *, adapter: AdapterVersion, folder: Path, base: Path | None
) -> dict[str, dict[str, Any]]:
    """Ask every benchmark of the configuration; writes `samples.parquet` and `summary.json` to `folder`.

    A benchmark that a stopped evaluation has asked is not asked again.
    With the untrained model, whose `base` is None, `contamination.json` is written too.

    Args:
        ctx: engine and configuration.
        adapter: the Reasoner to measure.
        folder: where to write.
        base: the folder of the untrained model's evaluation, for the paired test.

    Returns:
        The summary by benchmark, computed from the stored samples.
    """
    config = ctx.config.evaluation
    rows: list[dict[str, Any]] = []
    suspects: list[dict[str, Any]] = []
    specs = expand(config.benchmarks)
    (folder / UNFINISHED).mkdir(exist_ok=True)
    with ctx.display.bar("evaluation", total=len(specs)) as advance:
        for spec in specs:
            name = spec.id
            items = _load(ctx, spec, limit=config.limit)
            if base is None and config.contamination_bits >= 0:
                found = find_suspects(ctx.images, {name: items}, bits=config.contamination_bits)
                suspects += [asdict(suspect) for suspect in found]
            done = folder / UNFINISHED / f"{name}.json"
            answered = read_part(done)
            if answered is None:
                asked = _ask(ctx, items, adapter=adapter)
                write_part(done, [{"benchmark": name} | row for row in asked])
                answered = read_part(done)
            rows += answered
            advance(name)
    if base is None and config.contamination_bits >= 0:
        write_text(folder / "contamination.json", json.dumps(suspects, indent=2))
    if suspects:
        ctx.display.say(
            f"{len(suspects)} benchmark pictures look like training pictures; contamination.json names them"
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "samples.parquet")
    base_rows = pq.read_table(base / "samples.parquet").to_pylist() if base else None
    summary = summarise(rows, base_rows=base_rows, k=config.maj_k)
    write_text(folder / "summary.json", json.dumps({"benchmarks": summary}, indent=2))
    return summary


def evaluate_in_full(ctx: RunContext, *, reasoner: AdapterVersion, folder: Path) -> None:
    """Ask the base and the trained Reasoner every question of every benchmark.

    Writes `base/` and `reasoner/` (see `visplay.evaluation.session`) to `folder`; what a stopped attempt has
    stored is not asked again.

    Args:
        ctx: engine and configuration.
        reasoner: the trained version, published.
        folder: a step's scratch folder.
    """
    config, unfinished = ctx.config.evaluation, folder / UNFINISHED
    tokens = ctx.config.reasoner.max_tokens
    plan = Plan(
        benchmarks=config.benchmarks, sources=dict(config.sources), seed=config.seed, split=config.split,
        greedy=Sampling(temperature=0, max_tokens=tokens, seed=config.seed),
    )  # fmt: skip
    model = ctx.config.model
    for name, adapter in (("base", BASE), ("reasoner", reasoner)):
        asked = Reasoner(
            engine=ctx.engine, adapter=adapter, model_digest=model_digest(model),
            adapter_digest=folder_digest(adapter.path) if adapter.path else "",
            backend=ctx.config.engine.backend,
        )  # fmt: skip
        about = {"name": f"{ctx.config.name} {name}", "model": model.path}
        run_evaluation(asked, plan, folder=unfinished / name, about=about, judge=None, display=ctx.display)
    for name in ("base", "reasoner"):
        shutil.copytree(unfinished / name, folder / name)


def _load(ctx: RunContext, spec: Spec, *, limit: int) -> list[Item]:
    config = ctx.config.evaluation
    items = load_benchmark(
        spec, limit=limit, seed=config.seed, split=config.split, source=config.sources.get(spec.id)
    )
    if any(item.gold.rule == "judge" for item in items):
        raise BenchmarkError(
            f"evaluation.benchmarks: {spec.id} needs a judge and the loop has none; take it out and score "
            "the run afterwards with visplay evaluate RUN --judge ..."
        )
    return items


def _ask(ctx: RunContext, items: Sequence[Item], *, adapter: AdapterVersion) -> list[dict[str, Any]]:
    config = ctx.config.evaluation
    greedy = Sampling(temperature=0, max_tokens=ctx.config.reasoner.max_tokens)
    voting = Sampling(
        n=config.maj_k, temperature=ctx.config.votes.temperature, top_k=ctx.config.votes.top_k,
        top_p=ctx.config.votes.top_p, max_tokens=ctx.config.reasoner.max_tokens, seed=config.seed,
    )  # fmt: skip
    with ctx.watch("pictures"):
        prompts = [item_prompt(item) for item in items]
        blanks = [item_prompt(item, pictures=greyed) for item in items[: config.blind_limit]]
    answers = [group[0] for group in ctx.sample(prompts, adapter=adapter, sampling=greedy)]
    blind: list[str | None] = [None] * len(items)
    for i, group in enumerate(ctx.sample(blanks, adapter=adapter, sampling=greedy) if blanks else ()):
        blind[i] = group[0].text
    votes: list[rewards.Vote | None] = [None] * len(items)
    if config.maj_limit:
        voted = ctx.sample(prompts[: config.maj_limit], adapter=adapter, sampling=voting)
        for i, group in enumerate(voted):
            answers_m = [rewards.extract_answer(completion.text) for completion in group]
            votes[i] = rewards.vote(answers_m, options=items[i].gold.options or None)
    with ctx.watch("scoring"):
        return [
            _row(item, answer, unseeing, vote)
            for item, answer, unseeing, vote in zip(items, answers, blind, votes, strict=True)
        ]


def _row(item: Item, answer: Completion, unseeing: str | None, vote: rewards.Vote | None) -> dict[str, Any]:
    score = score_output(answer.text, item.gold, cut=answer.finish_reason == "length")
    return {
        "key": item.key, "kind": item.kind, "cluster": item.cluster, "question": item.question,
        "gold": item.gold.answers[0], "output": answer.text, "answer": score.answer,
        "status": score.status, "cut": answer.finish_reason == "length",
        "tokens": len(answer.token_ids), "correct": score.correct,
        "blind_output": unseeing,
        "blind_correct": None if unseeing is None else score_output(unseeing, item.gold, cut=False).correct,
        "majority": vote.answer if vote else None,
        "majority_confidence": vote.confidence if vote else None,
        "majority_correct": _right(vote.answer, item) if vote else None,
    }  # fmt: skip


def summarise(
    rows: Sequence[dict[str, Any]], *, base_rows: Sequence[dict[str, Any]] | None, k: int
) -> dict[str, dict[str, Any]]:
    """Every figure of an evaluation from its stored samples, by benchmark."""
    by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_name[row["benchmark"]].append(row)
    before = {(row["benchmark"], row["key"]): row for row in base_rows or ()}
    return {
        name: _summary(own, [before[name, row["key"]] for row in own] if before else None, k=k)
        for name, own in by_name.items()
    }


def _summary(
    rows: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]] | None, *, k: int
) -> dict[str, Any]:
    clusters = [row["cluster"] for row in rows]
    shared = clusters if len(set(clusters)) < len(clusters) else None  # a picture with several questions
    correct = [row["correct"] for row in rows]
    parsed = [row for row in rows if row["status"] == "ok"]
    kinds: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        kinds[row["kind"]].append(row["correct"])
    difference = (
        paired_difference([row["correct"] for row in base], correct, clusters=shared) if base else None
    )
    return {
        "n": len(rows),
        "accuracy": asdict(accuracy_interval(correct, clusters=shared)),
        f"maj@{k}": _accuracy_of(rows, "majority_correct", clustered=shared is not None),
        "blind": _accuracy_of(rows, "blind_correct", clustered=shared is not None),
        "parse_rate": sum(row["answer"] is not None for row in rows) / len(rows),
        "truncation_rate": sum(row["cut"] for row in rows) / len(rows),
        "accuracy_given_parsed": sum(row["correct"] for row in parsed) / max(1, len(parsed)),
        "mean_tokens": sum(row["tokens"] for row in rows) / len(rows),
        "kinds": {kind: asdict(accuracy_interval(values)) for kind, values in sorted(kinds.items())},
        "paired": asdict(difference) if difference else None,
    }


def _accuracy_of(rows: Sequence[dict[str, Any]], column: str, *, clustered: bool) -> dict[str, Any] | None:
    """Accuracy over the rows that have a value in `column`; None where none has."""
    asked = [row for row in rows if row[column] is not None]
    if not asked:
        return None
    clusters = [row["cluster"] for row in asked] if clustered else None
    return asdict(accuracy_interval([row[column] for row in asked], clusters=clusters))


def _right(answer: str | None, item: Item) -> bool:
    return answer is not None and any(compare(answer, one, item.gold).equal for one in item.gold.answers)
