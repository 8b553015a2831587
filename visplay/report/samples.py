"""The pictures and questions that a report shows: a few, drawn evenly over iterations and outcomes."""

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from visplay.errors import VisplayError
from visplay.health import is_right
from visplay.report.reading import Story

MOST_PICTURES = 48
MOST_QUESTIONS = 240
MOST_ANSWERS = 24
SIDE = 240  # pixels of a thumbnail's longer side
LoadImage = Callable[[str], Image.Image]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One of the answers that the votes gave; `answer` is None for those that could not be parsed."""

    answer: str | None
    share: float
    silver: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question as curation left it.

    Attributes:
        iteration: when it was asked.
        question: its text, or what stands for a malformed one.
        type: as the Questioner named it.
        ballots: the answers, most frequent first.
        votes: how many answers there were, or None where that is not stored.
        silver: the silver answer, or None.
        confidence: its share of all votes.
        outcome: "kept", or the reason against it.
        truth: the true answer, where known.
        judged: "true" or "false" for the silver answer, "unanswerable", or "" where the truth is unknown.
    """

    iteration: int
    question: str
    type: str
    ballots: list[Ballot]
    votes: int | None
    silver: str | None
    confidence: float
    outcome: str
    truth: str | None
    judged: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture (a data URI, or "" where it cannot be had) with the questions about it."""

    key: str
    source: str
    picture: str
    asked: list[Asked]


def choose_questions(story: Story) -> list[Shown]:
    """Draw candidates in turn from every iteration and outcome, on as few pictures as possible.

    So rare rejects are there to look at; the shares among the questions shown mean nothing.
    """
    buckets: dict[tuple[int, str], Iterator[dict[str, Any]]] = {}
    for iteration, rows in story.candidates.items():
        # Hashes order pictures at random, and the same in every bucket: pictures meet again.
        ordered = sorted(rows, key=lambda row: str(row["image_key"]))
        for outcome in dict.fromkeys(_outcome(row) for row in ordered):
            buckets[iteration, outcome] = iter([row for row in ordered if _outcome(row) == outcome])
    chosen: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    count = 0
    while buckets and count < MOST_QUESTIONS:
        for bucket in list(buckets):
            row = _next_on(buckets[bucket], chosen)
            if row is None:
                del buckets[bucket]
            elif count < MOST_QUESTIONS:
                chosen.setdefault(row["image_key"], []).append((bucket[0], row))
                count += 1
    return [
        Shown(
            key=key,
            source=story.sources.get(key, ""),
            picture="",
            asked=[_asked(row, iteration, story=story) for iteration, row in sorted(rows, key=_first)],
        )
        for key, rows in sorted(chosen.items())
    ]


def choose_answers(story: Story, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Rollouts of the Reasoner phases about pictures that are shown, rewarded and unrewarded in turn."""
    shown = set(keys)
    chosen: list[dict[str, Any]] = []
    for iteration, rows in story.answers.items():
        seen = [row | {"iteration": iteration} for row in rows if row["image_key"] in shown]
        half = MOST_ANSWERS // (2 * len(story.answers)) or 1
        paid, unpaid = [r for r in seen if r["reward"] > 0], [r for r in seen if r["reward"] <= 0]
        chosen += sorted(paid[:half] + unpaid[:half], key=lambda row: int(row["step"]))
    return chosen


def thumbnail(key: str, load_image: LoadImage | None) -> str:
    """A picture as a data URI, or "" where it cannot be loaded: a report must not fail for a lost picture."""
    if load_image is None:
        return ""
    try:
        picture = load_image(key).convert("RGB")
    except (VisplayError, OSError, KeyError, ValueError):
        return ""
    picture.thumbnail((SIDE, SIDE))
    lossless = picture.width * picture.height <= 128 * 128  # small drawings: no blur added by the report
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG" if lossless else "JPEG", **({} if lossless else {"quality": 80}))
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _first(pair: tuple[int, Any]) -> int:
    return pair[0]


def _next_on(rows: Iterator[dict[str, Any]], pictures: dict[str, Any]) -> dict[str, Any] | None:
    """The next row about a picture that is shown, or that there is room for."""
    for row in rows:
        if row["image_key"] in pictures or len(pictures) < MOST_PICTURES:
            return row
    return None


def _outcome(row: dict[str, Any]) -> str:
    return "kept" if row["kept"] else row.get("reject_reason") or "rejected"


def _asked(row: dict[str, Any], iteration: int, *, story: Story) -> Asked:
    known = story.curations.get(iteration, {}).get("answerable") is not None and row.get("question")
    judged = "unanswerable" if row.get("truth") is None else "true" if is_right(row) else "false"
    return Asked(
        iteration=iteration,
        question=row.get("question") or row.get("failure") or "(nothing that could be read as a question)",
        type=row.get("type") or "",
        ballots=_ballots(row),
        votes=row["samples"] if row.get("samples") else len(row["answers"]) if "shares" not in row else None,
        silver=row.get("silver_answer"),
        confidence=float(row.get("confidence") or 0.0),
        outcome=_outcome(row),
        truth=row.get("truth"),
        judged=judged if known else "",
    )


def _ballots(row: dict[str, Any]) -> list[Ballot]:
    """From distinct answers with their shares, or from one answer per vote; the rest is unparsed."""
    answers, shares = list(row.get("answers") or []), row.get("shares")
    if shares is None:
        counted = Counter(answers)
        pairs = [(answer, n / len(answers)) for answer, n in counted.most_common()]
    else:
        pairs = sorted(zip(answers, shares, strict=True), key=lambda pair: -pair[1])
        rest = 1 - sum(share for _, share in pairs)
        if row.get("samples") and row.get("parsed", row["samples"]) < row["samples"] and rest > 1e-9:
            pairs.append((None, rest))
    silver = row.get("silver_answer")
    return [Ballot(answer=a, share=s, silver=a is not None and a == silver) for a, s in pairs]
