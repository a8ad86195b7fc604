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
