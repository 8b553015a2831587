r"""Removes what does not change an answer: LaTeX and markdown wrappers, Unicode variants, lead-ins."""

import re
import unicodedata

from rewards.answers.numerals import WORDS
from rewards.answers.units import known_unit

UNIT_MARK = "\u2063"  # stands before a unit that LaTeX set in upright letters; input loses this character

_TRANSLATION = {ord(c): "-" for c in "\u2212\u2010\u2011\u2012\u2013\u2014\ufe63"}
_TRANSLATION |= {ord(c): "'" for c in "\u2018\u2019\u02bc"} | {ord(c): '"' for c in "\u201c\u201d"}
_TRANSLATION |= {ord("\u2044"): "/", ord("\u066b"): ".", ord("\u066c"): ",", ord("\u3001"): ","}
_TRANSLATION |= {ord("\u2032"): "'", ord("\u2033"): '"'}
_TRANSLATION |= {ord("\u301c"): "~", ord("\u2236"): ":"}
_TRANSLATION |= {ord(c): "" for c in "\u00ab\u00bb\u300a\u300b\u300c\u300d\u300e\u300f\u3010\u3011"}
_SIGNS = {ord("\u2220"): "\\angle ", ord("\u25b3"): "\\triangle ", ord("\u2299"): "\\odot "}
_SIGNS |= {
    ord("\u2205"): "\\emptyset ",
    ord("\u2208"): "\\in ",
    ord("\u22c5"): "\\cdot ",
    ord("\u00b7"): "\\cdot ",
}
_SUPERSCRIPTS = {
    ord(c): str(d) for d, c in enumerate("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
}
_SUPERSCRIPTS |= {0x207B: "-", 0x207A: "+"}
_SUPERSCRIPT_RUN = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b\u207a]+")
_VULGAR = re.compile("([0-9]?)([\u00bc-\u00be\u2150-\u215e])")
_STYLE = re.compile(
    r"(^|.)(\s*)\\(?:text(?:bf|it|rm|sf|tt|sc|up|md|normal)?|math(?:rm|bf|it|sf|tt|normal|op)|f?boxed|(?:f|frame|m|h)box|operatorname|"
    r"emph|bm|pmb|boldsymbol|u(?:nder)?line|ensuremath|ce|(?:textcolor|color(?:box)?)\s*\{[^{}]*\})\s*"
    r"\{((?:[^{}]|\{[^{}]*\})*)\}((?:\^\s*(?:\d|\{\s*-?\d\s*\}))?)"
)
_SEGMENT = re.compile(r"\\(?:overline|bar)\s*\{\s*([A-Z]{2})\s*\}")
_SWITCH = re.compile(
    r"\{?\\(?:bf|it|rm|em|sf|tt|bfseries|itshape|tiny|small|normalsize|[lL]arge|LARGE|[hH]uge|color\s*\{[^{}]*\})"
    r"(?![a-zA-Z])\s*([^{}]*)\}?"
)
_REWRITES = [
    (re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|(?:display|text|script)style)(?![a-zA-Z])"), ""),
    (re.compile(r"\\[hv]?phantom\s*\{[^{}]*\}|\\[hv]space\s*\{[^{}]*\}|(?:\\\\|\\)\s*$"), " "),
    (re.compile(r"(?<=[A-Za-z\d)])\^\s*\{?\s*(\d?[+-])\s*\}?(?=$|\s)"), r"\1"),  # Na^{+}
    (re.compile(r"\\varnothing(?![a-z])"), r"\\emptyset"),
    (re.compile(r"(?<![A-Za-z])per[ -]cent(?:age points?)?(?![a-z])|percentage points?"), "percent"),
    (re.compile(r"(?<=\d)\s+and\s+a\s+half(?![a-z])"), ".5"),
    (re.compile(r"^([A-Z])\s*选?项$"), r"\1"),
    (re.compile(r"百分之\s*(\S+)"), r"\1%"),
    (re.compile(r"(\d)'\s*(\d+(?:\.\d+)?)(?:\"|'')"), r"\1 ft \2 in"),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree"), "°"),
    (re.compile(r"(?<=\d)\{,\}(?=\d)|(?<=\d)\\,(?=\d{3}(?!\d))"), ","),
    (re.compile(r"\\[!,;: ]|~(?![\s\d])|\\quad|\\qquad"), " "),
    (re.compile(r"\\([%$&#])"), r"\1"),
    (re.compile(r"\*\*|`|(?<=[\w.])''$"), ""),
    (re.compile(r"\\(?:long)?rightarrow(?![a-z])|\\to(?![a-z])|[-=]+>"), "\u2192"),
    (re.compile(r"(?<![A-Za-z.])([A-Z])\.(?:([A-Z])\.)(?:([A-Z])\.)?(?![A-Za-z])"), r"\1\2\3"),  # U.S.
]
_DELIMITERS = [("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"), ('"', '"'), ("'", "'"), ("*", "*")]
_DELIMITERS += [("{", "}"), ("(", ")"), ("[", "]")]
_ASKED_NOUN = (
    "answer|choice|option|result|solution|value|total|sum|count|number"
    "|respuesta|antwort|risposta|resposta|ответ"
)
_PREAMBLE = re.compile(
    r"(?:so|therefore|thus|hence)?,?\s*(?:(?:the|my|our|la|a|die)\s+)?(?:(?:final|correct|best|right|total)\s+)*"
    rf"(?:{_ASKED_NOUN}|réponse|ans\.?)\s*(?:(?:is|would be|es|est|ist|é)(?![a-z])\s*:?|:|=|-(?=\s))\s*(?=\S)"
    r"|ans\.\s*(?=\S)|letter\s*:?\s*(?=[A-Z]$)"
    r"|(?:故|因此|所以|应)?(?:(?:最终|正确)?(?:答え|答案?|正解|정답|답|选项(?=[是为]))(?:选项?|選択肢)?\s*(?:是|为|選|は|은|는|应?选)?\s*:?|"
    r"选(?:择|项)?\s*:?(?=\s*\(?[A-Z]\)?$))\s*(?=\S)",
    re.IGNORECASE,
)
# What may stand before a bare number or letter; before words it would drop what tells two answers apart.
_BEFORE_A_VALUE = re.compile(
    r"(?:(?:so|therefore|thus|hence)\b,?\s*)?(?:(?:it|there|that|this)\s*(?:is|are|'s)\s+|i\s+(?:would\s+)?choose\s+|(?:[一总]?共)?有?)?"
    r"(?:(?:only|just|a total of|in total)\s+)?"
    rf"(?=[-+$€£¥]?\d|\(?[A-J]\)?$|(?:{'|'.join(sorted(WORDS))})\b)",
    re.IGNORECASE,
)
_AFTER_A_VALUE = re.compile(r"(?<=[\w%])\s+(?:in\s+)?total$", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"([-+]?[\d.,]+)\s*\(([^()\d\s]+)\)")  # 5 (cm)
_INCHES = re.compile(r"(?<=\d)\"(?=\s*(?:$|[x\u00d7]))")
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
    text = unicodedata.normalize("NFKC", text).translate(_TRANSLATION | _SIGNS)
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
    for before in (_PREAMBLE, _BEFORE_A_VALUE):
        if (lead_in := before.match(text)) and lead_in.end():
            text = _unquoted(text[lead_in.end() :])
    text = _INCHES.sub(" in", _AFTER_A_VALUE.sub("", text))
    if (measured := _IN_BRACKETS.fullmatch(text)) and known_unit(measured[2]):
        text = f"{measured[1]} {measured[2]}"
    return text


def _upright(match: re.Match[str]) -> str:
    """The content of a style command, kept apart from the command before it, and marked if it is a unit."""
    before, space, content, power = match[1], match[2], match[3], match[4]
    behind = match.string[max(0, match.start() - 12) : match.start() + len(before)]
    behind = re.sub(r"(?:\\[ ,;:!]|[\s~])+$", "", behind)
    measured = any(found.end() == len(behind) for found in _ENDS_MATHS.finditer(behind))
    if measured and known_unit(content + power):
        return f"{before.rstrip('~')} {UNIT_MARK}{content}{power}"
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
                if opener in "{([":  # round a single thing; a pair, a set or a lettered option keeps them
                    whole = whole and not re.search("[,;]", inner)
                text = inner.strip() if whole else text
        if text == before:
            break
    return text
