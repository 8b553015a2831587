"""Reads what the two roles write: a Questioner's tagged question, a Reasoner's boxed answer.

Model text is data: any string gives a result, none raises, and the time taken is linear in its length.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

_TAGS = ("type", "question", "answer")
_BOX_TOKENS = re.compile(r"\\boxed\s{0,8}\{|\\.|[{}]", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A well-formed question as the Questioner asked it.

    Attributes:
        type: one of the configured types, in the configured spelling.
        question: the question's text, stripped.
        answer: the Questioner's own answer; kept for the record, never used as a label.
    """

    type: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseFailure:
    """Why a completion holds no valid question; the reason is a metric's name.

    Attributes:
        reason: `missing_<tag>`, `repeated_<tag>`, `wrong_order`, `empty_<tag>` or `unknown_type`.
    """

    reason: str


def parse_question(text: str, *, types: Collection[str]) -> Question | ParseFailure:
    """Reads one question, or says why there is none (Eq. 7 of arXiv 2511.15661).

    Valid is exactly one `<type>`, one `<question>` and one `<answer>` block, in that order, none empty,
    with a type among `types`. The paper asks for `<question>` only; the other two are this project's.
    Text around the blocks is allowed.

    Args:
        text: a Questioner completion, untrusted.
        types: the question types that the configuration allows; case is ignored.
    """
    spans: list[tuple[int, int, int]] = []
    for tag in _TAGS:
        opening, closing = f"<{tag}>", f"</{tag}>"
        opened, closed = text.count(opening), text.count(closing)
        if not opened or not closed:
            return ParseFailure(reason=f"missing_{tag}")
        if opened > 1 or closed > 1:
            return ParseFailure(reason=f"repeated_{tag}")
        start = text.index(opening)
        spans.append((start, start + len(opening), text.index(closing)))
    previous_end = 0
    contents: list[str] = []
    for start, content_start, content_end in spans:
        if start < previous_end or content_end < content_start:
            return ParseFailure(reason="wrong_order")
        contents.append(text[content_start:content_end].strip())
        previous_end = content_end
    for tag, content in zip(_TAGS, contents, strict=True):
        if not content:
            return ParseFailure(reason=f"empty_{tag}")
    spellings = {allowed.casefold(): allowed for allowed in types}
    kind = spellings.get(contents[0].casefold())
    if kind is None:
        return ParseFailure(reason="unknown_type")
    return Question(type=kind, question=contents[1], answer=contents[2])


def extract_answer(text: str) -> str | None:
    r"""Returns the content of the last balanced `\boxed{...}`, or None where there is none or it is empty.

    Braces are counted and escaped ones (`\{`) skipped, so `\boxed{\frac{1}{2}}` gives `\frac{1}{2}`. A
    box cut off by the length limit does not count; the last one that closes does.
    """
    if "\\boxed" not in text:
        return None
    open_braces: list[tuple[int, bool]] = []
    best_start, best_end = -1, -1
    for token in _BOX_TOKENS.finditer(text):
        symbol = token.group()
        if symbol == "}":
            if open_braces:
                start, is_box = open_braces.pop()
                if is_box and start > best_start:
                    best_start, best_end = start, token.start()
        elif symbol == "{":
            open_braces.append((token.end(), False))
        elif symbol.startswith("\\boxed"):
            open_braces.append((token.end(), True))
    return text[best_start:best_end].strip() or None if best_start >= 0 else None
