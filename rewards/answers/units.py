"""Units by one table: symbols with their SI prefixes, words, currencies -> dimension and factor.

Why this is a table of our own: `docs/decisions/103-a-table-of-units.md`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

# symbols | words | definition by what stands above, empty for a dimension of its own | p: SI prefixes
_TABLE = """
m | meter metre 米 | | p
g | gram gramme 克 | | p
s sec | second 秒 | | p
A | ampere amp 安培 | | p
K | kelvin | |
mol | mole | | p
cd | candela | |
lm | lumen | |
lx | lux | | p
° deg | degree 度 | |
rad | radian | |
°C | degree-celsius celsius degree-c 摄氏度 | |
°F | degree-fahrenheit fahrenheit degree-f 华氏度 | |
bit | | | p
% pct | percent per-cent percentage | |
$ usd us$ | dollar 美元 | |
€ eur | euro 欧元 | | p
£ gbp | pound-sterling | |
 | penny pence | 0.01 £ |
¥ jpy | yen 円 | |
cny rmb | yuan 元 | |
₹ rs inr | rupee | |
₩ krw | won | |
₽ rub | ruble rouble | |
₿ btc | bitcoin | |
chf | franc | |
px | pixel | |
ppm | | |
dB | decibel | |
rev | revolution | |
mo | month | |
¢ | cent | 0.01 $ |
B | byte | 8 bit | p
kb | | 1000 bit |
Mb | | 1000000 bit |
Gb | | 1000000000 bit |
min mins | minute 分钟 | 60 s |
h hr hrs | hour 小时 | 60 min |
 | day 天 | 24 h |
wk | week | 168 h |
yr | year 年 | 12 mo |
 | decade | 10 yr |
 | century | 100 yr |
 | tonne 吨 | 1000000 g |
 | ton | |
Å | angstrom | 0.0000000001 m |
lb lbs | pound | 453.59237 g |
oz | ounce | 28.349523125 g |
in | inch inche | 0.0254 m |
ft | foot feet | 12 in |
yd | yard | 3 ft |
mi | mile | 1760 yd |
nmi | nautical-mile | 1852 m |
 | 厘米 | 0.01 m |
 | 毫米 | 0.001 m |
 | 公里 千米 | 1000 m |
 | 公斤 千克 | 1000 g |
L l | liter litre 升 | 0.001 m^3 | p
gal | gallon | 3.785411784 L |
 | quart | 0.25 gal |
ha | hectare | 10000 m^2 |
ac | acre | 43560 ft^2 |
Hz | hertz | s^-1 | p
N | newton | 1000 g m s^-2 | p
Pa | pascal | N m^-2 | p
 | newton-meter newton-metre | N m |
J | joule | N m | p
W | watt | J s^-1 | p
Wh | watt-hour | 3600 J | p
V | volt | W A^-1 | p
Ω | ohm | V A^-1 | p
C | coulomb | A s | p
F | farad | C V^-1 | p
T | tesla | V s m^-2 | p
H | henry henries | V s A^-1 | p
Wb | weber | V s | p
eV | electronvolt electron-volt | 0.0000000000000000001602176634 J | p
cal | calorie | 4.184 J | p
bar | | 100000 Pa | p
atm | atmosphere | 101325 Pa |
mmHg torr | | 101325/760 Pa |
psi | | 6894.757293168 Pa |
cc | | 0.000001 m^3 |
mph | | mi h^-1 |
kph kmh kmph | | 1000 m h^-1 |
mps | | m s^-1 |
rpm | | rev min^-1 |
"""
_PREFIXES = (
    "T tera 12 G giga 9 M mega 6 k kilo 3 h hecto 2 d deci -1 c centi -2 m milli -3 μ micro -6 n nano -9"
)
_PREFIXES += " p pico -12 f femto -15"
_ALIASES = {"KB": "kB", "C": "°C", "F": "°F", "pound": "£", "¥": "cny"}
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
    r"\s*(/)?\s*([^\W\d_]+|[°%$€£¥₹₩₽₿¢]+[CF]?)(?:\^\s*(-?[1-9])|(?<=[^\W\d_])(-[1-3]|[23])(?![\w]))?"
)
_ANY_CASE_SYMBOLS = "kg km cm mm ml kw kwh khz mhz ghz kpa kj kcal gb kb"
_ANY_CASE = frozenset(_ANY_CASE_SYMBOLS.split())
_PLURALS = (("s", ""), ("es", ""), ("ies", "y"))
_VAGUE = re.compile(r"(?:(square|cubic|sq\.?|cu\.?)\s+)?units?(?:\^?\{?([23])\}?)?")
_LONGEST = 40

Dimension = tuple[tuple[str, int], ...]
Reading = tuple[Dimension, Fraction]


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts.

    Attributes:
        readings: (dimension, factor to that dimension's base units) of each thing that the symbol may mean:
            `C` is Celsius or coulomb. A thing that is counted, `dogs`, is a dimension of its own.
        strict: letters right behind the number that are as often a label or a product of variables as a
            unit, `5A`, `5cd`: such a quantity does not equal the bare number.
    """

    readings: tuple[Reading, ...]
    strict: bool = False

    @property
    def vague(self) -> bool:
        """Whether it says `units` and not which."""
        return self.readings[0][0][0][0].startswith("'unit^")

    def factors(self, other: "Unit") -> list[tuple[Fraction, Fraction]]:
        """The factors of both for each dimension that they may share; empty where they cannot agree."""
        return [(f, g) for d, f in self.readings for e, g in other.readings if d == e]


