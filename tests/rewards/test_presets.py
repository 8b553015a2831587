"""One set of completions, worked out by hand under each preset."""

import dataclasses
import math

import pytest

from rewards import (
    ParseFailure,
    Term,
    parse_question,
    preset,
    questioner_rewards,
    reasoner_rewards,
    vote,
)

CAR = "What is the color of the car?"
DOGS = "How many dogs can be seen here?"


def ask(question):
    return parse_question(f"<type>t</type><question>{question}</question><answer>?</answer>", types=["t"])


BROKEN = ParseFailure(reason="missing_question")
# Two images, four completions each. CAR stands twice in the first group and once in the second.
GROUPS = [[ask(CAR), ask(CAR), ask(DOGS), BROKEN], [ask(CAR), ask("Is it day?"), BROKEN, BROKEN]]
CONFIDENCES = [[0.5, 0.75, 0.9, 0.0], [0.6, 0.4, 0.0, 0.0]]


def totals(name, **overrides):
    rewards = questioner_rewards(GROUPS, CONFIDENCES, preset=preset(name, **overrides))
    return [[reward.total for reward in group] for group in rewards]


def test_paper_by_hand():
    # r_unc: 1, 0.5, 0.2 | 0.8, 0.8; clusters within the group: 2/4, 2/4, 1/4 | 1/4, 1/4; floor 0; invalid 0
    assert totals("paper") == [
        pytest.approx([0.5, 0.0, 0.0, 0.0], abs=1e-9),
        pytest.approx([0.55, 0.55, 0.0, 0.0], abs=1e-9),
    ]


def test_official_by_hand():
    # min(c, 1 - c): 0.5, 0.25, 0.1 | 0.4, 0.4; clusters over the batch: 3/8 for CAR, else 1/8; no floor
    assert totals("official") == [
        pytest.approx([0.125, -0.125, -0.025, -1.125], abs=1e-9),
        pytest.approx([0.025, 0.275, -1.125, -1.125], abs=1e-9),
    ]


def test_rzero_by_hand():
    # r_unc as the paper's, clusters over the batch as the code's, floor 0
    assert totals("rzero") == [
        pytest.approx([0.625, 0.125, 0.075, 0.0], abs=1e-9),
        pytest.approx([0.425, 0.675, 0.0, 0.0], abs=1e-9),
    ]


def test_soft_by_hand():
    votes = [vote(["a", "b"]), vote(["a"] * 4), vote([None])]
    group = [ask(CAR), ask(DOGS), ask("Is it day?")]
    values = preset("soft", redundancy_weight=0.0)
    confidences = [ballot.confidence for ballot in votes]
    rewards = questioner_rewards([group], [confidences], preset=values, votes=[votes])[0]
    bell = [math.exp(-((h - 0.9) ** 2) / (2 * 0.35**2)) for h in (math.log(2), 0.0)]
    assert [reward.total for reward in rewards] == pytest.approx([*bell, 0.0], abs=1e-9)


def test_parts_are_returned_and_add_up():
    for name in ("paper", "official", "rzero"):
        values = preset(name)
        for group in questioner_rewards(GROUPS, CONFIDENCES, preset=values):
            for reward in group:
                parts = reward.parts
                assert set(parts) == {"validity", "uncertainty", "redundancy"}
                gain = parts["uncertainty"] if parts["validity"] else values.invalid_reward
                total = gain - parts["redundancy"]
                assert reward.total == pytest.approx(total if values.floor is None else max(0.0, total))


def test_lambda_scales_the_redundancy():
    assert totals("paper", redundancy_weight=0.5)[0] == pytest.approx([0.75, 0.25, 0.075, 0.0], abs=1e-9)


