# ruff: noqa: RUF001 - the signs that are read stand here
r"""Removes what does not change an answer: LaTeX and markdown wrappers, Unicode variants, lead-ins."""

import re
import unicodedata
from unicodedata import normalize

from rewards.answers.quantities import WORDS
from rewards.answers.units import known_unit

_DOLLAR = "\ufdd0"  # an escaped dollar, while others are taken for delimiters; no text holds this character

# Characters and what they are the same as; those in a row share it.
_PLAIN = """
\u2212\u2010\u2011\u2012\u2013\ufe63 - \u2018\u2019\u02bc\u2032 ' \u201c\u201d\u2033 " \u2044\u2215 / \u066b
. \u066c\u3001 , \u301c ~ \u2236 : \u00b5 \u03bc \u2126 \u03a9
"""
_COMMANDS = """
≠ ne ≤⩽ le ≥⩾ ge ⋅·∙ cdot ×✕ times ÷ div ∞ infty √ sqrt ∛ sqrt[3] ± pm ∠ angle △ triangle ⊙ odot ∅ emptyset
∈ in ∉ notin ∪ cup ∩ cap ⊥ perp ∥ parallel ≅ cong ∀ forall ∃ exists ∇ nabla ∫ int ∑ sum ∂ partial ∨ lor ∧ land
⇒ Rightarrow ≈ approx ħℏ hbar ✓✔✅ checkmark α alpha β beta γ gamma δ delta εϵ epsilon ζ zeta η eta θϑ theta
ι iota κ kappa λ lambda μ mu ν nu ξ xi π pi ρ rho σ sigma τ tau υ upsilon φϕ phi χ chi ψ psi ω omega Γ
Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Φ Phi Ψ Psi
"""


def _pairs(table: str) -> dict[int, str]:
    words = table.split()
    return {ord(one): plain for signs, plain in zip(words[::2], words[1::2], strict=True) for one in signs}


