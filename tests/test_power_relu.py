"""The change of basis between B-splines and power ReLUs: exact in rationals, accurate to rounding in floats."""

import math
from fractions import Fraction as F

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose, assert_array_equal

from kanref import spec
from kanref.bases import BSpline
from kanref.power_relu import (
    PowerReLU,
    bands,
    change_of_basis,
    differences,
    inverse,
    matrices,
    meant,
    spacing,
    sums,
    to_relu,
    to_splines,
)

DEGREES = range(6)  # orders r = 1..6
UNEVEN = [F(a, b) for a, b in zip((1, 3, 2, 5, 1, 7, 2, 3, 4, 1, 5, 2, 3, 8, 1, 3, 2), (2, 4, 7, 3, 5, 4, 9, 2) * 3)]


def rows(kind, degree, intervals=4):
    """Rational knots: -1 + 2 i/n, continued, or steps of many sizes."""
    if kind == "uniform":
        return [F(2 * i, intervals) - 1 for i in range(-degree, intervals + degree + 1)]
    t = [F(-2)]
    for step in UNEVEN[: intervals + 2 * degree]:
        t.append(t[-1] + step)
    return t


every_kind = pytest.mark.parametrize("kind", ["uniform", "uneven"])
every_degree = pytest.mark.parametrize("degree", DEGREES)


def splines(x, t, degree):
    return np.array(spec.bspline(x, t, degree), object)


def powers(x, t, degree):
    h, K = (t[-1] - t[0]) / (len(t) - 1), len(t) - degree - 1
    return np.array([((x - k) / h) ** degree if x >= k else F(0) for k in t[:K]], object)


# ------------------------------------------------------------------------------------------------------------ exactly


@every_kind
@every_degree
def test_splines_are_sums_of_power_relus_and_back_in_rationals(kind, degree):
    """At knots, between them, on the domain and left of it; not to the right of it, where powers grow."""
    t = rows(kind, degree)
    A, A_inverse = change_of_basis(t, degree), inverse(t, degree)
    end = t[len(t) - degree - 1]
    points = [*(k for k in t if k <= end), *(t[0] - 1 + F(j, 37) * (end - t[0] + 1) for j in range(38))]
    for x in points:
        B, psi = splines(x, t, degree), powers(x, t, degree)
        assert (B == A @ psi).all() and (psi == A_inverse @ B).all()
    beyond = end + F(1, 7)
    if degree:
        assert (splines(beyond, t, degree) != A @ powers(beyond, t, degree)).any()


@every_kind
@every_degree
def test_the_inverse_is_exact(kind, degree):
    A, A_inverse = (f(rows(kind, degree), degree) for f in (change_of_basis, inverse))
    identity = np.eye(len(A), dtype=int)
    assert (A @ A_inverse == identity).all() and (A_inverse @ A == identity).all()


@every_kind
@every_degree
def test_the_recursion_is_the_closed_form(kind, degree):
    """A[i,i+s] = h^d (t_{i+d+1} - t_i) / prod_{l /= s} (t_{i+l} - t_{i+s}), outside the square too, and 0 elsewhere."""
    t = rows(kind, degree)
    h, K = (t[-1] - t[0]) / (len(t) - 1), len(t) - degree - 1
    D, A = bands(t, degree), change_of_basis(t, degree)
    for i in range(K):
        for s in range(degree + 2):
            product = math.prod(t[i + l] - t[i + s] for l in range(degree + 2) if l != s)
            assert D[i, s] == h**degree * (t[i + degree + 1] - t[i]) / product
    assert all(A[i, j] == (D[i, j - i] if 0 <= j - i <= degree + 1 else 0) for i in range(K) for j in range(K))


@every_degree
def test_uniform_knots_have_binomials(degree):
    t, order = rows("uniform", degree), degree + 1
    A, A_inverse = change_of_basis(t, degree), inverse(t, degree)
    K, factorial = len(A), math.factorial(degree)
    for i in range(K):
        for j in range(i, K):
            binomial = (-1) ** (j - i) * math.comb(order, j - i)
            assert A[i, j] == F(binomial, factorial) and differences(K, order)[i, j] == binomial
            binomial = math.comb(j - i + degree, degree)
            assert A_inverse[i, j] == factorial * binomial and sums(K, order)[i, j] == binomial
    shift = np.eye(K) - np.eye(K, k=1)
    assert_array_equal(differences(K, order), np.linalg.matrix_power(shift, order))
    assert_array_equal(sums(K, order) @ differences(K, order), np.eye(K))


