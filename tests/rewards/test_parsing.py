import pytest

import rewards
from rewards import ParseFailure, Question, extract_answer, parse_question
from rewards.reasoner import follows_format

TYPES = ("counting", "Color")
GOOD = "<type>counting</type> <question>How many dogs?</question> <answer>3</answer>"


def test_a_well_formed_question_is_read():
    assert parse_question(GOOD, types=TYPES) == Question(
        type="counting", question="How many dogs?", answer="3"
    )


def test_text_around_the_blocks_and_white_space_inside_are_allowed():
    text = "<think>hm</think>\n<type> COLOR </type><question>\nWhich?\n</question><answer> red </answer> done"
    assert parse_question(text, types=TYPES) == Question(type="Color", question="Which?", answer="red")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing_type"),
        (GOOD.replace("<type>", ""), "missing_type"),
        (GOOD.replace("</question>", ""), "missing_question"),
        (GOOD.replace("<answer>3</answer>", ""), "missing_answer"),
        (GOOD + GOOD, "repeated_type"),
        (GOOD + "<question>And?</question>", "repeated_question"),
        (GOOD + "</answer>", "repeated_answer"),
        ("<question>" + GOOD, "repeated_question"),
        ("<question>Q</question><type>counting</type><answer>3</answer>", "wrong_order"),
        ("<type>counting</type><answer>3</answer><question>Q</question>", "wrong_order"),
        ("<type>counting<question></type>Q</question><answer>3</answer>", "wrong_order"),
        ("</type>counting<type><question>Q</question><answer>3</answer>", "wrong_order"),
        (GOOD.replace("counting", " "), "empty_type"),
        (GOOD.replace("How many dogs?", " \n"), "empty_question"),
        (GOOD.replace(">3<", "><"), "empty_answer"),
        (GOOD.replace("counting", "riddle"), "unknown_type"),
    ],
)
def test_every_failure_has_its_reason(text, reason):
    assert parse_question(text, types=TYPES) == ParseFailure(reason=reason)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{7}", "7"),
        (r"\boxed{1} then \boxed{ 2 }.", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed {5}", "5"),
        (r"\boxed{3} and cut off: \boxed{4", "3"),
        (r"a stray } and { before \boxed{x}", "x"),
        (r"\boxed{ {a}", None),
        (r"\boxed{1} then \boxed{}", "1"),
        (r"\boxed{  }", None),
        ("the answer is 7", None),
        ("", None),
    ],
)
def test_the_last_balanced_box_is_the_answer(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so <answer>5</answer>", "5"),
        ("<think><answer>3</answer></think> <answer> \\boxed{7} </answer>", "7"),
        ("<answer>1</answer> no, <answer>2</answer>", "2"),
        ("<answer>1</answer> <answer> </answer>", "1"),
        ("< Answer >a cat< /answer >", "a cat"),
        ("<answer>cut off", None),
        ("<answer>a <answer>b</answer>", "b"),
        ("\\boxed{3}", None),
        ("<think><answer>4</answer>", None),
    ],
)
def test_an_answer_between_tags(text: str, answer: str | None) -> None:
    assert rewards.extract_answer(text, "tagged") == answer


def test_an_answer_between_tags_is_read_in_linear_time() -> None:
    """Minutes, were it not: a test's time limit would end it."""
    for text in ("<answer>" * 200_000, "<answer>" + "a" * 2_000_000, "< answer " * 200_000):
        assert rewards.extract_answer(text, "tagged") is None


def test_the_format_of_an_answer_between_tags() -> None:
    assert follows_format("<think>a</think><answer>5</answer>", "tagged")
    assert follows_format("a</think>\n<answer>\\boxed{5}</answer>", "tagged")
    assert not follows_format("<think>a</think><answer>5</answer> and so on", "tagged")
    assert not follows_format("<think>a</think><answer>5</answer><answer>6</answer>", "tagged")
    assert not follows_format("<think>a</think>\\boxed{5}", "tagged")
    assert not follows_format("<think>a</think><answer></answer>", "tagged")
    silver = rewards.vote(["5", "5", "6"])
    texts = ["<answer>5</answer>", "\\boxed{5}"]
    asked = Question(type="t", question="How many?", answer="5")
    paid = rewards.reasoner_rewards(texts, silver=silver, values=rewards.Values(), asked=asked, form="tagged")
    assert [one.parts["accuracy"] for one in paid] == [1.0, 0.0]
