"""Units by one table: symbols with their SI prefixes, words, currencies -> dimension and factor.

Why this is a table of our own: `docs/decisions/103-a-table-of-units.md`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

# symbols | words | definition by what stands before, empty for a dimension of its own | p: SI prefixes
_TABLE = """
m | meter metre 米 |  | p; g | gram gramme 克 |  | p; | kilo | 1000 g; s sec | second 秒 |  | p
A | ampere amp 安培 |  | p; K | kelvin; mol | mole |  | p; cd | candela; lm | lumen; lx | lux |  | p
° deg | degree 度; °C C | degree-celsius celsius degree-c 摄氏度
°F F | degree-fahrenheit fahrenheit degree-f 华氏度; bit |  |  | p
% pct | percent per-cent percentage percentage-point percent-point
$ usd us$ | dollar us-dollar american-dollar 美元; € eur | euro 欧元 |  | p
£ gbp | pound-sterling british-pound; | penny pence | 0.01 £; ¥ jpy | yen 円; cny rmb | yuan 元 人民币
₹ rs inr | rupee; ₩ krw | won; ₽ rub | ruble rouble; ₿ btc | bitcoin; chf | franc; px | pixel
rad | radian | 1; | unit; ppm; us |  | 0.000001 s; ‰ | permille per-mille | 0.1 %; dB | decibel
rev | revolution; mo | month; ¢ | cent | 0.01 $; B | byte | 8 bit | p; KB |  | 8000 bit; kb |  | 1000 bit
Mb |  | 1000000 bit; Gb |  | 1000000000 bit; min mins | minute 分钟 | 60 s; h hr hrs | hour 小时 | 60 min
| day 天 | 24 h; wk | week | 168 h; yr | year 年 | 12 mo; | decade | 10 yr; | century | 100 yr
| tonne 吨 | 1000000 g; | ton; Å | angstrom | 0.0000000001 m; lb lbs | pound | 453.59237 g
oz | ounce | 28.349523125 g; in | inch inche | 0.0254 m; ft | foot feet | 12 in; yd | yard | 3 ft
mi | mile | 1760 yd; ' |  | 12 in; nmi | nautical-mile | 1852 m; | 厘米 | 0.01 m; | 毫米 | 0.001 m
| 公里 千米 | 1000 m; | 公斤 千克 | 1000 g; L l | liter litre 升 | 0.001 m^3 | p; gal | gallon | 3.785411784 L
| quart | 0.25 gal; ha | hectare | 10000 m^2; ac | acre | 43560 ft^2; Hz | hertz | s^-1 | p
N | newton | 1000 g m s^-2 | p; Pa | pascal | N m^-2 | p; Nm | newton-meter newton-metre | N m
J | joule | N m | p; W | watt | J s^-1 | p; Wh | watt-hour | 3600 J | p; V | volt | W A^-1 | p
Ω | ohm | V A^-1 | p; _C | coulomb | A s | p; _F | farad | _C V^-1 | p; T | tesla | V s m^-2 | p
H | henry henries | V s A^-1 | p; Wb | weber | V s | p
eV | electronvolt electron-volt | 0.0000000000000000001602176634 J | p; cal | calorie | 4.184 J | p
bar |  | 100000 Pa | p; atm | atmosphere | 101325 Pa; mmHg torr |  | 101325/760 Pa
psi |  | 6894.757293168 Pa; cc |  | 0.000001 m^3; mph |  | mi h^-1; Mbps |  | 1000000 bit s^-1
Kbps kbps |  | 1000 bit s^-1; Gbps |  | 1000000000 bit s^-1; bps |  | bit s^-1; sqm |  | m^2
sqft |  | ft^2; kph kmh kmph |  | 1000 m h^-1; mps |  | m s^-1; rpm |  | rev min^-1
"""
_PREFIXES = (
    "T tera 12 G giga 9 M mega 6 k kilo 3 h hecto 2 d deci -1 c centi -2 m milli -3 μ micro -6 n nano -9"
)
_PREFIXES += " p pico -12 f femto -15"
_SPELLED = [
    (re.compile(r"\\(?:Omega|ohm)(?![a-zA-Z])"), "Ω"),
    (re.compile(r"\\mu(?![a-zA-Z])\s*"), "μ"),
    (re.compile(r"\\cdot(?![a-zA-Z])|[\u00b7\u22c5*]"), " "),
    (re.compile(r"\\?\$"), "$"),
    (re.compile(r"\\[,;:! ]|~"), " "),
    (re.compile(r"/\s*\(([^()]*)\)"), r"/\1"),
    (re.compile(r"平方([^\W\d]+)"), r"\1^2"),
    (re.compile(r"立方([^\W\d]+)"), r"\1^3"),
    (re.compile(r"[{}]"), ""),
    (re.compile(r"\b(?:square|sq\.?)\s+([^\W\d]+)", re.IGNORECASE), r"\1^2"),
    (re.compile(r"\b(?:cubic|cu\.?)\s+([^\W\d]+)", re.IGNORECASE), r"\1^3"),
    (re.compile(r"([^\W\d]+)\s+squared\b", re.IGNORECASE), r"\1^2"),
    (re.compile(r"([^\W\d]+)\s+cubed\b", re.IGNORECASE), r"\1^3"),
    (re.compile(r"\s+per\s+", re.IGNORECASE), "/"),
    (re.compile(r"°\s+(?=[CF]$)"), "°"),
]
_PART = re.compile(
    r"\s*(/)?\s*([^\W\d_]+|'|[°%‰$€£¥₹₩₽₿¢]+[CF]?)(?:\^\s*(-?[1-9])|(?<=[^\W\d_])(-[1-3]|[23])(?![\w]))?"
)
_ANY_CASE_SYMBOLS = "kg km cm mm ml kw kwh khz mhz ghz kpa kj kcal gb kb"
_ANY_CASE = frozenset(_ANY_CASE_SYMBOLS.split())
_PLURALS = (("s", ""), ("es", ""), ("ies", "y"))
_LONGEST = 40

Dimension = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts.

    Attributes:
        dimension: base units with their powers; empty for radians.
        factor: how many of the base units it is.
    """

    dimension: Dimension
    factor: Fraction


