"""Power ReLUs: truncated powers at the knots of B-splines, and the change of basis between the two.

For strictly increasing knots t_0 < ... < t_{T-1}, degree d, K = T - d - 1 functions and the mean spacing
h = (t_{T-1} - t_0)/(T - 1),

    psi_j(x) = ReLU((x - t_j)/h)^d,    B_i(x) = sum_j A[i,j] psi_j(x) for x <= t_K,    i, j = 0..K-1

(multilevel paper, section 3; its order is r = d + 1). The paper states the identity on the domain [t_d, t_K]; it holds to
the left of it too, but not to the right: there splines fade and powers grow. The paper's psi has h = 1, which makes A
larger by h^-d; with h, uniform knots give the A~ = (I - S)^(d+1)/d! of its supplement, whose norm is at most 4. Further:

    recursion   A_e[i,j] = h/(t_{i+e} - t_i) A_{e-1}[i,j] - h/(t_{i+e+1} - t_{i+1}) A_{e-1}[i+1,j],   e = 1..d,
                A_0[i,i] = 1, A_0[i,i+1] = -1:   A = (I-S) G_d (I-S) G_{d-1} ... (I-S) G_1 (I-S)
    any knots   A[i,i+s] = h^d (t_{i+d+1} - t_i) / prod_{l /= s} (t_{i+l} - t_{i+s}),   s, l = 0..d+1
    uniform     A = (I - S)^(d+1) / d!,   A^-1[i,j] = d! C(j - i + d, d)
    inverse     A^-1[i,j] = prod_{l=1..d} (t_{j+l} - t_i)/h  for j >= i   (Marsden's identity)

with the shift S (ones above the diagonal) and diagonals G_e = h/(t_{i+e} - t_i). A is upper triangular with d + 2
diagonals of alternating sign, A^-1 is positive, and neither form subtracts anything but knots: every entry of both is
accurate to rounding, although cond(A) grows as K^(d+1). All functions here take knots of any number type: floats, or an
object array or list of `Fraction`, sympy or mpmath numbers, for which everything is exact.

Weights change as w = A' u, so that sum_i u_i B_i = sum_j w_j psi_j, and gradients as g_u = A g_w.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from kanref.arrays import integer, real_array
from kanref.bases import MAX_DEGREE, MAX_ORDER


def strict(knots, degree):
    """Knots (..., T) as an array, float64 or of exact numbers; ValueError unless they increase strictly and suffice."""
    t = np.asarray(knots)
    t = t if t.dtype == object else real_array(t, "knots", np.float64)
    integer(degree, "degree", 0, MAX_DEGREE)
    if t.ndim == 0 or t.shape[-1] < 2 * degree + 2:
        need = 2 * degree + 2
        raise ValueError(f"degree {degree} needs rows of at least {need} knots, but knots has shape {t.shape}")
    wrong = np.asarray(np.diff(t) <= 0, bool)
    if wrong.any():
        *row, i = (int(k) for k in np.argwhere(wrong)[0])
        a, b = t[(*row, i)], t[(*row, i + 1)]
        raise ValueError(
            f"power ReLUs need strictly increasing knots, but knots[{', '.join(map(str, (*row, i)))}] = {a} is followed by "
            f"{b}; the powers of equal knots are equal, so use distinct ones, or B-splines, which may repeat them"
        )
    return t


def spacing(knots):
    """The mean spacing h of every row: (..., 1)."""
    return (knots[..., -1:] - knots[..., :1]) / (knots.shape[-1] - 1)


# ------------------------------------------------------------------------------------------------ the two matrices


def bands(knots, degree):
    """A by its diagonals: D[..., i, s] = A[i, i+s], s = 0..degree + 1, for knots (..., T): (..., K, degree + 2).

    By the recursion. Entries D[i, s] with i + s >= K belong to functions that vanish on the domain; A leaves them out.
    """
    t = strict(knots, degree)
    h, zero = spacing(t), t[..., 1:, None] - t[..., 1:, None]
    D = np.concatenate([zero + 1, zero - 1], -1)
    for e in range(1, degree + 1):
        g = (h / (t[..., e:] - t[..., :-e]))[..., None]
        pad = (g - g)[..., 1:, :]
        stay, shifted = g[..., :-1, :] * D[..., :-1, :], g[..., 1:, :] * D[..., 1:, :]
        D = np.concatenate([stay, pad], -1) - np.concatenate([pad, shifted], -1)
    return D[..., : t.shape[-1] - degree - 1, :]


def change_of_basis(knots, degree):
    """A, (..., K, K), with B = A psi on the domain, from `bands`."""
    D = bands(knots, degree)
    K = D.shape[-2]
    A = np.zeros((*D.shape[:-1], K), D.dtype)
    for s in range(min(degree + 2, K)):
        i = np.arange(K - s)
        A[..., i, i + s] = D[..., : K - s, s]
    return A


def inverse(knots, degree):
    """A^-1, (..., K, K), with psi = A^-1 B on the domain, by Marsden's identity: no system is solved."""
    t = strict(knots, degree)
    K = t.shape[-1] - degree - 1
    h = spacing(t)[..., None]
    product = np.ones((K, K), int) + 0 * h
    for l in range(1, degree + 1):
        product = product * ((t[..., None, l : l + K] - t[..., :K, None]) / h)
    return np.where(np.tri(K, dtype=bool).T, product, 0 * h)


