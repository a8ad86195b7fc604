"""Functions of one variable that an edge may turn out to be: a sine, a square root, a Gaussian.

    LIBRARY["sin"](u)                      values; NaN outside the domain, without a warning
    LIBRARY["sin"].derivatives(u, 3)       f, f', f'', f''', (4, *u.shape)
    LIBRARY["sin"].sympy(x)                the expression
    Function.from_formula("sinc", "sin(x)/x", complexity=4, domain=((-inf, 0), (0, inf)))

The names and complexities of the first 29 are pykan 0.2.8's. Nothing is guarded against singularities: a function is what its
formula says, on its true domain, and NaN elsewhere, so that a formula that was read off is the function that was
trained. Optimisers shorten steps that leave the domain.
"""

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from kanref import arrays as border
from kanref import bases

REALS = ((-math.inf, math.inf),)
POSITIVE = ((0.0, math.inf),)
NOT_ZERO = ((-math.inf, 0.0), (0.0, math.inf))
CONSTANTS = {"pi": math.pi, "E": math.e}


@dataclass(frozen=True, eq=False)
class Function:
    """f with its derivatives, its formula and its true domain.

    functions: f, f', f'', f''' as callables of an array; formula: the same in x, as sympy reads it;
    complexity: a price, for choosing among functions that fit; domain: intervals (low, high) on which f is real and
    smooth; an end belongs to the domain if f is finite there. period: of the domain, None if it does not repeat.
    """

    name: str
    functions: tuple = field(repr=False)
    formula: str
    complexity: float
    domain: tuple[tuple[float, float], ...] = field(default=REALS, repr=False)
    period: float | None = field(default=None, repr=False)

    def __post_init__(self):
        if len(self.functions) != 4 or not all(map(callable, self.functions)):
            raise TypeError(
                f"functions of {self.name!r} must be four callables (f, f', f'', f'''), but it is {self.functions!r}; "
                "Function.from_formula derives them"
            )
        ends = [end for interval in self.domain if np.ndim(interval) for end in interval]
        if not ends or any(np.shape(interval) != (2,) for interval in self.domain) or sorted(ends) != ends:
            raise ValueError(
                f"domain must be intervals (low, high) in rising order, as ((0, inf),), but it is {self.domain!r}"
            )
        if self.period is not None and not 0 < self.period < math.inf:
            raise ValueError(f"period must be a positive number or None, but it is {self.period!r}")

    def __call__(self, u):
        """f(u) elementwise, NaN outside the domain."""
        return self.derivatives(u, 0)[0]

    def derivatives(self, u, order):
        """f and its derivatives up to `order` <= 3 at u, (order + 1, *u.shape), NaN outside the domain."""
        border.integer(order, "order", 0, 3)
        u = _real(u)
        with np.errstate(all="ignore"):
            values = np.stack([np.broadcast_to(f(u), u.shape) for f in self.functions[: order + 1]])
        outside = self.pieces(u) < 0
        if outside.any():
            values[:, outside] = np.nan
        return values.astype(u.dtype, copy=False)

    def pieces(self, u):
        """The number of the interval of the domain that holds u, elementwise; -1 outside. One branch, one number."""
        u = _real(u)
        if self.domain == REALS:
            return np.where(np.isnan(u), -1, 0)
        turns = np.zeros_like(u)
        if self.period:
            # beyond 1e15 turns a number no longer says where in the period it is
            turns = np.clip(np.floor(np.nan_to_num(u - self.domain[0][0]) / self.period), -1e15, 1e15)
            u = u - turns * self.period
        found = np.full(np.shape(u), -1)
        with np.errstate(all="ignore"):
            finite = np.isfinite(self.functions[0](u))
        for number, (low, high) in enumerate(self.domain):
            found[(low <= u) & (u <= high) & finite] = number
        if self.period:
            # every branch has a number of its own: 0, 1, 2, ... to the right, then those to the left
            own = np.where(turns >= 0, 2 * turns, -2 * turns - 1).astype(int) * len(self.domain)
            found = np.where(found < 0, -1, found + own)
        return found

    def sympy(self, x):
        """The formula with the sympy expression x in it."""
        import sympy

        return sympy.sympify(self.formula).subs(sympy.Symbol("x"), x)

    @classmethod
    def from_formula(cls, name, formula, complexity=3, domain=REALS, period=None):
        """A function of your own, its derivatives by sympy. `formula` is code for sympy: never take it from a stranger.

        Raises ValueError if the formula does not depend on x alone.
        """
        import sympy

        x = sympy.Symbol("x", real=True)
        expression = sympy.sympify(formula).subs("x", x)
        if others := sorted(str(symbol) for symbol in expression.free_symbols - {x}):
            raise ValueError(f"formula must be in x alone, but {formula!r} has {', '.join(others)}; put numbers in")
        derivatives = (sympy.diff(expression, x, k).replace(sympy.DiracDelta, lambda *_: 0) for k in range(4))
        functions = tuple(sympy.lambdify(x, derivative, ["scipy", "numpy"]) for derivative in derivatives)
        return cls(name, functions, formula, complexity, domain, period)


