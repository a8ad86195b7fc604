"""The geometry of descent: weights in the other basis, conversions of networks, spectra, tangent kernels."""

import math
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import grids, objectives, optimize
from kanref.bases import BSpline
from kanref.check import CheckError, check_adjoint, check_weights, knot_rows
from kanref.mlp import mlp, relu, start
from kanref.multilevel import free_knots
from kanref.multilevel.geometry import (
    condition,
    norm,
    sign_changes,
    spectrum,
    tangent_bound,
    tangent_kernels,
    within,
)
from kanref.multilevel.relu_form import as_relus, as_splines, from_mlp, in_relus, relu_power, to_mlp
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.plot import spectra as figures
from kanref.power_relu import PowerReLU, change_of_basis, differences, inverse, sums
from kanref.tensors import mode_dot
from kanref.terms import Linear
from kanref.weights import Full, InBasis, LoTRA, Masked, Scaled, Tucker

ROWS = [(iterate, gradient) for iterate in ("relu", "spline") for gradient in ("relu", "spline")]
every_row = pytest.mark.parametrize(("iterate", "gradient"), ROWS)


def uneven(inputs=2, degree=2, seed=0):
    return BSpline(knot_rows("random", inputs, degree, np.random.default_rng(seed)), degree)


BASES = {"uniform": BSpline.uniform(2, 3, 2), "uneven": uneven()}
every_basis = pytest.mark.parametrize("name", BASES)


def problem(basis):
    """A network [2, 1] of splines, weights, an objective's factory, A (P, K, K)."""
    net = KAN((spline_layer(2, 1, basis, base=None),))
    rng = np.random.default_rng(1)
    x = rng.uniform(basis.domain[:, 0], basis.domain[:, 1], (40, 2))
    loss = lambda net: objectives.mse(net, x, np.sin(3 * x[:, 0]) + x[:, 1] ** 2)
    A = np.broadcast_to(change_of_basis(basis.knots, basis.degree), (2, basis.size, basis.size))
    return net, 0.3 * rng.normal(size=net.size), loss, A


def vectors(net, theta):
    """(P, K): the one trained array."""
    return net.split(theta)["0.spline.W"][0]


# ------------------------------------------------------------------------------------- the four rows of the paper's table


def times(M, v):
    return np.einsum("pij,pj->pi", M, v)


def transposed(M):
    return M.swapaxes(1, 2)


TABLE = {  # row: direction of w from g_w, and of u from g_u, both over the optimiser's preconditioner D
    ("relu", "relu"): (
        lambda A, D, g: D(g),
        lambda A, D, g: times(transposed(np.linalg.inv(A)), D(times(np.linalg.inv(A), g))),
    ),
    ("relu", "spline"): (lambda A, D, g: D(times(A, g)), lambda A, D, g: times(transposed(np.linalg.inv(A)), D(g))),
    ("spline", "spline"): (lambda A, D, g: times(transposed(A), D(times(A, g))), lambda A, D, g: D(g)),
    ("spline", "relu"): (lambda A, D, g: times(transposed(A), D(g)), lambda A, D, g: D(times(np.linalg.inv(A), g))),
}
OPTIMISERS = {  # D of the first step: plain descent; Adam's g / |g|
    "descent": lambda g: g,
    "adam": lambda g: g / (np.abs(g) + 1e-8),
}
ETA = 1e-2


def stepped(loss, theta, optimiser):
    if optimiser == "descent":
        return theta - ETA * loss(theta)[1]
    return optimize.adam(loss, theta, steps=1, rate=ETA, keep="last").theta


@every_basis
@every_row
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_step_in_each_row_is_the_papers_formula_in_both_iterates(name, iterate, gradient, optimiser):
    net, theta, loss, A = problem(BASES[name])
    u, g_u = vectors(net, theta), vectors(net, loss(net)(theta)[1])
    w, g_w = times(transposed(A), u), times(np.linalg.inv(A), g_u)
    twin, point = in_relus(net, theta, iterate, gradient)
    after = stepped(loss(twin), point, optimiser)
    back, u_after = as_splines(twin, after)
    u_after = vectors(back, u_after)
    in_w, in_u = TABLE[iterate, gradient]
    D = OPTIMISERS[optimiser]
    assert_allclose(u_after, u - ETA * in_u(A, D, g_u), rtol=1e-9, atol=1e-9 * np.abs(u_after).max())
    w_after = w - ETA * in_w(A, D, g_w)
    assert_allclose(times(transposed(A), u_after), w_after, rtol=1e-9, atol=1e-9 * np.abs(w_after).max())
    assert np.abs(u_after - u).max() > 1e-4


