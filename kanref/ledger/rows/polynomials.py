"""Polynomial bases and derivatives written by hand: a custom backward pass, Chebyshev by arccos, Legendre."""

import numpy as np
from numpy.polynomial import chebyshev, legendre

from kanref.bases import BSpline, Chebyshev
from kanref.ledger.row import Row
from kanref.ledger.rows.splines import cubic, dense
from kanref.network import KAN, Layer, spline_layer
from kanref.terms import Linear
from kanref.weights import Full

# ------------------------------------------------------------------------------------------ B15: a custom backward pass

OPEN = np.array([-1.0] * 4 + [-0.6, -0.2, 0.2, 0.6] + [1.0] * 4)
BATCH = np.array([-0.7, 0.1, 0.1, 0.5])


def backward():
    net = KAN((spline_layer(1, 1, BSpline(OPEN[None], 3), base=None),))
    theta, x = cubic(OPEN), BATCH[:, None]
    return {"by x": net.gradient(theta, x).ravel(), "by the weights, summed": net.jacobian(theta, x).sum()}


def added():
    """d (B_{i,d-1}/(t_{i+d} - t_i) + B_{i+1,d-1}/(t_{i+d+1} - t_{i+1})), and w_bar[indices] += values."""
    t, d = OPEN, 3
    share = dense(t, d - 1, BATCH) / np.where(t[d:] > t[:-d], t[d:] - t[:-d], np.inf)
    values, w_bar = dense(t, d, BATCH), np.zeros(len(t) - d - 1)
    active = np.searchsorted(t[d:-d], BATCH, "right")[:, None] - 1 + np.arange(d + 1)
    w_bar[active] += np.take_along_axis(values, active, 1)
    return {"by x": d * (share[:, :-1] + share[:, 1:]) @ cubic(t), "by the weights, summed": w_bar.sum()}


B15 = Row(
    number="B15",
    title="Derivatives of a spline by its input and by its weights",
    peers=("flashkan",),
    right=lambda: {"by x": 3 * BATCH**2 - 1 / 2, "by the weights, summed": len(BATCH)},
    ours=backward,
    derivation="""B'_i = d (B_{i,d-1}/(t_{i+d} - t_i) - B_{i+1,d-1}/(t_{i+d+1} - t_{i+1})), so the spline that is x^3 -
        x/2 (Marsden's identity) has the derivative 3 x^2 - 1/2. By weight i it is B_i(x), and B-splines sum to one:
        over all weights and 4 samples 4. A backward pass that adds the two terms, and indexed += that keeps one of
        several contributions to the same weight (samples in one interval share weights), give neither.""",
    reproduce="""Cubic B-splines on the knots -1 (4 times), -0.6, -0.2, 0.2, 0.6, 1 (4 times), coefficients of x^3 -
        x/2, no base function; samples -0.7, 0.1, 0.1, 0.5; the derivative of the sum of the outputs by x, and by all
        weights, these summed.""",
    wrong={"flashkan": added},
    tolerance=1e-5,
)

# --------------------------------------------------------------------------------------- B16: Chebyshev polynomials of tanh

FAR = np.array([0.5, 8, 10, 20])


def saturated():
    """In float32, as the others train."""
    net = KAN((Layer({"T": Linear(Chebyshev(4), Full((1, 1, 5)))}),))
    return {"derivative": net.gradient(np.ones(5, np.float32), FAR[:, None].astype(np.float32)).ravel()}


def chebyshev_slope():
    return {"derivative": chebyshev.chebval(np.tanh(FAR), chebyshev.chebder(np.ones(5))) / np.cosh(FAR) ** 2}


