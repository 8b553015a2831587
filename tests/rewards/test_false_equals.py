"""Different labels are never called equal: random pairs of each kind, 10,000 of them where there is time."""

import operator
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rewards import equivalent

WORDS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=9)
SMALL, YEARS = st.integers(0, 60), st.integers(1950, 2050)
LETTERS = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
DASH = st.sampled_from(["-", "\u2013", " - ", " to ", "\u2014"])
TIMES = st.sampled_from(["x", "\u00d7", " x ", " \u00d7 ", " by ", "*", r" \times "])


def written(values, *styles):
    """Pairs of (what is meant, how it is written)."""
    return values.flatmap(
        lambda value: st.one_of(*(style(value) for style in styles)).map(lambda text: (value, text))
    )


PAIR = st.tuples(SMALL, SMALL)
RANGES = written(PAIR, lambda v: DASH.map(lambda dash: f"{v[0]}{dash}{v[1]}"))
SEASONS = written(YEARS, lambda y: DASH.map(lambda dash: f"{y}{dash.strip()}{(y + 1) % 100:02}"))
SIZES = written(PAIR, lambda v: TIMES.map(lambda times: f"{v[0]}{times}{v[1]}"))
RATIOS = written(PAIR, lambda v: st.sampled_from([f"{v[0]}:{v[1]}", f"{v[0]} : {v[1]}"]))
DATES = written(
    st.tuples(st.integers(1, 28), st.integers(1, 12), YEARS),
    lambda v: st.sampled_from(
        [f"{v[0]}/{v[1]}/{v[2]}", f"{v[0]:02}/{v[1]:02}/{v[2]}", f"{v[0]}-{v[1]}-{v[2]}"]
    ),
)
DIGITS = st.text(alphabet="0123456789", min_size=2, max_size=4)
PHONES = written(st.tuples(DIGITS, DIGITS), lambda v: st.just(f"{v[0]}-{v[1]}"))
GROUPS = written(
    st.lists(st.integers(0, 255).map(str), min_size=3, max_size=4).map(tuple), lambda v: st.just(".".join(v))
)
CODES = written(st.tuples(LETTERS, SMALL, LETTERS, SMALL), lambda v: st.just("".join(map(str, v))))
CLOCKS = written(st.tuples(st.integers(0, 23), st.integers(0, 59)), lambda v: st.just(f"{v[0]}:{v[1]:02}"))
SEGMENTS = written(
    st.tuples(st.permutations("ABCD").map("".join), st.sampled_from([r" \cdot ", " + ", "-", " = "])),
    lambda v: st.just(f"{v[0][:2]}{v[1]}{v[0][2:]}"),
).map(lambda pair: ((frozenset([pair[0][0][:2], pair[0][0][2:]]), pair[0][1]), pair[1]))
PATHS = written(st.permutations("ABCD").map(tuple), lambda v: st.sampled_from(["-".join(v), " → ".join(v)]))
NAMES = written(
    st.tuples(LETTERS, WORDS), lambda v: st.sampled_from([f"{v[0]}. {v[1]}", f"{v[0]}. {v[1].title()}"])
)
NAMED = written(
    st.tuples(SMALL, SMALL),
    lambda v: st.sampled_from(
        [f"x={v[0]}, y={v[1]}", f"x = {v[0]} and y = {v[1]}", f"y={v[1]}, x={v[0]}", f"({v[0]}, {v[1]})"]
    ),
)
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
EQUATIONS = written(
    st.tuples(SMALL, st.sampled_from(sorted(SIGNS)), SMALL),
    lambda v: st.just(f"{v[0]}{v[1]}{v[2]}={SIGNS[v[1]](v[0], v[2] or 1)}"),
)
SUMS = written(st.tuples(SMALL, st.sampled_from("+-*"), SMALL), lambda v: st.just(f"{v[0]} {v[1]} {v[2]}"))
SCALES = {
    "W": ("power", 1), "mW": ("power", Fraction(1, 1000)), "MW": ("power", 10**6), "kW": ("power", 1000),
    "m": ("length", 1), "mm": ("length", Fraction(1, 1000)), "cm": ("length", Fraction(1, 100)),
    "km": ("length", 1000), "Mm": ("length", 10**6), "meters": ("length", 1), "g": ("mass", 1),
    "kg": ("mass", 1000), "mg": ("mass", Fraction(1, 1000)), "Mg": ("mass", 10**6), "N": ("force", 1),
    "newtons": ("force", 1), "A": ("current", 1), "mA": ("current", Fraction(1, 1000)), "J": ("energy", 1),
    "kJ": ("energy", 1000), "MJ": ("energy", 10**6), "s": ("time", 1), "ms": ("time", Fraction(1, 1000)),
    "min": ("time", 60), "Hz": ("rate", 1), "MHz": ("rate", 10**6), "m^2": ("area", 1),
    "cm^2": ("area", Fraction(1, 10**4)), "m/s": ("speed", 1), "°C": ("heat", 1), "dogs": ("dogs", 1),
    "million dogs": ("dogs", 10**6), "k dogs": ("dogs", 1000), "cats": ("cats", 1), "USD": ("$", 1),
    "euros": ("€", 1), "M euros": ("€", 10**6), "bn euros": ("€", 10**9),
    "Ω": ("ohm", 1), r"k\Omega": ("ohm", 1000),
}  # fmt: skip
UNITS = written(
    st.tuples(st.integers(1, 2000), st.sampled_from(sorted(SCALES))), lambda v: st.just(f"{v[0]} {v[1]}")
).map(lambda pair: ((SCALES[pair[0][1]][0], pair[0][0] * SCALES[pair[0][1]][1]), pair[1]))
MAGNITUDES = written(
    st.tuples(
        st.integers(1, 3000), st.sampled_from(["", "k", "K", "M", "B", " million", " thousand", " bn"])
    ),
    lambda v: st.just(f"{v[0]}{v[1]}"),
).map(
    lambda pair: (
        pair[0][0] * {"": 1, "k": 10**3, "t": 10**3, "m": 10**6, "b": 10**9}[pair[0][1].strip().lower()[:1]],
        pair[1],
    )
)
KINDS = {
    "F02": [RANGES, SEASONS, SIZES, RATIOS, DATES, PHONES, GROUPS, CODES, CLOCKS, SEGMENTS, PATHS, SUMS],
    "F03": [NAMES], "F09": [NAMED], "F10": [EQUATIONS], "F14": [UNITS, MAGNITUDES],
}  # fmt: skip


def check(kind, pairs):
    @settings(
        max_examples=pairs, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(KINDS[kind]).flatmap(lambda labels: st.tuples(labels, labels)))
    def never_equal(both):
        (meant, one), (also_meant, other) = both
        assume(meant != also_meant)
        assert not equivalent(one, other).equal, (one, other)
        assert equivalent(one, one).equal and equivalent(other, other).equal

    never_equal()


@pytest.mark.parametrize("kind", KINDS)
def test_no_false_equal(kind):
    check(kind, 300)


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.parametrize("kind", KINDS)
def test_no_false_equal_among_thousands(kind):
    check(kind, 10_000)


@given(LETTERS, WORDS)
def test_a_name_is_not_its_initial(letter, word):
    assert not equivalent(f"{letter}. {word.title()}", letter).equal


@given(st.tuples(SMALL, SMALL), DASH, DASH)
def test_a_range_is_the_same_in_each_notation(ends, one, other):
    assert equivalent(f"{ends[0]}{one}{ends[1]}", f"{ends[0]}{other}{ends[1]}").equal
