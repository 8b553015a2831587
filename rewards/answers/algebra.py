r"""Arithmetic and algebra read whole -> the value of each side, to 150 digits, and what it consists of.

Names, pi, e and functions have values of their own, drawn from a hash, so that two expressions are equal
where their values are, to 100 digits. What goes beyond (derivatives, transposes, vectors) is not read.
"""

import decimal
import re
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from hashlib import sha512

from rewards.answers.quantities import WORDS, word_set

_LONGEST, _DEEPEST, _LARGEST_POWER, _LARGEST_EXPONENT = 200, 16, 9999, 100_000
_TRAPS = [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Underflow]
_EXACT, _SHOWN = decimal.Context(prec=150, traps=_TRAPS), decimal.Context(prec=100)
_TOKEN = re.compile(r"\s*(\d*\.\d+|\d+\.?(?!\d)|\\?[A-Za-z]+|\*\*|[<>!]=|[-+*/^_=<>()\[\]{}|,])")
_SYMBOLS = word_set(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma "
    "tau upsilon phi varphi chi psi omega Gamma Theta Lambda Xi Sigma Phi Psi Omega ell hbar"
)
_FUNCTIONS = word_set("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg sqrt")
_CALLED = frozenset("fghFGHP")
_RELATIONS = {"=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", r"\le": "<=", r"\leq": "<=",
              r"\ge": ">=", r"\geq": ">=", r"\lt": "<", r"\gt": ">", r"\ne": "!=", r"\neq": "!="}  # fmt: skip
_PRODUCTS = frozenset({"*", "/", r"\cdot", r"\times", r"\div"})
_CLOSING = {"(": ")", "{": "}", "[": "]"}
_ENDS = frozenset({"", "+", "-", ",", *_CLOSING.values(), *_PRODUCTS, *_RELATIONS})


class Unread(Exception):
    """The text is no arithmetic or algebra."""


