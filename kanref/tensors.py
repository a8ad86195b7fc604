"""Multilinear algebra of three-way weight tensors W (out, in, basis); modes are counted from 0."""

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
    core_bar = np.einsum("...qpk,qa,pb,kc->...abc", W_bar, U, V, T, optimize=True)
    U_bar = np.einsum("...qpk,abc,pb,kc->...qa", W_bar, core, V, T, optimize=True)
    V_bar = np.einsum("...qpk,abc,qa,kc->...pb", W_bar, core, U, T, optimize=True)
    T_bar = np.einsum("...qpk,abc,qa,pb->...kc", W_bar, core, U, V, optimize=True)
    return core_bar, [U_bar, V_bar, T_bar]


def hosvd(W, ranks):
    """Truncated higher-order SVD: core, [U_1, U_2, U_3] with orthonormal columns, W ~ tucker(core, Us).

    U_m holds the first r_m left singular vectors of the unfolding along mode m, and core = W x_1 U_1' x_2 U_2' x_3 U_3' (De
    Lathauwer, De Moor and Vandewalle 2000). Where r_m exceeds the number of columns, further orthonormal ones fill up.
    """
    unfolded = [unfold(W, mode) for mode in range(3)]
    Us = [np.linalg.svd(A, full_matrices=len(A) > A.shape[1])[0][:, :rank] for A, rank in zip(unfolded, ranks)]
    return tucker(W, [U.T for U in Us]), Us
