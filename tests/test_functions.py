"""The library of functions: derivatives, domains and formulas against sympy and mpmath; functions of one's own."""

import math

import mpmath
import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose, assert_array_equal

from kanref.functions import LIBRARY, NOT_ZERO, REALS, Function, power_of

PYKAN = {  # pykan 0.2.8, kan/utils.py: names and complexities
    **{"x": 1, "x^2": 2, "x^3": 3, "x^4": 3, "x^5": 3, "1/x": 2, "1/x^2": 2, "1/x^3": 3, "1/x^4": 4, "1/x^5": 5},
    **{"sqrt": 2, "x^0.5": 2, "x^1.5": 4, "1/sqrt(x)": 2, "1/x^0.5": 2, "exp": 2, "log": 2, "abs": 3, "sin": 2, "cos": 2},
    **{"tan": 3, "tanh": 3, "sgn": 3, "arcsin": 4, "arccos": 4, "arctan": 4, "arctanh": 4, "0": 0, "gaussian": 3},
}
every_function = pytest.mark.parametrize("f", LIBRARY.values(), ids=LIBRARY)


def inside(f, count=7, seed=0):
    """Points of every piece of the domain, away from its ends."""
    rng = np.random.default_rng(seed)
    pieces = [(max(low, min(high, 3) - 6), min(high, max(low, -3) + 6)) for low, high in f.domain]
    return np.concatenate([low + (high - low) * rng.uniform(0.1, 0.9, count) for low, high in pieces])


def test_the_names_and_complexities_are_pykans():
    assert len(PYKAN) == 29
    assert {name: f.complexity for name, f in LIBRARY.items() if name in PYKAN} == PYKAN
    assert all(f.name == name for name, f in LIBRARY.items())


@every_function
def test_values_and_derivatives_are_those_of_the_formula(f):
    x, u = sympy.Symbol("x", real=True), inside(f)
    values = f.derivatives(u, 3)
    expression = f.sympy(x)
    for order in range(4):
        exact = sympy.lambdify(x, expression.doit(), "mpmath")
        with mpmath.workdps(40):
            expected = [float(mpmath.re(exact(mpmath.mpf(float(point))))) for point in u]
        assert_allclose(values[order], expected, rtol=2e-14, atol=1e-14 * np.abs(expected).max(), err_msg=str(order))
        expression = sympy.diff(expression, x).replace(sympy.DiracDelta, lambda *_: sympy.Integer(0))
    assert_array_equal(values[0], f(u))


@every_function
def test_the_domain_is_where_the_formula_is_real_and_finite(f):
    u = np.array([-1e3, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 1e3])
    exact = sympy.lambdify("x", f.sympy(sympy.Symbol("x")), "mpmath")
    for point, value, piece in zip(u, f(u), f.pieces(u)):
        try:
            expected = exact(mpmath.mpf(float(point)))
        except ZeroDivisionError:
            expected = mpmath.inf
        # mpmath has numbers beyond the largest of double precision
        real = mpmath.isfinite(expected) and mpmath.im(expected) == 0
        if real and abs(expected) < 1e308:
            assert_allclose(value, float(mpmath.re(expected)), rtol=1e-12)
        elif not real:
            assert np.isnan(value)
        assert (piece >= 0) == bool(real), point
    assert np.isnan(f(np.nan))


@every_function
def test_shapes_and_dtypes_are_kept_and_integers_are_numbers(f):
    u = inside(f, 6).reshape(2, -1)
    for dtype in (np.float64, np.float32):
        values = f.derivatives(u.astype(dtype), 2)
        assert values.shape == (3, *u.shape) and values.dtype == dtype
    assert_array_equal(f(1), f(1.0))
    assert_array_equal(f([1, 2]), f(np.array([1.0, 2.0])))


