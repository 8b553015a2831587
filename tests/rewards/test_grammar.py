"""Each form of the grammar, with pairs that are one answer and pairs that only look alike."""

from pathlib import Path

import pytest

from rewards import equivalent, extract_answer, parse_question, vote
from rewards.answers.equivalence import answer_form
from rewards.parsing import stated_answer

SAME = {
    "fractions in words": [("5 eighths", "5/8"), ("one ninth", "1/9"), ("2 and three quarters", "2.75")],
    "powers in words": [("4 squared", "16"), ("2 cubed", "8"), ("x squared", "x^2")],
    "decimals in words": [("two point five", "2.5"), ("zero point zero four", "0.04")],
    "mathematics in words": [("7 pi", r"7\pi"), ("1/3 pi", r"\frac{\pi}{3}"), ("two pi", "2π")],
    "Chinese numerals": [("七分之二", "2/7"), ("六点五", "6.5"), ("负八", "-8")],
    "programs": [("5**2", "25"), ("y**3", "y^3"), ("2**-2", "1/4"), ("sqrt(7)", r"\sqrt{7}")],
    "matrices": [(r"\begin{bmatrix} 5 & 6 \\ 7 & 8 \end{bmatrix}", r"\begin{bmatrix}5&6\\7&8\end{bmatrix}")],
    "algebra": [
        (r"\frac{x^2-9}{x-3}", "x+3"), (r"\frac{6}{\sqrt{3}}", r"2\sqrt{3}"),
    ],
    "roots": [
        (r"\sqrt{50}", r"5\sqrt{2}"), (r"\sqrt[3]{54}", r"3\sqrt[3]{2}"),
        (r"\sqrt{\frac{4}{9}}", "2/3"),
    ],
    "functions": [("ln 5", r"\ln(5)"), (r"2\sin x\cos x", r"2 \cos(x) \sin(x)")],
    "equations": [("8 = x", "x = 8"), ("y = x^2 - 1", "(x-1)(x+1)"), ("u - 1 = v", "v = -1 + u")],
    "inequalities": [("x >= 4", r"4 \le x"), ("2 <= x < 7", "7 > x >= 2")],
    "Unicode": [
        ("β/3", r"\frac{\beta}{3}"), ("x ≤ 5", r"x \le 5"),
        ("B \u222a A", r"B \cup A"), ("\u22124", "-4"),
    ],
    "formulas": [("Fe_2O_3", "Fe2O3"), ("SO4^{2-}", "SO_4^{2-}"), ("2 H2 + O2", "2 H2 + O2")],
    "verdict lists": [("[No, Yes]", "No, Yes"), ("[1-5, 6-9]", "1-5 and 6-9")],
    "spaces at signs": [("< 7", "<7"), ("21 +", "21+"), ("K - L", "K-L")],
    "ordinals": [("43rd", "forty-third"), ("thirtieth", "30th")],
    "dates": [("2023-06", "June 2023"), ("7-Mar-1999", "March 7, 1999")],
    "times": [("half an hour", "30 minutes")],
    "quantities": [("2 US dollars", "$2"), ("4 sqm", "4 m^2"), ("an hour", "60 min"), ("7 KG", "7 kg")],
    "repeating decimals": [("0.(7)", "7/9"), ("0.444...", "4/9"), (r"0.1\overline{6}", "1/6")],
    "several letters": [("both B and D", "B, D"), ("options A and E", "E, A")],
    "lines": [("1\n2", "2, 1"), ("4,\n5", "4, 5"), ("STOP\nAHEAD", "STOP AHEAD"), ("B\nC", "B, C")],
    "lead-ins": [("La respuesta correcta es C", "C"), ("本题选D", "D"), ("the answer is 8", "8")],
    "marks of style": [("**6**", "6"), ("_D_", "D"), (r"\mathbf{D}", "D")],
}  # fmt: skip
DIFFERENT = {
    "what differs late": [
        ("x + 10^{-30}", "x"), ("x + 10^{-60}", "x"), (r"\sqrt{2}", "1.4142135623730950488"),
        ("(x+1)(x-1)", "x^2-1.00000000000000000001"), ("2^{300}x", "(2^{300}+1)x"),
    ],
    "ordered lists": [("(P, Q)", "(R, S)"), ("[D, A]", "[A, D]"), ("(m, 2)", "(n, 2)")],
    "a letter and more": [("C. is not it", "C"), ("D: no", "D"), ("E - F", "E"), ("A. cat B. dog", "A")],
    "a number and more": [
        ("4 fifths", "4"), ("6 tau", "6"),
        ("3 tripled", "3"), ("8 over", "8"),
        ("9 gross", "9"),
    ],
    "derivatives": [(r"\frac{dq}{dt}", r"\frac{dp}{dt}"), (r"3\frac{du}{dx}", "0"), ("du/dv", "dv/du")],
    "transposes": [("B^T", "B"), ("M^{-1}", "M"), (r"\vec{u}\times\vec{v}", r"\vec{v}\times\vec{u}")],
    "Chinese words": [("五角星", "5"), ("八卦", "8"), ("六十多", "60"), ("九折", "9"), ("两边", "2")],
    "matrices": [(r"\begin{pmatrix} 5 & 6 & 7 \end{pmatrix}", r"\begin{pmatrix} 6 & 5 & 7 \end{pmatrix}")],
    "powers": [("4**3", "43"), ("y**2", "y2"), ("c**d", "cd")],
    "formulas": [("Mg3(PO4)2", "Mg2(PO4)3"), ("S2 + 2O", "2S + O2"), ("CS", "Cs"), ("PbO2", "Pb2O")],
    "bases": [("110₂", "1102"), ("7₈", "78"), ("y_{2}3", "y_{23}"), ("k_{1/2}", "k_1/2")],
    "marks": [("~C", "C"), ("g''", "g"), ("h'(x)", "h''(x)"), ("P'", "P")],
    "decimal commas": [("0,250", "250"), ("0,040", "40"), ("2,5", "5,2")],
    "letters of languages": [("Fuße", "Fusse"), ("7ª", "7a"), ("Ñ", "N")],
    "written arithmetic": [("4 + 5", "9"), ("2 * 8", "4 * 4"), ("3 + 6 = 9", "4 + 5 = 9")],
    "units": [("8 cm", "8"), ("8 cm", "8 m"), ("30%", "30"), ("8 lb", "£8"), ("¥8", "8 yuan")],
    "names of values": [("y = 6", "z = 6"), ("y = 6", "6"), ("AB = 6", "CD = 6")],
    "rounding": [("0.333", "1/3"), ("0.667", "0.6667")],
    "lines": [("red, 3\nblue, 5", "red, 5\nblue, 3"), ("KEEP\nLEFT", "LEFT\nKEEP"),
              ("1, 2\n3, 4", "1, 3\n2, 4")],
    "verdicts": [("no-one", "no"), ("no-fly zone", "no"), ("yes and no", "yes")],
}  # fmt: skip


