"""Transfers: the function is kept, whatever the weights, the policy and the degree; adjoints, projections, products."""

import functools
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import grids, objectives
from kanref.bases import BSpline, silu
from kanref.mlp import mlp
from kanref.multilevel.relu_form import as_relus
from kanref.multilevel.transfer import between, dyadic, inserted, through_power_relus
from kanref.network import KAN, Layer, kan
from kanref.terms import Linear
from kanref.weights import Fixed, Full, InBasis, LoTRA, LowRank, Masked, Scaled, Tucker

POLICIES = "zero", "linear", "clamp"
CLAIMED = [("zero", "nested"), ("zero", None), ("linear", "fine"), ("linear", None), ("clamp", "fine"), ("clamp", None)]
DEGREES = 1, 2, 3, 4, 5


def generator(seed=0):
    return np.random.default_rng(seed)


KINDS = {
    "full": lambda shape, basis: Full(shape),
    "masked": lambda shape, basis: Masked(Full(shape), generator(1).integers(0, 2, shape[:2]) + 0.5),
    "scaled": lambda shape, basis: Scaled(Full(shape)),
    "masked scaled": lambda shape, basis: Masked(Scaled(Full(shape)), generator(2).uniform(size=shape[:2])),
    "tucker": lambda shape, basis: Tucker(shape, (2, 2, 3)),
    "lotra": lambda shape, basis: LoTRA(generator(3).normal(size=shape), Tucker(shape, (1, 2, 2)), 0.5),
    "low rank": lambda shape, basis: LowRank(shape, 2),
    "in power ReLUs": lambda shape, basis: InBasis(Full(shape), basis),
    "fixed": lambda shape, basis: Fixed(generator(4).normal(size=shape)),
}


def network(kind="full", outside="zero", degree=3, intervals=3, knots=None):
    """[2, 3, 2] with a base branch, and theta with coefficients of size one, so that hidden values reach far out."""
    layers = []
    for P, Q in ((2, 3), (3, 2)):
        basis = BSpline.uniform(P, intervals, degree, -1, 1, outside)
        if knots is not None:
            basis = BSpline(np.stack([knots(p) for p in range(P)]), degree, outside)
        shape = Q, P, basis.size
        layers.append(Layer({"base": Linear(silu, Full((Q, P, 1))), "spline": Linear(basis, KINDS[kind](shape, basis))}))
    net, rng = KAN(tuple(layers)), generator(degree)
    theta = rng.normal(size=net.size)
    for name, view in net.split(theta).items():
        weights = net.layers[int(name[0])].terms["spline"].weights
        if isinstance(weights, InBasis) and name.endswith("spline.W"):
            view[...] = weights.start(rng.normal(size=weights.shape))["W"]  # other ones make splines of size cond(A)
    return net, theta


def uneven(degree):
    """Rows of knots of unequal spacing, other ones for every input."""
    return lambda p: np.cumsum(generator(p + 10).uniform(0.2, 0.7, 2 * degree + 5)) - 2


def repeated(degree):
    """Clamped ends, one knot twice."""
    return lambda p: np.concatenate([np.full(degree + 1, -1.0), [-0.5, 0.1, 0.1, 0.6], np.full(degree + 1, 1.0)])


def inputs(reach, count=60):
    return generator(5).uniform(-reach, reach, (count, 2))


def assert_same_function(net, theta, fine, theta_f, x, tolerance):
    """Values, first and second derivatives, relative to the largest."""
    for a, b in zip(net.derivatives(theta, x), fine.derivatives(theta_f, x), strict=True):
        assert_allclose(b, a, rtol=0, atol=tolerance * max(1, np.abs(a).max()))


def leaves(net, theta, x):
    """Whether inputs and hidden values lie outside of the splines' domains, at least a quarter of them."""
    levels = net.activations(theta, x)[:-1]
    domains = [layer.terms["spline"].basis.domain.T for layer in net.layers]
    return all(((z < low) | (z > high)).mean() > 0.25 for z, (low, high) in zip(levels, domains))


# -------------------------------------------------------------------------------------------------- properly nested


