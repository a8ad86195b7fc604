"""Why the basis matters for descent: spectra of the change of basis, and neural tangent kernels in both bases.

With w = A' u (`kanref.power_relu`), a gradient step on w moves u by (A A')^-1 times its own gradient. A acts as a difference of
order r = degree + 1, so A A' and A' A are differences of order 2 r: eigenvalues from a constant down to K^-2r times that,
eigenvectors from K - 1 sign changes down to none. Descent in power ReLUs is therefore descent in splines preconditioned by
an inverse of order 2 r: what is smooth in the knot index moves faster by orders of magnitude, and what a finer grid has
more of hardly moves (multilevel paper, section 3.3).

A^-1 is a product of cumulative sums and positive diagonals, hence totally nonnegative, and (A' A)^-1 is oscillatory: by the
theorem of Gantmacher and Krein its eigenvalues are simple and the eigenvector of the k-th smallest eigenvalue of A' A has
exactly k - 1 sign changes, for any strictly increasing knots. The paper observes it for uniform ones.
"""

import math

import numpy as np

from kanref.grids.rebase import splines
from kanref.multilevel.relu_form import as_splines, in_relus
from kanref.power_relu import differences, matrices, sums


def spectrum(A, A_inverse):
    """Eigenvalues (K,), ascending, and eigenvectors (K, K), in columns, of A' A and of A A'; the eigenvalues are the same.

    The lower half of them comes from the singular values of A^-1, the upper half from those of A, so that each is accurate
    to about eps sqrt(cond A' A) of itself, where eigvalsh(A' A) has no digits left once cond A' A exceeds 1 / eps.
    """
    U, s, Vt = np.linalg.svd(A)
    V_low, s_low, Ut_low = np.linalg.svd(A_inverse)
    low = 1 / s_low
    upper, V, U = s[::-1], Vt[::-1].T, U[:, ::-1]
    take_low = low < math.sqrt(low[0]) * math.sqrt(upper[-1])
    s = np.where(take_low, low, upper)
    return s**2, np.where(take_low, V_low, V), np.where(take_low, Ut_low.T, U)


def condition(size, order):
    """lambda_max / lambda_min of A' A for the h-free A = (I - S)^order of a size, through its exact inverse."""
    return float((np.linalg.norm(differences(size, order), 2) * np.linalg.norm(sums(size, order), 2)) ** 2)


def norm(order):
    """The limit 2^r / (r - 1)! of ||(I - S)^r|| / (r - 1)! for large sizes, r = order: 2, 4, 4, 8/3, 4/3, ..."""
    return 2**order / math.factorial(order - 1)


def sign_changes(vectors):
    """Sign changes along every column; zeros are passed over."""
    return np.array([np.count_nonzero(np.diff(np.sign(v[v != 0]))) for v in np.transpose(vectors)])


# ------------------------------------------------------------------------------------------------- tangent kernels


def tangent_kernels(net, theta, x):
    """NTK_S = J_u J_u' and NTK_R = J_w J_w' of a network of B-splines at samples x (N, n): two arrays (N m, N m).

    The network may be written in either geometry; free knots have to be fixed first (ValueError).
    J: derivatives of the m outputs with respect to all of theta, with spline weights u, or with w = A' u in their place; other
    parameters count the same in both. J_u = J_w A', so that NTK_S = J_w A' A J_w' (the paper's supplement prints J A A' J',
    which needs w = A u). Gradient flow on 1/2 sum r^2 moves the residuals by r' = -NTK r.
    """
    kernels = []
    for structure, point in (as_splines(net, theta), in_relus(net, theta)):
        J = structure.jacobian(point, x)
        J = J.reshape(-1, J.shape[-1])
        kernels.append(J @ J.T)
    return kernels[0], kernels[1]


def tangent_bound(net):
    """A number c with rho(NTK_S) <= c rho(NTK_R) for any theta and samples: the largest ||A||^2 of a layer, at least 1.

    For uniform knots it is below (2^r / (r - 1)!)^2: 4, 16, 16, 7.1, 1.8 for orders r = 1..5, so at most 16. The paper's theorem
    prints 4, but its proof squares the norm.
    """
    found = [1.0]
    for layer in net.layers:
        for basis in splines(layer).values():
            A, _, f = matrices(basis)
            found.append((np.linalg.norm(A, 2, axis=(-2, -1)).max() / f) ** 2)
    return float(max(found))


def within(kernel, factor=1e-3):
    """How many eigenvalues of a kernel are at least `factor` times the largest: modes that descent moves at all."""
    values = np.linalg.eigvalsh(kernel)
    return int((values >= factor * values[-1]).sum())