def test_bands_denominators_and_samples_of_the_presets():
    bands = {name: (preset(name).low, preset(name).high) for name in ("paper", "official", "rzero", "soft")}
    assert bands == {"paper": (0.25, 0.75), "official": (0.3, 0.8), "rzero": (0.3, 0.7), "soft": (0.25, 0.75)}
    paper, official = preset("paper"), preset("official")
    assert (paper.samples, paper.curation_samples, paper.curation_counts_unparsed) == (10, 10, True)
    assert (official.samples, official.curation_samples, official.curation_counts_unparsed) == (10, 9, False)


COMPLETIONS = [
    r"<think>two and two</think> \boxed{4}",
    r"It is \boxed{4.0}.",
    r"<think>hm</think> \boxed{5}",
    r"<think>hm</think> \boxed{5} or so",
    r"<think>a</think><think>b</think>\boxed{4}",
    "4",
    r"\boxed{9}",
    r"<think>a<think>b</think>\boxed{9}",
]
SILVER = vote(["4", "4", "4", "5", None])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper", [1, 1, 0, 0, 1, 0, 0, 0]),
        ("official", [1.0, 0.9, 0.1, 0.0, 0.9, 0.0, 0.0, 0.0]),
        ("rzero", [1, 1, 0, 0, 1, 0, 0, 0]),
        ("soft", [0.6**0.7, 0.6**0.7, 0.2**0.7, 0.2**0.7, 0.6**0.7, 0, 0, 0]),
    ],
)
def test_reasoner_by_hand(name, expected):
    rewards = reasoner_rewards(COMPLETIONS, silver=SILVER, preset=preset(name))
    assert [reward.total for reward in rewards] == pytest.approx(expected, abs=1e-9)
    assert [reward.parts["parsed"] for reward in rewards] == [1, 1, 1, 1, 1, 0, 1, 1]
    assert [reward.parts["format"] for reward in rewards] == [1, 0, 1, 0, 0, 0, 0, 0]


def test_without_a_silver_answer_nothing_agrees():
    rewards = reasoner_rewards(COMPLETIONS, silver=vote([None]), preset=preset("paper"))
    assert {reward.total for reward in rewards} == {0.0}


def test_reasoner_terms_are_added_and_named():
    brief = Term(name="brief", weight=-0.01, function=lambda completions: [len(c) for c in completions])
    reward = reasoner_rewards([r"\boxed{4}"], silver=SILVER, preset=preset("paper"), terms=[brief])[0]
    assert reward.total == pytest.approx(1 - 0.09)
    assert reward.parts["brief"] == pytest.approx(-0.09)


def test_every_value_can_be_overridden_and_a_preset_cannot_be_changed():
    for value in dataclasses.fields(preset("official")):
        if value.name != "name":
            current = getattr(preset("official"), value.name)
            assert getattr(preset("paper", **{value.name: current}), value.name) == current
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("paper").low = 0.1


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("papr", {}, "did you mean 'paper'"),
        ("paper", {"redundancy_wieght": 1.0}, "did you mean 'redundancy_weight'"),
        ("paper", {"low": 0.9}, "rewards.low must be <= rewards.high, got 0.9 and 0.75"),
        (
            "paper",
            {"redundancy_weight": -1.0},
            r"rewards.redundancy_weight must be in \[0.0, inf\], got -1.0",
        ),
        ("paper", {"difficulty": "hard"}, "rewards.difficulty must be one of"),
    ],
)
def test_mistakes_are_named(name, overrides, message):
    with pytest.raises(ValueError, match=message):
        preset(name, **overrides)


def test_shapes_that_differ_and_missing_votes_are_errors():
    with pytest.raises(ValueError, match=r"confidences must have the shape of groups, \[1\], got \[2\]"):
        questioner_rewards([[BROKEN]], [[0.0, 0.0]], preset=preset("paper"))
    with pytest.raises(ValueError, match="need the votes"):
        questioner_rewards([[BROKEN]], [[0.0]], preset=preset("soft"))


def test_no_groups_and_empty_groups():
    assert questioner_rewards([], [], preset=preset("paper")) == []
    for name in ("paper", "official"):
        assert questioner_rewards([[], []], [[], []], preset=preset(name)) == [[], []]
