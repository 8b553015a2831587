"""Situations in which others' tools went wrong: votes, boxes, questions, benchmark rows, configurations."""

from pathlib import Path

import pytest

from rewards import ParseFailure, Question, extract_answer, parse_question, vote
from rewards.parsing import inline_options
from rewards.reasoner import follows_format
from visplay.config.loading import load_config
from visplay.errors import BenchmarkError, ConfigError
from visplay.evaluation.items import open_rows, read_item
from visplay.evaluation.scoring import score_output
from visplay.evaluation.spec import Source, Spec, find_spec

TYPES = ("multiple choice", "numerical", "yes/no", "short answer")
COLOURS = ("red", "blue")


@pytest.mark.parametrize(
    ("answers", "options", "confidence"),
    [
        (["0-9", "10-19", "20-29", "0 to 9"], (), 0.5),
        (["S. aureus", "S. pyogenes", "S. mitis", "S"], (), 0.25),
        (["16\\pi", "16\\pi \\text{ m}^2", "16\\pi\\text{ square units}", "16π"], (), 0.5),
        (["7 MW", "7 MW", "7 mW"], (), 2 / 3),
        (["x=1, y=2", "x=2, y=1", "y = 2, x = 1"], (), 2 / 3),
        (["A", "red"] * 5, COLOURS, 1.0),
        (["A", "(A) red", "red", "A. red"], COLOURS, 1.0),
        (["A", "red", "B", "blue"], COLOURS, 0.5),
        (["C", "C. green", "green", "Green", "(C) green"], (), 0.4),  # no question says what C is
        (["5", "5", "5 m", "5 cm"], (), 0.5),  # no question says which unit the bare number has
        (["5 cm", "5", "50 mm"], (), 2 / 3),
        (["2\\sqrt{3} cm", "2\\sqrt{3} m", "2\\sqrt{3}"], (), 1 / 3),
        (["15-13, 15-9", "15-9, 15-13"], (), 0.5),
        (["C", "C. green", "C. brown", "green"], (), 0.25),
    ],
)
def test_votes(answers, options, confidence):
    assert vote(answers, options=options).confidence == pytest.approx(confidence)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("<think>Perhaps \\boxed{8}. No, nine.</think> It is nine.", None),
        ("<think>so \\boxed{8}</think>", None),
        ("<think>first \\boxed{8}, but wait", None),
        ("first \\boxed{8}</think> it is \\boxed{9}", "9"),
        ("<think>\\boxed{8}</think> \\boxed{9}", "9"),
        ("<thinking>\\boxed{8}</thinking>\\boxed{9}", "9"),
        ("Thus \\fbox{17}.", "17"),
        ("It is \\boxed7", "7"),
        ("It is \\boxed 7.", "7"),
        ("It is \\boxed B.", "B"),
        ("It is \\\\boxed{7}", "7"),
        ("It is \\\\\\\\boxed{7}", "7"),
        ("\\boxed{4}, as was asked in \\boxed{}.", "4"),
        ("\\boxed{4} \\boxed{\\quad}", "4"),
        ("\\boxed{<answer>4</answer>}", "4"),
        ("\\boxed{\\ }", None),
        ("\\boxed{\\mathrm{}}", None),
        ("\\boxed{\\hspace{1cm}}", None),
        ("\\boxed{4}, as was asked in \\boxed{\\phantom{x}}.", "4"),
        ("\\boxed{<|begin_of_box|>4<|end_of_box|>}", "4"),
        ("◁think▷\\boxed{4}◁/think▷ It is four.", None),
        ("<thought>\\boxed{4}</thought> It is four.", None),
    ],
)
def test_boxes(completion, answer):
    assert extract_answer(completion) == answer


def test_the_format_where_the_template_opens_the_thinking():
    assert follows_format("There are four.</think>\\boxed{4}")
    assert follows_format("<think>There are four.</think>\\boxed{4}")
    assert not follows_format("There are four. \\boxed{4}")
    assert not follows_format("a</think>b</think>\\boxed{4}")


def asked(kind="numerical", question="How many cats?", answer="2"):
    return f"<type>{kind}</type><question>{question}</question><answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("completion", "read"),
    [
        (
            asked("Multiple-Choice", "Which? A. cat B. dog"),
            ("multiple choice", "Which? A. cat B. dog", ("cat", "dog")),
        ),
        (asked("yes / no question"), ("yes/no", "How many cats?", ())),
        (asked("short_answer"), ("short answer", "How many cats?", ())),
        ("<think>say <question>what?</question></think>" + asked(), ("numerical", "How many cats?", ())),
        ("say <question>what?</question></think>" + asked(), ("numerical", "How many cats?", ())),
        (asked().replace("question>", "Question >"), ("numerical", "How many cats?", ())),
        (asked("numeral"), "unknown_type"),
        (asked(question="?!"), "empty_question"),
        ("<think>" + asked(), "missing_type"),
        (asked(question="What is <|im_end|>?"), "control_token"),
        (asked(answer="<|im_end|>"), "control_token"),
    ],
)
def test_questions(completion, read):
    found = parse_question(completion, types=TYPES, control_tokens=["<|im_end|>"])
    if isinstance(read, str):
        assert found == ParseFailure(reason=read)
    else:
        assert isinstance(found, Question)
        assert (found.type, found.question, found.options) == read


