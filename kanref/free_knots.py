"""Free knots: a term of B-splines whose knots are trained together with their weights.

    y_q = sum_p sum_i W[q,p,i] B_i(x_p; t_p),        t_p from the trained spacing s_p by a cumulative softmax

The predecessor of the multilevel paper (arXiv 2505.18131) trains knots so; its body could not be read, this is a
reconstruction. For n intervals on [a, b]

    t_0 = a,   t_i = a + (b - a) P_i,   P_i = p_1 + ... + p_i,   p = e/n + (1 - e) softmax(s),   e = LEAST

with d knots more on each side that repeat the first and the last spacing. Knots so increase strictly for every s (the
softmax alone underflows), and halving an interval is s_j -> s_j, s_j with p_j/2 each: refinement stays in the family.

How a spline moves with one of its knots follows from divided differences, in which the derivative with respect to a knot
repeats the knot (de Boor, chapter I): with t^ the knots with t_j twice, and B^_i the B-splines on t^,

    d/dt_j sum_i c_i B_i(x) = - sum_{i=j-d..j} (c_i - c_{i-1}) B^_i(x) / (t^_{i+d+1} - t^_i),          c_{-1} = c_K = 0,

which is again local, and holds for every derivative in x.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kanref import jets
from kanref.arrays import choice, integer
from kanref.bases import MAX_DEGREE, BSpline
from kanref.terms import Linear, mix_rows, spline_forward, spline_pullback
from kanref.weights import Weights

LEAST = 1e-6  # share of the domain that the smallest interval keeps, times 1/n


@dataclass(frozen=True, eq=False)
class FreeKnots:
    """B-splines on trained knots; weights as for fixed ones.

    degree: at least 1, as a jump cannot be moved by its slope; for jets at least 3, else the knots' own adjoints jump.
    low, high: (P,) the domain of every input, which stays; outside: "zero", "linear" or "clamp", see `BSpline`.
    The arrays are the weights' and "spacing" (P, n), n = K - degree intervals; equal entries are uniform knots.
    """

    weights: Weights
    degree: int
    low: np.ndarray
    high: np.ndarray
    outside: str = "zero"

    def __post_init__(self):
        integer(self.degree, "degree", 1, MAX_DEGREE)
        choice(self.outside, "outside", ("zero", "linear", "clamp"))
        Q, P, K = self.weights.shape
        if K <= self.degree:
            raise ValueError(f"weights of shape {self.weights.shape} have too few functions for degree {self.degree}: n + degree")
        low, high = (np.array(np.broadcast_to(np.asarray(e, float), P)) for e in (self.low, self.high))
        if not ((low < high) & np.isfinite(low) & np.isfinite(high)).all():
            raise ValueError(f"the domain must have finite low < high for every input, but got low = {low}, high = {high}")
        for name, end in (("low", low), ("high", high)):
            end.flags.writeable = False
            object.__setattr__(self, name, end)

    @property
    def shape(self):
        return self.weights.shape[:2]

    @property
    def intervals(self):
        return self.weights.shape[2] - self.degree

    @property
    def arrays(self):
        return {**self.weights.arrays, "spacing": (self.shape[1], self.intervals)}

    def start(self, rng):
        """Uniform knots; weights as a small random spline: N(0, 1/(P K))."""
        Q, P, K = self.weights.shape
        return {**self.weights.start(rng.normal(0, (P * K) ** -0.5, (Q, P, K))), "spacing": np.zeros((P, self.intervals))}

    # ------------------------------------------------------------------------------------------------------- knots

    @cached_property
    def _exterior(self):
        """E (T, n+1): all knots from those in the domain, t = E tau; ends by the first and the last spacing."""
        d, n = self.degree, self.intervals
        E = np.zeros((n + 2 * d + 1, n + 1))
        E[d : d + n + 1] = np.eye(n + 1)
        for k in range(1, d + 1):
            E[d - k, :2] += (1 + k, -k)
            E[d + n + k, -2:] += (-k, 1 + k)
        return E

    def knots(self, spacing):
        """t (P, T) from s (P, n)."""
        p = shares(spacing)
        tau = np.concatenate([np.zeros((len(p), 1)), np.cumsum(p, 1)[:, :-1], np.ones((len(p), 1))], 1)
        width = (self.high - self.low)[:, None]
        return (self.low[:, None] + width * tau) @ self._exterior.T

    def knots_pullback(self, spacing, t_bar):
        """Adjoint of `knots`: s_bar (..., P, n) for t_bar (..., P, T).

        dt_i/ds_m = (b - a) (1 - e) q_m (1[m <= i] - Q_i) with q = softmax(s), Q its cumulative sum.
        """
        tau_bar = (t_bar @ self._exterior)[..., 1:-1]  # the ends stay
        q = softmax(spacing)
        beyond = np.zeros((*tau_bar.shape[:-1], self.intervals))
        beyond[..., :-1] = np.cumsum(tau_bar[..., ::-1], -1)[..., ::-1]  # sum over i >= m
        mean = (beyond * q).sum(-1, keepdims=True)
        return (1 - LEAST) * (self.high - self.low)[:, None] * q * (beyond - mean)

    def fixed(self, arrays):
        """The `Linear` term of B-splines on the present knots, and its arrays: the same function."""
        own = {name: a for name, a in arrays.items() if name != "spacing"}
        return Linear(self.splines(arrays["spacing"]), self.weights), own

    def splines(self, spacing):
        """The B-splines on the knots that s (P, n) gives."""
        return BSpline(self.knots(spacing.astype(np.float64)), self.degree, self.outside)

    # -------------------------------------------------------------------------------------------------------- term

    def forward(self, arrays, z):
        return spline_forward(self.splines(arrays["spacing"]), z, self.weights.tensor(arrays), None)

    def pullback(self, arrays, z, y_bar, inputs=True):
        basis, W = self.splines(arrays["spacing"]), self.weights.tensor(arrays)
        W_bar, _, z_bar = spline_pullback(basis, z, W, None, y_bar, inputs)
        t_bar = self._knots_bar(basis, W, z, lambda p: y_bar).sum(0)
        return {**self.weights.pullback(arrays, W_bar), "spacing": self.knots_pullback(arrays["spacing"], t_bar)}, z_bar

    def rows(self, arrays, z, y_bar):
        basis, W = self.splines(arrays["spacing"]), self.weights.tensor(arrays)
        first, b = basis.derivatives(z[0], jets.order(z))
        W_bar = mix_rows(first, jets.lift(b, z), y_bar, basis.size)
        t_bar = self._knots_bar(basis, W, z, lambda p: y_bar)
        return {**self.weights.pullback(arrays, W_bar), "spacing": self.knots_pullback(arrays["spacing"], t_bar)}

    def edges(self, arrays, x):
        """W[q,p,:] B(x_p), (N, Q, P): every edge by itself."""
        term, own = self.fixed(arrays)
        return term.edges(own, x)

    def edges_pullback(self, arrays, x, phi_bar):
        """Adjoints of `edges` for phi_bar (N, Q, P)."""
        term, own = self.fixed(arrays)
        arrays_bar, x_bar = term.edges_pullback(own, x, phi_bar)
        W = self.weights.tensor(arrays)
        t_bar = self._knots_bar(term.basis, W, x[None], lambda p: phi_bar[None, ..., p]).sum(0)
        return {**arrays_bar, "spacing": self.knots_pullback(arrays["spacing"], t_bar)}, x_bar

    def select(self, arrays, outputs, inputs):
        weights, own = self.weights.select(arrays, outputs, inputs)
        term = FreeKnots(weights, self.degree, self.low[inputs], self.high[inputs], self.outside)
        return term, {**own, "spacing": arrays["spacing"][inputs]}

    def rebased(self, R, basis):
        """The term with every interval halved, W x_3 R, and {array: (mode, M)}: spacing s_j -> s_j, s_j. `basis` and R are the
        present knots halved, exterior ones spaced as the fine intervals beside them."""
        weights, maps = self.weights.rebased(R, basis)
        twice = np.repeat(np.eye(self.intervals), 2, axis=0)
        if basis.intervals != len(twice):
            raise ValueError(f"free knots are refined by halving all {self.intervals} intervals, but there are {basis.intervals}")
        return replace(self, weights=weights), {**maps, "spacing": (1, twice)}

    def _knots_bar(self, basis, W, z, y_bar):
        """Adjoints t_bar (N, P, T) of the knots for each sample; y_bar(p) is the adjoint (M, N, Q) that input p sees.

        phi_m, an edge's derivative of order m, enters as y_0 = phi_0, y_1 = phi_1 z_1, y_2 = phi_2 z_1^2 + phi_1 z_2.
        """
        (_, N, P), d, K = z.shape, self.degree, basis.size
        t_bar, orders = np.zeros((N, P, K + d + 1)), jets.order(z)
        for p, t in enumerate(basis.knots):
            x, z_1, z_2 = jets.parts(z[..., p, None])
            y_0, y_1, y_2 = jets.parts(y_bar(p))
            u = [y_0, (y_1 * z_1 + y_2 * z_2).sum(0), (y_2 * z_1**2).sum(0)][: orders + 1]  # adjoints (N, Q) of phi_m
            c = np.pad(W[:, p], ((0, 0), (1, 1)))
            steps = c[:, 1:] - c[:, :-1]  # (Q, K+1): c_i - c_{i-1}
            edge = x[:, 0]
            if self.outside != "zero":
                low, high = basis.domain[p]
                edge = np.clip(edge, low, np.nextafter(high, low))  # slopes at the end are those from inside
            for j in range(K + d + 1):
                near = np.flatnonzero((t[max(j - d, 0)] <= edge) & (edge <= t[min(j + d, K + d)]))
                if near.size:
                    twice = np.insert(t, j, t[j])
                    first, b = self._moved(twice, x[near], edge[near], orders)
                    i = first[:, None] + np.arange(d + 1)
                    width = twice[i + d + 1] - twice[i]
                    share = np.divide(1, width, out=np.zeros_like(width), where=(j - d <= i) & (i <= j))
                    moved = sum(b_m * (u_m[near] @ steps)[np.arange(len(near))[:, None], i] for b_m, u_m in zip(b, u))
                    t_bar[near, p, j] = -(moved * share).sum(1)
        return t_bar

    def _moved(self, knots, x, edge, order):
        """The functions on one row of knots and derivatives at x (n, 1), continued from `edge` where that differs."""
        at = np.ascontiguousarray(edge[:, None], np.float64)
        first, b = BSpline(knots[None], self.degree).derivatives(at, max(order, int(self.outside == "linear")))
        b, out = b[:, :, 0], (edge != x[:, 0])[:, None]
        if out.any():
            beyond = np.zeros_like(b)
            beyond[0] = b[0]
            if self.outside == "linear":
                beyond[0] += b[1] * (x - at)
                beyond[1] = b[1]
            b = np.where(out, beyond, b)
        return first[:, 0], b[: order + 1]


def softmax(s):
    """e^{s_j} / sum_k e^{s_k} along the last axis."""
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def shares(s):
    """Shares of the intervals in the domain: LEAST/n + (1 - LEAST) softmax(s)."""
    return LEAST / s.shape[-1] + (1 - LEAST) * softmax(s)
