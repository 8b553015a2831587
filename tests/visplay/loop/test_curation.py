"""Curation and voting with a scripted engine: every number by hand."""

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

import rewards
from rewards import ParseFailure, Question
from rollouts.engine import AdapterVersion, Completion, Prompt, Sampling
from tests.scripted_engine import ScriptedEngine
from tests.visplay.contexts import context
from visplay.config.loading import Config, check_config
from visplay.errors import AdapterMismatch
from visplay.loop.asking import Asked, Round, judge, parse, vote
from visplay.loop.context import RunContext
from visplay.loop.curation import _in_order, band, curate
from visplay.loop.health import question_health
from visplay.loop.reasoner import read_examples
from visplay.schema import ASKED, CANDIDATES

ADAPTER = AdapterVersion(name="shared", version=0)
ROLES = {"questioner": ADAPTER, "reasoner": ADAPTER}


def ask(kind: str, text: str) -> str:
    return f"<type>{kind}</type><question>{text}</question><answer>?</answer>"


# What the Questioner writes about each picture, and how the Reasoner answers each question, four times.
QUESTIONS = [ask("numerical", "easy"), ask("numerical", "fair"), ask("numerical", "fair"), "nonsense"]
ANSWERS = {"easy": ["2", "2", "2", "2"], "fair": ["3", "4", "3", None], "hard": ["1", "2", "3", "4"]}


def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
    text = prompt.messages[0]["content"][1]["text"]
    if "ask one question" in text:
        return QUESTIONS[: sampling.n]
    answers = ANSWERS[text.split("\n")[0]][: sampling.n]
    return ["no box" if answer is None else f"so \\boxed{{{answer}}}" for answer in answers]


def settled(tmp_path: Path, **curation_values: object) -> Config:
    folder = tmp_path / "pictures"
    folder.mkdir(exist_ok=True)
    for shade in (10, 20, 30):
        Image.new("RGB", (8, 8), (shade, shade, shade)).save(folder / f"{shade}.png")
    return check_config(
        {
            "images": {"source": str(folder)},
            "output": str(tmp_path / "runs"),
            "votes": {"samples": 4},
            "curation": {"questions_per_image": 4, **curation_values},
        }
    )


def curated(ctx: RunContext, *, chunk: int = 64) -> list[dict[str, Any]]:
    """The rows that a curation leaves."""
    curate(ctx, 1, ROLES, ask=[parse, judge, vote, band], chunk=chunk)
    rows: list[dict[str, Any]] = pq.read_table(folder_of(ctx) / "candidates.parquet").to_pylist()
    return rows


def folder_of(ctx: RunContext) -> Path:
    return ctx.run.folder / "iteration-1" / "curation"


def test_curation_keeps_the_informative_ones_and_says_why_not(tmp_path: Path) -> None:
    engine = ScriptedEngine(script)
    ctx = context(settled(tmp_path), engine)
    candidates = curated(ctx)
    assert len(candidates) == 12
    per_picture = [c["reject_reason"] for c in candidates[:4]]
    assert per_picture == ["confidence too high", "", "asked before", "not a well-formed question"]
    fair = candidates[1]
    assert (fair["silver_answer"], fair["confidence"], fair["answers"]) == ("3", 0.5, ["3", "4"])
    assert fair["shares"] == [0.5, 0.25]  # of four, one of which could not be read
    silver = read_examples(folder_of(ctx))
    assert [example.question.question for example in silver] == ["fair"] * 3
    assert silver[0].vote == rewards.vote(["3", "4", "3", None])
    votes = [call for call in engine.calls if "ask one" not in call[0][0].messages[0]["content"][1]["text"]]
    assert [len(call[0]) for call in votes] == [6, 3]  # two of each picture voted on, kept ones blind
    assert all(prompt.images[0].getpixel((0, 0)) == (128, 128, 128) for prompt in votes[1][0])
    assert pq.read_schema(folder_of(ctx) / "candidates.parquet").equals(CANDIDATES)


def test_prompts_of_ones_own_ask_instead(tmp_path: Path) -> None:
    seeds = []

    def own(ctx: RunContext, pictures: Sequence[str], seed: int) -> list[Prompt]:
        seeds.append(seed)
        asked = [{"type": "image"}, {"type": "text", "text": f"ask one question; seed {seed}"}]
        return [
            Prompt(messages=({"role": "user", "content": asked},), images=(ctx.picture(key),))
            for key in pictures
        ]

    engine = ScriptedEngine(script)
    curate(context(settled(tmp_path), engine), 1, ROLES, ask=[parse, vote, band], prompting=own, chunk=2)
    texts = [call[0][0].messages[0]["content"][1]["text"] for call in engine.calls]
    assert [text for text in texts if "ask one" in text] == [f"ask one question; seed {s}" for s in seeds]
    assert len(set(seeds)) == 2  # a chunk has its own


