"""Multilinear algebra: unfoldings, mode products, and Tucker decompositions by the higher-order SVD.

Modes are counted from 0. Weight tensors are three-way, W (out, in, basis); all functions here but `tucker_pullback` take any
number of modes. With tau_m = sum_{j > r_m} (sigma_j^(m))^2, the squared tail of the singular values of the unfolding along
mode m,

    max_m tau_m  <=  min |W - T|^2  <=  |W - HOSVD|^2  <=  sum_m tau_m             over all T of Tucker ranks r

(De Lathauwer, De Moor and Vandewalle, SIAM J. Matrix Anal. Appl. 21, 2000). This bounds from both sides what adapters of
low tensor rank and Slim KANs can express (Gao, Ng and Tan, arXiv 2502.06153; reconstruction).
"""

import numpy as np


def mode_dot(W, M, mode):
    """W x_mode M: contracts the mode's axis of W with the last axis of M.

    M (m, n) gives out[..., a, ...] = sum_i M[a, i] W[..., i, ...]. For mode 2, M may also be (in, m, n): a matrix of its
    own for every input, as in a change of basis when every input has its own knots.

    Raises ValueError when the sizes do not fit.
    """
    if M.ndim == 3 and mode != 2:
        raise ValueError(
            f"M of shape {M.shape} has a matrix for every input, which acts on mode 2 only, but mode is {mode}"
        )
    if M.shape[-1] != W.shape[mode]:
        raise ValueError(
            f"M must have {W.shape[mode]} columns to act on mode {mode} of a tensor {W.shape}, but M is {M.shape}"
        )
    if M.ndim == 3:
        return np.einsum("pai,qpi->qpa", M, W)
    return np.moveaxis(np.tensordot(M, W, axes=(1, mode)), 0, mode)


def unfold(W, mode):
    """The matrix (size of the mode, product of the others) whose columns are W's fibres along the mode."""
    return np.moveaxis(W, mode, 0).reshape(W.shape[mode], -1)


def fold(M, mode, shape):
    """The tensor of a shape whose unfolding along the mode is M: the inverse of `unfold`."""
    shape = tuple(shape)
    rest = shape[:mode] + shape[mode + 1 :]
    if M.ndim != 2 or M.size != np.prod(shape, dtype=int) or len(M) != shape[mode]:
        raise ValueError(f"M of shape {M.shape} is no unfolding along mode {mode} of a tensor {shape}")
    return np.moveaxis(M.reshape(shape[mode], *rest), 0, mode)


def tucker(core, Us):
    """core x_1 U_1 x_2 U_2 x_3 U_3 for factors U_m (n_m, r_m)."""
    for mode, U in enumerate(Us):
        core = mode_dot(core, U, mode)
    return core


def tucker_pullback(core, Us, W_bar):
    """Adjoints of `tucker`: core_bar and a list of U_m_bar; leading axes of W_bar (..., n_1, n_2, n_3) are carried along.

        core_bar = W_bar x_1 U_1' x_2 U_2' x_3 U_3'
        U_m_bar  = <W_bar, core x_k U_k for k /= m>, contracted over the two other modes
    """
    U, V, T = Us
    (Q, P, K), (a, b, c), lead = W_bar.shape[-3:], core.shape, W_bar.shape[:-3]
    core_V = np.einsum("abc,pb->pca", core, V)
    W_bar = np.moveaxis(W_bar, -3, -1).reshape(*lead, P * K, Q)  # no copy of weights in the order of kernels
    U_bar = W_bar.swapaxes(-2, -1) @ (T @ core_V).reshape(P * K, a)
    X = (W_bar @ U).reshape(*lead, P, K, a)  # the outputs contracted, and then the inputs
    Y = (V.T @ X.reshape(*lead, P, K * a)).reshape(*lead, b, K, a)
    V_bar = X.reshape(*lead, P, K * a) @ np.einsum("kc,abc->kab", T, core).reshape(K * a, b)
    T_bar = np.moveaxis(Y, -2, -3).reshape(*lead, K, b * a) @ np.einsum("abc->bac", core).reshape(b * a, c)
    core_bar = np.moveaxis(np.moveaxis(Y, -2, -1) @ T, -2, -3)
    return core_bar, [U_bar, V_bar, T_bar]


# ----------------------------------------------------------------------------------------------------- decompositions


def singular_values(W):
    """Those of the unfolding along every mode, a list of vectors; how fast they fall says how low the rank may be."""
    return [np.linalg.svd(unfold(W, mode), compute_uv=False) for mode in range(W.ndim)]


def tails(W, ranks):
    """tau_m for every mode, the squared parts that ranks (r_1, ..., r_d) cut off."""
    return np.array([(s[rank:] ** 2).sum() for s, rank in zip(singular_values(W), ranks)])