@pytest.mark.parametrize("outside, exterior", CLAIMED)
@pytest.mark.parametrize("degree", DEGREES)
def test_the_fine_network_is_the_coarse_one_everywhere(degree, outside, exterior):
    net, theta = network("full", outside, degree)
    x = inputs(2.5)
    assert leaves(net, theta, x)
    transfer = dyadic(net, exterior)
    assert_same_function(net, theta, transfer.fine, transfer.prolong(theta), x, 1e-13)
    thrice = dyadic(net, exterior, times=3)
    assert_same_function(net, theta, thrice.fine, thrice.prolong(theta), x, 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outside", POLICIES)
def test_every_kind_of_weights(kind, outside):
    """To the stated digits; in power ReLUs these are fewer by the condition of the change of basis."""
    net, theta = network(kind, outside)
    x, relu = inputs(2.5), kind == "in power ReLUs"
    assert leaves(net, theta, x)
    for times, tolerance in ((1, 1e-13), (3, 1e-12)):
        transfer = dyadic(net, None, times)
        condition = max(np.linalg.cond(layer.terms["spline"].weights.A) for layer in transfer.fine.layers) if relu else 1
        assert_same_function(net, theta, transfer.fine, transfer.prolong(theta), x, tolerance * condition)
        if kind != "fixed":
            assert transfer.fine.size > net.size


@pytest.mark.parametrize("degree", DEGREES)
def test_fine_with_outside_zero_is_exact_inside_only(degree):
    net, theta = network("full", "zero", degree)
    layer = KAN(net.layers[:1])
    theta = theta[: layer.size]
    transfer = dyadic(layer, "fine")
    fine = transfer.prolong(theta)
    assert_same_function(layer, theta, transfer.fine, fine, inputs(1.0), 1e-13)
    edge = np.full((1, 2), 1.0 + 1.5 / 3)  # half a coarse span beyond, where the fine splines of a high degree are gone
    assert np.abs(layer(theta, edge) - transfer.fine(fine, edge)).max() > 1e-3
    whole = dyadic(layer, "nested")
    assert_same_function(layer, theta, whole.fine, whole.prolong(theta), edge, 1e-13)


def test_outside_error_inside():
    net = kan([2, 3, 1], outside="error", base=None)
    theta = net.init(0)
    transfer = dyadic(net, "fine")
    assert_same_function(net, theta, transfer.fine, transfer.prolong(theta), inputs(1.0) / 4, 1e-13)


@pytest.mark.parametrize("rows", [uneven, repeated])
@pytest.mark.parametrize("outside", POLICIES)
@pytest.mark.parametrize("degree", (2, 3, 5))
def test_any_knots_halved(degree, outside, rows):
    net, theta = network("full", outside, degree, knots=rows(degree))
    x = inputs(2.5)
    for times, tolerance in ((1, 1e-13), (3, 1e-12)):
        transfer = dyadic(net, None, times)
        assert_same_function(net, theta, transfer.fine, transfer.prolong(theta), x, tolerance)


@pytest.mark.parametrize("kind", ["full", "masked scaled"])
@pytest.mark.parametrize("outside", POLICIES)
def test_inserted_knots(outside, kind):
    net, theta = network(kind, outside)
    rows = generator(6).uniform(-1, 1, (3, 4))
    transfer = inserted(net, {0: [-0.3, 0.61], 1: rows})
    x = inputs(2.5)
    assert leaves(net, theta, x)
    assert_same_function(net, theta, transfer.fine, transfer.prolong(theta), x, 1e-13)
    assert transfer.fine.size == net.size + 6 * (2 + 4)
    by_grids = grids.insert_knots(*grids.insert_knots(net, theta, 0, [-0.3, 0.61]), 1, rows)
    assert_array_equal(transfer.prolong(theta), by_grids[1])


def test_precision_is_kept_and_grids_refine_agrees():
    net, theta = network("full", "zero")
    for exterior in ("fine", "nested"):
        transfer = dyadic(net, exterior, 2)
        fine, by_grids = grids.refine(net, theta, 2, exterior)
        assert transfer.fine.layout == fine.layout
        assert_allclose(transfer.prolong(theta), by_grids, rtol=1e-15, atol=1e-15)
    assert transfer.prolong(theta.astype(np.float32)).dtype == np.float32
    assert dyadic(net, times=0).prolong(theta) is not theta
    only = dyadic(net, layers=[1])
    assert only.fine.layers[0] is net.layers[0] and set(only.maps) == {"1.spline.W"}


# ------------------------------------------------------------------------------------------------ adjoint, inverse

BUILDERS = {
    "fine": lambda net: dyadic(net, "fine"),
    "nested": lambda net: dyadic(net, "nested", 2),
    "inserted": lambda net: inserted(net, {0: [0.05, 0.3], 1: [-0.2]}),
}
every_transfer = pytest.mark.parametrize("kind, build", [*product(KINDS, BUILDERS)])


@every_transfer
def test_restriction_is_the_adjoint(kind, build):
    net, theta = network(kind)
    transfer = BUILDERS[build](net)
    w = generator(7).normal(size=transfer.fine.size)
    forward, back = transfer.prolong(theta), transfer.restrict(w)
    assert_allclose(forward @ w, theta @ back, rtol=0, atol=1e-14 * (np.abs(forward) @ np.abs(w)))
    P = transfer.matrix()
    assert P.shape == (transfer.fine.size, net.size)
    assert_allclose(P @ theta, forward, rtol=0, atol=1e-14 * np.abs(forward).max())
    assert_allclose(P.T @ w, back, rtol=0, atol=1e-14 * np.abs(back).max())


@every_transfer
def test_projection_is_the_least_squares_inverse(kind, build):
    net, theta = network(kind)
    transfer = BUILDERS[build](net)
    assert_allclose(transfer.project(transfer.prolong(theta)), theta, rtol=0, atol=1e-13)
    fine = generator(8).normal(size=transfer.fine.size)
    left = transfer.prolong(transfer.project(fine)) - fine
    assert_allclose(transfer.restrict(left), 0, atol=1e-13 * np.abs(fine).max() * 10)


def test_the_coarse_gradient_is_the_restricted_fine_one():
    """d/du L_f(P u) = P' grad L_f: and properly nested means it is grad L_c."""
    net, theta = network("masked scaled", "linear")
    x, y = inputs(2), generator(9).normal(size=(60, 2))
    transfer = dyadic(net, "fine", 2)
    value, gradient = objectives.mse(net, x, y)(theta)
    value_f, gradient_f = objectives.mse(transfer.fine, x, y)(transfer.prolong(theta))
    assert_allclose(value_f, value, rtol=1e-13)
    assert_allclose(transfer.restrict(gradient_f), gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())


def test_squares():
    net, theta = network("full")
    transfer = dyadic(net, "fine")
    assert_allclose(transfer.prolong_squares(theta**2), transfer.matrix() ** 2 @ theta**2, rtol=1e-13, atol=1e-13)


def test_transfers_in_a_row():
    net, theta = network("masked scaled", "linear")
    first = inserted(net, {0: [0.1]})
    second = dyadic(first.fine, "fine")
    both = first.then(second)
    assert both.coarse is net and both.fine is second.fine
    assert_allclose(both.prolong(theta), second.prolong(first.prolong(theta)), rtol=0, atol=1e-14 * 10)
    with pytest.raises(ValueError, match="must start from this one's fine network of .* parameters, but it starts"):
        second.then(first)


# ------------------------------------------------------------------------------------------------------ the numbers


@pytest.mark.parametrize("degree, ends", [(1, [1.5]), (2, [1.0]), (3, [0.625, 1.875]), (0, [])])
def test_rows_and_columns(degree, ends):
    """Fine functions take shares that sum to one; coarse ones give two, less at the ends; the ends for 7 intervals."""
    net = kan([1, 1], intervals=7, degree=degree, base=None)
    mode, M = dyadic(net, "fine").maps["0.spline.W"]
    assert mode == 2 and M.shape == (14 + degree, 7 + degree)
    assert_allclose(M.sum(1), 1, rtol=0, atol=1e-15)
    inner = [2.0] * (7 + degree - 2 * len(ends))
    assert_allclose(M.sum(0), [*ends, *inner, *ends[::-1]], rtol=0, atol=1e-15)


@pytest.mark.parametrize("degree", DEGREES)
def test_the_printed_factor_halves_the_function(degree):
    """Eq. 25 has 2^-r for the order r = degree + 1; 2^(1-r) is right. The error is half the value of the function."""
    net = kan([1, 1], intervals=5, degree=degree, base=None)
    x, theta = np.linspace(-1, 1, 41)[:, None], generator().normal(size=net.size)
    transfer = dyadic(net, "fine")
    printed = replace(transfer, maps={name: (mode, M / 2) for name, (mode, M) in transfer.maps.items()})
    assert_allclose(printed.fine(printed.prolong(theta), x), net(theta, x) / 2, rtol=0, atol=1e-14)
    assert_allclose(transfer.fine(transfer.prolong(theta), x), net(theta, x), rtol=0, atol=1e-14)


def test_cubic_rows():
    """(c_i + c_{i+1})/2 and (c_{i-1} + 6 c_i + c_{i+1})/8."""
    M = dyadic(kan([1, 1], intervals=2, base=None), "fine").maps["0.spline.W"][1]
    rows = [[4, 4, 0, 0, 0], [1, 6, 1, 0, 0], [0, 4, 4, 0, 0], [0, 1, 6, 1, 0], [0, 0, 4, 4, 0], [0, 0, 1, 6, 1], [0, 0, 0, 4, 4]]
    assert_array_equal(8 * M, rows)


# ---------------------------------------------------------------------------------------------- between given grids


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("kind", ["full", "lotra"])
def test_between_two_networks(kind, build):
    net, _ = network(kind)
    made = BUILDERS[build](net)
    found = between(net, made.fine)
    assert set(found.maps) == set(made.maps)
    for name, (mode, M) in made.maps.items():
        assert found.maps[name][0] == mode
        assert_allclose(*np.broadcast_arrays(found.maps[name][1], M), rtol=0, atol=1e-15)


@pytest.mark.parametrize("degree", (0, *DEGREES))
def test_between_grids_with_other_exterior_knots(degree):
    """Uniform grids of 3 and of 6, 9, 12 intervals on one domain: exact inside, their exterior knots differ."""
    build = functools.partial(kan, [2, 3, 1], degree=degree, base=None, domain=(-0.7, 1.1), outside="clamp")
    coarse = build(intervals=3)
    theta, x = generator().normal(size=coarse.size), inputs(2)
    for times in (2, 3, 4):
        transfer = between(coarse, build(intervals=3 * times))
        assert transfer.fine.size == build(intervals=3 * times).size
        assert_same_function(coarse, theta, transfer.fine, transfer.prolong(theta), x, 1e-12)


def test_between_clamped_and_extended_knots():
    clamped = BSpline([[-1, -1, -1, -1, 0, 1, 1, 1, 1]], 3, "linear")
    layers = [Layer({"spline": Linear(basis, Full((1, 1, basis.size)))}) for basis in
              (clamped, BSpline.uniform(1, 4, 3, outside="linear"))]  # fmt: skip
    coarse, fine = (KAN((layer,)) for layer in layers)
    theta, x = generator().normal(size=coarse.size), generator().uniform(-2, 2, (50, 1))
    transfer = between(coarse, fine)
    assert_same_function(coarse, theta, transfer.fine, transfer.prolong(theta), x, 1e-13)


def test_between_says_what_is_wrong():
    build = functools.partial(kan, [2, 3, 1], base=None)
    with pytest.raises(ValueError, match=r"the knots of input 0 of layer 0 are not nested.*but lack \[-0.6 -0.2  0.2  0.6\]"):
        between(build(intervals=5, domain=(-1, 1)), build(intervals=4))
    with pytest.raises(ValueError, match=r"must cover the domain \[-2, 2\] of the coarse ones, but cover \[-1, 1\]"):
        between(build(intervals=2, domain=(-2, 2)), build(intervals=4))
    with pytest.raises(ValueError, match="the networks have 2 and 1 layers"):
        between(build(), kan([2, 1], base=None))
    with pytest.raises(ValueError, match="no B-splines 'spline' of the coarse one's degree"):
        between(build(), build(degree=2))
    with pytest.raises(ValueError, match="differs from the coarse one in more than its knots"):
        between(build(), kan([2, 3, 1], intervals=10))


def test_nothing_to_refine_is_no_refinement():
    """A transfer that changes nothing would pass for a finer level."""
    net = kan([2, 2, 1], intervals=3, base=None, first="linear")
    for own, layers in ((mlp([2, 3, 1], "relu"), None), (as_relus(net, net.init(0))[0], None), (net, [0])):
        with pytest.raises(ValueError, match="no B-splines to refine in the chosen layers"):
            dyadic(own, layers=layers)
    assert dyadic(mlp([2, 3, 1], "relu"), times=0).maps == {}


def test_bad_vectors_and_exteriors():
    net, theta = network("full", "linear")
    transfer = dyadic(net)
    for verb in (transfer.restrict, transfer.project):
        with pytest.raises(ValueError, match=f"theta must hold {transfer.fine.size} float64"):
            verb(theta)
    with pytest.raises(ValueError, match="theta must be one vector"):
        transfer.prolong(theta[None])
    with pytest.raises(ValueError, match='exterior="nested" widens the domain'):
        dyadic(net, "nested")
    with pytest.raises(ValueError, match="layer 0 has no B-splines"):
        inserted(kan([2, 3, 1], first="linear"), {0: [0.1]})


# ------------------------------------------------------------------------------------------- through the power ReLUs


@pytest.mark.parametrize("degree, digits", [(1, 14), (2, 13), (3, 12), (4, 11), (5, 10)])
def test_the_general_formula(degree, digits):
    """A_T I A_T'^-1 is knot insertion, with errors that grow with the condition of A."""
    t = np.linspace(-1, 1, 8 + 2 * degree)
    fine = np.sort(np.concatenate([t, t[:-1] / 2 + t[1:] / 2]))
    seen = fine[: -degree - 1] < t[-degree - 1]  # fine functions on the coarse domain or left of it; powers do not end there
    general, stable = through_power_relus(t, fine, degree), grids.insertion_matrix(t, degree, np.setdiff1d(fine, t))[1]
    assert_allclose(general[seen], stable[seen], rtol=0, atol=10.0**-digits)
    assert np.abs(general[~seen] - stable[~seen]).max() > 0.1


def test_the_general_formula_needs_every_knot():
    with pytest.raises(ValueError, match="needs every knot of the coarse row in the fine one, but .* are missing"):
        through_power_relus(np.linspace(-1, 1, 9), np.linspace(-1, 1, 13), 2)
