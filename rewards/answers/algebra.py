r"""Arithmetic and algebra read whole -> the value of each side, and what it consists of.

What goes beyond them (derivatives, transposes, inverse functions, factorials, vectors) is not read: it is
compared as written.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction

from rewards.answers.field import Unread, Value, applied, opaque, power, root_of, symbol, value_of
from rewards.answers.numerals import WORDS

_LONGEST, _DEEPEST = 200, 16
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
        return power(base, -exponent if negative else exponent)

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
        return opaque("abs", min(value.key, (-value).key)) if exact is None else value_of(abs(exact))

    def _named(self, token: str) -> Value:
        name = token.lstrip("\\")
        if name.casefold() in WORDS and token[:1] != "\\":
            return value_of(WORDS[name.casefold()])
        if name in _FUNCTIONS:
            self.irrational = True
            return self._function(name)
        if name == "pi" or token == "Pi":
            self.irrational = True
            return opaque("pi")
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
            total = total * symbol(letter, self.salt, self.imaginary)
        return total * self._symbol(name[-1])

    def _symbol(self, name: str) -> Value:
        if self.peek() == "_":
            self.take()
            name += "_" + "".join(self._subscript())
        elif self.peek()[:1].isdigit():
            raise Unread  # H2 is no product
        if name == "e":
            self.irrational = True
            return opaque("e")
        single = self.tokens[self.place + 2 : self.place + 3] == [")"]  # v(t) and f(2) are no products
        if self.peek() == "(" and (name in _CALLED or single):
            argument = self.atom()
            self.names.add(f"{name}()")
            return opaque("call", self.salt, name, argument.key)
        self.names.add(name)
        return symbol(name, self.salt, self.imaginary)

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
        return applied(name + base, argument).power(exponent) if name != "abs" else self._absolute(argument)


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
