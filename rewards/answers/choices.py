"""Choices: letters and texts of options, labels, yes and no in the languages that people answer in."""

import re
from collections.abc import Sequence

from rewards.answers.quantities import parse_quantity, word_set

_LETTER = re.compile(
    r"(?i)(?:(?:options?|choice|answer)\s+)?[(<\[]?\s*([A-Za-z]{1,2})\s*[)>\]]?[.):]?\s*(?:选?项)?(?:正确)?"
    r"(?:\s+is\s+(?:(?:the\s+)?(?:correct|right)|the(?:\s+best)?(?=\s+[aoc]))(?:\s+(?:answer|option|choice|one))?)?"
)
_LABEL_FIRST = re.compile(
    r"(?is)(?:(?:option|choice|answer)\s+)?[*_(\[<]*(?P<label>[A-Za-z]{1,2})[*_)\]>]*(?:\s*[.:)]\s*|\s+-\s+|\s+)(?P<text>\S.*)"
)
_LABEL_LAST = re.compile(r"(?is)(?P<text>.*\S)\s*\((?:option\s+)?(?P<label>[A-Za-z]{1,2})\)")
_LABELLED = re.compile(r"\s*(?:\(([A-Za-z])\)|([A-J])\s?[:)]|([A-Ja-j])\.(?!\d))\s*(\S.*)", re.DOTALL)
_JOINT = re.compile(r"\s*(?:[,;\n\u3001\uff0c\uff1b]\s*(?:and\s+|&\s*)?|\s(?:and|&)\s|[和与及])\s*")
_YES = "yes true 是 是的 有 對 对 对的 正确 evet có はい 네 예 نعم بله हाँ हां हैं да sí oui ja sim হ্যাঁ ใช่"
_NO = (
    "no false 否 不 不是 没有 沒有 不对 错 错误 不正确 hay\u0131r không tidak いいえ 아니요 아니오 "
    "لا خیر नहीं нет non nein não না ไม่"
)
_SAID = {word: "yes" for word in _YES.split()} | {word: "no" for word in _NO.split()}
# Words that may follow in a sentence: `yes both are equal`, `no they are not`; `no dogs` is a number of dogs.
_NO_GOES_ON = word_set(
    "it there they he she this that these those the we you i both all each every some most only neither none "
    "and but because since as at in on is are was were does do did has have had can could will would not"
)
_YES_GOES_ON = _NO_GOES_ON | word_set("one two three a an more exactly indeed")
_FIRST = re.compile(r"([^\W\d_]+(?:[\u0300-\u036f\u0900-\u0dff]+[^\W\d_]*)*)")
_MARK = re.compile(r"\s*(?:[,;:!(\[\u2026]|\.(?!\s*\d)|\.{2,})|\s+-")
_BOTH = re.compile(r"\b(?:no|false)\b.*\b(?:yes|true)\b|\b(?:yes|true)\b.*\b(?:no|false)\b")
# No. 5, no: 5, No. of cars, No. IV
_NUMBERED = re.compile(r"no\s*[.:#-]+\s*\d|no\.\s*(?:of\b|[:#]|[a-z]$|[ivxlc]{1,4}$)")
_ONLY = re.compile(r"\s*(?:but\s+)?(?:only|if|unless|when|provided)\b")
_LONGEST = 200


def option_label(place: int) -> str:
    """A, B, ..., Z, AA, AB, ... for 0, 1, ..."""
    return (option_label(place // 26 - 1) if place >= 26 else "") + chr(65 + place % 26)


def option_place(label: str) -> int:
    """0 for A, 26 for AA."""
    return sum((ord(letter) - 64) * 26**power for power, letter in enumerate(reversed(label.upper()))) - 1


def bare_letter(clean: str) -> str:
    """The label that an answer consists of, in upper case, or an empty string: `B`, `(b)`, `option B`."""
    match = _LETTER.fullmatch(clean.replace("\\checkmark", "").strip())
    return match[1].upper() if match and (len(match[1]) == 1 or match[1].isupper()) else ""


def with_label(clean: str) -> list[tuple[str, str]]:
    """Each label and text that an answer may consist of: `B. cat`, `B cat`, `cat (B)`, `B (cat)`."""
    found = _LABEL_FIRST.fullmatch(clean), _LABEL_LAST.fullmatch(clean)
    return [(one["label"].upper(), one["text"].strip("* ")) for one in found if one]


def pieces(clean: str) -> list[str]:
    """The parts of an answer that may name several options: `A, C`, `AC`, `(A)(C)`, `both A and C`."""
    clean = re.sub(r"^(?:options?|both|choices)\s+(?=\S)", "", clean)
    if re.fullmatch(r"(?!.*([A-Z]).*\1)[A-Z]{2,10}|(?:\([A-Z]\)\s*){2,10}", clean):
        return re.findall("[A-Z]", clean)
    if clean[:1] in "[{(\\" and clean[-1:] in "]})":
        clean = clean.strip("\\[]{}()")
    return [part.strip("'\" ") for part in _JOINT.split(clean)]


def unlabelled(options: Sequence[str]) -> tuple[str, ...]:
    """The options without the labels `A.`, `B.`, ...; only where every option has its own."""
    found = [match for option in options if (match := _LABELLED.fullmatch(option))]
    labels = [(label[1] or label[2] or label[3]).upper() for label in found]
    alike = labels == [option_label(place) for place in range(len(options))]
    return tuple(label[4] for label in found) if alike else tuple(options)


def yes_or_no(folded: str, *, plain: bool = False) -> str | None:
    """Returns `yes`, `no`, or None for what is neither (`no dogs`, `no-one`, `no. 5`) and for both.

    A `plain` one has neither a quantity nor a condition behind it: `yes, 3`, `no, unless x = 2`.
    """
    folded = folded.replace("\\checkmark", "").strip()
    first = _FIRST.match(folded)
    if first is None or len(folded) > _LONGEST or first[1] not in _SAID:
        return None
    said, rest = _SAID[first[1]], folded[first.end() :]
    if _BOTH.search(folded) or _NUMBERED.match(folded):
        return None
    if not rest.strip(" .,;:!") or _SAID.get(rest.strip(" .,;:!/")) == said:
        return said
    if mark := _MARK.match(rest):
        tail = rest[mark.end() :].strip(" -()[]")
        other = _FIRST.match(tail)
        if plain and (_ONLY.match(tail) or ("(" not in mark[0] and parse_quantity(tail, counted=True))):
            return None
        return None if other and _SAID.get(other[1], said) != said else said
    following = rest.split()[0].partition("'")[0].strip(".,;:!") if rest[0].isspace() else ""
    return said if following in (_YES_GOES_ON if said == "yes" else _NO_GOES_ON) else None
