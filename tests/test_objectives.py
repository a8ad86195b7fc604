"""Objectives: values against plain formulas, gradients against Jacobians and differences, and what they refuse."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator
from scipy.special import expit, log_expit, logsumexp, softmax

from kanref import bases, objectives
from kanref.bases import BSpline
from kanref.network import KAN, Layer, kan
from kanref.nodes import Nodes
from kanref.objectives import collocation, cross_entropy, logistic, mae, minibatches, mse, weighted_sum
from kanref.terms import Linear
from kanref.weights import Full

RNG = np.random.default_rng(0)
N = 40
X = RNG.uniform(-1.2, 1.2, (N, 2))
ONE, THREE = kan([2, 3, 1], degree=5), kan([2, [1, 1], 3], degree=5, bias=True)
Y1, Y3 = RNG.normal(size=(N, 1)), RNG.normal(size=(N, 3))
LABELS, BITS = RNG.integers(0, 3, N), RNG.integers(0, 2, N)
SUPERVISED = {
    "mse": (mse(ONE, X, Y1), lambda f: ((f - Y1) ** 2).mean(), lambda f: 2 * (f - Y1) / f.size),
    "mse, 3": (mse(THREE, X, Y3), lambda f: ((f - Y3) ** 2).mean(), lambda f: 2 * (f - Y3) / f.size),
    "mae": (mae(THREE, X, Y3), lambda f: np.abs(f - Y3).mean(), lambda f: np.sign(f - Y3) / f.size),
    "cross-entropy": (
        cross_entropy(THREE, X, LABELS),
        lambda f: (logsumexp(f, 1) - f[np.arange(N), LABELS]).mean(),
        lambda f: (softmax(f, 1) - np.eye(3)[LABELS]) / N,
    ),
    "logistic": (
        logistic(ONE, X, BITS),
        lambda f: -np.where(BITS, log_expit(f[:, 0]), log_expit(-f[:, 0])).mean(),
        lambda f: (expit(f) - BITS[:, None]) / N,
    ),
}
every_loss = pytest.mark.parametrize("objective, value, slope", SUPERVISED.values(), ids=SUPERVISED)


def scattered(net, seed=1, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=net.size)


def slope_along(objective, theta, v, h=1e-3):
    """d/dt L(theta + t v) by central differences, extrapolated: error O(h^4)."""
    central = lambda h: (objective.value(theta + h * v) - objective.value(theta - h * v)) / (2 * h)
    return (4 * central(h) - central(2 * h)) / 3


def assert_slopes(objective, theta, rtol=1e-8):
    gradient = objective(theta)[1]
    for seed in range(3):
        v = np.random.default_rng(seed).normal(size=theta.size) / theta.size**0.5
        assert_allclose(gradient @ v, slope_along(objective, theta, v), rtol=rtol, atol=rtol * np.linalg.norm(gradient))


# ------------------------------------------------------------------------------------------------ losses of predictions


@every_loss
def test_values_and_gradients_are_the_formulas(objective, value, slope):
    """L(f(theta)) and J' dL/df."""
    theta = scattered(objective.net)
    f = objective.net(theta, X)
    got, gradient = objective(theta)
    assert_allclose(got, value(f), rtol=1e-13)
    assert_allclose(objective.value(theta), got, rtol=1e-14)
    assert type(got) is float
    expected = np.einsum("nmt,nm->t", objective.net.jacobian(theta, X), slope(f))
    assert_allclose(gradient, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@every_loss
def test_gradients_are_slopes(objective, value, slope):
    assert_slopes(objective, objective.net.init(1) + scattered(objective.net, scale=0.3))


def losses_at(f, label):
    """The loss of one score or a row of scores, and its slope, by an identity-like network whose bias is f."""
    f = np.atleast_1d(np.asarray(f, float))
    layer = Layer({"none": Linear(bases.zero, Full((len(f), 1, 1)))}, bias=True)
    net = KAN((layer,))
    objective = (logistic if len(f) == 1 else cross_entropy)(net, [0.0], [label])
    value, gradient = objective(net.join({"0.none.W": np.zeros((len(f), 1, 1)), "0.bias": f}))
    return value, net.split(gradient)["0.bias"]


@pytest.mark.parametrize(
    "f, label, value, slope",
    [
        (0, 1, np.log(2), -0.5),
        (800, 1, 0, 0),
        (800, 0, 800, 1),
        (-800, 0, 0, 0),
        (-800, 1, 800, -1),
        (-40, 0, np.exp(-40), np.exp(-40)),
        ([1e4, 0, -1e4], 0, 0, [0, 0, 0]),
        ([1e4, 0, -1e4], 2, 2e4, [1, 0, -1]),
        ([7, 7, 7], 1, np.log(3), [1 / 3, -2 / 3, 1 / 3]),
    ],
)
def test_extreme_scores_neither_overflow_nor_vanish(f, label, value, slope):
    got, gradient = losses_at(f, label)
    assert_allclose(got, value, rtol=1e-13)
    assert_allclose(gradient, np.atleast_1d(slope), rtol=1e-13)


def test_the_absolute_error_has_slope_zero_where_it_is_zero():
    net = kan([1, 1])
    theta, x = net.init(), np.linspace(-1, 1, 5)
    value, gradient = mae(net, x, net(theta, x))(theta)
    assert value == 0 and not gradient.any()


@every_loss
def test_single_precision(objective, value, slope):
    theta = scattered(objective.net)
    (double, gradient), (single, gradient_32) = objective(theta), objective(theta.astype(np.float32))
    assert gradient_32.dtype == np.float32
    assert_allclose(single, double, rtol=1e-5)
    assert_allclose(gradient_32, gradient, rtol=0, atol=2e-5 * np.abs(gradient).max())


@every_loss
def test_batches_are_the_same_loss_on_some_samples(objective, value, slope):
    theta, rows = scattered(objective.net), np.random.default_rng(0).permutation(N)
    parts = [objective.batch(rows[a:b])(theta) for a, b in ((0, 10), (10, N))]
    assert [objective.batch(rows[a:b]).samples for a, b in ((0, 10), (10, N))] == [10, N - 10]
    whole = objective(theta)
    for k in range(2):
        assert_allclose(parts[0][k] * 0.25 + parts[1][k] * 0.75, whole[k], rtol=1e-12, atol=1e-14)


def test_scipy_minimises_any_objective():
    objective = SUPERVISED["cross-entropy"][0]
    theta = objective.net.init()
    result = minimize(objective, theta, jac=True, method="L-BFGS-B", options={"maxiter": 5})
    assert result.fun < 0.95 * objective.value(theta)


# ------------------------------------------------------------------------------------------------------------- refusals


def test_targets_of_one_output_may_be_a_vector():
    theta = ONE.init()
    assert mse(ONE, X, Y1[:, 0])(theta)[0] == mse(ONE, X, Y1)(theta)[0]


@pytest.mark.parametrize("loss", [mse, mae])
@pytest.mark.parametrize(
    "error, message, x, y",
    [
        (ValueError, "x and y must have as many rows, but x has 40 and y has 39; align the samples", X, Y3[1:]),
        (ValueError, r"y must have shape \(samples, 3\), but it has shape \(40, 1\)", X, Y1),
        (ValueError, r"y must have shape \(samples, 3\), but it has shape \(40,\)", X, Y1[:, 0]),
        (ValueError, r"x must have shape \(samples, 2\), but it has shape \(40, 3\)", Y3, Y3),
        (ValueError, r"y must be finite, but y\[0, 0\] is nan", X, np.full((N, 3), np.nan)),
        (TypeError, "y must hold real numbers, but its dtype is <U", X, np.full((N, 3), "1")),
    ],
)
def test_samples_that_do_not_fit(loss, error, message, x, y):
    with pytest.raises(error, match=message):
        loss(THREE, x, y)


@pytest.mark.parametrize(
    "labels, message",
    [
        (
            LABELS[1:],
            r"labels must be 40 integers, .*it has shape \(39,\) and dtype int64; encode classes as 0, 1, ..., 2",
        ),
        (LABELS[:, None], r"labels must be 40 integers, one for each row of x, but it has shape \(40, 1\)"),
        (LABELS.astype(float), "dtype float64; encode classes as 0, 1, ..., 2"),
        (np.array(["a"] * N), "dtype <U1; encode classes"),
        (LABELS - 1, r"labels must lie in 0..2, but they span -1..1; add outputs or recode"),
        (LABELS + 1, r"labels must lie in 0..2, but they span 1..3; add outputs or recode"),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    with pytest.raises(ValueError, match=message):
        cross_entropy(THREE, X, labels)


def test_binary_labels():
    assert logistic(ONE, X, BITS.astype(bool))(ONE.init())[0] == logistic(ONE, X, BITS.tolist())(ONE.init())[0]
    with pytest.raises(ValueError, match=r"labels must lie in 0..1, but they span 0..2"):
        logistic(ONE, X, LABELS)


def test_each_classifier_names_the_other():
    with pytest.raises(
        ValueError, match="cross-entropy needs at least two outputs, but the network has 1; use logistic"
    ):
        cross_entropy(ONE, X, BITS)
    with pytest.raises(ValueError, match="logistic loss needs one output, but the network has 3; use cross_entropy"):
        logistic(THREE, X, BITS)


# ------------------------------------------------------------------------------------------------------------ residuals


def heat(x, u, u_i, u_ij):
    """u_1 - u_00 - u^2 in every output, as one residual each: nonlinear, with all three partials."""
    m, n = u_i.shape[1:]
    r_u, r_ui, r_uij = np.zeros((len(x), m, m)), np.zeros((m, m, n)), np.zeros((m, m, n, n))
    for q in range(m):
        r_u[:, q, q], r_ui[q, q, 1], r_uij[q, q, 0, 0] = -2 * u[:, q], 1, -1
    return u_i[..., 1] - u_ij[..., 0, 0] - u**2, (r_u, r_ui, r_uij)


WITH_RESIDUALS = {
    "mse": mse(ONE, X, Y1),
    "mse, 3": mse(THREE, X, Y3),
    "collocation": collocation(ONE, X, heat),
    "collocation, 3": collocation(THREE, X, heat),
    "sum": weighted_sum([(0.3, mse(THREE, X, Y3)), (2, collocation(THREE, X[:9], heat)), (0, mse(THREE, X, Y3))]),
}


def theta_of(objective, seed=1):
    net = objective.net if hasattr(objective, "net") else THREE
    return scattered(net, seed, 0.5)


@pytest.mark.parametrize("objective", WITH_RESIDUALS.values(), ids=WITH_RESIDUALS)
def test_residuals_are_square_roots_of_the_value(objective, monkeypatch):
    """r'r = L and 2 J'r = dL/dtheta; J is an array, or an operator with the same products where it is too large."""
    theta = theta_of(objective)
    value, gradient = objective(theta)
    r, J = objective.residuals(theta)
    assert isinstance(J, np.ndarray) and J.shape == (len(r), len(theta))
    assert_allclose(r @ r, value, rtol=1e-13)
    assert_allclose(2 * J.T @ r, gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())
    monkeypatch.setattr(objectives, "ROW_MEMORY", J.nbytes // 4)
    r_again, operator = objective.residuals(theta)
    assert isinstance(operator, LinearOperator) and operator.shape == J.shape
    assert_array_equal(r_again, r)
    v, w = np.random.default_rng(2).normal(size=len(theta)), np.random.default_rng(3).normal(size=len(r))
    assert_allclose(operator @ v, J @ v, rtol=0, atol=1e-13 * np.abs(J @ v).max())
    assert_allclose(operator.T @ w, J.T @ w, rtol=0, atol=1e-12 * np.abs(J.T @ w).max())


@pytest.mark.parametrize("name", ["mae", "cross-entropy", "logistic"])
def test_only_squares_have_residuals(name):
    objective = SUPERVISED[name][0]
    with pytest.raises(TypeError, match="residuals exist only for the mean squared error; use adam or lbfgs"):
        objective.residuals(objective.net.init())


# ---------------------------------------------------------------------------------------------------------- collocation


def polynomial():
    """A network with the outputs x^2 + x y and x^2 - 2 x y on [-1, 1]^2: splines, a product node, a matrix.

    By polar forms a cubic spline has the coefficients (a + b + c)/3 for x and (ab + bc + ca)/3 for x^2, with a, b, c
    the inner knots of each function.
    """
    basis = BSpline.uniform(2, 4, 3)
    a, b, c = (basis.knots[0, i : i + basis.size] for i in (1, 2, 3))
    W = np.zeros((3, 2, basis.size))
    W[0, 0], W[1, 0], W[2, 1] = (a * b + b * c + c * a) / 3, (a + b + c) / 3, (a + b + c) / 3
    first = Layer({"spline": Linear(basis, Full(W.shape))}, nodes=Nodes((1, 2)))
    net = KAN((first, Layer({"linear": Linear(bases.identity, Full((2, 2, 1)))})))
    return net, net.join({"0.spline.W": W, "1.linear.W": np.array([[1.0, 1], [1, -2]])[..., None]})


INSIDE = np.random.default_rng(5).uniform(-1, 1, (25, 2))
C = np.array([1.0, -2])  # u_q = x^2 + C_q x y


def test_fields_of_a_polynomial_are_exact():
    net, theta = polynomial()
    objective = collocation(net, INSIDE, None, pairs=((0, 0), (1, 0), (1, 1)))
    (points, u, u_i, u_ij), _ = objective.fields(theta, INSIDE)
    x, y = INSIDE.T[..., None]
    assert_array_equal(points, INSIDE)
    assert_allclose(u, x**2 + C * x * y, atol=1e-14)
    assert_allclose(u_i, np.stack([2 * x + C * y, C * x], -1), atol=1e-13)
    assert_allclose(u_ij, np.broadcast_to([[[2, c], [c, 0]] for c in C], (25, 2, 2, 2)), atol=1e-12)


def test_second_derivatives_that_were_not_asked_for_are_nan():
    net, theta = polynomial()
    asked = lambda pairs: ~np.isnan(collocation(net, INSIDE, None, pairs).fields(theta, INSIDE)[0][3]).all((0, 1))
    assert_array_equal(asked(None), [[True, False], [False, True]])
    assert_array_equal(asked([(1, 1)]), [[False, False], [False, True]])
    assert_array_equal(asked([(1, 0), (0, 1)]), [[False, True], [True, False]])
    assert_array_equal(asked([]), np.zeros((2, 2)))


def test_a_solved_equation_has_no_residual_and_no_slope():
    """Euler: x u_x + y u_y = 2 u; and u_xx u_yy - u_xy^2 = -C^2 (Monge-Ampere), as two residuals of either output."""

    def residual(x, u, u_i, u_ij):
        N, q = len(x), np.arange(2)
        r = np.concatenate([np.einsum("ni,nqi->nq", x, u_i) - 2 * u, np.linalg.det(u_ij) + C**2], 1)
        r_u, r_ui, r_uij = np.zeros((N, 4, 2)), np.zeros((N, 4, 2, 2)), np.zeros((N, 4, 2, 2, 2))
        r_u[:, q, q] = -2
        r_ui[:, q, q] = x[:, None]
        r_uij[:, 2 + q, q, 0, 0], r_uij[:, 2 + q, q, 1, 1] = u_ij[..., 1, 1], u_ij[..., 0, 0]
        r_uij[:, 2 + q, q, 0, 1] = -2 * u_ij[..., 0, 1]
        return r, (r_u, r_ui, r_uij)

    net, theta = polynomial()
    objective = collocation(net, INSIDE, residual, pairs=((0, 0), (0, 1), (1, 1)))
    value, gradient = objective(theta)
    assert value < 1e-24 and np.abs(gradient).max() < 1e-11
    elsewhere = theta + scattered(net, scale=0.1)
    assert objective.value(elsewhere) > 1e-3
    assert_slopes(objective, elsewhere)


def test_the_value_is_the_mean_of_squares_over_points_and_residuals():
    net, theta = polynomial()
    x, y = INSIDE.T[..., None]
    r = C * x - 2 - (x**2 + C * x * y) ** 2
    value = collocation(net, INSIDE, heat)(theta)[0]
    assert_allclose(value, (r**2).mean(), rtol=1e-12)


@pytest.mark.parametrize("net", [ONE, THREE])
def test_collocation_gradients_are_slopes(net):
    assert_slopes(collocation(net, X, heat), scattered(net, scale=0.3), rtol=1e-7)


def test_a_mixed_pair_may_be_filled_on_either_side():
    net, theta = kan([2, 3, 1], degree=4), None
    theta = net.init(2)

    def residual(place):
        def r(x, u, u_i, u_ij):
            r_uij = np.zeros((1, 2, 2))
            for i, j in place:
                r_uij[0, i, j] += 1 / len(place)
            return u_ij[:, 0, 0, 1] - 1, (None, None, r_uij)

        return collocation(net, X, r, pairs=[(0, 1)])

    value, gradient = residual([(0, 1)])(theta)
    assert_slopes(residual([(0, 1)]), theta, rtol=1e-7)
    for place in ([(1, 0)], [(0, 1), (1, 0)]):
        assert residual(place)(theta)[0] == value
        assert_allclose(residual(place)(theta)[1], gradient, rtol=0, atol=1e-14 * np.abs(gradient).max())


def test_constant_partials_broadcast_and_none_is_zero():
    full = lambda x, u, u_i, u_ij: (u_i[:, 0, 1] - 1, (np.zeros((N, 1)), np.tile([[[0.0, 1]]], (N, 1, 1)), None))
    short = lambda x, u, u_i, u_ij: (u_i[:, 0, 1] - 1, (None, np.array([0, 1]), None))
    theta = ONE.init()
    for a, b in zip(collocation(ONE, X, full)(theta), collocation(ONE, X, short)(theta)):
        assert_array_equal(a, b)


def test_collocation_in_single_precision_takes_double_data():
    def forced(x, u, u_i, u_ij):
        r, partials = heat(x, u, u_i, u_ij)
        return r - Y3, partials

    theta = scattered(THREE, scale=0.3)
    objective = collocation(THREE, X, forced)
    assert objective.residuals(theta.astype(np.float32))[1].dtype == np.float32
    (double, gradient), (single, gradient_32) = objective(theta), objective(theta.astype(np.float32))
    assert gradient_32.dtype == np.float32
    assert_allclose(single, double, rtol=1e-4)
    assert_allclose(gradient_32, gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())


NONE = (None, None, None)


@pytest.mark.parametrize(
    "error, message, residual",
    [
        (
            ValueError,
            r"r of shape \(40,\) or \(40, R\) and three partials .* but r has shape \(39,\)",
            lambda u: (u[1:, 0], NONE),
        ),
        (ValueError, r"but r has shape \(\)", lambda u: (u.mean(), NONE)),
        (ValueError, r"but r has shape \(40, 1, 1\)", lambda u: (u[..., None], NONE)),
        (ValueError, "there are 2 partials", lambda u: (u[:, 0], (None, None))),
        (
            ValueError,
            r"partial r_u must have shape \(40, 1\), but it has shape \(40, 2\)",
            lambda u: (u[:, 0], (np.ones((N, 2)), None, None)),
        ),
        (
            ValueError,
            r"partial r_ui must have shape \(40, 1, 1, 2\), but it has shape \(40, 2, 2\)",
            lambda u: (u, (None, np.ones((N, 2, 2)), None)),
        ),
        (
            ValueError,
            r"partial r_uij must have shape \(40, 1, 2, 2\), but it has shape \(40, 1, 2\)",
            lambda u: (u[:, 0], (None, None, np.ones((N, 1, 2)))),
        ),
        (
            FloatingPointError,
            "the residual is NaN at every point",
            lambda u: (np.nan * u[:, 0], NONE),
        ),
    ],
)
def test_residuals_that_do_not_fit(error, message, residual):
    objective = collocation(ONE, X, lambda x, u, u_i, u_ij: residual(u))
    for run in (objective, objective.value, objective.residuals):
        with pytest.raises(error, match=message):
            run(ONE.init())


def test_a_forgotten_pair_is_named():
    objective = collocation(ONE, X, lambda x, u, u_i, u_ij: (u_ij[:, 0, 0, 1], NONE))
    with pytest.raises(FloatingPointError, match=r"outside pairs = \(\(0, 0\), \(1, 1\)\), add that pair"):
        objective(ONE.init())


@pytest.mark.parametrize("pairs", [[(0, 2)], [(-1, 0)], [(0, 1, 1)], [(0.5, 1)]])
def test_pairs_name_coordinates(pairs):
    with pytest.raises(ValueError, match="pairs must be pairs of coordinates 0..1, but it is"):
        collocation(ONE, X, heat, pairs)


# ------------------------------------------------------------------------------------------------------- sums of losses


def test_a_weighted_sum_is_linear():
    a, b = mse(THREE, X, Y3), cross_entropy(THREE, X, LABELS)
    theta = scattered(THREE)
    total, (f, f_bar), (g, g_bar) = weighted_sum([(0.25, a), (3, b), (0, a)]), a(theta), b(theta)
    value, gradient = total(theta)
    assert_allclose(value, 0.25 * f + 3 * g, rtol=1e-15)
    assert_allclose(gradient, 0.25 * f_bar + 3 * g_bar, rtol=0, atol=1e-15 * np.abs(gradient).max())
    assert_allclose(total.value(theta), value, rtol=1e-15)
    nested = weighted_sum([(2, total)])
    assert_allclose(nested(theta)[0], 2 * value, rtol=1e-15)


@pytest.mark.parametrize("weights", [[], [-1], [1, np.nan], [np.inf]])
def test_weights_are_finite_and_not_negative(weights):
    with pytest.raises(
        ValueError, match=r"parts must be pairs \(weight >= 0, objective\), at least one, but the weights are"
    ):
        weighted_sum([(w, SUPERVISED["mse"][0]) for w in weights])


# ---------------------------------------------------------------------------------------------------------- minibatches


class Recorder:
    """An objective that writes down which rows it was asked for."""

    def __init__(self, samples):
        self.samples, self.asked = samples, []

    def batch(self, rows):
        self.asked.append(np.asarray(rows))
        return lambda theta: (0.0, theta)


@pytest.mark.parametrize("samples, size, sizes", [(12, 4, [4, 4, 4]), (10, 4, [4, 6]), (7, 6, [7]), (3, 1, [1, 1, 1])])
def test_every_epoch_visits_every_sample_once(samples, size, sizes):
    recorder = Recorder(samples)
    batches = minibatches(recorder, size, seed=3)
    for _ in range(3 * len(sizes)):
        batches(np.zeros(1))
    assert batches.calls == 3 * len(sizes) and batches.count == len(sizes)
    for epoch in range(3):
        rows = recorder.asked[epoch * len(sizes) : (epoch + 1) * len(sizes)]
        assert [len(r) for r in rows] == sizes
        assert_array_equal(np.sort(np.concatenate(rows)), np.arange(samples))


def test_epochs_differ_and_seeds_repeat():
    def order(seed):
        recorder = Recorder(50)
        batches = minibatches(recorder, 25, seed)
        for _ in range(4):
            batches(None)
        return np.concatenate(recorder.asked)

    assert_array_equal(order(0), order(0))
    assert (order(0) != order(1)).any()
    assert (order(0)[:50] != order(0)[50:]).any()


def test_equal_batches_average_to_the_whole():
    whole = SUPERVISED["mse"][0]
    theta = scattered(ONE)
    batches = minibatches(whole, 8)
    values, gradients = zip(*(batches(theta) for _ in range(5)))
    assert len(set(values)) == 5
    assert_allclose(np.mean(values), whole(theta)[0], rtol=1e-13)
    assert_allclose(np.mean(gradients, 0), whole(theta)[1], rtol=0, atol=1e-13 * np.abs(gradients).max())


def test_a_batch_of_all_is_the_objective_itself():
    objective = SUPERVISED["mse"][0]
    assert minibatches(objective, N) is minibatches(objective, 10 * N) is objective


@pytest.mark.parametrize("size, error", [(0, ValueError), (-3, ValueError), (2.5, TypeError), (True, TypeError)])
def test_batch_sizes(size, error):
    with pytest.raises(error, match="size must be"):
        minibatches(SUPERVISED["mse"][0], size)


def test_a_theta_of_the_wrong_length_is_refused_on_every_path():
    for net in (kan([2, 3, 1]), kan([2, 3, 1], bias=True)):
        objective = mse(net, np.zeros((4, 2)), np.zeros(4))
        with pytest.raises(ValueError, match=f"theta must hold {net.size}"):
            objective(np.zeros(net.size + 2))


def test_an_overflowing_residual_ends_no_run():
    """exp(50 u) - 1 overflows for long steps; the optimiser backs off."""
    from kanref.optimize import levenberg_marquardt

    net = kan([1, 1], intervals=3)

    def residual(x, u, u_i, u_ij):
        with np.errstate(over="ignore"):
            e = np.exp(500 * u[:, 0])
        return e - 1, ((500 * e)[:, None], None, None)

    objective = collocation(net, np.linspace(-1, 1, 30)[:, None], residual)
    start = net.init(0) - 0.3
    with np.errstate(all="ignore"):
        result = levenberg_marquardt(objective.residuals, start, steps=30)
    assert np.isfinite(result.theta).all() and result.value <= objective.value(start)
