"""One completion of the Questioner as a row: from sampling to parquet to the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rewards
from rewards import ParseFailure, Question, Vote
from rollouts.engine import Completion

NOT_PARSED = ParseFailure(reason="not parsed")

JUDGED_INVALID = "judged invalid"  # the reject reason of what a judge did not let pass


@dataclass(slots=True, kw_only=True)
class Asked:
    """One completion of the Questioner, from sampling to parquet.

    Attributes:
        picture: key of the picture it is about.
        completion: the text as it was written.
        tokens: its length.
        cut: whether the length limit ended it.
        question: what it asks, or why it holds no question.
        vote: the Reasoner's votes on it.
        blind: the same with the picture greyed out.
        validity: of a judge, in [0, 1]; None where none was asked.
        truth: the oracle's answer; telemetry only.
        reject: why it is not trained on; empty where it may be.
        asked_by: `questioner`, or `base` for the untrained model.
    """

    picture: str
    completion: str = ""
    tokens: int = 0
    cut: bool = False
    question: Question | ParseFailure = NOT_PARSED
    vote: Vote | None = None
    blind: Vote | None = None
    validity: float | None = None
    truth: str | None = None
    reject: str = ""
    asked_by: str = "questioner"

    @classmethod
    def of(cls, picture: str, completion: Completion, *, asked_by: str = "questioner") -> "Asked":
        """The row of a completion that nothing has looked at yet."""
        return cls(
            picture=picture, completion=completion.text, tokens=len(completion.token_ids),
            cut=completion.finish_reason == "length", asked_by=asked_by,
        )  # fmt: skip

    @property
    def asks(self) -> Question | None:
        """The question, where it is well-formed and not rejected."""
        return self.question if isinstance(self.question, Question) and not self.reject else None

    def record(self) -> dict[str, Any]:
        """The row as `visplay.schema.ASKED` has it."""
        question = self.question if isinstance(self.question, Question) else None
        vote = self.vote
        options = question.options if question else ()
        asked = question.question if question else None
        agreement = (
            rewards.blind_agreement(vote, self.blind, question=asked, options=options)
            if vote and self.blind
            else None
        )
        return {
            "image_key": self.picture, "completion": self.completion, "tokens": self.tokens, "cut": self.cut,
            "asked_by": self.asked_by,
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
            "blind_agreement": agreement,
            "validity": self.validity, "truth": self.truth, "reject_reason": self.reject,
        }  # fmt: skip

    @classmethod
    def from_record(cls, row: dict[str, Any]) -> "Asked":
        """The row that `record` gave; of the blind votes only their agreement was kept."""
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
            truth=row["truth"], reject=row["reject_reason"], asked_by=row["asked_by"],
        )  # fmt: skip


Groups = list[list[Asked]]  # [P][G]


def same_answer(
    one: str | None, other: str | None, *, question: str | None = None, options: Sequence[str] = ()
) -> bool:
    """Whether two answers to a question with these options are one; a missing answer is like none."""
    return rewards.equivalent(one, other, question=question, options=options).equal
