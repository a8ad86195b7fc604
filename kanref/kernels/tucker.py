"""The weights of all terms of a network written out in one call, and the adjoint: for networks whose steps take microseconds.

    full = constants + factor * value

where value is, term by term, numbers of theta, or core x_1 U_out x_2 U_in x_3 U_basis, or left right. Arrays are flat, and a
term's weights lie in them in kernel order (P, K, Q). `table` has a row for each term that trains anything:

    kind, start in full, start in theta, Q, P, K, r_out, r_in, r_basis

COPIED takes P K Q numbers of theta; MATRIX takes left (Q, r_out) and right (P K, r_out); TUCKER takes core (r_in, r_basis,
r_out), U_out (Q, r_out), U_in (P, r_in) and U_basis (K, r_basis), one after the other. The definitions are in `kanref.weights`.
For TUCKER, with a, c, b for indices of r_in, r_basis, r_out,

    H[a,q,c] = sum_b U_out[q,b] core[a,c,b],   R[a,q,k] = sum_c H[a,q,c] U_basis[k,c],   value[p,k,q] = sum_a U_in[p,a] R[a,q,k]

in this order and these layouts, so that the innermost loops are not over outputs, of which small networks have few.
"""

import numpy as np
from numba import njit

OPTIONS = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
COPIED, MATRIX, TUCKER = 0, 1, 2


@njit(**OPTIONS)
def factors(theta, row):
    """Views of core, U_out, U_in, U_basis."""
    at, Q, P, K, r_out, r_in, r_basis = row[2], row[3], row[4], row[5], row[6], row[7], row[8]
    core = theta[at : at + r_in * r_basis * r_out].reshape(r_in, r_basis, r_out)
    at += r_in * r_basis * r_out
    U_out = theta[at : at + Q * r_out].reshape(Q, r_out)
    at += Q * r_out
    U_in = theta[at : at + P * r_in].reshape(P, r_in)
    at += P * r_in
    return core, U_out, U_in, theta[at : at + K * r_basis].reshape(K, r_basis)


@njit(**OPTIONS)
def halves(theta, row):
    """Views of left and right."""
    at, Q, rows, rank = row[2], row[3], row[4] * row[5], row[6]
    left = theta[at : at + Q * rank].reshape(Q, rank)
    at += Q * rank
    return left, theta[at : at + rows * rank].reshape(rows, rank)


@njit(**OPTIONS)
def combine(weights, rows, total):
    """total += sum_i weights[i] rows[i]."""
    for i in range(len(weights)):
        for j in range(len(total)):
            total[j] += weights[i] * rows[i, j]


@njit(**OPTIONS)
def outer(weights, row, rows):
    """rows[i] += weights[i] row."""
    for i in range(len(weights)):
        for j in range(len(row)):
            rows[i, j] += weights[i] * row[j]


@njit(**OPTIONS)
def stages(core, U_out, U_basis):
    """H and R."""
    (r_in, r_basis, r_out), Q, K = core.shape, len(U_out), len(U_basis)
    C, T = np.empty((r_in, r_out, r_basis), core.dtype), np.ascontiguousarray(U_basis.T)
    H, R = np.zeros((r_in, Q, r_basis), core.dtype), np.zeros((r_in, Q, K), core.dtype)
    for a in range(r_in):
        for b in range(r_out):
            for c in range(r_basis):
                C[a, b, c] = core[a, c, b]
        for q in range(Q):
            combine(U_out[q], C[a], H[a, q])
            combine(H[a, q], T, R[a, q])
    return H, R


@njit(**OPTIONS)
def write(theta, table, constants, factor, full):
    """full from theta."""
    full[:] = constants
    for index in range(len(table)):
        row = table[index]
        start, size, Q, P, K = row[1], row[3] * row[4] * row[5], row[3], row[4], row[5]
        W, f = full[start : start + size], factor[start : start + size]
        if row[0] == COPIED:
            for i in range(size):
                W[i] += f[i] * theta[row[2] + i]
            continue
        if row[0] == MATRIX:
            left, right = halves(theta, row)
            w, U = np.empty(Q, theta.dtype), np.ascontiguousarray(left.T)
            for i in range(P * K):
                w[:] = 0.0
                combine(right[i], U, w)
                for q in range(Q):
                    W[i * Q + q] += f[i * Q + q] * w[q]
            continue
        core, U_out, U_in, U_basis = factors(theta, row)
        _, R = stages(core, U_out, U_basis)
        w = np.empty(Q * K, theta.dtype)
        for p in range(P):
            w[:] = 0.0
            combine(U_in[p], R.reshape(len(R), Q * K), w)
            for k in range(K):
                at = (p * K + k) * Q
                for q in range(Q):
                    W[at + q] += f[at + q] * w[q * K + k]


@njit(**OPTIONS)
def write_pullback(theta, table, factor, full_bar, theta_bar):
    """theta_bar from full_bar.

    With value_bar = factor full_bar:  R_bar[a,q,k] = sum_p U_in[p,a] value_bar[p,k,q],  U_in_bar = <value_bar, R>, and so on.
    """
    theta_bar[:] = 0.0
    for index in range(len(table)):
        row = table[index]
        start, size, Q, P, K = row[1], row[3] * row[4] * row[5], row[3], row[4], row[5]
        W_bar, f = full_bar[start : start + size], factor[start : start + size]
        if row[0] == COPIED:
            for i in range(size):
                theta_bar[row[2] + i] = f[i] * W_bar[i]
            continue
        if row[0] == MATRIX:
            (left, right), (left_bar, right_bar) = halves(theta, row), halves(theta_bar, row)
            w_bar = np.empty(Q, theta.dtype)
            for i in range(P * K):
                for q in range(Q):
                    w_bar[q] = f[i * Q + q] * W_bar[i * Q + q]
                combine(w_bar, left, right_bar[i])
                outer(w_bar, right[i], left_bar)
            continue
        core, U_out, U_in, U_basis = factors(theta, row)
        core_bar, U_out_bar, U_in_bar, U_basis_bar = factors(theta_bar, row)
        H, R = stages(core, U_out, U_basis)
        r_in, H_bar, R_bar, w_bar = len(R), np.zeros_like(H), np.zeros_like(R), np.empty(Q * K, theta.dtype)
        R_rows, R_rows_bar = R.reshape(r_in, Q * K), R_bar.reshape(r_in, Q * K)
        for p in range(P):
            for k in range(K):
                at = (p * K + k) * Q
                for q in range(Q):
                    w_bar[q * K + k] = f[at + q] * W_bar[at + q]
            outer(U_in[p], w_bar, R_rows_bar)
            for a in range(r_in):
                for j in range(Q * K):
                    U_in_bar[p, a] += R_rows[a, j] * w_bar[j]
        for a in range(r_in):
            for q in range(Q):
                combine(R_bar[a, q], U_basis, H_bar[a, q])
                outer(R_bar[a, q], H[a, q], U_basis_bar)
                combine(H_bar[a, q], core[a], U_out_bar[q])
                outer(H_bar[a, q], U_out[q], core_bar[a])
