"""What must hold for any input, found by search."""

import math
from dataclasses import dataclass

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rewards import (
    ParseFailure,
    Question,
    Values,
    Vote,
    equivalent,
    extract_answer,
    parse_question,
    questioner_rewards,
    reasoner_rewards,
    vote,
)
from rewards.voting import uncertainty

settings.register_profile(
    "rewards", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("rewards")

WORDS = st.sampled_from(["what", "is", "the", "color", "of", "car", "这是", "什么", "색", "?", "how", "many"])
TEXTS = st.lists(WORDS, min_size=1, max_size=9).map(" ".join)
ITEMS = st.one_of(
    TEXTS.map(lambda text: Question(type="t", question=text, answer="a")),
    TEXTS.map(lambda text: Question(type="t", question=text, answer="a")),
    st.none(),
)
ASKED = Question(type="t", question="What is the color of the car?", answer="red")
SHARES = st.integers(0, 10).map(lambda count: count / 10)
GROUP = st.lists(st.tuples(ITEMS, SHARES), min_size=1, max_size=8)
RANGES = {"paper": (0.0, 1.0), "official": (-2.0, 0.5)}
SCOPES = st.sampled_from(["image", "batch"])
ANSWERS = st.one_of(
    st.none(),
    st.sampled_from(
        ["7", "7.0", "seven", "8", "50%", "0.5", "1/2", "50", "red", "Red.", "B", "b", "yes", "5 cm"]
    ),
    st.sampled_from(
        ["5", "5 m", "1, 2", "2, 1", "(1, 2)", "0.333", "1/3", "no", "three dogs", "3", "", "{}"]
    ),
)
FRAGMENTS = st.sampled_from(
    [
        "<type>",
        "</type>",
        "<question>",
        "</question>",
        "<answer>",
        "</answer>",
        "\\boxed{",
        "}",
        "{",
        "x",
        "\\",
    ]
)
MODEL_TEXT = st.one_of(st.text(), st.lists(FRAGMENTS, max_size=16).map("".join))


@dataclass(frozen=True)
class Row:
    """One candidate of the Questioner's."""

    asks: Question | None
    vote: Vote | None
    validity: None = None


def totals(group, **values):
    rows = [
        Row(item, Vote(answer="7", confidence=share, shares=(), parsed=10, samples=10))
        for item, share in group
    ]
    return [reward.total for reward in questioner_rewards([rows], values=Values(**values))[0]]


@given(MODEL_TEXT)
def test_parsing_never_raises(text):
    assert isinstance(parse_question(text, types=["t", "x"]), Question | ParseFailure)
    answer = extract_answer(text)
    assert answer is None or (answer and answer in text)


@given(TEXTS.filter(lambda text: any(map(str.isalnum, text))), TEXTS, st.text(alphabet="abc {}", max_size=9))
def test_a_question_survives_the_way_there_and_back(question, answer, around):
    text = f"{around}<type>t</type>{around}<question>{question}</question><answer>{answer}</answer>"
    assert parse_question(text, types=["t"]) == Question(type="t", question=question, answer=answer)


@given(GROUP)
def test_questioner_rewards_stay_in_their_ranges(group):
    for name, (low, high) in RANGES.items():
        for total, (item, _) in zip(totals(group, questioner=name), group, strict=True):
            assert low <= total <= high
            if item is None:
                assert total == 0.0 if name == "paper" else total < -1.0


@given(GROUP, SCOPES, st.randoms())
def test_a_permuted_group_has_permuted_rewards(group, scope, random):
    order = list(range(len(group)))
    random.shuffle(order)
    before = totals(group, redundancy_scope=scope)
    after = totals([group[place] for place in order], redundancy_scope=scope)
    assert all(math.isclose(after[new], before[old], abs_tol=1e-12) for new, old in enumerate(order))


@given(GROUP, st.data())
def test_a_duplicate_never_raises_its_reward(group, data):
    place = data.draw(st.integers(0, len(group) - 1))
    before = totals(group)[place]
    after = totals([*group, group[place]])
    assert after[place] <= before + 1e-12
    assert math.isclose(after[place], after[-1], abs_tol=1e-12)


@given(SHARES)
def test_uncertainty_is_symmetric_and_in_range(confidence):
    assert 0.0 <= uncertainty(confidence) <= 1.0
    assert math.isclose(uncertainty(confidence), uncertainty(1.0 - confidence), abs_tol=1e-12)


@given(st.lists(ANSWERS, max_size=12), st.randoms())
def test_a_vote_is_the_same_in_any_order(answers, random):
    shuffled = list(answers)
    random.shuffle(shuffled)
    one, other = vote(answers), vote(shuffled)
    assert set(one.shares) == set(other.shares)
    assert (one.confidence, one.parsed, one.samples) == (other.confidence, other.parsed, other.samples)
    leaders = {answer for answer, share in one.shares if share == one.confidence}
    assert {one.answer, other.answer} <= (leaders or {None})


@given(st.lists(ANSWERS, max_size=12))
def test_shares_of_a_vote_add_up(answers):
    found = vote(answers)
    assert math.isclose(
        sum(share for _, share in found.shares) * max(1, found.samples), found.parsed, abs_tol=1e-9
    )
    assert 0.0 <= found.confidence <= 1.0
    assert (found.answer is None) == (found.parsed == 0)


@given(
    st.one_of(st.text(max_size=30), ANSWERS.filter(bool)),
    st.one_of(st.text(max_size=30), ANSWERS.filter(bool)),
)
@example("1,1", "0,0D")  # lists of which some items are unsure
def test_equivalence_is_symmetric_reflexive_and_never_raises(a, b):
    assert equivalent(a, b) == equivalent(b, a)
    itself = equivalent(a, a)
    assert itself.equal or itself.stage == "empty"
    options = (a, b, "red")
    assert equivalent(a, b, options=options) == equivalent(b, a, options=options)


@given(st.lists(MODEL_TEXT, max_size=6), st.lists(ANSWERS, max_size=6), st.sampled_from([0.0, 0.1, 1.0]))
def test_reasoner_rewards_stay_in_their_range(completions, answers, format_weight):
    values = Values(format_weight=format_weight)
    for reward in reasoner_rewards(completions, silver=vote(answers), values=values, asked=ASKED):
        assert 0.0 <= reward.total <= 1.0
        assert reward.parts["accuracy"] == 0.0 or reward.parts["parsed"] == 1.0


@given(st.lists(ANSWERS, min_size=1, max_size=10))
def test_the_silver_answer_is_rewarded(answers):
    silver = vote(answers)
    said = f"\\boxed{{{silver.answer}}}"
    if silver.answer is not None and extract_answer(said) == silver.answer:
        assert reasoner_rewards([said], silver=silver, values=Values(), asked=ASKED)[0].total == 1.0
