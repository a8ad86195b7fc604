"""Bases: what they promise and what they refuse. Values against the definition are in test_kernels."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases
from kanref.bases import BASE_FUNCTIONS, BSpline, Chebyshev, MinMax, Pointwise
from kanref.network import KAN, kan, spline_layer

X = np.linspace(-3, 3, 25)[:, None]


def clamped(degree, *inner):
    return np.array([[-1.0] * (degree + 1) + list(inner) + [1.0] * (degree + 1)])


# -------------------------------------------------------------------------------------------------- B-splines: refusals


@pytest.mark.parametrize(
    "error, message, knots, degree",
    [
        (ValueError, "degree must be from 0 to 15, but it is -1", np.arange(8.0), -1),
        (ValueError, "degree must be from 0 to 15, but it is 16", np.arange(40.0), 16),
        (TypeError, r"degree must be an integer, but it is '3' \(str\)", np.arange(8.0), "3"),
        (TypeError, r"degree must be an integer, but it is True \(bool\)", np.arange(8.0), True),
        (TypeError, r"degree must be an integer, but it is 3.0 \(float\)", np.arange(8.0), 3.0),
        (ValueError, "degree 3 needs at least 8 knots for each input, but there are 7", np.arange(7.0), 3),
        (ValueError, "row 0 has 5 before 2; sort each row", np.array([0, 1, 5, 2]), 1),
        (ValueError, "the domain of input 0 is empty: knots 1 and 2 are 1", np.array([0.0, 1, 1, 2]), 1),
        (ValueError, r"knots must be finite, but knots\[0, 2\] is nan", np.array([0, 1, np.nan, 2]), 1),
        (TypeError, "knots must hold real numbers, but its dtype is complex128", np.arange(8) * 1j, 3),
        (ValueError, r"it has shape \(1, 1, 8\); use knots\[None\] for one input", np.arange(8.0)[None], 3),
    ],
)
def test_bad_knots_and_degrees(error, message, knots, degree):
    with pytest.raises(error, match=message):
        BSpline(knots[None], degree)


def test_one_row_of_knots_needs_its_axis():
    with pytest.raises(
        ValueError, match=r"knots must have shape \(inputs, knots\), but it has shape \(8,\); use knots\[None\]"
    ):
        BSpline(np.arange(8.0), 3)


def test_a_bad_row_is_named():
    with pytest.raises(ValueError, match="row 1 has 3 before 2"):
        BSpline([[0, 1, 2, 3], [0, 3, 2, 4]], 1)


def test_outside_is_one_of_four_words():
    with pytest.raises(ValueError, match="outside must be one of 'zero', 'linear', 'clamp', 'error', but it is 'nan'"):
        BSpline.uniform(1, 5, 3, outside="nan")


@pytest.mark.parametrize(
    "error, message, options",
    [
        (ValueError, "inputs must be at least 1, but it is 0", {"inputs": 0}),
        (ValueError, "intervals must be from 1 to 10000000, but it is 0", {"intervals": 0}),
        (TypeError, "intervals must be an integer, but it is 2.5", {"intervals": 2.5}),
        (ValueError, "degree must be from 0 to 15, but it is 99", {"degree": 99}),
        (ValueError, "low < high for every input, but got low = .*1.* high = .*-1", {"low": 1, "high": -1}),
        (ValueError, "the domain must have finite low < high", {"low": 0, "high": np.inf}),
        (ValueError, "the domain must have finite low < high", {"low": np.nan}),
    ],
)
def test_bad_uniform_knots(error, message, options):
    with pytest.raises(error, match=message):
        BSpline.uniform(**{"inputs": 2, "intervals": 5, "degree": 3} | options)


# -------------------------------------------------------------------------------------------------- B-splines: promises


def test_the_sizes_of_a_basis():
    basis = BSpline.uniform(2, 5, 3, low=[0, -1], high=[1, 3])
    assert (basis.size, basis.window, basis.inputs, basis.intervals) == (8, 4, 2, 5)
    assert basis.knots.shape == (2, 12)
    assert_array_equal(basis.domain, [[0, 1], [-1, 3]])
    assert BSpline(clamped(2, 0, 0), 2).intervals == 3  # the empty one between the double knot counts


def test_the_callers_knots_stay_his():
    knots = np.arange(8.0)[None]
    basis = BSpline(knots, 3)
    knots[0, 0] = -9
    assert basis.knots[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        basis.knots[0, 0] = 1


@pytest.mark.parametrize("low, high", [(-1, 1), (0, 0.1), (-np.pi, np.pi), (-1.56, -0.48), (1e6, 1e6 + 1)])
def test_uniform_knots_meet_the_domain_exactly_and_nest(low, high):
    """Both ends are the numbers given, and knot i is knot 2i of half the spacing, bit for bit."""
    for degree in (0, 1, 3, 6):
        for intervals in (1, 3, 5, 11, 12, 47):
            coarse, fine = (BSpline.uniform(1, n, degree, low, high).knots[0] for n in (intervals, 2 * intervals))
            assert_array_equal(BSpline.uniform(1, intervals, degree, low, high, "error").domain, [[low, high]])
            reach = degree // 2  # exterior knots of the coarse row that the fine one also has
            assert_array_equal(coarse[degree - reach : degree + intervals + reach + 1], fine[degree % 2 :: 2])


def test_the_ends_of_the_domain_are_inside():
    basis = BSpline.uniform(1, 47, 3, -1.5593707324734627, -0.4791747529439452, "error")
    assert_allclose(basis.dense(np.array([[-1.5593707324734627], [-0.4791747529439452]])).sum(-1), 1)


@pytest.mark.parametrize("degree", [0, 1, 3, 7])
@pytest.mark.parametrize("intervals", [1, 7, 1000])
@pytest.mark.parametrize("low, high", [(-1, 1), (100.1, 100.3), (-1e-3, 1e-4)])
def test_uniform_rows_are_recognised(degree, intervals, low, high):
    basis = BSpline.uniform(2, intervals, degree, low, high)
    assert_allclose(basis.steps, (high - low) / intervals, rtol=1e-9)


def test_rows_that_are_not_uniform_are_recognised():
    uniform = np.arange(12.0)
    rows = np.stack([uniform, uniform**1.001, np.where(uniform == 5, 5 + 1e-9, uniform), uniform * 0.1])
    assert_allclose(BSpline(rows, 3).steps, [1, 0, 0, 0.1])
    assert_array_equal(BSpline(clamped(3, 0), 3).steps, [0])


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("basis", [BSpline.uniform(2, 5, 3), BSpline(np.repeat(clamped(2, -0.5, 0, 0), 2, 0), 2)])
def test_dense_puts_the_window_in_its_place(basis, order):
    x = np.random.default_rng(0).uniform(-1, 1, (30, 2))
    first, values = basis.derivatives(x, order)
    assert first.shape == x.shape and values.shape == (order + 1, 30, 2, basis.window)
    assert first.min() >= 0 and first.max() <= basis.size - basis.window
    dense = basis.dense(x, order)
    assert dense.shape == (30, 2, basis.size)
    for n, p in np.ndindex(x.shape):
        window = slice(first[n, p], first[n, p] + basis.window)
        assert_array_equal(dense[n, p, window], values[order, n, p])
        assert not np.delete(dense[n, p], np.r_[window]).any()
    assert_allclose(dense.sum(-1), float(order == 0), atol=1e-11)


def test_there_are_three_derivatives():
    for run in (BSpline.uniform(1, 5, 6).derivatives, BSpline.uniform(1, 5, 6).dense):
        with pytest.raises(ValueError, match="order must be from 0 to 3, but it is 4"):
            run(X, 4)


def test_float32_points_give_float32_values():
    x = X.astype(np.float32)
    for basis in (BSpline.uniform(1, 5, 3), Chebyshev(4), MinMax([-3.0], [3.0]), *BASE_FUNCTIONS.values()):
        assert basis.derivatives(x, 3)[1].dtype == np.float32
    constant = Pointwise("two", (lambda x: 2.0, lambda x: 0))
    assert constant.derivatives(x, 1)[1].dtype == np.float32


def test_outside_error_names_the_point_and_the_way_out():
    basis = BSpline.uniform(2, 5, 3, [-1, 0], 1, "error")
    basis.derivatives(np.array([[-1.0, 0], [1, 1]]), 0)
    with pytest.raises(ValueError, match=r'x\[1, 1\] = -0.5 lies outside the domain \[0, 1\] .*outside="linear"'):
        basis.derivatives(np.array([[0.5, 0.5], [0.5, -0.5]]), 0)


def test_outside_error_holds_on_every_path():
    net = KAN((spline_layer(2, 3, BSpline.uniform(2, 5, 3, outside="error")),))
    theta, x = net.init(), np.array([[0.0, 1.5]])
    for run in (net, net.gradient, net.jacobian):
        with pytest.raises(ValueError, match=r"x\[0, 1\] = 1.5 lies outside the domain \[-1, 1\]"):
            run(theta, x)


# -------------------------------------------------------------------------------------------------- pointwise functions


@pytest.mark.parametrize("f", BASE_FUNCTIONS.values(), ids=lambda f: f.name)
def test_base_functions_and_their_derivatives(f):
    """Each derivative against central differences of the one below, Richardson-extrapolated: error O(h^4)."""
    first, values = f.derivatives(X, 3)
    assert not first.any() and values.shape == (4, *X.shape, 1)
    value = lambda m, x: f.derivatives(x, m)[1][m]
    h = 1e-3
    central = lambda m, h: (value(m, X + h) - value(m, X - h)) / (2 * h)
    for m in range(3):
        assert_allclose(values[m + 1], (4 * central(m, h) - central(m, 2 * h)) / 3, atol=1e-10)


def test_base_function_values():
    expected = {
        "silu": X / (1 + np.exp(-X)),
        "identity": X,
        "zero": 0 * X,
        "tanh": np.tanh(X),
        "sin": np.sin(X),
        "sigmoid": 1 / (1 + np.exp(-X)),
    }
    assert set(BASE_FUNCTIONS) == set(expected)
    for name, f in BASE_FUNCTIONS.items():
        assert_allclose(f.derivatives(X, 0)[1][0, ..., 0], expected[name], atol=1e-15)


@pytest.mark.parametrize("f", BASE_FUNCTIONS.values(), ids=lambda f: f.name)
def test_base_functions_stay_finite_far_away(f):
    values = f.derivatives(np.array([[-1e4, 1e4, -800, 800]]), 3)[1]
    assert np.isfinite(values).all()


def test_a_users_function_needs_as_many_derivatives_as_are_used():
    square = Pointwise("square", (np.square, lambda x: 2 * x))
    assert_array_equal(square.derivatives(X, 1)[1][..., 0], [X**2, 2 * X])
    with pytest.raises(
        ValueError, match="'square' has derivatives up to order 1, but order 2 is needed here; give it one"
    ):
        square.derivatives(X, 2)
    net = kan([1, 2, 1], base=square)
    theta = net.init()
    assert net.jacobian(theta, X).shape == (len(X), 1, net.size)
    with pytest.raises(ValueError, match="order 2 is needed"):
        net.hessian(theta, X)


def test_constants_are_functions_too():
    affine = Pointwise("affine", (lambda x: 3 * x + 1, lambda x: 3.0, lambda x: 0))
    assert_array_equal(affine.derivatives(X, 2)[1][..., 0], [3 * X + 1, np.full_like(X, 3), 0 * X])


@pytest.mark.parametrize("functions", [np.sin, "sin", (np.sin, 2), None, {np.sin}])
def test_functions_are_a_tuple_of_callables(functions):
    with pytest.raises(
        TypeError, match=r"functions of 'f' must be a tuple of callables \(f, f', f'', f'''\), but it is"
    ):
        Pointwise("f", functions)


# ----------------------------------------------------------------------------------------------------------- input maps


def test_minmax_maps_each_input_onto_the_unit_box():
    low, high = np.array([0.0, -5]), np.array([2.0, -4])
    _, values = MinMax(low, high).derivatives(np.array([[0.0, -5], [2, -4], [1, -4.25]]), 3)
    assert_array_equal(values[0, ..., 0], [[-1, -1], [1, 1], [0, 0.5]])
    assert_array_equal(values[1, ..., 0], np.tile([1.0, 2], (3, 1)))
    assert not values[2:].any()


@pytest.mark.parametrize("low, high", [([0, 1], [1, 1]), ([0], [1, 2]), ([[0]], [[1]]), ([1], [0])])
def test_minmax_refuses_constant_inputs_and_other_shapes(low, high):
    with pytest.raises(
        ValueError, match="low and high must be vectors of one length with low < high.*drop constant inputs"
    ):
        MinMax(low, high)


def test_minmax_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match=r"high must be finite, but high\[0\] is inf"):
        MinMax([0], [np.inf])


# ------------------------------------------------------------------------------------------------------------ Chebyshev


def test_chebyshev_values_are_those_of_numpy():
    _, values = Chebyshev(12).derivatives(X, 0)
    assert_allclose(values[0, :, 0], chebyshev.chebvander(np.tanh(X[:, 0]), 12), atol=1e-13)


def test_chebyshev_derivatives_follow_the_chain_rule():
    """With s = tanh x, s' = 1 - s^2, s'' = -2 s s', s''' = -2 s'^2 - 2 s s'' (Faa di Bruno to order three)."""
    degree = 8
    s = np.tanh(X[:, 0])[:, None]
    s1 = 1 - s**2
    s2 = -2 * s * s1
    s3 = -2 * s1**2 - 2 * s * s2
    T1, T2, T3 = (
        np.stack([chebyshev.chebval(s[:, 0], chebyshev.chebder(c, m)) for c in np.eye(degree + 1)], -1)
        for m in (1, 2, 3)
    )
    _, values = Chebyshev(degree).derivatives(X, 3)
    expected = [T1 * s1, T2 * s1**2 + T1 * s2, T3 * s1**3 + 3 * T2 * s1 * s2 + T1 * s3]
    for m, derivative in enumerate(expected, 1):
        assert_allclose(values[m, :, 0], derivative, atol=1e-13 * np.abs(derivative).max())


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_keep_their_digits_where_functions_saturate(name, dtype):
    """tanh' = 1/cosh^2 and sigmoid' = 1/(2 cosh(x/2))^2 relative to themselves, where 1 - tanh^2 is all rounding."""
    x = np.array([[-20.0, -8, -3, 0, 3, 8, 20]], dtype).T
    exact = 1 / np.cosh(x.astype(float)) ** 2 if name == "tanh" else 1 / (2 * np.cosh(x.astype(float) / 2)) ** 2
    found = BASE_FUNCTIONS[name].derivatives(x, 1)[1][1, ..., 0]
    assert found.dtype == dtype
    assert_allclose(found, exact, rtol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chebyshev_stays_finite_where_tanh_saturates(dtype):
    """Ledger B16: arccos of a saturated tanh has no finite slope; the recurrence's tends to zero."""
    x = np.array([[8.0], [10], [20], [100], [-8], [-10], [-1e4]], dtype)
    _, values = Chebyshev(6).derivatives(x, 3)
    assert np.isfinite(values).all()
    signs = np.sign(x) ** np.arange(7)
    assert_allclose(values[0, :, 0], signs, atol=1e-4)
    slopes = values[1, :, 0] * signs * np.sign(x)  # T_j'(1) = j^2 > 0, so each slope has the sign of an outward growth
    assert (slopes >= 0).all() and slopes.max() < 36 * 4 * np.exp(-2 * 7.9)
    assert_allclose(values[1:, 3, 0], 0, atol=1e-80)  # e^-200 at x = 100


def test_chebyshev_degrees():
    basis = Chebyshev(0)
    assert basis.size == basis.window == 1
    assert_array_equal(basis.derivatives(X, 1)[1][..., 0], [np.ones_like(X), np.zeros_like(X)])
    for degree, error in ((-1, ValueError), (1001, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="degree must be"):
            Chebyshev(degree)


def test_chebyshev_networks_run():
    layers = tuple(spline_layer(p, q, Chebyshev(4), base=None) for p, q in ((2, 3), (3, 1)))
    net = KAN(layers)
    assert net.size == 2 * 3 * 5 + 3 * 5
    assert np.isfinite(net.hessian(net.init(), 50 * np.random.default_rng(0).normal(size=(9, 2)))).all()


def test_every_basis_states_its_window():
    for basis in (BSpline.uniform(1, 4, 2), Chebyshev(3), bases.silu, MinMax([-3], [3])):
        first, values = basis.derivatives(X, 2)
        assert values.shape == (3, len(X), 1, basis.window) and basis.window <= basis.size
        assert (first >= 0).all() and (first + basis.window <= basis.size).all()
