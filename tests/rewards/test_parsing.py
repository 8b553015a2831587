import pytest

from rewards import ParseFailure, Question, extract_answer, parse_question

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
