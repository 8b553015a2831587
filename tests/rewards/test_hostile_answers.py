"""What a model may write by accident or by training: every text gets a verdict, soon, and nothing runs."""

import time

import pytest

from rewards import equivalent, extract_answer, parse_question, vote
from rewards.answers.algebra import read_expression

MEGABYTE = 1_000_000
SECONDS = 2.0


def run_command(path):
    return f"__import__('os').system('touch {path}')"


HOSTILE = {
    "tower": "9^{9^{9^9}}",
    "tower without braces": "9^9^9^9",
    "python tower": "9**9**9**9",
    "nested brackets to powers": "((9^{99})^{99})^{99}",
    "big exponent": "2^{99999999}",
    "factorial": "1000000!",
    "factorials": "((99!)!)!",
    "choose": r"\binom{10^9}{10^8}",
    "product": r"\prod_{n=1}^{10^9} n",
    "sum": r"\sum_{n=1}^{10^{9}} \frac{1}{n}",
    "integral": r"\int_0^\infty e^{-x^2} \sin(x^x) dx",
    "million digits": "7" * MEGABYTE,
    "million digits in a fraction": r"\frac{" + "7" * MEGABYTE + "}{3}",
    "exponent notation": "1e999999999",
    "sixty digits over sixty": "9" * 60 + "/" + "7" * 60,
    "deep braces": "{" * 50_000 + "1" + "}" * 50_000,
    "deep brackets": "(" * 90 + "1" + ")" * 90,
    "lists in lists": "(1," * 45 + "1" + ")" * 45,
    "an item that is only a mark": "1.5, :",
    "a power of zero": "(x-x)^{-1}",
    "deep fractions": r"\frac{1}{" * 20 + "2" + "}" * 20,
    "deep text": r"\text{" * 30 + "a" + "}" * 30,
    "open boxes": r"\boxed{" * 100_000,
    "regex bomb a": "a" * 50_000 + "!",
    "regex bomb spaces": "answer is" + " " * 100_000 + "x",
    "regex bomb commas": "1," * 90 + "!",
    "regex bomb words": "and " * 49 + "x",
    "regex bomb thousand groups": "1,000" + ",000" * 45 + ",00",
    "regex bomb carets": "^" * 200,
    "regex bomb parentheses": ")^" * 95 + "x",
    "many stars": "*" * 150,
    "control characters": "\x00\x07\x1b[2J\x7f" * 20,
    "zero width": "\u200b\u200d\ufeff" * 50,
    "expanding letters": "\ufdfa" * 190,
    "surrogate": "\ud800 7",
    "right to left": "\u202e7",
    "import": "__import__('os').system('true')",
    "lambda": "(lambda: 1)()",
    "eval": "eval('1+1')",
    "attribute": "x.__class__.__mro__",
    "latex input": r"\input{/etc/passwd}",
    "units without end": "5 " + "kg m " * 60,
    "powers of units": "5 m^9/s^9/kg^9*A^9",
    "unit of a huge power": "5 m^{99999999}",
    "units of one another": "5 kkkkmmmmcccc",
    "mixed units": "1 hour " * 40,
    "tower of units": "10**10**7 m**m**m",
    "range of ranges": "1-" * 90 + "2",
    "sizes": "2 x " * 60 + "2",
    "ratios": "1:" * 120 + "1",
    "dates": "10/12/2020 " * 30,
    "date of nines": "99/99/9999",
    "clock": "12:" * 60 + "00",
    "phone": "555-" * 100 + "1",
    "phone spaces": "1" + " " * 190 + "2",
    "equations": "1=" * 90 + "1",
    "named values": "x=1, " * 45 + "y=2",
    "options": "A. x B. y " * 20,
    "megabyte of options": "A. x B. y " * (MEGABYTE // 10),
    "megabyte of labels": "(A) " * (MEGABYTE // 4),
    "megabyte of thinking": "<think>" * (MEGABYTE // 7),
    "thoughts that close": "<think>x</think>" * (MEGABYTE // 16),
    "boxes of nothing": "\\boxed{}" * (MEGABYTE // 10),
    "styles": "\\text{m}" * 25,
    "style of styles": r"5\text{\textbf{\emph{m}}}" * 8,
    "no": "no " * 60,
    "megabyte of text": "lorem ipsum " * (MEGABYTE // 12),
    "megabyte of tags": "<question>" * (MEGABYTE // 10),
    "megabyte of spaces": " " * MEGABYTE,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("other", ["7", r"\sqrt{2}", "red", "itself and one letter"])
def test_a_verdict_in_time(text, other):
    other = text + "x" if other.startswith("itself") else other
    start = time.monotonic()
    verdict = equivalent(text, other)
    backwards = equivalent(other, text)
    taken = time.monotonic() - start
    assert verdict == backwards
    assert not verdict.equal or text.replace("\u202e", "") == other or verdict.stage in ("yes_no", "letter")
    assert taken < SECONDS, f"{taken:.1f} s"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_reading_is_linear(text):
    start = time.process_time()  # of this process alone, so that others on the machine do not fail it
    extract_answer(text)
    extract_answer("\\boxed{" + text)
    parse_question(text, types=["t"])
    parse_question(
        f"<type>t</type><question>{text}</question><answer>a</answer>", types=["t"], control_tokens=["<|x|>"]
    )
    equivalent(text, text, options=[text, "b", "c"])
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(
    "text",
    [
        "9^{9^{9^9}}",
        "9^9^9+1",
        "2^{99999999}",
        "x^{12345}",
        "7" * 21 + "x",
        "(" * 17 + "x+1" + ")" * 17,
        "1000000!",
        r"\input{x}",
        r"\sum_{n=1}^{9} n",
        "x__y+1",
        "x+1;'a'",
        "+".join(["x"] * 101),
        "x+10^{-60}",
        "x+9^{-60}y",
    ],
)
def test_mathematics_beyond_the_limits_is_compared_as_written(text):
    assert read_expression(text) is None
    assert equivalent(text, text).equal and not equivalent(text, r"\sqrt{2}").equal


def test_the_limits_of_what_is_evaluated():
    assert read_expression("(" * 14 + "x" + ")" * 14) and not read_expression("(" * 17 + "x" + ")" * 17)
    assert read_expression("x^{9999}") and not read_expression("x^{10000}")
    assert read_expression("7" * 20) and not read_expression("7" * 21)
    assert read_expression("+".join(["x"] * 100)) and not read_expression("+".join(["x"] * 101))


def test_a_vote_over_all_of_them_is_quick():
    start = time.monotonic()
    found = vote([*HOSTILE.values(), "7", "7", "7", None])
    assert found.samples == len(HOSTILE) + 4
    assert ("7", pytest.approx(4 / found.samples)) == found.shares[0]  # the right-to-left 7 is a 7
    assert time.monotonic() - start < 5 * SECONDS


COMMANDS = [
    "__import__('os').system('touch {path}')",
    "open('{path}', 'w').write('x')",
    "[c for c in ().__class__.__base__.__subclasses__()][0].__init__.__globals__ or open('{path}','w')",
    "exec(\"open('{path}','w')\")",
    r"\immediate\write18{{touch {path}}}",
    "sympify(\"__import__('os').system('touch {path}')\")",
    "1+1;__import__('pathlib').Path('{path}').touch()",
    "$(touch {path})",
    "`touch {path}`",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_executed(command, tmp_path):
    canary = tmp_path / "ran"
    text = command.format(path=canary)
    equivalent(text, "2")
    equivalent("$" + text + "$", r"\sqrt{4}")
    vote([text, text + " ", "2", r"\boxed{" + text + "}"])
    assert not canary.exists()
