"""The definition against what it must be: SciPy, divided differences in exact fractions, 50 digits, and the ledger."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.special
from numpy.testing import assert_allclose
from scipy.interpolate import BSpline as SciPyBSpline

from kanref import spec
from kanref.check import definition
from kanref.network import kan

DEGREES = range(8)
ORDERS = range(4)


def knot_vector(kind, degree):
    """Rational knots: equally spaced, random, clamped with random inner knots, or with knots repeated 2 and d times."""
    rng = np.random.default_rng([degree, len(kind)])
    ladder = [Fraction(n, 4) for n in range(-degree - 2, degree + 4)]
    gaps = [Fraction(int(n), 16) for n in rng.integers(1, 20, 2 * degree + 6)]
    inner = sorted(Fraction(int(n), 64) for n in rng.choice(np.arange(-60, 60), 4, replace=False))
    if kind == "uniform":
        return ladder
    if kind == "random":
        return [sum(gaps[:n], Fraction(-2)) for n in range(len(gaps))]
    if kind == "clamped":
        return [Fraction(-1)] * (degree + 1) + inner + [Fraction(1)] * (degree + 1)
    return sorted(ladder + [ladder[degree + 2]] * max(1, degree - 1) + [ladder[2]])


every_vector = pytest.mark.parametrize("kind", ["uniform", "random", "clamped", "repeated"])
every_degree = pytest.mark.parametrize("degree", DEGREES)
every_order = pytest.mark.parametrize("order", ORDERS)


def points(knots):
    """All knots but the last, a third into every span, and a point on either side of all."""
    spans = [(a, b) for a, b in zip(knots, knots[1:]) if a < b]
    return sorted({*knots[:-1], *(a + (b - a) / 3 for a, b in spans)} - {knots[-1]}) + [knots[0] - 1, knots[-1] + 1]


# ---------------------------------------------------------------------------------------------------------- B-splines


def divided_difference(knots, f):
    """[t_0, ..., t_n] f for sorted knots, where f(t, n) is derivative n of f over n!, which tied knots ask for."""
    table = [f(t, 0) for t in knots]
    for n in range(1, len(knots)):
        table = [
            (b - a) / (knots[i + n] - knots[i]) if knots[i] < knots[i + n] else f(knots[i], n)
            for i, (a, b) in enumerate(zip(table, table[1:]))
        ]
    return table[0]


def truncated_powers(x, knots, degree, order):
    """Curry and Schoenberg: B_i(x) = (t_{i+d+1} - t_i) [t_i, ..., t_{i+d+1}] (t - x)_+^d, and its derivatives in x."""
    p = degree - order

    def f(t, n):
        if n > p or t <= x:
            return Fraction(0)
        return (-1) ** order * math.perm(degree, order) * math.comb(p, n) * (t - x) ** (p - n)

    windows = (knots[i : i + degree + 2] for i in range(len(knots) - degree - 1))
    return [(t[-1] - t[0]) * divided_difference(t, f) for t in windows]


@every_vector
@every_degree
@every_order
def test_bsplines_are_divided_differences_of_truncated_powers_exactly(kind, degree, order):
    knots = knot_vector(kind, degree)
    for x in points(knots):
        assert spec.bspline(x, knots, degree, order) == truncated_powers(x, knots, degree, order)


@every_vector
@every_degree
@every_order
def test_bsplines_are_scipys_in_the_domain(kind, degree, order):
    knots = np.array(knot_vector(kind, degree), float)
    K = len(knots) - degree - 1
    a, b = knots[degree], knots[K]
    x = np.unique(np.concatenate([np.linspace(a, b, 21), knots[(a <= knots) & (knots <= b)]]))
    expected = SciPyBSpline(knots, np.eye(K), degree)(x, nu=order) if order <= degree else np.zeros((len(x), K))
    inside = np.array([spec.bspline(c, knots, degree, order, "error") for c in x])
    assert_allclose(inside, expected, rtol=1e-12, atol=1e-13 * max(1, np.abs(expected).max()))
    fading = np.array([spec.bspline(c, knots, degree, order, "zero") for c in x])
    assert_allclose(fading[:-1], inside[:-1], rtol=1e-14)  # the last point may see the next span


@every_vector
@every_degree
@every_order
def test_the_last_span_of_positive_width_is_closed(kind, degree, order):
    """Seen in a mirror, the last knot is the first one, where right-continuity and closure are the same thing."""
    knots = knot_vector(kind, degree)
    mirrored = [-t for t in reversed(knots)]
    at_end = spec.bspline(knots[-1], knots, degree, order)
    assert at_end == [(-1) ** order * b for b in reversed(spec.bspline(mirrored[0], mirrored, degree, order))]
    beyond = knots[-1] + Fraction(1, 10**9)
    assert spec.bspline(beyond, knots, degree, order) == [0] * (len(knots) - degree - 1)


@every_vector
@every_degree
@pytest.mark.parametrize("outside", ["zero", "linear", "clamp", "error"])
def test_partition_of_unity_is_exact(kind, degree, outside):
    knots = knot_vector(kind, degree)
    a, b = knots[degree], knots[-degree - 1]
    for x in points(knots):
        if a <= x < b or outside in ("linear", "clamp"):
            assert [sum(spec.bspline(x, knots, degree, order, outside)) for order in ORDERS] == [1, 0, 0, 0]
    if outside != "zero" or b == knots[-1]:
        assert sum(spec.bspline(b, knots, degree, 0, outside)) == 1


@every_vector
@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_continuation_outside_is_straight_or_constant(kind, degree):
    knots = knot_vector(kind, degree)
    for edge, step in ((knots[degree], Fraction(-7, 5)), (knots[-degree - 1], Fraction(9, 5))):
        value, slope = (spec.bspline(edge, knots, degree, order, "error") for order in (0, 1))
        linear = [spec.bspline(edge + step, knots, degree, order, "linear") for order in ORDERS]
        assert linear[:2] == [[v + step * s for v, s in zip(value, slope)], slope]
        clamped = [spec.bspline(edge + step, knots, degree, order, "clamp") for order in ORDERS]
        assert clamped[0] == value
        assert not any(map(any, (*linear[2:], *clamped[1:])))


def test_zero_over_zero_is_zero_term_by_term():
    """A function whose knots all coincide is nothing; its neighbours are untouched."""
    knots = [Fraction(n) for n in (0, 0, 0, 1, 2, 2, 2)]
    assert spec.bspline(Fraction(1, 2), knots, 1) == [0, Fraction(1, 2), Fraction(1, 2), 0, 0]
    assert spec.bspline(Fraction(1, 2), knots, 1, 1) == [0, -1, 1, 0, 0]
    floats = np.array(knots, float)
    assert spec.bspline(0.5, floats, 1) == [0, 0.5, 0.5, 0, 0]


def test_repeated_knots_as_the_ledger_has_them():
    """B1: pykan's row sums here are 0, 0.5, 0.5, 0."""
    knots = [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    assert spec.bspline(0.25, knots, 3) == [0.125, 0.59375, 0.25, 0.03125, 0]
    assert [sum(spec.bspline(x, knots, 3)) for x in (0.0, 0.25, 0.75, 1.0)] == [1, 1, 1, 1]


@pytest.mark.parametrize("knots", [(0, 1, 2, 3), (0, 1, 3, 3), (-1, -1, 0, 0, 0)])
def test_degree_zero_is_one_at_the_right_end(knots):
    """B3."""
    assert sum(spec.bspline(float(knots[-1]), knots, 0)) == 1
    assert sum(spec.bspline(float(knots[0]), knots, 0)) == 1


def test_row_sums_fade_over_the_exterior_knots():
    """papers.md 5.9, cubic on [-1, 1] with 5 intervals: 1 inside, then 47/48 = 0.979..., 1/2, 0."""
    knots = [Fraction(2 * n, 5) - 1 for n in range(-3, 9)]
    at = lambda x: sum(spec.bspline(Fraction(x), knots, 3))
    assert [at(x) for x in ("0.3", "1", "1.2", "1.6", "2.2")] == [1, 1, Fraction(47, 48), Fraction(1, 2), 0]
    assert [at("-" + x) for x in ("1.2", "1.6", "2.2")] == [Fraction(47, 48), Fraction(1, 2), 0]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_complex_point_carries_the_derivative(order):
    knots = np.array(knot_vector("random", 4), float)
    for x in points(knots):
        exact = spec.bspline(x, knots, 4, order + 1)
        step = [b.imag / 1e-40 for b in spec.bspline(complex(x, 1e-40), knots, 4, order)]
        assert_allclose(step, exact, rtol=1e-13, atol=1e-13 * max(1, *map(abs, exact)))


# ------------------------------------------------------------------------------------------------------ Taylor series


ELEMENTARY = {
    "exponential": (spec.exponential, mpmath.exp),
    "reciprocal": (spec.reciprocal, lambda x: 1 / x),
    "sigmoid": (spec.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x))),
    "silu": (spec.silu, lambda x: x / (1 + mpmath.exp(-x))),
    "tanh": (spec.tanh, mpmath.tanh),
    "sine": (spec.sine, mpmath.sin),
    "identity": (spec.identity, lambda x: x),
    **{
        f"T_{j}": (
            lambda z, j=j: spec.chebyshev_basis(5)(0, z)[j],
            lambda x, j=j: mpmath.chebyt(j, mpmath.tanh(x)),
        )
        for j in range(6)
    },
}


