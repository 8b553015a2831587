r"""The typed fast path: an answer's text -> a canonical form that can be compared without a parser.

Every decision taken here is written down, with its reason, in `docs/answer-equivalence.md`.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from rewards.answers.quantities import Quantity, parse_ordinal, parse_quantity, same_quantity

Kind = Literal["empty", "letter", "yes_no", "number", "ordinal", "time", "list", "math", "text"]

_LONGEST_TYPED = 200
_LONGEST_CACHED = 400
_MAX_ITEMS = 32

_TRANSLATION = {ord(c): "-" for c in "\u2212\u2010\u2011\u2012\u2013\u2014\ufe63"}
_TRANSLATION |= {ord(c): "'" for c in "\u2018\u2019\u02bc"} | {ord(c): '"' for c in "\u201c\u201d"}
_TRANSLATION |= {ord("\u2044"): "/", ord("\u066b"): ".", ord("\u066c"): ",", ord("\u3001"): ","}
_SUPERSCRIPTS = {
    ord(c): str(d) for d, c in enumerate("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
}
_SUPERSCRIPTS |= {0x207B: "-", 0x207A: "+"}
_SUPERSCRIPT_RUN = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b\u207a]+")
_VULGAR = re.compile("([0-9]?)([\u00bc-\u00be\u2150-\u215e])")
_STYLE = re.compile(
    r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|boxed|mbox|textrm|operatorname)\s*\{([^{}]*)\}"
)
_REWRITES = [
    (re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\displaystyle"), ""),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree"), "°"),
    (re.compile(r"\\[!,;: ]|~|\\quad|\\qquad"), " "),
    (re.compile(r"\\([%$&#])"), r"\1"),
    (re.compile(r"\*\*|`"), ""),
]
_DELIMITERS = [("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"), ('"', '"'), ("'", "'"), ("*", "*")]
_PREAMBLE = re.compile(
    r"(?:so,?\s+|therefore,?\s+)?(?:the\s+)?(?:final\s+|correct\s+)?answer(?:\s+is\s*:?|\s*:)\s*(?=\S)",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(r"[A-Za-z](?:_\{?\w\}?)?\s*=\s*(?=[^=])")
_LETTER = re.compile(r"(?:(?:option|choice)\s+)?\(?\s*([A-Za-z])\s*\)?[.):]?", re.IGNORECASE)
_LETTER_AND_TEXT = re.compile(
    r"(?:(?:[Oo]ption|[Cc]hoice)\s+)?(?:\(([A-Ja-j])\)|([A-J])[.):])\s*(\S.*)", re.DOTALL
)
_YES_NO = re.compile(
    r"(yes|no|true|false)(?:[,.;:!-]+\s+\D.*|[,.;:!]*|\s+(?:it|there|they|he|she|this|that|these|those|the|we|you|i)\b.*)"
)
_CLOCK = re.compile(r"(\d{1,2}):([0-5]\d)\s*(am|pm|a\.m\.?|p\.m\.?)?", re.IGNORECASE)
_MATH_SIGN = re.compile(
    r"\\[a-zA-Z]|[\^=<>≤≥√π\u00d7÷∞*/|+]|[0-9a-zA-Z)]!|\d[a-zA-Z(]|[a-zA-Z0-9)]\s*-\s*[a-zA-Z0-9(]"
)
_LONG_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")
_FUNCTIONS = "sin cos tan cot sec csc arcsin arccos arctan log exp sqrt lim infty infinity and mod"
_MATH_WORDS = frozenset(_FUNCTIONS.split())
_ARTICLES = re.compile(r"(?:the|a|an)\s+(?=\S)")
_PUNCTUATION = re.compile(r"[\s\-_,;:!?.\"'()\[\]{}*]+")
_EXCLAIMED = re.compile(r"([^\W\d_]{2})!{1,9}$")  # after a word; `5!` and `n!` are factorials
_CLOSING = " .,;?\u3002\uff61"
_BARE_COMMA = re.compile(r"(?<!\d),|,(?!\d{3}(?!\d))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """An answer in canonical form; two forms with the same kind and key are the same answer.

    Attributes:
        kind: what the answer is.
        key: its canonical text.
        quantity: set for numbers.
        items: set for lists.
        bracket: of a list: empty, `{}`, `()`, `[]`, `(]` or `[)`.
        latex: the cleaned text, for the mathematics stage.
    """

    kind: Kind
    key: str
    quantity: Quantity | None = None
    items: tuple["Form", ...] = ()
    bracket: str = ""
    latex: str = ""

    @property
    def mathematical(self) -> bool:
        """Whether the mathematics stage may be asked about it."""
        if self.kind == "list":
            return all(item.mathematical for item in self.items)
        return self.kind in ("math", "number")


def canonical(text: str, *, options: tuple[str, ...] = ()) -> Form:
    """Returns the canonical form of an answer; never raises, whatever the text.

    Args:
        text: an answer, untrusted.
        options: texts of a multiple-choice question's options, A first.
    """
    if len(text) > _LONGEST_CACHED:
        return _form(text, options)
    return _cached(text, options)


def same(a: Form, b: Form, *, tolerance: float | None = None) -> bool | None:
    """Compares two forms; None where only mathematics could tell."""
    kinds = a.kind, b.kind
    if kinds[0] == kinds[1]:
        if a.key == b.key:
            return a.kind != "empty"
        if a.quantity and b.quantity:
            return same_quantity(a.quantity, b.quantity, tolerance=tolerance)
        if a.kind == "list":
            return _same_list(a, b, tolerance)
    if "math" in kinds and ((a.mathematical and b.mathematical) or "letter" in kinds):
        return None
    return False


def plain(text: str) -> str:
    """Removes what does not change an answer: LaTeX and markdown wrappers, Unicode variants, lead-ins."""
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^{" + run.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _VULGAR.sub(lambda match: f"{match[1]} {match[2]}".strip(), text).translate(_TRANSLATION)
    text = unicodedata.normalize("NFKC", text).translate(_TRANSLATION)
    characters = []
    for character in text:
        if character.isascii():
            characters.append(character if character.isprintable() else " ")
        elif unicodedata.category(character) == "Nd":
            characters.append(str(unicodedata.decimal(character)))
        elif unicodedata.category(character) not in ("Cf", "Cc"):
            characters.append(character)
    text = "".join(characters)
    for _ in range(4):
        unwrapped = _STYLE.sub(r"\1", text)
        if unwrapped == text:
            break
        text = unwrapped
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _unquoted(text.strip())
    if lead_in := _PREAMBLE.match(text):
        text = _unquoted(text[lead_in.end() :])
    return text


def _unquoted(text: str) -> str:
    """Strips closing punctuation and matched delimiters from the ends."""
    for _ in range(8):
        before = text
        text = _EXCLAIMED.sub(r"\1", text)
        text = text.rstrip(_CLOSING).lstrip(" :") if not text.endswith("\\") else text.strip()
        for opener, closer in _DELIMITERS:
            inner = text[len(opener) : -len(closer)]
            if len(text) > len(opener) + len(closer) and text.startswith(opener) and text.endswith(closer):
                text = inner.strip() if opener not in inner else text
        if text == before:
            break
    return text


@lru_cache(maxsize=65_536)
def _cached(text: str, options: tuple[str, ...]) -> Form:
    return _form(text, options)


def _form(text: str, options: tuple[str, ...]) -> Form:
    clean = plain(text) if len(text) <= _LONGEST_TYPED else text
    if len(clean) > _LONGEST_TYPED:
        key = " ".join(clean.casefold().split())
        return Form(kind="text" if key else "empty", key=key)
    if not options:
        return _typed(clean, lettered=True)
    letter = _chosen(clean, options)
    return Form(kind="letter", key=letter) if letter else _typed(clean, lettered=False)


def _chosen(clean: str, options: tuple[str, ...]) -> str:
    """Returns the letter of the option that an answer names, or an empty string."""
    if (bare := _LETTER.fullmatch(clean)) and ord(bare[1].upper()) - 65 < len(options):
        return bare[1].upper()
    labelled = _LETTER_AND_TEXT.fullmatch(clean)
    if labelled:
        letter, said = (labelled[1] or labelled[2]).upper(), labelled[3]
        meant = _matching_option(said, options)
        if ord(letter) - 65 < len(options):
            return letter if meant in ("", letter) else ""
    return _matching_option(clean, options)


def _matching_option(clean: str, options: tuple[str, ...]) -> str:
    answer = _typed(clean, lettered=False)
    forms = [_option_form(option) for option in options]
    for matches in (
        [index for index, form in enumerate(forms) if form.kind == answer.kind and form.key == answer.key],
        [index for index, form in enumerate(forms) if same(answer, form)],
    ):
        if len(matches) == 1:
            return chr(65 + matches[0])
    return ""


@lru_cache(maxsize=4096)
def _option_form(option: str) -> Form:
    clean = plain(option[:_LONGEST_TYPED])
    labelled = _LETTER_AND_TEXT.fullmatch(clean)
    return _typed(labelled[3] if labelled else clean, lettered=False)


def _typed(clean: str, *, lettered: bool, nested: bool = False) -> Form:
    """Finds the type of a cleaned text; the order of the tests is the order of precedence."""
    if lettered and (match := _LETTER.fullmatch(clean)):
        return Form(kind="letter", key=match[1].upper(), latex=clean)
    if lettered and not nested and (match := _LETTER_AND_TEXT.fullmatch(clean)):
        return Form(kind="letter", key=(match[1] or match[2]).upper())
    folded = clean.casefold()
    if (match := _YES_NO.fullmatch(folded)) and not re.search(r"\bno\b.*\byes\b|\byes\b.*\bno\b", folded):
        return Form(kind="yes_no", key="yes" if match[1] in ("yes", "true") else "no")
    value_text = clean[match.end() :] if (match := _ASSIGNED.match(clean)) else clean
    if quantity := parse_quantity(value_text):
        rounded = f"|{quantity.decimals}" if (quantity.decimals or 0) > 2 else ""
        key = f"{quantity.value}|{quantity.unit}{rounded}"
        return Form(kind="number", key=key, quantity=quantity, latex=quantity.latex)
    if (place := parse_ordinal(folded)) is not None:
        return Form(kind="ordinal", key=str(place))
    if match := _CLOCK.fullmatch(clean):
        half = (match[3] or "").replace(".", "").casefold()
        return Form(kind="time", key=f"{int(match[1])}:{match[2]}{half}")
    if not nested and (listed := _as_list(clean)):
        return listed
    if _looks_mathematical(clean):
        return Form(kind="math", key="".join(clean.split()), latex=clean)
    words = _PUNCTUATION.sub(" ", _ARTICLES.sub("", folded, count=1)).strip()
    key = words or "".join(folded.split())
    return Form(kind="text" if key else "empty", key=key)


def _as_list(clean: str) -> Form | None:
    """Reads `1, 2 and 3`, `{a, b}`, `(1, 2]`; None where there are not at least two items."""
    inner, bracket = clean, ""
    if clean.startswith("\\{") and clean.endswith("\\}"):
        inner, bracket = clean[2:-2], "{}"
    elif clean.startswith("{") and clean.endswith("}"):
        inner, bracket = clean[1:-1], "{}"
    elif clean[:1] in ("(", "[") and clean[-1:] in (")", "]") and _closes_at_end(clean):
        inner, bracket = clean[1:-1], clean[0] + clean[-1]
    if not bracket:
        inner = re.sub(r",?\s+(?:and|&)\s+", ", ", inner)
    parts = _split_items(inner, thousands=not bracket)
    if not 2 <= len(parts) <= _MAX_ITEMS or not all(parts) or any(part.count(" ") > 3 for part in parts):
        return None
    items = tuple(_typed(plain(part), lettered=True, nested=True) for part in parts)
    keys = [f"{item.kind}:{item.key}" for item in items]
    if bracket in ("", "{}"):
        keys.sort()
    return Form(kind="list", key=f"{bracket}{keys}", items=items, bracket=bracket, latex=clean)


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


def _same_list(a: Form, b: Form, tolerance: float | None) -> bool | None:
    brackets = {a.bracket, b.bracket}
    # A bare list has no order of its own, so that it equals a tuple or list of the same items in any order.
    unordered = "" in brackets or brackets == {"{}"}
    if len(brackets) > 1 and brackets not in ({"", "{}"}, {"", "()"}, {"", "[]"}):
        return False
    if len(a.items) != len(b.items):
        return False
    if unordered:
        verdicts = _matched(a.items, b.items, tolerance)
    else:
        verdicts = [same(x, y, tolerance=tolerance) for x, y in zip(a.items, b.items, strict=True)]
    if all(verdicts):
        return True
    return None if None in verdicts and a.mathematical and b.mathematical else False


def _matched(left: Sequence[Form], right: Sequence[Form], tolerance: float | None) -> list[bool | None]:
    """Pairs each item with the first free one that equals it; False or None where there is none."""
    free = list(right)
    verdicts: list[bool | None] = []
    for item in left:
        answers = [same(item, other, tolerance=tolerance) for other in free]
        if True in answers:
            free.pop(answers.index(True))
            verdicts.append(True)
        else:
            verdicts.append(None if None in answers else False)
    return verdicts


def _looks_mathematical(clean: str) -> bool:
    if not _MATH_SIGN.search(clean) and clean.casefold() not in ("pi", "infinity"):
        return False
    words = _LONG_WORD.findall(clean)
    return clean.casefold() != "n/a" and all(word.casefold() in _MATH_WORDS for word in words)