@pytest.mark.parametrize(
    ("question", "options"),
    [
        (
            "Options: A: ship A: sail, B: ship C: steam, C: ship B: oars",
            ("ship A: sail", "ship C: steam", "ship B: oars"),
        ),
        ("Which side? (a) left (b) right (c) top", ("left", "right", "top")),
        ("Which?\n- A. cat\n- B. dog", ("cat", "dog")),
        ("Which? **A)** cat **B)** dog", ("cat", "dog")),
        ("哪个\uff1f\uff08A\uff09猫\uff08B\uff09狗", ("猫", "狗")),
        ("哪个\uff1fA\uff0e猫 B\uff0e狗", ("猫", "狗")),
        ("What are P(A) and P(B)?", ()),
        ("Which? A) 1.5, B) 2.5 or C) 3", ("1.5", "2.5", "3")),
        ("Which?\nA. yes\nB. no\nAnswer with a letter.", ("yes", "no")),
        ("选择 A、红 B、蓝", ("红", "蓝")),
        ("Which of A or B?", ()),
        ("Is E. coli shown?", ()),
    ],
)
def test_options_in_a_question(question, options):
    assert inline_options(question) == options


MMMU = {"id": "validation_Art_7", "question": "Which?", "question_type": "multiple-choice"}
VISTA = {
    "pid": "7",
    "question": "?",
    "choices": None,
    "unit": None,
    "precision": None,
    "question_type": "free_form",
}
VISION = {"id": "7", "question": "?", "options": [], "level": 2, "subject": "s"}
HALLUSION = dict.fromkeys(("category", "subcategory", "set_id", "figure_id", "question_id", "question"), "0")
VERSE = {"sample_index": "7", "problem_index": "7", "problem_version": "v", "question": "", "query_cot": ""}
FOUR = "Question: Find x.\nChoices:\nA:3cm\nB:5cm\nC:2\\sqrt{5}cm\nD:7cm"
FIVE = "Question: Find x.\nChoices:\nA:\\frac{1}{3}\nB:\\frac{\\sqrt{5}}{3}\nC:1\nD:2\\sqrt{5}"