@every_row
@every_basis
def test_only_two_rows_have_an_adjoint(name, iterate, gradient):
    weights = InBasis(Full((3, 2, BASES[name].size)), BASES[name], iterate, gradient)
    if iterate == gradient:
        check_weights(weights, np.random.default_rng(2))
    else:
        with pytest.raises(CheckError, match="InBasis: 'pullback' has relative error"):
            check_weights(weights, np.random.default_rng(2))


def test_the_other_basis_gradient_may_climb():
    """(A + A')/2 is indefinite for degrees >= 1, so some loss rises along -A g_w, however short the step; not for degree 0."""
    assert np.linalg.eigvalsh(differences(9, 1) + differences(9, 1).T)[0] > 0
    for order in (2, 3, 4, 5):
        A = differences(9, order)
        lowest, V = np.linalg.eigh(A + A.T)
        assert lowest[0] < -0.1
        g = V[:, 0]
        assert g @ A @ g < 0  # the slope of L along -A g is -g' A g > 0


def test_the_gradient_in_power_relus_trains_with_a_line_search():
    """L-BFGS in the ReLU geometry goes down and is the multichannel MLP: the same values, the same gradient, by `PowerReLU`."""
    net, theta, loss, _ = problem(BASES["uneven"])
    twin, w = in_relus(net, theta)
    literal, same = as_relus(net, theta)
    assert_array_equal(w, same)
    (value, gradient), (by_powers, gradient_by_powers) = loss(twin)(w), loss(literal)(w)
    assert_allclose(value, by_powers, rtol=1e-12)
    assert_allclose(gradient, gradient_by_powers, rtol=1e-11)
    result = optimize.lbfgs(loss(twin), w, steps=50)
    assert result.value < 0.05 * value


@pytest.mark.parametrize("bad", ["iterate", "gradient"])
def test_geometries_have_names(bad):
    with pytest.raises(ValueError, match=f"{bad} must be one of 'relu', 'spline', but it is 'w'"):
        InBasis(Full((1, 2, 5)), BASES["uniform"], **{bad: "w"})


def test_what_in_basis_refuses():
    with pytest.raises(ValueError, match=r"basis has 5 functions of 2 inputs, but inner has shape \(1, 2, 6\)"):
        InBasis(Full((1, 2, 6)), BASES["uniform"])
    with pytest.raises(TypeError, match="basis must be a BSpline, whose power ReLUs are meant"):
        InBasis(Full((1, 2, 5)), PowerReLU(BASES["uniform"].knots, 2))
    with pytest.raises(ValueError, match="power ReLUs need strictly increasing knots"):
        InBasis(Full((1, 1, 4)), BSpline([[0.0, 0, 0, 1, 2, 2, 2]], 2))
    with pytest.raises(ValueError, match="give the new ones, rebased"):
        InBasis(Full((1, 2, 5)), BASES["uniform"]).rebased(np.eye(5))


# ------------------------------------------------------------------------------------------------- refined and selected

KINDS = {
    "full": lambda shape, rng: Full(shape),
    "masked": lambda shape, rng: Masked(Full(shape), rng.integers(0, 2, shape[:2])),
    "scaled": lambda shape, rng: Scaled(Full(shape)),
    "tucker": lambda shape, rng: Tucker(shape, (1, 2, 3)),
    "lotra": lambda shape, rng: LoTRA(0.02 * rng.normal(size=shape), Tucker(shape, (1, 1, 2)), 0.5),
}


def layered(kind, basis, outside=False):
    """[2, 2, 1] with weights of a kind, `InBasis` around them (or, with `outside`, within a mask)."""
    rng, layers = np.random.default_rng(3), []
    for Q in (2, 1):
        inner = KINDS[kind]((Q, 2, basis.size), rng)
        weights = Masked(InBasis(inner, basis), rng.uniform(0.5, 1, (Q, 2))) if outside else InBasis(inner, basis)
        layers.append(Layer({"spline": Linear(basis, weights)}))
    return KAN(tuple(layers))


