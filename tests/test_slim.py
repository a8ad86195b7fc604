"""Slim KANs: the variance rule, truncated HOSVD, gradients, the table of choices, and both ways through a layer."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import bases, check, objectives, optimize, slim, tensors
from kanref.bases import BSpline, Chebyshev
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.network import KAN, Layer, kan
from kanref.sparsify import masked
from kanref.terms import Linear
from kanref.weights import Full, Tucker

X = np.random.default_rng(0).uniform(-1, 1, (40, 3))
BASES = {
    "splines": (lambda P: BSpline.uniform(P, 5, 3, outside="linear"), (-1, 1)),
    "splines on [0, 3]": (lambda P: BSpline.uniform(P, 9, 2, 0, 3), (0, 3)),
    "uneven knots": (lambda P: BSpline(np.tile([-1, -1, -1, -0.7, 0.1, 0.2, 1, 1, 1.0], (P, 1)), 2), (-1, 1)),
    "chebyshev": (lambda P: Chebyshev(7), (-1, 1)),
    "silu": (lambda P: bases.silu, (-1, 1)),
}


def one_layer(name, Q, P):
    basis, ends = BASES[name][0](P), BASES[name][1]
    x = np.random.default_rng(10).uniform(*ends, (1000, P))
    return KAN((Layer({"spline": Linear(basis, Full((Q, P, basis.size)))}),)), x


# -------------------------------------------------------------------------------------------------------- from scratch


@pytest.mark.parametrize("variance", [1 / 3, 1])
@pytest.mark.parametrize("ranks", [2, (8, 4, 3), (1, 32, 1)])
@pytest.mark.parametrize("name", BASES)
def test_the_variance_rule(name, ranks, variance):
    """Outputs of a slim layer from scratch have the mean square that is asked for, with inputs uniform on the domain."""
    net, x = one_layer(name, 64, 32)
    ranks = (8, 4, 1) if name == "silu" and ranks == (8, 4, 3) else ranks
    squares = []
    for seed in range(20):
        new, theta = slim.slim(net, ranks, variance=variance, seed=seed)
        squares.append(np.square(new(theta, x)).mean())
    assert_allclose(np.mean(squares), variance, rtol=0.15)
    assert isinstance(new.layers[0].terms["spline"].weights, Tucker)


@pytest.mark.parametrize("name", [name for name in BASES if name.startswith("splines")])
def test_it_starts_from_smooth_functions(name):
    """The columns of U_basis are Legendre polynomials, up to the splines' degree exactly, the constant last."""
    basis, ends = BASES[name][0](3), BASES[name][1]
    s = np.linspace(-1, 1, 50)
    x = np.broadcast_to(((s + 1) / 2 * (ends[1] - ends[0]) + ends[0])[:, None], (50, 3))
    g = basis.dense(x) @ slim.smooth(basis, 3)
    for c in range(basis.degree):
        L = np.polynomial.Legendre.basis(c + 1)(s) * (2 * c + 3) ** 0.5
        assert_allclose(g[:, :, c], np.stack([L] * 3, 1), rtol=0, atol=1e-3)
    assert_allclose(g[:, :, -1], 1, rtol=0, atol=1e-12)
    assert np.linalg.matrix_rank(slim.smooth(basis, 3)) == basis.size


def test_it_starts_from_smooth_functions_on_many_intervals_too():
    basis, s = BSpline.uniform(1, 260, 3), np.linspace(-1, 1, 777)
    g = (basis.dense(s[:, None]) @ slim.smooth(basis, 1))[:, 0]
    assert_allclose(g[:, 1], np.polynomial.Legendre.basis(2)(s) * 5**0.5, rtol=0, atol=1e-4)
    assert_allclose(g[:, -1], 1, rtol=0, atol=1e-12)


def test_ranks_by_layer_and_by_seed():
    net = kan([3, 4, 2], intervals=3)
    new, theta = slim.slim(net, {1: (1, 2, 3)}, seed=1)
    assert isinstance(new.layers[0].terms["spline"].weights, Full)
    assert new.layers[1].terms["spline"].weights.ranks == (1, 2, 3)
    assert np.array_equal(theta, slim.slim(net, (1, 2, 3), layers=[1], seed=1)[1])
    assert not np.array_equal(theta, slim.slim(net, {1: (1, 2, 3)}, seed=2)[1])


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


# ------------------------------------------------------------------------------------------------ from trained weights


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


