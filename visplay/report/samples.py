"""Prepare what a report's browser shows: questions with their votes, rewards, attempts and pictures.

All rollouts of a run are shown if they fit into the page, else an even sample over their outcomes. Everything
here becomes JSON in the page; the page's script inserts it as text only.
"""

import base64
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

import rewards
from visplay.errors import VisplayError
from visplay.evaluation.verdict import finite
from visplay.report.reading import MOST_ROLLOUTS, RunData

MOST_TEXT = 24_000_000  # characters of all texts in a page
LONGEST_TEXT = 4_000  # characters of one text; the number of removed ones is shown
TRAINING, CURATION, ANSWERING = "questioner", "curation", "reasoner"  # the phase of a question
FILTERS = ("iteration", "phase", "type", "outcome", "judged", "paid", "answered")  # select one value each
MOST_PICTURES = 800
MOST_BYTES = 8_000_000  # of all encoded pictures of a page
SIDES = (960, 480, 240)  # pixels of a stored picture's longer side: the largest with which all fit
LARGE = 10_000  # bytes; a larger PNG of a small picture is encoded as JPEG
LoadImage = Callable[[str], Image.Image]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Browsable:
    """The questions of a page.

    Attributes:
        questions: one JSON-ready mapping per question, ordered by picture, iteration and step; see `_item`.
        pictures: keys of their pictures, those with most questions first.
        rollouts: number of questions and attempts in `questions`.
        all_rollouts: number of questions and attempts in the run.
    """

    questions: list[Row]
    pictures: list[str]
    rollouts: int
    all_rollouts: int


@dataclass(slots=True, kw_only=True)
class _Found:
    """A question of a run: its row, and the attempts at answering it."""

    iteration: int
    phase: str
    row: Row
    attempts: list[Row] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """Curation's decision; "" for a question that was only asked in training."""
        if self.phase != CURATION:
            return ""
        return "kept" if self.row["kept"] else self.row.get("reject_reason") or "rejected"


def browsable(
    run_data: RunData, *, most_rollouts: int = MOST_ROLLOUTS, most_text: int = MOST_TEXT
) -> Browsable:
    """Draw questions in turn from every iteration, phase and outcome until all are drawn or the page is full.

    Rare rejects are thus included even if not all questions fit. Shares among the drawn ones are then biased.
    """
    found = _found(run_data)
    buckets: dict[tuple[int, str, str], list[_Found]] = defaultdict(list)
    # Hashes give pictures one random order in all buckets, so the buckets share pictures.
    for one in sorted(found, key=lambda one: str(one.row["image_key"])):
        buckets[one.iteration, one.phase, one.outcome].append(one)
    chosen = list(_within_budget([iter(b) for b in buckets.values()], rollouts=most_rollouts, text=most_text))
    chosen.sort(key=lambda one: (str(one.row["image_key"]), one.iteration, one.phase != TRAINING))
    known = {
        i for i, figures in run_data.curations.items() if figures.get("answerable") is not None
    }  # iterations whose true answers were looked up
    verdicts: dict[tuple[Any, ...], str] = {}
    return Browsable(
        questions=[_item(one, has_truth=one.iteration in known, verdicts=verdicts) for one in chosen],
        pictures=[key for key, _ in Counter(one.row["image_key"] for one in chosen).most_common()],
        rollouts=sum(_rollouts(one) for one in chosen),
        all_rollouts=sum(_rollouts(one) for one in found) + run_data.left_out,
    )


def choices(questions: list[Row]) -> dict[str, list[str]]:
    """The values of each filter."""
    ordered = ("kept", TRAINING, CURATION, ANSWERING, "true", "false", "all", "some", "none", "above 0", "0")
    place: dict[Any, int] = {value: i for i, value in enumerate(ordered)}
    there = {name: {question.get(name) for question in questions} - {None} for name in FILTERS}
    return {
        name: [str(v) for v in sorted(values, key=lambda v: (place.get(v, len(place)), v))]
        for name, values in there.items()
    }


def _found(run_data: RunData) -> list[_Found]:
    found = [
        _Found(iteration=i, phase=phase, row=row)
        for phase, rows_of in ((TRAINING, run_data.asked), (CURATION, run_data.candidates))
        for i, rows in rows_of.items()
        for row in rows
    ]
    kept: dict[tuple[str, str], list[_Found]] = defaultdict(list)
    for one in found:
        if one.outcome == "kept":
            kept[one.row["image_key"], one.row["question"]].append(one)
    for i, rows in run_data.answers.items():
        for row in rows:
            asked = kept[row["image_key"], row["question"]]
            mine = next((one for one in reversed(asked) if one.iteration <= i), None)
            if mine is None:  # its curation is missing
                mine = _Found(iteration=i, phase=ANSWERING, row=row)
                asked.append(mine)
                found.append(mine)
            mine.attempts.append(row | {"iteration": i})
    return found


def _within_budget(buckets: list[Iterator[_Found]], *, rollouts: int, text: int) -> Iterator[_Found]:
    while buckets:
        for bucket in list(buckets):
            one = next(bucket, None)
            if one is None:
                buckets.remove(bucket)
                continue
            rollouts -= _rollouts(one)
            text -= sum(_length(row) for row in [one.row, *one.attempts])
            if rollouts < 0 or text < 0:
                return
            yield one


def _rollouts(one: _Found) -> int:
    return len(one.attempts) + (one.phase != ANSWERING)


def _length(row: Row) -> int:
    answers = sum(min(len(answer or ""), LONGEST_TEXT) for answer in row.get("answers") or [])
    return answers + sum(min(len(row.get(key) or ""), LONGEST_TEXT) for key in ("completion", "question"))


