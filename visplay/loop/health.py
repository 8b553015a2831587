"""Is the method still healthy? Label quality, answerability and diversity of what was asked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import rewards
from visplay.evaluation.statistics import accuracy_interval

BINS = 10  # of confidence
MOST = (
    2048  # distinct questions that are clustered, of this iteration and of those before; memory grows as n^2
)


def question_health(
    candidates: Sequence[dict[str, Any]], *, has_truth: bool, earlier: Sequence[str] = ()
) -> dict[str, Any]:
    """Figures over the candidates of one curation.

    Args:
        candidates: rows of `candidates.parquet`.
        has_truth: whether `truth` was looked up; without it the figures that need it are None.
        earlier: the questions that earlier iterations asked.

    Returns:
        Counts of questions asked, valid, answerable (the truth has an answer), distinct, clusters among
        the distinct ones (`rewards.cluster_labels`), clusters that no earlier question falls into,
        valid ones that an earlier iteration asked in the same words, the most frequent question,
        and kept; `redundancy` of the questions about one picture, in [0, 1], mean over pictures: 0
        where each is a cluster of its own, 1 where all are one; reject reasons; the histogram of
        confidence; the *true* accuracy of silver answers, kept and rejected apart; calibration:
        accuracy by bin of confidence. An unanswerable question's silver answer is wrong.
    """
    valid = [row for row in candidates if row["valid"]]
    voted = [row for row in valid if row["silver_answer"] is not None]
    once = [row for row in voted if row["reject_reason"] != "asked before"]
    texts = Counter(row["question"] for row in valid)
    before = set(earlier)
    histogram = Counter(_bin(row["confidence"]) for row in once)
    return {
        "questions": len(candidates),
        "valid": len(valid),
        "answerable": sum(row["truth"] is not None for row in valid) if has_truth else None,
        "distinct": len(texts),
        **_clusters(list(texts), list(dict.fromkeys(earlier))),
        "repeated": sum(row["question"] in before for row in valid),
        "most_frequent": max(texts.values(), default=0),
        "redundancy": _redundancy(valid),
        "kept": sum(row["kept"] for row in candidates),
        "types": dict(sorted(Counter(row["type"] for row in valid).items())),
        "low_confidence": sum(row["confidence"] < 0.25 for row in once) / max(1, len(once)),
        "rejects": dict(
            sorted(Counter(r["reject_reason"] for r in candidates if r["reject_reason"]).items())
        ),
        "confidence_histogram": [[i / BINS, histogram[i]] for i in range(BINS)],
        "silver_accuracy": _silver_accuracy(once) if has_truth else None,
        "calibration": _calibration(once) if has_truth else None,
    }


def blind_answer_rate(
    votes: Sequence[rewards.Vote], blind: Sequence[rewards.Vote | None]
) -> dict[str, Any] | None:
    """How many questions get their silver answer without the picture, too; None where none was asked.

    Args:
        votes: on kept questions.
        blind: on the same questions with the pictures greyed out.
    """
    same = [
        unseeing is not None
        and unseeing.answer is not None
        and vote.answer is not None
        and rewards.equivalent(unseeing.answer, vote.answer).equal
        for vote, unseeing in zip(votes, blind, strict=True)
    ]
    return asdict(accuracy_interval(same)) if same else None


def calibration_error(bins: Sequence[dict[str, Any]]) -> float | None:
    """Expected calibration error of `question_health`'s bins (Guo et al. 2017, arXiv 1706.04599, Eq. 3)."""
    total = sum(b["n"] for b in bins)
    return sum(b["n"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / total if total else None


def is_right(row: dict[str, Any]) -> bool:
    """Whether a candidate's silver answer is the true one."""
    if row["truth"] is None or row["silver_answer"] is None:
        return False
    return rewards.equivalent(row["silver_answer"], row["truth"]).equal


def _clusters(texts: Sequence[str], earlier: Sequence[str]) -> dict[str, int]:
    """Clusters within the iteration, and those of them that are new, both among `MOST` distinct questions."""
    now, before = list(texts)[:MOST], set(list(earlier)[-MOST:])
    joined = sorted(before | set(now))
    label = dict(zip(joined, rewards.cluster_labels(joined), strict=True))
    new = {label[text] for text in now} - {label[text] for text in before}
    return {"clusters": len(set(rewards.cluster_labels(now))), "new_clusters": len(new)}


def _redundancy(valid: Sequence[dict[str, Any]]) -> float | None:
    """(size of the largest cluster - 1) / (questions - 1), mean over pictures; None where none has two."""
    by_picture: dict[str, list[str]] = {}
    for row in valid:
        by_picture.setdefault(row["image_key"], []).append(row["question"])
    shares = [
        (max(Counter(rewards.cluster_labels(texts)).values()) - 1) / (len(texts) - 1)
        for texts in by_picture.values()
        if len(texts) > 1
    ]
    return sum(shares) / len(shares) if shares else None


def _silver_accuracy(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    groups = {"kept": [r for r in rows if r["kept"]], "rejected": [r for r in rows if not r["kept"]]}
    return {
        name: asdict(accuracy_interval([is_right(r) for r in group])) if group else None
        for name, group in groups.items()
    }


def _calibration(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    bins: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        bins.setdefault(_bin(row["confidence"]), []).append(row)
    return [
        {
            "confidence": sum(r["confidence"] for r in group) / len(group),
            "n": len(group),
            "accuracy": sum(is_right(r) for r in group) / len(group),
        }
        for _, group in sorted(bins.items())
    ]


def _bin(confidence: float) -> int:
    return min(BINS - 1, int(confidence * BINS + 1e-9))
