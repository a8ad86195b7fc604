"""Golden vectors of B-splines: values and derivatives 0..3, degrees 0..7, five kinds of knots, three policies outside.

Reference: the recursion of `spec.bspline` in exact rationals. Confirmed, to the last digit, by divided differences of
truncated powers (Curry and Schoenberg), taken from the left where a span is closed on the right; and by SciPy's BSpline
in floating point inside the domain.
"""

import math
from fractions import Fraction

import numpy as np

from kanref import spec
from kanref.golden.exact import Draw, confirm, converted
from kanref.golden.record import case

KINDS = "uniform", "clamped", "repeated", "nonuniform"
ROUTES = (
    "kanref.spec.bspline in exact rationals",
    "divided differences of truncated powers in exact rationals (equal)",
    "scipy.interpolate.BSpline in the domain (1e-12)",
)


def knot_vector(kind, degree, intervals=3):
    """Dyadic knots: equally spaced by 1/2, clamped at both ends, an inner knot `degree` times, all spans different, or both
    edges of the domain twice, so that its first and last span are empty."""
    draw = Draw("knots", kind, degree, intervals)
    gaps = [Fraction(draw.integer(5, 24), 16) for _ in range(intervals + 2 * degree)]
    if kind == "uniform":
        return np.array([Fraction(n, 2) - 1 for n in range(-degree, intervals + degree + 1)], object)
    if kind == "nonuniform":
        return np.array([sum(gaps[:n], Fraction(-1)) for n in range(len(gaps) + 1)], object)
    inner = [sum(gaps[:n], Fraction(-1)) for n in range(intervals + 1)]
    if kind == "clamped":
        return np.array([inner[0]] * degree + inner + [inner[-1]] * degree, object)
    ends = (
        [inner[0] - Fraction(n, 2) for n in range(degree, 0, -1)],
        [inner[-1] + Fraction(n, 4) for n in range(1, degree + 1)],
    )
    more = [inner[0], inner[-1]] if kind == "tied-edges" else inner[1:2] * max(0, degree - 1)
    return np.array(sorted([*ends[0], *inner, *ends[1], *more]), object)


def points(knots, degree, *seed):
    """Both edges, an inner knot, three places between, and one on either side of all knots."""
    low, high = knots[degree], knots[-degree - 1]
    inner = [t for t in knots if low < t < high][:1]
    between = low + (high - low) * Draw("points", *seed)(3, low=0, bits=12)
    return np.array([low, *inner, *between, high, knots[0] - Fraction(3, 8), knots[-1] + Fraction(5, 8)], object)


# -------------------------------------------------------------------------------------------------- the second route


def divided_difference(knots, f):
    """[t_0, ..., t_n] f for sorted knots; f(t, n) is derivative n of f over n!, which tied knots ask for."""
    row = [f(t, 0) for t in knots]
    for n in range(1, len(knots)):
        pairs = enumerate(zip(row, row[1:]))
        row = [
            (b - a) / (knots[i + n] - knots[i]) if knots[i] < knots[i + n] else f(knots[i], n) for i, (a, b) in pairs
        ]
    return row[0]


def truncated_powers(x, knots, degree, order, left=False):
    """B_i(x) = (t_{i+d+1} - t_i) [t_i, ..., t_{i+d+1}] (t - x)_+^d, differentiated in x from the right or from the left."""
    p = degree - order

    def f(t, n):
        if n > p or t < x or (t == x and not left):
            return Fraction(0)
        return (-1) ** order * math.perm(degree, order) * math.comb(p, n) * (t - x) ** (p - n)

    windows = (knots[i : i + degree + 2] for i in range(len(knots) - degree - 1))
    return [(t[-1] - t[0]) * divided_difference(t, f) for t in windows]


def by_truncated_powers(x, knots, degree, order, outside):
    """All functions with the policies outside, by `truncated_powers`."""
    if order > degree and outside != "linear":
        return [Fraction(0)] * (len(knots) - degree - 1)
    low, high = knots[degree], knots[-degree - 1]
    at = lambda x, order: truncated_powers(
        x, knots, degree, order, left=x == (knots[-1] if outside == "zero" else high)
    )
    if outside == "zero" or low <= x <= high:
        return at(x, order) if order <= degree else [Fraction(0)] * (len(knots) - degree - 1)
    edge, clamped = (low if x < low else high), outside == "clamp"
    if order > 1 or (order == 1 and (clamped or degree == 0)):
        return [Fraction(0)] * (len(knots) - degree - 1)
    if order == 1:
        return at(edge, 1)
    slopes = at(edge, 1) if degree and not clamped else [0] * (len(knots) - degree - 1)
    return [value + (x - edge) * slope for value, slope in zip(at(edge, 0), slopes)]


def by_scipy(x, knots, degree, order):
    """SciPy's values at points (N,) inside the domain: (N, K)."""
    from scipy.interpolate import BSpline

    return BSpline(knots, np.eye(len(knots) - degree - 1), degree)(x, nu=order)


# ------------------------------------------------------------------------------------------------------------- cases


def one(degree, kind, order, outside, name=None):
    """The case of one basis, at seven or eight points."""
    knots = knot_vector(kind, degree)
    x = points(knots, degree, kind, degree, order)
    B = np.array([spec.bspline(u, list(knots), degree, order, outside) for u in x], object)
    name = name or f"{kind}-degree-{degree}-order-{order}-{outside}"
    confirm(name, B, np.array([by_truncated_powers(u, list(knots), degree, order, outside) for u in x], object), 0)
    right = knots[-degree - 1] if degree else knots[-1]
    inside = np.array([knots[degree] <= u < right for u in x])
    floats = converted(x[inside], float), converted(knots, float)
    confirm(name + " by SciPy", B[inside], by_scipy(*floats, degree, order))
    return case(
        "bspline",
        name,
        "bspline",
        {"x": x, "knots": knots, "degree": degree, "order": order, "outside": outside},
        {"result": B},
        call=f"[spec.bspline(x, knots, {degree}, {order}, {outside!r}) for x in x]",
        ulps=16,
        routes=ROUTES,
    )


def bspline():
    """Every degree, kind and order with outside="zero", and the two other policies."""
    for degree in range(8):
        for kind in KINDS if degree else ("uniform", "nonuniform"):
            for order in range(4):
                yield one(degree, kind, order, "zero")
    for degree in (0, 1, 3, 5):
        for kind in ("uniform", "clamped", "nonuniform") if degree else ("nonuniform",):
            for outside in ("linear", "clamp"):
                for order in (0, 1, 2) if degree == 3 else (0, 1):
                    yield one(degree, kind, order, outside)
    for degree in (0, 1, 3):
        for outside in ("zero", "linear", "clamp"):
            for order in (0, 1):
                yield one(degree, "tied-edges", order, outside)
    for outside in ("linear", "clamp"):
        for kind in KINDS:
            for order in range(4) if kind == "repeated" else (3,):
                yield one(3, kind, order, outside)


GROUPS = {"bspline": bspline}
