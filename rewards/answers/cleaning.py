r"""Removes what does not change an answer: LaTeX and markdown wrappers, Unicode variants, lead-ins."""

import re
import unicodedata

from rewards.answers.numerals import WORDS
from rewards.answers.units import known_unit

UNIT_MARK = "\u2063"  # stands before a unit that LaTeX set in upright letters; input loses this character
_DOLLAR = "\ufdd0"  # an escaped dollar, while others are taken for delimiters; no text holds this character

_TRANSLATION: dict[int, str] = {}
for _characters, _plain in (
    ("\u2212\u2010\u2011\u2012\u2013\ufe63", "-"), ("\u2014", " - "), ("\u2018\u2019\u02bc\u2032", "'"),
    ("\u201c\u201d\u2033", '"'), ("\u2044\u2215", "/"), ("\u066b", "."), ("\u066c\u3001", ","),
    ("\u301c", "~"), ("\u2236", ":"), ("\u00ab\u00bb\u300a\u300b\u300c\u300d\u300e\u300f\u3010\u3011", ""),
    ("\u00b5", "\u03bc"), ("\u2126", "Ω"), ("\u2260", r"\ne "), ("\u2264\u2a7d", r"\le "),
    ("\u2265\u2a7e", r"\ge "), ("\u22c5\u00b7\u2219", r"\cdot "), ("\u00d7\u2715", r"\times "),
    ("\u00f7", r"\div "), ("\u221e", r"\infty "), ("\u221a", r"\sqrt "), ("\u221b", r"\sqrt[3] "),
    ("\u00b1", r"\pm "), ("\u2220", r"\angle "), ("\u25b3", r"\triangle "), ("\u2299", r"\odot "),
    ("\u2205", r"\emptyset "), ("\u2208", r"\in "), ("\u2209", r"\notin "), ("\u222a", r"\cup "),
    ("\u2229", r"\cap "), ("\u22a5", r"\perp "), ("\u2225", r"\parallel "), ("\u2245", r"\cong "),
    ("\u2200", r"\forall "), ("\u2203", r"\exists "), ("\u2207", r"\nabla "), ("\u222b", r"\int "),
    ("\u2211", r"\sum "), ("\u2202", r"\partial "), ("\u2228", r"\lor "), ("\u2227", r"\land "),
    ("\u21d2", r"\Rightarrow "), ("\u2248", r"\approx "), ("\u0127\u210f", r"\hbar "),
    ("\u2713\u2714\u2705", r"\checkmark "),
):  # fmt: skip
    _TRANSLATION |= dict.fromkeys(map(ord, _characters), _plain)
_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi . pi rho . sigma tau upsilon "
    "phi chi psi omega"
)
_GREEK = {0x3B1 + place: f"\\{name} " for place, name in enumerate(_NAMES.split()) if name != "."}
_GREEK |= {0x391 + place: f"\\{name.title()} " for place, name in enumerate(_NAMES.split())
           if name in "gamma delta theta lambda xi pi sigma phi psi"}  # fmt: skip
