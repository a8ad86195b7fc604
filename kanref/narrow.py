"""Narrow networks: value and gradient of the squared error in one kernel call.

Small plain KANs spend their time between layers: in Python, and on tables that are made once forward and once backward.
For them a kernel takes blocks of samples through all layers and back. `Narrow.of` states the rule; everything else goes
layer by layer, with the same result to rounding.
"""

from dataclasses import dataclass

import numpy as np

from kanref import bases
from kanref.bases import BSpline
from kanref.kernels import spline_layer as kernel
from kanref.weights import Full

MOST_INPUTS = 32  # of all layers together: what keeps the tables of a block in the second-level cache
PART = 512  # samples to a unit of parallel work
PARALLEL_WORK = 30_000  # multiply-adds from which a second thread pays for its start


@dataclass(frozen=True, eq=False)
class Narrow:
    """The kernel's description of a network; see `loss_part` in `kanref.kernels.spline_layer`."""

    layers: np.ndarray
    bases: tuple[BSpline, ...]
    branch: int | None
    work: int

    @classmethod
    def of(cls, net):
        """The description of `net`, or None if it is not narrow and plain.

        Plain: every layer is B-splines, all with a SiLU branch or all without, weights full, one degree, one policy
        other than "error", and no bias, input map or nodes.
        Narrow: at most `MOST_INPUTS` inputs of all layers together.
        """
        parts = [plain(layer) for layer in net.layers]
        if None in parts or sum(layer.inputs for layer in net.layers) > MOST_INPUTS:
            return None
        splines = [layer.terms[spline].basis for layer, (spline, _) in zip(net.layers, parts)]
        if (
            len({(basis.degree, basis.outside) for basis in splines}) > 1
            or len({base is None for _, base in parts}) > 1
        ):
            return None
        rows, knots, spacings, start = [], 0, 0, lambda key: net.layout[key][0]
        for l, (layer, basis, (spline, base)) in enumerate(zip(net.layers, splines, parts)):
            V = 0 if base is None else start(f"{l}.{base}.W")
            rows.append((layer.inputs, layer.outputs, basis.size, start(f"{l}.{spline}.W"), V, knots, spacings))
            knots, spacings = knots + basis.knots.size, spacings + layer.inputs
        work = splines[0].window * sum(layer.inputs * layer.outputs for layer in net.layers)
        return cls(np.array(rows), tuple(splines), None if parts[0][1] is None else 0, work)

    def squared_error(self, theta, x, y):
        """1/(N m) sum (f(x; theta) - y)^2 and its gradient."""
        arguments = [basis.kernel_arguments(theta.dtype) for basis in self.bases]
        t, h = (np.concatenate([a[i].ravel() for a in arguments]) for i in (0, 1))
        N, size = len(x), theta.size
        parallel = N * self.work >= PARALLEL_WORK and N > PART
        parts = -(-N // PART) if parallel else 1
        values, theta_bar = np.zeros(parts), np.empty((parts, size), theta.dtype)
        own = (
            theta,
            self.layers,
            x,
            y,
            t,
            h,
            *arguments[0][2:],
            self.branch,
            theta.dtype.type(1 / y.size),
            values,
            theta_bar,
        )
        if parallel:
            kernel.loss_parallel(PART, *own)
        else:
            kernel.loss_part(0, 0, N, *own)
        return float(values.sum()), theta_bar[0] if parts == 1 else theta_bar.sum(0)


def plain(layer):
    """Names of a layer's B-spline and SiLU terms (None without the latter) if there is nothing else, or None."""
    splines = [name for name, term in layer.terms.items() if isinstance(getattr(term, "basis", None), BSpline)]
    base = [name for name, term in layer.terms.items() if getattr(term, "basis", None) is bases.silu]
    if layer.bias or layer.normalise or layer.nodes or len(splines) != 1 or len(base) > 1:
        return None
    if len(splines + base) < len(layer.terms) or layer.terms[splines[0]].basis.outside == "error":
        return None
    if not all(isinstance(term.weights, Full) for term in layer.terms.values()):
        return None
    return splines[0], base[0] if base else None
