"""Running error analysis: numbers that carry a bound of what rounding has done to them, for the definition to be run on.

    Running(value, error)      exact value = value +- error u to first order, u the unit of rounding, 2^-53 or 2^-24

Every operation adds what it inherits and what it rounds off itself (Higham, Accuracy and Stability of Numerical Algorithms,
section 3.3): one u times its result, or `LIBRARY` u for exp, sin and so on. Run on such numbers, `kanref.spec` tells what
rounding alone may cause at most if one calculates as the definition says, for values and for derivatives of inputs of any
order. Terms of u^2 are left away; `kanref.bounds` is certain, but knows values of networks alone and is wider.
"""

import math
from types import SimpleNamespace

import numpy as np

from kanref import spec

LIBRARY = 4  # units of rounding that exp, log, sin, ... may err by: two in the last place


class Running:
    """A number and its error in units of rounding."""

    __slots__ = ("value", "error")

    def __init__(self, value, error=0.0):
        self.value, self.error = float(value), float(error)

    @property
    def real(self):
        return self

    @property
    def context(self):
        return FUNCTIONS

    def __add__(self, other):
        other = running(other)
        if other.value == other.error == 0:
            return self
        value = self.value + other.value
        return Running(value, self.error + other.error + (abs(value) if self.value else 0))

    __radd__ = __add__

    def __neg__(self):
        return Running(-self.value, self.error)

    def __sub__(self, other):
        return self + -running(other)

    def __rsub__(self, other):
        return running(other) + -self

    def __mul__(self, other):
        other = running(other)
        value = self.value * other.value
        exact = abs(self.value) in POWERS or abs(other.value) in POWERS
        return Running(value, abs(self.value) * other.error + abs(other.value) * self.error + (0 if exact else abs(value)))

    __rmul__ = __mul__

    def __truediv__(self, other):
        other = running(other)
        value = self.value / other.value
        exact = abs(other.value) in POWERS
        return Running(value, (self.error + abs(value) * other.error) / abs(other.value) + (0 if exact else abs(value)))

    def __rtruediv__(self, other):
        return running(other) / self

    def __pow__(self, r):
        if r == int(r) and 0 < r <= 3:
            return math.prod([self] * (int(r) - 1), start=self)
        return lifted(lambda x: x**r, lambda x: r * x ** (r - 1))(self)

    def __float__(self):
        return self.value

    def __eq__(self, other):
        return self.value == float(other)

    def __lt__(self, other):
        return self.value < float(other)

    def __le__(self, other):
        return self.value <= float(other)

    def __gt__(self, other):
        return self.value > float(other)

    def __ge__(self, other):
        return self.value >= float(other)


POWERS = {0.0, 1.0, 2.0, 4.0, 0.5, 0.25}  # products with these are exact


def running(x):
    """A number as one without error."""
    return x if isinstance(x, Running) else Running(x)


def lifted(f, slope):
    """A library function of these numbers from f and f'."""

    def function(x):
        x = running(x)
        value = f(x.value)
        return Running(value, abs(slope(x.value)) * x.error + LIBRARY * abs(value))

    return function


FUNCTIONS = SimpleNamespace(
    exp=lifted(math.exp, math.exp),
    log=lifted(math.log, lambda x: 1 / x),
    sin=lifted(math.sin, math.cos),
    cos=lifted(math.cos, math.sin),
    asin=lifted(math.asin, lambda x: (1 - x * x) ** -0.5),
    acos=lifted(math.acos, lambda x: (1 - x * x) ** -0.5),
    atan=lifted(math.atan, lambda x: 1 / (1 + x * x)),
    atanh=lifted(math.atanh, lambda x: 1 / (1 - x * x)),
    asinh=lifted(math.asinh, lambda x: (1 + x * x) ** -0.5),
)


# ---------------------------------------------------------------------------------------------- operations by the definition


def rounded(part):
    """Nested arguments with arrays of numbers that are exact as yet."""
    if isinstance(part, dict):
        return {key: rounded(value) for key, value in part.items()}
    if isinstance(part, list):
        return [rounded(value) for value in part]
    return _array(map(Running, part.ravel().tolist())).reshape(part.shape) if isinstance(part, np.ndarray) else part


def _array(numbers):
    return np.array([*numbers, None], object)[:-1]  # which keeps NumPy from looking into them


def ulps(case):
    """What rounding alone may cause at most, to first order, in ulps as `Outcome` counts them; KeyError for operations that are
    none of `BY_DEFINITION`. Inputs are exact in every precision, so all of it is the calculation's, in every precision."""
    found, exact = BY_DEFINITION[case.operation](**rounded(case.arguments())), case.answers()["result"]
    worst = max((running(number).error for number in np.ravel(found).tolist()), default=0.0)
    return worst / 2 / (float(np.abs(exact).max(initial=0)) or 1.0)


def bspline(x, knots, degree, order, outside):
    return np.array([spec.bspline(u, list(knots), degree, order, outside) for u in x], object)


def taken(series, x, order):
    """order! times a coefficient of f(x + t) at points x, for f from a series to a series or to a list of them."""
    rows = []
    for u in x:
        found = series([u, *[Running(1)] * min(order, 1), *[Running(0)] * (order - 1)])
        many = found if isinstance(found[0], list) else [found]
        rows.append([math.factorial(order) * own[order] for own in many])
    return np.array(rows, object)


def base_function(name, x, order):
    from kanref.golden.functions import BASE

    return taken(BASE[name][0], x, order)


def forward(network, x):
    from kanref.golden.networks import values

    return values(network, x)


def jet(network, x, direction, order):
    from kanref.golden.derivatives import taylor

    return taylor(network, x, direction, order)


def input_gradient(network, x):
    from kanref.golden import derivatives

    return derivatives.input_gradient(network, x)


def input_hessian(network, x):
    from kanref.golden import derivatives

    return derivatives.input_hessian(network, x)


BY_DEFINITION = {
    "bspline": bspline,
    "base_function": base_function,
    "function": lambda name, x, order: taken(spec.FORMULAS[name], x, order),
    "chebyshev": lambda x, degree, order: taken(lambda z: spec.chebyshev_basis(degree)(0, z), x, order),
    "power_relu": lambda x, knots, degree, order: taken(
        lambda z: spec.power_relu_basis([list(knots)], degree)(0, z), x, order
    ),
    "free_knots": lambda spacing, **rest: _array(spec.free_knots(list(spacing), **rest)),
    "forward": forward,
    "jet": jet,
    "input_gradient": input_gradient,
    "input_hessian": input_hessian,
    "tucker": spec.tucker,
}