def test_what_is_of_low_rank_comes_back():
    """Tucker weights written out, and cut to their ranks again: the same function; masked ones as well."""
    net, theta = slim.slim(kan([3, 6, 2], intervals=4, base=None), (2, 2, 3), seed=3)
    full = kan([3, 6, 2], intervals=4, base=None)
    written = full.join({
        f"{l}.spline.W": layer.terms["spline"].weights.tensor(
            {name: net.split(theta)[f"{l}.spline.{name}"] for name in layer.terms["spline"].arrays}
        )
        for l, layer in enumerate(net.layers)
    })  # fmt: skip
    assert_allclose(full(written, X), net(theta, X), rtol=0, atol=1e-13)
    again, few = slim.slimmed(full, written, (2, 2, 3))
    assert again.size == net.size
    assert_allclose(again(few, X), net(theta, X), rtol=0, atol=1e-13)
    by_energy, _ = slim.slimmed(full, written, energy=1 - 1e-12)
    assert [layer.terms["spline"].weights.ranks for layer in by_energy.layers] == [(2, 2, 3)] * 2
    pruned, rest = masked(full, written, [[0, 1, 2], [0, 2, 3], [0, 1]])[:2]
    same, own = slim.slimmed(pruned, rest, tolerance=0.0)
    assert_allclose(same(own, X), pruned(rest, X), rtol=0, atol=1e-13)


def test_what_was_pruned_stays_pruned():
    """However theta moves, edges that a mask switches off are zero, and a cut is nowhere further off than without the mask."""
    net = kan([3, 6, 2], intervals=4)
    theta = net.init(3)
    edges = np.random.default_rng(2).integers(0, 2, (6, 3)), [[1, 2, 1, 0, 1, 1], [0, 2, 1, 1, 1, 0]]
    net, theta = masked(net, theta, edges=edges)[:2]
    written = [layer.terms["spline"].weights.tensor({"W": own["spline.W"]}) for layer, own in zip(net.layers, arrays(net, theta))]
    for new, few in (slim.slim(net, 2, seed=1), slim.slimmed(net, theta, 2)):
        for layer, old, own in zip(new.layers, net.layers, arrays(new, few + 0.1)):
            weights, mask = layer.terms["spline"].weights, old.terms["spline"].weights.mask
            assert isinstance(weights.inner, Tucker) and (mask == 0).any()
            W = weights.tensor({name: own[f"spline.{name}"] for name in weights.arrays})
            assert np.array_equal(W.any(2), mask != 0)
    for layer, W, own in zip(new.layers, written, arrays(new, few)):
        weights = layer.terms["spline"].weights
        own = {name: own[f"spline.{name}"] for name in weights.arrays}
        cut = tensors.tucker(*tensors.hosvd(W, weights.inner.ranks))
        assert_allclose(weights.inner.tensor(own), cut, rtol=0, atol=1e-14)
        assert np.linalg.norm(weights.tensor(own) - W) < np.linalg.norm(cut - W)
    loss = objectives.mse(new, X, X[:, :2])
    assert check.relative(loss(few)[1], check.complex_step(lambda theta: check.value(loss, theta), few)) < 1e-12


def arrays(net, theta):
    """{name in the layer: array} of every layer."""
    found = [{} for _ in net.layers]
    for name, a in net.split(theta).items():
        found[int(name[0])][name[2:]] = np.ascontiguousarray(a)
    return found


def test_terms_are_names_and_a_text_is_one():
    net = kan([3, 4, 2], intervals=3)
    (one, theta), (two, same) = (slim.slim(net, 1, terms=terms, seed=1) for terms in ("spline", ["spline"]))
    assert one.layout == two.layout and np.array_equal(theta, same)
    assert isinstance(one.layers[0].terms["base"].weights, Full)


# --------------------------------------------------------------------------------------------------------------- choices


def test_choices_is_a_table_of_error_against_parameters():
    net = kan([3, 6, 1], intervals=4, base=None)
    y, held = X[:, :1] * X[:, 1:2], np.random.default_rng(1).uniform(-1, 1, (50, 3))
    loss = lambda net: objectives.mse(net, X, y)
    measure = lambda net, theta: objectives.mse(net, held, held[:, :1] * held[:, 1:2]).value(theta) ** 0.5
    theta = optimize.lbfgs(loss(net), net.init(0), steps=30).theta
    table = slim.choices(net, theta, loss, [1, 2, 9, {0: 2}], minimise=partial(optimize.lbfgs, steps=10), measure=measure)
    assert table.size == net.size and table.error == measure(net, theta)
    sizes = [row.net.size for row in table.rows]
    assert sizes[0] < sizes[1] < sizes[3] < net.size < sizes[2]
    for row in table.rows:
        cut, few = slim.slimmed(net, theta, row.ranks)
        assert row.before == measure(cut, few) and row.after == measure(row.net, row.theta)
        assert loss(row.net).value(row.theta) < loss(cut).value(few)
    assert table.rows[2].before == pytest.approx(table.error, rel=1e-9)  # nothing cut
    lines = repr(table).splitlines()
    assert lines[0].split() == ["ranks", "parameters", "times", "fewer", "error", "trained", "on"]
    assert lines[1].split() == ["full", str(net.size), f"{table.error:.2e}"]
    row = table.rows[1]
    assert lines[3].split() == ["2", str(sizes[1]), f"{net.size / sizes[1]:.1f}", f"{row.before:.2e}", f"{row.after:.2e}"]