def test_pieces_number_the_branches():
    assert_array_equal(LIBRARY["1/x"].pieces([-2.0, 0.0, 3.0]), [0, -1, 1])
    assert_array_equal(LIBRARY["sqrt"].pieces([-1.0, 0.0, 4.0]), [-1, 0, 0])
    assert_array_equal(LIBRARY["log"].pieces([-1.0, 0.0, 4.0]), [-1, -1, 0])
    assert_array_equal(LIBRARY["exp"].pieces([-1.0, np.nan]), [0, -1])
    branches = LIBRARY["tan"].pieces(math.pi * np.arange(-3, 4) + 0.2)
    assert len(set(branches)) == 7 and branches[3] == 0
    assert_array_equal(LIBRARY["tan"].pieces(math.pi * np.arange(-3, 4) - 1.5), branches)
    assert_array_equal(LIBRARY["tan"].pieces([np.inf, -np.inf, np.nan, 1e300]), [-1] * 4)


def test_functions_of_ones_own():
    sinc = Function.from_formula("sinc", "sin(x)/x", complexity=4, domain=NOT_ZERO)
    u = np.array([-2.0, 0.0, 0.7])
    assert_allclose(sinc(u), [np.sin(2) / 2, np.nan, np.sin(0.7) / 0.7], rtol=1e-15)
    h = 1e-5
    assert_allclose(sinc.derivatives(0.7, 1)[1], (sinc(0.7 + h) - sinc(0.7 - h)) / (2 * h), rtol=1e-9)
    assert sinc.complexity == 4 and str(sinc.sympy(sympy.Symbol("t"))) == "sin(t)/t"
    ramp = Function.from_formula("ramp", "Max(x, 0)")
    assert_array_equal(ramp.derivatives([-2.0, 3.0], 3), [[0, 3], [0, 1], [0, 0], [0, 0]])
    assert ramp.domain == REALS
    secant = Function.from_formula("secant", "1/cos(x)", domain=((-math.pi / 2, math.pi / 2),), period=math.pi)
    assert_array_equal(secant.pieces([0.0, 3.0, 6.0]), LIBRARY["tan"].pieces([0.0, 3.0, 6.0]))


def test_powers_by_name():
    u = np.array([-2.0, 0.0, 2.0])
    for text, values in {
        "7": [-128, 0, 128],
        "-6": [1 / 64, np.nan, 1 / 64],
        "-7/3": [np.nan, np.nan, 2 ** (-7 / 3)],
        "0.5": [np.nan, 0, 2**0.5],
        "pi": [np.nan, 0, 2**math.pi],
        "E": [np.nan, 0, 2**math.e],
    }.items():
        f = power_of(text)
        assert_allclose(f(u), values, rtol=1e-15)
        assert f is power_of(text) and f.name == f"x^{text}"
        assert_allclose(float(f.sympy(sympy.Integer(2))), values[2], rtol=1e-14)
    for text in ("", "y", "1/0", "inf", "nan", "1/2/3", "__import__('os')", "1e999", "2**3"):
        assert power_of(text) is None


def test_what_is_no_function_is_refused():
    with pytest.raises(ValueError, match=r"formula must be in x alone, but 'a\*x' has a; put numbers in"):
        Function.from_formula("line", "a*x")
    with pytest.raises(TypeError, match="must be four callables.*from_formula derives them"):
        Function("sin", (np.sin, np.cos), "sin(x)", 2)
    with pytest.raises(ValueError, match=r"domain must be intervals \(low, high\) in rising order"):
        Function.from_formula("root", "sqrt(x)", domain=((math.inf, 0.0),))
    with pytest.raises(ValueError, match=r"domain must be intervals .*, as \(\(0, inf\),\), but it is \(0, inf\)"):
        Function.from_formula("root", "sqrt(x)", domain=(0, math.inf))
    with pytest.raises(ValueError, match="period must be a positive number or None, but it is 0"):
        Function.from_formula("wave", "sin(x)", period=0)
    with pytest.raises(ValueError, match="order must be from 0 to 3, but it is 4"):
        LIBRARY["sin"].derivatives(0.0, 4)
