"""Narrow networks in one kernel call: value and gradient of the squared error, and jets forward and back.

Small plain KANs spend their time between layers: in Python, and on tables that are made once forward and once backward.
For them kernels take blocks of samples through all layers and back. `Narrow.of`, `loss` and `jets` state the rules;
everything else goes layer by layer, with the same result to rounding. Weights that are not trained in full are written out
first, all terms in one call, and the gradient is pulled back likewise: `Written`.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kanref import bases
from kanref.arrays import kernel_order, writable
from kanref.bases import BSpline
from kanref.kernels import spline_layer as kernel
from kanref.kernels import tucker
from kanref.weights import Fixed, Full, LoTRA, LowRank, Masked, Tucker

MOST_INPUTS = 48  # of all layers together, from which on the layers' own kernels are as fast
MOST_LOSS_INPUTS = 32  # the same for the squared error: what keeps the tables of a block in the second-level cache
MOST_COEFFICIENTS = 2**16  # of the polynomials that jets take: what stays in the second-level cache
MOST_DEGREE = 5  # of these polynomials: powers lose digits as the degree grows
PART = 512  # samples to a unit of parallel work
PARALLEL_WORK = 30_000  # multiply-adds from which a second thread pays for its start


@dataclass(frozen=True, eq=False)
class Narrow:
    """The kernel's description of a network; layers: as `loss_part` in `kanref.kernels.spline_layer` has them.

    branch: 0 if all layers have SiLU terms, None if none has: kernels are compiled for either; work: multiply-adds of a sample.
    """

    layers: np.ndarray
    bases: tuple[BSpline, ...]
    branch: int | None
    work: int
    written: "Written | None"  # None if all weights are trained in full, so that theta itself is what the kernels take

    @classmethod
    def of(cls, net):
        """The description of `net`, or None if it is not narrow and plain.

        Plain: every layer is B-splines, all with a SiLU branch or all without, weights of kinds that can be `Written`, one
        degree, one policy other than "error", and no bias, input map or nodes.
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
        rows, knots, spacings, start = [], 0, 0, {name: at for name, _, at in written_terms(net)}
        for l, (layer, basis, (spline, base)) in enumerate(zip(net.layers, splines, parts)):
            V = -1 if base is None else start[f"{l}.{base}"]
            rows.append((layer.inputs, layer.outputs, basis.size, start[f"{l}.{spline}"], V, knots, spacings))
            knots, spacings = knots + basis.knots.size, spacings + layer.inputs
        work = splines[0].window * sum(layer.inputs * layer.outputs for layer in net.layers)
        return cls(np.array(rows), tuple(splines), None if parts[0][1] is None else 0, work, Written.of(net))

    # --------------------------------------------------------------------------------------------------- a loss

    @cached_property
    def loss(self):
        """Whether the squared error goes through at once; a few inputs more where that spares the layers their own products."""
        return self.layers[:, 0].sum() <= (MOST_INPUTS if self.written else MOST_LOSS_INPUTS)

    @cached_property
    def _knots(self):
        """{dtype: (knots, spacings, window, policy)} of all inputs of all layers."""
        found = {}
        for dtype in (np.float64, np.float32):
            t, h, window, policy = zip(*(basis.kernel_arguments(dtype) for basis in self.bases))
            found[np.dtype(dtype)] = np.concatenate([a.ravel() for a in t]), np.concatenate(h), window[0], policy[0]
        return found

    def squared_error(self, theta, x, y):
        """1/(N m) sum (f(x; theta) - y)^2 and its gradient."""
        full = self.full(theta)
        N, size = len(x), full.size
        parallel = N * self.work >= PARALLEL_WORK and N > PART
        parts = -(-N // PART) if parallel else 1
        values, theta_bar = np.zeros(parts), np.empty((parts, size), theta.dtype)
        own = (
            full,
            self.layers,
            x,
            y,
            *self._knots[theta.dtype],
            self.branch,
            theta.dtype.type(1 / y.size),
            values,
            theta_bar,
        )
        if parallel:
            kernel.loss_parallel(PART, *own)
        else:
            kernel.loss_part(0, 0, N, *own)
        return float(values.sum()), self.full_pullback(theta, theta_bar[0] if parts == 1 else theta_bar.sum(0))

    def full(self, theta):
        """The weights of all terms in full."""
        return self.written.vector(theta) if self.written else theta

    def full_pullback(self, theta, full_bar):
        """The adjoint of `full`."""
        return self.written.pullback(theta, full_bar) if self.written else full_bar

    # ------------------------------------------------------------------------------------------------------ jets

    @cached_property
    def edges(self):
        """Their number, all layers together."""
        return int((self.layers[:, 0] * self.layers[:, 1]).sum())

    @cached_property
    def jets(self):
        """Whether jets go through at once: one number of functions, and neither many polynomials nor of high degree."""
        basis = self.bases[0]
        pieces = basis.knots.shape[1] + 1
        return (
            len({basis.size for basis in self.bases}) == 1
            and basis.degree <= MOST_DEGREE
            and self.edges * pieces * basis.window <= MOST_COEFFICIENTS
        )

    @cached_property
    def _pieces(self):
        """{dtype: (first, A), (breaks, origin, h, window)}: `BSpline.pieces` of all inputs of all layers."""
        found = {}
        for dtype in (np.float64, np.float32):
            breaks, origin, first, A = map(np.concatenate, zip(*(basis.pieces(dtype) for basis in self.bases)))
            h = np.concatenate([basis.steps for basis in self.bases]).astype(dtype)
            found[np.dtype(dtype)] = (first, A), (breaks, origin, h, (0,) * self.bases[0].window)
        return found

    def _parallel(self, M, N):
        return M * N * self.work >= PARALLEL_WORK and N > PART

    def forward(self, theta, z):
        """As `KAN.forward`, for a jet z in theta's precision."""
        (first, A), pieces = self._pieces[z.dtype]
        (M, N, _), inputs = z.shape, self.layers[:, 0].sum()
        C, V = np.empty((self.edges, *A.shape[1:3]), z.dtype), np.empty(self.edges, z.dtype)
        kernel.to_pieces(writable(self.full(theta)), self.layers, first, A, C, V)
        jets = np.empty((-(-N // kernel.JETS), inputs, M, kernel.JETS), z.dtype)
        y = np.empty((M, N, self.layers[-1, 1]), z.dtype)
        own = self.layers, C, V, *pieces, writable(np.ascontiguousarray(z)), jets, y
        if self._parallel(M, N):
            kernel.jets_parallel(PART, *own)
        else:
            kernel.jets_part(0, N, *own)
        return y, Passage(C, V, jets, N)

    def pullback(self, theta, passage, y_bar, inputs=False):
        """As `KAN.pullback`."""
        (first, A), pieces = self._pieces[theta.dtype]
        M, N, _ = y_bar.shape
        z_bar = np.empty((M, N, self.layers[0, 0]) if inputs else (0, 0, 0), theta.dtype)
        parallel = self._parallel(M, N)
        parts = -(-N // PART) if parallel else 1
        C_bar, V_bar = np.zeros((parts, *passage.C.shape), theta.dtype), np.zeros((parts, self.edges), theta.dtype)
        own = self.layers, passage.C, passage.V, *pieces, passage.jets
        own = *own, writable(np.ascontiguousarray(y_bar, theta.dtype)), z_bar, C_bar, V_bar
        if parallel:
            kernel.jets_pullback_parallel(PART, *own)
        else:
            kernel.jets_pullback_part(0, 0, N, *own)
        C_bar, V_bar = (a[0] if parts == 1 else a.sum(0) for a in (C_bar, V_bar))
        full_bar = np.empty(self.written.size if self.written else theta.size, theta.dtype)
        kernel.from_pieces(C_bar, V_bar, self.layers, first, A, full_bar)
        return self.full_pullback(theta, full_bar), z_bar if inputs else None


@dataclass(frozen=True, eq=False)
class Passage:
    """The tape of a narrow network: its edges' polynomials, and the jets (block, input, M, JETS) of all layers' inputs."""

    C: np.ndarray
    V: np.ndarray
    jets: np.ndarray
    samples: int

    def records(self, arrays, widths):
        """The tape of the same layers one by one; arrays: as `KAN.of_layers`."""
        found, start = [], 0
        for own, P in zip(arrays, widths):
            z = self.jets[:, start : start + P].transpose(2, 0, 3, 1).reshape(self.jets.shape[2], -1, P)
            z, start = np.ascontiguousarray(z[:, : self.samples]), start + P
            found.append((own, z, z, None))
        return found


@dataclass(frozen=True, eq=False)
class Written:
    """How all terms' weights are written out in one vector, full = constants + factor * value; see `kanref.kernels.tucker`."""

    table: np.ndarray
    constants: dict[np.dtype, np.ndarray]
    factor: dict[np.dtype, np.ndarray]
    size: int

    @classmethod
    def of(cls, net):
        """The description for a network of `trained` weights; None if all are `Full`, so that there is nothing to write."""
        terms = written_terms(net)
        if all(isinstance(term.weights, Full) for _, term, _ in terms):
            return None
        table, constants, factor = [], [], []
        for name, term, at in terms:
            kind, *affine = trained(term.weights)
            for found, a in zip((constants, factor), affine):
                found.append(kernel_order(np.broadcast_to(a, term.weights.shape).astype(np.float64)).ravel())
            if kind is not None:
                Q, P, K = kind.shape
                start = net.layout[f"{name}.{next(iter(kind.arrays))}"][0]  # its arrays follow one another in theta
                table.append((KINDS[type(kind)], at, start, Q, P, K, *_ranks(kind)))
        both = lambda parts: {np.dtype(dtype): np.concatenate(parts).astype(dtype) for dtype in (np.float64, np.float32)}
        constants, factor = both(constants), both(factor)
        return cls(np.array(table, np.int64).reshape(-1, 9), constants, factor, constants[np.dtype(float)].size)

    def vector(self, theta):
        """The weights in full, in theta's precision."""
        full = np.empty(self.size, theta.dtype)
        tucker.write(writable(theta), self.table, self.constants[theta.dtype], self.factor[theta.dtype], full)
        return full

    def pullback(self, theta, full_bar):
        """The adjoint of `vector`."""
        theta_bar = np.empty_like(theta)
        tucker.write_pullback(writable(theta), self.table, self.factor[theta.dtype], full_bar, theta_bar)
        return theta_bar


KINDS = {Full: tucker.COPIED, LowRank: tucker.MATRIX, Tucker: tucker.TUCKER}


def _ranks(kind):
    return kind.ranks if isinstance(kind, Tucker) else (kind.rank, 0, 0) if isinstance(kind, LowRank) else (0, 0, 0)


def trained(weights):
    """kind, constant, factor with W = constant + factor * (tensor of `kind`): what is trained, one of `KINDS` or None, beside
    arrays that broadcast to W's shape; None for other weights."""
    if type(weights) in KINDS:
        return weights, 0.0, 1.0
    if isinstance(weights, Fixed):
        return None, weights.W, 0.0
    if isinstance(weights, LoTRA):
        kind, constant, factor = trained(weights.adapter)
        return kind, weights.base + weights.scale * constant, weights.scale * factor
    if isinstance(weights, Masked) and (inner := trained(weights.inner)):
        kind, constant, factor = inner
        mask = weights.mask[:, :, None]
        return kind, constant * mask, factor * mask
    return None


def written_terms(net):
    """(name, term, start in the full vector) of all terms, in the order of theta."""
    found, start = [], 0
    for l, layer in enumerate(net.layers):
        for name, term in layer.terms.items():
            found.append((f"{l}.{name}", term, start))
            start += math.prod(term.weights.shape)
    return found


def plain(layer):
    """Names of a layer's B-spline and SiLU terms (None without the latter) if there is nothing else, or None."""
    splines = [name for name, term in layer.terms.items() if isinstance(getattr(term, "basis", None), BSpline)]
    base = [name for name, term in layer.terms.items() if getattr(term, "basis", None) is bases.silu]
    if layer.bias or layer.normalise or layer.nodes or len(splines) != 1 or len(base) > 1:
        return None
    if len(splines + base) < len(layer.terms) or layer.terms[splines[0]].basis.outside == "error":
        return None
    if any(trained(term.weights) is None for term in layer.terms.values()):
        return None
    return splines[0], base[0] if base else None
