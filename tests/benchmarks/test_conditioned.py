"""Prompts with kept questions: what the bank holds, what is drawn from it, and what the lessons teach."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from PIL import Image

from benchmarks import conditioned
from benchmarks.pocket_vlm.lessons import TYPES, WORDS
from benchmarks.pocket_vlm.wide import draw_wide
from rewards import Question, parse_question, vote
from visplay.loop.asking import Asked
from visplay.loop.context import RunContext
from visplay.pocket.oracle import oracle
from visplay.pocket.scenes import render, sample_scene
from visplay.schema import CANDIDATES
from visplay.storage import write_parquet


def text_of(prompt: Any) -> str:
    return str(prompt.messages[-1]["content"][1]["text"])


def test_every_second_lesson_asks_like_an_example() -> None:
    rng = np.random.default_rng(0)
    like = bare = 0
    for index in range(40):
        scene = sample_scene(split="warm-up", seed=0, index=index, style="wide")
        taught = draw_wide(rng, scene, render(scene), "questioner", taught={})
        question = parse_question(taught.completion, types=TYPES)
        assert isinstance(question, Question)
        assert oracle(scene, question.question) == question.answer
        if "Ask like one of these: " in text_of(taught.prompt):
            like += 1
        else:
            bare += 1
    assert like > 10 and bare > 10


def test_the_bank_has_what_was_kept_before(tmp_path: Path) -> None:
    texts = [
        "Is there a star?",
        "How many stars {types} are there?",
        "What color is most common?",
        "Rejected?",
    ]
    rows = [
        Asked(
            picture=f"{i}", completion="x", question=Question(type="yes/no", question=text, answer="yes"),
            vote=vote(["yes", "yes", "no"]), reject="confidence too high" if text == "Rejected?" else "",
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip
    folder = tmp_path / "iteration-1/curation"
    folder.mkdir(parents=True)
    records = [row.record() | {"kept": not row.reject} for row in rows]
    write_parquet(folder / "candidates.parquet", records, CANDIDATES)
    config = SimpleNamespace(questioner=SimpleNamespace(types=TYPES), prompts=WORDS, seed=0)
    run = SimpleNamespace(folder=tmp_path)
    ctx = cast(
        RunContext,
        SimpleNamespace(run=run, config=config, picture=lambda key: Image.new("RGB", (8, 8))),
    )
    keys = [f"picture {i}" for i in range(40)]
    first = conditioned.from_bank(ctx, 1)(ctx, keys, 3)
    assert not any("Ask like" in text_of(prompt) for prompt in first)
    later = [text_of(prompt) for prompt in conditioned.from_bank(ctx, 2)(ctx, keys, 3)]
    shown = [text for text in later if "Ask like one of these: " in text]
    assert 10 < len(shown) < 30
    assert all("Rejected?" not in text and "How many stars (types) are there?" in text for text in shown)
    assert later == [text_of(prompt) for prompt in conditioned.from_bank(ctx, 2)(ctx, keys, 3)]
    # A picture's own question is not shown to it, so only two of three remain.
    assert "Ask like" not in text_of(conditioned.from_bank(ctx, 2)(ctx, ["1"] * 9, 3)[0])


def test_drawn_questions_differ_in_their_first_words() -> None:
    bank = [("a", "How many stars are there?", 1.0), ("b", "How many circles are there?", 1.0)]
    assert len(conditioned.drawn(np.random.default_rng(0), bank)) == 1
    assert conditioned.drawn(np.random.default_rng(0), []) == []
