"""Multiple choice: letters and texts of answers, and labels."""

import re
from collections.abc import Sequence

_LETTER = re.compile(
    r"(?:(?:options?|choice|answer)\s+)?[(<\[]?\s*([A-Za-z]{1,2})\s*[)>\]]?[.):]?\s*(?:选?项)?(?:正确)?"
    r"(?:\s+is\s+(?:(?:the\s+)?(?:correct|right)|the(?:\s+best)?(?=\s+[aoc]))(?:\s+(?:answer|option|choice|one))?)?",
    re.IGNORECASE,
)
_LABEL_FIRST = re.compile(
    r"(?:(?:option|choice|answer)\s+)?[*_(\[<]*([A-Za-z]{1,2})[*_)\]>]*(?:\s*[.:)]\s*|\s+-\s+|\s+)(\S.*)",
    re.DOTALL | re.IGNORECASE,
)
_LABEL_LAST = re.compile(r"(.*\S)\s*\((?:option\s+)?([A-Za-z]{1,2})\)", re.DOTALL | re.IGNORECASE)
_LABELLED = re.compile(r"\s*(?:\(([A-Za-z])\)|([A-J])\s?[:)]|([A-Ja-j])\.(?!\d))\s*(\S.*)", re.DOTALL)
_JOINT = re.compile(r"\s*(?:[,;\u3001\uff0c\uff1b]\s*(?:and\s+|&\s*)?|\s(?:and|&)\s|[和与及])\s*")


def option_label(place: int) -> str:
    """A, B, ..., Z, AA, AB, ... for 0, 1, ..."""
    return (option_label(place // 26 - 1) if place >= 26 else "") + chr(65 + place % 26)


def option_place(label: str) -> int:
    """0 for A, 26 for AA."""
    place = 0
    for letter in label.upper():
        place = place * 26 + ord(letter) - 64
    return place - 1


def bare_letter(clean: str) -> str:
    """The label that an answer consists of, in upper case, or an empty string: `B`, `(b)`, `option B`."""
    match = _LETTER.fullmatch(clean.replace("\\checkmark", "").strip())
    if match is None or (len(match[1]) > 1 and not match[1].isupper()):
        return ""
    return match[1].upper()


def with_label(clean: str) -> list[tuple[str, str]]:
    """Each label and text that an answer may consist of: `B. cat`, `B cat`, `cat (B)`, `B (cat)`."""
    found = []
    if first := _LABEL_FIRST.fullmatch(clean):
        text = first[2].strip("* ")
        found.append((first[1].upper(), text))
        if text.startswith("(") and text.endswith(")"):
            found.append((first[1].upper(), text[1:-1]))
    if last := _LABEL_LAST.fullmatch(clean):
        found.append((last[2].upper(), last[1]))
    return found


def pieces(clean: str) -> list[str]:
    """The parts of an answer that may name several options: `A, C`, `AC`, `(A)(C)`, `both A and C`."""
    clean = re.sub(r"^(?:options?|both|choices)\s+(?=\S)", "", clean)
    if re.fullmatch(r"[A-Z]{2,10}", clean) and len(set(clean)) == len(clean):
        return list(clean)
    if re.fullmatch(r"(?:\([A-Z]\)\s*){2,10}", clean):
        return re.findall("[A-Z]", clean)
    if clean[:1] in "[{(\\" and clean[-1:] in "]})":
        clean = clean.strip("\\[]{}()")
    return [part.strip("'\" ") for part in _JOINT.split(clean)]


def unlabelled(options: Sequence[str]) -> tuple[str, ...]:
    """The options without the labels `A.`, `B.`, ...; only where every option has its own."""
    found = [_LABELLED.fullmatch(option) for option in options]
    labels = [
        next(group for group in label.groups()[:3] if group).upper() if label else "" for label in found
    ]
    if all(label == option_label(place) for place, label in enumerate(labels)):
        return tuple(label[4] for label in found if label)
    return tuple(options)
