"""Single edges in Numba: the summands that `mix` adds up, and their pullback.

b, b_1 (N, P, J)    the J consecutive functions that may not be zero, and their derivatives
first (N, P)        index of the first of them
W (P, K, Q)         weights in kernel order
phi (N, P, Q)       edges in kernel order
"""

from numba import njit

OPTIONS = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "reassoc"}}


@njit(**OPTIONS)
def edges(first, b, W, phi):
    """phi[n, p, q] = sum_i b[n, p, i] W[p, first[n, p] + i, q]."""
    N, P, J = b.shape
    for n in range(N):
        for p in range(P):
            for q in range(W.shape[2]):
                phi[n, p, q] = b[n, p, 0] * W[p, first[n, p], q]
            for i in range(1, J):
                factor, row = b[n, p, i], W[p, first[n, p] + i]
                for q in range(W.shape[2]):
                    phi[n, p, q] += factor * row[q]


@njit(**OPTIONS)
def edges_pullback(first, b, b_1, W, phi_bar, W_bar, x_bar):
    """W_bar[p, first + i] += b[n, p, i] phi_bar[n, p],  x_bar[n, p] = sum_i b_1[n, p, i] W[p, first + i] . phi_bar[n, p]."""
    N, P, J = b.shape
    for n in range(N):
        for p in range(P):
            slope = b.dtype.type(0)
            for i in range(J):
                j, factor, total = first[n, p] + i, b[n, p, i], b.dtype.type(0)
                for q in range(W.shape[2]):
                    total += W[p, j, q] * phi_bar[n, p, q]
                    W_bar[p, j, q] += factor * phi_bar[n, p, q]
                slope += b_1[n, p, i] * total
            x_bar[n, p] = slope
