import hashlib
from collections import Counter

from rewards import extract_answer
from rollouts.engine import BASE, Sampling
from rollouts.transformers_engine import TransformersEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Model
from visplay.evaluation.prompts import item_prompt
from visplay.models.policy import load_base
from visplay.pocket.benchmark import ladder, wide
from visplay.pocket.oracle import WIDE, parse_query


def test_the_wide_world_is_asked_as_much_of_each_kind() -> None:
    items = wide(60, 0, "development")
    assert Counter(item.kind for item in items) == dict.fromkeys(WIDE, 5)
    assert len({item.key for item in items}) == 60
    for item in items:
        query = parse_query(item.question)
        assert query is not None and query.kind == item.kind and item.gold.answers[0]
    again = wide(24, 0, "development")
    assert [item.question for item in again] == [item.question for item in items[:24]]
    assert {i.question for i in wide(60, 0, "held-out")} != {i.question for i in items}


def test_further_kinds_leave_the_questions_of_the_ladder_as_they_were() -> None:
    text = "".join(item.question + item.gold.answers[0] for item in ladder(40, 0, "held-out"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "0b431e41446c6974"


def test_the_wide_base_answers_a_kind_that_it_knows() -> None:
    items = [item for item in wide(120, 0, "development") if item.kind == "color-at"]
    engine = TransformersEngine(*load_base(Model(path="pocket-wide", dtype="float32")))
    prompts = [item_prompt(item, words=Prompts(forms={})) for item in items]
    groups = engine.generate(prompts, adapter=BASE, sampling=Sampling(temperature=0, max_tokens=40))
    right = [extract_answer(g[0].text) == item.gold.answers[0] for item, g in zip(items, groups, strict=True)]
    assert sum(right) >= 8, right
