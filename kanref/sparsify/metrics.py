"""Metrics: how large an edge is, by the name of who measures it so.

A metric turns the values phi (N, S, P) of a layer's edges at N samples, and what they see, x (N, P), into magnitudes
V (S, P), and a layer's V into an entropy:

    name                      V                                     entropy of a layer                          formulas count
    "paper"                   mean |phi|                            -sum p ln p, p = V / sum V                  yes
    "pykan-0.0"               mean |phi| / (knot range + 1e-4)      -sum p log2(p + 1e-4), p = V / sum V        yes
    "edge_forward_spline_n"   std phi / (std x + 0.1)               pykan's, below                              no
    "pykan-0.2.8"             the same: its default
    "edge_forward_sum"        std phi / (std x + 0.1)               pykan's                                     yes
    "edge_forward_spline_u"   std phi                               pykan's                                     yes
    "efficient-kan"           mean |c| over functions               the paper's                                 no

The first is eq. 2.17-2.19 of Liu et al. (arXiv 2404.19756). pykan 0.2.8 takes the mean over rows and over columns of
-sum p log2(p + 1e-4) with p = V / (1 + sum V) along the row or column, which is neither scale-invariant nor zero for a layer
of one edge; the paper's is both. Standard deviations divide by N - 1. 0 log 0 = 0; a layer of zeros has entropy 0.

efficient-kan measures no values but c (S, P, K), the B-spline coefficients as they are stored, without the scales w_s that
multiply them: its penalty sees neither samples nor scales. (Its entropy is NaN if an edge is zero; here 0 log 0 = 0.)

pykan's two other metrics, "edge_backward" and "node_backward", are scores rather than measurements of single edges: see
`kanref.sparsify.attribution`.

Every stage has its pullback beside it. Where a magnitude has a kink (phi = 0, a constant edge) its derivative is 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kanref.bases import BSpline
from kanref.terms import Linear
from kanref.weights import Masked, Scaled

SMALL = 1e-4  # pykan's number in logarithms and denominators
SPREAD = 0.1  # pykan's number beside the deviation of the inputs

# --------------------------------------------------------------------------------------------------------- magnitudes


def deviation(a):
    """Standard deviation over samples, the first axis, with N - 1; and what its pullback needs."""
    centred = a - a.mean(0)
    s = np.sqrt(np.square(centred).sum(0) / (len(a) - 1))
    return s, (centred, s)


def deviation_pullback(tape, s_bar):
    """a_bar."""
    centred, s = tape
    return centred * (s_bar / (len(centred) - 1) / np.where(s > 0, s, np.inf))


def mean_absolute(phi, x, span):
    """V = mean |phi|, and what its pullback needs."""
    return np.abs(phi).mean(0), phi


def mean_absolute_pullback(phi, V_bar):
    """phi_bar, and None: x does not matter."""
    return np.sign(phi) * (V_bar / len(phi)), None


def per_range(phi, x, span):
    """V = mean |phi| / (knot range + 1e-4), span (P,) being the widths of the domains; and what its pullback needs."""
    return np.abs(phi).mean(0) / (span + SMALL), (phi, span)


def per_range_pullback(tape, V_bar):
    """phi_bar, and None: x does not matter."""
    phi, span = tape
    return mean_absolute_pullback(phi, V_bar / (span + SMALL))


def deviations(phi, x, span):
    """V = std phi, and what its pullback needs."""
    return deviation(phi)


def deviations_pullback(tape, V_bar):
    """phi_bar, and None: x does not matter."""
    return deviation_pullback(tape, V_bar), None


def deviation_ratio(phi, x, span):
    """V = std phi / (std x + 0.1), and what its pullback needs."""
    (r, of_phi), (s, of_x) = deviation(phi), deviation(x)
    V = r / (s + SPREAD)
    return V, (V, of_phi, of_x)


def deviation_ratio_pullback(tape, V_bar):
    """phi_bar, x_bar."""
    V, of_phi, of_x = tape
    r_bar = V_bar / (of_x[1] + SPREAD)
    return deviation_pullback(of_phi, r_bar), deviation_pullback(of_x, -(V * r_bar).sum(0))


# ----------------------------------------------------------------------------------------------------------- entropies


def natural_entropy(V):
    """S = -sum p ln p for p = V / sum V (eq. 2.19), and V_bar = -(ln p + S) / sum V."""
    total = V.sum()
    if total == 0:
        return 0.0, np.zeros_like(V)
    p = V / total
    log = np.log(np.where(p > 0, p, 1))
    S = -(p * log).sum()
    return S, np.where(p > 0, -(log + S) / total, 0)


def binary_entropy(V, axis, one):
    """-sum p log2(p + 1e-4) for p = V / (sum V + one), the sums along an axis, and V_bar."""
    total = V.sum(axis, keepdims=True) + one
    if not total.all():
        return 0.0, np.zeros_like(V)
    p = V / total
    log = np.log2(p + SMALL)
    p_bar = -log - p / (p + SMALL) / np.log(2)
    return -(p * log).sum(), (p_bar - (p_bar * p).sum(axis, keepdims=True)) / total


def layer_entropy(V):
    """pykan 0.0's."""
    return binary_entropy(V, (0, 1), 0)


