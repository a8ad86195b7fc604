"""Slim KANs: the variance rule, truncated HOSVD, gradients, and both ways through a layer."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import check, objectives, slim, tensors
from kanref.bases import BSpline, Chebyshev
from kanref.network import KAN, Layer, kan
from kanref.terms import Linear
from kanref.weights import Full, Tucker

X = np.random.default_rng(0).uniform(-1.2, 1.2, (40, 3))


@pytest.mark.parametrize("make", [lambda K: BSpline.uniform(32, K - 3, 3, outside="linear"), lambda K: Chebyshev(K - 1)])
@pytest.mark.parametrize("ranks", [2, (8, 4, 3)])
def test_the_variance_rule(make, ranks):
    """Outputs of a slim layer from scratch have variance 1 for uniform inputs."""
    basis, x = make(8), np.random.default_rng(10).uniform(-1, 1, (400, 32))
    net = KAN((Layer({"spline": Linear(basis, Full((64, 32, 8)))}),))
    variances = []
    for seed in range(40):
        new, theta = slim.slim(net, ranks, seed=seed)
        variances.append(new(theta, x).var())
    assert 0.7 < np.mean(variances) < 1.4
    assert isinstance(new.layers[0].terms["spline"].weights, Tucker)


def test_slimmed_is_the_truncated_hosvd():
    net = kan([3, 4, 2], intervals=3)
    theta = net.init(1)
    full, same = slim.slimmed(net, theta, tolerance=0.0)
    assert_allclose(full(same, X), net(theta, X), rtol=0, atol=1e-14)
    small, few = slim.slimmed(net, theta, 2)
    W = np.ascontiguousarray(net.split(theta)["0.spline.W"])
    own = small.layers[0].terms["spline"]
    arrays = {name: small.split(few)[f"0.spline.{name}"] for name in own.arrays}
    error = np.square(W - own.weights.tensor(arrays)).sum()
    tau = tensors.tails(W, own.weights.ranks)
    assert tau.max() * (1 - 1e-12) <= error <= tau.sum() * (1 + 1e-12)


def test_slim_gradients_by_complex_step():
    net, theta = slim.slim(kan([3, 4, 2], intervals=3), 2, seed=1)
    loss = objectives.collocation(net, X[:4], lambda x, u, u_i, u_ij: (u_ij[:, 0, 0, 0] + u[:, 1] ** 2, partials(u)))
    exact = check.complex_step(lambda theta: check.value(loss, theta), theta)
    assert check.relative(loss(theta)[1], exact) < 1e-12


def partials(u):
    """Of u_0,xx + u_1^2."""
    r_u, r_uij = np.zeros_like(u), np.zeros((*u.shape, 3, 3), u.dtype)
    r_u[:, 1], r_uij[:, 0, 0, 0] = 2 * u[:, 1], 1
    return r_u, None, r_uij


@pytest.mark.parametrize("ranks", [(2, 2, 2), (30, 2, 7)], ids=["factored", "written out"])
@pytest.mark.parametrize("basis", [BSpline.uniform(2, 4, 3), Chebyshev(6)], ids=["splines", "chebyshev"])
def test_both_ways_through_a_slim_layer(basis, ranks):
    """The term's contract with jets, and equality with W written out, whichever way the rule takes."""
    rng = np.random.default_rng(11)
    term = Linear(basis, Tucker((100, 2, 7), ranks))
    assert term.route == ("factored" if ranks == (2, 2, 2) else "written")
    check.check_term(term, rng, rng.uniform(-0.9, 0.9, (5, 2)))
    arrays = {name: rng.normal(size=shape) for name, shape in term.arrays.items()}
    full, z = Linear(basis, Full((100, 2, 7))), rng.uniform(-0.9, 0.9, (3, 8, 2))
    W = {"W": term.weights.tensor(arrays)}
    y = full.forward(W, z)
    assert_allclose(term.forward(arrays, z), y, rtol=0, atol=1e-13 * np.abs(y).max())
    y_bar = rng.normal(size=(3, 8, 100))
    (own, z_bar), (theirs, z_bar_full) = term.pullback(arrays, z, y_bar), full.pullback(W, z, y_bar)
    assert_allclose(z_bar, z_bar_full, rtol=0, atol=1e-13 * np.abs(z_bar_full).max())
    for name, a in term.weights.pullback(arrays, theirs["W"]).items():
        assert_allclose(own[name], a, rtol=0, atol=1e-11 * np.abs(a).max())
