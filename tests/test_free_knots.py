"""Free knots: the cumulative softmax, its adjoint, how splines move with their knots, refinement that keeps the function."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import check, grids, objectives, optimize
from kanref.free_knots import LEAST, FreeKnots, shares
from kanref.multilevel import free_knots
from kanref.multilevel.nested import least_squares, nested
from kanref.multilevel.transfer import dyadic
from kanref.network import KAN, Layer, kan
from kanref.weights import Full, Masked, Tucker

OUTSIDE = ("zero", "linear", "clamp")


def term(outside="zero", weights=None, degree=3):
    return FreeKnots(weights or Full((3, 2, 5 + degree)), degree, np.array([-1.0, -2.0]), np.array([1.0, 1.5]), outside)


def network(outside="linear", degree=3, rng=None):
    """[2, 3, 1] with uneven free knots."""
    rng = rng or np.random.default_rng(1)
    layers = (Layer({"spline": FreeKnots(Full((Q, P, 4 + degree)), degree, -1.0, 1.0, outside)}) for P, Q in ((2, 3), (3, 1)))
    net = KAN(tuple(layers))
    return net, 0.7 * rng.normal(size=net.size)


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize(
    "weights", [None, Masked(Full((3, 2, 8)), [[1, 0], [0.5, 1], [1, 1]]), Tucker((3, 2, 8), (2, 2, 3))], ids=repr
)
def test_the_term_conforms(outside, weights):
    """Dot tests of both pullbacks with jets, rows, edges and selection, for points inside and outside the domain."""
    rng = np.random.default_rng(2)
    check.check_term(term(outside, weights), rng, rng.uniform(-2.2, 2.0, (7, 2)))


def test_uniform_knots_from_equal_spacing():
    t = term().knots(np.full((2, 5), 3.7))
    assert_allclose(t[0], np.linspace(-1 - 3 * 0.4, 1 + 3 * 0.4, 12), rtol=0, atol=1e-15)


def test_knots_stay_ordered_and_ends_stay():
    s = np.random.default_rng(3).normal(0, 1e3, (2, 5))  # a softmax of this underflows
    t = term().knots(s)
    assert (np.diff(t) > 0).all()
    assert_allclose(t[:, [3, 8]], [[-1, 1], [-2, 1.5]], rtol=0, atol=0)
    assert shares(s).min() >= LEAST / 5


def test_adjoint_of_the_cumulative_softmax():
    rng, kind = np.random.default_rng(4), term()
    s, s_dot, t_bar = rng.normal(size=(2, 5)), rng.normal(size=(2, 5)), rng.normal(size=(2, 12))
    t_dot = check.difference(lambda h: kind.knots(s + h * s_dot), 1e-3)
    assert_allclose((t_dot * t_bar).sum(), (s_dot * kind.knots_pullback(s, t_bar)).sum(), rtol=1e-10)


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_a_spline_moves_with_its_knots(degree):
    """The gradient with respect to spacing and weights against the definition's complex step, values only for low degrees."""
    rng = np.random.default_rng(5)
    net, theta = network(degree=degree, rng=rng)
    x, y = rng.uniform(-1.2, 1.2, (6, 2)), rng.normal(size=6)
    loss = objectives.mse(net, x, y)
    exact = check.complex_step(lambda theta: check.value(loss, theta), theta)
    assert check.relative(loss(theta)[1], exact) < 1e-13