@lru_cache(maxsize=4096)
def known_unit(text: str) -> Unit | None:
    r"""Reads `cm`, `m/s^2`, `kg m^{-3}`, `square meters`, `k\Omega`, `°C`; None for what the table lacks."""
    if len(text) > _LONGEST:
        return None
    for pattern, replacement in _SPELLED:
        text = pattern.sub(replacement, text)
    text = text.strip().rstrip(".")
    if whole := _look_up("-".join(text.split())):
        return whole
    total: dict[str, int] = {}
    factor, place, above = Fraction(1), 0, 1
    while place < len(text):
        part = _PART.match(text, place)
        if part is None or (part[1] and place == 0):
            return None
        above = -1 if part[1] else above
        found = _look_up(part[2])
        if not found:
            return None
        if part[4] and not place and (part[4] < "0" or part[2][-1] not in "mtnd"):
            return None  # 5m-2 and 3L2 hold no power; `m s-2` and `cm2` do
        power = above * int(part[3] or part[4] or 1)
        factor *= found.factor**power
        for base, exponent in found.dimension:
            total[base] = total.get(base, 0) + power * exponent
        place = part.end()
    return Unit(_ordered(total), factor) if total else None


def _ordered(total: dict[str, int]) -> Dimension:
    return tuple(sorted((base, exponent) for base, exponent in total.items() if exponent))


def _look_up(name: str) -> Unit | None:
    """By the exact symbol, then by the word in any case and number, then by a symbol in another case."""
    symbols, words, folded = _units()
    if name in symbols:
        return symbols[name]
    lower = name.casefold().replace("degrees-", "degree-")
    for word in (lower, *(lower.removesuffix(end) + more for end, more in _PLURALS if lower.endswith(end))):
        if word in words:
            return words[word]
        even = name.islower() or name.isupper() or name.istitle() or not name.isascii()  # MBps is not Mbps
        if even and len(folded.get(word, ())) == 1 and (len(word) > 1 or not word.isascii()):
            return folded[word][0]
    return None


@lru_cache(maxsize=1)
def _units() -> tuple[dict[str, Unit], dict[str, Unit], dict[str, list[Unit]]]:
    """Symbol -> unit, word -> unit, and symbol in small letters -> the units that it may stand for."""
    symbols: dict[str, Unit] = {}
    words: dict[str, Unit] = {}
    unprefixed: set[str] = set()
    parts = _PREFIXES.split()
    prefixes = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
    for line in _TABLE.replace("\n", ";").split(";"):
        short, long, definition, prefixed, *_ = _cells(line)
        if not short and not long:
            continue
        unit = _defined(definition, symbols) if definition else Unit((((*short, *long)[0], 1),), Fraction(1))
        unprefixed.update(short)
        symbols |= dict.fromkeys(short, unit)
        words |= dict.fromkeys(long, unit)
        for symbol, word, power in prefixes if prefixed else ():
            more = Unit(unit.dimension, unit.factor * Fraction(10) ** int(power))
            named = [symbol + name.lstrip("_") for name in short]
            symbols |= {name: more for name in named if name not in symbols}
            words |= {
                word + name: more for name in (*long, *(s for s in short if len(s) > 2)) if name.isascii()
            }
    folded: dict[str, list[Unit]] = {}
    for name, unit in symbols.items():
        lower = name.casefold()
        if lower not in words and (name in unprefixed or lower in _ANY_CASE):
            folded.setdefault(lower, [])
            folded[lower] += [unit] if unit not in folded[lower] else []
    return symbols, words, folded


def _cells(line: str) -> list[list[str]]:
    return [*(cell.split() for cell in line.split("|")), [], [], []]


def _defined(definition: list[str], symbols: dict[str, Unit]) -> Unit:
    total: dict[str, int] = {}
    factor = Fraction(1)
    for token in definition:
        if token[0].isdigit():
            factor *= Fraction(token)
            continue
        name, _, power = token.partition("^")
        factor *= symbols[name].factor ** int(power or 1)
        for base, exponent in symbols[name].dimension:
            total[base] = total.get(base, 0) + exponent * int(power or 1)
    return Unit(_ordered(total), factor)
