"""Early signs: what became of each of the probe's questions since the base and the measurement before.

A majority that has settled on a wrong answer pays for it from then on, and the accuracy of all questions
together shows it late. Per question it is seen earlier (arXiv 2605.19444): more are corrupted than learned,
and ever fewer majorities still change.
"""

from dataclasses import dataclass
from pathlib import Path

import rewards
from visplay.evaluation.metrics import samples_by_item, vote_of
from visplay.evaluation.records import SAMPLED, read_records
from visplay.loop.rows import same_answer
from visplay.runs.results import read_summaries

SIGNS = ("flips", "learned", "sharpened", "corrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """The Reasoner's votes on one labelled question.

    Attributes:
        question: its text.
        options: its options, if any.
        vote: of its samples.
        right: whether the majority answer is.
    """

    question: str
    options: tuple[str, ...]
    vote: rewards.Vote
    right: bool


def early_signs(run: Path, iteration: int, *, probe: str | None = None) -> dict[str, float | None]:
    """Shares of the probe's questions, in [0, 1]; None where majorities were not measured at both ends.

    `flips`: another majority answer than at the measurement before (the flip rate of arXiv 2605.19444, by
    iteration). Against the base: `learned`, whose majority was wrong and is right; `sharpened`, right before
    and now with more votes; `corrupted`, right before and now wrong.

    Args:
        run: folder of the run.
        iteration: a measured one, or 0, of which nothing is known.
        probe: id of the benchmark, see `health.probe`; None takes the first.
    """
    signs: dict[str, float | None] = dict.fromkeys(SIGNS)
    measured = sorted(i for i in read_summaries(run) if i <= iteration)
    if iteration not in measured or len(measured) < 2:
        return signs
    now, base, last = (probe_votes(run, i, probe=probe) for i in (iteration, measured[0], measured[-2]))
    known = [key for key in now if key in base and key in last]
    if not known:
        return signs

    def share(flags: list[bool]) -> float:
        return sum(flags) / len(known)

    moves = [(base[key], now[key]) for key in known]
    return {
        "flips": share([_flipped(last[key], now[key]) for key in known]),
        "learned": share([not was.right and is_.right for was, is_ in moves]),
        "sharpened": share(
            [was.right and is_.right and is_.vote.confidence > was.vote.confidence for was, is_ in moves]
        ),
        "corrupted": share([was.right and not is_.right for was, is_ in moves]),
    }


def probe_votes(run: Path, iteration: int, *, probe: str | None = None) -> dict[str, Ballot]:
    """By item, the votes on the probe that an iteration has left; empty where it has no samples."""
    summary = read_summaries(run).get(iteration)
    if not summary:
        return {}
    folder = run / f"iteration-{iteration}" / "evaluation" / (probe or next(iter(summary)))
    samples = folder / f"{SAMPLED}.jsonl"
    if not samples.is_file():
        return {}
    found = {}
    for own in samples_by_item(read_records(samples)):
        vote, right = vote_of(own)
        first = own[0]
        found[first["item"]] = Ballot(
            question=first["question"], options=tuple(first["gold"].get("options") or ()), vote=vote,
            right=right,
        )  # fmt: skip
    return found


def _flipped(before: Ballot, now: Ballot) -> bool:
    if before.vote.answer is None and now.vote.answer is None:
        return False
    return not same_answer(before.vote.answer, now.vote.answer, options=now.options)
