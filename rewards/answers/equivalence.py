"""Do two answers say the same? Cheapest stage first, and the verdict names the stage that decided."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rewards.answers.canonical import canonical, option_forms
from rewards.answers.form import Form, same
from rewards.answers.math_worker import shared_worker

Judge = Callable[[str, str], bool | None]
Mathematics = Callable[[str, str], bool | None]

_LONGEST_MATH = 200
_DEEPEST = 12
_CLOSED = frozenset(
    {"empty", "letter", "yes_no", "number", "ordinal", "time", "date", "range", "size", "ratio", "code"}
)
_HARMLESS = re.compile(r"[0-9A-Za-z\\{}()\[\].,;:+\-*/^_=<>|&%°≤≥√π\u00d7÷∞ ]*")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_COMMAND_NAMES = (
    "frac sqrt pi cdot times div pm mp le leq ge geq lt gt ne neq infty alpha beta gamma delta theta lambda "
    "mu phi omega sigma rho tau epsilon sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln "
    "exp lim to in cup cap emptyset mathbb text begin end pmatrix bmatrix circ angle overline vec hat bar "
    "langle rangle lbrace rbrace lvert rvert vert mid or and approx quad left right"
)
_COMMANDS = frozenset(_COMMAND_NAMES.split())
_TOWER = re.compile(r"\^\s*(?:\{[^}]*\^|\w\s*\^|\\)|\^\s*\{?\s*[({+-]*\d{4,}|\*\*|\)\s*\^.*\)\s*\^.*\)\s*\^")
_LONG_NUMBER = re.compile(r"\d{25,}")
_ATOM = r"(\\[a-zA-Z]+|[0-9a-zA-Z])"
_NAME = re.compile(r"(?<![\\a-zA-Z])[A-Z]{2,6}(?![a-z])")  # a segment or an angle is one thing, not a product
_REPLACEMENTS = [
    (re.compile(rf"\\frac\s*{_ATOM}\s*(?={_ATOM}|\{{)"), r"\\frac{\1}"),
    (re.compile(rf"(\\frac\{{[^{{}}]*\}})\s*{_ATOM}"), r"\1{\2}"),
    (re.compile(r"\{\s*\\(?:rm|bf)\s+([^{}]*)\}"), r"\1"),
    (re.compile(r"(?<!\\)\bsqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*\(([^()]*)\)|√\s*(\w+)"), r"\\sqrt{\1\2}"),
    (re.compile(r"(?<![\\a-zA-Z])(pi|sin|cos|tan|log|ln)(?![a-zA-Z])"), r"\\\1 "),
    (re.compile(r"(?<![\\a-zA-Z])(?:infinity|infty)(?![a-zA-Z])|∞"), r"\\infty "),
    (re.compile("π"), r"\\pi "),
    (re.compile("\\*|\u00d7"), r"\\cdot "),
    (re.compile("÷"), "/"),
    (re.compile("≤"), r"\\le "),
    (re.compile("≥"), r"\\ge "),
    (re.compile("°"), r"^{\\circ}"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether two answers are equivalent, and which stage decided.

    Attributes:
        equal: the decision.
        stage: the kind of answer that the fast path compared (see `Kind`), or `math`, `judge`; `refused` for
            mathematics that is not safe to parse, `timeout` where the mathematics worker gave no verdict,
            `judge_error` where the judge gave none. The last three are never equal.
    """

    equal: bool
    stage: str


