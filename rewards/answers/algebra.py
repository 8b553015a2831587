r"""Arithmetic and algebra read whole -> one value: equal expressions have equal values, however spelt.

An expression is evaluated exactly, at points that depend on the names of its variables only, in the field of
two dimensions over a prime of 448 bits. Each step is an addition, a product or a power there, so the cost is
bounded by the length of the text. A root of a prime, pi, e and each function of an argument have a value of
their own. What goes beyond arithmetic and algebra (derivatives, transposes, inverse functions, factorials,
vectors) is not read: it is compared as written.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from hashlib import sha512

from rewards.answers.numerals import WORDS

PRIME = (
    2**448 - 2**224 - 1
)  # it leaves 3 by 4, 2 by 3 and 4 by 5, so that square, cube and fifth roots are unique
_LONGEST, _DEEPEST, _LARGEST_POWER, _LARGEST_FACTORED = 200, 16, 9999, 10**9
_SMALL = 10**60  # of a numerator and a denominator: beyond it a value counts as irrational
_TOKEN = re.compile(
    r"\s*(\d+\.\d+|\.\d+|\d+\.?(?!\d)|\\[A-Za-z]+|[A-Za-z]+|\*\*|<=|>=|!=|[-+*/^_=<>()\[\]{}|,])"
)
_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma "
    "tau upsilon phi varphi chi psi omega Gamma Theta Lambda Xi Sigma Phi Psi Omega ell hbar"
)
_SYMBOLS = frozenset(_GREEK.split())
_FUNCTIONS_TEXT = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp lg abs sqrt"
_FUNCTIONS = frozenset(_FUNCTIONS_TEXT.split())
_CALLED = frozenset("fghFGHP")
_SHORT_WORDS_TEXT = (
    "a an am as at be by do for he if in is it its me my no not of off on one or so the to two up us we yes "
    "and big red box car cat dog man men sea sun van day new old low all any are but can did had has her him "
    "his hot ice ink jar leg let lie lot map mat may net nor now nut odd oil our out own pan pen pie pin pot "
    "put ran row saw say see set she sit six sky ten tie tin toe top toy try use war was way who why win"
)
_SHORT_WORDS = frozenset(_SHORT_WORDS_TEXT.split())
_RELATIONS = {"=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", r"\le": "<=", r"\leq": "<=",
              r"\ge": ">=", r"\geq": ">=", r"\lt": "<", r"\gt": ">", r"\ne": "!=", r"\neq": "!="}  # fmt: skip
_ENDS = frozenset({"+", "-", ")", "}", "]", ",", "*", "/", r"\cdot", r"\times", r"\div", *_RELATIONS})
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


def _opaque(*parts: str) -> Value:
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
        return _opaque("root", str(degree), value.key)
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
                atom = _opaque("prime root", str(prime), str(reduced.denominator))
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


@dataclass(slots=True)
class Expression:
    """What was read: sides with the relations between them.

    Attributes:
        sides: the value of each side.
        relations: the signs between them.
        names: variables of each side.
        written: the text of each side, without spaces.
        joined: whether plain numbers are added or multiplied without a variable, a root or a function.
        lone: of each side, the name that it consists of, or an empty text.
    """

    sides: list[Value]
    relations: list[str]
    names: list[set[str]]
    written: list[str]
    joined: bool
    lone: list[str]


@dataclass(slots=True)
class _Reader:
    tokens: list[str]
    salt: str
    imaginary: bool = False
    place: int = 0
    depth: int = 0
    names: set[str] = field(default_factory=set)
    joined: bool = False
    irrational: bool = False

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.place += 1
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise Unread

    def sum(self) -> Value:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unread
        total = self.product()
        while self.peek() in ("+", "-"):
            sign = self.take()
            if self.peek() in ("+", "-"):
                raise Unread
            term = self.product()
            total = total + (term if sign == "+" else -term)
            self.joined = True
        self.depth -= 1
        return total

    def product(self) -> Value:
        sign = self.take() if self.peek() in ("+", "-") else "+"
        start = self.place
        total = self.power()
        divided = False  # behind a slash, another factor may belong above or below the line
        while True:
            token = self.peek()
            if token in ("*", r"\cdot", r"\times"):
                self.take()
                total, divided, self.joined = total * self.power(), False, True
            elif token in ("/", r"\div"):
                self.take()
                total, divided = total * self.power().inverse(), not self._plain(start)
            elif token and token not in _ENDS and token != "|":
                if divided or (token[0].isdigit() and self.tokens[self.place - 1][-1:].isdigit()):
                    raise Unread
                total, self.joined = total * self.power(), True
            else:
                return total if sign == "+" else -total

    def _plain(self, start: int) -> bool:
        return all(token[0].isdigit() or token == "/" for token in self.tokens[start : self.place])

    def power(self) -> Value:
        first = self.peek()
        start = self.place
        base = self.atom()
        if self.peek() in ("squared", "cubed"):
            return base.power(2 if self.take() == "squared" else 3)
        if self.peek() not in ("^", "**"):
            return base
        if first in _CALLED and self.place == start + 1:
            raise Unread  # f^{-1} is another function
        self.take()
        braced = self.peek() == "{"
        token = self.tokens[self.place + braced] if self.place + braced < len(self.tokens) else ""
        if token in ("T", r"\top", r"\prime", r"\dagger", "*") or self.peek() in ("+", ""):
            raise Unread
        negative = not braced and self.peek() == "-"
        if negative:
            self.take()
        before = self.joined
        exponent = self.group() if braced else self.atom()
        self.joined = before
        if self.peek() in ("^", "**"):
            raise Unread
        return _power(base, -exponent if negative else exponent)

    def group(self) -> Value:
        self.expect("{")
        value = self.sum()
        self.expect("}")
        return value

    def argument(self) -> Value:
        """What a function is of: a group, or factors up to the next sign or function."""
        if self.peek() in ("(", "{"):
            return self.atom()
        sign = self.take() if self.peek() == "-" else ""
        value = self.power()
        while (token := self.peek()) and token not in _ENDS and token.lstrip("\\") not in _FUNCTIONS:
            if token in ("(", "[", "|", r"\frac"):
                raise Unread
            value = value * self.power()
        return -value if sign else value

    def atom(self) -> Value:
        token = self.take()
        if token and (token[0].isdigit() or token[0] == "."):
            if len(token) > 40 or self.peek() == "_" or (token[0] == "0" and token[1:2].isdigit()):
                raise Unread
            return value_of(Fraction(token))
        if token in ("(", "{", "["):
            value = self.sum()
            self.expect({"(": ")", "{": "}", "[": "]"}[token])
            return value
        if token in ("|", r"\lvert"):
            value = self.sum()
            self.expect({"|": "|"}.get(token, r"\rvert"))
            return self._absolute(value)
        if token == r"\frac":
            return self._frac()
        return self._named(token)

    def _frac(self) -> Value:
        start = self.place
        if self.peek() == "{":
            over = self.group()
        elif self.peek().isdigit() and len(self.peek()) == 2:
            digits = self.take()
            return value_of(int(digits[0])) * value_of(int(digits[1])).inverse()
        elif self.peek().isdigit() and len(self.peek()) > 2:
            raise Unread
        else:
            over = self.atom()
        tops, below = self.tokens[start + 1 : start + 2], self.tokens[self.place + 1 : self.place + 2]
        if tops in (["d"], [r"\partial"]) and below and below[0][:1] in ("d", "\\"):
            raise Unread
        return over * (self.group() if self.peek() == "{" else self.atom()).inverse()

    def _absolute(self, value: Value) -> Value:
        self.irrational = True
        exact = value.fraction
        return _opaque("abs", min(value.key, (-value).key)) if exact is None else value_of(abs(exact))

    def _named(self, token: str) -> Value:
        name = token.lstrip("\\")
        if name.casefold() in WORDS and token[:1] != "\\":
            return value_of(WORDS[name.casefold()])
        if name in _FUNCTIONS:
            self.irrational = True
            return self._function(name)
        if name == "pi" or token == "Pi":
            self.irrational = True
            return _opaque("pi")
        if not name.isalpha() or (token[0] == "\\" and name not in _SYMBOLS):
            raise Unread
        if token[0] != "\\" and name not in _SYMBOLS and len(name) > 1:
            return self._letters(name)
        return self._symbol({"varepsilon": "epsilon"}.get(name, name))

    def _letters(self, name: str) -> Value:
        """A run of letters: small ones are a product, capitals the name of a segment."""
        if name.isupper() and len(name) <= 6:
            return self._symbol(name)
        if not name.islower() or len(name) > 3 or name in _SHORT_WORDS or name[0] == "d":
            raise Unread
        total = Value((1, 0))
        for letter in name[:-1]:
            self.names.add(letter)
            total = total * _symbol(letter, self.salt, self.imaginary)
        return total * self._symbol(name[-1])

    def _symbol(self, name: str) -> Value:
        if self.peek() == "_":
            self.take()
            name += "_" + "".join(self._subscript())
        elif self.peek()[:1].isdigit():
            raise Unread  # H2 is no product
        if name == "e":
            self.irrational = True
            return _opaque("e")
        single = self.tokens[self.place + 2 : self.place + 3] == [")"]  # v(t) and f(2) are no products
        if self.peek() == "(" and (name in _CALLED or single):
            argument = self.atom()
            self.names.add(f"{name}()")
            return _opaque("call", self.salt, name, argument.key)
        self.names.add(name)
        return _symbol(name, self.salt, self.imaginary)

    def _subscript(self) -> list[str]:
        if self.peek() != "{":
            if not (self.peek().isalnum() or self.peek()[:1] == "\\"):
                raise Unread
            return [self.take()]
        self.take()
        inside = []
        while self.peek() not in ("}", ""):
            inside.append(self.take())
        self.expect("}")
        return inside

    def _function(self, name: str) -> Value:
        if name == "sqrt":
            degree = 2
            if self.peek() == "[":
                self.take()
                degree = int(token) if (token := self.take()).isdigit() and len(token) < 3 else 0
                self.expect("]")
            if degree < 2:
                raise Unread
            return root_of(self.argument() if self.peek() in ("(", "{") else self.power(), degree)
        base = "".join(self._subscript()) if self.peek() == "_" and self.take() else ""
        exponent = 1
        if self.peek() == "^":
            self.take()
            braced = self.peek() == "{" and bool(self.take())
            sign = -1 if self.peek() == "-" and self.take() else 1
            digits = self.take()
            if not digits.isdigit() or len(digits) > 3:
                raise Unread
            exponent = sign * int(digits)
            if braced:
                self.expect("}")
        if exponent == -1:
            if name not in ("sin", "cos", "tan"):
                raise Unread
            name, exponent = f"arc{name}", 1
        argument = self.argument()
        if self.peek() == "^":
            raise Unread  # sin x^2 and sin(x)^2
        return _applied(name + base, argument).power(exponent) if name != "abs" else self._absolute(argument)


def _symbol(name: str, salt: str, imaginary: bool) -> Value:
    return Value((0, 1)) if imaginary and name == "i" else _opaque("symbol", salt, name)


def _applied(name: str, argument: Value) -> Value:
    if name in ("tan", "cot", "sec", "csc"):
        sine, cosine = _applied("sin", argument), _applied("cos", argument)
        if name in ("tan", "cot"):
            return sine * cosine.inverse() if name == "tan" else cosine * sine.inverse()
        return (cosine if name == "sec" else sine).inverse()
    if name == "exp":
        return _power(_opaque("e"), argument)
    if name in ("sin", "cos"):
        half_turns = (argument * _opaque("pi").inverse()).fraction
        if half_turns is not None and half_turns * 180 % 15 == 0:
            degrees = int(half_turns * 180) + (90 if name == "cos" else 0)
            folded = degrees % 180 if degrees % 180 <= 90 else 180 - degrees % 180
            if folded in _SIN_SQUARED:
                found = root_of(value_of(_SIN_SQUARED[folded]), 2)
                return found if degrees % 360 <= 180 else -found
    return _opaque("function", name, argument.key)


def _power(base: Value, exponent: Value) -> Value:
    exact = exponent.fraction
    if exact is None:
        return _opaque("power", base.key, exponent.key)
    if exact.denominator == 1:
        if abs(exact) > _LARGEST_POWER:
            raise Unread
        return base.power(int(exact))
    if exact.denominator > 99 or abs(exact.numerator) > _LARGEST_POWER:
        raise Unread
    return root_of(base, exact.denominator).power(exact.numerator)


def read_expression(text: str) -> Expression | None:
    """Reads a whole text as an expression or as a relation of several; None for what it is not sure of.

    Args:
        text: cleaned; degrees inside a function are multiples of pi / 180.
    """
    if len(text) > _LONGEST:
        return None
    if re.search("sin|cos|tan", text):
        text = re.sub(r"(\d+(?:\.\d+)?)°", r"(\1*\\pi/180)", text)
    tokens = _TOKEN.findall(text)
    if _TOKEN.sub("", text).strip() or not tokens:
        return None
    try:
        found = _relation(tokens, "", imaginary=False)
        if set().union(*found.names) == {"i"}:
            found = _relation(tokens, "", imaginary=True)
    except (Unread, RecursionError, ValueError, ZeroDivisionError):
        return None
    return found


def equation_key(text: str) -> str | None:
    """The key of an equation: the same for each of its multiples; None where it always holds."""
    found = [_relation(_TOKEN.findall(text), salt, imaginary=False).sides for salt in ("one", "two")]
    first, second = (Value((one + -other).over) for one, other in found)
    return None if (0, 0) in (first.over, second.over) else (first * second.inverse()).key


def _relation(tokens: list[str], salt: str, *, imaginary: bool) -> Expression:
    reader = _Reader(tokens=tokens, salt=salt, imaginary=imaginary)
    found = Expression(sides=[], relations=[], names=[], written=[], joined=False, lone=[])
    while True:
        reader.names, start, reader.joined, reader.irrational = set(), reader.place, False, False
        found.sides.append(reader.sum())
        found.names.append(reader.names)
        found.written.append("".join(tokens[start : reader.place]))
        lone = found.written[-1].lstrip("\\")
        called = re.fullmatch(r"([a-zA-Z])\(([a-z])\)", lone)
        alone = reader.names == ({f"{called[1]}()", called[2]} if called else {lone})
        found.lone.append(lone if alone else "")
        found.joined |= reader.joined and not reader.names and not reader.irrational
        if not reader.peek():
            return found
        sign = _RELATIONS.get(reader.take())
        if sign is None:
            raise Unread
        found.relations.append(sign)
