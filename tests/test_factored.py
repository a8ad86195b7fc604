"""Weights that are not trained in full, quickly: narrow networks in one call, and layers through their factors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import lotra, narrow, objectives, tensors, terms
from kanref.bases import BSpline, Chebyshev, silu
from kanref.check import Projection, check_term, complex_step, relative, value
from kanref.network import KAN, Layer, kan
from kanref.terms import Linear
from kanref.weights import Fixed, Full, LoTRA, LowRank, Masked, Scaled, Tucker

draw = lambda: np.random.default_rng(0)  # anew for every network, so that equal ones are equal


def tucker(shape):
    return Tucker(shape, tuple(min(rank, size) for rank, size in zip((3, 2, 4), shape)))


KINDS = {
    "full": Full,
    "fixed": lambda shape: Fixed(draw().normal(size=shape)),
    "masked": lambda shape: Masked(Full(shape), draw().uniform(0, 2, shape[:2])),
    "tucker": tucker,
    "lotra": lambda shape: LoTRA(draw().normal(size=shape), tucker(shape), 0.7),
    "low rank": lambda shape: LoTRA(draw().normal(size=shape), LowRank(shape, 1), -1.5),
    "masked lotra": lambda shape: Masked(LoTRA(draw().normal(size=shape), tucker(shape), 2.0), draw().integers(0, 2, shape[:2])),
    "masked fixed": lambda shape: Masked(Fixed(draw().normal(size=shape)), draw().uniform(0, 2, shape[:2])),
    "masked slim": lambda shape: Masked(tucker(shape), draw().uniform(0, 2, shape[:2])),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def splines(P, degree=3, outside="linear", seed=4):
    """B-splines whose first row of knots is uniform, the others not."""
    knots = BSpline.uniform(P, 4, degree).knots.copy()
    knots[1:] += np.random.default_rng(seed).uniform(-0.1, 0.1, knots[1:].shape)
    return BSpline(knots, degree, outside)


def network(widths, kind, base="full", outside="linear", degree=3):
    """Weights of one kind on splines of uneven knots, and of another on the SiLU branch (None: no branch)."""
    layers = []
    for P, Q in zip(widths, widths[1:]):
        basis = splines(P, degree, outside)
        terms = {"spline": Linear(basis, KINDS[kind]((Q, P, basis.size)))}
        layers.append(Layer(terms | ({"base": Linear(silu, KINDS[base]((Q, P, 1)))} if base else {})))
    return KAN(tuple(layers))


def numbers(net, N=70, D=2, dtype=np.float64, seed=1):
    """theta, x, y, and jets z, y_bar."""
    rng = np.random.default_rng(seed)
    theta, x, y = 0.5 * rng.normal(size=net.size), rng.normal(size=(N, net.inputs)), rng.normal(size=(N, net.outputs))
    z, y_bar = (rng.normal(size=(1 + 2 * D, N, width)) for width in (net.inputs, net.outputs))
    return [a.astype(dtype) for a in (theta, x, y, z, y_bar)]


def layered_squared_error(net, theta, x, y):
    f, tape = net.forward(theta, x[None])
    r = f[0] - y
    return np.vdot(r, r) / r.size, net.pullback(theta, tape, 2 / r.size * r[None])[0]


def by_layers(net, theta, z, y_bar):
    """y, theta_bar, z_bar and the rows, layer by layer."""
    tape = []
    for layer, own in zip(net.layers, net.of_layers(theta)):
        z, record = layer.forward(own, z)
        tape.append(record)
    return z, *net.pullback(theta, tape, y_bar, inputs=True), net.rows(theta, tape, y_bar)


def at_once(net, theta, z, y_bar):
    y, tape = net.forward(theta, z)
    assert isinstance(tape, narrow.Passage)
    return y, *net.pullback(theta, tape, y_bar, inputs=True), net.rows(theta, tape, y_bar)


# ------------------------------------------------------------------------------------------------------ narrow networks


@every_kind
@pytest.mark.parametrize("widths", [(2, 5, 1), (3, 3), (4, 9, 2, 3)], ids=str)
def test_narrow_networks_agree_with_their_layers(widths, kind):
    """The squared error and its gradient, and jets forward and back, for weights of every kind."""
    for base, outside in ((None, "zero"), ("full", "linear"), ("fixed", "clamp"), ("tucker", "linear"), ("low rank", "zero")):
        net = network(widths, kind, base, outside)
        assert net._narrow.loss and net._narrow.jets
        theta, x, y, z, y_bar = numbers(net)
        (value, gradient), (by_layer, exact) = net.squared_error(theta, x, y), layered_squared_error(net, theta, x, y)
        assert_allclose(value, by_layer, rtol=1e-13)
        assert gradient.shape == (net.size,) and relative(gradient, exact) <= 1e-13
        for found, layered in zip(at_once(net, theta, z, y_bar), by_layers(net, theta, z, y_bar)):
            assert relative(found, layered) <= 1e-13


@every_kind
def test_narrow_networks_in_float32(kind):
    net = network((2, 5, 1), kind, "masked fixed")
    theta, x, y, z, y_bar = numbers(net, dtype=np.float32)
    value, gradient = net.squared_error(theta, x, y)
    exact = layered_squared_error(net, *(a.astype(np.float64) for a in (theta, x, y)))
    assert gradient.dtype == np.float32 and abs(value - exact[0]) <= 2e-5 * exact[0]
    assert relative(gradient, exact[1]) <= 2e-5
    for found, layered in zip(at_once(net, theta, z, y_bar), by_layers(net, theta, z, y_bar)):
        assert found.dtype == np.float32 and relative(found, layered) <= 5e-5


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@every_kind
def test_weights_written_out_at_once_are_those_of_every_term(kind, dtype):
    """`Written` against `Weights.tensor` and `Weights.pullback`, the definitions."""
    net, eps = network((3, 4, 2), kind, "tucker"), np.finfo(dtype).eps
    written, theta = net._narrow.written, numbers(net, dtype=dtype)[0]
    full, full_bar = written.vector(theta), np.random.default_rng(2).normal(size=written.size).astype(dtype)
    theta_bar, start = written.pullback(theta, full_bar), 0
    assert full.dtype == theta_bar.dtype == dtype
    for l, layer in enumerate(net.layers):
        for name, term in layer.terms.items():
            Q, P, K = shape = term.weights.shape
            seen = [a[start : start + Q * P * K].reshape(P, K, Q).transpose(2, 0, 1) for a in (full, full_bar)]
            own = {array: net.split(theta)[f"{l}.{name}.{array}"] for array in term.arrays}
            exact = term.weights.tensor({array: a.astype(np.float64) for array, a in own.items()})
            assert seen[0].shape == shape and relative(seen[0], exact) <= 20 * eps
            for array, a in term.weights.pullback(own, seen[1]).items():
                assert relative(net.split(theta_bar)[f"{l}.{name}.{array}"], a) <= 100 * eps
            start += Q * P * K
    assert start == written.size


def test_full_weights_are_not_written_out():
    net, scaled = kan([2, 5, 1]), kan([2, 5, 1], scaled=True)
    assert net._narrow.written is None and scaled._narrow is None
    assert isinstance(scaled.layers[0].terms["spline"].weights, Scaled) and narrow.trained(Scaled(Full((1, 2, 3)))) is None


def test_a_layer_that_occurs_twice_is_written_out_twice():
    net = network((3, 3), "lotra")
    twice = KAN((net.layers[0], net.layers[0]))
    theta, x, y, _, _ = numbers(twice)
    (value, gradient), (by_layer, exact) = twice.squared_error(theta, x, y), layered_squared_error(twice, theta, x, y)
    assert_allclose(value, by_layer, rtol=1e-13)
    assert relative(gradient, exact) <= 1e-13


def test_a_frozen_network_has_an_empty_gradient():
    net, nothing = lotra.freeze(kan([2, 5, 1]), kan([2, 5, 1]).init(0))
    _, x, y, _, _ = numbers(net)
    value, gradient = net.squared_error(nothing, x, y)
    assert gradient.shape == (0,)
    assert_allclose(value, np.square(net(nothing, x) - y).mean(), rtol=1e-13)


# ------------------------------------------------------------------------------------------------ layers, factor by factor


def factored(shape, ranks, D, N, degree=3, outside="zero", dtype=np.float64, seed=5):
    """basis, weights, arrays, z, y_bar."""
    rng, (Q, P, K) = np.random.default_rng(seed), shape
    knots = BSpline.uniform(P, K - degree, degree).knots.copy()
    knots[1:] += rng.uniform(-0.05, 0.05, knots[1:].shape)
    weights = Tucker(shape, ranks)
    arrays = {name: rng.normal(size=size).astype(dtype) for name, size in weights.arrays.items()}
    z, y_bar = (rng.normal(size=(1 + 2 * D, N, width)).astype(dtype) for width in (P, Q))
    return BSpline(knots, degree, outside), weights, arrays, z, y_bar


def assert_factored_as_written(basis, weights, arrays, z, y_bar, tolerance=1e-13):
    """Outputs, all adjoints, and those of every sample by itself."""
    W = weights.tensor({name: a.astype(np.float64) for name, a in arrays.items()})
    written, precise = Linear(basis, Full(W.shape)), (z.astype(np.float64), y_bar.astype(np.float64))
    assert relative(terms.tucker_forward(basis, z, arrays), written.forward({"W": W}, precise[0])) <= tolerance
    found, z_bar = terms.tucker_pullback(basis, z, arrays, y_bar)
    exact, z_bar_exact = written.pullback({"W": W}, *precise)
    assert z_bar.dtype == z.dtype and relative(z_bar, z_bar_exact) <= tolerance
    for name, a in weights.pullback(arrays, exact["W"]).items():
        assert found[name].dtype == z.dtype and relative(found[name], a) <= tolerance
    alone, nothing = terms.tucker_pullback(basis, z, arrays, y_bar, False)
    assert nothing is None
    for name in found:
        assert_allclose(alone[name], found[name], rtol=0, atol=tolerance * np.abs(found[name]).max())
    rows = Linear(basis, weights).rows(arrays, z[:, :9], y_bar[:, :9])
    for name, a in weights.pullback(arrays, written.rows({"W": W}, z[:, :9], y_bar[:, :9])["W"]).items():
        assert relative(rows[name], a) <= 10 * tolerance


SIZES = [  # Q, P, K; ranks: inputs and ranks beside the fours and eights of the kernels, and samples beside its blocks
    ((5, 4, 8), (3, 4, 8), 70),
    ((3, 7, 6), (2, 5, 4), 33),
    ((20, 9, 12), (7, 3, 9), 300),
    ((4, 2, 5), (1, 2, 1), 1),
    ((30, 17, 9), (8, 8, 3), 1100),
]


@pytest.mark.parametrize("D", [0, 1, 2])
@pytest.mark.parametrize(("shape", "ranks", "N"), SIZES, ids=str)
def test_layers_by_factors_agree_with_the_written_tensor(shape, ranks, N, D):
    for outside in ("zero", "linear", "clamp"):
        assert_factored_as_written(*factored(shape, ranks, D, N, outside=outside, seed=D))


@pytest.mark.parametrize("degree", [1, 5])
def test_layers_by_factors_in_other_degrees(degree):
    assert_factored_as_written(*factored((6, 5, degree + 4), (3, 2, 4), 1, 70, degree, "linear"))


def test_layers_by_factors_in_float32():
    for D in (0, 2):
        assert_factored_as_written(*factored((20, 9, 8), (7, 6, 5), D, 70, dtype=np.float32), tolerance=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_overflows_stays_with_its_sample(bad):
    basis, _, arrays, z, y_bar = factored((6, 7, 8), (3, 5, 4), 1, 300)
    y, (_, z_bar) = terms.tucker_forward(basis, z, arrays), terms.tucker_pullback(basis, z, arrays, y_bar)
    z[0, 150, 5] = bad
    y_bad, (_, z_bar_bad) = terms.tucker_forward(basis, z, arrays), terms.tucker_pullback(basis, z, arrays, y_bar)
    others = np.arange(300) != 150
    assert np.array_equal(y_bad[:, others], y[:, others]) and np.array_equal(z_bar_bad[:, others], z_bar[:, others])
    assert np.isnan(y_bad[:, 150]).any() if np.isnan(bad) else True


def test_points_outside_are_refused_when_they_are_errors():
    basis, _, arrays, z, _ = factored((6, 7, 8), (3, 5, 4), 0, 30, outside="error")
    with pytest.raises(ValueError, match="lies outside the domain"):
        terms.tucker_forward(basis, z, arrays)


# ------------------------------------------------------------------------------------------------------------- the rule


@pytest.fixture
def eager(monkeypatch):
    """Factors wherever they are possible."""
    monkeypatch.setattr(terms, "FACTORS", 0)


def test_the_rule():
    """By multiply-adds: wide layers of low rank go through factors, narrow ones are written out."""
    route = lambda weights: Linear(BSpline.uniform(weights.shape[1], weights.shape[2] - 3, 3), weights).route
    found = (256, "factored", "adapted"), (128, "factored", "written"), (32, "written", "written")
    for width, slim, adapted in found:
        shape = width, width, 8
        assert route(Tucker(shape, (8, 8, 8))) == slim
        assert route(LoTRA(np.zeros(shape), Tucker(shape, (8, 8, 8)))) == adapted
        assert route(Full(shape)) == route(Masked(Tucker(shape, (8, 8, 8)), np.ones(shape[:2]))) == "written"
        assert route(Fixed(np.zeros(shape))) == route(Masked(Fixed(np.zeros(shape)), np.ones(shape[:2]))) == "frozen"
    assert Linear(Chebyshev(7), Tucker((256, 256, 8), (8, 8, 8))).route == "factored"
    assert Linear(Chebyshev(7), LoTRA(np.zeros((256, 256, 8)), Tucker((256, 256, 8), (8, 8, 8)))).route == "written"


@pytest.mark.parametrize("basis", [BSpline.uniform(3, 4, 3), Chebyshev(6)], ids=["splines", "chebyshev"])
@pytest.mark.parametrize("kind", ["tucker", "lotra", "fixed", "masked fixed", "low rank"])
def test_terms_on_every_route_keep_the_contract(basis, kind, eager):
    term = Linear(basis, KINDS[kind]((6, 3, 7)))
    routes = {"tucker": "factored", "lotra": "adapted" if isinstance(basis, BSpline) else "written", "low rank": "written"}
    assert term.route == routes.get(kind, "frozen")
    check_term(term, np.random.default_rng(6), np.random.default_rng(7).uniform(-0.9, 0.9, (5, 3)))


@pytest.mark.parametrize("base", ["full", "fixed", "lotra"])
@pytest.mark.parametrize("kind", ["tucker", "lotra", "fixed", "full"])
def test_sums_with_a_silu_branch_on_every_route(kind, base, eager):
    """Beside SiLU terms that are trained, frozen or adapted: as each term by itself."""
    net = network((3, 5), kind, base)
    layer, (theta, _, _, z, y_bar) = net.layers[0], numbers(net)
    own = net.of_layers(theta)[0]
    y, record = layer.forward(own, z)
    bar, z_bar = layer.pullback(record, y_bar)
    without = layer.pullback(record, y_bar, inputs=False)
    assert without[1] is None and all(relative(without[0][name], bar[name]) <= 1e-13 for name in bar)
    apart, by_definition, z_bar_apart = 0, {}, 0
    for name, term in layer.terms.items():
        W, full = term.weights.tensor({a: own[f"{name}.{a}"] for a in term.arrays}), Linear(term.basis, Full(term.weights.shape))
        apart = apart + full.forward({"W": W}, z)
        W_bar, part = full.pullback({"W": W}, z, y_bar)
        z_bar_apart = z_bar_apart + part
        pulled = term.weights.pullback({a: own[f"{name}.{a}"] for a in term.arrays}, W_bar["W"])
        by_definition |= {f"{name}.{a}": array for a, array in pulled.items()}
    assert relative(y, apart) <= 1e-13 and relative(z_bar, z_bar_apart) <= 1e-13
    assert bar.keys() == by_definition.keys()
    for name, a in by_definition.items():
        assert relative(bar[name], a) <= 1e-13


@pytest.mark.parametrize("kind", ["tucker", "lotra"])
def test_gradients_through_factors_by_complex_step(kind, eager, monkeypatch):
    monkeypatch.setattr(narrow, "MOST_INPUTS", 0)  # layer by layer
    net = network((2, 3, 2), kind, "fixed")
    theta, x, y, z, y_bar = numbers(net, N=4)
    for loss in (objectives.mse(net, x, y), Projection(net, z, y_bar)):
        exact = complex_step(lambda theta, loss=loss: value(loss, theta), theta)
        assert relative(loss(theta)[1], exact) < 1e-12


def test_the_adjoint_of_inputs_alone_is_that_of_the_whole():
    """To rounding: the two are compiled apart, and the compiler may sum in another order."""
    for D, N in ((0, 70), (2, 1100)):
        basis, weights, arrays, z, y_bar = factored((9, 12, 8), (3, 3, 3), D, N)
        W, V = weights.tensor(arrays), np.random.default_rng(8).normal(size=(9, 12, 1))
        for v in (None, V):
            alone, whole = terms.spline_inputs(basis, z, W, v, y_bar), terms.spline_pullback(basis, z, W, v, y_bar)[2]
            assert_allclose(alone, whole, rtol=0, atol=1e-14 * np.abs(whole).max())


@pytest.mark.parametrize("order", range(4))
def test_silu_by_the_kernel(order):
    x = np.random.default_rng(9).normal(0, 5, (300, 7))
    (first, values), (_, exact) = terms.silu_derivatives(x, order), silu.derivatives(x, order)
    assert not first.any()
    assert_allclose(values, exact, rtol=0, atol=4e-15 * np.abs(exact).max())


# -------------------------------------------------------------------------------------------------------------- threads


def everything():
    """Results of factored layers that are split, and of narrow networks of adapters."""
    basis, _, arrays, z, y_bar = factored((30, 17, 9), (8, 8, 3), 1, 1100)
    adjoints, z_bar = terms.tucker_pullback(basis, z, arrays, y_bar)
    net = network((2, 5, 1), "lotra", "fixed")
    theta, x, y, _, _ = numbers(net, 4000)
    value, gradient = net.squared_error(theta, x, y)
    inputs = terms.spline_inputs(basis, z, np.ones((30, 17, 9)), None, y_bar)
    return [terms.tucker_forward(basis, z, arrays), z_bar, inputs, np.array(value), gradient, *adjoints.values()]


def test_two_threads_give_the_bits_of_one(threads_agree):
    threads_agree(__file__, everything)


# ------------------------------------------------------------------------------------------------------------- products


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_the_adjoint_of_a_tucker_product_is_that_of_its_definition(lead):
    """Entry by entry, against einsum without any reordering."""
    rng = np.random.default_rng(3)
    (Q, P, K), ranks = (7, 5, 6), (3, 2, 4)
    core, Us = rng.normal(size=ranks), [rng.normal(size=pair) for pair in zip((Q, P, K), ranks)]
    W_bar = rng.normal(size=(*lead, P, K, Q))
    W_bar = np.moveaxis(W_bar, -1, -3)  # as it lies in memory
    core_bar, U_bars = tensors.tucker_pullback(core, Us, W_bar)
    assert_allclose(core_bar, np.einsum("...qpk,qa,pb,kc->...abc", W_bar, *Us), rtol=0, atol=1e-12)
    for mode, name in enumerate("qpk"):
        others = [pair for pair in ("qa", "pb", "kc") if pair[0] != name]
        factors = [U for m, U in enumerate(Us) if m != mode]
        exact = np.einsum(f"...qpk,abc,{','.join(others)}->...{name}{'abc'[mode]}", W_bar, core, *factors)
        assert_allclose(U_bars[mode], exact, rtol=0, atol=1e-12)
