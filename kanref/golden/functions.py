"""Golden vectors of functions of one variable and their derivatives 0..3: base functions, formulas, other bases, free knots.

Reference: the Taylor series of `kanref.spec` in 50 digits. Confirmed by mpmath's own functions with numerical
derivatives at twice the digits, by exact rationals where everything is rational, by SciPy's softmax for free knots.
"""

import math
from fractions import Fraction

import numpy as np

from kanref import spec
from kanref.golden.exact import MP, Draw, confirm, converted, digits, floats
from kanref.golden.record import case
from kanref.golden.splines import knot_vector

BASE = {
    "silu": (spec.silu, lambda x: x / (1 + MP.exp(-x))),
    "identity": (spec.identity, lambda x: x),
    "zero": (lambda z: [0 * c for c in z], lambda x: 0 * x),
    "tanh": (spec.tanh, MP.tanh),
    "sin": (spec.sine, MP.sin),
    "sigmoid": (spec.sigmoid, lambda x: 1 / (1 + MP.exp(-x))),
}
CLOSED = {  # mpmath's own, by the names of `spec.FORMULAS`
    "x^3": lambda x: x**3,
    "1/x": lambda x: 1 / x,
    "1/x^2": lambda x: x**-2,
    "sqrt": MP.sqrt,
    "x^1.5": lambda x: x * MP.sqrt(x),
    "1/sqrt(x)": lambda x: 1 / MP.sqrt(x),
    "exp": MP.exp,
    "log": MP.log,
    "abs": abs,
    "sin": MP.sin,
    "cos": MP.cos,
    "tan": MP.tan,
    "tanh": MP.tanh,
    "arcsin": MP.asin,
    "arccos": MP.acos,
    "arctan": MP.atan,
    "arctanh": MP.atanh,
    "gaussian": lambda x: MP.exp(-x * x),
    "sinh": MP.sinh,
    "cosh": MP.cosh,
    "arcsinh": MP.asinh,
}
ROUTES = "kanref.spec, Taylor series in 50 digits", "mpmath's function, differentiated numerically (1e-12)"


def differentiated(series, x, order):
    """Derivative of an order at the points x of a function from series to series, or to a list of series."""
    values = []
    for u in x:
        taken = series([u, *([MP.mpf(1)] * min(order, 1)), *([MP.mpf(0)] * (order - 1))])
        many = taken if isinstance(taken[0], list) else [taken]
        row = [math.factorial(order) * s[order] for s in many]
        values.append(row if isinstance(taken[0], list) else row[0])
    return np.array(values, object)


def by_mpmath(function, x, order):
    return floats(np.array([MP.diff(function, u, order) for u in x], object))


def by_name(group, operation, table, x):
    for name, (series, function) in table.items():
        for order in range(4):
            at = converted(x, digits)
            values = differentiated(series, at, order)
            label = f"{name.replace('/', 'over-')}-order-{order}"
            confirm(label, values, by_mpmath(function, at, order))
            call = f"order! times the last coefficient of the series of {name} at x + t"
            inputs = {"name": name, "x": x, "order": order}
            yield case(group, label, operation, inputs, {"result": values}, call=call, ulps=16, routes=ROUTES)


def base_functions():
    """On both sides of zero, at zero, and far out, where e^-x under- and overflows in float32."""
    far = np.array([Fraction(n) for n in (0, 12, -12, 100, -100)], object)
    return by_name("base", "base_function", BASE, np.concatenate([Draw("base")(5, low=-4, high=4, bits=12), far]))


def formulas():
    """On (0, 1), where all of them are smooth."""
    x = Draw("formulas")(4, low=0, bits=10) * Fraction(3, 4) + Fraction(1, 8)
    return by_name("functions", "function", {name: (spec.FORMULAS[name], f) for name, f in CLOSED.items()}, x)


def other_bases():
    """Chebyshev polynomials of tanh x, and power ReLUs."""
    x = Draw("bases")(5, low=-2, high=2, bits=10)
    at = converted(x, digits)
    for degree in (3, 8):
        for order in range(4):
            T = differentiated(lambda z, degree=degree: spec.chebyshev_basis(degree)(0, z), at, order)
            other = [by_mpmath(lambda u, j=j: MP.cos(j * MP.acos(MP.tanh(u))), at, order) for j in range(degree + 1)]
            name = f"chebyshev-degree-{degree}-order-{order}"
            confirm(name, T, np.stack(other, 1))
            inputs = {"x": x, "degree": degree, "order": order}
            call = f"order! times the coefficients of spec.chebyshev_basis({degree})"
            yield case("bases", name, "chebyshev", inputs, {"result": T}, call=call, ulps=32, routes=ROUTES)
    for degree, kind in ((1, "uniform"), (2, "nonuniform"), (3, "uniform"), (4, "nonuniform")):
        t = knot_vector(kind, degree)
        u = np.array([t[1], *(t[0] + (t[-1] - t[0]) * Draw("power", degree)(5, low=0, bits=10)), t[0] - 1], object)
        for order in range(min(degree, 3) + 1):
            values = [power_relus(list(t), degree, v, order) for v in u]
            h, p, K = (t[-1] - t[0]) / (len(t) - 1), degree - order, len(t) - degree - 1
            closed = [[math.perm(degree, order) * ((v - a) / h) ** p / h**order * (v >= a) for a in t[:K]] for v in u]
            name = f"power-relu-{kind}-degree-{degree}-order-{order}"
            confirm(name, np.array(values, object), np.array(closed, object), 0)
            inputs = {"x": u, "knots": t, "degree": degree, "order": order}
            call = f"order! times the coefficients of spec.power_relu_basis([knots], {degree})"
            routes = "kanref.spec in exact rationals", "closed form of the derivative in exact rationals (equal)"
            yield case(
                "bases",
                name,
                "power_relu",
                inputs,
                {"result": np.array(values, object)},
                call=call,
                ulps=32,
                routes=routes,
            )


def power_relus(t, degree, x, order):
    """Derivative of an order of all functions at x, exactly."""
    z = [x, *[Fraction(1)] * min(order, 1), *[Fraction(0)] * (order - 1)]
    return [math.factorial(order) * series[order] for series in spec.power_relu_basis([t], degree)(0, z)]


def free_knots():
    """Knots from trained spacing."""
    from scipy.special import softmax

    for G, degree in ((1, 1), (3, 1), (5, 3), (8, 3)):
        draw = Draw("free", G)
        s, low, high, least = draw(G, low=-3, high=3), Fraction(-1), Fraction(5, 4), Fraction(1e-6)
        knots = spec.free_knots(list(converted(s, digits)), degree, digits(low), digits(high), digits(least))
        p = float(least) / G + (1 - float(least)) * softmax(converted(s, float))
        t = float(low) + float(high - low) * np.concatenate([[0], np.cumsum(p)])
        left, right = (t[1] - t[0]) * np.arange(degree, 0, -1), (t[-1] - t[-2]) * np.arange(1, degree + 1)
        confirm(f"free knots {G}", np.array(knots, object), np.concatenate([t[0] - left, t, t[-1] + right]))
        yield case(
            "free-knots",
            f"{G}-intervals-degree-{degree}",
            "free_knots",
            {"spacing": s, "degree": degree, "low": low, "high": high, "least": least},
            {"result": np.array(knots, object)},
            call="spec.free_knots(spacing, degree, low, high, least)",
            ulps=16,
            routes=("kanref.spec.free_knots in 50 digits", "scipy.special.softmax and cumulative sums (1e-12)"),
        )


GROUPS = {"base": base_functions, "functions": formulas, "bases": other_bases, "free-knots": free_knots}