@pytest.mark.parametrize("name", ELEMENTARY)
def test_series_of_elementary_functions_to_fifty_digits(name):
    series, function = ELEMENTARY[name]
    with mpmath.workdps(50):
        for x in ("0.7", "-1.3"):
            taken = series([mpmath.mpf(x), mpmath.mpf(1), *[mpmath.mpf(0)] * 3])
            for m in range(5):
                exact = mpmath.diff(function, mpmath.mpf(x), m)
                assert abs(taken[m] * math.factorial(m) - exact) <= mpmath.mpf(10) ** -40 * (1 + abs(exact))


@pytest.mark.parametrize("order", [3, 4])
@pytest.mark.parametrize(
    "options",
    [
        {"degree": 5, "intervals": 2},
        {"degree": 6, "intervals": 1, "base": "tanh", "scaled": True, "bias": True},
        {"degree": 5, "intervals": 2, "first": "linear", "base": "sin"},
    ],
    ids=["silu", "tanh, scaled, bias", "linear first"],
)
def test_derivatives_of_networks_to_fifty_digits(order, options):
    net = kan([2, [1, [2]], 1], affine=("node_scale", "subnode_bias"), **options)
    rng = np.random.default_rng(order)
    with mpmath.workdps(50):
        exactly = lambda a: np.array([mpmath.mpf(c) for c in a.tolist()])
        layers = definition(net, exactly(0.4 * rng.normal(size=net.size)))
        x, v = exactly(rng.uniform(-0.8, 0.8, 2)), exactly(rng.normal(size=2))
        taken = spec.derivatives(layers, x, v, order)[0]
        along = lambda t: spec.network(layers, x + t * v)[0, 0]
        for m in range(order + 1):
            exact = mpmath.diff(along, 0, m)
            assert abs(taken[m] - exact) <= mpmath.mpf(10) ** -35 * (1 + abs(exact))


