"""Weights that are not trained in full, quickly: narrow networks in one call, and layers through their factors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import lotra, narrow, tensors
from kanref.bases import BSpline, silu
from kanref.check import relative
from kanref.network import KAN, Layer, kan
from kanref.terms import Linear
from kanref.weights import Fixed, Full, LoTRA, LowRank, Masked, Scaled, Tucker

RNG = np.random.default_rng(0)


def tucker(shape):
    return Tucker(shape, tuple(min(rank, size) for rank, size in zip((3, 2, 4), shape)))


KINDS = {
    "full": Full,
    "fixed": lambda shape: Fixed(RNG.normal(size=shape)),
    "masked": lambda shape: Masked(Full(shape), RNG.uniform(0, 2, shape[:2])),
    "tucker": tucker,
    "lotra": lambda shape: LoTRA(RNG.normal(size=shape), tucker(shape), 0.7),
    "low rank": lambda shape: LoTRA(RNG.normal(size=shape), LowRank(shape, 1), -1.5),
    "masked lotra": lambda shape: Masked(LoTRA(RNG.normal(size=shape), tucker(shape), 2.0), RNG.integers(0, 2, shape[:2])),
    "masked fixed": lambda shape: Masked(Fixed(RNG.normal(size=shape)), RNG.uniform(0, 2, shape[:2])),
    "masked slim": lambda shape: Masked(tucker(shape), RNG.uniform(0, 2, shape[:2])),
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
