"""Curation and voting with a scripted engine: every number by hand."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

import rewards
from rollouts.engine import AdapterVersion, Completion, Prompt, Sampling
from rollouts.scripted_engine import ScriptedEngine
from visplay.config.loading import Config, check_config
from visplay.data.images import read_images
from visplay.errors import AdapterMismatch
from visplay.loop.context import Table, sample, take_votes
from visplay.loop.health import question_health
from visplay.loop.phases import curation
from visplay.loop.silver import read_silver
from visplay.progress import Display, Stopwatch
from visplay.runs.tracking import Tracker

ADAPTER = AdapterVersion(name="shared", version=0)


def ask(kind: str, text: str) -> str:
    return f"<type>{kind}</type><question>{text}</question><answer>?</answer>"


# What the Questioner writes about each picture, and how the Reasoner answers each question, four times.
QUESTIONS = [ask("numerical", "easy"), ask("numerical", "fair"), ask("numerical", "fair"), "nonsense"]
ANSWERS = {
    "easy": ["2", "2", "2", "2"],
    "fair": ["3", "4", "3", None],
    "hard": ["1", "2", "3", "4"],
}


def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
    text = prompt.messages[0]["content"][1]["text"]
    if "ask one question" in text:
        return QUESTIONS[: sampling.n]
    answers = ANSWERS[text.split("\n")[0]][: sampling.n]
    return ["no box" if answer is None else f"so \\boxed{{{answer}}}" for answer in answers]


def lay(
    tmp_path: Path, engine: object, rewards: dict[str, object] | None = None, **curation_values: object
) -> Table:
    folder = tmp_path / "pictures"
    folder.mkdir(exist_ok=True)
    for shade in (10, 20, 30):
        Image.new("RGB", (8, 8), (shade, shade, shade)).save(folder / f"{shade}.png")
    config: Config = check_config(
        {
            "images": {"source": str(folder)},
            "rewards": {"samples": 4, "curation_samples": 4, **(rewards or {})},
            "curation": {"questions_per_image": 4, **curation_values},
        }
    )
    return Table(
        config=config, preset=config.rewards.resolve(), policy=None, engine=engine,
        images=read_images(folder), oracle=None, watch=Stopwatch(), display=Display(),
        tracker=Tracker(config),
    )  # fmt: skip


def test_curation_keeps_the_informative_ones_and_says_why_not(tmp_path: Path) -> None:
    engine = ScriptedEngine(script)
    table = lay(tmp_path, engine)
    candidates = curation(table, questioner=ADAPTER, reasoner=ADAPTER, folder=tmp_path, seed=0)
    assert len(candidates) == 12
    per_picture = [c["reject_reason"] for c in candidates[:4]]
    assert per_picture == ["confidence too high", "", "asked before", "not a well-formed question"]
    fair = candidates[1]
    assert (fair["silver_answer"], fair["confidence"], fair["answers"]) == ("3", 0.5, ["3", "4"])
    assert fair["shares"] == [0.5, 0.25]  # of four, one of which could not be read
    silver = read_silver(tmp_path)
    assert [example.question for example in silver] == ["fair"] * 3
    assert silver[0].vote == rewards.vote(["3", "4", "3", None])
    votes = [call for call in engine.calls if "ask one" not in call[0][0].messages[0]["content"][1]["text"]]
    assert [len(call[0]) for call in votes] == [6]  # two distinct questions a picture, each voted on once
    assert pq.read_table(tmp_path / "candidates.parquet").num_rows == 12


def test_a_stopped_curation_goes_on_after_the_votes_it_has_taken(tmp_path: Path) -> None:
    def until_the_second_picture(
        prompt: Prompt, adapter: AdapterVersion, sampling: Sampling
    ) -> Sequence[str]:
        if prompt.images[0].getpixel((0, 0)) == (20, 20, 20):
            raise KeyboardInterrupt
        return script(prompt, adapter, sampling)

    whole = curation(
        lay(tmp_path, ScriptedEngine(script)),
        questioner=ADAPTER,
        reasoner=ADAPTER,
        folder=tmp_path,
        seed=0,
        chunk=1,
    )
    cut = tmp_path / "cut"
    cut.mkdir()
    for engine in (ScriptedEngine(until_the_second_picture), ScriptedEngine(script)):
        table = lay(tmp_path, engine)
        try:
            again = curation(table, questioner=ADAPTER, reasoner=ADAPTER, folder=cut, seed=0, chunk=1)
        except KeyboardInterrupt:
            finished = len(list((cut / "unfinished").iterdir()))
            assert finished < 3 and not (cut / "candidates.parquet").exists()
    assert again == whole
    assert len(engine.calls) == 2 * (3 - finished)  # ask and vote, for the pictures that were left


def test_the_budget_is_drawn_and_the_rest_has_a_reason(tmp_path: Path) -> None:
    table = lay(tmp_path, ScriptedEngine(script), budget=2)
    candidates = curation(table, questioner=ADAPTER, reasoner=ADAPTER, folder=tmp_path, seed=0)
    assert sum(c["kept"] for c in candidates) == 2
    assert sum(c["reject_reason"] == "over budget" for c in candidates) == 1


def test_health_of_a_curation(tmp_path: Path) -> None:
    table = lay(tmp_path, ScriptedEngine(script))
    candidates = curation(table, questioner=ADAPTER, reasoner=ADAPTER, folder=tmp_path, seed=0)
    for candidate in candidates:
        candidate["truth"] = {"easy": "2", "fair": "4"}.get(candidate["question"])
    health = question_health(candidates, has_truth=True)
    assert (health["questions"], health["valid"], health["answerable"], health["distinct"]) == (12, 9, 9, 2)
    assert health["kept"] == 3
    # of each picture's three valid questions two are the same, and all pictures get the same
    assert (health["clusters"], health["most_frequent"], health["redundancy"]) == (2, 6, 0.5)
    assert health["silver_accuracy"]["kept"]["value"] == 0.0  # the votes for `fair` are wrong
    assert health["silver_accuracy"]["rejected"]["value"] == 1.0
    assert health["calibration"] == [
        {"confidence": 0.5, "n": 3, "accuracy": 0.0},
        {"confidence": 1.0, "n": 3, "accuracy": 1.0},
    ]
    assert sum(count for _, count in health["confidence_histogram"]) == 6
    without = question_health(candidates, has_truth=False)
    assert without["silver_accuracy"] is None and without["answerable"] is None


def test_what_is_no_question_gets_no_votes(tmp_path: Path) -> None:
    table = lay(tmp_path, ScriptedEngine(script))
    key = table.images.records[0].key
    group = [
        rewards.parse_question(text, types=["numerical"]) for text in ("nonsense", ask("numerical", "hard"))
    ]
    ((nothing, hard),) = take_votes(table, [key], [group], reasoner=ADAPTER, phase="questioner", seed=0)
    assert nothing is None
    assert hard is not None and hard.confidence == 0.25 and hard.answer == "1"  # the first of the tied


def test_ungrounded_questions_are_rejected_where_the_config_says_so(tmp_path: Path) -> None:
    """The script answers the same whatever the picture shows, so every question is answered blind alike."""
    engine = ScriptedEngine(script)
    table = lay(tmp_path, engine, rewards={"groundedness_limit": 0.5})
    candidates = curation(table, questioner=ADAPTER, reasoner=ADAPTER, folder=tmp_path, seed=0)
    assert [c["reject_reason"] for c in candidates if c["question"] == "fair"][::2] == [
        "answered the same without the picture"
    ] * 3
    greyed = engine.calls[-1][0]
    assert len(greyed) == 3 and all(p.images[0].getpixel((0, 0)) == (128, 128, 128) for p in greyed)


class StaleEngine:
    """Answers with another version than it is asked for."""

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: AdapterVersion, sampling: Sampling
    ) -> list[list[Completion]]:
        stale = AdapterVersion(name=adapter.name, version=adapter.version + 1)
        return ScriptedEngine(script).generate(prompts, adapter=stale, sampling=sampling)


def test_another_version_than_asked_for_is_an_error(tmp_path: Path) -> None:
    table = lay(tmp_path, StaleEngine())
    prompt = Prompt(messages=({"role": "user", "content": [{}, {"text": "ask one question"}]},))
    with pytest.raises(AdapterMismatch, match=r"asked shared@0 .* got one of shared@1"):
        sample(table, [prompt], adapter=ADAPTER, sampling=Sampling())