def test_hats_are_the_papers_rows():
    """[1/h_i, -(1/h_i + 1/h_{i+1}), 1/h_{i+1}] for psi without a scale."""
    t = rows("uneven", 1)
    h = [b - a for a, b in zip(t, t[1:])]
    scale = (t[-1] - t[0]) / (len(t) - 1)
    for i, row in enumerate(bands(t, 1) / scale):
        assert row.tolist() == [1 / h[i], -(1 / h[i] + 1 / h[i + 1]), 1 / h[i + 1]]


@every_degree
def test_sympy_rationals_serve_as_well(degree):
    t = [sympy.Rational(k.numerator, k.denominator) for k in rows("uneven", degree)]
    A = change_of_basis(t, degree)
    assert (A == change_of_basis(rows("uneven", degree), degree)).all()
    assert all(isinstance(entry, sympy.Rational) for entry in bands(t, degree).ravel())
    u = np.array([sympy.Rational(3 * k + 1, k + 2) for k in range(len(A))], object)
    assert (to_splines(to_relu(u, t, degree), t, degree) == u).all()


@every_kind
@every_degree
def test_weights_there_and_back_exactly(kind, degree):
    """w = A' u and u = A^-T w, with leading axes and a row of knots for every input."""
    t = rows(kind, degree)
    K = len(t) - degree - 1
    u = np.array([F(k * k % 17 - 8, k + 1) for k in range(6 * K)], object).reshape(3, 2, K)
    knots = np.array([t, [2 * k + 1 for k in t]], object)
    w = to_relu(u, knots, degree)
    assert (w[:, 0] == u[:, 0] @ change_of_basis(t, degree)).all()
    assert (w == u @ change_of_basis(t, degree)).all()  # A does not change with affine maps of the knots
    assert (to_splines(w, knots, degree) == u).all()


# ------------------------------------------------------------------------------------------------------------ in floats


@every_kind
@every_degree
def test_every_entry_is_accurate_to_rounding(kind, degree):
    """Neither form subtracts anything but knots: at most 3 ulps per degree, by entry, whatever the condition."""
    t = np.array(rows(kind, degree, 7), float)
    exact = [F(k) for k in t.tolist()]
    for f in (change_of_basis, inverse):
        found, wanted = f(t, degree), f(exact, degree)
        scale = np.where(wanted == 0, F(1), wanted)
        assert (np.abs((found - wanted.astype(float)) / scale.astype(float)) <= 3 * degree * 2.0**-52).all()


@pytest.mark.parametrize(
    ("order", "condition", "error"),
    [(1, 9.4, 0), (2, 88, 1.8e-15), (3, 790, 2.9e-14), (4, 6.8e3, 2e-13), (5, 5.7e4, 1.2e-12)],
)
def test_seven_intervals(order, condition, error):
    """Condition numbers, and errors of A psi in float64 within a factor of four of those known; also for random knots."""
    basis, rng = BSpline.uniform(1, 7, order - 1), np.random.default_rng(0)
    assert_allclose(np.linalg.cond(change_of_basis(basis.knots[0], order - 1)), condition, rtol=0.01)
    steps = rng.uniform(0.3, 1, len(basis.knots[0]))
    uneven = BSpline(np.cumsum(steps)[None] / 2 - 2, order - 1)
    for b, bound in ((basis, 4 * error), (uneven, 4e-11)):
        low, high = b.domain[0]
        x = np.linspace(low, high, 401)[:, None]
        psi = PowerReLU(b.knots, b.degree).derivatives(x, 0)[1][0, :, 0]
        assert np.abs(psi @ change_of_basis(b.knots[0], b.degree).T - b.dense(x)[:, 0]).max() <= bound


def test_conversion_in_floats_is_stable_and_inverse_conversion_as_good_as_the_condition():
    rng = np.random.default_rng(1)
    t = np.cumsum(rng.uniform(0.5, 1.5, (2, 27)), 1)
    u = rng.normal(size=(5, 2, 23))
    A, A_inverse = change_of_basis(t, 3), inverse(t, 3)
    w = to_relu(u, t, 3)
    assert_allclose(w, np.einsum("qpi,pij->qpj", u, A), atol=1e-14)
    reach = np.einsum("qpj,pji->qpi", np.abs(w), A_inverse)  # A^-1 is positive
    back = to_splines(w, t, 3)
    assert (np.abs(back - u) <= 30 * 2.0**-53 * reach).all()
    assert_allclose(back, np.einsum("qpj,pji->qpi", w, A_inverse), atol=1e-9)


