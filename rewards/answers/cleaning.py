r"""Removes what does not change an answer: LaTeX and markdown wrappers, Unicode variants, lead-ins."""

import re
import unicodedata

from rewards.answers.units import known_unit

UNIT_MARK = "\u2063"  # stands before a unit that LaTeX set in upright letters; input loses this character

_TRANSLATION = {ord(c): "-" for c in "\u2212\u2010\u2011\u2012\u2013\u2014\ufe63"}
_TRANSLATION |= {ord(c): "'" for c in "\u2018\u2019\u02bc"} | {ord(c): '"' for c in "\u201c\u201d"}
_TRANSLATION |= {ord("\u2044"): "/", ord("\u066b"): ".", ord("\u066c"): ",", ord("\u3001"): ","}
_TRANSLATION |= {ord("\u301c"): "~", ord("\u2236"): ":"}
_SUPERSCRIPTS = {
    ord(c): str(d) for d, c in enumerate("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
}
_SUPERSCRIPTS |= {0x207B: "-", 0x207A: "+"}
_SUPERSCRIPT_RUN = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b\u207a]+")
_VULGAR = re.compile("([0-9]?)([\u00bc-\u00be\u2150-\u215e])")
_STYLE = re.compile(
    r"(^|.)(\s*)\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt)|f?boxed|fbox|mbox|operatorname|emph|bm|"
    r"boldsymbol|underline|ensuremath|textcolor\s*\{[^{}]*\}|color\s*\{[^{}]*\})\s*"
    r"\{((?:[^{}]|\{[^{}]*\})*)\}((?:\^\s*(?:\d|\{\s*-?\d\s*\}))?)"
)
_SEGMENT = re.compile(r"\\(?:overline|bar)\s*\{\s*([A-Z]{2})\s*\}")
_SWITCH = re.compile(r"\{?\\(?:bf|it|rm|em|sf|tt|bfseries|itshape)(?![a-zA-Z])\s*([^{}]*)\}?")
_REWRITES = [
    (re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\displaystyle"), ""),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree"), "°"),
    (re.compile(r"(?<=\d)\{,\}(?=\d)|(?<=\d)\\,(?=\d{3}(?!\d))"), ","),
    (re.compile(r"\\[!,;: ]|~(?![\s\d])|\\quad|\\qquad"), " "),
    (re.compile(r"\\([%$&#])"), r"\1"),
    (re.compile(r"\*\*|`"), ""),
    (re.compile(r"\\(?:long)?rightarrow(?![a-z])|\\to(?![a-z])|[-=]+>"), "\u2192"),
    (re.compile(r"(?<![A-Za-z.])([A-Z])\.(?:([A-Z])\.)(?:([A-Z])\.)?(?![A-Za-z])"), r"\1\2\3"),  # U.S.
]
_DELIMITERS = [("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"), ('"', '"'), ("'", "'"), ("*", "*")]
_DELIMITERS += [("{", "}"), ("(", ")")]
_PREAMBLE = re.compile(
    r"(?:so|therefore|thus|hence)?,?\s*(?:(?:the|my|our)\s+)?(?:(?:final|correct|best|right)\s+)*"
    r"(?:answer|choice|option|result|solution)\s*(?:is\s*:?|:|=)\s*(?=\S)"
    r"|(?:最终)?(?:答案|答え|정답|답)\s*(?:是|为|は|은|는)?\s*:?\s*(?=\S)",
    re.IGNORECASE,
)
_EXCLAIMED = re.compile(r"([^\W\d_]{2})!{1,9}$")  # after a word; `5!` and `n!` are factorials
_CLOSING = " .,;?\u3002\uff61"
_ENDS_MATHS = re.compile(r"[\d})\]°\u03c0]|\\[a-zA-Z]+")


def plain(text: str) -> str:
    """The text without wrappers; see `marked` for where upright units stood."""
    return marked(text).replace(UNIT_MARK, "")


def marked(text: str) -> str:
    """The same with `UNIT_MARK` before a unit of the table that LaTeX set upright behind a number."""
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
        unwrapped = _SWITCH.sub(r"\1", _SEGMENT.sub(r"\1", _STYLE.sub(_upright, text)))
        if unwrapped == text:
            break
        text = unwrapped
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _unquoted(text.strip())
    if lead_in := _PREAMBLE.match(text):
        text = _unquoted(text[lead_in.end() :])
    return text


def _upright(match: re.Match[str]) -> str:
    """The content of a style command, kept apart from the command before it, and marked if it is a unit."""
    before, space, content, power = match[1], match[2], match[3], match[4]
    behind = match.string[max(0, match.start() - 12) : match.start() + len(before)]
    measured = any(found.end() == len(behind) for found in _ENDS_MATHS.finditer(behind))
    if measured and known_unit(content + power):
        return f"{before} {UNIT_MARK}{content}{power}"
    glued = before.isalpha() and not space and re.search(r"\\[a-zA-Z]+$", behind)
    return f"{before}{' ' if glued else space}{content}{power}"


def _unquoted(text: str) -> str:
    """Strips closing punctuation and matched delimiters from the ends."""
    for _ in range(8):
        before = text
        text = _EXCLAIMED.sub(r"\1", text)
        text = text.rstrip(_CLOSING).lstrip(" :") if not text.endswith("\\") else text.strip()
        for opener, closer in _DELIMITERS:
            inner = text[len(opener) : -len(closer)]
            if len(text) <= len(opener) + len(closer):
                continue
            if text.startswith(opener) and text.endswith(closer) and not text.endswith("\\" + closer):
                whole = opener not in inner and closer not in inner
                if opener in "{(":  # round a single thing; a pair, a set or a lettered option keeps them
                    whole = whole and not re.search("[,;]", inner)
                text = inner.strip() if whole else text
        if text == before:
            break
    return text
