"""The toy functions: their formulas against sympy at random points, ranges, shapes, samples."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref.data.toys import INTERPRETABLE, SCALING, SHAPES

ALL = {**INTERPRETABLE, **SCALING}
every_target = pytest.mark.parametrize("name", ALL)
WORDS = {  # formulas that are words to sympy, written out
    "hundred": lambda X: np.exp(np.mean([np.sin(np.pi * x / 2) ** 2 for x in X.T], axis=0)),
    "first digit": lambda X: np.array([int(f"{x:.12f}"[2]) for x in X[:, 0]]),
    "transition": lambda X: [
        int(np.sin(np.pi * a) + np.cos(np.pi * b) + np.tan(np.pi * c / 2) > 0) for a, b, c in X.tolist()
    ],
}


@every_target
def test_functions_are_their_formulas(name):
    target = ALL[name]
    X, y = target.sample(50, seed=1)
    if name in WORDS:
        assert_allclose(y, WORDS[name](X), rtol=1e-13)
        return
    import sympy
    from sympy.parsing import sympy_parser as parser

    rules = (*parser.standard_transformations, parser.implicit_multiplication, parser.convert_xor)
    symbols = sympy.symbols(target.names)
    text = target.formula.replace("J0(", "besselj(0, ")
    formula = parser.parse_expr(text, dict(zip(target.names, symbols)), rules)
    function = sympy.lambdify(symbols, formula, "mpmath")
    assert_allclose(y, [float(function(*row)) for row in X.tolist()], rtol=1e-12, atol=1e-14)


@every_target
def test_samples_fill_the_box_and_follow_the_seed(name):
    target = ALL[name]
    X, y = target.sample(2000, seed=3)
    low, high = np.array(target.ranges).T
    assert X.shape == (2000, len(target.names)) and y.shape == (2000,)
    assert (X >= low).all() and (X <= high).all() and np.isfinite(y).all() and np.ptp(y) > 0
    assert_allclose(X.min(0), low, atol=0.02 * (high - low).max())
    assert_allclose(X.max(0), high, atol=0.02 * (high - low).max())
    assert_array_equal(target.sample(2000, seed=3)[0], X)
    assert target.source.startswith(("Liu et al.", "relativistic", "pykan"))


@every_target
def test_every_target_has_the_shape_of_its_network(name):
    for shape in SHAPES[name]:
        assert shape[0] == ALL[name].inputs and shape[-1] == (10 if name == "first digit" else 1)


def test_the_five_and_the_eight():
    assert list(SCALING) == ["bessel", "staircase", "product", "hundred", "four"]
    assert len(INTERPRETABLE) == 8 and len(SHAPES["four"]) == 3
    assert set(SHAPES) == set(ALL)


def test_known_values():
    value = lambda name, *x: ALL[name].function(np.array([x], float))[0]
    assert_allclose(value("bessel", 0.0), 1)
    assert abs(value("bessel", 2.404825557695773 / 20)) < 1e-14  # the first zero of J_0
    assert_allclose(value("staircase", 0.5, 1.0), np.exp(2))
    assert_allclose(value("hundred", *np.ones(100)), np.e)
    assert_allclose(value("four", 0.5, 0.5, 0.5, 0.5), np.e)
    assert_allclose(value("velocities", 0.5, 0.5), 0.8)
    assert_allclose(value("distance", 0.5, -0.4, 0.7, -0.5), 1.5)
    assert [value("first digit", x) for x in (0.0, 0.31, 0.999)] == [0, 3, 9]