def _real(u):
    """u as an array of floating-point numbers; integers have no reciprocals."""
    u = np.asarray(u)
    return u if u.dtype.kind == "f" else u.astype(np.float64)


# ------------------------------------------------------------------------------------------------------ derivatives


def power(n):
    """x^n, n x^(n-1), n (n-1) x^(n-2), n (n-1) (n-2) x^(n-3)."""
    factors = [math.prod(n - j for j in range(k)) for k in range(4)]
    return tuple((lambda x, c=c, m=n - k: c * x**m) if c else np.zeros_like for k, c in enumerate(factors))


@cache
def power_of(exponent):
    """The function x^n that is known by its name alone: n as text, "7/3", "-2.5", "pi" or "E"; None for other text."""
    above, _, below = exponent.partition("/")
    try:
        n = CONSTANTS[exponent] if exponent in CONSTANTS else float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        return None
    if not math.isfinite(n):
        return None
    domain = POSITIVE if not n.is_integer() else REALS if n > 0 else NOT_ZERO
    return Function(f"x^{exponent}", power(int(n) if n.is_integer() else n), f"x**({exponent})", 4, domain)


def _arcsin(sign):
    return (
        lambda x: sign / np.sqrt(1 - x**2),
        lambda x: sign * x / (1 - x**2) ** 1.5,
        lambda x: sign * (1 + 2 * x**2) / (1 - x**2) ** 2.5,
    )


def _gaussian(factor):
    """factor e^(-x^2) and its first two derivatives."""
    return (
        lambda x: factor * np.exp(-(x**2)),
        lambda x: -2 * factor * x * np.exp(-(x**2)),
        lambda x: factor * (4 * x**2 - 2) * np.exp(-(x**2)),
    )


def _special(name, *arguments):
    """A function of scipy.special, which is imported when it is used."""
    from scipy import special

    return getattr(special, name)(*arguments)


EXP = (np.exp,) * 4
LOG = (np.log, lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3)
ABS = (np.abs, np.sign, np.zeros_like, np.zeros_like)
SGN = (np.sign, *(np.zeros_like,) * 3)
SIN = (np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x))
COS = (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin)
TAN = (
    np.tan,
    lambda x: 1 + np.tan(x) ** 2,
    lambda x: 2 * np.tan(x) * (1 + np.tan(x) ** 2),
    lambda x: (1 + np.tan(x) ** 2) * (2 + 6 * np.tan(x) ** 2),
)
ARCTAN = (
    np.arctan,
    lambda x: 1 / (1 + x**2),
    lambda x: -2 * x / (1 + x**2) ** 2,
    lambda x: (6 * x**2 - 2) / (1 + x**2) ** 3,
)
ARCTANH = (
    np.arctanh,
    lambda x: 1 / (1 - x**2),
    lambda x: 2 * x / (1 - x**2) ** 2,
    lambda x: (2 + 6 * x**2) / (1 - x**2) ** 3,
)
ARCSINH = (
    np.arcsinh,
    lambda x: (1 + x**2) ** -0.5,
    lambda x: -x * (1 + x**2) ** -1.5,
    lambda x: (2 * x**2 - 1) * (1 + x**2) ** -2.5,
)
GAUSSIAN = (*_gaussian(1), lambda x: (12 * x - 8 * x**3) * np.exp(-(x**2)))
ERF = (lambda x: _special("erf", x), *_gaussian(2 / math.sqrt(math.pi)))
J0 = (
    lambda x: _special("j0", x),
    lambda x: -_special("j1", x),
    lambda x: (_special("jv", 2, x) - _special("j0", x)) / 2,
    lambda x: (3 * _special("j1", x) - _special("jv", 3, x)) / 4,
)

