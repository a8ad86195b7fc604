"""Mixing of local basis values in Numba: the generic path for any basis whose functions are mostly zero.

F (M, N, P, J)      the J consecutive functions that may not be zero, lifted to a jet
first (N, P)        index of the first of them
W (P, K, Q)         weights in kernel order
"""

from numba import njit

OPTIONS = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "reassoc"}}


@njit(**OPTIONS)
def mix(first, F, W, y):
    """y[c, n] += sum_p sum_i F[c, n, p, i] W[p, first[n, p] + i]."""
    M, N, P, J = F.shape
    for c in range(M):
        for n in range(N):
            for p in range(P):
                for i in range(J):
                    factor, row = F[c, n, p, i], W[p, first[n, p] + i]
                    for q in range(W.shape[2]):
                        y[c, n, q] += factor * row[q]


@njit(**OPTIONS)
def mix_pullback(first, F, W, y_bar, F_bar, W_bar):
    """F_bar[c, n, p, i] = W[p, first + i] . y_bar[c, n],  W_bar[p, first + i] += F[c, n, p, i] y_bar[c, n]."""
    M, N, P, J = F.shape
    for c in range(M):
        for n in range(N):
            for p in range(P):
                for i in range(J):
                    j, factor, total = first[n, p] + i, F[c, n, p, i], F.dtype.type(0)
                    for q in range(W.shape[2]):
                        total += W[p, j, q] * y_bar[c, n, q]
                        W_bar[p, j, q] += factor * y_bar[c, n, q]
                    F_bar[c, n, p, i] = total


@njit(**OPTIONS)
def mix_rows(first, F, y_bar, W_bar):
    """W_bar[n, p, first + i] += sum_c F[c, n, p, i] y_bar[c, n]: the pullback of each sample by itself."""
    M, N, P, J = F.shape
    for n in range(N):
        for p in range(P):
            for i in range(J):
                for c in range(M):
                    for q in range(y_bar.shape[2]):
                        W_bar[n, p, first[n, p] + i, q] += F[c, n, p, i] * y_bar[c, n, q]
