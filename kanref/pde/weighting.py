"""Weights of collocation points that follow the residuals: attention to the large ones, and causality in time.

    attention = Attention(len(points["equation"]))
    loss = lambda net: problem.objective(net, points, weights={"equation": attention})

A weighting keeps `weights` (N,), one for each point, and `update(r)` moves them, in place, by the residuals r there. In an
objective as above it does so after every evaluation, by the residuals that were computed anyway: what Adam needs. So the
weights of one evaluation come from the residuals of those before, and the first one has weights 1.

L-BFGS and Levenberg-Marquardt compare values, so that an objective must not change while they run. `held` makes a minimiser
that updates at the start and then keeps the weights; several stages, or several calls, alternate the two:

    nested(net, theta, loss, [held(partial(optimize.lbfgs, steps=200)), Stage(held(least_squares(40)), refine=0), ...])

Or give them numbers, weights={"equation": attention.weights}, which stay until somebody calls `update`.
"""

from dataclasses import dataclass, replace

import numpy as np

from kanref import objectives
from kanref.arrays import integer, real_array
from kanref.objectives import Collocation, WeightedSum


class Attention:
    """Residual-based attention (Anagnostopoulos et al. 2024) in the multilevel paper's form, section 5:

        w_n <- (1 - mu) w_n + mu e_n / max_m e_m,      e = |r|,      w = 1 at first.

    Weights stay in [0, 1]. The multiplier belongs to the point's contribution: the loss is 1/N sum w_n r_n^2.
    Other papers have w_n <- gamma w_n + eta e_n / max e; with mu = 1 - gamma this is that up to the factor eta/mu.
    """

    def __init__(self, count, mu=1e-4):
        self.weights = np.ones(integer(count, "count", 1))
        self.mu = _between(mu, "mu", 0, 1)

    def update(self, r):
        """Move the weights by residuals r (N,) or (N, R) at the points."""
        e = _sizes(r, len(self.weights))
        if (top := e.max()) > 0:
            self.weights += self.mu * (e / top - self.weights)


class Causal:
    """Weights that let a later time count only when the residuals before it are small (Wang, Sankaran and Perdikaris 2022):

        w_i = exp(-eps sum_{k<i} L_k),      L_k = mean of r^2 at the points of the k-th slab of time,

    for `slabs` of equal length. eps is to be chosen so that eps L is large at first, and small in the end: all weights
    near 1 are the sign that the solution has arrived everywhere (there: least weight above 0.99).
    """

    def __init__(self, t, slabs=32, eps=1.0):
        t = real_array(t, "t", np.float64)
        if t.ndim != 1 or not len(t):
            raise ValueError(f"t must be the times of the points, a vector, but it has shape {t.shape}; give x[:, i]")
        slabs, self.eps = integer(slabs, "slabs", 1), _between(eps, "eps", 0, np.inf)
        low, high = t.min(), t.max()
        share = (t - low) / (high - low) if high > low else np.zeros_like(t)
        self.slab = np.minimum((share * slabs).astype(int), slabs - 1)
        self.count = np.bincount(self.slab, minlength=slabs)
        self.weights = np.ones(len(t))

    def update(self, r):
        """Weights of residuals r (N,) or (N, R) at the points; slabs without points have L = 0."""
        squares = _sizes(r, len(self.slab)) ** 2 / (1 if np.ndim(r) == 1 else np.shape(r)[1])
        L = np.bincount(self.slab, squares, len(self.count)) / np.maximum(self.count, 1)
        before = np.concatenate([[0.0], np.cumsum(L)[:-1]])
        self.weights[:] = np.exp(-self.eps * before)[self.slab]


def _between(value, name, low, high):
    value = float(value)
    if not low < value < high:
        raise ValueError(f"{name} must lie between {low:g} and {high:g}, but it is {value:g}")
    return value


def _sizes(r, count):
    """|r| (N,) of residuals (N,) or (N, R)."""
    r = real_array(r, "r", np.float64)
    if r.ndim not in (1, 2) or len(r) != count:
        raise ValueError(f"r must be the residuals at the {count} points, but it has shape {r.shape}")
    return np.abs(r) if r.ndim == 1 else np.linalg.norm(r, axis=1)


@dataclass(frozen=True, eq=False)
class Following:
    """A collocation objective whose weighting is updated after every evaluation of value and gradient."""

    objective: Collocation
    weighting: object

    @property
    def samples(self):
        return self.objective.samples

    def __call__(self, theta):
        seen = []

        def watched(*fields):
            r, partials = self.objective.residual(*fields)
            seen.append(r)
            return r, partials

        pair = replace(self.objective, residual=watched)(theta)
        r = np.concatenate(seen)
        if np.isfinite(r).all():  # the optimiser says what is wrong otherwise
            self.weighting.update(r)
        return pair

    def value(self, theta):
        """The value with the weights as they are."""
        return self.objective.value(theta)

    def residual_values(self, theta):
        """r (N, R), without weights."""
        return self.objective.residual_values(theta)

    def residuals(self, theta):
        """As of the objective, with the weights as they are."""
        return self.objective.residuals(theta)


def weighted(net, x, residual, pairs=None, weights=None):
    """`objectives.collocation` with weights (N,), None for 1, or a weighting to follow the residuals."""
    if not hasattr(weights, "update"):
        return objectives.collocation(net, x, residual, pairs, weights)
    return Following(objectives.collocation(net, x, residual, pairs, weights.weights), weights)


def held(minimise):
    """A minimiser (objective, theta, callback=None) -> Result for objectives with weightings: `minimise`, with the weights
    updated at theta before, and fixed meanwhile."""

    def run(objective, theta, callback=None):
        return minimise(hold(objective, theta), theta, callback=callback)

    return run


def hold(objective, theta):
    """The objective with its weightings updated by the residuals at theta, and fixed."""
    if isinstance(objective, WeightedSum):
        return WeightedSum(tuple((weight, hold(part, theta)) for weight, part in objective.parts))
    if isinstance(objective, Following):
        objective.weighting.update(objective.residual_values(theta))
        return objective.objective
    return objective
