r"""The typed fast path: an answer's text -> a canonical form that can be compared without a parser.

Every decision taken here is written down, with its reason, in `docs/answer-equivalence.md`.
"""

import re
from functools import lru_cache

from rewards.answers.choices import bare_letter, lettered, unlabelled
from rewards.answers.cleaning import UNIT_MARK, marked, plain
from rewards.answers.form import Form, number_form, same
from rewards.answers.notations import code, moment, notation
from rewards.answers.numerals import ordinals_in_words, parse_ordinal
from rewards.answers.quantities import Quantity, parse_quantity
from rewards.answers.units import Unit, known_unit, vague_unit
from rewards.answers.yes_no import yes_or_no

_LONGEST_TYPED = 200
_LONGEST_CACHED = 400
_MAX_ITEMS = 32

_ASSIGNED = re.compile(
    r"((?:m?\s*\\angle\s*)?[A-Za-z]+(?:_\{?\w+\}?)?'?(?:\([A-Z\d]{1,4}\))?"
    r"|[A-Za-z]+(?: [A-Za-z]+){1,4})\s*=\s*(?=[^=\s])"
)
_MATH_SIGN = re.compile(
    r"\\[a-zA-Z]|[\^=<>≤≥√π\u00d7÷∞*/|+]|[0-9a-zA-Z)]!|\d[a-zA-Z(]|[a-zA-Z0-9)]\s*-\s*[a-zA-Z0-9(]"
)
_DANGLING = re.compile(r".*[-+*/^=<>]|[*/^=<>].*", re.DOTALL)
_LONG_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")
_SEGMENT_NAME = re.compile(r"(?<![\\a-zA-Z])[A-Z]{2,6}(?![a-z])")
_FUNCTIONS = (
    "sin cos tan cot sec csc arcsin arccos arctan log exp sqrt lim infty infinity inf and mod pmatrix bmatrix"
)
_MATH_WORDS = frozenset(_FUNCTIONS.split())
_RELATION = re.compile(r"[=<>≤≥≠]|\\(?:leq?|geq?|neq?|lt|gt)(?![a-z])")
_COMMAND = re.compile(r"\\[A-Za-z]+|\b(?:sqrt|pi|sin|cos|tan|log|ln)\b")
_UNIT_START = re.compile(r"(?<=[\d)}\]π\s])(?=[^\W\d_]|[°%])")
_SURE_UNIT = re.compile(
    r"(?:[cmdk]m|kg|ft|[kM]?Hz|[kM]?Pa|[°%μΩ].*|[^\W\d_]{3,}(?:\s+[^\W\d_]{3,})*|[\u4e00-\u9fff].*|.*/.*)(?:\^?\{?-?\d\}?)?"
)
_LAST_WORD = re.compile(r"\s+(?:(?:square|cubic|sq\.?|cu\.?)\s+)?[^\W\d_]{3,}(?:\^?\{?[23]\}?)?$")
_ARTICLES = re.compile(r"^(?:the|a|an)\s+(?=\S)")
_PLACE = re.compile(
    r"(?:(?:on|at|to|in|towards?)\s+)?(?:the\s+)?(?:very\s+)?(left|right|top|bottom|middle|center|centre|front|back)"
    r"(?:[ -]?hand)?(?:\s+(?:side|part|edge))?"
)
_PUNCTUATION = re.compile(r"[\s\-_,;:!?.\"'()\[\]{}*]+")
_BARE_COMMA = re.compile(r"(?<!\d),|,(?!\d{3}(?!\d))")
_NAMED_PAIR = re.compile(r"\(([A-Za-z](?:\s*,\s*[A-Za-z])+)\)\s*=\s*\(([^()]*)\)")
_ONE_LETTER_UNIT = re.compile(r"(.*[\d)}\u03c0])\s*([A-Za-z])")
_SAID_TWICE = re.compile(r"(.+?)\s*\(([^()]+)\)")


