"""From what the Questioner wrote to voted questions: a row for each completion, and the stages it passes.

A stage takes the rows of some pictures, fills in what it knows and hands them on; a loop names its stages in
their order, `[parse, judge, vote, blind]`. A row with a reject reason gets no votes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from PIL import Image

import rewards
from rewards import ParseFailure, Question, Vote
from rollouts.engine import AdapterVersion, Completion, Sampling
from visplay.config.names import named
from visplay.data.images import greyed_out
from visplay.data.views import shared_out, views_of
from visplay.loop.calibration import Gate
from visplay.loop.context import RunContext
from visplay.loop.rows import JUDGED_INVALID, Asked, Groups
from visplay.prompts import questioner_prompt, reasoner_prompt
from visplay.runs.checkpoints import Roles
from visplay.seeds import mix_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What stages must know beside the rows.

    Attributes:
        phase: decides m and the denominator of the votes, which the preset may set apart.
        roles: who votes: the versions as they stood when the phase began.
        seed: of the phase.
        at: where in the phase: the step, or the first picture of a chunk.
        gate: confidences and skills that are kept; None takes the preset's band.
    """

    phase: Literal["questioner", "curation"]
    roles: Roles
    seed: int
    at: tuple[str | int, ...] = ()
    gate: Gate | None = None

    def seed_of(self, purpose: str) -> int:
        """A seed for each purpose of each round."""
        return mix_seed(self.seed, purpose, *self.at)


Stage = Callable[[RunContext, Groups, Round], Groups]


def ask(
    ctx: RunContext,
    pictures: Sequence[str],
    round: Round,
    *,
    stages: Sequence[Stage],
    questioner: AdapterVersion,
    asked_by: str = "questioner",
) -> Groups:
    """N questions about each picture, [P][N], gone through the stages."""
    phase, words = ctx.config.questioner, ctx.config.prompts
    sampling = Sampling(
        n=ctx.config.curation.questions_per_image, temperature=phase.temperature,
        max_tokens=phase.max_tokens, seed=round.seed_of("ask"),
    )  # fmt: skip
    with ctx.watch("pictures"):
        prompts = [
            questioner_prompt(ctx.picture(key), types=phase.types, words=words, key=key) for key in pictures
        ]
    written = ctx.sample(prompts, adapter=questioner, sampling=sampling)
    groups = [
        [Asked.of(key, completion, asked_by=asked_by) for completion in group]
        for key, group in zip(pictures, written, strict=True)
    ]
    return through(ctx, groups, round, stages)


def through(ctx: RunContext, groups: Groups, round: Round, stages: Sequence[Stage]) -> Groups:
    """The rows after all stages."""
    for stage in stages:
        groups = stage(ctx, groups, round)
    return groups