def test_least_squares_rows_of_an_equation():
    """J'r of the residuals is half the gradient: rows of single samples add up, knots included."""
    rng = np.random.default_rng(6)
    net, theta = network(degree=4, rng=rng)
    loss = objectives.collocation(net, rng.uniform(-1, 1, (8, 2)), check.helmholtz)
    r, J = loss.residuals(theta)
    assert_allclose(2 * J.T @ r, loss(theta)[1], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("outside", ["linear", "clamp"])
def test_refinement_keeps_the_function_on_the_whole_line(outside):
    net, theta = network(outside)
    fine, theta_f = grids.refine(net, theta, times=3)
    x = np.random.default_rng(7).uniform(-2.5, 2.5, (200, 2))
    for coarse, refined in zip(net.derivatives(theta, x), fine.derivatives(theta_f, x)):
        assert_allclose(refined, coarse, rtol=0, atol=1e-12 * np.abs(coarse).max())
    knots = [n.layers[0].terms["spline"].knots(n.split(t)["0.spline.spacing"]) for n, t in ((net, theta), (fine, theta_f))]
    assert_allclose(knots[1][:, 3:-3:8], knots[0][:, 3:-3], rtol=0, atol=1e-14)  # midpoints of midpoints


def test_refinement_keeps_the_function_inside_if_it_ends_outside():
    rng = np.random.default_rng(8)
    net, _ = network("zero")
    net = KAN(net.layers[:1])
    theta = rng.normal(size=net.size)
    fine, theta_f = grids.refine(net, theta)
    x = rng.uniform(-1, 1, (100, 2))
    assert_allclose(fine(theta_f, x), net(theta, x), rtol=0, atol=1e-14)
    assert np.abs(fine(theta_f, x - 2.5) - net(theta, x - 2.5)).max() > 1e-3


def test_free_and_fixed_are_inverse():
    net = kan([2, 3, 1], intervals=5, base=None, outside="linear")
    theta, x = net.init(9), np.random.default_rng(9).uniform(-1.3, 1.3, (50, 2))
    loose, theta_l = free_knots.free(net, theta)
    assert loose.size == net.size + 5 * 5
    assert repr(loose).count("B-splines of degree 3 on 5 free intervals, outside: linear") == 2
    assert_allclose(loose(theta_l, x), net(theta, x), rtol=0, atol=1e-14)
    again, theta_a = free_knots.fixed(loose, theta_l)
    assert_allclose(theta_a, theta, rtol=0, atol=1e-14)
    assert_allclose(again.layers[0].terms["spline"].basis.knots, net.layers[0].terms["spline"].basis.knots, atol=1e-14)


def test_free_knots_find_a_front():
    """A front of width 1/50: six free intervals fit it better than forty-eight fixed ones."""
    x = np.linspace(-1, 1, 400)[:, None]
    y = np.tanh(50 * (x[:, 0] - 0.31))
    errors = {}
    for name, intervals in (("free", 6), ("fixed", 6), ("fine", 48)):
        net = kan([1, 1], intervals=intervals, base=None, outside="linear")
        theta = np.zeros(net.size)
        theta = optimize.levenberg_marquardt(objectives.mse(net, x, y).residuals, theta, steps=20).theta
        if name == "free":
            net, theta = free_knots.free(net, theta)
            theta = optimize.levenberg_marquardt(objectives.mse(net, x, y).residuals, theta, steps=200).theta
        errors[name] = objectives.mse(net, x, y).value(theta)
    assert errors["free"] < errors["fine"] < errors["fixed"] / 10


def test_nested_iteration_with_free_knots():
    """Losses fall over three levels, the transfers keep the function, and the restriction is the adjoint."""
    rng = np.random.default_rng(10)
    x = rng.uniform(-1, 1, (300, 2))
    y = np.tanh(20 * (x[:, 0] - 0.2)) + x[:, 1] ** 2
    net, theta = free_knots.free(net := kan([2, 1], intervals=3, base=None, outside="linear"), net.init(0))
    done = nested(net, theta, lambda net: objectives.mse(net, x, y), [least_squares(40)] * 3)
    first, second, third = (level.result for level in done.levels)
    assert third.value < second.value < first.value
    assert second.history.value[0] == pytest.approx(first.value, rel=1e-10)
    transfer = dyadic(net, theta=theta)
    v, w = rng.normal(size=net.size), rng.normal(size=transfer.fine.size)
    assert_allclose(transfer.prolong(v) @ w, v @ transfer.restrict(w), rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FreeKnots(Full((1, 1, 5)), 0, 0.0, 1.0), "degree must be from 1"),
        (lambda: FreeKnots(Full((1, 1, 3)), 3, 0.0, 1.0), "too few functions"),
        (lambda: FreeKnots(Full((1, 2, 6)), 3, [0.0, 1.0], 1.0), "finite low < high"),
        (lambda: FreeKnots(Full((1, 1, 6)), 3, 0.0, 1.0, "error"), "outside must be one of"),
        (lambda: free_knots.fixed(kan([1, 1]), kan([1, 1]).init(0)), "no free knots"),
        (lambda: dyadic(network()[0]), "depends on theta; give it"),
        (lambda: free_knots.free(*refined_nested()), "exterior knots"),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def refined_nested():
    """A network whose exterior knots are wider than the interval next to them."""
    from kanref.bases import BSpline
    from kanref.terms import Linear

    knots = np.array([[-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0]])
    net = KAN((Layer({"spline": Linear(BSpline(knots, 2), Full((1, 1, 5)))}),))
    return net, np.zeros(net.size)
