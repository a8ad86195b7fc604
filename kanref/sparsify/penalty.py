"""The sparsification penalty (Liu et al., eq. 2.17-2.20): large edges cost, and many of equal size cost more than few.

    penalty = sum_l (l1 sum V_l + entropy S(V_l))
            + coefficients sum mean |c| + differences sum mean |c_{m+1} - c_m|

with magnitudes V_l (S, P) of layer l's edges and the entropy S by a metric of `kanref.sparsify.metrics`, and c the B-spline
coefficients W (S, P, K) as they multiply the functions, scales and masks included: their mean over functions, summed over
edges (pykan 0.0), or for pykan 0.2.8's metrics the mean over outputs, summed over the rest.

The gradient is exact wherever it exists, also where pykan leaves it out ("edge_forward_sum", which it detaches).
"""

from dataclasses import dataclass, replace

import numpy as np

from kanref import arrays as border
from kanref.bases import BSpline
from kanref.network import KAN
from kanref.sparsify.attribution import SCORES, samples
from kanref.sparsify.metrics import METRICS, Metric, measured


@dataclass(frozen=True, eq=False)
class Penalty:
    """An objective; see `penalty`."""

    net: KAN
    x: np.ndarray
    metric: Metric
    l1: float
    entropy: float
    coefficients: float
    differences: float

    @property
    def samples(self):
        return len(self.x)

    def batch(self, rows):
        """The same penalty of the edges' values at some of the samples."""
        return replace(self, x=np.ascontiguousarray(self.x[rows]))

    def __call__(self, theta):
        tape = self._tape(theta)
        value, inner = 0.0, []
        for l, (layer, record) in enumerate(zip(self.net.layers, tape)):
            phi, V = measured(self.metric, layer, l, record)
            S, S_bar = self.metric.entropy(V)
            value += self.l1 * V.sum() + self.entropy * S
            arrays_bar, x_bar = self._pullback(layer, l, record, phi, V, self.l1 + self.entropy * S_bar)
            value += self._add_coefficients(layer, record[0], arrays_bar)
            inner.append((arrays_bar, x_bar))
        return float(value), self.net.pullback_inner(theta, tape, inner)

    def value(self, theta):
        """The value alone."""
        return self(theta)[0]

    def residuals(self, theta):
        """The square root of the value as one residual, (1,), and its gradient as the Jacobian (1, size)."""
        value, gradient = self(theta)
        root = max(value, 0.0) ** 0.5
        slope = 0.5 / root if root > 0 else 0.0
        return np.array([root], gradient.dtype), gradient[None] * gradient.dtype.type(slope)

    def _tape(self, theta):
        theta = self.net.vector(theta)
        return self.net.forward(theta, self.x.astype(theta.dtype, copy=False)[None])[1]

    def _pullback(self, layer, l, record, phi, V, V_bar):
        """Adjoints of a layer's arrays and inputs for V_bar (S, P)."""
        arrays, z, x, _ = record
        if phi is None:
            return {}, np.zeros_like(z[0])
        phi_bar, mapped_bar = self.metric.pullback(phi, x[0], self.metric.span(layer, l, z.dtype), V, V_bar)
        arrays_bar, x_bar = self.metric.of(layer).edges_pullback(arrays, z[0], phi_bar)
        return arrays_bar, x_bar if mapped_bar is None else x_bar + layer.mapped_pullback(z[0], mapped_bar)

    def _add_coefficients(self, layer, arrays, arrays_bar):
        """The coefficient penalties of a layer; their gradient is added to arrays_bar."""
        value = 0.0
        if self.coefficients == self.differences == 0:
            return value
        for name, term in layer.terms.items():
            if not isinstance(getattr(term, "basis", None), BSpline):
                continue
            own = {key: arrays[f"{name}.{key}"] for key in term.arrays}
            W = term.weights.tensor(own)
            jump, over = np.diff(W, axis=2), self.metric.over
            value += self.coefficients * np.abs(W).mean(over).sum() + self.differences * np.abs(jump).mean(over).sum()
            W_bar = self.coefficients * np.sign(W) / W.shape[over]
            jump_bar = self.differences * np.sign(jump) / jump.shape[over]
            W_bar[:, :, 1:] += jump_bar
            W_bar[:, :, :-1] -= jump_bar
            for key, adjoint in term.weights.pullback(own, W_bar).items():
                arrays_bar[f"{name}.{key}"] = arrays_bar.get(f"{name}.{key}", 0) + adjoint
        return value


def penalty(net, x, metric="paper", l1=1.0, entropy=1.0, coefficients=0.0, differences=0.0):
    """The penalty on a network's edges at samples x (N, n), as an objective theta -> (value, gradient).

    lambda of the paper is the weight in a sum: weighted_sum([(1, mse(net, x, y)), (1e-3, penalty(net, x))]). l1 and
    entropy are the paper's mu_1 and mu_2, both 1 there (pykan's defaults are 1 and 2). All four weights are at least 0.
    `residuals` offers the square root of the value as one residual, so that Levenberg-Marquardt minimises data and penalty
    together.

    Raises ValueError for metrics that are attribution scores, for "pykan-0.0" on a layer without knots, and for a single
    sample where deviations are taken.
    """
    if metric in SCORES:
        raise ValueError(
            f"metric {metric!r} is an attribution score and cannot be trained; train with "
            f'"edge_forward_sum" and read scores from attribute(net, theta, x)'
        )
    kind = METRICS[border.choice(metric, "metric", tuple(METRICS))]
    weights = {"l1": l1, "entropy": entropy, "coefficients": coefficients, "differences": differences}
    for name, weight in weights.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"{name} must be a number of at least 0, but it is {weight!r}")
    x = samples(x, net.inputs, kind.deviates, f"metric {metric!r}")
    return Penalty(net, x, kind, *map(float, weights.values()))