def canonical(text: str, *, options: tuple[str, ...] = ()) -> Form:
    """Returns the canonical form of an answer; never raises, whatever the text.

    Args:
        text: an answer, untrusted.
        options: texts of a multiple-choice question's options, A first.
    """
    if len(text) > _LONGEST_CACHED:
        return _form(text, options)
    return _cached(text, options)


@lru_cache(maxsize=65_536)
def _cached(text: str, options: tuple[str, ...]) -> Form:
    return _form(text, options)


def _form(text: str, options: tuple[str, ...]) -> Form:
    clean = marked(text) if len(text) <= _LONGEST_TYPED else text
    if len(clean) > _LONGEST_TYPED:
        key = " ".join(clean.casefold().split())
        return Form(kind="text" if key else "empty", key=key)
    if not options:
        return _typed(clean, alone=True)
    letter = _chosen(clean.replace(UNIT_MARK, ""), options)
    return Form(kind="letter", key=letter, name=letter) if letter else _typed(clean, alone=False)


def _chosen(clean: str, options: tuple[str, ...]) -> str:
    """Returns the letter of the option that an answer names, or an empty string."""
    if (letter := bare_letter(clean)) and ord(letter) - 65 < len(options):
        return letter
    if meant := _matching_option(clean, options, exactly=True):
        return meant
    if label := lettered(clean):
        letter, said, maybe_name = label
        meant = _matching_option(said, options)
        if ord(letter) - 65 < len(options) and (meant or not maybe_name):
            return letter if meant in ("", letter) else ""
    return _matching_option(clean, options)


def _matching_option(clean: str, options: tuple[str, ...], *, exactly: bool = False) -> str:
    answer = _typed(clean, alone=False)
    forms = option_forms(options)
    for matches in (
        [index for index, form in enumerate(forms) if form.kind == answer.kind and form.key == answer.key],
        [index for index, form in enumerate(forms) if not exactly and same(answer, form)],
    ):
        if len(matches) == 1:
            return chr(65 + matches[0])
    return ""


@lru_cache(maxsize=4096)
def option_forms(options: tuple[str, ...]) -> tuple[Form, ...]:
    """The forms of options, without the labels that they may carry."""
    texts = unlabelled([marked(option[:_LONGEST_TYPED]) for option in options])
    measured = [_ONE_LETTER_UNIT.fullmatch(text) for text in texts]
    if len({found and found[2] for found in measured}) == 1 and measured[0] and known_unit(measured[0][2]):
        texts = tuple(f"{found[1]} {UNIT_MARK}{found[2]}" for found in measured if found)  # 3\sqrt{2}m, 6m
    return tuple(_typed(text, alone=False) for text in texts)


def _typed(text: str, *, alone: bool, nested: bool = False) -> Form:
    """Finds the type of a marked text; the order of the tests is the order of precedence.

    Args:
        text: cleaned, with `UNIT_MARK` before upright units.
        alone: whether there are no options, so that a letter may be an answer's.
        nested: whether it is an item of a list.
    """
    clean = text.replace(UNIT_MARK, "")
    if alone and (letter := bare_letter(clean)):
        return Form(kind="letter", key=letter, latex=clean, name=letter)
    if alone and not nested and (label := lettered(clean)) and not label[2]:
        text_form = _typed(plain(label[1]), alone=False)
        key = f"{label[0]} {text_form.kind}:{text_form.key}"
        return Form(kind="letter", key=key, name=label[0], items=(text_form,), latex=label[1])
    folded = clean.casefold()
    if answer := yes_or_no(folded):
        return Form(kind="yes_no", key=answer)
    name, value_text = _named(clean)
    if said := moment(value_text):
        return said
    if (found := parse_quantity(value_text)) or (found := _said_twice(value_text)):
        return number_form(found, name=name)
    if (place := parse_ordinal(_ARTICLES.sub("", folded))) is not None:
        return Form(kind="ordinal", key=str(place))
    if written := notation(value_text):
        return written
    if not nested and (listed := _as_list(text)):
        return listed
    if label_like := code(clean):
        return label_like
    if _looks_mathematical(clean):
        return _mathematics(text, name)
    key = _words(folded)
    return Form(kind="text" if key else "empty", key=key)