@pytest.mark.parametrize(
    ("benchmark", "row", "said", "right"),
    [
        ("mmmu", MMMU | {"options": "['C', 'A', 'B']", "answer": "A"}, "\\boxed{C}", True),
        ("mmmu", MMMU | {"options": "['C', 'A', 'B']", "answer": "A"}, "\\boxed{A}", False),
        ("mmmu", MMMU | {"options": "['E', 'F', 'C']", "answer": "C"}, "\\boxed{C}", True),
        (
            "mmmu_pro_standard",
            {"id": "7", "question": "?", "options": "['B', 'A']", "answer": "B", "subject": "s"},
            "\\boxed{A}",
            True,
        ),
        (
            "mmstar",
            {
                "index": 7,
                "question": "?\nOptions: A: C, B: A, C: B",
                "answer": "A",
                "category": "c",
                "l2_category": "l",
            },
            "\\boxed{C}",
            True,
        ),
        (
            "mmstar",
            {
                "index": 7,
                "question": "?\nOptions: (a) up (b) down",
                "answer": "B",
                "category": "c",
                "l2_category": "l",
            },
            "\\boxed{down}",
            True,
        ),
        (
            "mathvista",
            VISTA | {"choices": ["T. Roe", "A. Poe"], "answer": "A. Poe", "answer_type": "text"},
            "\\boxed{A. Poe}",
            True,
        ),
        (
            "mathvista",
            VISTA | {"choices": ["B", "A"], "answer": "A", "answer_type": "text"},
            "\\boxed{A}",
            True,
        ),
        (
            "mathvista",
            VISTA | {"choices": ["7", "5 \\sqrt { 3 }"], "answer": "5 \\sqrt { 3 }", "answer_type": "text"},
            "\\boxed{5\\sqrt3}",
            True,
        ),
        (
            "mathverse",
            VERSE | {"query_wo": FOUR, "question_type": "multi-choice", "answer": "C"},
            "\\boxed{2\\sqrt{5}}",
            True,
        ),
        (
            "mathverse",
            VERSE | {"query_wo": FIVE, "question_type": "multi-choice", "answer": "B"},
            "\\boxed{\\sqrt{5}/3}",
            True,
        ),
        (
            "mathverse",
            VERSE | {"query_wo": FIVE, "question_type": "multi-choice", "answer": "D"},
            "\\boxed{\\sqrt{20}}",
            True,
        ),
        (
            "mathvision",
            VISION | {"options": ["$3\\sqrt{5}$", "$5\\sqrt{3}$"], "answer": "B"},
            "\\boxed{5\\sqrt3}",
            True,
        ),
        ("mathvision", VISION | {"answer": "16\\pi"}, "\\boxed{16\\pi \\text{ m}^2}", True),
        ("mathvision", VISION | {"answer": "7"}, "<think>Say \\boxed{7}. Count again: one,", "truncated"),
        ("hallusionbench", HALLUSION | {"gt_answer": "1"}, "<think>So \\boxed{Yes}. But the", "truncated"),
        ("hallusionbench", HALLUSION | {"gt_answer": "1"}, "\\boxed{Yes (they match)}", True),
        ("hallusionbench", HALLUSION | {"gt_answer": "0"}, "\\boxed{No\u2014shorter}", True),
        ("hallusionbench", HALLUSION | {"gt_answer": "1"}, "\\boxed{Yes, 4 lines}", True),
        (
            "mathvista",
            VISTA | {"precision": 2.0, "answer": "43", "answer_type": "float"},
            "\\boxed{0.43%}",
            False,
        ),
        (
            "mathvista",
            VISTA | {"precision": 2.0, "answer": "0.43", "answer_type": "float"},
            "\\boxed{43%}",
            True,
        ),
        ("mathvista", VISTA | {"answer": "2000000", "answer_type": "integer"}, "\\boxed{2M}", True),
        ("mathvista", VISTA | {"answer": "[2, 0, 1]", "answer_type": "list"}, "\\boxed{0, 1, 2}", False),
        ("mmmu", MMMU | {"options": "[]", "answer": "40", "question_type": "open"}, "\\boxed{0.4%}", False),
        (
            "mmmu",
            MMMU | {"options": "[]", "answer": "325000", "question_type": "open"},
            "\\boxed{$325K}",
            True,
        ),
        (
            "mmmu",
            MMMU | {"options": "[]", "answer": "47", "question_type": "open"},
            "\\boxed{47 \\, \\text{k}\\Omega}",
            True,
        ),
        ("chartqa", {"type": "human", "question": "?", "answer": "25-34"}, "\\boxed{35-44}", False),
        ("chartqa", {"type": "human", "question": "?", "answer": "2001-2003"}, "\\boxed{2003-2005}", False),
        ("chartqa", {"type": "human", "question": "?", "answer": "3.4"}, "\\boxed{$3.4M}", True),
        ("chartqa", {"type": "human", "question": "?", "answer": "7000"}, "\\boxed{7K}", True),
        ("chartqa", {"type": "human", "question": "?", "answer": "U.K."}, "\\boxed{UK}", True),
    ],
)
def test_benchmark_rows(benchmark, row, said, right):
    item = read_item(find_spec(benchmark), open_rows(Source(items=[row]), shown=benchmark), 0)
    score = score_output(said, item.gold, cut=right == "truncated")
    assert score.status == ("truncated" if right == "truncated" else "ok")
    assert score.correct is (right is True), (score, item.gold)


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("seed: 2:30\n", [], "seed: "),
        ("", ["lora.rank=yes"], "lora.rank: must be a number"),
        ("health: {limits: {kl: off}}\n", [], "health.limits: must be a number (null switches it off)"),
        ("", ["health.limits.redundancy=no"], "null switches it off"),
        ("", ["evaluation.blind_limit=on"], "evaluation.blind_limit: must be a number"),
        ("questioner: {types: [Yes/No, yes-no]}\n", [], "each type must be named once"),
        ("model: {path: '${oc.env:HOME}'}\n", [], "model.path: '${oc.env:HOME}' is a placeholder"),
        ("", ["images.source=???"], "images.source: '???' is a placeholder"),
        ("", ["optimizer.learning_rate=.inf"], "optimizer.learning_rate: "),
        ("", ["votes.samples=3.5"], "votes.samples: input should be a valid integer"),
        ("", ["rewards.format_weight=.nan"], "rewards.format_weight: input should be a finite number"),
        ("", ["name=.."], "name: "),
        ("", ["engine.vllm={max_loras: 1}"], "engine.vllm: max_loras is set by visplay itself"),
        ("", ["engine.vllm={logprobs-mode: raw_logits}"], "logprobs-mode is set by visplay itself"),
        ("", [f"name={'n' * 300}"], "name: "),
        ("seed: 1\nseed: 2\n", [], "seed is given twice"),
        ("seed: 010\n", [], "seed: must be a number in decimal digits"),
        ("", ["optimizer.learning_rate=1_0.5"], "must be a number in decimal digits"),
        ("", ["images.source=''"], "images.source: must not be empty"),
        ("", ["model.path=''"], "model.path: must not be empty"),
        ("threads: &loop [*loop]\n", [], "cannot be read"),
    ],
)
def test_configurations_that_are_refused(tmp_path: Path, text, overrides, said):
    path = tmp_path / "c.yaml"
    path.write_text("images: {source: pics}\n" + text)
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    assert said in str(error.value)