def row_and_column_entropy(V):
    """pykan 0.2.8's: means over rows plus means over columns."""
    (rows, rows_bar), (columns, columns_bar) = binary_entropy(V, 1, 1), binary_entropy(V, 0, 1)
    return rows / len(V) + columns / V.shape[1], rows_bar / len(V) + columns_bar / V.shape[1]


# ------------------------------------------------------------------------------------------------------------- metrics


@dataclass(frozen=True)
class Metric:
    """One row of the table above.

    formulas: whether terms of formulas count; over: the axis of coefficients (out, in, basis) that its coefficient
    penalty takes the mean along, the others being summed: pykan 0.0's functions, pykan 0.2.8's outputs. stored: whether
    stored coefficients are measured instead of values; what is said of samples then holds for functions.
    """

    magnitude: Callable
    pullback: Callable
    entropy: Callable
    formulas: bool = True
    over: int = 2
    stored: bool = False

    def part(self, layer):
        """The part of the layer whose edges are measured: itself, or its numeric terms; None if there are none."""
        if self.stored:
            return None
        numeric = {name: term for name, term in layer.terms.items() if isinstance(term, Linear)}
        if self.formulas or len(numeric) == len(layer.terms):
            return layer
        return replace(layer, terms=numeric) if numeric else None

    def span(self, layer, l):
        """(P,) widths of the domains of layer l's B-splines, None if the metric does not ask for them."""
        if self.magnitude is not per_range:
            return None
        for term in layer.terms.values():
            if isinstance(getattr(term, "basis", None), BSpline):
                return np.ptp(term.basis.domain, axis=1)
        raise ValueError(
            f'metric "pykan-0.0" divides by the range of the knots, but layer {l} has no B-splines; use metric "paper"'
        )

    @property
    def deviates(self):
        """Whether it takes standard deviations, which need two samples."""
        return self.magnitude in (deviations, deviation_ratio)


def coefficients(layer, arrays):
    """The stored coefficients of all B-splines of a layer, functions first: (K, S, P); masks count, scales do not."""
    found = [np.zeros((1, layer.sums, layer.inputs))]
    for name, weights in _stored(layer).items():
        own = {key: arrays[f"{name}.{key}"] for key in weights.arrays}
        found.append(np.moveaxis(weights.tensor(own), 2, 0))
    return np.concatenate(found[1:] or found)


def coefficients_pullback(layer, arrays, c_bar):
    """{name: adjoint} of the layer's arrays."""
    found, start = {}, 0
    for name, weights in _stored(layer).items():
        own = {key: arrays[f"{name}.{key}"] for key in weights.arrays}
        W_bar = np.moveaxis(c_bar[start : start + weights.shape[2]], 0, 2)
        found |= {f"{name}.{key}": adjoint for key, adjoint in weights.pullback(own, W_bar).items()}
        start += weights.shape[2]
    return found


def _stored(layer):
    """{name: weights} of the terms of B-splines, without trained scales."""
    terms = {name: term for name, term in layer.terms.items() if isinstance(getattr(term, "basis", None), BSpline)}
    return {name: unscaled(term.weights) for name, term in terms.items()}


def unscaled(weights):
    """Weights without trained scales."""
    if isinstance(weights, Scaled):
        return unscaled(weights.inner)
    return replace(weights, inner=unscaled(weights.inner)) if isinstance(weights, Masked) else weights


_spline_n = Metric(deviation_ratio, deviation_ratio_pullback, row_and_column_entropy, formulas=False, over=0)
METRICS = {
    "paper": Metric(mean_absolute, mean_absolute_pullback, natural_entropy),
    "pykan-0.0": Metric(per_range, per_range_pullback, layer_entropy),
    "pykan-0.2.8": _spline_n,
    "edge_forward_spline_n": _spline_n,
    "edge_forward_sum": Metric(deviation_ratio, deviation_ratio_pullback, row_and_column_entropy, over=0),
    "edge_forward_spline_u": Metric(deviations, deviations_pullback, row_and_column_entropy, over=0),
    "efficient-kan": Metric(mean_absolute, mean_absolute_pullback, natural_entropy, formulas=False, stored=True),
}
