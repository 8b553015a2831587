"""Multiple choice: letters and texts of answers, and the options that stand in a question."""

import re
from collections.abc import Sequence
from itertools import islice

_LETTER = re.compile(
    r"(?:(?:option|choice|answer)\s+)?[(<\[]?\s*([A-Za-z])\s*[)>\]]?[.):]?"
    r"(?:\s+is\s+(?:(?:the\s+)?(?:correct|right)|the(?:\s+best)?(?=\s+[aoc]))(?:\s+(?:answer|option|choice|one))?)?",
    re.IGNORECASE,
)
_LETTERED = re.compile(
    r"(?i:(?:option|choice|answer)\s+)?"
    r"(?:\(([A-Za-z])\)|([A-Ja-j])\s?\)|([A-J]):|([A-Ja-j])\.(?!\d)|(?:[\[<](?=[A-J][\]>])([A-J])[\]>]|([A-J])\s+-(?=\s)))"
    r"\s*(\S.*)",
    re.DOTALL,
)
_NO_TEXT = re.compile(r"(?:and|or|&)\b|[(\[<][A-Ja-j][)\]>]|[-+*/=^<>,;]|.*[,;]\s*\(?[A-J][.:)]", re.DOTALL)
# `E. coli`, `A. Lincoln`, `c. 1850`: after a point or colon, a name or the epithet of a species.
_NAMED = re.compile(
    r"[^\W\d_a-z](?:[^\W\d_]|\.\s)|[a-z]*(?:us|um|a|ae|i|is|ns|ile|[aei]x|ster|iger)\b(?!\s+[a-z])|[a-z]{9,}\b|\d{4}$"
)
_BREAKS = ",;:?\uff1a\uff0c\uff1b\uff1f\u3002"
_LABEL = re.compile(
    rf"(?P<strong>^|[\n{_BREAKS}])?(?:(?<=[\s{_BREAKS}])|(?<![^\s])|(?<=[\u3400-\u9fff])(?=[(\uff08]))[^\S\n]{{0,3}}(?:[-*\u2022]\s)?"
    r"(?P<opener>\*{0,2}[(\[\uff08]?)(?P<letter>[A-Za-z])(?P<closer>[.:)\]\uff0e\uff1a\uff09\u3001]\*{0,2})\s*(?=\S)",
    re.MULTILINE,
)
_LONGEST, _MAX_LABELS = 8_000, 200  # characters of a question, labels in it
_TRAILING = re.compile(r"[\s,;]*(?:\b(?:or|and))?[\s,;]*(?:\n\s*[-*\u2022])?$")


def bare_letter(clean: str) -> str:
    """The letter that an answer consists of, in upper case, or an empty string."""
    match = _LETTER.fullmatch(clean)
    return match[1].upper() if match else ""


def lettered(clean: str) -> tuple[str, str, bool] | None:
    """Letter, text, and whether it may be a name: `B. cat` -> `("B", "cat", False)`; None for all else."""
    match = _LETTERED.fullmatch(clean)
    if match is None or _NO_TEXT.match(match[7]):
        return None
    letter = next(group for group in match.groups() if group)
    return letter.upper(), match[7], bool((match[3] or match[4]) and _NAMED.match(match[7]))


def unlabelled(options: Sequence[str]) -> tuple[str, ...]:
    """The options without the labels `A.`, `B.`, ...; only where every option has its own."""
    found = [lettered(option.strip()) for option in options]
    if all(label and label[0] == chr(65 + place) for place, label in enumerate(found)):
        return tuple(label[1] for label in found if label)
    return tuple(options)


def inline_options(question: str) -> tuple[str, ...]:
    """The options that stand in a question as `A. ...`, `A: ...` or `(a) ...`, in one run from A on.

    All labels of a run are written alike. A label after a line end or a comma counts for more than one after
    a space, so that `vitamin C: ascorbic acid` may stand in an option.

    Returns:
        An empty tuple where there are not at least two.
    """
    labels = list(islice(_LABEL.finditer(question[:_LONGEST]), _MAX_LABELS))
    best: list[re.Match[str]] = []
    for start in [place for place, label in enumerate(labels) if label["letter"] in "Aa"][::-1]:
        if not labels[start]["opener"] and labels[start]["letter"] == "a" and labels[start]["closer"] != ")":
            continue
        for strong in (False, True):
            run = _run(labels[start:], strong=strong)
            if len(run) >= max(2, len(best)) and (len(run) > len(best) or strong):
                best = run
    if not best:
        return ()
    last_line = question.find("\n", best[-1].end())
    ends = [label.start() for label in best[1:]] + [last_line if last_line >= 0 else len(question)]
    texts = (question[label.end() : end] for label, end in zip(best, ends, strict=True))
    return tuple(_TRAILING.sub("", text).strip() for text in texts)


def _run(labels: Sequence[re.Match[str]], *, strong: bool) -> list[re.Match[str]]:
    run = [labels[0]]
    for label in labels[1:]:
        follows = ord(label["letter"]) == ord(run[-1]["letter"]) + 1
        alike = all(label[part] == run[0][part] for part in ("opener", "closer"))
        if follows and alike and (not strong or label["strong"] is not None):
            run.append(label)
    return run