def chosen_ranks(W, ranks=None, tolerance=None, energy=None):
    """Ranks by exactly one of three rules:

    ranks: one number for all modes (cut to their sizes), or one for each;
    tolerance: the least that make |W - HOSVD| <= tolerance |W|: every tail within tolerance^2 |W|^2 / d;
    energy: the least that keep this share of |W|^2 in every mode.
    """
    given = {"ranks": ranks, "tolerance": tolerance, "energy": energy}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"give exactly one of ranks, tolerance and energy, but got {', '.join(given) or 'none'}")
    if ranks is not None:
        given = (ranks,) * W.ndim if np.ndim(ranks) == 0 else tuple(ranks)
        if not all(isinstance(rank, (int, np.integer)) and not isinstance(rank, bool) for rank in given):
            raise TypeError(f"ranks must be integers, but they are {ranks!r}")
        ranks = tuple(map(int, given if np.ndim(ranks) else map(min, given, W.shape)))
        if len(ranks) != W.ndim or not all(1 <= rank <= size for rank, size in zip(ranks, W.shape)):
            raise ValueError(f"ranks must be from 1 to the sizes {W.shape}, one for each mode, but they are {ranks}")
        return ranks
    (name, value), total = next(iter(given.items())), np.square(W).sum()
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], but it is {value}")
    allowed = value**2 * total / W.ndim if name == "tolerance" else (1 - value) * total
    found = []
    for s in singular_values(W):
        left = np.append(np.cumsum((s**2)[::-1])[::-1], 0.0)  # left[r], the tail of rank r
        found.append(max(1, int(np.argmax(left <= allowed))))
    return tuple(found)


def _leading(A, rank):
    """The first left singular vectors of A; where A has fewer columns, further orthonormal ones fill up."""
    return np.linalg.svd(A, full_matrices=rank > min(A.shape))[0][:, :rank]


def hosvd(W, ranks=None, *, tolerance=None, energy=None):
    """Truncated higher-order SVD: core, [U_1, U_2, U_3] with orthonormal columns, W ~ tucker(core, Us).

    U_m holds the first r_m left singular vectors of the unfolding along mode m, and core = W x_1 U_1' x_2 U_2' x_3 U_3'.
    ranks, tolerance, energy: see `chosen_ranks`.
    """
    ranks = chosen_ranks(W, ranks, tolerance, energy)
    Us = [_leading(unfold(W, mode), rank) for mode, rank in enumerate(ranks)]
    return tucker(W, [U.T for U in Us]), Us


def st_hosvd(W, ranks=None, *, tolerance=None, energy=None, order=None):
    """Sequentially truncated HOSVD: as `hosvd`, but each mode is cut from what the cuts before have left.

    Cheaper, with the same upper bound (Vannieuwenhoven, Vandebril and Meerbergen, SIAM J. Sci. Comput. 34, 2012). order: of
    the modes, by default the smallest first, which is the cheapest.
    """
    ranks = chosen_ranks(W, ranks, tolerance, energy)
    order = sorted(range(W.ndim), key=W.shape.__getitem__) if order is None else list(order)
    if sorted(order) != list(range(W.ndim)):
        raise ValueError(f"order must name every mode of a {W.ndim}-way tensor once, but it is {order}")
    core, Us = W, [None] * W.ndim
    for mode in order:
        Us[mode] = _leading(unfold(core, mode), ranks[mode])
        core = mode_dot(core, Us[mode].T, mode)
    return core, Us


def hooi(W, ranks=None, *, tolerance=None, energy=None, sweeps=100, change=1e-13):
    """Higher-order orthogonal iteration: the HOSVD, improved mode by mode; never further from W than the HOSVD.

    One sweep replaces every U_m by the leading left singular vectors of W x_k U_k' (k /= m), which does not lower |core|, so
    that |W - T|^2 = |W|^2 - |core|^2 does not rise (De Lathauwer, De Moor and Vandewalle 2000, part 2). It ends when a sweep
    raises |core| relatively by no more than `change`: at a local optimum, as a rule.
    """
    core, Us = hosvd(W, ranks, tolerance=tolerance, energy=energy)
    size = np.linalg.norm(core)
    for _ in range(sweeps):
        for mode, U in enumerate(Us):
            others = [np.eye(len(V)) if k == mode else V.T for k, V in enumerate(Us)]
            Us[mode] = _leading(unfold(tucker(W, others), mode), U.shape[1])
        core = tucker(W, [U.T for U in Us])
        before, size = size, np.linalg.norm(core)
        if size <= before * (1 + change):
            break
    return core, Us