X = np.random.default_rng(4).uniform(-0.9, 0.9, (30, 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("exterior", ["nested", "fine"])
def test_refinement_keeps_the_function(kind, outside, exterior):
    net = layered(kind, BSpline.uniform(2, 3, 2, -3, 3), outside)
    theta = net.init(0)
    fine, finer = grids.refine(net, theta, 2, exterior)
    assert fine.layers[0].terms["spline"].basis.intervals == (24 if exterior == "nested" else 12)
    assert_allclose(fine(finer, X), net(theta, X), rtol=0, atol=1e-12 * max(1, np.abs(net(theta, X)).max()))
    assert fine.size > net.size


def test_refinement_of_power_relus_is_an_injection():
    """Where every coarse knot is a fine one, psi_j is 2^-degree times the fine function of that knot: no rounding at all.

    Fine knots between coarse ones have no weight. From the old end of the domain on, they bring the splines back to zero.
    """
    net, theta, _, _ = problem(BASES["uniform"])
    twin, w = in_relus(net, theta)
    fine, finer = grids.refine(twin, w, 1, "nested")
    v, found = vectors(twin, w), vectors(fine, finer)
    assert v.shape[1] == 5 and found.shape[1] == 12
    assert_array_equal(found[:, :10:2], v / 4)
    assert_array_equal(found[:, 1::2], 0)
    u = vectors(net, theta)
    assert_allclose(found[:, 10], (u[:, 2:] @ [-1, 3, -3]) / 2 / 4, rtol=1e-12)  # of (I - S)^3 / 2 without its end


def test_refinement_has_an_adjoint():
    """The map of the trained array is linear: w -> A'_f R A_c^-T w, per input for uneven knots."""
    weights = InBasis(Full((3, 2, 5)), BASES["uneven"])
    R, rng = np.random.default_rng(5).normal(size=(2, 8, 5)), np.random.default_rng(6)
    fine = uneven(2, 5, 1)
    kind, maps = weights.rebased(R, fine)
    mode, M = maps["W"]
    A, A_inverse = change_of_basis(fine.knots, 5), inverse(BASES["uneven"].knots, 2)
    assert mode == 2 and kind.shape == (3, 2, 8)
    assert_allclose(M, transposed(A) @ R @ transposed(A_inverse), rtol=1e-12, atol=1e-9)
    w, y = rng.normal(size=(3, 2, 5)), rng.normal(size=(3, 2, 8))
    check_adjoint(lambda w: mode_dot(w, M, mode), lambda y: mode_dot(y, transposed(M), mode), w, y)


def test_knots_moved_to_the_samples():
    """Least squares onto uneven knots of another number, through the same interface, gives the network that splines give."""
    net = kan([2, 2, 1], intervals=4, degree=2, base=None)
    theta = net.init(0)
    twin, w = in_relus(net, theta)
    for _ in range(2):
        net, theta = grids.update_from_samples(net, theta, X)[:2]
        twin, w = grids.update_from_samples(twin, w, X)[:2]
    net, theta = grids.extend(net, theta, 6, X)[:2]
    twin, w = grids.extend(twin, w, 6, X)[:2]
    assert_allclose(twin(w, X), net(theta, X), atol=1e-9)
    assert twin.layers[1].terms["spline"].weights.basis is twin.layers[1].terms["spline"].basis


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_a_network(kind):
    net = layered(kind, uneven(2, 2, 2))
    theta = net.init(0)
    part, own = net.select(theta, [[1], [1, 0], [0]])
    wanted = net.edges(theta, 0, X)[:, [1, 0], 1]
    assert_allclose(part.edges(own, 0, X[:, 1:])[..., 0], wanted, atol=1e-12 * np.abs(wanted).max())


# ---------------------------------------------------------------------------------------------- three ways of one network


def tame(net, seed=7):
    """theta for which hidden values stay in the domain [-3, 3]."""
    return 0.2 * np.random.default_rng(seed).normal(size=net.size)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize("intervals", [5, 20, 40])
def test_networks_there_and_back(degree, intervals):
    """Function and weights, within 2^-53 |A^-T| |A'| |u| and what the literal sum loses besides."""
    net = kan([2, 3, 1], intervals=intervals, degree=degree, base=None, domain=(-3, 3))
    theta, x = tame(net), 3 * X
    y, K, order = net(theta, x), intervals + degree, degree + 1
    lost = 2.0**-53 * (np.abs(sums(K, order)).T @ np.abs(differences(K, order)).T).sum(1).max() * np.abs(theta).max()
    for form in (in_relus, as_relus):
        twin, w = form(net, theta)
        back, u = as_splines(twin, w)
        assert np.abs(u - theta).max() <= lost
        assert isinstance(back.layers[0].terms["spline"].weights, Full)
        assert np.abs(twin(w, x) - y).max() <= 30 * lost + 1e-15
        assert np.abs(back(u, x) - y).max() <= 6 * lost + 1e-15


def test_smooth_weights_lose_less():
    """u = sin: differences of order 4 are small, and so is what rounding them moves, here by a factor of a thousand."""
    net = kan([1, 1], intervals=80, base=None)
    u = np.sin(np.arange(83) / 10)
    twin, w = in_relus(net, u)
    moved = np.abs(as_splines(twin, w)[1] - u).max()
    assert moved <= 2.0**-53 * (np.abs(w) @ inverse(np.arange(87.0), 3)).max() < 5e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["uniform", "uneven"])
def test_every_kind_of_weights_is_converted(kind, name):
    basis = {"uniform": BSpline.uniform(2, 4, 2, -3, 3), "uneven": uneven(2, 2, 8)}[name]
    if name == "uneven" and kind in ("tucker", "lotra"):
        basis = BSpline(basis.knots[[0, 0]], 2)  # one row for all inputs, as these need
    rng = np.random.default_rng(9)
    kinds = [KINDS[kind]((Q, 2, basis.size), rng) for Q in (2, 1)]
    net = KAN(tuple(Layer({"silu": linear_base(Q), "spline": Linear(basis, w)}) for Q, w in zip((2, 1), kinds)))
    theta, x = 0.1 * rng.normal(size=net.size), 0.5 * X
    y = net(theta, x)
    for iterate, gradient in ROWS:
        twin, w = in_relus(net, theta, iterate, gradient)
        assert_allclose(twin(w, x), y, rtol=0, atol=1e-13)
        assert_allclose(as_splines(twin, w)[1], theta, rtol=0, atol=1e-13)
    literal, w = as_relus(*in_relus(net, theta))
    assert isinstance(literal.layers[1].terms["spline"].basis, PowerReLU)
    assert_array_equal(w, in_relus(net, theta)[1])
    assert_allclose(as_splines(literal, w)[1], theta, rtol=0, atol=1e-13)
    first = literal.layers[0].edges({k[2:]: v for k, v in literal.split(w).items() if k[0] == "0"}, x)
    assert_allclose(first, net.edges(theta, 0, x), atol=1e-12)


def linear_base(Q):
    from kanref.bases import silu

    return Linear(silu, Full((Q, 2, 1)))


def test_a_mask_outside_of_the_basis():
    net = layered("full", BSpline.uniform(2, 3, 2), outside=True)
    theta = net.init(0)
    plain, u = as_splines(net, theta)
    assert isinstance(plain.layers[0].terms["spline"].weights, Masked)
    assert_allclose(plain(u, X), net(theta, X), atol=1e-13)


def test_float32_stays_float32():
    net = kan([2, 1], intervals=3, base=None)
    twin, w = in_relus(net, net.init(0).astype(np.float32))
    assert w.dtype == np.float32 and twin(w, X.astype(np.float32)).dtype == np.float32
    assert_allclose(twin(w, X), net(net.init(0), X), atol=1e-4)


# --------------------------------------------------------------------------------------------------- the ordinary MLP


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("first", ["linear", "spline"])
def test_a_network_of_splines_is_an_mlp(degree, first):
    net = kan([2, 3, 1], intervals=4, degree=degree, base=None, domain=(-3, 3), first=first, bias=True)
    theta = tame(net)
    perceptron, own = to_mlp(net, theta)
    K = 4 + degree
    assert perceptron.widths == ((2, 3 * K, 1) if first == "linear" else (2, 2 * K, 3 * K, 1))
    assert perceptron.layers[1].terms["linear"].basis.name == ("relu" if degree == 1 else f"relu^{degree}")
    assert_allclose(perceptron(own, X), net(theta, X), atol=1e-12)
    assert_allclose(perceptron.hessian(own, X), net.hessian(theta, X), atol=1e-8)


def test_an_mlp_is_a_network_of_linear_splines():
    """On the whole line, values and slopes; and one power ReLU of three for each input has a weight that is not 0."""
    net = mlp([2, 4, 3, 1], "relu")
    theta, x = start(net, 1), 20 * np.random.default_rng(10).normal(size=(200, 2))
    splines, u = from_mlp(net, theta)
    assert_allclose(splines(u, x), net(theta, x), atol=1e-13)
    assert_allclose(splines.gradient(u, x), net.gradient(theta, x), atol=1e-13)
    powers, w = as_relus(splines, u)
    assert_allclose(powers(w, x), net(theta, x), atol=1e-13)
    W = powers.split(w)["1.spline.W"]
    assert_array_equal(W[..., :2], 0)
    assert (W[..., 2] != 0).all()


@pytest.mark.parametrize("size", [1e-17, 1e17])
def test_an_mlp_of_another_size_is_a_network_of_linear_splines(size):
    net = mlp([2, 4, 1], "relu")
    theta, x = start(net, 0), size * np.random.default_rng(0).uniform(-3, 3, (50, 2))
    theta = net.join({name: size * a if name == "0.bias" else a for name, a in net.split(theta).items()})
    found, own = from_mlp(net, theta)
    wanted = net(theta, x)
    assert_allclose(found(own, x), wanted, atol=1e-12 * np.abs(wanted).max())


def test_mlps_there_and_back():
    net = mlp([2, 3, 1], "relu")
    theta = start(net, 2)
    again, own = to_mlp(*from_mlp(net, theta))
    assert again.widths == (2, 9, 1)
    x = np.random.default_rng(11).normal(size=(50, 2))
    assert_allclose(again(own, x), net(theta, x), atol=1e-14)


@pytest.mark.parametrize(
    "net",
    [
        mlp([2, 3, 1]),
        kan([2, 3, 1], base=None),
        KAN(tuple(Layer(layer.terms) for layer in mlp([2, 3, 1], "relu").layers)),
    ],
)
def test_what_is_no_relu_mlp(net):
    with pytest.raises(ValueError, match="net must be an MLP with ReLU, mlp.*, but layer [01] has"):
        from_mlp(net, np.zeros(net.size))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (kan([2, 1]), "layer 0 must be one term of B-splines, .* but it has base, spline"),
        (kan([2, [0, 1], 1], base=None), "layer 0 must be one term"),
        (kan([2, 2, 1], base=None, normalise="tanh"), "layer 1 must be one term"),
        (kan([2, 1], base=None, degree=0), r"all splines must have one degree >= 1, but the degrees here are \[0\]"),
        (mlp([2, 3, 1], "relu"), "layer 1 must be one term"),
    ],
)
def test_what_is_no_mlp(net, message):
    with pytest.raises(ValueError, match=message):
        to_mlp(net, np.zeros(net.size))