def counted(thing: str) -> Unit:
    """The unit of things: `dog`."""
    return Unit((((("'" + thing, 1),), Fraction(1)),))


def vague_unit(text: str) -> Unit | None:
    """`units`, `square units`, `units^2`; None for all else."""
    vague = _VAGUE.fullmatch(text)
    if vague is None:
        return None
    power = {"s": "2", "c": "3"}.get((vague[1] or "")[:1], vague[2])
    return counted(f"unit^{power or 1}")


@lru_cache(maxsize=4096)
def known_unit(text: str) -> Unit | None:
    r"""Reads `cm`, `m/s^2`, `kg m^{-3}`, `square meters`, `k\Omega`, `°C`; None for what the table lacks."""
    if len(text) > _LONGEST:
        return None
    for pattern, replacement in _SPELLED:
        text = pattern.sub(replacement, text)
    text = text.strip().rstrip(".")
    whole = _look_up("-".join(text.split()))
    if whole:
        return Unit(whole)
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
        dimension, scale = found[-1] if len(text) > part.end() or place else found[0]
        factor *= scale**power
        for base, exponent in dimension:
            total[base] = total.get(base, 0) + power * exponent
        place = part.end()
    return Unit(((_ordered(total), factor),)) if total else None


def _ordered(total: dict[str, int]) -> Dimension:
    return tuple(sorted((base, exponent) for base, exponent in total.items() if exponent))


def _look_up(name: str) -> tuple[Reading, ...]:
    """By the exact symbol, then by the word in any case and number, then by a symbol in another case."""
    symbols, folded = _units()
    if name in symbols:
        return symbols[name]
    lower = name.casefold()
    lower = lower.replace("degrees-", "degree-")
    singular = [lower.removesuffix(end) + more for end, more in _PLURALS if lower.endswith(end)]
    for word in (lower, *singular):
        if word in folded and len(folded[word]) == 1 and (len(word) > 1 or not word.isascii()):
            return folded[word][0]
    return ()


@lru_cache(maxsize=1)
def _units() -> tuple[dict[str, tuple[Reading, ...]], dict[str, list[tuple[Reading, ...]]]]:
    """Symbol -> readings as it is written, and folded name -> the different readings it may stand for."""
    symbols: dict[str, tuple[Reading, ...]] = {}
    words: dict[str, tuple[Reading, ...]] = {}
    unprefixed: set[str] = set()
    parts = _PREFIXES.split()
    prefixes = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
    for line in _TABLE.strip("\n").splitlines():
        short, long, definition, prefixed, *_ = [*(cell.split() for cell in line.split("|")), []]
        dimension, factor = _defined(definition, symbols) if definition else ((((*short, *long)[0], 1),), 1)
        unprefixed.update(short)
        for name in short:
            symbols[name] = ((dimension, Fraction(factor)),)
        for name in long:
            words[name] = (*words.get(name, ()), (dimension, Fraction(factor)))
        for symbol, word, power in prefixes if prefixed else ():
            reading = ((dimension, factor * Fraction(10) ** int(power)),)
            symbols |= {symbol + name: reading for name in short if symbol + name not in symbols}
            words |= {word + name: reading for name in long if name.isascii()}
            words |= {word + name: reading for name in short if len(name) > 2}
    for name, also in _ALIASES.items():
        table = words if name in words else symbols
        table[name] = (*symbols[also], *table.get(name, ()))
    folded: dict[str, list[tuple[Reading, ...]]] = {word: [readings] for word, readings in words.items()}
    for name, readings in symbols.items():
        lower = name.casefold()
        if lower not in words and (name in unprefixed or lower in _ANY_CASE):
            folded.setdefault(lower, [])
            folded[lower] += [readings] if readings not in folded[lower] else []
    return symbols, folded


def _defined(definition: list[str], symbols: dict[str, tuple[Reading, ...]]) -> Reading:
    total: dict[str, int] = {}
    factor = Fraction(1)
    for token in definition:
        if token[0].isdigit():
            factor *= Fraction(token)
            continue
        name, _, power = token.partition("^")
        dimension, scale = symbols[name][-1]
        factor *= scale ** int(power or 1)
        for base, exponent in dimension:
            total[base] = total.get(base, 0) + exponent * int(power or 1)
    return _ordered(total), factor