_GREEK |= {0x3D5: r"\phi ", 0x3F5: r"\epsilon ", 0x3D1: r"\theta "}
_SUPERSCRIPTS = {
    ord(c): d
    for c, d in zip(
        "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207a\u207f",
        "0123456789-+n",
        strict=True,
    )
}
_SUBSCRIPTS = {0x2080 + digit: str(digit) for digit in range(10)}
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b\u207a\u207f]+")
_LOWERED = re.compile("[\u2080-\u2089]+")
_VULGAR = re.compile("([0-9]?)([\u00bc-\u00be\u2150-\u215e])")
# Wide, mathematical and squared letters are the plain ones; `ª` is not `a`, nor is a ligature in a word.
_VARIANTS = re.compile("[\uff01-\uffee\u3000\U0001d400-\U0001d7ff\u2103\u2109\u3371-\u33df\u212a\u212b]")
_STYLE = re.compile(
    r"(^|.)(\s*)\\(?:text(?:bf|it|rm|sf|tt|sc|up|md|normal)?|math(?:rm|bf|it|sf|tt|bb|cal|normal|op)|f?boxed|(?:f|frame|m|h)box|operatorname|"
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
    (re.compile(r"\\\(|\\\)|\\\[|\\\]"), " "),
    (re.compile(r"\$([^\s$\d-][^$]{0,99})\$|\$(\s*\\?,\s*)\$"), r"\1\2"),
    (re.compile(_DOLLAR), "$"),
    (re.compile(r"(?<=[A-Za-z\d)])\^\s*\{?\s*(\d?[+-])\s*\}?(?=$|\s)"), r"^{\1}"),  # Na^{+}
    (re.compile(r"\^\s*(?:\{\s*\\prime\s*\}|\\prime(?![a-z]))"), "'"),
    (re.compile(r"\\varnothing(?![a-z])"), r"\\emptyset"),
    (re.compile(r"\\(?:w)edge(?![a-z])"), r"\\land"),
    (re.compile(r"(?<![A-Za-z])per[ -]cent(?:age points?)?(?![a-z])|percentage points?"), "percent"),
    (re.compile(r"(?<=\d)\s+and\s+a\s+half(?![a-z])"), ".5"),
    (re.compile(r"(\d)'\s*(\d+(?:\.\d+)?)(?:\"|'')"), r"\1 ft \2 in"),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree"), "°"),
    (re.compile(r"(?<=\d)\{,\}(?=\d)|(?<=\d)\\,(?=\d{3}(?!\d))"), ","),
    (re.compile(r"(?<!\\)\\[!,;: ]|(?<=\S)~(?=\w)|\\quad|\\qquad"), " "),
    (re.compile(r"\\([%&#])"), r"\1"),
    (re.compile(r"\+\s?/\s?-"), r"\\pm "),
    (re.compile(r"(?<=\w)\s+(?=\^)|^\{\}(?=[\^_])"), ""),
    (re.compile(r"\\(?:long)?rightarrow(?![a-z])|\\to(?![a-z])|[-=]+>"), "\u2192"),
]  # fmt: skip
_INITIALS = re.compile(r"(?<![A-Za-z.])([A-Z])\.(?:([A-Z])\.)(?:([A-Z])\.)?(?![A-Za-z])")  # U.S.
_DELIMITERS = [
    ("$$", "$$"),
    ("$", "$"),
    ("**", "**"),
    ("__", "__"),
    ("`", "`"),
    ('"', '"'),
    ("'", "'"),
    ("*", "*"),
    ("_", "_"),
]
_DELIMITERS += [("{", "}"), ("(", ")"), ("[", "]")]
_ASKED_NOUN = (
    "answer|choice|option|result|solution|value|total|sum|count|number"
    "|respuesta|antwort|risposta|resposta|ответ|réponse"
)
_PREAMBLE = re.compile(
    r"(?:so|therefore|thus|hence)?,?\s*(?:(?:the|my|our|la|a|die)\s+)?(?:(?:final|correct|best|right|total|правильный)\s+)*"
    rf"(?:{_ASKED_NOUN}|ans\.?)(?:\s+(?:correc?t[ao]|corretta|final))?"
    rf"\s*(?:(?:is|would be|es|est|ist|é|è)(?![a-z])\s*:?|:|=|-(?=\s))\s*(?=\S)"
    r"|ans\.\s*(?=\S)|letter\s*:?\s*(?=[A-Z]$)"
    r"|(?:综上|故|因此|所以|本题)?[,\uff0c]?\s*应?该?(?:(?:最终|正确)?(?:答え|答案?|正解|정답|답|选项(?=[是为]))(?:选项?|選択肢)?\s*(?:是|为|選|は|은|는|应?选)?\s*:?|"
    r"选(?:择|项)?\s*:?(?=\s*\(?[A-Z]\)?项?$))\s*(?=\S)",
    re.IGNORECASE,
)
# What may stand before a bare number or letter; before words it would drop what tells two answers apart.
_BEFORE_A_VALUE = re.compile(
    r"(?:(?:so|therefore|thus|hence)\b,?\s*)?(?:(?:it|there|that|this)\s*(?:is|are|'s)\s+|i\s+(?:would\s+)?(?:choose|pick)\s+|(?:[一总]?共)?有?)?"
    r"(?:(?:a total of|in total|the(?!\s+\(?[a-j]\)?$))\s+)?"
    rf"(?=[-+$€£¥]?\d|[A-Z]\d|\(?[A-J]\)?$|(?:{'|'.join(sorted(WORDS))})\b)",
    re.IGNORECASE,
)
_IN_BRACKETS = re.compile(r"([-+]?[\d.,]+)\s*\(([^()\d\s]+)\)")  # 5 (cm)
_INCHES = re.compile(r"(?<=\d)\"(?=\s*(?:$|\\times))")
_EXCLAIMED = re.compile(r"([^\W\d_]{2})!{1,9}$")  # after a word; `5!` and `n!` are factorials
_ENDS_MATHS = re.compile(r"[\d})\]°\u03c0]|\\[a-zA-Z]+")