def test_powers_of_relu():
    x = np.array([-1.0, 0, 0.5, 2])
    assert relu_power(1) is relu
    f = relu_power(3).functions
    for m, wanted in enumerate((x**3, 3 * x**2, 6 * x, 6 + 0 * x)):
        assert_array_equal(f[m](x), np.where(x > 0, wanted, 0))
    assert_array_equal(relu_power(2).functions[3](x), 0)


# ------------------------------------------------------------------------------------------------------------- spectra

RATIOS = {  # lambda_max / lambda_min for n = 10, 20, 40, 80
    1: (175.1, 677.6, 2655, 1.050e4),
    2: (1.793e4, 2.481e5, 3.644e6, 5.566e7),
    3: (1.102e6, 5.077e7, 2.678e9, 1.544e11),
    4: (4.614e7, 6.642e9, 1.210e12, 2.575e14),
}


@pytest.mark.parametrize("order", RATIOS)
def test_ratios_of_eigenvalues(order):
    """Known to four digits; against exact determinants too: lambda_min of 2 x 2 and products of all eigenvalues, which are 1."""
    for size, wanted in zip((10, 20, 40, 80), RATIOS[order]):
        assert_allclose(condition(size, order), wanted, rtol=5e-4)
        values = spectrum(differences(size, order), sums(size, order))[0]
        assert_allclose(values[-1] / values[0], condition(size, order), rtol=1e-9)
        assert abs(np.log(values).sum()) < 1e-9  # det A = 1


