"""Reads what the two roles write: a Questioner's tagged question, a Reasoner's boxed answer.

Model text is data: any string gives a result, none raises, and the time taken is linear in its length.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

AnswerForm = Literal["boxed", "tagged"]  # where the prompt asks the Reasoner to put its answer
QUESTION_TAGS = ("type", "question", "answer")
_TAG = re.compile(r"<\s?(/?)\s?(type|question|answer)\s?>", re.IGNORECASE)
_THINK = re.compile(
    r"[<\u25c1]\s?(/?)\s?(?:\w{1,16}[:_])?(?:think(?:ing)?|thoughts?|reasoning|analysis|reflection)\s?[>\u25b7]"
    r"|\[(/?)THINK(?:ING)?\]"
    r"|<\|(?:begin_of_(?:thought|thinking|reasoning)|(?:start_)?think(?:ing)?(?:_start)?)\|>"
    r"|(<\|(?:end_of_(?:thought|thinking|reasoning)|end_think(?:ing)?|think(?:ing)?_end|/think)\|>)"
    r"|<\|channel\|>\s?(?:analysis|commentary|thought)\b|(<\|channel\|>\s?final\b)"
    r"|<unused94>\s?thought\b|(<unused95>)",
    re.IGNORECASE,
)
_FILLING = frozenset({"or", "and", "question", "questions", "type"})
_BOX_TOKENS = re.compile(
    r"\\{1,4}(?:boxed|fbox)(?:\s{0,8}\{|\s{0,8}([-+]?\d+(?:[.,]\d+)*%?)|\s{1,8}([A-Za-z])(?![A-Za-z]))|\\.|[{}]",
    re.DOTALL,
)
_BLANK = re.compile(
    r"(?:\\[ ,;:!]|\\{1,2}$|[\s~$]|\\q?quad|\\(?:[hv]space|[hv]?phantom)\s?\{[^{}]*\}"
    r"|\\(?:f?boxed|[fm]box|emph|(?:text|math)[a-z]{0,6})\s?\{\s?\})*"
)
_TAGGED = re.compile(
    r"<\s?answer\s?>((?:(?!<\s?/?\s?answer\s?>).)*)<\s?/\s?answer\s?>", re.DOTALL | re.IGNORECASE
)
_BOX_OF_TOKENS = re.compile(r"<\|begin_of_box\|>([^{}<|]*)<\|end_of_box\|>")
_ANSWER_TAG = re.compile(
    r"(?:<answer>|<\|begin_of_box\|>)\s*(\S.*?)\s*(?:</answer>|<\|end_of_box\|>)", re.DOTALL | re.IGNORECASE
)
_BREAKS = ",;:?\uff1a\uff0c\uff1b\uff1f\u3002"
_LABEL = re.compile(
    rf"(?P<strong>^|[\n{_BREAKS}])?(?:(?<=[\s{_BREAKS}])|(?<![^\s])|(?<=[\u3400-\u9fff])(?=[(\uff08]))[^\S\n]{{0,3}}(?:[-*\u2022]\s)?(?:(?:[Oo]ption|[Cc]hoice)\s)?"
    r"(?P<opener>\*{0,2}[(\[\uff08]?)(?P<letter>[A-Za-z])(?P<closer>[.:)\]\uff0e\uff1a\uff09\u3001]\*{0,2})\s*(?=\S)(?!\(?[A-Za-z][.:)](?:\s|$))",
    re.MULTILINE,
)
_LONGEST_QUESTION, _MAX_LABELS = 8_000, 200  # characters of a question, labels in it
_TRAILING = re.compile(r"[\s,;]*(?:\b(?:or|and))?[\s,;]*(?:\n\s*[-*\u2022])?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A well-formed question as the Questioner asked it.

    Attributes:
        type: one of the configured types, in the configured spelling.
        question: the question's text, stripped.
        answer: the Questioner's own answer; kept for the record, never used as a label.
        options: texts of the options in the question, A first; empty if there are none.
    """

    type: str
    question: str
    answer: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseFailure:
    """The reason why a completion has no valid question; it is also a metric's name.

    Attributes:
        reason: `missing_<tag>`, `repeated_<tag>`, `wrong_order`, `empty_<tag>`, `unknown_type` or
            `control_token`.
    """

    reason: str


def parse_question(
    text: str, *, types: Collection[str], control_tokens: Iterable[str] = ()
) -> Question | ParseFailure:
    """Parses one question, or returns why there is none (Eq. 7 of arXiv 2511.15661).

    A valid completion has exactly one `<type>`, one `<question>` and one `<answer>` block in that order. None
    is empty, the type is among `types`, and the question has a letter or digit. The paper only requires
    `<question>`; the rest is this project's. Text around the blocks is allowed, and `<think>` blocks are
    ignored. The case of a tag and a space inside it do not matter, nor do the case of a type, its separators
    and the word `question` in it: `Multiple-Choice question` is `multiple choice`.

    Args:
        text: a Questioner completion, untrusted.
        types: the question types that the configuration allows.
        control_tokens: texts that the tokenizer maps to control tokens; see `Chat.control_tokens`.
    """
    text = without_thinking(text)
    tags = list(_TAG.finditer(text))
    written = [match[1] + match[2].casefold() for match in tags]
    for tag in QUESTION_TAGS:
        counts = written.count(tag), written.count(f"/{tag}")
        if 0 in counts or max(counts) > 1:
            return ParseFailure(reason=f"{'missing' if 0 in counts else 'repeated'}_{tag}")
    if written != [f"{slash}{tag}" for tag in QUESTION_TAGS for slash in ("", "/")]:
        return ParseFailure(reason="wrong_order")
    ends = zip(tags[::2], tags[1::2], strict=True)
    contents = [text[opened.end() : closed.start()].strip() for opened, closed in ends]
    for tag, content in zip(QUESTION_TAGS, contents, strict=True):
        if not content or (tag == "question" and not any(character.isalnum() for character in content)):
            return ParseFailure(reason=f"empty_{tag}")
    kind = {type_key(allowed): allowed for allowed in types}.get(type_key(contents[0]))
    if kind is None:
        return ParseFailure(reason="unknown_type")
    if any(token in content for token in control_tokens for content in contents):
        return ParseFailure(reason="control_token")
    return Question(type=kind, question=contents[1], answer=contents[2], options=inline_options(contents[1]))