@pytest.mark.parametrize(("a", "b"), [pair for pairs in SAME.values() for pair in pairs])
def test_one_answer_in_two_spellings(a, b):
    assert equivalent(a, b).equal and equivalent(b, a).equal, (answer_form(a), answer_form(b))


@pytest.mark.parametrize(("a", "b"), [pair for pairs in DIFFERENT.values() for pair in pairs])
def test_two_answers_that_look_alike(a, b):
    assert not equivalent(a, b).equal and not equivalent(b, a).equal, answer_form(a)


def test_different_labels_are_never_equal():
    table = Path(__file__).parents[1] / "golden" / "different_labels.tsv"
    groups: dict[str, dict[str, str]] = {}
    pairs = 0
    for line in table.read_text(encoding="utf-8").splitlines()[1:]:
        group, label = line.split("\t")
        known = groups.setdefault(group, {})
        key = answer_form(label).key
        assert key and key not in known, (group, label, known.get(key))
        pairs += len(known)
        known[key] = label
    assert pairs >= 31_000


@pytest.mark.parametrize(
    ("a", "b", "question", "equal"),
    [
        ("7 birds", "7", "How many birds sit there?", True),
        ("1 bird", "1", "How many birds sit there?", True),
        ("7 birds", "7", "Count the birds.", True),
        ("7 birds", "7", "How many trees are there?", False),
        ("7 birds", "7 trees", "How many birds are there?", False),
        ("7 halves", "7", "How many halves are there?", False),
        ("3只猫", "3", "图中有几只猫", True),
        ("12 cm", "12", "How many cm long is the bar?", True),
        ("120 mm", "12", "What is its length in cm?", True),
        ("12 m", "12", "What is its length in cm?", False),
        ("12 cm^2", "12", "The sides are 3 cm and 4 cm. What is the area?", True),
        ("12 cm", "12", "The sides are 3 cm and 4 cm. What is the area?", False),
        ("35%", "35", "What percentage voted?", True),
        ("35%", "0.35", "What percentage voted?", False),
        ("35%", "0.35", None, True),
        ("60°", "60", "How large is the angle?", True),
        ("AC = 9", "9", "Find AC.", True),
        ("AC = 9", "9", "Find AB.", False),
        ("4, 9", "9, 4", "Sort them in ascending order.", False),
        ("4, 9", "(4, 9)", "Give the coordinates of P.", True),
    ],
)
def test_the_question_says_what_an_answer_leaves_out(a, b, question, equal):
    assert equivalent(a, b, question=question).equal is equal