@pytest.mark.parametrize("order", RATIOS)
def test_ratios_grow_as_the_power_2r(order):
    assert_allclose(math.log2(condition(640, order) / condition(320, order)), 2 * order, atol=0.05)


@cache
def uneven_matrices(degree):
    t = np.cumsum(np.random.default_rng(12).uniform(0.2, 1, 14 + degree))
    return change_of_basis(t, degree), inverse(t, degree)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["size 10", "size 40", "uneven"])
def test_eigenvectors_have_none_to_all_sign_changes(order, kind):
    """The theorem of Gantmacher and Krein: in the order of their eigenvalues, for A' A and A A', for uneven knots too."""
    size = int(kind[5:]) if kind[:4] == "size" else 0
    A, A_inverse = (differences(size, order), sums(size, order)) if size else uneven_matrices(order - 1)
    values, V, U = spectrum(A, A_inverse)
    assert (np.diff(values) > 0).all()
    for vectors, M in ((V, A.T @ A), (U, A @ A.T)):
        assert_array_equal(sign_changes(vectors), np.arange(len(A)))
        assert_allclose(vectors.T @ vectors, np.eye(len(A)), atol=1e-11)
        assert_allclose(M @ vectors, vectors * values, atol=1e-11 * values[-1])


@pytest.mark.parametrize("order", [3, 6])
def test_small_eigenvalues_are_as_accurate_as_large_ones(order):
    """Both ends by the norms of A and its exact inverse; all together by the determinant, which is 1."""
    A, A_inverse = differences(80, order), sums(80, order)
    values = spectrum(A, A_inverse)[0]
    assert_allclose(values[[0, -1]], [np.linalg.norm(A_inverse, 2) ** -2, np.linalg.norm(A, 2) ** 2], rtol=1e-12)
    assert abs(np.log(values).sum()) < 1e-8
    assert (np.diff(values) > 0).all()