LIBRARY = {
    name: Function(name, functions, formula, complexity, domain, period)
    for name, functions, formula, complexity, domain, period in (
        ("0", (np.zeros_like,) * 4, "0", 0, REALS, None),
        ("x", power(1), "x", 1, REALS, None),
        ("x^2", power(2), "x**2", 2, REALS, None),
        ("x^3", power(3), "x**3", 3, REALS, None),
        ("x^4", power(4), "x**4", 3, REALS, None),
        ("x^5", power(5), "x**5", 3, REALS, None),
        ("1/x", power(-1), "1/x", 2, NOT_ZERO, None),
        ("1/x^2", power(-2), "x**-2", 2, NOT_ZERO, None),
        ("1/x^3", power(-3), "x**-3", 3, NOT_ZERO, None),
        ("1/x^4", power(-4), "x**-4", 4, NOT_ZERO, None),
        ("1/x^5", power(-5), "x**-5", 5, NOT_ZERO, None),
        ("sqrt", power(0.5), "sqrt(x)", 2, POSITIVE, None),
        ("x^0.5", power(0.5), "sqrt(x)", 2, POSITIVE, None),
        ("x^1.5", power(1.5), "x**Rational(3, 2)", 4, POSITIVE, None),
        ("1/sqrt(x)", power(-0.5), "1/sqrt(x)", 2, POSITIVE, None),
        ("1/x^0.5", power(-0.5), "1/sqrt(x)", 2, POSITIVE, None),
        ("exp", EXP, "exp(x)", 2, REALS, None),
        ("log", LOG, "log(x)", 2, POSITIVE, None),
        ("abs", ABS, "Abs(x)", 3, REALS, None),
        ("sin", SIN, "sin(x)", 2, REALS, None),
        ("cos", COS, "cos(x)", 2, REALS, None),
        ("tan", TAN, "tan(x)", 3, ((-math.pi / 2, math.pi / 2),), math.pi),
        ("tanh", bases.tanh.functions, "tanh(x)", 3, REALS, None),
        ("sgn", SGN, "sign(x)", 3, REALS, None),
        ("arcsin", (np.arcsin, *_arcsin(1)), "asin(x)", 4, ((-1.0, 1.0),), None),
        ("arccos", (np.arccos, *_arcsin(-1)), "acos(x)", 4, ((-1.0, 1.0),), None),
        ("arctan", ARCTAN, "atan(x)", 4, REALS, None),
        ("arctanh", ARCTANH, "atanh(x)", 4, ((-1.0, 1.0),), None),
        ("gaussian", GAUSSIAN, "exp(-x**2)", 3, REALS, None),
        # beyond pykan's
        ("sinh", (np.sinh, np.cosh) * 2, "sinh(x)", 3, REALS, None),
        ("cosh", (np.cosh, np.sinh) * 2, "cosh(x)", 3, REALS, None),
        ("arcsinh", ARCSINH, "asinh(x)", 4, REALS, None),
        ("sigmoid", bases.sigmoid.functions, "1/(1 + exp(-x))", 3, REALS, None),
        ("erf", ERF, "erf(x)", 4, REALS, None),
        ("j0", J0, "besselj(0, x)", 5, REALS, None),
    )
}
