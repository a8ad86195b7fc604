"""Tucker decompositions: identities, bounds, and agreement with TensorLy, an independent implementation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import check, tensors
from kanref.network import kan

SHAPES = {"cube": (5, 5, 5), "weights": (12, 10, 8), "flat": (1, 7, 4), "long": (20, 2, 3), "four modes": (4, 3, 5, 2)}
METHODS = (tensors.hosvd, tensors.st_hosvd, tensors.hooi)


def tensor(name):
    """Gaussian, with singular values that fall; or the first layer's weights of a network."""
    rng = np.random.default_rng(1)
    W = rng.normal(size=SHAPES[name])
    for mode, size in enumerate(W.shape):
        W = tensors.mode_dot(W, np.diag(2.0 ** -np.arange(size)) @ np.linalg.qr(rng.normal(size=(size, size)))[0], mode)
    return W


def trained():
    """The weights of a layer that was started, not noise."""
    net = kan([6, 9, 2], intervals=8)
    return np.ascontiguousarray(net.split(net.init(3))["0.spline.W"])


NOISE = np.random.default_rng(2).normal(size=(9, 8, 7))
TENSORS = {**{name: tensor(name) for name in SHAPES}, "noise": NOISE, "layer": trained()}
norm2 = lambda A: float(np.square(A).sum())