def test_modes_within_a_factor():
    kernel = np.diag([1.01e-3, 2.0, 1.99e-3, 2.01e-3])
    assert (within(kernel), within(kernel, 5e-4), within(kernel, 0.5)) == (2, 4, 1)


def test_sign_changes_pass_over_zeros():
    assert_array_equal(sign_changes(np.array([[1.0, 0, -1, 1], [1, 1, 0, 1]]).T), [2, 0])


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_norms(order):
    """2, 4, 4, 8/3, 4/3 for large sizes, from below."""
    found = [np.linalg.norm(differences(size, order), 2) / math.factorial(order - 1) for size in (10, 100, 400)]
    assert found[0] < found[1] < found[2] < norm(order) < found[2] * 1.0005
    assert_allclose(norm(order), (2, 4, 4, 8 / 3, 4 / 3)[order - 1])


# ------------------------------------------------------------------------------------------------------- tangent kernels


def block_A(net):
    """A of the whole of theta, in its own order, by brute force: w = A' u."""
    return np.stack([in_relus(net, e)[1] for e in np.eye(net.size)])


@pytest.mark.parametrize("name", ["uniform", "uneven", "linear first", "two outputs"])
def test_kernels_in_both_bases(name):
    """NTK_S = J A' A J' for J = J_w; the printed J A A' J' is another matrix; and the bound holds."""
    net = {
        "uniform": kan([2, 2, 1], intervals=4, degree=2, base=None),
        "uneven": KAN(tuple(spline_layer(2, Q, uneven(), base=None) for Q in (2, 1))),
        "linear first": kan([2, 3, 1], intervals=4, base=None, first="linear"),
        "two outputs": kan([2, 2, 2], intervals=3, degree=1, base=None, bias=True),
    }[name]
    theta = 0.3 * np.random.default_rng(13).normal(size=net.size)
    S, R = tangent_kernels(net, theta, X)
    A, (twin, w) = block_A(net), in_relus(net, theta)
    J = twin.jacobian(w, X).reshape(-1, net.size)
    assert S.shape == R.shape == (30 * net.outputs,) * 2
    assert_allclose(R, J @ J.T, rtol=1e-12)
    assert_allclose(S, J @ A.T @ A @ J.T, rtol=0, atol=1e-9 * np.abs(S).max())
    if name != "linear first":
        assert np.abs(S - J @ A @ A.T @ J.T).max() > 1e-3 * np.abs(S).max()
    assert_allclose(np.linalg.norm(A, 2) ** 2, tangent_bound(net), rtol=1e-10)
    assert np.linalg.norm(S, 2) <= tangent_bound(net) * np.linalg.norm(R, 2)


