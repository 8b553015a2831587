"""Health figures of a curation: label quality, answerability and diversity of the questions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import rewards
from rewards import Question
from visplay.evaluation.statistics import accuracy_interval
from visplay.loop.asking import JUDGED_INVALID, Asked

BINS = 10  # number of confidence bins


def question_health(
    candidates: Sequence[Asked], *, has_truth: bool, earlier: Sequence[str] = ()
) -> dict[str, Any]:
    """Compute figures over the candidates of one curation.

    Args:
        candidates: all candidates; rejected ones have a reason.
        has_truth: whether `truth` was looked up; otherwise the figures that need it are None.
        earlier: the questions of earlier iterations.

    Returns:
        Counts of questions that are asked, valid, answerable (the truth has an answer), distinct, repeated
        from earlier iterations in the same words, and kept. `redundancy` of the questions about one picture,
        in [0, 1], mean over pictures: 0 if each question is a separate cluster, 1 if all are in one. Reject
        reasons, and the histogram of confidence. The *true* accuracy of silver answers: of all kept ones (an
        unanswerable question counts as wrong), of the answerable kept ones, and of the rejected ones.
        Calibration: accuracy by confidence bin. `judge`, if a judge was used and truth is known: the share of
        answerable questions among the accepted ones (precision), and the reverse (recall).
    """
    valid = [(row, row.question) for row in candidates if isinstance(row.question, Question)]
    voted = [(row, row.vote) for row, _ in valid if row.vote is not None and row.vote.answer is not None]
    once = [(row, vote.confidence) for row, vote in voted if row.reject != "asked before"]
    texts = Counter(question.question for _, question in valid)
    before = set(earlier)
    histogram = Counter(_bin(confidence) for _, confidence in once)
    return {
        "questions": len(candidates),
        "valid": len(valid),
        "answerable": sum(row.truth is not None for row, _ in valid) if has_truth else None,
        "distinct": len(texts),
        "repeated": sum(question.question in before for _, question in valid),
        "redundancy": _redundancy(valid),
        "kept": sum(not row.reject for row in candidates),
        "types": dict(sorted(Counter(question.type for _, question in valid).items())),
        "rejects": dict(sorted(Counter(row.reject for row in candidates if row.reject).items())),
        "confidence_histogram": [[i / BINS, histogram[i]] for i in range(BINS)],
        "silver_accuracy": _silver_accuracy([row for row, _ in once]) if has_truth else None,
        "calibration": _calibration(once) if has_truth else None,
        "judge": _judge([row for row, _ in valid if row.validity is not None]) if has_truth else None,
    }


def _judge(judged: Sequence[Asked]) -> dict[str, Any] | None:
    passed = [row.reject != JUDGED_INVALID for row in judged]
    settled = [row.truth is not None for row in judged]
    precision = [yes for yes, through in zip(settled, passed, strict=True) if through]
    recall = [through for yes, through in zip(settled, passed, strict=True) if yes]
    if not judged:
        return None
    return {
        name: asdict(accuracy_interval(flags)) if flags else None
        for name, flags in (("precision", precision), ("recall", recall))
    }


def blind_answer_rate(kept: Sequence[Asked], blind: Sequence[rewards.Vote | None]) -> dict[str, Any] | None:
    """The share of questions that get their silver answer also without the picture; None without questions.

    Args:
        kept: questions with their votes.
        blind: votes on the same questions with the pictures greyed out.
    """
    same = [
        row.vote is not None
        and same_answer(row.vote.answer, unseeing.answer if unseeing else None, _asked(row))
        for row, unseeing in zip(kept, blind, strict=True)
    ]
    return asdict(accuracy_interval(same)) if same else None


def same_answer(one: str | None, other: str | None, asked: Question | None) -> bool:
    """Whether two answers to a question are equivalent; a missing answer equals no answer."""
    if one is None or other is None or asked is None:
        return False
    return rewards.equivalent(one, other, question=asked.question, options=asked.options or None).equal


def is_right(row: Asked) -> bool:
    """Whether a question's silver answer is the true one."""
    return row.vote is not None and same_answer(row.vote.answer, row.truth, _asked(row))


def _asked(row: Asked) -> Question | None:
    return row.question if isinstance(row.question, Question) else None


def _redundancy(valid: Sequence[tuple[Asked, Question]]) -> float | None:
    """(size of the largest cluster - 1) / (questions - 1), mean over pictures; None if none has two."""
    by_picture: dict[str, list[str]] = {}
    for row, question in valid:
        by_picture.setdefault(row.picture, []).append(question.question)
    shares = [
        (max(Counter(rewards.cluster_labels(texts)).values()) - 1) / (len(texts) - 1)
        for texts in by_picture.values()
        if len(texts) > 1
    ]
    return sum(shares) / len(shares) if shares else None


def _silver_accuracy(rows: Sequence[Asked]) -> dict[str, Any]:
    kept = [r for r in rows if not r.reject]
    groups = {
        "kept": kept,
        "kept_answerable": [r for r in kept if r.truth is not None],
        "rejected": [r for r in rows if r.reject],
    }
    return {
        name: asdict(accuracy_interval([is_right(r) for r in group])) if group else None
        for name, group in groups.items()
    }


def _calibration(rows: Sequence[tuple[Asked, float]]) -> list[dict[str, Any]]:
    bins: dict[int, list[tuple[Asked, float]]] = {}
    for row, confidence in rows:
        bins.setdefault(_bin(confidence), []).append((row, confidence))
    return [
        {
            "confidence": sum(confidence for _, confidence in group) / len(group),
            "n": len(group),
            "accuracy": sum(is_right(row) for row, _ in group) / len(group),
        }
        for _, group in sorted(bins.items())
    ]


def _bin(confidence: float) -> int:
    return min(BINS - 1, int(confidence * BINS + 1e-9))