def test_a_stopped_curation_goes_on_after_the_votes_it_has_taken(tmp_path: Path) -> None:
    def until_the_second_picture(
        prompt: Prompt, adapter: AdapterVersion, sampling: Sampling
    ) -> Sequence[str]:
        if prompt.images[0].getpixel((0, 0)) == (20, 20, 20):
            raise KeyboardInterrupt
        return script(prompt, adapter, sampling)

    whole = curated(context(settled(tmp_path), ScriptedEngine(script)), chunk=1)
    again: list[dict[str, Any]] = []
    cut = settled(tmp_path).model_copy(update={"name": "cut"})
    for engine in (ScriptedEngine(until_the_second_picture), ScriptedEngine(script)):
        ctx = context(cut, engine)
        try:
            again = curated(ctx, chunk=1)
        except KeyboardInterrupt:
            finished = len(list((cut.folder / "iteration-1/curation.partial/unfinished").iterdir()))
            assert finished < 3 and not folder_of(ctx).exists()
    assert again == whole
    assert len(engine.calls) == 2 * (3 - finished) + 1  # ask and vote, what was left; kept ones asked blind


ENOUGH = {"reasoner": {"steps": 1, "prompts_per_step": 2}}  # a phase that uses two examples


def shades(tmp_path: Path, count: int, **curation_values: object) -> Config:
    """Pictures of as many shades; of each, one question is kept."""
    config = settled(tmp_path, **curation_values)
    for shade in range(40, 10 + 10 * count, 10):
        Image.new("RGB", (8, 8), (shade, shade, shade)).save(tmp_path / "pictures" / f"{shade}.png")
    return check_config(config.model_dump(mode="json") | ENOUGH)


def summary_of(ctx: RunContext) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder_of(ctx) / "summary.json").read_text())
    return summary


@pytest.mark.parametrize(
    ("margin", "chunk", "pictures"),
    [(1, 1, 2), (1.2, 1, 3), (1.5, 2, 4), (2.5, 2, 6), ("all", 2, 8), (100, 3, 8)],
)
def test_curation_stops_behind_the_chunk_in_which_enough_is_kept(
    tmp_path: Path, margin: object, chunk: int, pictures: int
) -> None:
    ctx = context(shades(tmp_path, 8, margin=margin), ScriptedEngine(script))
    candidates = curated(ctx, chunk=chunk)
    assert len({row["image_key"] for row in candidates}) == pictures == sum(r["kept"] for r in candidates)
    assert (summary_of(ctx)["pictures"], summary_of(ctx)["pool"]) == (pictures, 8)
    assert summary_of(ctx)["kept"] == pictures and summary_of(ctx)["questions"] == 4 * pictures


