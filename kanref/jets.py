"""Jets: values that carry their derivatives along D directions through a network.

A jet of N samples with P coordinates is one array z of shape (1 + 2 D, N, P):

    z[0]                 values
    z[1 : D+1]           first derivatives  d/dt   z(x + t v_d) at t = 0
    z[D+1 : 2D+1]        second derivatives d^2/dt^2

so that D = 0 is plain evaluation and nothing needs a second code path. Mixed derivatives come by polarisation:
with v = e_i + e_j,  2 u_ij = u_vv - u_ii - u_jj.
"""

import numpy as np


def seed(x, directions=None):
    """The jet of the identity at x (N, P) along directions (D, P): values x, slopes v_d, no curvature."""
    if directions is None or len(directions) == 0:
        return x[None]
    directions = np.asarray(directions, x.dtype)
    z = np.zeros((1 + 2 * len(directions), *x.shape), x.dtype)
    z[0] = x
    for d, i in zip(*np.nonzero(directions)):
        z[1 + d, :, i] = directions[d, i]
    return z


def parts(z):
    """Values (N, P), first derivatives (D, N, P), second derivatives (D, N, P): views."""
    D = (len(z) - 1) // 2
    return z[0], z[1 : D + 1], z[D + 1 :]


def order(z):
    """Highest derivative of a function that a jet needs: 0 or 2."""
    return 2 if len(z) > 1 else 0


def lift(b, z):
    """Chain rule for functions b of one coordinate: F_0 = b, F_1 = b' z_1, F_2 = b'' z_1^2 + b' z_2.

    b: (order+1, N, P, J) values and derivatives of J functions at z[0]; returns (M, N, P, J).
    """
    if len(z) == 1:
        return b[:1]
    _, z_1, z_2 = parts(z[..., None])
    return np.concatenate([b[:1], b[1] * z_1, b[2] * z_1**2 + b[1] * z_2])


def lift_pullback(b, z, F_bar):
    """Adjoint of `lift` with respect to z; b must hold one derivative more. F_bar (M, N, P, J) -> z_bar (M, N, P)."""
    _, z_1, z_2 = parts(z)
    F_0_bar, F_1_bar, F_2_bar = parts(F_bar)
    inner = lambda f, g: np.einsum("...npj,...npj->...np", f, g)  # sum over the J functions
    z_bar = np.empty_like(z)
    z_0_bar, z_1_bar, z_2_bar = parts(z_bar)
    z_0_bar[...] = inner(b[1], F_0_bar)
    if len(z) > 1:
        bend = inner(b[2], F_2_bar)
        z_0_bar += (z_1 * inner(b[2], F_1_bar) + z_1**2 * inner(b[3], F_2_bar) + z_2 * bend).sum(0)
        z_1_bar[...] = inner(b[1], F_1_bar) + 2 * z_1 * bend
        z_2_bar[...] = inner(b[1], F_2_bar)
    return z_bar


def times(a, b):
    """Product of jets: (ab, a_1 b + a b_1, a_2 b + 2 a_1 b_1 + a b_2)."""
    (a_0, a_1, a_2), (b_0, b_1, b_2) = parts(a), parts(b)
    return np.concatenate([(a_0 * b_0)[None], a_1 * b_0 + a_0 * b_1, a_2 * b_0 + 2 * a_1 * b_1 + a_0 * b_2])


def times_pullback(b, y_bar):
    """Adjoint of a -> times(a, b)."""
    (b_0, b_1, b_2), (y_0, y_1, y_2) = parts(b), parts(y_bar)
    a_0 = b_0 * y_0 + (b_1 * y_1 + b_2 * y_2).sum(0)
    return np.concatenate([a_0[None], b_0 * y_1 + 2 * b_1 * y_2, b_0 * y_2])


def compose(functions, z):
    """The jet of f(z) for functions (f, f', f''), every coordinate by itself."""
    b = np.stack([f(z[0]) for f in functions[: order(z) + 1]])
    return lift(b[..., None], z)[..., 0]
