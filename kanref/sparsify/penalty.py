"""The sparsification penalty (Liu et al., eq. 2.17-2.20): large edges cost, and many of equal size cost more than few.

    penalty = sum_l (l1 sum V_l + entropy S(V_l))
            + coefficients sum mean |c| + differences sum mean |c_{m+1} - c_m|

with magnitudes V_l (S, P) of layer l's edges and the entropy S by a metric of `kanref.sparsify.metrics`, and c the B-spline
coefficients W (S, P, K) as they multiply the functions, scales and masks included: their mean over functions, summed over
edges (pykan 0.0), or for pykan 0.2.8's metrics the mean over outputs, summed over the rest.

The gradient is exact wherever it exists, also where pykan leaves it out ("edge_forward_sum", which it detaches).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real

import numpy as np

from kanref import arrays as border
from kanref.bases import BSpline
from kanref.network import KAN
from kanref.sparsify.attribution import SCORES, samples
from kanref.sparsify.metrics import METRICS, Metric, coefficients, coefficients_pullback


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

    @cached_property
    def _parts(self):
        """What counts of every layer: itself, its numeric terms, or nothing (None); and the widths of its domains."""
        return [(self.metric.part(layer), self.metric.span(layer, l)) for l, layer in enumerate(self.net.layers)]

    def _forward(self, theta):
        """The value, and of every layer: arrays, inputs, sums, V_bar, what its pullback needs, adjoints of coefficients."""
        theta = self.net.vector(theta)
        z, value, tape = self.x.astype(theta.dtype, copy=False), 0.0, []
        for layer, arrays, (part, span) in zip(self.net.layers, self.net.of_layers(theta), self._parts):
            phi = layer.edges(arrays, z)
            u = np.ascontiguousarray(phi.sum(2))[None]
            if self.metric.stored:
                phi = coefficients(layer, arrays)
            elif part is not layer:
                phi = part.edges(arrays, z) if part else np.zeros_like(phi)
            V, memory = self.metric.magnitude(phi, layer.mapped(z), span)
            S, S_bar = self.metric.entropy(V)
            of_coefficients, arrays_bar = self._coefficients(layer, arrays)
            value += self.l1 * V.sum() + self.entropy * S + of_coefficients
            tape.append((arrays, z, u, self.l1 + self.entropy * S_bar, memory, arrays_bar))
            z = layer.finish(arrays, u)[0]
        return float(value), tape

    def __call__(self, theta):
        value, tape = self._forward(theta)
        theta_bar, y_bar = np.zeros_like(theta), None
        views = self.net.of_layers(theta_bar)
        for l in reversed(range(len(tape))):
            layer, (part, _), (arrays, z, u, V_bar, memory, arrays_bar) = self.net.layers[l], self._parts[l], tape[l]
            phi_bar, seen_bar = self.metric.pullback(memory, V_bar)
            found, z_bars = [arrays_bar], [] if seen_bar is None else [layer.mapped_pullback(z, seen_bar)]
            if self.metric.stored:
                found.append(coefficients_pullback(layer, arrays, phi_bar))
            entering = [(part, phi_bar)] if part else []  # adjoints of edges
            if y_bar is not None:
                own, u_bar = layer.finish_pullback(arrays, u, y_bar[None])
                found.append(own)
                if part is layer:
                    phi_bar += u_bar[0][:, :, None]  # u is the sum of the edges
                else:
                    entering.append((layer, np.broadcast_to(u_bar[0][:, :, None], (*u.shape[1:], layer.inputs))))
            for measured, adjoint in entering:
                own, z_bar = measured.edges_pullback(arrays, z, adjoint)
                found.append(own)
                z_bars.append(z_bar)
            for own in found:
                for name, adjoint in own.items():
                    views[l][name][...] += adjoint
            y_bar = sum(z_bars, np.zeros_like(z))
        return value, theta_bar

    def value(self, theta):
        """The value alone."""
        return self._forward(theta)[0]

    def residuals(self, theta):
        """The square root of the value as one residual, (1,), and its gradient as the Jacobian (1, size)."""
        value, gradient = self(theta)
        root = max(value, 0.0) ** 0.5
        slope = 0.5 / root if root > 0 else 0.0
        return np.array([root], gradient.dtype), gradient[None] * gradient.dtype.type(slope)

    def _coefficients(self, layer, arrays):
        """The coefficient penalties of a layer, and {name: adjoint} of its arrays."""
        value, found = 0.0, {}
        if self.coefficients == self.differences == 0:
            return value, found
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
            found |= {f"{name}.{key}": adjoint for key, adjoint in term.weights.pullback(own, W_bar).items()}
        return value, found


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
        if not isinstance(weight, Real) or not 0 <= weight < np.inf:
            raise ValueError(f"{name} must be a number of at least 0, but it is {weight!r}")
    x = samples(x, net.inputs, kind.deviates, f"metric {metric!r}")
    return Penalty(net, x, kind, *map(float, weights.values()))