def plain(text: str) -> str:
    """The text without wrappers; see `marked` for where upright units stood."""
    return marked(text).replace(UNIT_MARK, "")


def marked(text: str) -> str:
    """The same with `UNIT_MARK` before a unit of the table that LaTeX set upright behind a number."""
    return without_lead_in(unwrapped(text))


def unwrapped(text: str) -> str:
    """The text in plain characters and without wrappers round it, its lead-in left as it is."""
    text = _RAISED.sub(lambda run: "^{" + run[0].translate(_SUPERSCRIPTS) + "}", text)
    text = _LOWERED.sub(lambda run: "_{" + run[0].translate(_SUBSCRIPTS) + "}", text)
    text = _VULGAR.sub(lambda found: f"{found[1]} " + unicodedata.normalize("NFKC", found[2]), text).strip()
    text = _VARIANTS.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    text = unicodedata.normalize("NFC", text).translate(_TRANSLATION)
    if not re.search("[\u0370-\u03ff]{3}", text):  # a word of Greek stays one
        text = re.sub(
            "[\u03b1-\u03c9\u0391-\u03a9\u03d1\u03d5\u03f5](?!m\\b|[A-Z]\\b)",
            lambda c: c[0].translate(_GREEK),
            text,
        )
    characters = []
    for character in text.replace("\\$", _DOLLAR):
        if character.isascii():
            characters.append(character if character.isprintable() or character == "\n" else " ")
        elif unicodedata.category(character) == "Nd":
            characters.append(str(unicodedata.decimal(character)))
        elif (
            unicodedata.category(character) not in ("Cf", "Cc", "Mn")
            or character == _DOLLAR
            or unicodedata.combining(character)
        ):
            characters.append(character)
    text = "".join(characters)
    for _ in range(4):
        without = _SWITCH.sub(r"\1", _SEGMENT.sub(r"\1", _STYLE.sub(_upright, text)))
        if without == text:
            break
        text = without
    text = _unquoted(_INITIALS.sub(r"\1\2\3", text.strip()))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _INCHES.sub(" in", _unquoted(re.sub(r"\s*\n\s*", "\n", text).strip()))
    if (measured := _IN_BRACKETS.fullmatch(text)) and known_unit(measured[2]):
        text = f"{measured[1]} {measured[2]}"
    return re.sub(r"[ \t]+", " ", text)


def without_lead_in(text: str) -> str:
    """`5` of `the answer is 5`, `B` of `I choose B`; a lead-in is taken off whole or not at all."""
    for before in (_PREAMBLE, _BEFORE_A_VALUE):
        if (lead_in := before.match(text)) and lead_in.end():
            text = _unquoted(text[lead_in.end() :])
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
    """Strips a closing full stop and matched delimiters from the ends."""
    for _ in range(8):
        before = text
        text = _EXCLAIMED.sub(r"\1", text)
        if not text.endswith(("\\", "...")):
            text = text.rstrip(" .,;\n\u3002\uff61")
        text = text.lstrip(" :\n")
        for opener, closer in _DELIMITERS:
            inner = text[len(opener) : -len(closer)]
            if len(text) <= len(opener) + len(closer):
                continue
            if text.startswith(opener) and text.endswith(closer) and not text.endswith("\\" + closer):
                whole = opener not in inner and closer not in inner
                if opener in "{([":  # round a single thing; a pair, a set or a lettered option keeps them
                    whole = whole and not re.search("[,;]", inner)
                if opener == "'":
                    whole = whole and inner[:1] != "'"
                text = inner.strip() if whole else text
        if text == before:
            break
    return text
