"""Units by one table: symbols with their SI prefixes, words, currencies -> dimension and factor.

Why this is a table of our own: `docs/decisions/103-a-table-of-units.md`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

# names = what it is of those before, without `=` a dimension of its own; `p` behind them: with SI prefixes.
# Three small letters or more are a word, in any case and number; what is shorter is a symbol.
_TABLE = """
m meter metre 米 p; g gram gramme 克 p; kilo = 1000 g; s second 秒 p; A ampere amp 安培 p; K kelvin; mol p
mole = mol; ° deg degree 度; °C C degree-celsius celsius degree-c 摄氏度
°F F degree-fahrenheit fahrenheit degree-f 华氏度
% pct percent per-cent percentage percentage-point percent-point; ‰ permille per-mille = 0.1 %; bit p
px pixel; $ usd us$ dollar us-dollar american-dollar 美元; € eur euro 欧元 p; £ gbp pound-sterling
penny pence = 0.01 £; ¥ jpy yen 円; cny rmb yuan 元 人民币; ₹ rs inr rupee; ₩ krw won; ₽ rub ruble
₿ btc bitcoin; chf franc; ¢ cent = 0.01 $; unit; ppm; dB decibel; rev revolution; rad radian = 1; sec = s
us = 0.000001 s; B byte = 8 bit p; KB = 8000 bit; kb = 1000 bit; Mb = 1000000 bit; Gb = 1000000000 bit
min minute 分钟 = 60 s; h hr hrs hour 小时 = 60 min; day 天 = 24 h; wk week = 168 h; mo month
yr yrs year 年 = 12 mo; decade = 10 yr; century = 100 yr; tonne 吨 = 1000000 g; ton
Å angstrom = 0.0000000001 m; lb lbs pound = 453.59237 g; oz ounce = 28.349523125 g; in inch inche = 0.0254 m
ft foot feet ' = 12 in; yd yard = 3 ft; mi mile = 1760 yd; nmi nautical-mile = 1852 m; 厘米 = 0.01 m
毫米 = 0.001 m; 公里 千米 = 1000 m; 公斤 千克 = 1000 g; 平方米 = m^2; 平方厘米 = 0.0001 m^2; 立方米 = m^3
L l liter litre 升 = 0.001 m^3 p; gal gallon = 3.785411784 L; ha hectare = 10000 m^2; ac acre = 43560 ft^2
Hz hertz = s^-1 p; N newton = 1000 g m s^-2 p; Pa pascal = N m^-2 p; Nm newton-meter newton-metre = N m
J joule = N m p; W watt = J s^-1 p; Wh watt-hour = 3600 J p; V volt = W A^-1 p; Ω ohm = V A^-1 p
_C coulomb = A s p; _F farad = _C V^-1 p; T tesla = V s m^-2 p; H henry = V s A^-1 p; Wb weber = V s p
cal calorie = 4.184 J p; eV electronvolt electron-volt = 0.0000000000000000001602176634 J p
bar = 100000 Pa p; atm atmosphere = 101325 Pa; mmHg torr = 101325/760 Pa; psi = 6894.757293168 Pa
cc = 0.000001 m^3; mph = mi h^-1; kph kmh kmph = 1000 m h^-1; bps = bit s^-1; kbps = 1000 bit s^-1
Mbps = 1000000 bit s^-1; Gbps = 1000000000 bit s^-1; sqm = m^2; sqft = ft^2; mps = m s^-1; rpm = rev min^-1
"""
_PREFIXES = re.findall(
    r"(\S+) (\w+) (-?\d+)",
    "T tera 12 G giga 9 M mega 6 k kilo 3 h hecto 2 d deci -1 c centi -2 m milli -3 μ micro -6 n nano -9 "
    "p pico -12 f femto -15",
)
_SPELLED = [
    (re.compile(r"\\(?:Omega|ohm)(?![a-zA-Z])"), "Ω"),
    (re.compile(r"\\mu(?![a-zA-Z])\s*"), "μ"),
    (re.compile(r"\\cdot(?![a-zA-Z])|[\u00b7\u22c5*~]|\\[,;:! ]"), " "),
    (re.compile(r"\\(?=\$)|[{}]|(?<=°)\s+(?=[CF]$)"), ""),
    (re.compile(r"/\s*\(([^()]*)\)"), r"/\1"),
    (re.compile(r"(?i)\s+per\s+"), "/"),
    (re.compile(r"(?i)\bsq(?:uare)?\.?\s+([^\W\d]+)|([^\W\d]+)\s+squared\b"), r"\1\2^2"),
    (re.compile(r"(?i)\bcu(?:bic)?\.?\s+([^\W\d]+)|([^\W\d]+)\s+cubed\b"), r"\1\2^3"),
]
_PART = re.compile(
    r"\s*(/)?\s*([^\W\d_]+|'|[°%‰$€£¥₹₩₽₿¢]+[CF]?)(?:\^\s*(-?[1-9])|(?<=[^\W\d_])(-[1-3]|[23])(?![\w]))?"
)
_ANY_CASE = "kg km cm mm ml kW kWh kHz MHz GHz kPa kJ kcal GB lb ft oz hr yd mi"
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


def _product(parts: list[tuple[Unit, int]], factor: Fraction) -> Unit:
    total: dict[str, int] = {}
    for unit, power in parts:
        factor *= unit.factor**power
        for base, exponent in unit.dimension:
            total[base] = total.get(base, 0) + power * exponent
    return Unit(tuple(sorted((base, exponent) for base, exponent in total.items() if exponent)), factor)


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
    parts: list[tuple[Unit, int]] = []
    place, above = 0, 1
    while place < len(text):
        part = _PART.match(text, place)
        found = _look_up(part[2]) if part else None
        if part is None or found is None or (part[1] and place == 0):
            return None
        above = -1 if part[1] else above
        if part[4] and not place and (part[4] < "0" or part[2][-1] not in "mtnd"):
            return None  # 5m-2 and 3L2 hold no power; `m s-2` and `cm2` do
        parts.append((found, above * int(part[3] or part[4] or 1)))
        place = part.end()
    return _product(parts, Fraction(1)) if parts else None


def _look_up(name: str) -> Unit | None:
    """By the exact symbol, then by the word in any case and number."""
    symbols, words = _units()
    lower = name.casefold().replace("degrees-", "degree-")
    forms = (lower, *(lower.removesuffix(end) + more for end, more in _PLURALS if lower.endswith(end)))
    forms = () if name == "bars" or re.fullmatch("[a-z][A-Z]", name) else forms  # mM is not mm
    return symbols.get(name) or next((words[form] for form in forms if form in words), None)


@lru_cache(maxsize=1)
def _units() -> tuple[dict[str, Unit], dict[str, Unit]]:
    """Symbol -> unit, and word -> unit."""
    known: dict[str, Unit] = {}
    for line in _TABLE.strip().replace("\n", ";").split(";"):
        said, _, definition = line.removesuffix(" p").partition("=")
        names, number = said.split(), re.match(r"\s*([\d./]+)\s", definition + " ")
        named = [token.partition("^") for token in definition.split() if not token[0].isdigit()]
        of = [(known[name], int(power or 1)) for name, _, power in named]
        unit = _product(of or [], Fraction(number[1] if number else 1))
        unit = unit if definition else Unit(((names[0], 1),), Fraction(1))
        known |= dict.fromkeys(names, unit)
        for symbol, word, power in _PREFIXES if line.endswith(" p") else ():
            more = Unit(unit.dimension, unit.factor * Fraction(10) ** int(power))
            for name in names:
                known.setdefault((word if len(name) > 3 else symbol) + name.lstrip("_"), more)
    words = {name for name in known if (len(name) > 2 and name.islower()) or name > "\u2fff"}
    by_word = {name: known[name] for name in words} | {
        name.lower(): known[name] for name in _ANY_CASE.split()
    }
    return {name: one for name, one in known.items() if name not in words}, by_word
