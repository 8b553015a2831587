"""Yes and no in the forms and languages that people answer in."""

import re

_YES = "yes true 是 是的 有 對 对 对的 正确 evet có はい 네 예 نعم بله हाँ हां हैं да sí oui ja sim হ্যাঁ ใช่"
_NO = (
    "no false 否 不 不是 没有 沒有 不对 错 错误 不正确 hay\u0131r không tidak いいえ 아니요 아니오 "
    "لا خیر नहीं нет non nein não না ไม่"
)
_SAID = {word: "yes" for word in _YES.split()} | {word: "no" for word in _NO.split()}
# What a sentence may go on with: `yes both are equal`, `no they are not`; `no dogs` is a number of dogs.
_NO_GOES_ON_TEXT = (
    "it there they he she this that these those the we you i both all each every some most only neither none "
    "and but because since as at in on is are was were does do did has have had can could will would not"
)
_NO_GOES_ON = frozenset(_NO_GOES_ON_TEXT.split())
_YES_GOES_ON = _NO_GOES_ON | {"one", "two", "three", "a", "an", "more", "exactly", "indeed"}
_FIRST = re.compile(r"([^\W\d_]+(?:[\u0300-\u036f\u0900-\u0dff]+[^\W\d_]*)*)")
_MARK = re.compile(r"\s*(?:[,;:!(\[\u2026]|\.(?!\s*\d)|\.{2,})|\s+-")
_BOTH = re.compile(r"\b(?:no|false)\b.*\b(?:yes|true)\b|\b(?:yes|true)\b.*\b(?:no|false)\b")
_LONGEST = 200


def yes_or_no(folded: str) -> str | None:
    """Returns `yes`, `no`, or None for anything else and for a text with both.

    Yes or no may be followed by a mark (`yes, 3 bars`, `no (it is red)`) or by a sentence about a thing
    (`no there are not`). `no dogs`, `no parking`, `no-one` and `No. 5` are other answers.

    Args:
        folded: a cleaned answer in small letters.
    """
    folded = folded.replace("\\checkmark", "").strip()
    first = _FIRST.match(folded)
    if first is None or len(folded) > _LONGEST or first[1] not in _SAID:
        return None
    said, rest = _SAID[first[1]], folded[first.end() :]
    if _BOTH.search(folded):
        return None
    if not rest.strip(" .,;:!") or _SAID.get(rest.strip(" .,;:!/")) == said:
        return said
    if mark := _MARK.match(rest):
        if said == "no" and re.match(r"\s*[.:#-]\s*\d", rest) and first[1] == "no":
            return None  # No. 5, no: 5
        other = _FIRST.match(rest[mark.end() :].strip(" -()[]"))
        return None if other and _SAID.get(other[1], said) != said else said
    if not rest[0].isspace():
        return None
    following = rest.split()[0].partition("'")[0].strip(".,;:!")
    return said if following in (_YES_GOES_ON if said == "yes" else _NO_GOES_ON) else None
