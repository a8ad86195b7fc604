"""Edges that are formulas: the `Symbolic` term against the definition, its pullback, and networks that contain it."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import check, grids, jets, objectives, optimize
from kanref.edges import Symbolic
from kanref.functions import LIBRARY, Function
from kanref.network import KAN, Layer, kan
from kanref.nodes import Nodes
from kanref.symbolic import fix

NAMES = ("sin", "x^2", "gaussian", "log", "arctan", "1/x")
every_function = pytest.mark.parametrize("name", LIBRARY)


def single(name, rng):
    """A network of one formula edge, theta that keeps samples in one piece of its domain, and the samples (7, 1)."""
    f = LIBRARY[name]
    low, high = f.domain[-1]
    low, high = max(low, min(high, 3) - 3.5), min(high, max(low, -3) + 3.5)
    x = rng.uniform(-1, 1, (7, 1))
    a, b = 0.4 * (high - low), low + (high - low) * 0.5
    net = KAN((Layer({"symbolic": Symbolic((1, 1), ((0, 0, f),))}),))
    return net, np.array([a * rng.choice([-1, 1]), b, *rng.normal(size=2)]), x


def several(rng):
    """A term with formulas on some of its edges, (3, 4), arrays and samples."""
    places = ((0, 1), (0, 2), (1, 0), (2, 3), (2, 1), (2, 0))
    term = Symbolic((3, 4), tuple((q, p, LIBRARY[name]) for (q, p), name in zip(places, NAMES)))
    affine = np.column_stack([rng.uniform(0.5, 1, (6, 2)) * [[1, 2]], rng.normal(size=(6, 2))])
    return term, {"affine": affine}, rng.uniform(-1, 1, (9, 4))


# ------------------------------------------------------------------------------------------------------ one term


@every_function
@pytest.mark.parametrize("directions", [0, 2])
def test_jets_are_those_of_the_definition(name, directions):
    if name in ("erf", "j0"):
        pytest.skip("the definition has no special functions; tests/test_functions.py compares their derivatives")
    rng = np.random.default_rng(1)
    net, theta, x = single(name, rng)
    z = jets.seed(x, rng.normal(size=(directions, 1)))
    exact = check.evaluate(net, check.numbers(theta, mpmath.mpf), z).astype(float)
    assert check.relative(net.forward(theta, z)[0], exact) < 1e-13


@every_function
@pytest.mark.parametrize("directions", [0, 1, 2])
def test_pullback_and_rows_are_the_adjoint(name, directions):
    rng = np.random.default_rng(2)
    net, theta, x = single(name, rng)
    z = np.concatenate([x[None], rng.normal(size=(2 * directions, 7, 1))])
    y, tape = net.forward(theta, z)
    y_bar, theta_dot, z_dot = rng.normal(size=y.shape), 0.1 * rng.normal(size=4), 0.1 * rng.normal(size=z.shape)
    theta_bar, z_bar = net.pullback(theta, tape, y_bar, inputs=True)
    y_dot = check.difference(lambda t: net.forward(theta + t * theta_dot, z + t * z_dot)[0], 2.0**-9)
    right = np.append(theta_bar * theta_dot, z_bar * z_dot)
    assert check.dot_error(np.ravel(y_dot * y_bar), right) < 1e-7
    assert_allclose(net.rows(theta, tape, y_bar).sum(0), theta_bar, rtol=1e-12, atol=1e-12)


def test_the_contract_of_a_term():
    rng = np.random.default_rng(3)
    smooth = ("sin", "x^2", "gaussian", "tanh")
    term = Symbolic((2, 3), tuple((e % 2, e % 3, LIBRARY[name]) for e, name in enumerate(smooth)))
    report = check.check_term(term, rng, rng.normal(size=(6, 3)))
    assert {f"{what}, {D} directions" for what in ("pullback", "rows") for D in range(4)} < set(report)


def test_formulas_add_up_and_other_edges_are_zero():
    term, arrays, x = several(np.random.default_rng(4))
    phi, y = term.edges(arrays, x), term.forward(arrays, x[None])[0]
    assert_allclose(phi.sum(2), y, rtol=1e-14, atol=1e-14)
    for (q, p, f), (a, b, c, d) in zip(term.formulas, arrays["affine"]):
        assert_allclose(phi[:, q, p], c * f(a * x[:, p] + b) + d, rtol=1e-14)
        phi[:, q, p] = 0
    assert not phi.any()


def test_single_edges_have_an_adjoint_too():
    rng = np.random.default_rng(5)
    term, arrays, x = several(rng)
    phi_bar, x_dot, affine_dot = rng.normal(size=(9, 3, 4)), rng.normal(size=x.shape), rng.normal(size=(6, 4))
    arrays_bar, x_bar = term.edges_pullback(arrays, x, phi_bar)
    moved = lambda t: term.edges({"affine": arrays["affine"] + t * affine_dot}, x + t * x_dot)
    phi_dot = check.difference(moved, 2.0**-12)
    right = np.append(arrays_bar["affine"] * affine_dot, x_bar * x_dot)
    assert check.dot_error(np.ravel(phi_dot * phi_bar), right) < 1e-8


def test_select():
    term, arrays, x = several(np.random.default_rng(6))
    phi = term.edges(arrays, x)
    for outputs, inputs in (([2, 0], [1, 3]), ([0, 1, 2], [3]), ([1], [0, 1, 2])):
        kept, own = term.select(arrays, np.array(outputs), np.array(inputs))
        assert kept.shape == (len(outputs), len(inputs)) and own["affine"].shape == kept.arrays["affine"]
        assert_array_equal(kept.edges(own, x[:, inputs]), phi[:, outputs][:, :, inputs])
    assert term.select(arrays, np.array([0]), np.array([0, 3])) == (None, {})


def test_the_start_is_the_function_itself():
    term = Symbolic((1, 2), ((0, 0, LIBRARY["sin"]), (0, 1, LIBRARY["exp"])))
    net = KAN((Layer({"symbolic": term}),))
    x = np.random.default_rng(0).normal(size=(5, 2))
    assert_array_equal(net(net.init(0), x)[:, 0], np.sin(x[:, 0]) + np.exp(x[:, 1]))
    assert net(net.init(0).astype(np.float32), x).dtype == np.float32


def test_outside_the_domain_there_is_no_value():
    net, theta, _ = single("sqrt", np.random.default_rng(0))
    y = net(np.array([1.0, 0.0, 1.0, 0.0]), np.array([[-1.0], [4.0]]))
    assert_array_equal(y, [[np.nan], [2.0]])


@pytest.mark.parametrize("name, end", [("sqrt", 0.0), ("arcsin", 1.0), ("arccos", -1.0)])
@pytest.mark.parametrize("optimizer", [optimize.lbfgs, optimize.levenberg_marquardt])
def test_at_a_branch_point_training_goes_on(name, end, optimizer):
    """The slope is infinite at one sample: a and b stay, all else has its exact adjoint and is trained."""
    f, x = LIBRARY[name], np.linspace(end, end / 2 + 0.2, 30)[:, None]
    net = KAN((Layer({"symbolic": Symbolic((1, 1), ((0, 0, f),))}),))
    objective, start = objectives.mse(net, x, 2 * f(x) + 3), np.array([1.0, 0.0, 0.5, 0.1])
    r = net(start, x) - (2 * f(x) + 3)
    assert_allclose(objective(start)[1], [0, 0, 2 * (r * f(x)).mean(), 2 * r.mean()], rtol=1e-13)
    _, tape = net.forward(start, x[None])
    z_bar = net.pullback(start, tape, np.ones((1, 30, 1)), inputs=True)[1][0, :, 0]
    assert_allclose(z_bar, np.append(0, 0.5 * f.derivatives(x[1:, 0], 1)[1]), rtol=1e-13)
    residuals = optimizer is optimize.levenberg_marquardt
    found = optimizer(objective.residuals if residuals else objective, start, steps=60).theta
    assert_allclose(found, [1, 0, 2, 3], rtol=1e-6)


def test_infinite_derivatives_and_cancelling_infinities_give_no_warning():
    """sqrt(x1) - e^(900 x2) + e^(800 x3); warnings are errors in the tests."""
    term = Symbolic((1, 3), ((0, 0, LIBRARY["sqrt"]), (0, 1, LIBRARY["exp"]), (0, 2, LIBRARY["exp"])))
    net = KAN((Layer({"symbolic": term}),))
    theta = np.array([[1, 0, 1, 0], [900, 0, -1, 0], [800, 0, 1, 0.0]]).ravel()
    x = np.array([[0.0, 0, 0], [1, 1, 1]])
    assert_array_equal(net(theta, x)[:, 0], [0, np.nan])
    first = net.gradient(theta, x[:1])[0, 0]
    assert first[0] == np.inf and np.isnan(first[1:]).all()
    assert net.jacobian(theta, x).shape == (2, 1, 12)


def test_what_is_no_formula_is_refused():
    sin = LIBRARY["sin"]
    with pytest.raises(ValueError, match="at least one .*leave the term away"):
        Symbolic((1, 1), ())
    with pytest.raises(TypeError, match=r"formulas must be \(q, p, Function\), but one is \(0, 0, 'sin'\)"):
        Symbolic((1, 1), ((0, 0, "sin"),))
    with pytest.raises(ValueError, match=r"each edge \(q, p\) once, but they are at \[\(0, 0\), \(0, 0\)\]"):
        Symbolic((1, 1), ((0, 0, sin), (0, 0, sin)))
    with pytest.raises(ValueError, match="p must be from 0 to 1, but it is 2"):
        Symbolic((1, 2), ((0, 2, sin),))
    with pytest.raises(ValueError, match="in of shape must be at least 1"):
        Symbolic((1, 0), ((0, 0, sin),))


# ------------------------------------------------------------------------------------------------ mixed networks


def mixed(seed=0, **options):
    """A network of splines with formulas on three edges."""
    net = kan([2, 3, 1], intervals=4, **options)
    theta = net.init(seed)
    net, theta = fix(net, theta, 0, 1, 0, "sin", affine=(2.0, 0.1, 0.7, 0.0))
    net, theta = fix(net, theta, 0, 2, 1, "gaussian", affine=(1.5, 0.0, 0.5, 0.1))
    return fix(net, theta, 1, 0, 2, "exp", affine=(0.6, 0.0, 0.8, -0.2))


@pytest.mark.parametrize("options", [{}, {"scaled": True, "bias": True}, {"normalise": "tanh"}, {"degree": 5}], ids=str)
def test_mixed_networks_have_exact_gradients(options):
    net, theta = mixed(**options)
    rng = np.random.default_rng(1)
    X, y = rng.uniform(-0.9, 0.9, (6, 2)), rng.normal(size=(6, 1))
    objective = objectives.mse(net, X, y)
    exact = check.complex_step(lambda t: check.value(objective, t), theta)
    assert check.relative(objective(theta)[1], exact) < 1e-12
    J = net.jacobian(theta, X)[:, 0]
    assert_allclose(2 / 6 * (net(theta, X) - y)[:, 0] @ J, exact, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("optimizer", [optimize.lbfgs, optimize.levenberg_marquardt, optimize.adam])
def test_mixed_networks_train(optimizer):
    net, theta = mixed()
    X = np.random.default_rng(2).uniform(-1, 1, (80, 2))
    objective = objectives.mse(net, X, np.exp(np.sin(3 * X[:, 0]) + X[:, 1] ** 2))
    residuals = optimizer is optimize.levenberg_marquardt
    rate = {"rate": 1e-2} if optimizer is optimize.adam else {}
    found = optimizer(objective.residuals if residuals else objective, theta, steps=40, **rate).theta
    assert objective.value(found) < (0.5 if rate else 0.05) * objective.value(theta)
    before, after = net.split(theta), net.split(found)
    assert all((before[f"{l}.symbolic.affine"] != after[f"{l}.symbolic.affine"]).any() for l in (0, 1))
    # what is masked by a formula is not trained
    assert_array_equal(after["0.spline.W"][1, 0], before["0.spline.W"][1, 0])


@pytest.mark.parametrize("name", ["sqrt", "log", "arcsin", "1/x"])
@pytest.mark.parametrize("optimizer", [optimize.lbfgs, optimize.levenberg_marquardt])
def test_optimisers_stay_in_the_domain(name, optimizer):
    """The data pull the argument beyond its end; steps that leave the domain are shortened."""
    f, x = LIBRARY[name], np.linspace(0.01, 1, 60)[:, None]
    net = KAN((Layer({"symbolic": Symbolic((1, 1), ((0, 0, f),))}),))
    start = np.array([0.5, 0.3, 1.0, 0.0])
    end = -3 if name in ("log", "1/x") else 3
    objective = objectives.mse(net, x, np.where(x < 0.1, end, f(np.maximum(0.9 * x, 0.05))))
    residuals = optimizer is optimize.levenberg_marquardt
    found = optimizer(objective.residuals if residuals else objective, start, steps=40).theta
    assert objective.value(found) < objective.value(start) and np.isfinite(net(found, x)).all()


def test_mixed_networks_refine():
    net, theta = mixed()
    X = np.random.default_rng(3).uniform(-1, 1, (60, 2))
    fine, finer = grids.refine(net, theta)[:2]
    assert_allclose(fine(finer, X), net(theta, X), rtol=1e-12, atol=1e-12)
    moved, updated = grids.update_from_samples(net, theta, X)[:2]
    for l, layer in enumerate(moved.layers):
        assert layer.terms["symbolic"] is net.layers[l].terms["symbolic"]
    assert_allclose(moved.edges(updated, 0, X)[:, 1, 0], 0.7 * np.sin(2 * X[:, 0] + 0.1), rtol=1e-13)


def test_mixed_networks_solve_equations():
    """u'' = -9 sin 3x, u(-1) = -sin 3, u(1) = sin 3, with one edge a sine of unknown affine parameters."""
    net = kan([1, 2, 1], intervals=5, degree=4)
    net, theta = fix(net, net.init(0), 0, 0, 0, "sin", affine=(2.0, 0.1, 0.5, 0.0))
    x = np.linspace(-1, 1, 40)[:, None]

    def residual(x, u, u_i, u_ij):
        one = np.zeros((len(x), 1, 1, 1))
        one[..., 0, 0] = 1
        return u_ij[:, 0, 0, 0] + 9 * np.sin(3 * x[:, 0]), (None, None, one)

    ends = np.array([[-1.0], [1.0]])
    equation = objectives.collocation(net, x, residual)
    exact = check.complex_step(lambda t: check.value(equation, t), theta)
    assert check.relative(equation(theta)[1], exact) < 1e-12
    both = objectives.weighted_sum([(1.0, equation), (100.0, objectives.mse(net, ends, np.sin(3 * ends)))])
    found = optimize.levenberg_marquardt(both.residuals, theta, steps=30).theta
    between = np.linspace(-1, 1, 101)[:, None]
    assert np.abs(net(found, between) - np.sin(3 * between)).max() < 1e-3


def test_formulas_under_products_and_maps():
    nodes = Nodes((2, 1))
    layer = Layer({"symbolic": Symbolic((3, 2), ((0, 0, LIBRARY["x"]), (1, 1, LIBRARY["exp"])))}, nodes=nodes)
    net = KAN((layer, replace(kan([2, 1], intervals=3).layers[0])))
    theta = net.init(0)
    x = np.random.default_rng(0).uniform(-1, 1, (8, 2))
    assert_allclose(net.activations(theta, x)[1][:, 0], x[:, 0] * np.exp(x[:, 1]), rtol=1e-14)
    objective = objectives.mse(net, x, np.ones(8))
    assert check.relative(objective(theta)[1], check.complex_step(lambda t: check.value(objective, t), theta)) < 1e-12


def test_functions_of_ones_own_train():
    bump = Function.from_formula("bump", "1/(1 + x**2)")
    net = KAN((Layer({"symbolic": Symbolic((1, 1), ((0, 0, bump),))}),))
    x = np.linspace(-2, 2, 50)[:, None]
    objective = objectives.mse(net, x, 2 / (1 + (3 * x - 1) ** 2) + 0.5)
    found = optimize.levenberg_marquardt(objective.residuals, np.array([2.0, -0.5, 1.0, 0.0]), steps=50).theta
    assert_allclose(found, [3, -1, 2, 0.5], rtol=1e-8)