def _item(one: _Found, *, has_truth: bool, verdicts: dict[tuple[Any, ...], str]) -> Row:
    """A question as the page's script expects it; unknown fields are left out."""
    row = one.row
    voted = bool(row.get("samples"))
    reward = finite(row.get("reward")) if one.phase == TRAINING else None
    rewarded = sum((finite(attempt["reward"]) or 0) > 0 for attempt in one.attempts)
    attempts = [_attempt(attempt, iteration=one.iteration) for attempt in one.attempts]
    item = {
        "picture": row["image_key"],
        "iteration": one.iteration,
        "phase": one.phase,
        "step": row["step"] if one.phase == TRAINING else None,
        "question": cut(row.get("question") or ""),
        "failure": cut(row.get("failure") or ""),
        "type": row.get("type"),
        "ballots": ballots(row),
        "votes": row.get("samples"),
        "confidence": finite(row.get("confidence")) if voted else None,
        "silver": cut(row.get("silver_answer") or ""),
        "outcome": one.outcome,
        "judged": _judged(row, verdicts) if has_truth and row.get("question") and voted else None,
        "truth": cut(row.get("truth") or ""),
        "reward": reward,
        "paid": None if reward is None else "above 0" if reward > 0 else "below 0" if reward < 0 else "0",
        "parts": _parts(row) if one.phase == TRAINING else None,
        "completion": cut(row["completion"]) if one.phase == TRAINING else None,
        "attempts": attempts,
        "answered": ("all" if rewarded == len(attempts) else "some" if rewarded else "none")
        if attempts
        else None,
    }
    return {name: value for name, value in item.items() if value not in (None, "", [], {})}


def _attempt(row: Row, *, iteration: int) -> Row:
    """An answer in training; `iteration` is set if it differs from the question's."""
    attempt = {"step": row["step"], "reward": finite(row["reward"]), "text": cut(row["completion"])}
    another = {} if row["iteration"] == iteration else {"iteration": row["iteration"]}
    parts = _parts(row)
    return attempt | another | ({"parts": parts} if parts else {})


def _parts(row: Row) -> dict[str, float | None]:
    """The parts of a reward by name."""
    prefix, terms = "reward_", dict(row.get("reward_terms") or {})
    known = {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
    known.pop("terms", None)
    return {name: finite(value) for name, value in {**known, **terms}.items() if value is not None}


def cut(text: str) -> str:
    """Truncate a text to `LONGEST_TEXT` characters and append the number of removed ones."""
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]} \u2026 ({len(text) - LONGEST_TEXT} more characters)"


def ballots(row: Mapping[str, Any]) -> list[list[Any]]:
    """List answer, share and whether it is the silver answer, most frequent first; answer None: unparsed."""
    answers, shares = row.get("answers") or [], row.get("shares") or []
    pairs = sorted(zip(answers, shares, strict=True), key=lambda pair: -pair[1])
    rest = 1 - sum(shares)
    if row.get("samples") and row["parsed"] < row["samples"] and rest > 1e-9:
        pairs.append((None, rest))
    silver = row.get("silver_answer")
    return [
        [None if a is None else cut(a), finite(share), a is not None and a == silver] for a, share in pairs
    ]


def _judged(row: Row, verdicts: dict[tuple[Any, ...], str]) -> str:
    if row.get("truth") is None:
        return "unanswerable"
    options = tuple(row.get("options") or ())
    key = row["silver_answer"], row["truth"], row["question"], options
    if key not in verdicts:
        same = row["silver_answer"] is not None and rewards.equivalent(
            row["silver_answer"], row["truth"], question=row["question"], options=options or None
        )
        verdicts[key] = "true" if same and same.equal else "false"
    return verdicts[key]


def side_for(pictures: int) -> int:
    """The longer side of this number of pictures in pixels; fewer pictures are larger."""
    return next((side for side in SIDES if side * side * pictures <= 3 * MOST_BYTES), SIDES[-1])


def thumbnail(key: str, load_image: LoadImage | None, *, side: int = SIDES[-1]) -> str:
    """A picture as a data URI, or "" if it cannot be loaded: a missing picture must not fail a report."""
    if load_image is None:
        return ""
    try:
        picture = load_image(key).convert("RGB")
    except (VisplayError, OSError, KeyError, ValueError):
        return ""
    picture.thumbnail((side, side))
    small = picture.width * picture.height <= 128 * 128  # small drawings: no blur added by the report ...
    kind, data = "png", _encoded(picture, "PNG") if small else b""
    if not small or len(data) > LARGE:  # ... unless a lossless file of them is large, as of noise
        kind, data = "jpeg", _encoded(picture, "JPEG", quality=90 if small else 80)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


def thumbnails(
    keys: Sequence[str], load_image: LoadImage | None, *, made: dict[str, str],
    most: int = MOST_PICTURES, most_bytes: int = MOST_BYTES,
) -> dict[str, str]:  # fmt: skip
    """Thumbnails of the first pictures within the limits, by key.

    Args:
        keys: keys of pictures, the most important first.
        load_image: returns the picture of a key; None makes every thumbnail "".
        made: a cache of thumbnails by side and key; new ones are added to it.
        most: the largest number of pictures.
        most_bytes: the largest size of all thumbnails together.
    """
    found: dict[str, str] = {}
    room, side = most_bytes, side_for(min(len(keys), most))
    for key in keys[:most]:
        place = f"{side} {key}"
        made[place] = made.get(place) or thumbnail(key, load_image, side=side)
        room -= len(made[place])
        if room < 0:
            break
        found[key] = made[place]
    return found