def differences(size, order):
    """(I - S)^order: binomials of alternating sign, whole numbers as float64. Uniform knots: A = (I - S)^(d+1) / d!."""
    return sum((-1) ** s * math.comb(order, s) * np.eye(size, k=s) for s in range(min(order + 1, size)))


def sums(size, order):
    """(I - S)^-order for order >= 1, the powers of the upper triangle of ones: C(j - i + order - 1, order - 1)."""
    row = np.array([math.comb(s + order - 1, order - 1) for s in range(size)], float)
    i = np.arange(size)
    return np.triu(row[np.abs(i - i[:, None])])


def meant(basis):
    """The knots that a `BSpline` means, up to an affine map: 0, 1, ..., T-1 if all its rows are uniform to rounding, as its
    kernels take them; else its rows (P, T)."""
    knots = strict(basis.knots, basis.degree)
    return np.arange(knots.shape[1], dtype=float) if (basis.steps > 0).all() else knots


def matrices(basis):
    """A and A^-1 of a `BSpline`, and a number f: A / f and A^-1 f are meant. (K, K) for uniform rows, else (P, K, K).

    Uniform: f = degree!, and both matrices hold whole numbers, so that products of them are exact below 2^53.
    """
    t, order = meant(basis), basis.degree + 1
    if t.ndim == 1:
        return differences(basis.size, order), sums(basis.size, order), math.factorial(basis.degree)
    return change_of_basis(t, basis.degree), inverse(t, basis.degree), 1


# --------------------------------------------------------------------------------------------------- their action


def to_relu(u, knots, degree):
    """w = A' u along the last axis of u (..., K), knots (T,) or rows that broadcast: weights of power ReLUs.

    Exact for exact numbers. Floats: each w_j is a sum of degree + 2 products, so its error is a few roundings of
    (|A|' |u|)_j, which exceeds |w_j| for smooth u.
    """
    D = bands(knots, degree)
    K = D.shape[-2]
    _checked(u, "u", K)
    w = u * D[..., 0]
    for s in range(1, min(degree + 2, K)):
        w[..., s:] += (u * D[..., s])[..., : K - s]
    return w


def to_splines(w, knots, degree):
    """u = A^-T w along the last axis of w (..., K): degree + 1 cumulative sums, scaled by knot differences in between.

    Exact for exact numbers. Floats: errors are those of rounding w, carried by the condition of A (K^(degree + 1)).
    """
    t = strict(knots, degree)
    h, K = spacing(t), t.shape[-1] - degree - 1
    _checked(w, "w", K)
    u = np.cumsum(w, -1)
    for e in range(1, degree + 1):
        u = np.cumsum(u * ((t[..., e : e + K] - t[..., :K]) / h), -1)
    return u


def _checked(weights, name, size):
    if np.shape(weights)[-1:] != (size,):
        raise ValueError(f"{name} must have shape (..., {size}) for these knots, but it has shape {np.shape(weights)}")


# ------------------------------------------------------------------------------------------------------- the basis


@dataclass(frozen=True, eq=False)
class PowerReLU:
    """The basis psi_j(x) = ReLU((x - t_j)/h)^degree of the multichannel MLP, j = 0..K-1, on a row of knots for every input.

    knots: (P, T), strictly increasing, those of B-splines: the same K = T - degree - 1 functions span the same splines on
    the domain [t_degree, t_K], and beyond it on the left; h is the mean spacing of the row. Every function may differ from
    zero everywhere, so the window is K. The derivative of order `degree` jumps at the knots and is continuous from
    the right, as that of the B-splines.

    Evaluated as it stands: the sum cancels digits, about cond(A) ~ K^(degree + 1) of them, which no order of summation
    recovers. Weights in power ReLUs without that loss in the values are `kanref.weights.InBasis`.
    """

    knots: np.ndarray = field(repr=False)
    degree: int

    def __post_init__(self):
        knots = strict(self.knots, self.degree).astype(float)
        if knots.ndim != 2:
            raise ValueError(
                f"knots must have shape (inputs, knots), but it has shape {knots.shape}; use knots[None] for one input"
            )
        knots.flags.writeable = False
        object.__setattr__(self, "knots", knots)

    @property
    def size(self):
        """K, the number of functions for each input."""
        return self.knots.shape[1] - self.degree - 1

    window = size

    @property
    def inputs(self):
        return self.knots.shape[0]

    @property
    def domain(self):
        """(P, 2): where they span the splines."""
        return self.knots[:, [self.degree, -self.degree - 1]]

    def derivatives(self, x, order):
        """first = 0 and values (order+1, N, P, K): d!/(d-m)! ReLU(s)^(d-m) / h^m at s = (x - t_j)/h, order m <= 3."""
        integer(order, "order", 0, MAX_ORDER)
        if x.shape[1] != self.inputs:
            raise ValueError(f"x has {x.shape[1]} columns, but these power ReLUs have knots for {self.inputs} inputs")
        t, h = (a.astype(x.dtype) for a in (self.knots[:, : self.size], spacing(self.knots)))
        s = (x[..., None] - t) / h
        values = np.zeros((order + 1, *s.shape), x.dtype)
        power = (s >= 0).astype(x.dtype)  # s_+^0
        for m in range(self.degree, -1, -1):
            if m <= order:
                values[m] = math.perm(self.degree, m) * power / h**m
            power = power * s
        return np.zeros(x.shape, np.int64), values

    def select(self, inputs):
        """The same functions on some of the inputs."""
        return PowerReLU(self.knots[inputs], self.degree)