@pytest.mark.parametrize("name", TENSORS)
def test_unfold_and_fold_are_inverse(name):
    W = TENSORS[name]
    for mode in range(W.ndim):
        M = tensors.unfold(W, mode)
        assert M.shape == (W.shape[mode], W.size // W.shape[mode])
        assert np.array_equal(tensors.fold(M, mode, W.shape), W)


def test_mode_product_is_a_matrix_product_of_the_unfolding():
    W, rng = TENSORS["four modes"], np.random.default_rng(3)
    for mode, size in enumerate(W.shape):
        M = rng.normal(size=(6, size))
        assert_allclose(tensors.unfold(tensors.mode_dot(W, M, mode), mode), M @ tensors.unfold(W, mode), atol=1e-14)


def test_adjoint_of_the_tucker_product():
    rng = np.random.default_rng(4)
    draw = lambda: (rng.normal(size=(2, 3, 2)), [rng.normal(size=s) for s in ((5, 2), (4, 3), (6, 2))])
    (core, Us), (core_dot, Us_dot), W_bar = draw(), draw(), rng.normal(size=(5, 4, 6))
    along = lambda h: tensors.tucker(core + h * core_dot, [U + h * D for U, D in zip(Us, Us_dot)])
    core_bar, Us_bar = tensors.tucker_pullback(core, Us, W_bar)
    right = (core_bar * core_dot).sum() + sum((B * D).sum() for B, D in zip(Us_bar, Us_dot))
    assert_allclose((check.difference(along, 1.0) * W_bar).sum(), right, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", TENSORS)
def test_factors_are_orthonormal_and_full_ranks_exact(name, method):
    W = TENSORS[name]
    core, Us = method(W, W.shape)
    for U in Us:
        assert_allclose(U.T @ U, np.eye(U.shape[1]), rtol=0, atol=1e-13)
    assert_allclose(tensors.tucker(core, Us), W, rtol=0, atol=1e-13 * np.abs(W).max() * 10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", TENSORS)
def test_error_lies_between_the_tails(name, rank, method):
    """max tau <= |W - T|^2 <= sum tau, and the error is what the core lacks: |W|^2 - |core|^2."""
    W = TENSORS[name]
    core, Us = method(W, rank)
    tau, error = tensors.tails(W, core.shape), norm2(W - tensors.tucker(core, Us))
    slack = 1e-12 * norm2(W)
    assert tau.max() - slack <= error <= tau.sum() + slack
    assert_allclose(error, norm2(W) - norm2(core), rtol=0, atol=slack)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", TENSORS)
def test_iteration_never_is_worse(name, rank):
    W = TENSORS[name]
    error = lambda parts: norm2(W - tensors.tucker(*parts))
    assert error(tensors.hooi(W, rank)) <= error(tensors.hosvd(W, rank)) + 1e-13 * norm2(W)


@pytest.mark.parametrize("name", TENSORS)
def test_ranks_by_tolerance_and_energy(name):
    W = TENSORS[name]
    for tolerance in (0.5, 0.1, 1e-3):
        core, Us = tensors.hosvd(W, tolerance=tolerance)
        assert np.linalg.norm(W - tensors.tucker(core, Us)) <= tolerance * np.linalg.norm(W)
    for energy in (0.5, 0.9, 0.999):
        ranks = np.array(tensors.chosen_ranks(W, energy=energy))
        allowed = (1 - energy) * norm2(W) * (1 + 1e-12)
        assert (tensors.tails(W, ranks) <= allowed).all()
        fewer = tensors.tails(W, ranks - 1)
        assert (fewer[ranks > 1] > allowed).all(), "a smaller rank would have done"


def test_core_of_the_full_hosvd_is_all_orthogonal():
    """Slices of the core along a mode are orthogonal and ordered, their norms the mode's singular values."""
    W = TENSORS["weights"]
    core, _ = tensors.hosvd(W, W.shape)
    for mode, s in enumerate(tensors.singular_values(W)):
        M = tensors.unfold(core, mode)
        assert_allclose(M @ M.T, np.diag(s**2), rtol=0, atol=1e-13 * s[0] ** 2)


@pytest.mark.parametrize("name", ["weights", "noise", "layer", "four modes"])
def test_agrees_with_tensorly(name):
    tensorly = pytest.importorskip("tensorly")
    from tensorly.decomposition import tucker as their_tucker

    W = TENSORS[name]
    ranks = [min(3, size) for size in W.shape]
    for theirs, ours in (
        (their_tucker(tensorly.tensor(W), ranks, n_iter_max=1, init="svd", tol=0), None),
        (their_tucker(tensorly.tensor(W), ranks, n_iter_max=1000, tol=1e-15), tensors.hooi(W, ranks)),
    ):
        their_error = norm2(W - np.asarray(tensorly.tucker_to_tensor(theirs)))
        if ours is None:  # one sweep from the HOSVD: not better than ours at its end
            assert norm2(W - tensors.tucker(*tensors.hooi(W, ranks))) <= their_error * (1 + 1e-10)
            continue
        assert_allclose(norm2(W - tensors.tucker(*ours)), their_error, rtol=1e-6)
        for U, V in zip(ours[1], theirs.factors):  # the same subspaces
            assert_allclose(U @ U.T, np.asarray(V) @ np.asarray(V).T, rtol=0, atol=1e-3)
    for mode in range(W.ndim):
        assert_allclose(tensors.unfold(W, mode), tensorly.unfold(tensorly.tensor(W), mode), rtol=0, atol=0)
        U = tensorly.tenalg.svd_interface(tensorly.unfold(tensorly.tensor(W), mode), n_eigenvecs=ranks[mode])[0]
        mine = tensors.hosvd(W, ranks)[1][mode]
        assert_allclose(mine @ mine.T, np.asarray(U) @ np.asarray(U).T, rtol=0, atol=1e-10)


def test_more_factors_than_columns():
    """Rank 12 of a mode whose unfolding has 4 columns: orthonormal, exact."""
    W = np.random.default_rng(5).normal(size=(12, 2, 2))
    core, Us = tensors.hosvd(W, (12, 2, 2))
    assert_allclose(Us[0].T @ Us[0], np.eye(12), atol=1e-13)
    assert_allclose(tensors.tucker(core, Us), W, atol=1e-13)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda W: tensors.hosvd(W), "exactly one of ranks, tolerance and energy, but got none"),
        (lambda W: tensors.hosvd(W, 2, energy=0.5), "but got ranks, energy"),
        (lambda W: tensors.hosvd(W, (2, 2)), "ranks must be from 1 to the sizes"),
        (lambda W: tensors.hosvd(W, (99, 2, 2)), "ranks must be from 1 to the sizes"),
        (lambda W: tensors.hosvd(W, energy=1.5), "energy must lie in"),
        (lambda W: tensors.st_hosvd(W, 2, order=(0, 0, 1)), "order must name every mode"),
        (lambda W: tensors.fold(np.zeros((3, 3)), 0, W.shape), "no unfolding"),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build(TENSORS["cube"])
