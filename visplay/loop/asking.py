"""Turn the Questioner's completions into voted questions: one row per completion, processed by stages.

A stage takes the rows of some pictures, fills in fields and returns the rows. A loop lists its stages in
order, `[parse, judge, vote]`. A row with a reject reason gets no votes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from PIL import Image

import rewards
from rewards import ParseFailure, Question, Vote
from rollouts.engine import Completion, Prompt, Sampling
from visplay.config.names import named
from visplay.data.images import greyed_out
from visplay.errors import ConfigError
from visplay.loop.context import RunContext
from visplay.prompts import questioner_prompt, reasoner_prompt
from visplay.runs.checkpoints import Roles
from visplay.seeds import mix_seed

NOT_PARSED = ParseFailure(reason="not parsed")

JUDGED_INVALID = "judged invalid"  # the reject reason of questions that a judge rejected


@dataclass(slots=True, kw_only=True)
class Asked:
    """One completion of the Questioner, from sampling to parquet.

    Attributes:
        picture: key of the picture.
        completion: the unmodified text.
        tokens: number of tokens of the completion.
        cut: whether the length limit ended the completion.
        question: the parsed question, or the reason why there is none.
        vote: the Reasoner's votes on the question.
        validity: a judge's score in [0, 1]; None without a judge.
        truth: the oracle's answer, used for telemetry only.
        reject: the reason why it is not trained on; empty if it is kept.
    """

    picture: str
    completion: str = ""
    tokens: int = 0
    cut: bool = False
    question: Question | ParseFailure = NOT_PARSED
    vote: Vote | None = None
    validity: float | None = None
    truth: str | None = None
    reject: str = ""

    @classmethod
    def of(cls, picture: str, completion: Completion) -> "Asked":
        """Create the row of a completion that no stage has processed."""
        return cls(
            picture=picture, completion=completion.text, tokens=len(completion.token_ids),
            cut=completion.finish_reason == "length",
        )  # fmt: skip

    @property
    def asks(self) -> Question | None:
        """The question if it is well-formed and not rejected, else None."""
        return self.question if isinstance(self.question, Question) and not self.reject else None

    def record(self) -> dict[str, Any]:
        """Convert to a row of the schema `visplay.schema.ASKED`."""
        question = self.question if isinstance(self.question, Question) else None
        vote = self.vote
        return {
            "image_key": self.picture, "completion": self.completion, "tokens": self.tokens, "cut": self.cut,
            "valid": question is not None,
            "failure": "" if isinstance(self.question, Question) else self.question.reason,
            "type": question.type if question else "",
            "question": question.question if question else "",
            "options": list(question.options) if question else [],
            "own_answer": question.answer if question else "",
            "answers": [answer for answer, _ in vote.shares] if vote else [],
            "shares": [share for _, share in vote.shares] if vote else [],
            "silver_answer": vote.answer if vote else None,
            "confidence": vote.confidence if vote else 0.0,
            "parsed": vote.parsed if vote else 0,
            "samples": vote.samples if vote else 0,
            "validity": self.validity, "truth": self.truth, "reject_reason": self.reject,
        }  # fmt: skip

    @classmethod
    def from_record(cls, row: dict[str, Any]) -> "Asked":
        """Rebuild a row from `record`."""
        question: Question | ParseFailure = ParseFailure(reason=row["failure"])
        if row["valid"]:
            question = Question(
                type=row["type"], question=row["question"], answer=row["own_answer"],
                options=tuple(row["options"]),
            )  # fmt: skip
        vote = Vote(
            answer=row["silver_answer"], confidence=row["confidence"], parsed=row["parsed"],
            samples=row["samples"], shares=tuple(zip(row["answers"], row["shares"], strict=True)),
        )  # fmt: skip
        return cls(
            picture=row["image_key"], completion=row["completion"], tokens=row["tokens"], cut=row["cut"],
            question=question, vote=vote if row["samples"] else None, validity=row["validity"],
            truth=row["truth"], reject=row["reject_reason"],
        )  # fmt: skip


Groups = list[list[Asked]]  # [P][G]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The arguments of stages besides the rows.

    Attributes:
        phase: selects m and the denominator of the votes, which `curation` may set separately.
        roles: the adapter versions at the start of the phase, which ask and vote.
        seed: seed of the phase.
        at: the position in the phase: the step, or the first picture of a chunk.
    """

    phase: Literal["questioner", "curation"]
    roles: Roles
    seed: int
    at: tuple[str | int, ...] = ()

    def seed_of(self, purpose: str) -> int:
        """A seed per purpose and round."""
        return mix_seed(self.seed, purpose, *self.at)


