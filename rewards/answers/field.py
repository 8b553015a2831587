"""Exact values of expressions: points in the field of two dimensions over a prime of 448 bits.

Equal expressions have equal values there; different ones differ, but for a chance of about 10^-130. Each step
is an addition, a product or a power. A root of a prime, pi, e and a function have values of their own.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from hashlib import sha512

# It leaves 3 by 4, 2 by 3 and 4 by 5: a square root is there, or i times one, and odd roots are unique.
PRIME = 2**448 - 2**224 - 1
_LARGEST_POWER, _LARGEST_FACTORED = 9999, 10**9
_SMALL = 10**60  # of a numerator and a denominator: beyond it a value counts as irrational
_SIN_SQUARED = {0: Fraction(0), 30: Fraction(1, 4), 45: Fraction(1, 2), 60: Fraction(3, 4), 90: Fraction(1)}

Point = tuple[int, int]


class Unread(Exception):
    """The text is no arithmetic or algebra."""


@dataclass(frozen=True, slots=True)
class Value:
    """A quotient of two points of the field, not reduced."""

    over: Point
    under: Point = (1, 0)

    def __add__(self, other: "Value") -> "Value":
        one, two = _times(self.over, other.under), _times(other.over, self.under)
        total = ((one[0] + two[0]) % PRIME, (one[1] + two[1]) % PRIME)
        return Value(total, _times(self.under, other.under))

    def __mul__(self, other: "Value") -> "Value":
        return Value(_times(self.over, other.over), _times(self.under, other.under))

    def __neg__(self) -> "Value":
        return Value((-self.over[0] % PRIME, -self.over[1] % PRIME), self.under)

    def inverse(self) -> "Value":
        """One over it."""
        if self.over == (0, 0):
            raise Unread
        return Value(self.under, self.over)

    def power(self, exponent: int) -> "Value":
        """It to a whole power."""
        base = self if exponent >= 0 else self.inverse()
        result = Value((1, 0))
        for digit in f"{abs(exponent):b}":
            result = result * result
            result = result * base if digit == "1" else result
        return result

    @property
    def point(self) -> Point:
        """The quotient."""
        a, b = self.under
        norm = pow(a * a + b * b, -1, PRIME)
        return _times(self.over, (a * norm % PRIME, -b * norm % PRIME))

    @property
    def fraction(self) -> Fraction | None:
        """The number that it is, where that is a fraction of numbers of up to sixty digits."""
        return _fraction(*self.point)

    @property
    def key(self) -> str:
        """Equal for equal values only."""
        exact = self.fraction
        return str(exact) if exact is not None else "~" + _digest(*map(str, self.point))[:32]


def value_of(number: Fraction | int) -> Value:
    """A plain number."""
    return Value((number.numerator % PRIME, 0), (number.denominator % PRIME, 0))


def _times(a: Point, b: Point) -> Point:
    return ((a[0] * b[0] - a[1] * b[1]) % PRIME, (a[0] * b[1] + a[1] * b[0]) % PRIME)


@lru_cache(maxsize=8192)
def _fraction(real: int, imaginary: int) -> Fraction | None:
    if imaginary:
        return None
    before, after, last, this = PRIME, real, 0, 1
    while after >= _SMALL:
        quotient = before // after
        before, after, last, this = after, before - quotient * after, this, last - quotient * this
    return Fraction(after, this) if 0 < abs(this) < _SMALL else None


def _digest(*parts: str) -> str:
    return sha512("\0".join(parts).encode()).hexdigest()


def opaque(*parts: str) -> Value:
    """A value of its own for what is named."""
    return Value((int(_digest(*parts), 16) % PRIME, 0))


@lru_cache(maxsize=512)
def _prime_root(prime: int, degree: int) -> Value:
    """The root of a prime, of degree 2, 3 or 5; the square root of what is no square is i times another."""
    if degree != 2:
        return Value((pow(prime, pow(degree, -1, PRIME - 1), PRIME), 0))
    root = pow(prime, (PRIME + 1) // 4, PRIME)
    return Value((root, 0) if root * root % PRIME == prime else (0, root))


def root_of(value: Value, degree: int) -> Value:
    """The root of a number by its factors, of anything else a value of its own."""
    exact = value.fraction
    if exact is None or max(abs(exact.numerator), exact.denominator) > _LARGEST_FACTORED:
        return opaque("root", str(degree), value.key)
    if exact == 0:
        return value
    result = Value((1, 0))
    if exact < 0:
        if degree % 2 == 0 and degree != 2:
            raise Unread
        result = Value((0, 1)) if degree == 2 else Value((PRIME - 1, 0))
    for number, sign in ((abs(exact.numerator), 1), (exact.denominator, -1)):
        for prime, count in _factors(number).items():
            whole, part = divmod(count, degree)
            result = result * value_of(prime).power(sign * whole)
            reduced = Fraction(part, degree)
            if reduced.denominator in (2, 3, 5):
                result = result * _prime_root(prime, reduced.denominator).power(sign * reduced.numerator)
            elif part:
                atom = opaque("prime root", str(prime), str(reduced.denominator))
                result = result * atom.power(sign * reduced.numerator)
    return result


@lru_cache(maxsize=4096)
def _factors(number: int) -> dict[int, int]:
    found: dict[int, int] = {}
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found[divisor] = found.get(divisor, 0) + 1
            number //= divisor
        divisor += 1 if divisor == 2 else 2
    if number > 1:
        found[number] = found.get(number, 0) + 1
    return found


def symbol(name: str, salt: str, imaginary: bool) -> Value:
    """The value of a variable, by its name and the salt only; that of i where it is the root of -1."""
    return Value((0, 1)) if imaginary and name == "i" else opaque("symbol", salt, name)


def applied(name: str, argument: Value) -> Value:
    """The value of a function of an argument: of sine and cosine at usual angles, else one of its own."""
    if name in ("tan", "cot", "sec", "csc"):
        sine, cosine = applied("sin", argument), applied("cos", argument)
        if name in ("tan", "cot"):
            return sine * cosine.inverse() if name == "tan" else cosine * sine.inverse()
        return (cosine if name == "sec" else sine).inverse()
    if name == "exp":
        return power(opaque("e"), argument)
    if name in ("sin", "cos"):
        half_turns = (argument * opaque("pi").inverse()).fraction
        if half_turns is not None and half_turns * 180 % 15 == 0:
            degrees = int(half_turns * 180) + (90 if name == "cos" else 0)
            folded = degrees % 180 if degrees % 180 <= 90 else 180 - degrees % 180
            if folded in _SIN_SQUARED:
                found = root_of(value_of(_SIN_SQUARED[folded]), 2)
                return found if degrees % 360 <= 180 else -found
    return opaque("function", name, argument.key)


def power(base: Value, exponent: Value) -> Value:
    """A power; one of its own where the exponent is no fraction."""
    exact = exponent.fraction
    if exact is None:
        return opaque("power", base.key, exponent.key)
    if exact.denominator == 1:
        if abs(exact) > _LARGEST_POWER:
            raise Unread
        return base.power(int(exact))
    if exact.denominator > 99 or abs(exact.numerator) > _LARGEST_POWER:
        raise Unread
    return root_of(base, exact.denominator).power(exact.numerator)