@dataclass(slots=True)
class Expression:
    """What was read: of each side its value, variables, text, and the name that it consists of, if any."""

    sides: list[Decimal] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    names: list[set[str]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    lone: list[str] = field(default_factory=list)
    joined: bool = False  # whether numbers are added or multiplied without a variable, a root or a function


@lru_cache(maxsize=8192)
def fraction_of(value: Decimal) -> Fraction | None:
    """The number that it is, where that is a whole one or a fraction of up to twenty digits."""
    if not value.is_finite() or (value and not -40 < value.adjusted() < 60):
        return None
    near = Fraction(value).limit_denominator(10**20)
    return near if abs(near - Fraction(value)) <= abs(near) / 10**100 else None


def key_of(value: Decimal | Fraction) -> str:
    """Equal for equal values only."""
    exact = value if isinstance(value, Fraction) else fraction_of(value)
    return f"~{_SHOWN.normalize(value)}" if exact is None and isinstance(value, Decimal) else str(exact)


def times(value: Decimal, factor: Fraction) -> Decimal:
    """The product, to 150 digits."""
    return _EXACT.divide(_EXACT.multiply(value, Decimal(factor.numerator)), Decimal(factor.denominator))


def _named_value(*parts: str) -> Decimal:
    """A value of its own, between 1 and 10, for what is named."""
    return Decimal(f"1.{int(sha512(chr(0).join(parts).encode()).hexdigest(), 16)}")


def _sum(one: Decimal, other: Decimal) -> Decimal:
    """The sum of two; where they cancel out it is 0, and too small a part of the other is refused."""
    total = _EXACT.add(one, other)
    if one and other and abs(one.adjusted() - other.adjusted()) > 40:
        raise Unread
    return total if total and total.adjusted() > max(one.adjusted(), other.adjusted()) - 100 else Decimal(0)


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    """A power: a root of a number by its value, of anything else a value of its own."""
    exact, number = fraction_of(exponent), fraction_of(base)
    if exact is None:
        return _named_value("power", key_of(base), key_of(exponent))
    over, under = exact.numerator, exact.denominator
    undefined = over <= 0 if not base else number and number < 0 and under % 2 == 0
    if under > 99 or abs(over) > _LARGEST_POWER or undefined:
        raise Unread
    if under == 1:
        return _EXACT.power(base, over)
    if number is None:
        return _EXACT.power(_named_value("root", str(under), key_of(base)), over)
    root = _EXACT.power(base.copy_abs(), times(Decimal(1), abs(exact)))
    root = root.copy_negate() if number < 0 and over % 2 else root
    return _EXACT.divide(Decimal(1), root) if over < 0 else root


@dataclass(slots=True)
class _Reader:
    tokens: list[str]
    place: int = 0
    depth: int = 0
    names: set[str] = field(default_factory=set)
    joined: bool = False
    irrational: bool = False

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.place + ahead] if self.place + ahead < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.peek()
        self.refuse(bool(wanted) and token not in wanted)
        self.place += 1
        return token

    def takes(self, token: str) -> bool:
        self.place += (found := self.peek() == token)
        return found

    def refuse(self, unsure: bool) -> None:
        if unsure:
            raise Unread

    def sum(self) -> Decimal:
        self.depth += 1
        self.refuse(self.depth > _DEEPEST)
        total = self.product()
        while self.peek() in ("+", "-"):
            self.refuse(self.peek(1) in ("+", "-"))
            total, self.joined = _sum(total, self.product()), True
        self.depth -= 1
        return total

    def product(self) -> Decimal:
        sign = self.take() if self.peek() in ("+", "-") else "+"
        start = self.place
        total = self.power()
        divided = False  # behind a slash, another factor may belong above or below the line
        while (token := self.peek()) not in _ENDS or token in _PRODUCTS:
            if token in _PRODUCTS:
                self.take()
            else:
                self.refuse(divided or (token[0].isdigit() and self.peek(-1)[-1].isdigit()))
            if token in ("/", r"\div"):
                total = _EXACT.divide(total, self.power())
                divided = any(one != "/" and not one[0].isdigit() for one in self.tokens[start : self.place])
            else:
                total, divided, self.joined = _EXACT.multiply(total, self.power()), False, True
        return total if sign == "+" else total.copy_negate()

    def power(self) -> Decimal:
        first, start = self.peek(), self.place
        base = self.atom()
        if self.peek() not in ("^", "**"):
            return base
        named = first in _CALLED and self.place == start + 1  # f^{-1} is another function
        self.take()
        token = self.peek(1) if self.peek() == "{" else self.peek()
        self.refuse(named or token in ("", "+", "*", "T", r"\top", r"\prime", r"\dagger"))
        before, negative = self.joined, self.takes("-")
        exponent, self.joined = self.atom(), before
        self.refuse(self.peek() in ("^", "**"))
        return _power(base, exponent.copy_negate() if negative else exponent)

    def argument(self) -> Decimal:
        """What a function is of: a group, or factors up to the next sign or function."""
        if self.peek() in ("(", "{"):
            return self.atom()
        negative = self.takes("-")
        value = self.power()
        while (token := self.peek()) not in _ENDS and token.lstrip("\\") not in _FUNCTIONS:
            self.refuse(token in ("(", "[", r"\frac"))
            value = _EXACT.multiply(value, self.power())
        return value.copy_negate() if negative else value

    def atom(self) -> Decimal:
        token = self.take()
        if token and (token[0].isdigit() or token[0] == "."):
            self.refuse(len(token) > 20 or self.peek() == "_" or bool(re.match(r"0\d", token)))
            return Decimal(token)
        if token in _CLOSING:
            value = self.sum()
            self.take(_CLOSING[token])
            return value
        return self._frac() if token == r"\frac" else self._named(token)

    def _frac(self) -> Decimal:
        digits, start = self.peek(), self.place
        if digits.isdigit() and len(digits) > 1:
            self.refuse(len(self.take()) > 2)
            return _EXACT.divide(Decimal(digits[0]), Decimal(digits[1]))
        over = self.atom()
        self.refuse(self.tokens[start + 1] in ("d", r"\partial") and self.peek(1)[:1] in ("d", "\\"))
        return _EXACT.divide(over, self.atom())

    def _named(self, token: str) -> Decimal:
        name = token.lstrip("\\")
        if name in WORDS and token == name:
            return Decimal(WORDS[name])
        if name in _FUNCTIONS or name == "pi" or token == "Pi":
            self.irrational = True
            return self._function(name) if name in _FUNCTIONS else _named_value("pi")
        known = name in _SYMBOLS or (
            token == name and (len(name) == 1 or (name.isupper() and len(name) <= 6))
        )
        self.refuse(not name.isalpha() or not known)  # a product of letters and a word look alike
        return self._symbol({"varepsilon": "epsilon"}.get(name, name))

    def _symbol(self, name: str) -> Decimal:
        if self.peek() == "_":
            name += self._subscript()
        else:
            self.refuse(self.peek()[:1].isdigit())  # H2 is no product
        if name == "e":
            self.irrational = True
            return _named_value("e")
        if self.peek() == "(" and (name in _CALLED or self.peek(2) == ")"):  # v(t) and f(2) are no products
            self.names.add(f"{name}()")
            return _named_value("call", name, key_of(self.atom()))
        self.names.add(name)
        return _named_value("symbol", name)

    def _subscript(self) -> str:
        inside = self.take("_")
        if self.takes("{"):
            while not self.takes("}"):
                self.refuse(not self.peek())
                inside += self.take()
            return inside.replace("{", "")
        self.refuse(not re.fullmatch(r"[^\W_]+|\\.*", self.peek()))
        return inside + self.take()

    def _function(self, name: str) -> Decimal:
        if name == "sqrt":
            degree = int(self.take("3", "4", "5", "6")) if self.takes("[") else 2
            if degree > 2:
                self.take("]")
            inside = self.argument() if self.peek() in ("(", "{") else self.power()
            return _power(inside, times(Decimal(1), Fraction(1, degree)))
        base = self._subscript() if self.peek() == "_" else ""
        digits = re.match(r"\^(?:(\d)(?!\d)|\{(\d)\})", "".join(self.tokens[self.place :]))
        exponent = int(digits[1] or digits[2]) if digits else 1
        self.place += len(digits[0]) if digits else 0  # each a token
        argument = self.argument()
        self.refuse(self.peek() == "^")  # sin x^2 and sin(x)^2
        return _EXACT.power(_named_value("function", name + base, key_of(argument)), exponent)


def read_expression(text: str) -> Expression | None:
    """Reads a whole text as an expression or as a relation of several; None for what it is not sure of."""
    text = text.replace(" squared", "^2").replace(" cubed", "^3")
    tokens = _TOKEN.findall(text) if len(text) <= _LONGEST else []
    if not tokens or _TOKEN.sub("", text).strip():
        return None
    reader, found = _Reader(tokens), Expression()
    try:
        while True:
            reader.names, start, reader.joined, reader.irrational = set(), reader.place, False, False
            found.sides.append(reader.sum())
            reader.refuse(abs(found.sides[-1].adjusted()) > _LARGEST_EXPONENT)
            found.names.append(reader.names)
            found.written.append("".join(tokens[start : reader.place]))
            lone = found.written[-1].lstrip("\\")
            called = re.fullmatch(r"([a-zA-Z])\(([a-z])\)", lone)
            alone = reader.names == ({f"{called[1]}()", called[2]} if called else {lone})
            found.lone.append(lone if alone else "")
            found.joined |= reader.joined and not reader.names and not reader.irrational
            if not reader.peek():
                return found
            found.relations.append(_RELATIONS[reader.take()])
    except (Unread, ArithmeticError, ValueError, LookupError):
        return None
