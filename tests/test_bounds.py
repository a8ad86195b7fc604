"""Certified bounds contain what they must: values, gradients, quotients of differences, rounding errors; and are narrow."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import bases, bounds, lotra, objectives, optimize
from kanref.bases import BSpline, Chebyshev, MinMax
from kanref.data.toys import SCALING
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.intervals import Interval
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.terms import Linear
from kanref.weights import Full


def uneven(P, Q, seed, outside):
    rng = np.random.default_rng(seed)
    knots = np.sort(rng.uniform(-1.4, 1.4, (P, 12)))
    knots[:, 5] = knots[:, 6]  # a double knot
    return spline_layer(P, Q, BSpline(knots, 3, outside))


NETS = {
    "cubic": lambda: kan([2, 5, 1], intervals=5),
    "linear outside": lambda: kan([2, 5, 1], intervals=3, outside="linear"),
    "clamped outside, quadratic, deep": lambda: kan([3, 4, 4, 2], intervals=4, degree=2, outside="clamp"),
    "hats": lambda: kan([2, 4, 1], intervals=5, degree=1, base=None),
    "steps": lambda: kan([1, 3, 1], intervals=5, degree=0, base="identity"),
    "quintic": lambda: kan([2, 3, 1], intervals=2, degree=5, base="tanh"),
    "products, affine": lambda: kan([2, [2, [2, 3]], 1], affine=("subnode_scale", "subnode_bias", "node_scale", "node_bias")),
    "maps and biases": lambda: kan([2, 6, 1], inputs=MinMax([-2, -1], [2, 3]), normalise="tanh", bias=True, outside="linear"),
    "sigmoid": lambda: kan([2, 3, 1], inputs="sigmoid", normalise="sigmoid", base="sigmoid"),
    "linear first": lambda: kan([2, 3, 1], first="linear", base="zero"),
    "uneven, zero outside": lambda: KAN((uneven(2, 3, 0, "zero"), uneven(3, 1, 1, "zero"))),
    "uneven, clamped": lambda: KAN((uneven(2, 3, 2, "clamp"), uneven(3, 1, 3, "clamp"))),
}
SAMPLES = 4000


def case(name, seed=0):
    """A network, theta with coefficients of size one, a box that reaches out of the knots, points in it, corners among them."""
    net, rng = NETS[name](), np.random.default_rng(seed)
    theta = net.init(seed) + rng.normal(0, 0.5, net.size)
    box = np.sort(rng.uniform(-1.6, 1.6, (net.inputs, 2)))
    x = rng.uniform(*box.T, (SAMPLES, net.inputs))
    corners = np.array(np.meshgrid(*box)).reshape(net.inputs, -1).T
    return net, theta, box, np.concatenate([corners, x])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETS)
def test_ranges_contain_what_is_sampled(name, seed):
    net, theta, box, x = case(name, seed)
    for boxes in (1, 300):
        low, high = bounds.output_range(net, theta, box, boxes)
        y = net(theta, x)
        assert (low <= y).all() and (y <= high).all()
        low, high = bounds.gradient_range(net, theta, box, boxes)
        g = net.gradient(theta, x)
        assert (low <= g).all() and (g <= high).all()


@pytest.mark.parametrize("name", NETS)
def test_ranges_contain_a_million_outputs(name):
    net, theta, box, _ = case(name, seed=4)
    low, high = bounds.output_range(net, theta, box)
    y = net(theta, np.random.default_rng(5).uniform(*box.T, (1_000_000, net.inputs)))
    assert (low <= y).all() and (y <= high).all()


@pytest.mark.parametrize("name", NETS)
def test_lipschitz_constants_hold_between_any_two_points(name):
    net, theta, box, x = case(name)
    L = bounds.lipschitz(net, theta, box, 300)
    near = np.clip(x + np.random.default_rng(1).normal(0, 1e-3, x.shape), *box.T)
    for other in (near, x[::-1]):
        apart = np.linalg.norm(other - x, axis=1)
        moved = np.linalg.norm(net(theta, other) - net(theta, x), axis=1)
        assert (moved[apart > 0] <= L * apart[apart > 0] + 1e-12).all()
    assert np.isinf(L) == (name == "steps")


def test_steps_have_finite_ranges_and_jump_to_zero_at_their_ends():
    net = KAN((Layer({"spline": Linear(BSpline(np.array([[-1.0, 0, 1]]), 0), Full((1, 1, 2)))}),))
    theta = np.array([1.0, 2.0])
    for box, low, high in (([[-0.5, 0.5]], 1, 2), ([[0.5, 1.5]], 0, 2), ([[0.5, 0.9]], 2, 2)):
        found, jump = np.ravel(bounds.output_range(net, theta, box)), high - low  # x may be rounded across it
        assert low - jump - 1e-12 <= found[0] <= low and high <= found[1] <= high + jump + 1e-12
    assert np.isinf(bounds.lipschitz(net, theta, [[0.5, 1.5]]))
    assert bounds.lipschitz(net, theta, [[0.5, 0.9]]) < 1e-12
    error = bounds.rounding_errors(net, theta, [[0.5], [0.0], [1.0]])
    assert error[0] < 1e-5 and 1 <= error[1] < 1.001 and 2 <= error[2] < 2.001


def test_rounding_errors_at_points_hold_and_are_no_worse_than_over_their_box():
    for name in ("cubic", "products, affine", "maps and biases"):
        net, theta, box, x = case(name)
        x, few = x[:200].astype(np.float32).astype(float), theta.astype(np.float32)
        error = bounds.rounding_errors(net, few, x)
        assert (np.abs(net(few, x.astype(np.float32)) - net(few.astype(float), x)) <= error).all()
        hull = np.stack([x.min(0), x.max(0)], 1)
        assert (error.max(0) <= bounds.rounding_error(net, few, hull)).all()
    with pytest.raises(ValueError, match=r"x must have shape \(N, 2\), but it has shape \(3,\)"):
        bounds.rounding_errors(net, theta, [1, 2, 3])


@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
@pytest.mark.parametrize("centre", [0.0, 1000.0])
@pytest.mark.parametrize("kind", ["uniform", "random", "close"])
def test_rounding_errors_hold_on_any_knots_and_far_away(kind, centre, outside):
    """Slopes are rounded and go on to 10^4; knots that float32 does not have are rounded, some of them onto each other."""
    for seed in range(12):
        rng, degree = np.random.default_rng(seed), 1 + seed % 5
        t = np.linspace(-2, 2, 2 * degree + 3) if kind == "uniform" else np.sort(rng.uniform(-2, 2, 2 * degree + 3))
        t[degree + 1 :] -= (t[degree + 1] - t[degree] - 1e-6) * (kind == "close")
        net = KAN((spline_layer(1, 3, BSpline(t[None] + centre, degree, outside)),))
        theta = net.init(seed) + rng.normal(0, 1, net.size)
        x = np.concatenate([t + centre, rng.uniform(-3, 3, 200) + centre, [-1e4, 0, 1e4]])[:, None]
        error = bounds.rounding_errors(net, theta, x)
        few = net(theta.astype(np.float32), x.astype(np.float32))
        assert (np.abs(few - net(theta, x)) <= error).all(), seed


def test_a_sum_that_leaves_the_range_has_no_bound():
    net = KAN((Layer({"spline": Linear(BSpline(np.array([[-1.0, 0, 1, 2]]), 1, "linear"), Full((1, 1, 2)))}),) * 2)
    low, high = ([1e15, -1e15, 1e10, -1e10], [1e-30, 1e30, 0, 1]), ([1e25, -1e25, 1e20, -1e20], [0, 1e40, 0, 1])
    for thetas, finite in ((low, True), (high, False)):
        for theta in thetas:
            error = bounds.rounding_errors(net, np.array(theta), [[0.25]])
            assert np.isfinite(error).all() == finite
            assert np.isfinite(bounds.rounding_errors(net, np.array(theta), [[0.25]], np.float64)).all()


def test_a_jump_of_the_value_makes_the_constant_infinite_only_where_it_is():
    knots = np.array([[-1.0, -1, -1, 0, 1, 1, 1]])  # clamped: with zero outside, a jump at both ends
    net = KAN((Layer({"spline": Linear(BSpline(knots, 2), Full((1, 1, 4)))}),))
    theta = np.array([1.0, 0.5, 0.2, -1.0])
    assert np.isinf(bounds.lipschitz(net, theta, [[0.0, 1.5]]))
    assert bounds.lipschitz(net, theta, [[-0.5, 0.5]]) < 3


@pytest.mark.parametrize("kind", lotra.KINDS)
def test_rounding_errors_of_weights_that_cancel(kind):
    """An adapter that takes nearly all of its base away: what is left is small, its rounding errors are not."""
    net = kan([2, 4, 1], intervals=3, base=None)
    ranks = {0: (4, 2, 6), 1: (1, 4, 4)} if kind == "tucker" else {0: 4, 1: 1}
    net, theta = lotra.adapt(net, net.init(1), ranks, kind=kind)
    for l, layer in enumerate(net.layers):
        weights = layer.terms["spline"].weights
        for name, a in weights.adapter.start(-(1 - 1e-5) * weights.base).items():
            net.split(theta)[f"{l}.spline.{name}"][:] = a
    box, x = [[-1, 1]] * 2, np.random.default_rng(0).uniform(-1, 1, (SAMPLES, 2))
    exact, few = net(theta, x), theta.astype(np.float32)
    y = net(few, x.astype(np.float32))
    apart = np.abs(y - exact).max()
    assert 1e-3 * np.abs(exact).max() < apart <= bounds.rounding_error(net, theta, box, boxes=100)[0]
    low, high = bounds.output_range(net, few, box, 100)
    assert (low <= y).all() and (y <= high).all()


@pytest.mark.parametrize("name", NETS)
def test_rounding_errors_are_within_their_bound(name):
    net, theta, box, x = case(name)
    error = bounds.rounding_error(net, theta, box, boxes=300)
    exact, low = net(theta, x), net(theta.astype(np.float32), x.astype(np.float32))
    apart = np.abs(low - exact).max(0)
    assert (apart <= error).all()
    if name != "steps":  # where rounding x moves it across a jump
        assert (error <= 0.02 * (1 + np.abs(exact).max())).all()
        assert (bounds.rounding_error(net, theta, box, np.float64, 300) <= 2.1e-9 * error).all()


def test_ranges_of_float32_networks_contain_float32_outputs():
    net, theta, box, x = case("cubic")
    theta = theta.astype(np.float32)
    low, high = bounds.output_range(net, theta, box)
    y = net(theta, x.astype(np.float32))
    assert y.dtype == np.float32 and (low <= y).all() and (y <= high).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("target", ["staircase", "product"])
def test_bounds_of_trained_networks_are_narrow(target, seed):
    """At most 10 times the range of a million samples is demanded; it is within 1.1 here."""
    X, y = SCALING[target].sample(500, np.random.default_rng(seed))
    net = kan([2, 5, 1], intervals=5)
    theta = optimize.lbfgs(objectives.mse(net, X, y[:, None]), net.init(seed), steps=60).theta
    box = np.array(SCALING[target].ranges, float)
    low, high = bounds.output_range(net, theta, box)
    f = net(theta, np.random.default_rng(9).uniform(*box.T, (1_000_000, 2)))
    assert low <= f.min() and f.max() <= high
    assert high - low <= 1.1 * (f.max() - f.min())


def test_more_boxes_are_tighter():
    net, theta, box, _ = case("cubic")
    widths = [np.subtract(*bounds.output_range(net, theta, box, boxes)[::-1]) for boxes in (1, 16, 256, 4096)]
    assert (np.diff(np.ravel(widths)) < 0).all()


def test_a_point_has_its_value():
    net, theta, _, _ = case("cubic")
    low, high = bounds.output_range(net, theta, [[0.3, 0.3], [-0.2, -0.2]])
    value = net(theta, [[0.3, -0.2]])[0]
    assert (low <= value).all() and (value <= high).all()
    assert_allclose(high - low, 0, atol=1e-11)


def test_adapters_and_slim_networks_have_bounds():
    net, theta, box, x = case("cubic")
    adapted, vector = lotra.adapt(net, theta, 2)
    vector = vector + np.random.default_rng(0).normal(0, 0.1, vector.size)
    low, high = bounds.output_range(adapted, vector, box)
    y = adapted(vector, x)
    assert (low <= y).all() and (y <= high).all()


# ------------------------------------------------------------------------------------------------------------ intervals


def test_interval_operations_contain_exact_results():
    rng = np.random.default_rng(0)
    a, b = (Interval(*np.sort(rng.normal(size=(2, 200)), 0)) for _ in range(2))
    exact = lambda i, k: (Fraction(float(i.low[k])), Fraction(float(i.high[k])))
    for k in range(200):
        (a0, a1), (b0, b1) = exact(a, k), exact(b, k)
        products = [p * q for p in (a0, a1) for q in (b0, b1)]
        wanted = {"+": (a0 + b0, a1 + b1), "-": (a0 - b1, a1 - b0), "*": (min(products), max(products))}
        for sign, found in (("+", a + b), ("-", a - b), ("*", a * b)):
            low, high = wanted[sign]
            assert Fraction(float(found.low[k])) <= low and high <= Fraction(float(found.high[k]))
            assert float(found.high[k] - found.low[k]) <= float(high - low) * (1 + 1e-14) + 1e-14
    total = a.sum(0)
    assert Fraction(float(total.low)) <= sum(Fraction(float(x)) for x in a.low)
    assert sum(Fraction(float(x)) for x in a.high) <= Fraction(float(total.high))


@pytest.mark.parametrize("name", bounds.STATIONARY)
@pytest.mark.parametrize("order", [0, 1])
def test_ranges_of_base_functions(name, order):
    rng = np.random.default_rng(1)
    x = Interval(*np.sort(rng.normal(0, 3, (2, 300)), 0))
    found = bounds.pointwise(bases.BASE_FUNCTIONS[name], x, order)
    inner = bases.BASE_FUNCTIONS[name].functions[order](np.linspace(x.low, x.high, 4001))
    assert (found.low <= inner.min(0)).all() and (inner.max(0) <= found.high).all()
    assert_allclose(found.low, inner.min(0), atol=1e-5)
    assert_allclose(found.high, inner.max(0), atol=1e-5)


# ---------------------------------------------------------------------------------------------------------- bad input


def test_messages():
    net, theta, box, _ = case("cubic")
    with pytest.raises(ValueError, match=r"box must be \(low, high\) for each of 2 inputs"):
        bounds.output_range(net, theta, [[0, 1]])
    with pytest.raises(ValueError, match=r"box must be \(low, high\)"):
        bounds.output_range(net, theta, [[1, 0], [0, 1]])
    with pytest.raises(ValueError, match="theta must hold"):
        bounds.lipschitz(net, theta[:-1], box)
    with pytest.raises(ValueError, match="outside the domain"):
        strict = kan([2, 1], outside="error")
        bounds.output_range(strict, strict.init(0), [[-1, 1], [0, 2]])
    sine = kan([1, 1], base="sin")
    with pytest.raises(TypeError, match="no bounds are known for the function 'sin'"):
        bounds.output_range(sine, sine.init(0), [[0, 1]])
    chebyshev = KAN((Layer({"chebyshev": Linear(Chebyshev(3), Full((1, 1, 4)))}),))
    with pytest.raises(TypeError, match="no bounds are known for the term 'chebyshev', Chebyshev"):
        bounds.output_range(chebyshev, chebyshev.init(0), [[0, 1]])
    formula = KAN((Layer({"formula": Symbolic((1, 1), ((0, 0, LIBRARY["exp"]),))}),))
    for asked in (bounds.output_range, bounds.lipschitz, bounds.rounding_error):
        with pytest.raises(TypeError, match="no bounds are known for the term 'formula', Symbolic"):
            asked(formula, np.ones(4), [[0, 1]])