def by_arccos():
    """n sin(n a)/sin(a) (1 - s^2) with a = arccos s, s = tanh x, as automatic differentiation composes it in float32."""
    s, n = np.tanh(FAR.astype(np.float32))[:, None], np.arange(5, dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = -np.sin(n * np.arccos(s)) * n * (-1 / np.sqrt(1 - s**2)) * (1 - s**2)
    return {"derivative": slopes.sum(1)}


B16 = Row(
    number="B16",
    title="Chebyshev polynomials of tanh x: derivatives stay finite where tanh saturates",
    peers=("cheby_kan", "jaxkan"),
    right=chebyshev_slope,
    ours=saturated,
    derivation="""f(x) = T_0 + ... + T_4 at s = tanh x has f' = (T_1' + ... + T_4')(s)/cosh^2 x, polynomials by
        three-term recurrences: finite, and tending to 0. cos(n arccos s) has the slope n sin(n a)/sin a with a = arccos
        s: 0/0, as soon as tanh x rounds to 1 (in float32 beyond x = 9, by XLA's tanh from 8). jaxKAN's flavors
        "modified" and "exact" evaluate polynomials; asked is its default. 1/cosh^2 x is to be taken as it stands: in
        float32 1 - tanh^2 x has one digit left at x = 8, and none at 10.""",
    reproduce="One edge of degree 4, coefficients 1, in float32; the derivative at x = 0.5, 8, 10, 20, to 1e-6 of the largest.",
    wrong={"cheby_kan": by_arccos},
    tolerance=1e-6,
)

# ---------------------------------------------------------------------------------- B30: derivatives of Legendre polynomials

S = 0.5


def legendre_right():
    return {"derivatives at 1/2": [0, 1, 3 / 2, 3 / 8, -25 / 16], "change of P_2 with another sample": 0}


def changed_basis():
    """P_n = sum_j A[n,j] T_j, with kanref's T_j and their derivatives; its input map is tanh, for every sample on its own."""
    A = [np.pad(chebyshev.poly2cheb(legendre.leg2poly(e[: n + 1])), (0, 4 - n)) for n, e in enumerate(np.eye(5))]
    x = np.arctanh(S)
    at = lambda *batch: Chebyshev(4).derivatives(np.array(batch)[:, None], 1)[1][:, 1, 0] @ np.transpose(A)
    first, second = at(0, x, 1), at(0, x, 2)
    return {"derivatives at 1/2": first[1] / (1 - S**2), "change of P_2 with another sample": abs(first - second)[0, 2]}


def shifted_index():
    """P'_{n+1} = (n+1) P_{n+1} + x P'_n, on inputs scaled to [-1, 1] by the least and the largest of the batch."""
    P = [legendre.legval(S, e) for e in np.eye(5)]
    slopes = [0, 1]
    for n in range(1, 4):
        slopes.append((n + 1) * P[n + 1] + S * slopes[n])
    P_2 = lambda x, *batch: legendre.legval(2 * (x - min(batch)) / (max(batch) - min(batch)) - 1, [0, 0, 1])
    return {"derivatives at 1/2": slopes, "change of P_2 with another sample": abs(P_2(S, 0, S, 1) - P_2(S, 0, S, 2))}


B30 = Row(
    number="B30",
    title="Derivatives of Legendre polynomials; what a sample gives does not depend on the others",
    peers=("FluxKAN.jl",),
    right=legendre_right,
    ours=changed_basis,
    derivation="""P'_{n+1} = (n+1) P_n + x P'_n; by hand P_2' = 3 x, P_3' = (15 x^2 - 3)/2, P_4' = (35 x^3 - 15 x)/2.
        FluxKAN.jl before 0.9 has P_{n+1} for P_n, and scales inputs by the least and the largest of the batch (0/0 for
        a constant batch); 0.9 corrects both (cometscome/FluxKAN.jl#16). Its notes name Chebyshev derivatives, too; the
        published rule, n U_{n-1}, is right. kanref has no Legendre basis: its Chebyshev basis and a change of basis
        stand for one.""",
    reproduce="""Derivatives of P_0, ..., P_4 at 1/2; P_2 at the second of the samples (0, 1/2, 1) and (0, 1/2, 2),
        after the library's own map of inputs.""",
    wrong={"FluxKAN.jl": shifted_index},
)

ROWS = (B15, B16, B30)
