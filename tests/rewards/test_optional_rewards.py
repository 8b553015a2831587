import pytest

from rewards import (
    ParseFailure,
    Question,
    Term,
    blind_agreement,
    is_grounded,
    preset,
    probed_groups,
    questioner_rewards,
    quota_excess,
    remember,
    remembered_similarity,
    vote,
)

CAR = "What is the color of the car?"
DOGS = "How many dogs can be seen here?"
BROKEN = ParseFailure(reason="missing_question")


def ask(question, kind="t"):
    return Question(type=kind, question=question, answer="?")


def one_group(group, confidences, *, values, **more):
    return questioner_rewards([group], [confidences], preset=values, **more)[0]


def test_all_are_off_by_default():
    parts = one_group([ask(CAR)], [0.5], values=preset("paper"), memory=[CAR])[0].parts
    assert set(parts) == {"validity", "uncertainty", "redundancy"}


def test_blind_agreement_is_the_share_that_still_says_the_silver_answer():
    seen = vote(["red"] * 3 + ["blue"])
    assert blind_agreement(seen, vote(["Red", "red", "blue", None])) == pytest.approx(0.5)
    assert blind_agreement(seen, vote(["green"])) == 0.0
    assert blind_agreement(vote([None]), vote([None])) == 0.0
    assert not is_grounded(seen, vote(["red", "blue"]), limit=0.5)
    assert is_grounded(seen, vote(["red", "blue"]), limit=0.51)


def test_groundedness_is_charged_where_the_question_was_probed():
    seen = [vote(["red", "blue"])] * 2
    blind = [vote(["red", "red", "red", "x"]), None]
    values = preset("paper", groundedness_weight=0.4, redundancy_weight=0.0)
    rewards = one_group([ask(CAR), ask(DOGS)], [0.5, 0.5], values=values, votes=[seen], blind=[blind])
    assert [reward.total for reward in rewards] == pytest.approx([1 - 0.4 * 0.75, 1.0])
    assert rewards[0].parts["groundedness"] == pytest.approx(0.3)


def test_probed_groups_are_a_fraction_and_repeatable():
    chosen = probed_groups(8, fraction=0.25, seed=1)
    assert sum(chosen) == 2
    assert chosen == probed_groups(8, fraction=0.25, seed=1)
    assert probed_groups(4, fraction=1.0, seed=0) == [True] * 4


def test_quota_excess_by_hand():
    excess = quota_excess(["count", "count", "color", None], {"count": 0.25, "color": 0.5})
    assert excess == pytest.approx([0.25, 0.25, 0.0, 0.0])


def test_quotas_span_the_batch():
    values = preset("paper", quota_weight=2.0, type_quotas={"count": 0.5}, redundancy_weight=0.0)
    groups = [[ask(CAR, "count"), ask(DOGS, "color")], [ask("Is it?", "count"), ask("Or not?", "count")]]
    rewards = questioner_rewards(groups, [[0.5, 0.5], [0.5, 0.5]], preset=values)
    # three of four are "count": 0.25 above the quota, charged twice over
    assert [r.total for group in rewards for r in group] == pytest.approx([0.5, 1.0, 0.5, 0.5])


def test_memory_keeps_the_newest_distinct_questions():
    assert remember(("a", "b"), ["c", "a", ""], size=3) == ("b", "c", "a")
    assert remember(("a", "b", "c"), ["d"], size=2) == ("c", "d")
    assert remember((), ["a"], size=0) == ()


def test_remembered_similarity_by_hand():
    near = CAR.replace("car", "bus")
    found = remembered_similarity([CAR, near, DOGS, "Why?", ""], [CAR, "Why?"])
    # near: 6 of 7 words, then 5/6, 4/5, 3/4 of the longer n-grams
    bleu = (6 / 7 * 5 / 6 * 4 / 5 * 3 / 4) ** 0.25
    assert found == pytest.approx([1.0, bleu, 0.0, 1.0, 0.0], abs=1e-9)
    assert remembered_similarity([CAR], []).tolist() == [0.0]


def test_memory_is_charged_by_its_weight():
    values = preset("paper", memory_weight=0.5, redundancy_weight=0.0)
    rewards = one_group([ask(CAR), ask(DOGS), BROKEN], [0.5] * 3, values=values, memory=[CAR])
    assert [reward.total for reward in rewards] == pytest.approx([0.5, 1.0, 0.0])


def test_a_term_is_weighted_named_and_counts_for_valid_questions_only():
    brief = Term(name="brief", weight=0.1, function=lambda rows: [5.0] * len(rows))
    rewards = one_group([ask(CAR), BROKEN], [0.5, 0.0], values=preset("paper"), terms=[brief])
    assert [reward.total for reward in rewards] == pytest.approx([1.0 - 0.5 + 0.5, 0.0])
    assert [reward.parts["brief"] for reward in rewards] == [0.5, 0.0]


def test_a_term_must_give_one_value_per_row():
    wrong = Term(name="wrong", weight=1.0, function=lambda rows: [])
    with pytest.raises(ValueError, match="wrong must give one value per row, 1, got 0"):
        one_group([ask(CAR)], [0.5], values=preset("paper"), terms=[wrong])