Stage = Callable[[RunContext, Groups, Round], Groups]
Prompting = Callable[[RunContext, Sequence[str], int], list[Prompt]]  # keys of pictures and a seed -> [P]


def plain(ctx: RunContext, pictures: Sequence[str], seed: int) -> list[Prompt]:
    """The Questioner's prompt about each picture, [P]; it does not depend on the seed."""
    types, words = ctx.config.questioner.types, ctx.config.prompts
    return [questioner_prompt(ctx.picture(key), types=types, words=words, key=key) for key in pictures]


def through(ctx: RunContext, groups: Groups, round: Round, stages: Sequence[Stage]) -> Groups:
    """Apply all stages to the rows."""
    for stage in stages:
        groups = stage(ctx, groups, round)
    return groups


def parse(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """Parse the question of each completion (Eq. 7), and look up its answer if there is an oracle."""
    types = ctx.config.questioner.types
    with ctx.watch("rewards"):
        for row in all_rows(groups):
            row.question = rewards.parse_question(
                row.completion, types=types, control_tokens=ctx.control_tokens
            )
            if ctx.oracle and isinstance(row.question, Question):
                row.truth = ctx.oracle(row.picture, row.question)
    return groups


def judge(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """Score the validity of each question by `judge.function`; reject scores below `judge.least`."""
    if ctx.config.judge.function is None:
        return groups
    rows = [row for row in all_rows(groups) if row.asks]
    grade = named(ctx.config.judge.function, key="judge.function")
    graded = grade(ctx, rows, round)
    if not isinstance(graded, list | tuple) or len(graded) != len(rows):
        raise ConfigError(
            f"judge.function: {ctx.config.judge.function} must return a list of {len(rows)} numbers"
        )
    for row, validity in zip(rows, graded, strict=True):
        row.validity = float(validity)
        if not 0 <= row.validity <= 1:  # also true for NaN
            raise ConfigError(
                f"judge.function: {ctx.config.judge.function} must return values in [0, 1], got {validity}"
            )
        if row.validity < ctx.config.judge.least:
            row.reject = JUDGED_INVALID
    return groups


def vote(ctx: RunContext, groups: Groups, round: Round) -> Groups:
    """Let the frozen Reasoner answer each question m times; equal questions are answered once."""
    rows = [row for row in all_rows(groups) if row.asks]
    votes = take_votes(ctx, rows, round, seed=round.seed_of("vote"))
    for row, found in zip(rows, votes, strict=True):
        row.vote = found
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
    """Take the Reasoner's votes on well-formed questions, [rows]; None for other rows.

    Args:
        ctx: engine, pictures and configuration.
        rows: the rows; equal questions about the same picture are answered once.
        round: the adapter versions and the phase.
        seed: seed of the sampling.
        grey: show mid-grey pictures of the same sizes.
        samples: m; None uses the configuration's.
    """
    votes, curation, words = ctx.config.votes, ctx.config.curation, ctx.config.prompts
    questions = {
        (row.picture, row.question.question): row.question
        for row in rows
        if isinstance(row.question, Question)
    }
    in_curation = round.phase == "curation"
    sampling = Sampling(
        n=samples or (in_curation and curation.samples) or votes.samples,
        temperature=votes.temperature, top_k=votes.top_k,
        max_tokens=ctx.config.reasoner.max_tokens, seed=seed, logprobs=False,
    )  # fmt: skip

    @cache  # one picture object for all questions about it
    def seen(key: str) -> Image.Image:
        return greyed_out(ctx.picture(key)) if grey else ctx.picture(key)

    with ctx.watch("pictures"):
        prompts = [
            reasoner_prompt(seen(key), text, words=words, kind=asked.type, key=key)
            for (key, text), asked in questions.items()
        ]
    answers = ctx.sample(prompts, adapter=round.roles["reasoner"], sampling=sampling)
    with ctx.watch("rewards"):
        counted = {
            place: rewards.vote(
                [rewards.extract_answer(completion.text, words.answer_form) for completion in group],
                question=asked.question,
                options=asked.options or None,
                count_unparsed=curation.count_unparsed or not in_curation,
            )
            for (place, asked), group in zip(questions.items(), answers, strict=True)
        }
    return [
        counted[row.picture, row.question.question] if isinstance(row.question, Question) else None
        for row in rows
    ]


def all_rows(groups: Groups) -> list[Asked]:
    """The rows of all groups, in their order."""
    return [row for group in groups for row in group]