def type_key(text: str) -> str:
    """What types are compared by: their words, without case, separators and `question`."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return "".join(word for word in words if word not in _FILLING) or text.casefold().strip()


def without_thinking(text: str) -> str:
    """The text outside `<think>` blocks; one that was cut off is a block to the end of the text.

    Where a block closes that never opened, the template opened it: all before is thinking.
    """
    kept: list[str] = []
    place, inside = 0, False
    for tag in _THINK.finditer(text):
        closes = any(tag.groups())
        if not closes and not inside:
            kept.append(text[place : tag.start()])
        elif closes and not inside:
            kept.clear()
        inside, place = not closes, tag.end()
    return "".join(kept if inside else [*kept, text[place:]])


def extract_answer(text: str, form: AnswerForm = "boxed") -> str | None:
    r"""Returns the content of the last `\boxed{...}` that holds something, or None where there is none.

    Where the prompt asks for `<answer>` tags, `form` is `tagged`: the content of the last closed pair that
    holds something, out of its box where there is one in it.

    Boxes in `<think>` blocks, closed or cut off, do not count. Braces are counted and escaped ones (`\{`)
    skipped, so `\boxed{\frac{1}{2}}` gives `\frac{1}{2}`. A box cut off by the length limit does not count;
    the last one that closes does. `\fbox`, doubled backslashes and a number or letter without braces
    (`\boxed 5`) are boxes, too; `<answer>` tags in a box are taken off.
    """
    if form == "tagged":
        inside = [found.strip() for found in _TAGGED.findall(without_thinking(text))]
        last = next((found for found in reversed(inside) if found and not _BLANK.fullmatch(found)), None)
        return last and (extract_answer(last) or last)
    if "box" not in text:
        return None
    text = _BOX_OF_TOKENS.sub(r"\\boxed{\1}", without_thinking(text))
    opened: list[tuple[int, bool]] = []  # where each open brace's content begins, and whether in a box
    best = 0, 0
    for token in _BOX_TOKENS.finditer(text):
        symbol = token[0]
        if token.lastindex:
            best = token.span(token.lastindex)
        elif symbol == "}" and opened:
            start, is_box = opened.pop()
            if is_box and start > best[0] and not _BLANK.fullmatch(text, start, token.start()):
                best = start, token.start()
        elif symbol == "{" or (symbol.endswith("{") and "box" in symbol):
            opened.append((token.end(), symbol != "{"))
    return _untagged(text[slice(*best)].strip()) or None


def stated_answer(text: str) -> str:
    r"""The answer that a data set states: out of its tags, its box, or from behind `####`."""
    text = _untagged(text.rpartition("####")[2].strip())
    return (extract_answer(text) or text) if text.startswith("\\boxed") else text


def _untagged(answer: str) -> str:
    tagged = _ANSWER_TAG.fullmatch(answer)
    return tagged[1] if tagged else answer


def inline_options(question: str) -> tuple[str, ...]:
    """The options in a question, written as `A. ...`, `A: ...` or `(a) ...`, in one sequence from A on.

    All labels of a sequence have the same format. A label after a line end or a comma has priority over one
    after a space, so that an option may contain `vitamin C: ascorbic acid`.

    Returns:
        The options; an empty tuple if there are fewer than two.
    """
    labels = list(islice(_LABEL.finditer(question[:_LONGEST_QUESTION]), _MAX_LABELS))
    best: list[re.Match[str]] = []
    for start, first in reversed(list(enumerate(labels))):
        mark = first["opener"] + first["letter"] + first["closer"]
        if first["letter"] not in "Aa" or (mark[0] == "a" and mark != "a)"):
            continue
        for strong in (False, True):
            run = _run(labels[start:], strong=strong)
            if len(run) >= max(2, len(best)) and (len(run) > len(best) or strong):
                best = run
    if not best:
        return ()
    last_line = question.find("\n", best[-1].end())
    ends = [label.start() for label in best[1:]] + [last_line if last_line >= 0 else len(question)]
    texts = [question[label.end() : end] for label, end in zip(best, ends, strict=True)]
    if "?" in texts[-1] and "?" not in question[: best[0].start()] + "".join(texts[:-1]):
        return ()  # names of what is asked about: `A: 5, B: 6. What is the sum?`
    return tuple(_TRAILING.sub("", text).strip() for text in texts)


def _run(labels: Sequence[re.Match[str]], *, strong: bool) -> list[re.Match[str]]:
    run = [labels[0]]
    for label in labels[1:]:
        follows = ord(label["letter"]) == ord(run[-1]["letter"]) + 1
        alike = all(label[part] == run[0][part] for part in ("opener", "closer"))
        if follows and alike and (not strong or label["strong"] is not None):
            run.append(label)
    return run