def test_knots_as_meant():
    """Uniform to rounding: whole numbers for all inputs at once. One uneven row, and each row counts as it is."""
    basis = BSpline.uniform(3, 7, 2, low=[-1, 0, 5], high=[1, 0.1, 9])
    assert_array_equal(meant(basis), np.arange(12))
    A, A_inverse, f = matrices(basis)
    assert f == 2 and A.shape == (9, 9)
    assert_array_equal(A @ A_inverse, np.eye(9))
    knots = basis.knots.copy()
    knots[1, 3] += 1e-3
    assert_array_equal(meant(BSpline(knots, 2)), knots)
    A, A_inverse, f = matrices(BSpline(knots, 2))
    assert f == 1 and A.shape == A_inverse.shape == (3, 9, 9)
    assert_allclose(A[0], differences(9, 3) / 2, atol=1e-13)


# ------------------------------------------------------------------------------------------------------------ the basis


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_and_derivatives_are_those_of_the_splines(degree, dtype):
    rng = np.random.default_rng(2)
    splines = BSpline(np.cumsum(rng.uniform(0.5, 1.5, (2, 2 * degree + 6)), 1), degree)
    basis = PowerReLU(splines.knots, degree)
    assert (basis.size, basis.window, basis.inputs) == (splines.size, splines.size, 2)
    assert_array_equal(basis.domain, splines.domain)
    x = rng.uniform(splines.domain[:, 0] - 3, splines.domain[:, 1], (50, 2)).astype(dtype)
    first, values = basis.derivatives(x, 3)
    assert not first.any() and values.shape == (4, 50, 2, basis.size) and values.dtype == dtype
    A = change_of_basis(splines.knots, degree)
    tolerance = 2e4 * np.finfo(dtype).eps
    for m in range(4):
        B = splines.dense(x.astype(float), m)
        assert_allclose(
            np.einsum("pij,npj->npi", A, values[m]), B, atol=tolerance * max(1, np.abs(values[m]).max() / 100)
        )


def test_jumps_are_continuous_from_the_right():
    basis = PowerReLU([[0.0, 1, 2, 3, 4, 5]], 1)
    values = basis.derivatives(np.array([[1.0]]), 2)[1][:, 0, 0]
    assert_array_equal(values, [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])


def test_the_scale_is_the_mean_spacing():
    basis = PowerReLU([[0.0, 1, 3, 4, 7, 10]], 1)
    assert spacing(basis.knots) == 2
    assert_array_equal(basis.derivatives(np.array([[5.0]]), 0)[1][0, 0, 0], [2.5, 2, 1, 0.5])


def test_select():
    basis = PowerReLU(np.arange(6.0) * [[1], [2], [3]], 1)
    x = np.random.default_rng(3).uniform(0, 9, (4, 3))
    part = basis.select([2, 0]).derivatives(x[:, [2, 0]], 1)[1]
    assert_array_equal(part, basis.derivatives(x, 1)[1][:, :, [2, 0]])
    assert repr(basis) == "PowerReLU(degree=1)"


@pytest.mark.parametrize(
    ("knots", "degree", "message"),
    [
        (
            [0, 1, 1, 2, 3, 4],
            1,
            r"strictly increasing knots, but knots\[1\] = 1.0 is followed by 1.0; .* use distinct ones",
        ),
        ([[0, 1, 2, 3], [0, 1, 3, 2]], 1, r"knots\[1, 2\] = 3.0 is followed by 2.0"),
        ([F(0), F(1), F(1), F(2)], 1, r"knots\[1\] = 1 is followed by 1"),
        ([0, 1, 2], 1, r"degree 1 needs rows of at least 4 knots, but knots has shape \(3,\)"),
        ([0, 1, 2, np.nan], 1, r"knots must be finite, but knots\[3\] is nan"),
        ([0, 1, 2, 3], -1, "degree must be from 0 to 15, but it is -1"),
    ],
)
@pytest.mark.parametrize("function", [bands, change_of_basis, inverse, PowerReLU])
def test_knots_that_do_not_serve(function, knots, degree, message):
    with pytest.raises(ValueError, match=message):
        function(knots, degree)


@pytest.mark.parametrize(("convert", "name"), [(to_relu, "u"), (to_splines, "w")])
def test_weights_of_another_length(convert, name):
    for wrong in (np.ones((2, 3)), np.array(1.0)):
        with pytest.raises(ValueError, match=rf"{name} must have shape \(..., 4\) for these knots, but it has shape"):
            convert(wrong, np.arange(8.0), 3)


def test_rows_and_columns():
    with pytest.raises(ValueError, match=r"shape \(inputs, knots\), but it has shape \(6,\); use knots\[None\]"):
        PowerReLU(np.arange(6.0), 1)
    with pytest.raises(ValueError, match="x has 3 columns, but these power ReLUs have knots for 1 inputs"):
        PowerReLU(np.arange(6.0)[None], 1).derivatives(np.zeros((2, 3)), 0)
    with pytest.raises(ValueError, match="order must be from 0 to 3, but it is 4"):
        PowerReLU(np.arange(6.0)[None], 1).derivatives(np.zeros((2, 1)), 4)