def _named(clean: str) -> tuple[str, str]:
    """`x` and `5` of `x = 5`; an empty name and the whole text where nothing is named."""
    match = _ASSIGNED.match(clean)
    if match is None or "=" in clean[match.end() :]:
        return "", clean
    name = re.sub(r"\s+", " ", re.sub("[_{}]", "", match[1])).strip()
    return name if len(name) == 1 else name.casefold(), clean[match.end() :]


def _said_twice(clean: str) -> Quantity | None:
    """`3 (three)` is 3."""
    match = _SAID_TWICE.fullmatch(clean)
    if match is None:
        return None
    first, again = parse_quantity(match[1]), parse_quantity(match[2])
    return first if first and again and first.value == again.value else None


def _words(folded: str) -> str:
    """The key of a text: no articles, no punctuation but what stands between digits or carries a sign."""
    if place := _PLACE.fullmatch(folded):
        return place[1].replace("centre", "center")
    folded = ordinals_in_words(_ARTICLES.sub("", folded))

    def kept(match: re.Match[str]) -> str:
        before, after = folded[: match.start()][-1:], folded[match.end() :][:1]
        run = "".join(match.group().split())
        if run.startswith("'") and re.search(r"(?<!\w)[a-z]$", folded[: match.start()]):
            return "' "  # f' is a derivative
        if (before.isdigit() and after.isdigit() and run) or (run == "-" and before and not after):
            return run
        signed = run == "-" and after.isdigit() and (not before or match.group()[0].isspace())
        return " -" if signed else " "

    return _PUNCTUATION.sub(kept, folded).strip() or "".join(folded.split())


def _mathematics(text: str, name: str) -> Form:
    """An expression, its unit taken off: upright behind it, or one that can be no product of variables."""
    clean = text.replace(UNIT_MARK, "")
    body = _named(text)[1] if name else text
    value, unit = _measured(body) if not _RELATION.search(body) else (body, None)
    value = value.replace(UNIT_MARK, "").strip()
    if name and re.search(r"(?<![\\A-Za-z])[A-Za-z]", _COMMAND.sub("", value)):
        value, unit = clean, None  # y = 2x + 1 stays an equation, x = 3 \sqrt{2} is its value
    counted_by = f"|{unit.readings}" if unit else ""
    key = "".join(value.split()) + counted_by + (f"|{name}" if name else "")
    return Form(kind="math", key=key, latex=value, name=name, unit=unit)


def _measured(text: str) -> tuple[str, Unit | None]:
    """The expression, and the unit that stands behind it."""
    value, mark, upright = text.rpartition(UNIT_MARK)
    if mark and (unit := known_unit(upright)) and _looks_mathematical(value):
        return value, unit
    clean = text.replace(UNIT_MARK, "")
    for start in (match.start() for match in _UNIT_START.finditer(clean)):
        value, tail = clean[:start], clean[start:]
        inside_a_command = re.search(r"\\[a-zA-Z]+\s*$", value) and not re.search(r"\\pi\s+$", value)
        if inside_a_command or re.search(r"[a-z]{2}", _COMMAND.sub("", value)):
            continue
        if vague := vague_unit(tail):
            return value, vague
        if _SURE_UNIT.fullmatch(tail) and (unit := known_unit(tail)):
            return value, unit
        bare = not re.search("[A-Za-z]", _COMMAND.sub("", value))
        if bare and re.fullmatch(r"m\^?\{?[23]?\}?", tail) and re.search(r"[\d)}\]π]\s+$", value):
            return value, known_unit(tail)
    return clean, None


