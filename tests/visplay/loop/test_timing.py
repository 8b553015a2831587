"""How long work takes on cards: formulas by hand."""

import json
from pathlib import Path

import pytest

from tests.visplay.loop.test_workload import SIZE, config
from visplay.loop.planning import make_plan
from visplay.loop.timing import (
    Hardware,
    Seconds,
    decode_rate,
    hardware,
    optimizer_steps,
    seconds,
    training_seconds,
)
from visplay.loop.workload import Work, iteration_work
from visplay.models.cards import find_card
from visplay.runs.results import kept_share


def test_time_by_hand() -> None:
    h100 = find_card("H100")
    # 256 sequences of 1,000 tokens: 14 GB of weights and 14.68 GB of cache are read for 256 tokens.
    rate = 0.6 * 256 / (1.35 * (14e9 + 256 * 1000 * 57_344) / (0.6 * 3.35e12))
    assert decode_rate(SIZE, h100, kv_room=50 * 10**9, context=1000) == pytest.approx(rate)
    assert rate == pytest.approx(7974, abs=1)
    few = 0.6 * 10 / (1.35 * (14e9 + 10 * 1000 * 57_344) / (0.6 * 3.35e12))
    assert decode_rate(SIZE, h100, kv_room=10 * 1000 * 57_344, context=1000) == pytest.approx(few)
    assert training_seconds(SIZE, h100, tokens=10**6) == pytest.approx(7e16 / (0.12 * 989e12))
    assert decode_rate(SIZE, h100, kv_room=50 * 10**9, context=1000, under_way=10) == pytest.approx(few)


def test_a_step_ahead_takes_the_longer_of_both() -> None:
    works = iteration_work(config(questioner={"steps": 4}, reasoner={"steps": 5}), pictures=10, prompt=1)
    of = {"questioner": Seconds(generating=4, learning=40), "reasoner": Seconds(generating=50, learning=10)}
    votes = Seconds(generating=24, learning=0)
    asking, answering = optimizer_steps(works, [of.get(work.phase, votes) for work in works])
    assert (asking.role, asking.steps, asking.seconds) == (
        "questioner",
        4,
        Seconds(generating=7, learning=10),
    )
    assert (asking.ahead, asking.spared) == (10, 3 * 7)
    assert answering.seconds == Seconds(generating=10, learning=2) and answering.seconds.total == 12
    assert (answering.ahead, answering.spared) == (10, 4 * 2)


def test_servers_and_ranks_share_the_work() -> None:
    own = config(engine={"backend": "server", "replicas": 4})
    plan, card = make_plan(own, on_gpu=True), find_card("h100")
    assert hardware(own, card, ranks=2) == Hardware(card=card, engines=4, ranks=2)
    assert hardware(config(engine={"backend": "vllm"}), card, ranks=1) == Hardware(card=card)
    much = Work(phase="curation", prompts=1, completions=10**6, tokens=10**8, bound=10**8, learnt=10**6)
    one, four = (seconds(plan, much, Hardware(card=card, engines=n, ranks=n)) for n in (1, 4))
    assert four.generating == pytest.approx(one.generating / 4)
    assert four.learning == pytest.approx(one.learning / 4)
    # 128 completions are under way at one server, or 32 at each of four: more servers bring less.
    few = Work(phase="reasoner", prompts=16, completions=128, tokens=38_400, bound=38_400)
    one, four = (seconds(plan, few, Hardware(card=card, engines=n)) for n in (1, 4))
    assert one.generating / 4 < four.generating < one.generating


def test_servers_that_sleep_are_on_the_trainers_card() -> None:
    asleep = make_plan(config(engine={"backend": "server", "replicas": 1, "sleep": True}), on_gpu=True)
    beside = make_plan(config(engine={"backend": "server", "replicas": 1}), on_gpu=True)
    alone = make_plan(config(engine={"backend": "vllm"}), on_gpu=True)
    assert asleep.together("asleep") == alone.together("asleep") > beside.together("asleep")
    assert beside.together("asleep") == beside.trainer().total


def test_what_a_run_has_kept_is_known(tmp_path: Path) -> None:
    assert kept_share(tmp_path) is None
    for iteration, kept in ((2, 30), (10, 20)):
        folder = tmp_path / f"iteration-{iteration}" / "curation"
        folder.mkdir(parents=True)
        rejects = {"over budget": 10, "confidence too low": 170}
        (folder / "summary.json").write_text(json.dumps({"questions": 200, "kept": kept, "rejects": rejects}))
    assert kept_share(tmp_path) == 0.15