def test_kernels_do_not_depend_on_how_the_network_is_written():
    net = kan([2, 2, 1], intervals=4, base=None)
    theta, x = net.init(0), np.random.default_rng(1).uniform(-1, 1, (12, 2))
    pair = tangent_kernels(net, theta, x)
    for iterate in ("relu", "spline"):
        for found, kernel in zip(tangent_kernels(*in_relus(net, theta, iterate), x), pair):
            assert_allclose(found, kernel, rtol=0, atol=1e-10 * np.abs(kernel).max())


def test_free_knots_are_fixed_first():
    net = kan([2, 2, 1], intervals=4, base=None)
    moving = free_knots.free(net, net.init(0), layers=[1])
    for change in (in_relus, as_relus, as_splines, to_mlp):
        with pytest.raises(ValueError, match="knots of 'spline' in layer 1 are free.*fix them by multilevel.free_knots.fixed"):
            change(*moving)
    still = free_knots.fixed(*moving)
    x = np.random.default_rng(1).uniform(-1, 1, (9, 2))
    changed = in_relus(*still)
    assert_allclose(changed[0](changed[1], x), net(net.init(0), x), atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_the_bound_is_at_most_sixteen(degree):
    """4, 16, 16, 7.1, 1.8 by degree, and approached: the 4 that is printed is exceeded from degree 1 on."""
    bound = tangent_bound(kan([1, 1], intervals=60, degree=degree, base=None))
    assert bound < norm(degree + 1) ** 2 <= 16
    assert (bound > 4) == (degree in (1, 2, 3))
    assert bound > 0.97 * norm(degree + 1) ** 2


def test_some_kernels_exceed_four_times():
    """J orthogonal to all but the stiffest modes of A' A: a set of functions for which 4 is no bound."""
    A = differences(20, 3) / 2
    J = spectrum(differences(20, 3), sums(20, 3))[1][:, -3:].T
    assert np.linalg.norm(J @ A.T @ A @ J.T, 2) > 15 * np.linalg.norm(J @ J.T, 2)


def test_a_finer_grid_adds_modes_in_splines_only():
    """Eigenvalues within 1e-3 of the largest, at the start of training: they double with n, or stay a handful."""
    found = []
    for n in (5, 10, 20):
        net = kan([2, 5, 1], intervals=n, base=None, first="linear")
        x = np.random.default_rng(14).uniform(-1, 1, (150, 2))
        found.append([within(kernel) for kernel in tangent_kernels(net, net.init(0), x)])
    S, R = np.transpose(found)
    assert S[1] > 1.5 * S[0] and S[2] > 1.5 * S[1] and R.max() <= 8
    assert_array_equal(within(np.diag([1.0, 0.1, 1e-4]), 1e-2), 2)


# --------------------------------------------------------------------------------------------------------------- figures


def test_figures(tmp_path):
    """Every panel has data, and what is drawn is what was given."""
    figure = figures.spectra(size=12)
    assert all(axes.has_data() for axes in figure.axes) and len(figure.axes) == 3
    line = figure.axes[0].lines[0]
    assert_allclose(line.get_ydata()[0], 1 / condition(12, 1))
    kernels = figures.tangents({"n = 5": ([1.0, 4.0], [2.0, 0.02]), "n = 10": ([1.0, 2.0], [2.0, 0.1])})
    assert_allclose(kernels.axes[0].lines[0].get_ydata(), [1, 0.25])
    assert_allclose(kernels.axes[1].lines[1].get_ydata(), [1, 0.05])
    costs = figures.costs({"local": {3: [(4, 1e-3), (8, 2e-3)]}}, {"naive": [(5, 1e-13), (10, 1e-12)]})
    assert_allclose(costs.axes[0].lines[1].get_ydata(), [1, 2])
    for k, made in enumerate((figure, kernels, costs)):
        made.savefig(tmp_path / f"{k}.png")
        assert (tmp_path / f"{k}.png").stat().st_size > 5000
