"""Asking and storing: interrupted anywhere, failed engines, other models, controls, figures by hand."""

import contextlib
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rewards
from rollouts.engine import AdapterVersion, EngineUnavailable, Prompt, Sampling
from tests.visplay.evaluation.asked import answer, items, reasoner
from tests.visplay.evaluation.spec_rows import ROWS
from visplay.errors import AdapterMismatch, EngineError, EvaluationError
from visplay.evaluation.items import open_rows, read_item
from visplay.evaluation.metrics import chance, figures_of, hallusion, majority_class, sampled_figures, vote_of
from visplay.evaluation.prompts import blinded
from visplay.evaluation.records import read_records
from visplay.evaluation.sampling import evaluate_items
from visplay.evaluation.spec import Source, find_spec
from visplay.storage import append_jsonl

GREEDY = Sampling(temperature=0, max_tokens=100)


def test_interrupted_at_ten_random_moments_it_writes_the_same_file(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    evaluate_items(reasoner(), items(120), benchmark="b", sampling=Sampling(n=2, seed=3), path=whole)
    rng = random.Random(5)
    for _ in range(10):
        left = [rng.randrange(1, 40)]

        def until(prompt: Prompt, *others: Any, left: list[int] = left) -> Sequence[str]:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            return answer(prompt, *others)

        with contextlib.suppress(KeyboardInterrupt):
            evaluate_items(
                reasoner(until), items(120), benchmark="b", sampling=Sampling(n=2, seed=3), path=cut
            )
        with cut.with_suffix(".answers").open("ab") as file:
            file.write(b'{"item": "half a li')  # as a kill in the middle of a write would leave it
    evaluate_items(reasoner(), items(120), benchmark="b", sampling=Sampling(n=2, seed=3), path=cut)
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("lost", [1, 7, 40, 200, 1500])
def test_answers_cut_anywhere_are_completed_to_the_same(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "g.jsonl"
    evaluate_items(reasoner(), items(20), benchmark="b", sampling=GREEDY, path=path)
    whole, store = path.read_bytes(), path.with_suffix(".answers")
    store.write_bytes(store.read_bytes()[:-lost])
    path.unlink()
    evaluate_items(reasoner(), items(20), benchmark="b", sampling=GREEDY, path=path)
    assert path.read_bytes() == whole


def test_damaged_samples_are_said_and_asked_again(tmp_path: Path) -> None:
    path, said = tmp_path / "g.jsonl", list[str]()
    evaluate_items(reasoner(), items(20), benchmark="b", sampling=GREEDY, path=path)
    whole, store = path.read_bytes(), path.with_suffix(".answers")
    damaged = bytearray(store.read_bytes())
    damaged[damaged.index(b"line one")] ^= 1  # still JSON, another output
    damaged[damaged.rindex(b'"output"')] ^= 1  # no JSON any more
    store.write_bytes(damaged)
    evaluate_items(reasoner(), items(20), benchmark="b", sampling=GREEDY, path=path, say=said.append)
    assert path.read_bytes() == whole
    assert said == [f"{store}: 2 damaged samples are asked again"]


def test_nothing_stored_is_asked_again_lost_or_taken_for_another_models(tmp_path: Path) -> None:
    """Fewer items and other settings in between cost no stored answer."""
    path = tmp_path / "g.jsonl"

    def calls(count: int = 20, *, digest: str = "m", tokens: int = 100) -> int:
        asked = reasoner(digest=digest)
        sampling = Sampling(temperature=0, max_tokens=tokens)
        evaluate_items(asked, items(count), benchmark="b", sampling=sampling, path=path)
        return len(asked.engine.calls)

    asked = [calls(), calls(), calls(digest="other"), calls(digest="other"), calls(tokens=99)]
    assert asked == [3, 0, 3, 0, 3]
    assert [calls(8), len(list(read_records(path)))] == [0, 8]
    assert [calls(), calls(digest="other"), calls(tokens=99)] == [0, 0, 0]


def test_keys_tell_every_cause_apart(tmp_path: Path) -> None:
    def keys(sampling: Sampling = GREEDY, digest: str = "m") -> set[str]:
        records = evaluate_items(
            reasoner(digest=digest), items(4), benchmark="b", sampling=sampling, path=tmp_path / "g.jsonl"
        )
        return {record["key"] for record in records}

    several = [keys(), keys(digest="n"), keys(Sampling(temperature=0, max_tokens=9)), keys(Sampling(n=2))]
    assert [len(own) for own in several] == [4, 4, 4, 8]
    assert len(set.union(*several)) == 20


def failing(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
    if prompt.key in ("q3", "q11"):
        raise RuntimeError("server lost")
    return answer(prompt, adapter, sampling)


def test_a_failure_of_the_engine_is_no_wrong_answer(tmp_path: Path) -> None:
    path = tmp_path / "g.jsonl"
    records = evaluate_items(reasoner(failing), items(40), benchmark="b", sampling=GREEDY, path=path)
    failed = [record for record in records if record["status"] == "engine_error"]
    assert [record["item"] for record in failed] == ["q3", "q11"]
    assert failed[0]["error"] == "RuntimeError: server lost" and failed[0]["score"] is None
    figures = figures_of(records)
    assert figures["headline"] is None and figures["coverage"] == 0.95
    assert figures["withheld"] == "2 engine_error of 40; 99% of the rows must count"
    mended = reasoner()
    records = evaluate_items(mended, items(40), benchmark="b", sampling=GREEDY, path=path)
    assert len(mended.engine.calls) == 2  # the two chunks they were in
    assert figures_of(records)["headline"] is not None


def test_an_engine_that_fails_on_everything_is_said_at_once(tmp_path: Path) -> None:
    def broken(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        raise RuntimeError("no device")

    with pytest.raises(EngineError, match="on each of 8 prompts; the last one: RuntimeError: no device"):
        evaluate_items(reasoner(broken), items(8), benchmark="b", sampling=GREEDY, path=tmp_path / "g.jsonl")


def test_other_weights_than_asked_for_stop_it(tmp_path: Path) -> None:
    class Liar:
        def generate(self, prompts: object, *, adapter: object, sampling: Sampling) -> object:
            honest = reasoner().engine.generate(list(prompts), adapter=STALE, sampling=sampling)
            return honest

    STALE = AdapterVersion(name="base", version=7)
    lying = reasoner()
    object.__setattr__(lying, "engine", Liar())
    with pytest.raises(AdapterMismatch):
        evaluate_items(lying, items(8), benchmark="b", sampling=GREEDY, path=tmp_path / "g.jsonl")


def test_lines_that_are_not_ours_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(EvaluationError, match="line 1: not a stored sample"):
        list(read_records(tmp_path / "x.jsonl"))
    append_jsonl(tmp_path / "y.jsonl", {"item": "\ud800 \u2028", "benchmark": "b"})
    assert next(read_records(tmp_path / "y.jsonl"))["item"] == "\ud800 \u2028"


def test_a_blind_item_has_grey_pictures() -> None:
    blind = blinded(items(12))
    assert all(item.images()[0].getpixel((0, 0)) == (128, 128, 128) for item in blind)


def record(item: str, *, score: float | None, status: str = "ok", **values: object) -> dict[str, object]:
    return {
        "item": item, "benchmark": "b", "sample": 0, "cluster": item, "kind": "k", "groups": {}, "tokens": 4,
        "gold": {"rule": "text", "answers": ["x"]}, "finish": "stop", "status": status, "score": score,
        "correct": score is not None and score >= 0.5, "answer": "x", **values,
    }  # fmt: skip


def test_an_engine_that_answers_no_more_is_not_asked_item_by_item(tmp_path: Path) -> None:
    def lost(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        raise EngineUnavailable("no server answers")

    asked = reasoner(lost)
    with pytest.raises(EngineUnavailable):
        evaluate_items(asked, items(20), benchmark="b", sampling=GREEDY, path=tmp_path / "g.jsonl")
    assert len(asked.engine.calls) <= 1


def test_figures_by_hand() -> None:
    rows = [record(str(i), score=float(i < 6)) for i in range(8)]
    rows += [
        record("8", score=0.0, status="unparsed"),
        record("9", score=0.0, status="truncated", finish="length"),
    ]
    figures = figures_of(rows)
    assert (figures["n"], figures["coverage"], figures["headline"]) == (10, 1.0, 0.6)
    assert (figures["parse_rate"], figures["truncation_rate"]) == (0.8, 0.1)
    assert figures["accuracy_given_parsed"] == 0.75
    assert figures["statuses"] == {"ok": 8, "truncated": 1, "unparsed": 1}
    many = [record(str(i), score=1.0) for i in range(99)] + [record("x", score=None, status="judge_error")]
    assert figures_of(many)["headline"] == 1.0  # 99 % is enough, and the failed row is in no denominator
    more = [*many, record("y", score=None, status="judge_error")]
    assert figures_of(more)["headline"] is None and "2 judge_error of 101" in figures_of(more)["withheld"]


def test_majority_class_and_chance_by_hand() -> None:
    golds = [{"rule": "choice", "answers": [a], "options": ["p", "q", "r"][:n]} for a, n in
             (("A", 3), ("A", 3), ("B", 2), ("A", 2))]  # fmt: skip
    rows = [record(str(i), score=1.0, gold=gold) for i, gold in enumerate(golds)]
    assert majority_class(rows) == 0.75
    assert chance(rows) == pytest.approx((2 / 3 + 1) / 4)
    assert chance([record("a", score=1.0)]) is None


def test_hallusionbench_by_hand() -> None:
    # Two questions on figure 1, the same two on figure 2; one of the four answers is wrong.
    def row(figure: int, question: int, right: bool, category: str = "VD") -> dict[str, object]:
        groups = {"category": category, "subcategory": "s", "set_id": "0", "figure_id": str(figure),
                  "question_id": str(question)}  # fmt: skip
        return record(f"{figure}{question}", score=float(right), groups=groups)

    rows = [row(1, 0, True), row(1, 1, True), row(2, 0, True), row(2, 1, False)]
    assert hallusion(rows) == {"aAcc": 0.75, "fAcc": 0.5, "qAcc": 0.5, "mean": pytest.approx(1.75 / 3)}
    # A question without a figure counts among questions, and not among figures.
    assert hallusion([*rows, row(0, 0, True, "VS")])["fAcc"] == 0.5
    assert figures_of(rows, headline="hallusion")["headline"] == pytest.approx(1.75 / 3)


def test_sampled_figures_by_hand() -> None:
    def sample(item: str, number: int, said: str | None) -> dict[str, object]:
        return record(item, score=float(said in ("x", "X")), sample=number, answer=said)

    rows = [sample("a", i, said) for i, said in enumerate(["y", "x", "X", None])]
    rows += [sample("b", i, said) for i, said in enumerate(["y", "y", "x", "y"])]
    figures = sampled_figures(rows)
    value = {key: found["value"] for key, found in figures.items() if isinstance(found, dict)}
    assert value["avg@4"] == 3 / 8 == value["pass@1"]
    assert value["pass@2"] == pytest.approx((1 - 1 / 6 + 1 - 3 / 6) / 2)
    assert (value["pass@4"], value["maj@1"], value["maj@2"], value["maj@4"]) == (1.0, 0.0, 0.0, 0.5)


def test_the_vote_is_the_one_of_training() -> None:
    """Spellings of one answer count together; the gold is 50."""
    gold = {"rule": "text", "answers": ["50"]}
    rows = [
        record("a", score=float(rewards.equivalent(said, "50").equal), sample=i, answer=said, gold=gold)
        for i, said in enumerate(["0.5", "50", "50.0", "50"])
    ]
    figures = sampled_figures(rows)
    assert (figures["maj@4"]["value"], figures["maj@1"]["value"]) == (1.0, 0.0)
    vote, right = vote_of(rows)
    assert (vote.answer, vote.confidence, right) == ("50", 0.75, True)
    nothing = [record("a", score=0.0, sample=i, answer=None, status="unparsed") for i in range(2)]
    assert vote_of(nothing)[1] is False


def test_mathverse_is_reported_by_version_and_clustered_by_problem(tmp_path: Path) -> None:
    spec = find_spec("mathverse")
    rows = open_rows(Source(items=[row for row, *_ in ROWS["mathverse"]]), shown="mathverse")
    some = [read_item(spec, rows, number) for number in range(3)]

    def right(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        return ["\\boxed{" + ("A" if prompt.key == "1" else "no idea") + "}"]

    records = evaluate_items(
        reasoner(right), some, benchmark="mathverse", sampling=GREEDY, path=tmp_path / "g"
    )
    figures = figures_of(records)
    versions = figures["groups"]["version"]
    assert (versions["Text Dominant"]["value"], versions["Text Dominant"]["n"]) == (1.0, 1)
    assert (versions["Vision Only"]["value"], versions["Vision Only"]["n"]) == (0.0, 1)
    assert versions["Vision Only"]["low"] == 0.0 < versions["Vision Only"]["high"] < 1.0
    assert {r["cluster"] for r in records} == {"1"} and [len(r["pictures"]) for r in records] == [1, 0, 1]
    assert json.loads((tmp_path / "g").read_text().splitlines()[1])["prompt"].startswith("A triangle")


def test_two_items_of_one_prompt_keep_samples_of_their_own(tmp_path: Path) -> None:
    """Also where they are read again from what is stored."""
    twins = [replace(items(1)[0], key=key) for key in ("first", "second")]
    said = iter(range(100))

    def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        return [f"\\boxed{{{next(said)}}}" for _ in range(sampling.n)]

    def outputs() -> list[str]:
        records = evaluate_items(
            reasoner(script), twins, benchmark="b", sampling=Sampling(n=3, seed=1), path=tmp_path / "s.jsonl"
        )
        return [record["output"] for record in records]

    drawn = outputs()
    assert len(set(drawn)) == 6
    assert outputs() == drawn and next(said) == 6