def equivalent(
    a: str | None,
    b: str | None,
    *,
    question: str | None = None,
    options: Sequence[str] | None = None,
    tolerance: float | None = None,
    judge: Judge | None = None,
    mathematics: Mathematics | None = None,
) -> Verdict:
    """Decides whether two answers are the same answer; symmetric in a and b, never raises on their text.

    The typed fast path decides most pairs in microseconds. Only two texts that look mathematical and differ
    reach the mathematics worker, and only what neither could show equal reaches the judge.

    Args:
        question: what is answered.
        a: an answer, untrusted; None for unparsed, which is equivalent to nothing.
        b: the other one.
        options: texts of a multiple-choice question's options, A first.
        tolerance: relative to the larger of two numbers, e.g. 0.05, >= 0; None for exact.
        judge: asked last, with both texts in alphabetical order; None from it means that it failed.
        mathematics: decides pairs of LaTeX texts, None for no verdict; by default one worker process,
            started when first needed.

    Raises:
        ValueError: the tolerance is negative.
    """
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance must be >= 0, got {tolerance}")
    if a is None or b is None:
        return Verdict(equal=False, stage="empty")
    labels = tuple(options) if options is not None else ()
    left, right = (answer_form(text, options=labels, mathematics=mathematics) for text in (a, b))
    verdict = compare(left, right, tolerance=tolerance, mathematics=mathematics)
    if judge is None or verdict.equal or (left.kind in _CLOSED and right.kind in _CLOSED):
        return verdict
    opinion = judge(*sorted((a, b)))
    return Verdict(equal=bool(opinion), stage="judge" if opinion is not None else "judge_error")


def answer_form(text: str, *, options: tuple[str, ...] = (), mathematics: Mathematics | None = None) -> Form:
    """The canonical form of an answer; with options, an expression equal to one of them is its letter.

    Args:
        text: an answer, untrusted.
        options: texts of a multiple-choice question's options, A first.
        mathematics: see `equivalent`.
    """
    form = canonical(text, options=options)
    if not options or not form.mathematical:
        return form
    forms = option_forms(options)
    if not any(option.kind == "math" or form.kind == "math" for option in forms if option.mathematical):
        return form
    equal = [
        place for place, option in enumerate(forms) if compare(form, option, mathematics=mathematics).equal
    ]
    letter = chr(65 + equal[0]) if len(equal) == 1 else ""
    return Form(kind="letter", key=letter, name=letter) if letter else form


def compare(
    left: Form, right: Form, *, tolerance: float | None = None, mathematics: Mathematics | None = None
) -> Verdict:
    """Compares two canonical forms, by mathematics only where the fast path leaves them open."""
    known = same(left, right, tolerance=tolerance)
    if known is not None:
        return Verdict(equal=known, stage=left.kind if left.kind == right.kind else "text")
    first, second = _in_one_unit(left, right)
    if first == second:
        return Verdict(equal=True, stage="math")
    if not (safe_to_parse(first) and safe_to_parse(second)):
        return Verdict(equal=False, stage="refused")
    decided = (mathematics or shared_worker())(*sorted((first, second)))
    return Verdict(equal=bool(decided), stage="math" if decided is not None else "timeout")


def _in_one_unit(left: Form, right: Form) -> tuple[str, str]:
    """Both sides as LaTeX; where their units differ, each times the factor to the same base."""
    first, second = as_latex(left.latex or left.key), as_latex(right.latex or right.key)
    if left.counts and right.counts:
        one, other = left.counts.factors(right.counts)[0]
        if one != other:
            return tuple(  # type: ignore[return-value]
                rf"\frac{{{factor.numerator}}}{{{factor.denominator}}} \cdot ({text})"
                for factor, text in ((one, first), (other, second))
            )
    return first, second


def as_latex(text: str) -> str:
    r"""Writes plain mathematics as LaTeX: `sqrt(2)` becomes `\sqrt{2}`, `pi` becomes `\pi`."""
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    text = _NAME.sub(lambda name: "S_{" + "".join(str(ord(c)) for c in name.group()) + "}", text)
    return " ".join(text.split())


def safe_to_parse(latex: str) -> bool:
    """Says whether the worker may see a text: short, shallow, known commands, no towers, no factorials."""
    if len(latex) > _LONGEST_MATH or not _HARMLESS.fullmatch(latex) or "__" in latex:
        return False
    if not _COMMANDS.issuperset(_COMMAND.findall(latex)):
        return False
    if _TOWER.search(latex) or _LONG_NUMBER.search(latex):
        return False
    depth = deepest = 0
    for character in latex:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    return deepest <= _DEEPEST