# ------------------------------------------------------------------------------------------- layers, nodes and losses


def test_a_layer_is_the_sum_over_inputs_and_functions():
    """Degree 1 by hand: hat functions interpolate, so W holds the values of the edges at the knots."""
    half = Fraction(1, 2)
    hats = spec.bspline_basis([[Fraction(n) for n in (-1, 0, 1, 2)]] * 2, 1)
    W = np.array([[[1, 3], [0, 10]]], object)
    y = spec.layer(spec.Layer([(hats, W)], bias=[Fraction(100)]), [[half], [half / 2]])
    assert y == [[2 + Fraction(10, 4) + 100]]


def test_the_identity_is_a_spline_network_exactly():
    """Hats with W_i = t_{i+1} reproduce x; two such layers do, too, with slope 1 and no curvature."""
    knots = [Fraction(n, 3) for n in range(-4, 5)]
    layer = spec.Layer([(spec.bspline_basis([knots], 1), np.array([[knots[1:-1]]], object))])
    x = Fraction(1, 7)
    assert spec.network([layer, layer], [x], [Fraction(1)], 2).tolist() == [[x, 1, 0]]


def test_nodes_multiply_after_and_scale_around():
    u = [[Fraction(n), Fraction(1)] for n in (2, 3, 5, 7)]
    y = spec.nodes(u, (1, 3), [1, 2, 1, 1], [0, 0, 1, 0], [10, 1], [0, -1])
    assert y == [[20, 10], [6 * 6 * 7 - 1, 2 * 6 * 7 + 6 * 1 * 7 + 6 * 6 * 1]]