def parse(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """Read the question of each completion (Eq. 7) and, where there is an oracle, its answer."""
    types = ctx.config.questioner.types
    with ctx.watch("rewards"):
        for row in _rows(groups):
            row.question = rewards.parse_question(
                row.completion, types=types, control_tokens=ctx.control_tokens
            )
            if ctx.oracle and isinstance(row.question, Question):
                row.truth = ctx.oracle(row.picture, row.question)
    return groups


def judge(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """Let `judge.function` say how valid each question is; below `judge.least` it is rejected."""
    if ctx.config.judge.function is None:
        return groups
    rows = [row for row in _rows(groups) if row.asks]
    grade = named(ctx.config.judge.function, key="judge.function")
    for row, validity in zip(rows, grade(ctx, rows, round), strict=True):
        row.validity = float(validity)
        if row.validity < ctx.config.judge.least:
            row.reject = JUDGED_INVALID
    return groups


def vote(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """Let the frozen Reasoner answer each question m times; the same question twice is answered once."""
    rows = [row for row in _rows(groups) if row.asks]
    votes = take_votes(ctx, rows, round, seed=round.seed_of("vote"))
    for row, found in zip(rows, votes, strict=True):
        row.vote = found
    return groups


def blind(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """Vote again with the pictures greyed out on a fraction of the groups, where groundedness is rewarded."""
    if not ctx.preset.groundedness_weight:
        return groups
    seed = round.seed_of("blind")
    probed = rewards.probed_groups(len(groups), fraction=ctx.preset.groundedness_fraction, seed=seed)
    rows = [row for group, yes in zip(groups, probed, strict=True) if yes for row in group if row.asks]
    for row, found in zip(rows, take_votes(ctx, rows, round, seed=seed, grey=True), strict=True):
        row.blind = found
    return groups


def band(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """Reject what is not informative: no question, no answer, too low or too high a confidence (Eq. 9)."""
    seen = set()
    gate = round.gate or Gate(low=ctx.preset.low, high=ctx.preset.high)
    for row in _rows(groups):
        row.reject = row.reject or _uninformative(row, gate)
        if isinstance(row.question, Question):
            asked = (row.picture, row.question.question)
            row.reject = "asked before" if asked in seen else row.reject
            seen.add(asked)
    return groups


def grounded(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """Reject what the Reasoner answers the same without the picture, where `groundedness_limit` is set."""
    limit = ctx.preset.groundedness_limit
    if limit is None:
        return groups
    rows = [row for row in _rows(groups) if row.asks]
    found = take_votes(ctx, rows, round, seed=round.seed_of("blind"), grey=True)
    for row, unseeing in zip(rows, found, strict=True):
        row.blind = unseeing
        if (
            row.vote
            and unseeing
            and not rewards.is_grounded(
                row.vote, unseeing, limit=limit, question=_question(row), options=_options(row)
            )
        ):
            row.reject = "answered the same without the picture"
    return groups


def take_votes(
    ctx: RunContext,
    rows: Sequence[Asked],
    round: Round,
    *,
    seed: int,
    grey: bool = False,
    samples: int | None = None,
) -> list[Vote | None]:
    """The Reasoner's votes on well-formed questions, [rows]; None for what is not one.

    Args:
        ctx: engine, pictures and configuration.
        rows: what was asked; the same question about the same picture twice is answered once.
        round: who votes, and for which phase.
        seed: of the sampling.
        grey: show mid-grey pictures of the same sizes.
        samples: m, in place of the preset's.
    """
    votes, preset, words = ctx.config.votes, ctx.preset, ctx.config.prompts
    questions = {
        (row.picture, row.question.question): row.question
        for row in rows
        if isinstance(row.question, Question)
    }
    in_curation = round.phase == "curation"
    sampling = Sampling(
        n=samples or (preset.curation_samples if in_curation else preset.samples),
        temperature=votes.temperature, top_k=votes.top_k, top_p=votes.top_p,
        max_tokens=ctx.config.reasoner.max_tokens, seed=seed,
    )  # fmt: skip
    views = {"grey": greyed_out} if grey else views_of(votes.views) or {"": _as_it_is}
    shares = dict(zip(views, shared_out(sampling.n, len(views)), strict=True))
    answers: list[list[Completion]] = [[] for _ in questions]
    for share in sorted(set(shares.values()) - {0}, reverse=True):
        shown = {name: view for name, view in views.items() if shares[name] == share}
        with ctx.watch("pictures"):
            prompts = [
                reasoner_prompt(
                    view(ctx.picture(key)), text, words=words, kind=asked.type,
                    key=key if name in ("", "grey") else f"{key} {name}",
                )
                for name, view in shown.items()
                for (key, text), asked in questions.items()
            ]  # fmt: skip
        own = sampling if len(views) == 1 else replace(sampling, n=share, seed=mix_seed(seed, "views", share))
        groups = ctx.sample(prompts, adapter=round.roles["reasoner"], sampling=own)
        for place, group in enumerate(groups):
            answers[place % len(questions)] += group
    with ctx.watch("rewards"):
        counted = {
            place: rewards.vote(
                [rewards.extract_answer(completion.text, words.answer_form) for completion in group],
                question=asked.question,
                options=asked.options or None,
                count_unparsed=preset.curation_counts_unparsed or not in_curation,
                judge=answer_judge(ctx, asked.question),
            )
            for (place, asked), group in zip(questions.items(), answers, strict=True)
        }
    return [
        counted[row.picture, row.question.question] if isinstance(row.question, Question) else None
        for row in rows
    ]


def answer_judge(ctx: RunContext, question: str) -> Callable[[str, str], bool | None] | None:
    """Who decides about answers to a question that the rules call different; None where nobody is named."""
    name = ctx.config.votes.judge
    return partial(named(name, key="votes.judge"), ctx, question) if name else None


def _as_it_is(picture: Image.Image) -> Image.Image:
    return picture


def _question(row: Asked) -> str | None:
    return row.question.question if isinstance(row.question, Question) else None


def _options(row: Asked) -> tuple[str, ...]:
    return row.question.options if isinstance(row.question, Question) else ()


def _rows(groups: Groups) -> list[Asked]:
    return [row for group in groups for row in group]


def _uninformative(row: Asked, gate: Gate) -> str:
    if isinstance(row.question, ParseFailure) or row.vote is None:
        return "not a well-formed question"
    if row.vote.answer is None:
        return "no answer could be parsed"
    if gate.closed and rewards.skill(row.question.question) in gate.closed:
        return "of a skill that the probe fails"
    if rewards.in_informative_band(row.vote.confidence, gate.low, gate.high):
        return ""
    return "confidence too low" if row.vote.confidence < gate.low else "confidence too high"