def test_configurations_that_are_read(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text("images: {source: 'a #1'}\nseed: 10\noptimizer: {learning_rate: 1e-5, kl: '1e-3'}\n")
    config = load_config(path, ["images.oracle=null", "lora.dropout=1e-2", "model.path=my model #2"])
    assert (config.seed, config.optimizer.learning_rate, config.optimizer.kl) == (10, 1e-5, 1e-3)
    assert (config.images.source, config.lora.dropout) == (Path("a #1"), 0.01)
    assert config.model.path == "my model #2"
    path.write_text("images: {<<: {source: pics, column: a}, source: others}\n")
    config = load_config(path, ["model.path='a #1'"])
    assert (str(config.images.source), config.images.column, config.model.path) == ("others", "a", "a #1")


OPTIONS = ["red", "green", "blue", "yellow"]


@pytest.mark.parametrize(
    ("gold", "letters"),
    [
        ("B", "B"),
        ("green", "B"),
        ("A, C", "A,C"),
        ("CA", "A,C"),
        (["A", "C"], "A,C"),
        ("red and blue", "A,C"),
    ],
)
def test_a_gold_answer_may_name_several_options(gold, letters):
    spec = Spec(id="own", source=Source(items=[{}]), options="options", rule="choice")
    rows = open_rows(Source(items=[{"question": "?", "options": OPTIONS, "answer": gold}]), shown="own")
    assert read_item(spec, rows, 0).gold.answers == (letters,)


@pytest.mark.parametrize("gold", ["E", "purple", "red, purple", ["A", "F"], "0"])
def test_a_gold_answer_that_names_no_option_is_refused(gold):
    spec = Spec(id="own", source=Source(items=[{}]), options="options", rule="choice")
    rows = open_rows(Source(items=[{"question": "?", "options": OPTIONS, "answer": gold}]), shown="own")
    with pytest.raises(BenchmarkError, match=r"own: row 0: the gold answer .* names none of"):
        read_item(spec, rows, 0)


IN_LINES = "Which?\n(A) red\n(B) green\n(C) blue"


@pytest.mark.parametrize("gold", ["D", "purple", "red, purple"])
def test_a_gold_answer_that_names_no_option_of_its_question_is_refused(gold):
    spec = Spec(id="own", source=Source(items=[{}]), inline_options=True, rule="choice")
    rows = open_rows(Source(items=[{"question": IN_LINES, "answer": gold}]), shown="own")
    with pytest.raises(BenchmarkError, match=r"own: row 0: the gold answer .* names none of"):
        read_item(spec, rows, 0)


@pytest.mark.parametrize(
    ("question", "gold", "rule"),
    [
        (IN_LINES, "2", "open"),  # the spec does not say that it must be an option
        ("Which? (A) red (B) green", "C", "choice"),  # there may be more than what was read as options
        (IN_LINES + "\nE. grey", "E", "choice"),
        ("Which point is higher?", "B", "choice"),  # the options stand in the picture
    ],
)
def test_options_that_are_not_certain_refuse_no_row(question, gold, rule):
    spec = Spec(id="own", source=Source(items=[{}]), inline_options=True, rule=rule)
    rows = open_rows(Source(items=[{"question": question, "answer": gold}]), shown="own")
    item = read_item(spec, rows, 0)
    assert item.gold.answers == (gold,)
    assert score_output(f"\\boxed{{{gold}}}", item.gold, cut=False).correct


def test_where_options_are_listed_the_answer_is_one_of_them_whatever_the_rule():
    spec = Spec(id="own", source=Source(items=[{}]), options="options")
    rows = open_rows(Source(items=[{"question": "?", "options": OPTIONS, "answer": "pink"}]), shown="own")
    with pytest.raises(BenchmarkError, match="names none of"):
        read_item(spec, rows, 0)