def test_choices_without_training():
    net = kan([3, 6, 1], intervals=4)
    table = slim.choices(net, net.init(0), lambda net: objectives.mse(net, X, X[:, 0]), [1])
    assert table.rows[0].after is None and "trained" not in repr(table)
    assert table.rows[0].before == objectives.mse(table.rows[0].net, X, X[:, 0]).value(table.rows[0].theta)


def test_an_interrupt_ends_the_table_with_its_row():
    net = kan([3, 6, 1], intervals=4)
    loss = lambda net: objectives.mse(net, X, X[:, 0])
    for reason, count in ((optimize.Stop.INTERRUPTED, 1), (optimize.Stop.STEPS, 3)):
        minimise = lambda f, theta, reason=reason: replace(optimize.lbfgs(f, theta, steps=1), reason=reason)
        assert len(slim.choices(net, net.init(0), loss, [1, 2, 3], minimise=minimise).rows) == count


# --------------------------------------------------------------------------------------------------------------- messages


NET = kan([3, 4, 2], intervals=3)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: slim.slim(NET, 0), ValueError, r"ranks must be from 1 to the sizes \(4, 3, 6\), one for each mode"),
        (lambda: slim.slim(NET, 2.7), TypeError, "ranks must be integers, but they are 2.7"),
        (lambda: slim.slimmed(NET, NET.init(0), (2, 2.0, 2)), TypeError, r"ranks must be integers, but they are \(2, 2.0, 2\)"),
        (lambda: slim.slim(NET, True), TypeError, "ranks must be integers, but they are True"),
        (lambda: slim.slim(NET, 2, terms="spl"), ValueError, "no layer has terms named spl;"),
        (lambda: slim.slim(NET, (4, 4, 6)), ValueError, r"sizes \(4, 3, 6\), one for each mode, but they are \(4, 4, 6\)"),
        (lambda: slim.slim(NET, {2: 1}), ValueError, "an entry of layers must be from 0 to 1, but it is 2"),
        (lambda: slim.slim(NET, {0: 1}, layers=[1]), ValueError, "ranks that name layers leave no choice of layers"),
        (lambda: slim.slim(NET, 2, terms=("splines",)), ValueError, "no layer has terms named splines"),
        (lambda: slim.slim(NET, 2, variance=0), ValueError, "variance must be positive and finite, but it is 0"),
        (lambda: slim.slimmed(NET, NET.init(0)), ValueError, "exactly one of ranks, tolerance and energy, but got none"),
        (lambda: slim.slimmed(NET, NET.init(0), 2, energy=0.9), ValueError, "but got ranks, energy"),
        (lambda: slim.slim(symbolic(), 1, terms=("symbolic",)), TypeError, "'symbolic' of type Symbolic; only linear terms"),
    ],
)
def test_bad_input(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def symbolic():
    return KAN((Layer({"symbolic": Symbolic((1, 1), ((0, 0, LIBRARY["sin"]),))}),))


# --------------------------------------------------------------------------------------------------------- both ways


@pytest.mark.parametrize("ranks", [(2, 2, 2), (30, 2, 7)], ids=["factored", "written out"])
@pytest.mark.parametrize("basis", [BSpline.uniform(2, 4, 3), Chebyshev(6)], ids=["splines", "chebyshev"])
def test_both_ways_through_a_slim_layer(basis, ranks):
    """The term's contract with jets, and equality with W written out, whichever way the rule takes."""
    rng = np.random.default_rng(11)
    term = Linear(basis, Tucker((300, 2, 7), ranks))
    assert term.route == ("factored" if ranks == (2, 2, 2) else "written")
    check.check_term(term, rng, rng.uniform(-0.9, 0.9, (5, 2)))
    arrays = {name: rng.normal(size=shape) for name, shape in term.arrays.items()}
    full, z = Linear(basis, Full((300, 2, 7))), rng.uniform(-0.9, 0.9, (3, 8, 2))
    W = {"W": term.weights.tensor(arrays)}
    y = full.forward(W, z)
    assert_allclose(term.forward(arrays, z), y, rtol=0, atol=1e-13 * np.abs(y).max())
    y_bar = rng.normal(size=(3, 8, 300))
    (own, z_bar), (theirs, z_bar_full) = term.pullback(arrays, z, y_bar), full.pullback(W, z, y_bar)
    assert_allclose(z_bar, z_bar_full, rtol=0, atol=1e-13 * np.abs(z_bar_full).max())
    for name, a in term.weights.pullback(arrays, theirs["W"]).items():
        assert_allclose(own[name], a, rtol=0, atol=1e-11 * np.abs(a).max())
