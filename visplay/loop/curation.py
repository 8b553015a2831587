"""Phase 2: ask questions about the pictures, vote on them, and keep those of moderate confidence (Eq. 9)."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import rewards
from rewards import ParseFailure, Question
from rollouts.engine import Sampling
from visplay.config.loading import enough_kept
from visplay.config.sections import Curation
from visplay.loop.asking import Asked, Groups, Prompting, Round, Stage, all_rows, plain, take_votes, through
from visplay.loop.context import RunContext, asked_before
from visplay.loop.health import blind_answer_rate, question_health
from visplay.loop.reasoner import SilverExample, read_examples
from visplay.planning.work import BLIND_QUESTIONS, CHUNK
from visplay.runs.checkpoints import Roles
from visplay.runs.run import UNFINISHED
from visplay.schema import CANDIDATES
from visplay.seeds import draw, mix_seed
from visplay.storage import read_part, write_parquet, write_part, write_text

TRACKED = 16  # questions of an iteration that trackers show
_Rows = list[dict[str, Any]]


def curate(
    ctx: RunContext, iteration: int, roles: Roles, *, ask: Sequence[Stage], prompting: Prompting = plain,
    chunk: int = CHUNK,
) -> list[SilverExample]:  # fmt: skip
    """Ask about the pictures, let the Reasoner vote, and keep informative questions; returns the kept ones.

    With shared adapters the one current version asks and answers. The step's folder contains all questions,
    with the reason of rejected ones, as `candidates.parquet`, and `summary.json`. Curation processes `chunk`
    pictures at a time, and a resumed curation does not repeat finished chunks.

    If `curation.margin` is a number, pictures are visited in random order. Curation stops after the chunk in
    which enough is kept, so the visited pictures are a random sample, independent of their difficulty.

    Args:
        ctx: the run's context.
        iteration: the iteration.
        roles: the adapter versions that ask and vote.
        ask: the stages of the questions; one of them rejects.
        prompting: makes the Questioner's prompts.
        chunk: number of pictures per chunk.
    """
    seed = ctx.seed(iteration, "curation")

    def asked(pictures: Sequence[str], start: int) -> Groups:
        round = Round(phase="curation", roles=roles, seed=mix_seed(seed, "chunk", start))
        return ask_about(ctx, pictures, round, stages=ask, prompting=prompting)

    def work(folder: Path) -> list[dict[str, Any]]:
        keys = _pictures(ctx, seed=seed)
        for adapter in (roles["questioner"], roles["reasoner"]):  # newer versions may have replaced it
            ctx.publish(adapter)
        rows = _until_enough(ctx, keys, asked, folder, chunk=chunk)
        return _keep(ctx, iteration, roles, rows, folder=folder, pool=len(keys))

    return read_examples(ctx.step(f"iteration-{iteration}/curation", work))


def band(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """Reject uninformative rows: no question, no answer, or confidence outside the band (Eq. 9)."""
    seen = set()
    for row in all_rows(groups):
        row.reject = row.reject or _uninformative(row, ctx.config.curation)
        if isinstance(row.question, Question):
            asked = (row.picture, row.question.question)
            row.reject = "asked before" if asked in seen else row.reject
            seen.add(asked)
    return groups


def ask_about(
    ctx: RunContext, pictures: Sequence[str], round: Round, *, stages: Sequence[Stage],
    prompting: Prompting = plain,
) -> Groups:  # fmt: skip
    """Ask N questions about each picture, [P][N], and apply the stages."""
    phase = ctx.config.questioner
    sampling = Sampling(
        n=ctx.config.curation.questions_per_image, temperature=phase.temperature,
        max_tokens=phase.max_tokens, seed=round.seed_of("ask"), logprobs=False,
    )  # fmt: skip
    with ctx.watch("pictures"):
        prompts = prompting(ctx, pictures, round.seed_of("prompts"))
    written = ctx.sample(prompts, adapter=round.roles["questioner"], sampling=sampling)
    groups = [
        [Asked.of(key, completion) for completion in group]
        for key, group in zip(pictures, written, strict=True)
    ]
    return through(ctx, groups, round, stages)


def from_training(
    ctx: RunContext, iteration: int, roles: Roles, *, ask: Sequence[Stage]
) -> list[SilverExample]:
    """Keep informative questions among those of the preceding Questioner phase, without asking new ones.

    Args:
        ctx: the run's context.
        iteration: the iteration; its Questioner phase is finished.
        roles: the adapter versions; the Reasoner's answers blind, for telemetry.
        ask: the stages that reject, such as `band`; parsing, judging and votes are unchanged.
    """

    def work(folder: Path) -> list[dict[str, Any]]:
        stored = pq.read_table(ctx.run.folder / f"iteration-{iteration}" / "questioner" / "rollouts.parquet")
        by_picture: dict[str, list[Asked]] = {}
        for row in map(Asked.from_record, stored.to_pylist()):
            by_picture.setdefault(row.picture, []).append(row)
        round = Round(phase="questioner", roles=roles, seed=ctx.seed(iteration, "curation"))
        groups = through(ctx, list(by_picture.values()), round, ask)
        return _keep(ctx, iteration, roles, [row for group in groups for row in group], folder=folder)

    return read_examples(ctx.step(f"iteration-{iteration}/curation", work))


def _pictures(ctx: RunContext, *, seed: int) -> list[str]:
    """The pictures in the order in which curation visits them."""
    own, keys = ctx.config.curation, [record.key for record in ctx.images.records]
    if own.margin == "all" and own.images is None:
        return keys
    drawn = draw(keys, min(own.images or len(keys), len(keys)), seed=mix_seed(seed, "pictures"))
    return sorted(drawn) if own.margin == "all" else drawn


def _until_enough(
    ctx: RunContext,
    keys: Sequence[str],
    asked: Callable[[Sequence[str], int], Groups],
    folder: Path,
    *,
    chunk: int,
) -> list[Asked]:
    """Ask about the pictures chunk by chunk until enough is kept."""
    enough = enough_kept(ctx.config)
    found: list[Asked] = []
    unfinished = folder / UNFINISHED
    unfinished.mkdir(exist_ok=True)
    each = ctx.config.curation.questions_per_image

    def rows_of(start: int) -> list[dict[str, Any]]:
        part = unfinished / f"pictures-{start}.json"
        rows: list[dict[str, Any]] | None = read_part(part)
        if rows is None:
            groups = asked(keys[start : start + chunk], start)
            rows = [row.record() for group in groups for row in group]
            write_part(part, rows)
        return rows

    def wanted(under_way: int) -> bool:
        """Whether another chunk will be needed, given the share of kept questions so far (at first 1/2)."""
        share = sum(not row.reject for row in found) / len(found) if found else 0.5
        return enough is None or share * (len(found) + under_way * chunk * each) < enough

    ctx.publish_waiting()
    with ctx.display.bar("curation", total=enough or len(keys) * each) as advance:
        for rows in _in_order(range(0, len(keys), chunk), rows_of, ctx.at_once, wanted):
            before = sum(not row.reject for row in found)
            found += map(Asked.from_record, rows)
            kept = sum(not row.reject for row in found)
            if enough is None:
                advance(f"questions, {kept} kept", len(rows))
            else:
                advance(f"kept of {len(found)} questions", min(kept, enough) - min(before, enough))
            if enough is not None and kept >= enough:
                break
    return found


def _in_order(
    starts: Sequence[int], work: Callable[[int], _Rows], at_once: int, wanted: Callable[[int], bool]
) -> Iterator[_Rows]:
    """Yield the results of `work` for each start in order; up to `at_once` calls run concurrently."""
    if at_once == 1:
        yield from map(work, starts)
        return
    pool, under_way = ThreadPoolExecutor(at_once), deque[Future[_Rows]]()
    try:
        for start in starts:
            while under_way and (len(under_way) == at_once or not wanted(len(under_way))):
                yield under_way.popleft().result()
            under_way.append(pool.submit(work, start))
        while under_way:
            yield under_way.popleft().result()
    except GeneratorExit:  # enough is kept; running calls still write into the step's folder
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _keep(
    ctx: RunContext,
    iteration: int,
    roles: Roles,
    rows: list[Asked],
    *,
    folder: Path,
    pool: int | None = None,
) -> list[dict[str, Any]]:
    """Write all rows, the kept ones, and the health figures.

    `pool` is the number of available pictures; the figures cover the visited ones.
    """
    records = [row.record() | {"kept": not row.reject} for row in rows]
    write_parquet(folder / "candidates.parquet", records, CANDIDATES)
    with ctx.watch("telemetry"):
        health = question_health(
            rows,
            has_truth=ctx.oracle is not None,
            earlier=asked_before(ctx, iteration, "curation/candidates.parquet"),
        )
    health |= {"pictures": len({row.picture for row in rows}), "pool": pool}
    seed = ctx.seed(iteration, "curation")
    if ctx.config.report_to:
        shown = draw(records, min(TRACKED, len(records)), seed=mix_seed(seed, "tracked"))
        ctx.tracker.log_questions(shown, [ctx.picture(row["image_key"]) for row in shown])
    health["blind_answers"] = probe_blind_answers(ctx, rows, roles=roles, seed=seed)
    write_text(folder / "summary.json", json.dumps(health, indent=2))
    return [{"iteration": iteration, "phase": "curation", **health}]


def probe_blind_answers(
    ctx: RunContext, rows: Sequence[Asked], *, roles: Roles, seed: int
) -> dict[str, Any] | None:
    """Answer some kept questions again with grey pictures; see `health.blind_answer_rate`."""
    kept = [row for row in rows if not row.reject and isinstance(row.question, Question)]
    count = min(BLIND_QUESTIONS, len(kept))
    probed = draw(kept, count, seed=mix_seed(seed, "blind answers"))
    if not probed:
        return None
    round = Round(phase="curation", roles=roles, seed=seed)
    unseeing = take_votes(ctx, probed, round, seed=mix_seed(seed, "blind answers"), grey=True, samples=1)
    return blind_answer_rate(probed, unseeing)


def _uninformative(row: Asked, band: Curation) -> str:
    if isinstance(row.question, ParseFailure) or row.vote is None:
        return "not a well-formed question"
    if row.vote.answer is None:
        return "no answer could be parsed"
    if rewards.in_informative_band(row.vote.confidence, band.low, band.high):
        return ""
    return "confidence too low" if row.vote.confidence < band.low else "confidence too high"