_MATHS = {code: f"\\{name} " for code, name in _pairs(_COMMANDS).items()}
_LETTERS = {code: _MATHS.pop(code) for code in list(_MATHS) if 0x390 < code < 0x400}
_QUOTES = "\u00ab\u00bb\u300a\u300b\u300c\u300d\u300e\u300f\u3010\u3011"
_TRANSLATION = _pairs(_PLAIN) | _MATHS | {0x2014: " - "} | dict.fromkeys(map(ord, _QUOTES), "")
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b\u207a\u207f]+")
_LOWERED = re.compile("[\u2080-\u2089]+")
_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e]")
# Wide, mathematical and squared letters are the plain ones; `ª` is not `a`, nor is a ligature in a word.
_VARIANTS = re.compile("[\uff01-\uffee\u3000\U0001d400-\U0001d7ff\u2103\u2109\u3371-\u33df\u212a\u212b]")
_STYLE = re.compile(
    r"(^|.)(\s*)\\(?:text(?:bf|it|rm|sf|tt|sc|up|md|normal)?|math(?:rm|bf|it|sf|tt|bb|cal|normal|op)|f?boxed|(?:f|frame|m|h)box|operatorname|"
    r"emph|bm|pmb|boldsymbol|u(?:nder)?line|ensuremath|ce|(?:textcolor|color(?:box)?)\s*\{[^{}]*\})\s*"
    r"\{((?:[^{}]|\{[^{}]*\})*)\}((?:\^\s*(?:\d|\{\s*-?\d\s*\}))?)"
)
_REWRITES = [
    (re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|(?:display|text|script)style)(?![a-zA-Z])"), ""),
    (re.compile(r"\\[hv]?phantom\s*\{[^{}]*\}|\\[hv]space\s*\{[^{}]*\}|(?:\\\\|\\)\s*$"), " "),
    (re.compile(r"\\\(|\\\)|\\\[|\\\]"), " "),
    (re.compile(r"\$([^\s$\d-][^$]{0,99})\$|\$(\s*\\?,\s*)\$"), r"\1\2"),
    (re.compile(_DOLLAR), "$"),
    (re.compile(r"(?<=[A-Za-z\d)])\^\s*\{?\s*(\d?[+-])\s*\}?(?=$|\s)"), r"^{\1}"),  # Na^{+}
    (re.compile(r"\^\s*(?:\{\s*\\prime\s*\}|\\prime(?![a-z]))"), "'"),
    (re.compile(r"(?<![A-Za-z])per[ -]cent(?:age points?)?(?![a-z])|percentage points?"), "percent"),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree"), "°"),
    (re.compile(r"(?<=\d)\{,\}(?=\d)|(?<=\d)\\,(?=\d{3}(?!\d))"), ","),
    (re.compile(r"(?<!\\)\\[!,;: ]|(?<=[A-Za-z.,}]{2})~(?=[\w\\])|(?<=\d)~(?=[A-Za-z])|\\quad|\\qquad"), " "),
    (re.compile(r"\\([%&#])"), r"\1"),
    (re.compile(r"(?<=\w)\s+(?=\^)|^\{\}(?=[\^_])"), ""),
    (re.compile(r"\\(?:long)?rightarrow(?![a-z])|\\to(?![a-z])|[-=]+>"), "\u2192"),
]  # fmt: skip
_INITIALS = re.compile(r"(?<![A-Za-z.])([A-Z])\.(?:([A-Z])\.)(?:([A-Z])\.)?(?![A-Za-z])")  # U.S.
_MARKS = ("$$", "$", "**", "__", "`", '"', "'", "*", "_")
_DELIMITERS = {mark: mark for mark in _MARKS} | {"{": "}", "(": ")", "[": "]"}
_PREAMBLE = re.compile(
    r"(?i)(?:so|therefore|thus|hence)?,?\s*(?:(?:the|my|our|la|a|die)\s+)?(?:(?:final|correct|best|right|total|правильный)\s+)*"
    r"(?:answer|choice|option|result|solution|value|total|sum|count|number|respuesta|antwort|risposta|resposta"
    r"|ответ|réponse|ans\.?)(?:\s+(?:correc?t[ao]|corretta|final))?"
    r"\s*(?:(?:is|would be|es|est|ist|é|è)(?![a-z])\s*:?|:|=|-(?=\s))\s*(?=\S)"
    r"|ans\.\s*(?=\S)|letter\s*:?\s*(?=[A-Z]$)"
    r"|(?:综上|故|因此|所以|本题)?[,\uff0c]?\s*应?该?(?:(?:最终|正确)?(?:答え|答案?|正解|정답|답|选项(?=[是为]))(?:选项?|選択肢)?\s*(?:是|为|選|は|은|는|应?选)?\s*:?|"
    r"选(?:择|项)?\s*:?(?=\s*\(?[A-Z]\)?项?$))\s*(?=\S)"
)
# What may stand before a bare number or letter; before words it would drop what tells two answers apart.
_BEFORE_A_VALUE = re.compile(
    r"(?i)(?:(?:so|therefore|thus|hence)\b,?\s*)?(?:(?:it|there|that|this)\s*(?:is|are|'s)\s+|i\s+(?:would\s+)?(?:choose|pick)\s+|(?:[一总]?共)?有?)?"
    r"(?:(?:a total of|in total|the(?!\s+\(?[a-j]\)?$))\s+)?"
    rf"(?=[-+$€£¥]?\d|[A-Z]\d|\(?[A-J]\)?$|(?:{'|'.join(sorted(WORDS))})\b)"
)
_GREEK = re.compile(r"[\u0391-\u03bb\u03bd-\u03f5]|\u03bc(?!m\b|[A-Z]\b)")
_SELECTOR = re.compile("[\u034f\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # of a variant of the sign before it
_EXCLAIMED = re.compile(r"([^\W\d_]{2})!{1,9}$")  # after a word; `5!` and `n!` are factorials


def plain(text: str) -> str:
    """The text in plain characters, without wrappers and lead-in."""
    return without_lead_in(unwrapped(text))


def unwrapped(text: str) -> str:
    """The text in plain characters and without wrappers round it, its lead-in left as it is."""
    text = _RAISED.sub(lambda run: f"^{{{normalize('NFKC', run[0])}}}", text)
    text = _LOWERED.sub(lambda run: f"_{{{normalize('NFKC', run[0])}}}", text)
    text = _VULGAR.sub(lambda found: " " + normalize("NFKC", found[0]), text).strip()
    text = _VARIANTS.sub(lambda found: normalize("NFKC", found[0]), text)
    text = normalize("NFC", text).translate(_TRANSLATION)
    if not re.search("[\u0370-\u03ff]{3}", text):  # a word of Greek stays one, and μm and kΩ are units
        text = _GREEK.sub(lambda found: found[0].translate(_LETTERS), text)
    text = "".join(map(_character, text.replace("\\$", _DOLLAR)))
    for _ in range(4):
        text = _STYLE.sub(_upright, text)
    text = _unquoted(_INITIALS.sub(r"\1\2\3", text.strip()))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return re.sub(r"[ \t]+", " ", _unquoted(re.sub(r"\s*\n\s*", "\n", text).strip()))


def _character(character: str) -> str:
    """Any digit as 0 to 9, a space for a control character of ASCII, nothing for other invisible ones."""
    if character.isascii():
        return character if character.isprintable() or character == "\n" else " "
    kind = unicodedata.category(character)
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    flagged = "\U000e0020" <= character <= "\U000e007f"  # tells the flag of Wales from that of Scotland
    hidden = _SELECTOR.match(character) or (kind in ("Cf", "Cc") and not flagged)
    return "" if hidden and character != _DOLLAR else character


def without_lead_in(text: str) -> str:
    """`5` of `the answer is 5`, `B` of `I choose B`; a lead-in is taken off whole or not at all."""
    for before in (_PREAMBLE, _BEFORE_A_VALUE):
        if (lead_in := before.match(text)) and lead_in.end():
            text = _unquoted(text[lead_in.end() :])
    return text


def _upright(match: re.Match[str]) -> str:
    """The content of a style command, kept apart from the command or the number before it."""
    before, space, content, power = match.groups()
    behind = match.string[max(0, match.start() - 12) : match.start() + len(before)]
    command = before.isalpha() and not space and re.search(r"\\[a-zA-Z]+$", behind)
    measured = re.search(r"[\d})\]]$", behind) and known_unit(content + power)
    return f"{before}{' ' if command or measured else space}{content}{power}"


def _unquoted(text: str) -> str:
    """Strips a closing full stop and matched delimiters from the ends."""
    for _ in range(8):
        before, text = text, _EXCLAIMED.sub(r"\1", text)
        if not text.endswith(("\\", "...")):
            text = text.rstrip(" .,;\n\u3002\uff61")
        text = text.lstrip(" :\n")
        for opener, closer in _DELIMITERS.items():
            inner = text[len(opener) : -len(closer)]
            whole = inner and text.startswith(opener) and text.endswith(closer) and not inner.endswith("\\")
            # Round a single thing: a pair, a set or a lettered option keeps its brackets.
            several = opener in inner or closer in inner or (opener in "{([" and re.search("[,;]", inner))
            text = inner.strip() if whole and not several else text
        if text == before:
            break
    return text
