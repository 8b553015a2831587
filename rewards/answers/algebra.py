r"""Arithmetic and algebra read whole -> the value of each side, to 150 digits, and what it consists of.

A name, pi, e and a function of something have values of their own, drawn from a hash, so that two expressions
are equal where their values are: to 100 digits, with sums that come near that limit refused. What goes beyond
arithmetic and algebra (derivatives, transposes, inverse functions, vectors) is not read.
"""

import decimal
import re
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from hashlib import sha512

from rewards.answers.numerals import WORDS

_LONGEST, _DEEPEST, _LARGEST_POWER = 200, 16, 9999
_TRAPS = [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Underflow]
_EXACT = decimal.Context(prec=150, traps=_TRAPS)
_SHOWN = decimal.Context(prec=100)
_TOKEN = re.compile(
    r"\s*(\d+\.\d+|\.\d+|\d+\.?(?!\d)|\\[A-Za-z]+|[A-Za-z]+|\*\*|<=|>=|!=|[-+*/^_=<>()\[\]{}|,])"
)
_SYMBOLS_TEXT = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma "
    "tau upsilon phi varphi chi psi omega Gamma Theta Lambda Xi Sigma Phi Psi Omega ell hbar"
)
_SYMBOLS = frozenset(_SYMBOLS_TEXT.split())
_FUNCTIONS_TEXT = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg sqrt"
_FUNCTIONS = frozenset(_FUNCTIONS_TEXT.split())
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
    """What was read: of each side its value, variables, text, and the name that it consists of, if any.

    `joined` says whether plain numbers are added or multiplied without a variable, a root or a function.
    """

    sides: list[Decimal] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    names: list[set[str]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    joined: bool = False
    lone: list[str] = field(default_factory=list)


@lru_cache(maxsize=8192)
def fraction_of(value: Decimal) -> Fraction | None:
    """The number that it is, where that is a whole one or a fraction of up to twenty digits."""
    if value and not -40 < value.adjusted() < 60:
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
    if exact.denominator > 99 or abs(exact.numerator) > _LARGEST_POWER:
        raise Unread
    if exact.denominator == 1:
        return _EXACT.power(base, int(exact))
    if number is None:
        root = _named_value("root", str(exact.denominator), key_of(base))
        return _EXACT.power(root, exact.numerator)
    if number < 0 and exact.denominator % 2 == 0:
        raise Unread
    root = _EXACT.power(base.copy_abs(), times(Decimal(1), Fraction(abs(exact.numerator), exact.denominator)))
    root = root.copy_negate() if number < 0 and exact.numerator % 2 else root
    return _EXACT.divide(Decimal(1), root) if exact < 0 else root


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
        if wanted and token not in wanted:
            raise Unread
        self.place += 1
        return token

    def sum(self) -> Decimal:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unread
        total = self.product()
        while self.peek() in ("+", "-"):
            sign = self.take()
            if self.peek() in ("+", "-"):
                raise Unread
            term = self.product()
            total, self.joined = _sum(total, term if sign == "+" else term.copy_negate()), True
        self.depth -= 1
        return total

    def product(self) -> Decimal:
        sign = self.take() if self.peek() in ("+", "-") else "+"
        start = self.place
        total = self.power()
        divided = False  # behind a slash, another factor may belong above or below the line
        while (token := self.peek()) not in _ENDS or token in _PRODUCTS:
            if token in ("/", r"\div"):
                self.take()
                total = _EXACT.divide(total, self.power())
                divided = any(one != "/" and not one[0].isdigit() for one in self.tokens[start : self.place])
                continue
            if token in _PRODUCTS:
                self.take()
            elif divided or (token[0].isdigit() and self.peek(-1)[-1].isdigit()):
                raise Unread
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
        if named or token in ("", "+", "*", "T", r"\top", r"\prime", r"\dagger"):
            raise Unread
        before = self.joined
        negative = token == "-" and self.peek() == "-" and bool(self.take())
        exponent = self.atom()
        self.joined = before
        if self.peek() in ("^", "**"):
            raise Unread
        return _power(base, exponent.copy_negate() if negative else exponent)

    def argument(self) -> Decimal:
        """What a function is of: a group, or factors up to the next sign or function."""
        if self.peek() in ("(", "{"):
            return self.atom()
        negative = self.peek() == "-" and bool(self.take())
        value = self.power()
        while (token := self.peek()) not in _ENDS and token.lstrip("\\") not in _FUNCTIONS:
            if token in ("(", "[", r"\frac"):
                raise Unread
            value = _EXACT.multiply(value, self.power())
        return value.copy_negate() if negative else value

    def atom(self) -> Decimal:
        token = self.take()
        if token and (token[0].isdigit() or token[0] == "."):
            if len(token) > 20 or self.peek() == "_" or (token[0] == "0" and token[1:2].isdigit()):
                raise Unread
            return Decimal(token)
        if token in _CLOSING:
            value = self.sum()
            self.take(_CLOSING[token])
            return value
        return self._frac() if token == r"\frac" else self._named(token)

    def _frac(self) -> Decimal:
        digits = self.peek()
        if digits.isdigit() and len(digits) > 1:
            if len(digits) > 2:
                raise Unread
            self.take()
            return _EXACT.divide(Decimal(digits[0]), Decimal(digits[1]))
        start = self.place
        over = self.atom()
        if self.tokens[start + 1] in ("d", r"\partial") and self.peek(1)[:1] in ("d", "\\"):
            raise Unread
        return _EXACT.divide(over, self.atom())

    def _named(self, token: str) -> Decimal:
        name = token.lstrip("\\")
        if name in WORDS and token == name:
            return Decimal(WORDS[name])
        if name in _FUNCTIONS:
            self.irrational = True
            return self._function(name)
        if name == "pi" or token == "Pi":
            self.irrational = True
            return _named_value("pi")
        if not name.isalpha() or (token != name and name not in _SYMBOLS):
            raise Unread
        if len(name) > 1 and name not in _SYMBOLS and not (name.isupper() and len(name) <= 6):
            raise Unread  # a product of letters and a word look alike
        return self._symbol({"varepsilon": "epsilon"}.get(name, name))

    def _symbol(self, name: str) -> Decimal:
        if self.peek() == "_":
            name += self._subscript()
        elif self.peek()[:1].isdigit():
            raise Unread  # H2 is no product
        if name == "e":
            self.irrational = True
            return _named_value("e")
        if self.peek() == "(" and (name in _CALLED or self.peek(2) == ")"):  # v(t) and f(2) are no products
            self.names.add(f"{name}()")
            return _named_value("call", name, key_of(self.atom()))
        self.names.add(name)
        return _named_value("symbol", name)

    def _subscript(self) -> str:
        inside = [self.take("_"), self.take()]
        if inside[1] == "{":
            while self.peek() not in ("}", ""):
                inside.append(self.take())
            self.take("}")
        elif not (inside[1].isalnum() or inside[1][:1] == "\\"):
            raise Unread
        return "".join(inside).replace("{", "")

    def _function(self, name: str) -> Decimal:
        if name == "sqrt":
            degree = 2
            if self.peek() == "[":
                self.take()
                degree = int(self.take("3", "4", "5", "6"))
                self.take("]")
            inside = self.argument() if self.peek() in ("(", "{") else self.power()
            return _power(inside, times(Decimal(1), Fraction(1, degree)))
        base = self._subscript() if self.peek() == "_" else ""
        exponent = 1
        if self.peek() == "^":
            digits = re.match(r"\^(?:(\d)(?!\d)|\{(\d)\})", "".join(self.tokens[self.place :]))
            if digits is None:
                raise Unread
            exponent = int(digits[1] or digits[2])
            self.place += len(digits[0])  # each a token
        argument = self.argument()
        if self.peek() == "^":
            raise Unread  # sin x^2 and sin(x)^2
        return _EXACT.power(_named_value("function", name + base, key_of(argument)), exponent)


def read_expression(text: str) -> Expression | None:
    """Reads a whole text as an expression or as a relation of several; None for what it is not sure of."""
    text = text.replace(" squared", "^2").replace(" cubed", "^3")
    tokens = _TOKEN.findall(text) if len(text) <= _LONGEST else []
    if not tokens or _TOKEN.sub("", text).strip():
        return None
    try:
        return _relation(tokens)
    except (Unread, ArithmeticError, ValueError, IndexError):
        return None


def _relation(tokens: list[str]) -> Expression:
    reader, found = _Reader(tokens), Expression()
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