def test_a_curation_that_stops_early_and_was_killed_ends_the_same(tmp_path: Path) -> None:
    """Killed at each prompt: in each of three chunks two are asked for questions and four for votes."""
    settings = shades(tmp_path, 12, margin=2.5)
    whole = curated(context(settings, ScriptedEngine(script)), chunk=2)
    assert len(whole) == 4 * 6
    for last in range(3 * 6):
        calls = 0

        def dies(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
            nonlocal calls
            calls += 1
            if calls > last:  # noqa: B023
                raise KeyboardInterrupt
            return script(prompt, adapter, sampling)

        again = settings.model_copy(update={"name": f"killed-{last}"})
        with pytest.raises(KeyboardInterrupt):
            curated(context(again, ScriptedEngine(dies)), chunk=2)
        assert curated(context(again, ScriptedEngine(script)), chunk=2) == whole


def test_which_pictures_are_asked_about_does_not_depend_on_how_hard_they_are(tmp_path: Path) -> None:
    """Of eight pictures four are hard: nothing of them is kept. Hard ones are half of those asked about."""

    def half(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        hard = prompt.images[0].getpixel((0, 0))[0] <= 40
        return ["nonsense"] * sampling.n if hard else script(prompt, adapter, sampling)

    settings, asked, hard = shades(tmp_path, 8, margin=1), 0, 0
    for seed in range(60):
        own = settings.model_copy(update={"name": f"seed-{seed}", "seed": seed})
        ctx = context(own, ScriptedEngine(half))
        rows = curated(ctx, chunk=2)
        asked += len(rows)
        hard += sum(ctx.picture(row["image_key"]).getpixel((0, 0))[0] <= 40 for row in rows)
    assert 0.4 < hard / asked < 0.6
    assert asked < 60 * 4 * 7  # it mostly stops before the end


def test_health_of_a_curation(tmp_path: Path) -> None:
    def oracle(picture: str, question: Question) -> str | None:
        return {"easy": "2", "fair": "4"}.get(question.question)

    ctx = context(settled(tmp_path), ScriptedEngine(script), oracle=oracle)
    candidates = [Asked.from_record(row) for row in curated(ctx)]
    health = question_health(candidates, has_truth=True)
    assert (health["questions"], health["valid"], health["answerable"], health["distinct"]) == (12, 9, 9, 2)
    assert health["kept"] == 3
    # of each picture's three valid questions two are the same, and all pictures get the same
    assert health["redundancy"] == 0.5
    assert health["silver_accuracy"]["kept"]["value"] == 0.0  # the votes for `fair` are wrong
    assert health["silver_accuracy"]["kept_answerable"]["n"] == 3  # all of them have an answer
    assert health["silver_accuracy"]["rejected"]["value"] == 1.0
    assert health["calibration"] == [
        {"confidence": 0.5, "n": 3, "accuracy": 0.0},
        {"confidence": 1.0, "n": 3, "accuracy": 1.0},
    ]
    assert sum(count for _, count in health["confidence_histogram"]) == 6
    without = question_health(candidates, has_truth=False)
    assert without["silver_accuracy"] is None and without["answerable"] is None


def test_what_is_no_question_gets_no_votes(tmp_path: Path) -> None:
    ctx = context(settled(tmp_path), ScriptedEngine(script))
    key = ctx.images.records[0].key
    group = [
        Asked(picture=key, question=rewards.parse_question(text, types=["numerical"]))
        for text in ("nonsense", ask("numerical", "hard"))
    ]
    ((nothing, hard),) = vote(ctx, [group], Round(phase="questioner", roles=ROLES, seed=0))
    assert nothing.vote is None
    assert hard.vote is not None and hard.vote.confidence == 0.25 and hard.vote.answer == "1"  # first of tied


def test_a_row_comes_back_from_its_record() -> None:
    question = Question(type="numerical", question="fair", answer="9")
    row = Asked(
        picture="a", completion="<type>", tokens=3, cut=True, question=question, validity=0.5, truth="4",
        vote=rewards.vote(["3", "4", "3", None]), reject="asked before",
    )  # fmt: skip
    assert Asked.from_record(row.record()) == row
    failed = Asked(picture="a", question=ParseFailure(reason="empty_type"))
    assert Asked.from_record(failed.record()) == failed
    assert row.record().keys() == set(ASKED.names) == failed.record().keys()


class StaleEngine:
    """Answers with another version than it is asked for."""

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        stale = AdapterVersion(name=adapter.name, version=adapter.version + 1)
        return ScriptedEngine(script).generate(prompts, adapter=stale, sampling=sampling)


def test_another_version_than_asked_for_is_an_error(tmp_path: Path) -> None:
    ctx = context(settled(tmp_path), StaleEngine())
    prompt = Prompt(messages=({"role": "user", "content": [{}, {"text": "ask one question"}]},))
    with pytest.raises(AdapterMismatch, match=r"requested a completion of shared@0 .* got one of shared@1"):
        ctx.sample([prompt], adapter=ADAPTER, sampling=Sampling())


def test_chunks_overlap_and_come_in_order_and_none_too_many_is_begun() -> None:
    """Three at once while they are wanted; the first to end is not the first to be taken."""
    begun: list[int] = []
    together = threading.Barrier(3, timeout=20)

    def work(start: int) -> list[dict[str, Any]]:
        begun.append(start)
        if start < 3:
            together.wait()  # passes only where three are under way
            time.sleep(0.02 * (3 - start))
        return [{"start": start}]

    found: list[int] = []
    for rows in _in_order(range(10), work, 3, lambda under_way: len(found) + under_way < 5):
        found.append(rows[0]["start"])
        if len(found) == 5:
            break
    assert found == [0, 1, 2, 3, 4] == sorted(begun)
    alone = [rows[0]["start"] for rows in _in_order(range(3, 6), work, 1, lambda _: True)]
    assert alone == [3, 4, 5] == begun[5:]


def test_an_error_in_a_chunk_ends_curation_at_once() -> None:
    waiting = threading.Event()

    def work(start: int) -> list[dict[str, Any]]:
        if start == 1:
            raise ValueError("chunk 1")
        waiting.wait(0 if start == 0 else 20)
        return []

    before = time.monotonic()
    with pytest.raises(ValueError, match="chunk 1"):
        list(_in_order(range(9), work, 3, lambda _: True))
    assert time.monotonic() - before < 10
    waiting.set()
