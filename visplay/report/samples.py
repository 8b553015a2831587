"""What the browser of a report shows: questions with their votes, rewards, attempts and pictures.

All rollouts of a run are shown as long as there is room, and an even draw over what happened where there is
not. Everything here becomes JSON in the page, of which its script makes text and nothing else.
"""

import base64
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

import rewards
from visplay.errors import VisplayError
from visplay.evaluation.verdict import finite
from visplay.report.reading import MOST_ROLLOUTS, RunData

MOST_TEXT = 24_000_000  # characters of all texts in a page
LONGEST_TEXT = 4_000  # characters of one text; what is cut is counted
TRAINING, CURATION, ANSWERING = "questioner", "curation", "reasoner"  # where a question was met
FILTERS = ("iteration", "phase", "type", "outcome", "judged", "paid", "answered")  # by one value of many
MOST_PICTURES = 800
MOST_BYTES = 8_000_000  # of all pictures of a page, as they stand in it
SIDE = 240  # pixels of a thumbnail's longer side
LARGE = 10_000  # bytes of a small drawing
LoadImage = Callable[[str], Image.Image]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Browsable:
    """The questions of a page.

    Attributes:
        questions: one JSON-ready mapping each, in the order of pictures, iterations and steps; see `_item`.
        pictures: keys of their pictures, those with most questions first.
        rollouts: how many questions and attempts are in them.
        all_rollouts: how many the run has.
    """

    questions: list[Row]
    pictures: list[str]
    rollouts: int
    all_rollouts: int


@dataclass(slots=True, kw_only=True)
class _Found:
    """A question as it lies in a run: its row, and the attempts at answering it."""

    iteration: int
    phase: str
    row: Row
    attempts: list[Row] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """What curation decided; "" for a question that was only asked in training."""
        if self.phase != CURATION:
            return ""
        return "kept" if self.row["kept"] else self.row.get("reject_reason") or "rejected"


def browsable(
    run_data: RunData, *, most_rollouts: int = MOST_ROLLOUTS, most_text: int = MOST_TEXT
) -> Browsable:
    """Draw questions in turn from every iteration, phase and outcome, until all are in or there is no room.

    So rare rejects are there to look at even where not all fit; then the shares among them mean nothing.
    """
    found = _found(run_data)
    buckets: dict[tuple[int, str, str], list[_Found]] = defaultdict(list)
    # Hashes order pictures at random, and the same in every bucket: pictures meet again.
    for one in sorted(found, key=lambda one: str(one.row["image_key"])):
        buckets[one.iteration, one.phase, one.outcome].append(one)
    chosen = list(_within_budget([iter(b) for b in buckets.values()], rollouts=most_rollouts, text=most_text))
    chosen.sort(key=lambda one: (str(one.row["image_key"]), one.iteration, one.phase != TRAINING))
    known = {
        i for i, figures in run_data.curations.items() if figures.get("answerable") is not None
    }  # iterations whose truth was looked up
    verdicts: dict[tuple[Any, ...], str] = {}
    return Browsable(
        questions=[_item(one, has_truth=one.iteration in known, verdicts=verdicts) for one in chosen],
        pictures=[key for key, _ in Counter(one.row["image_key"] for one in chosen).most_common()],
        rollouts=sum(_rollouts(one) for one in chosen),
        all_rollouts=sum(_rollouts(one) for one in found) + run_data.left_out,
    )


def choices(questions: list[Row]) -> dict[str, list[str]]:
    """The values that the questions can be filtered by."""
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
            if mine is None:  # its curation is lost
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
    """A question for the page's script; what is not known of it is left out."""
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
    """An answer in training; its iteration where it is not that of the question."""
    attempt = {"step": row["step"], "reward": finite(row["reward"]), "text": cut(row["completion"])}
    another = {} if row["iteration"] == iteration else {"iteration": row["iteration"]}
    parts = _parts(row)
    return attempt | another | ({"parts": parts} if parts else {})


def _parts(row: Row) -> dict[str, float | None]:
    """What a reward is made of, by the names of its parts."""
    prefix, terms = "reward_", dict(row.get("reward_terms") or {})
    known = {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
    known.pop("terms", None)
    return {name: finite(value) for name, value in {**known, **terms}.items() if value is not None}


def cut(text: str) -> str:
    """A text of at most `LONGEST_TEXT` characters that says how many were left out."""
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]} \u2026 ({len(text) - LONGEST_TEXT} more characters)"


def ballots(row: Mapping[str, Any]) -> list[list[Any]]:
    """Answer, share and whether it is the silver answer, most frequent first; answer None: not readable."""
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


def thumbnail(key: str, load_image: LoadImage | None) -> str:
    """A picture as a data URI, or "" where it cannot be loaded: a report must not fail for a lost picture."""
    if load_image is None:
        return ""
    try:
        picture = load_image(key).convert("RGB")
    except (VisplayError, OSError, KeyError, ValueError):
        return ""
    picture.thumbnail((SIDE, SIDE))
    small = picture.width * picture.height <= 128 * 128  # small drawings: no blur added by the report ...
    kind, data = "png", _encoded(picture, "PNG") if small else b""
    if not small or len(data) > LARGE:  # ... unless they are noise, of which a lossless file is large
        kind, data = "jpeg", _encoded(picture, "JPEG", quality=90 if small else 80)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


def thumbnails(
    keys: Iterable[str], load_image: LoadImage | None, *, made: dict[str, str],
    most: int = MOST_PICTURES, most_bytes: int = MOST_BYTES,
) -> dict[str, str]:  # fmt: skip
    """The first pictures that there is room for, by key; those that there is no room for are left out.

    Args:
        keys: the most wanted first.
        load_image: gives the picture of a key; None leaves every picture "".
        made: thumbnails of earlier calls, taken from there and added to.
        most: pictures.
        most_bytes: of all of them.
    """
    found: dict[str, str] = {}
    room = most_bytes
    for key in keys:
        if len(found) == most:
            break
        made[key] = made.get(key) or thumbnail(key, load_image)
        room -= len(made[key])
        if room < 0:
            break
        found[key] = made[key]
    return found