def test_masks_and_scales_act_on_edges():
    W = np.arange(12).reshape(2, 2, 3)
    assert spec.masked(W, np.array([[1, 0], [0, 1]])).sum((1, 2)).tolist() == [3, 30]
    assert spec.scaled(W, np.array([[2, 0], [0, -1]])).sum((1, 2)).tolist() == [6, -30]


def test_losses_are_those_of_the_libraries():
    rng = np.random.default_rng(8)
    f, y, labels = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    assert_allclose(spec.mean_squared_error(f, y), np.mean((f - y) ** 2), rtol=1e-14)
    assert_allclose(spec.mean_absolute_error(f, y), np.abs(f - y).mean(), rtol=1e-14)
    log_softmax = scipy.special.log_softmax(f, axis=1)
    assert_allclose(spec.cross_entropy(f, labels), -log_softmax[np.arange(5), labels].mean(), rtol=1e-14)
    binary = labels % 2
    by_scipy = -scipy.special.log_expit(np.where(binary, f[:, 0], -f[:, 0])).mean()
    assert_allclose(spec.logistic(f[:, :1], binary), by_scipy, rtol=1e-14)


# ----------------------------------------------------------------------------------------------------------- formulas

EXACT_FUNCTIONS = {
    **{f"x^{n}": lambda x, n=n: x**n for n in (2, 3, 4, 5)},
    **{f"1/x^{n}": lambda x, n=n: x**-n for n in (2, 3, 4, 5)},
    "0": lambda x: 0 * x,
    "x": lambda x: x,
    "1/x": lambda x: 1 / x,
    "sqrt": mpmath.sqrt,
    "x^0.5": mpmath.sqrt,
    "x^1.5": lambda x: x * mpmath.sqrt(x),
    "1/sqrt(x)": lambda x: 1 / mpmath.sqrt(x),
    "1/x^0.5": lambda x: 1 / mpmath.sqrt(x),
    "abs": abs,
    "sgn": mpmath.sign,
    "arcsin": mpmath.asin,
    "arccos": mpmath.acos,
    "arctan": mpmath.atan,
    "arctanh": mpmath.atanh,
    "arcsinh": mpmath.asinh,
    "gaussian": lambda x: mpmath.exp(-x * x),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    **{name: getattr(mpmath, name) for name in ("exp", "log", "sin", "cos", "tan", "tanh", "sinh", "cosh")},
}


@pytest.mark.parametrize("name", spec.FORMULAS)
def test_functions_of_formulas_are_taylor_series(name):
    """Coefficients of f(x + t) to order 4 against mpmath's, at 40 digits."""
    with mpmath.workdps(40):
        for x in (mpmath.mpf(3) / 10, mpmath.mpf(7) / 8):
            series = spec.FORMULAS[name]([x, mpmath.mpf(1), *[mpmath.mpf(0)] * 3])
            exact = mpmath.taylor(EXACT_FUNCTIONS[name], x, 4)
            # mpmath differentiates numerically, at twice the digits
            assert max(abs(a - b) for a, b in zip(series, exact)) < mpmath.mpf(10) ** -28
