"""The judge against a real server on the loopback: grades, retries, failures, resuming."""

from pathlib import Path
from typing import Any

import pytest

from tests.visplay.evaluation.endpoint import serving
from visplay.errors import EvaluationError
from visplay.evaluation.judge import Judge, judge_prompt, judge_records, read_score
from visplay.evaluation.records import Record, scored


def sample(item: str, output: str, *, rule: str = "judge", gold: str = "-1<AND>-5", **values: Any) -> Record:
    options = {"options": ["cat", "dog"]} if rule == "choice" else {}
    return scored(
        {
            "item": item, "benchmark": "mm_vet", "sample": 0, "generation": item, "cluster": item, "kind": "",
            "groups": {}, "question": f"question {item}?", "finish": "stop", "tokens": 3,
            "gold": {"rule": rule, "answers": [gold], **options}, "output": output, **values,
        }
    )  # fmt: skip


def judge(url: str, **values: Any) -> Judge:
    return Judge(url=url, model="grader", wait=0.01, **{"attempts": 3, **values})


def test_it_is_asked_at_temperature_0_with_question_and_both_answers(tmp_path: Path) -> None:
    with serving(lambda n, body: (200, "Half is there.\nscore: 0.5")) as endpoint:
        records = judge_records(
            judge(endpoint.url, key="secret"), [sample("a", "I say \\boxed{-1}")], store=tmp_path / "j.jsonl"
        )
    body = endpoint.bodies[0]
    assert (body["temperature"], body["model"]) == (0, "grader")
    shown = body["messages"][0]["content"]
    assert all(
        text in shown for text in ("question a?", "-1<AND>-5", "Answer to grade:\n-1\n", "0 (wrong) to 1")
    )
    assert endpoint.keys == ["Bearer secret"]
    assert (records[0]["status"], records[0]["score"], records[0]["judge"]) == ("ok", 0.5, 0.5)
    assert "secret" not in repr(judge("http://x", key="secret"))
    assert "secret" not in (tmp_path / "j.jsonl").read_text()


def test_options_are_shown() -> None:
    shown = judge_prompt(sample("a", "\\boxed{a dog}", rule="choice", gold="B"))
    assert "Options:\nA. cat\nB. dog" in shown


@pytest.mark.parametrize("status", [500, 429, 503, 0])
def test_a_call_that_fails_is_made_again(tmp_path: Path, status: int) -> None:
    with serving(lambda n, body: (status, "busy") if n < 3 else (200, "score: 1")) as endpoint:
        records = judge_records(judge(endpoint.url), [sample("a", "-1 and -5")], store=tmp_path / "j.jsonl")
    assert len(endpoint.bodies) == 3 and records[0]["score"] == 1.0


@pytest.mark.parametrize(
    ("status", "text"), [(500, "down"), (200, "I like it"), (200, "score: 7"), (200, ""), (200, "score: -1")]
)
def test_a_failed_call_is_never_a_verdict(tmp_path: Path, status: int, text: str) -> None:
    store = tmp_path / "j.jsonl"
    with serving(lambda n, body: (status, text)) as endpoint:
        records = judge_records(judge(endpoint.url), [sample("a", "-1 and -5")], store=store)
    assert (records[0]["status"], records[0]["score"], records[0]["judge"]) == ("judge_error", None, None)
    with serving(lambda n, body: (200, "score: 1")) as endpoint:  # and it is asked again next time
        again = judge_records(judge(endpoint.url), records, store=store)
    assert again[0]["score"] == 1.0


def test_a_refusal_stops_it_and_says_what_to_check(tmp_path: Path) -> None:
    with (
        serving(lambda n, body: (401, "no")) as endpoint,
        pytest.raises(EvaluationError, match="HTTP 401; check --judge, --judge-model and the key"),
    ):
        judge_records(judge(endpoint.url), [sample("a", "x")], store=tmp_path / "j.jsonl")


def test_it_goes_on_where_it_was_and_asks_nothing_twice(tmp_path: Path) -> None:
    records = [sample(str(i), f"answer {i}") for i in range(6)] + [sample("0", "answer 0")]
    store = tmp_path / "j.jsonl"
    with serving(lambda n, body: (200, "score: 1") if n <= 3 else (500, "down")) as endpoint:
        first = judge_records(judge(endpoint.url, attempts=1), records, store=store)
    assert sum(record["status"] == "judge_error" for record in first) >= 3
    with serving(lambda n, body: (200, "score: 1")) as endpoint:
        second = judge_records(judge(endpoint.url), records, store=store)
        assert len(endpoint.bodies) == 3  # six distinct questions, three answered before
        judge_records(judge(endpoint.url), records, store=store)
        assert len(endpoint.bodies) == 3
    assert {record["score"] for record in second} == {1.0}


def test_what_needs_no_judge_is_not_sent(tmp_path: Path) -> None:
    records = [
        sample("a", ""), sample("b", "cut of", finish="length"),
        sample("c", "\\boxed{B}", rule="choice", gold="B"),
        sample("d", "\\boxed{x}", rule="open", gold="y"),
    ]  # fmt: skip
    with serving(lambda n, body: (200, "score: 1")) as endpoint:
        judged = judge_records(judge(endpoint.url), records, store=tmp_path / "j.jsonl")
    assert endpoint.bodies == [] and judged == records
    assert [record["status"] for record in judged] == ["unparsed", "truncated", "ok", "ok"]


def test_scores_are_read_from_the_last_line_that_gives_one() -> None:
    assert read_score("score: 0.2 at first\n**Score:** 0.8") == 0.8
    assert read_score("score = 1") == 1.0
    assert read_score("score: 7/10") is None and read_score("score: 1 / 10") is None
    assert read_score("ten out of ten") is None and read_score("score: 10") is None


@pytest.mark.parametrize(
    "reply",
    ["score: 1 out of 10", "score: 1 of 5 points", "score: 0,5", "score: 3/5", "score: 60 %", "score: 7"],
)
def test_a_grade_on_another_scale_is_none(reply: str) -> None:
    assert read_score(reply) is None
    assert read_score("score: 0\nscore: **0.5**.") == 0.5