@pytest.mark.parametrize(
    ("said", "options", "letter"),
    [
        ("2nd", ("second", "2nd", "third"), "B"),
        ("2/6", ("1/3", "2/6", "5/6"), "B"),
        ("3, 1", ("1, 3", "3, 1", "3"), "B"),
        ("bb", ("BB", "Bb", "bb"), "C"),
        ("No, it is cold", ("No, it is warm", "No, it is cold", "Yes"), "B"),
        ("C (blue)", ("red", "green", "blue"), "C"),
        ("blue (C)", ("red", "green", "blue"), "C"),
        ("option C: blue", ("red", "green", "blue"), "C"),
        ("C blue", ("red", "green", "blue"), "C"),
        ("C. red", ("red", "green", "blue"), ""),
        ("C. blue or red", ("red", "green", "blue"), ""),
        ("0.25", ("1/4", "2/8", "1/2"), ""),
        ("w" * 300, ("v" * 300, "w" * 300), "B"),
        ("B. " + "w" * 300, ("v" * 300, "w" * 300), "B"),
        ("AC", ("red", "green", "blue"), "A,C"),
        ("red and blue", ("red", "green", "blue"), "A,C"),
        ("A. red, C. blue", ("red", "green", "blue"), "A,C"),
        ("place 27", tuple(f"place {n}" for n in range(30)), "AB"),
    ],
)
def test_options_by_their_own_text_then_by_letter_then_by_the_rules(said, options, letter):
    form = answer_form(said, options=options)
    assert form.key.partition(":")[2] == letter if letter else form.kind != "letter", form


def test_votes_keep_apart_what_only_looks_alike():
    assert vote(["[B, A]", "[A, B]", "[B, A]"]).confidence == pytest.approx(2 / 3)
    assert vote(["3 quarters", "3", "3"]).confidence == pytest.approx(2 / 3)
    assert vote(["AgNO3", "Ag3NO", "AgNO3"]).confidence == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"[THINK]perhaps \boxed{4}", None),
        (r"[THINK]perhaps \boxed{4}[/THINK] \boxed{5}", "5"),
        (r"<|channel|>analysis \boxed{4}<|channel|>final \boxed{5}", "5"),
        (r"<|begin_of_thought|>\boxed{4}<|end_of_thought|> so five", None),
        (r"<own_think>\boxed{4}</own_think> so five", None),
        (r"the [analysis] gives \boxed{5}", "5"),
        ("<|begin_of_box|>D<|end_of_box|>", "D"),
    ],
)
def test_boxes_in_the_marks_of_other_models(text, answer):
    assert extract_answer(text) == answer


def test_answers_as_data_sets_state_them():
    assert stated_answer("so 3 + 4\n#### 7") == "7"
    assert stated_answer("<answer>C</answer>") == "C"
    assert stated_answer(r"\boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert extract_answer(r"<answer>\boxed{}</answer>", "tagged") is None


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which one?\nA.\nB.\nC.", ()),
        ("In the plot, A: 3, B: 8, C: 9. Which is the mean?", ()),
        ("Which one?\nOption A: cat\nOption B: dog", ("cat", "dog")),
    ],
)
def test_options_in_a_question_are_told_from_names(question, options):
    text = f"<type>t</type><question>{question}</question><answer>A</answer>"
    assert parse_question(text, types=["t"]).options == options