def _as_list(text: str) -> Form | None:
    """Reads `1, 2 and 3`, `{a, b}`, `(1, 2]`, `x = 1, y = 2`; None where there are not at least two items."""
    if pair := _NAMED_PAIR.fullmatch(text):
        names, values = ([part.strip() for part in side.split(",")] for side in pair.groups())
        if len(names) == len(values):
            text = ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))
    clean = text.replace(UNIT_MARK, "")
    inner, bracket = text, ""
    if clean.startswith("\\{") and clean.endswith("\\}"):
        inner, bracket = text[2:-2], "{}"
    elif clean.startswith("{") and clean.endswith("}"):
        inner, bracket = text[1:-1], "{}"
    elif clean[:1] in ("(", "[") and clean[-1:] in (")", "]") and _closes_at_end(clean):
        inner, bracket = text[1:-1], clean[0] + clean[-1]
    if not bracket:
        inner = re.sub(r",?\s+(?:and|&)\s+", ", ", inner)
    parts = _split_items(inner, thousands=not bracket)
    if not 2 <= len(parts) <= _MAX_ITEMS or not all(parts) or any(part.count(" ") > 3 for part in parts):
        return None
    names = [_named(plain(part))[0] for part in parts]
    if len(set(names)) == len(names) and all(names):
        items = sorted(
            (_typed(plain(part), alone=True, nested=True) for part in parts), key=lambda item: item.name
        )
        if all(item.name for item in items):
            latex = f"({', '.join(item.latex for item in items)})"
            return Form(kind="named", key=f"{[i.key for i in items]}", items=tuple(items), latex=latex)
    if names[0] and not any(names[1:]):
        parts[0] = _named(plain(parts[0]))[1]  # x = 2, 3: both are values of x
    elif all(names) and len(set(names)) == 1:
        parts = [_named(plain(part))[1] for part in parts]
    items = [_typed(marked(part), alone=True, nested=True) for part in parts]
    keys = [f"{item.kind}:{item.key}" for item in items]
    if not bracket and all(item.kind in ("range", "ratio", "yes_no") for item in items):
        bracket = "()"  # the scores of sets, 21-19, 21-17, and verdicts on several statements have an order
    if bracket in ("", "{}"):
        keys.sort()
    return Form(kind="list", key=f"{bracket}{keys}", items=tuple(items), bracket=bracket, latex=clean)


def _closes_at_end(text: str) -> bool:
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0:
            return position == len(text) - 1
    return False


def _split_items(text: str, *, thousands: bool) -> list[str]:
    """Splits at commas and semicolons outside brackets; a bare `1,234` stays whole."""
    depth, cuts = 0, [-1]
    separators = {match.start() for match in _BARE_COMMA.finditer(text)} if thousands else None
    for position, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif depth == 0 and (
            character == ";" or (character == "," and (separators is None or position in separators))
        ):
            cuts.append(position)
    ends = [*cuts[1:], len(text)]
    return [text[start + 1 : end].strip() for start, end in zip(cuts, ends, strict=True)]


def _looks_mathematical(clean: str) -> bool:
    if not _MATH_SIGN.search(clean) and clean.casefold().lstrip("+-") not in ("pi", "infinity", "inf"):
        return False
    if _DANGLING.fullmatch(clean.strip()) or clean.casefold() == "n/a":
        return False
    # Units may be words of any length: they are taken off later.
    words = _LONG_WORD.findall(clean if UNIT_MARK in clean else _measured_words(clean))
    return all(word.casefold() in _MATH_WORDS or _SEGMENT_NAME.fullmatch(word) for word in words)


def _measured_words(clean: str) -> str:
    return _LAST_WORD.sub(_without_unit, clean)


def _without_unit(match: re.Match[str]) -> str:
    tail = match.group()
    return "" if vague_unit(tail.strip()) or known_unit(tail) else tail
