"""Guards against collapse: what is drawn, from where, and what is refused."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rewards import Question, Vote
from rollouts.engine import BASE, AdapterVersion, Prompt, Sampling
from rollouts.scripted_engine import ScriptedEngine
from tests.visplay.contexts import context
from tests.visplay.loop.test_alarms import write_iteration
from visplay.cli.listing import _last_iteration
from visplay.config.loading import Config, check_config
from visplay.config.prompts import Prompts
from visplay.errors import ConfigError
from visplay.loop.asking import band, parse, vote
from visplay.loop.context import RunContext
from visplay.loop.curation import curate
from visplay.loop.examples import SilverExample, draw_examples, load_anchors

TRAINED = AdapterVersion(name="shared", version=3, path=Path("adapter"))


def config(folder: Path, **values: object) -> Config:
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    for shade in range(8):
        Image.new("RGB", (8, 8), (shade, shade, shade)).save(pictures / f"{shade}.png")
    return check_config({"images": {"source": str(pictures)}, "output": str(folder), **values})


def asked(text: str) -> Question:
    return Question(type="numerical", question=text, answer="")


def silver(ctx: RunContext, text: str, count: int) -> list[SilverExample]:
    vote = Vote(answer="2", confidence=0.5, parsed=2, samples=2, shares=(("2", 0.5), ("3", 0.5)))
    keys = [record.key for record in ctx.images.records]
    return [
        SilverExample(picture=keys[i % 8], question=asked(f"{text} {i}"), vote=vote) for i in range(count)
    ]


def test_examples_are_drawn_in_the_shares_of_the_guards(tmp_path: Path) -> None:
    guards = {"replay": 0.25, "anchors": 0.5, "anchor_benchmark": "pocket-clean", "anchor_limit": 3}
    ctx = context(config(tmp_path, guards=guards))
    new, old = silver(ctx, "new", 30), silver(ctx, "old", 30)
    examples = draw_examples(ctx.config, new, earlier=old, count=20, seed=1)
    assert Counter(example.origin for example in examples) == {"silver": 5, "replay": 5, "anchor": 10}
    assert examples == draw_examples(ctx.config, new, earlier=old, count=20, seed=1)
    texts = {
        origin: {x.question.question for x in examples if x.origin == origin}
        for origin in ("silver", "replay")
    }
    assert all(text.startswith("new") for text in texts["silver"])
    assert all(text.startswith("old") for text in texts["replay"])
    anchors = [example for example in examples if example.origin == "anchor"]
    assert len({example.question.question for example in anchors}) <= 3  # each once before any comes twice
    for example in anchors:
        assert example.vote.confidence == 1.0 and example.vote.answer
        assert (prompt := example.prompt(ctx.picture, words=Prompts())).images[0].size == (96, 96)
        assert example.question.question in str(prompt.messages)


def test_without_guards_or_an_earlier_iteration_all_examples_are_new(tmp_path: Path) -> None:
    for guards in ({}, {"replay": 0.5}):
        ctx = context(config(tmp_path, guards=guards))
        examples = draw_examples(ctx.config, silver(ctx, "new", 4), earlier=[], count=8, seed=0)
        assert [example.origin for example in examples] == ["silver"] * 8
        assert Counter(example.question.question for example in examples) == {f"new {i}": 2 for i in range(4)}


def test_what_the_run_is_measured_by_cannot_anchor_it(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    rows = [{"image": {"bytes": picture.getvalue()}, "question": "How many?", "answer": "2"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    own = tmp_path / "mine.yaml"
    own.write_text(
        f"id: mine\nsource: {{path: {tmp_path / 'mine.parquet'}}}\nimages: [image]\n"
        "question: '{question}'\nanswer: answer\nrule: text\n"
    )
    anchored = {"anchors": 0.25, "anchor_benchmark": str(own)}
    (example,) = load_anchors(config(tmp_path, guards=anchored))
    assert (example.question.question, example.vote.answer) == ("How many?", "2")
    with pytest.raises(ConfigError, match=r"guards\.anchor_benchmark: mine is what evaluation\.benchmarks"):
        load_anchors(config(tmp_path, guards=anchored, evaluation={"benchmarks": [str(own)]}))
    pocket, asked_in = {"anchors": 0.25, "anchor_benchmark": "pocket-dusk"}, {"benchmarks": ["pocket-dusk"]}
    load_anchors(config(tmp_path, guards=pocket, evaluation=asked_in))  # other scenes
    with pytest.raises(ConfigError, match="pocket-dusk is what"):
        load_anchors(config(tmp_path, guards=pocket, evaluation=asked_in | {"split": "development"}))
    with pytest.raises(ConfigError, match="mm_vet need a judge"):
        load_anchors(judged(tmp_path))
    with pytest.raises(ConfigError, match=r"guards\.anchors needs guards\.anchor_benchmark"):
        config(tmp_path, guards={"anchors": 0.1})
    with pytest.raises(ConfigError, match="must leave a tenth for new examples"):
        config(tmp_path, guards={**anchored, "replay": 0.7})


def judged(folder: Path) -> Config:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    rows = [
        {
            "question_id": "v1_0", "image": {"bytes": picture.getvalue()}, "question": "What is it?",
            "answer": "a cat", "capability": ["rec"],
        }
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "mm_vet.parquet")
    return config(
        folder,
        guards={"anchors": 0.25, "anchor_benchmark": "mm_vet"},
        evaluation={"sources": {"mm_vet": str(folder / "mm_vet.parquet")}},
    )


def test_the_base_asks_about_its_share_of_the_pictures(tmp_path: Path) -> None:
    askers: dict[bool, int] = {}

    def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
        if "ask one question" in str(prompt.messages):
            askers[adapter == BASE] = askers.get(adapter == BASE, 0) + 1
            return [f"<type>numerical</type><question>by {adapter.name}?</question><answer>1</answer>"]
        assert adapter == TRAINED  # the Reasoner votes in any case
        return ["\\boxed{1}", "\\boxed{2}"][: sampling.n]

    settings = config(
        tmp_path, guards={"base_questions": 0.25}, curation={"questions_per_image": 1},
        rewards={"samples": 2, "curation_samples": 2},
    )  # fmt: skip
    engine = ScriptedEngine(script)
    engine.publish(TRAINED)
    ctx = context(settings, engine)
    curate(ctx, 1, {"questioner": TRAINED, "reasoner": TRAINED}, ask=[parse, vote, band])
    rows = pq.read_table(ctx.run.folder / "iteration-1/curation/candidates.parquet").to_pylist()
    assert askers == {True: 2, False: 6}
    assert Counter((row["asked_by"], row["question"]) for row in rows) == {
        ("base", "by base?"): 2, ("questioner", "by shared?"): 6,
    }  # fmt: skip


def test_the_run_ends_early_when_the_probe_is_no_better(tmp_path: Path) -> None:
    for health, last in (({"patience": 2}, 3), ({}, 9)):
        measured = {"benchmarks": ["pocket-dusk"]}
        values = {"name": f"to-{last}", "iterations": 9, "health": health, "evaluation": measured}
        ctx = context(config(tmp_path, **values))
        write_iteration(ctx.run.folder, 0, accuracy=0.4)
        gone_through = []
        for number in ctx.iterations():
            gone_through.append(number)
            write_iteration(ctx.run.folder, number, accuracy=[0.4, 0.7, 0.6, 0.7][min(number, 3)])
        assert gone_through[-1] == last
        healths = [f"iteration-{i}/health" for i in gone_through]
        assert _last_iteration(ctx.run.folder, ctx.config.model_dump(), healths) == last
