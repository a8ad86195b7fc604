"""Terms: a layer is a sum of them, followed by nodes.

A term maps a jet z (M, N, P) to a jet (M, N, Q). The contract, with `arrays` a dictionary of its trainable arrays:

    shape                               (Q, P)
    arrays                              {name: shape}
    forward(arrays, z)                  y
    pullback(arrays, z, y_bar, inputs)  {name: adjoint summed over samples}, z_bar (None unless `inputs`)
    rows(arrays, z, y_bar)              {name: adjoint of each sample by itself, (N, ...)}
    edges(arrays, x)                    the summands phi_{q,p}(x_p), (N, Q, P)
    edges_pullback(arrays, x, phi_bar)  {name: adjoint}, x_bar (N, P), for adjoints (N, Q, P) of single edges
    select(arrays, outputs, inputs)     the term on some of its outputs and inputs (index arrays), and its arrays;
                                        None and {} if nothing is left of it

`Linear` is a basis mixed by weights. It has one meaning and two speeds: the generic path (basis values, lift, mix) serves
every basis; B-splines, alone or together with a SiLU term, take the fused kernel that never stores a table.
`kanref.check.check_term` examines a new kind of term. A term that is not `Linear` also has start(rng), its first arrays.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from kanref import bases, jets
from kanref.arrays import kernel_order, public_order
from kanref.bases import BSpline
from kanref.kernels import edges as single
from kanref.kernels import mix as local
from kanref.kernels import spline_layer as kernel
from kanref.weights import Tucker, Weights

PARALLEL_WORK = 50_000  # multiply-adds from which a second thread pays for its start
PART = 512  # samples to a unit of parallel work
MAX_PARTS = 32  # units of a pullback, each with weights of its own
SMALL_WEIGHTS = 2**17  # bytes of weights up to which the units of a pullback are samples, if there are enough,
MANY_INPUTS = 8  # and from how many inputs on they are otherwise inputs, which own their weights


class Term(Protocol):
    """The contract; see the module's text."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def arrays(self) -> dict[str, tuple[int, ...]]: ...

    def forward(self, arrays, z): ...

    def pullback(self, arrays, z, y_bar, inputs=True): ...

    def rows(self, arrays, z, y_bar): ...

    def edges(self, arrays, x): ...

    def edges_pullback(self, arrays, x, phi_bar): ...

    def select(self, arrays, outputs, inputs): ...


@dataclass(frozen=True, eq=False)
class Linear:
    """y_q = sum_p sum_i W[q,p,i] b_i(x_p): a basis and the weights that mix it."""

    basis: bases.Basis
    weights: Weights

    def __post_init__(self):
        K = self.weights.shape[2]
        if K != self.basis.size:
            raise ValueError(
                f"weights of shape {self.weights.shape} mix {K} functions, but the basis has {self.basis.size}"
            )
        if isinstance(self.basis, BSpline) and self.basis.inputs != self.weights.shape[1]:
            raise ValueError(
                f"weights of shape {self.weights.shape} take {self.weights.shape[1]} inputs, "
                f"but the B-splines have knots for {self.basis.inputs}"
            )

    @property
    def shape(self):
        return self.weights.shape[:2]

    @property
    def arrays(self):
        return self.weights.arrays

    def forward(self, arrays, z):
        if not self.factored:
            return self._mixed(z, self.weights.tensor(arrays))
        S, H = self.weights.squeezed(arrays)
        return self._mixed(z, S) @ H.T

    def pullback(self, arrays, z, y_bar, inputs=True):
        if not self.factored:
            W_bar, z_bar = self._mixed_pullback(z, self.weights.tensor(arrays), y_bar, inputs)
            return self.weights.pullback(arrays, W_bar), z_bar
        S, H = self.weights.squeezed(arrays)
        H_bar = np.tensordot(y_bar, self._mixed(z, S), ((0, 1), (0, 1)))
        S_bar, z_bar = self._mixed_pullback(z, S, y_bar @ H, inputs)
        return self.weights.squeezed_pullback(arrays, S_bar, H_bar), z_bar

    @property
    def factored(self):
        """Whether the layer goes through its Tucker factors: then the basis is mixed into r_in r_basis sums in the place of Q
        outputs, and a small matrix follows. It is cheaper where r_in r_basis < Q."""
        weights = self.weights
        return isinstance(weights, Tucker) and weights.ranks[1] * weights.ranks[2] < weights.shape[0]

    def _mixed(self, z, W):
        """The jet of sum_p sum_i W[q,p,i] b_i(z_p)."""
        if isinstance(self.basis, BSpline):
            return spline_forward(self.basis, z, W, None)
        first, b = self.basis.derivatives(z[0], jets.order(z))
        return mix(first, jets.lift(b, z), W)

    def _mixed_pullback(self, z, W, y_bar, inputs):
        """Adjoints W_bar and z_bar (None unless `inputs`) of `_mixed`."""
        if isinstance(self.basis, BSpline):
            W_bar, _, z_bar = spline_pullback(self.basis, z, W, None, y_bar, inputs)
            return W_bar, z_bar
        first, b = self.basis.derivatives(z[0], jets.order(z) + inputs)
        W_bar, F_bar = mix_pullback(first, jets.lift(b, z), W, y_bar)
        return W_bar, jets.lift_pullback(b, z, F_bar) if inputs else None

    def edges(self, arrays, x):
        """phi[n,q,p] = sum_i W[q,p,i] b_i(x[n,p]), (N, Q, P): every edge by itself."""
        first, b = self.basis.derivatives(x, 0)
        W = kernel_order(self.weights.tensor(arrays)).astype(x.dtype, copy=False)
        phi = np.empty((*x.shape, W.shape[2]), x.dtype)
        single.edges(first, b[0], W, phi)
        return phi.swapaxes(1, 2)

    def edges_pullback(self, arrays, x, phi_bar):
        """Adjoints of `edges`: {name: array}, and x_bar (N, P)."""
        first, b = self.basis.derivatives(x, 1)
        W = kernel_order(self.weights.tensor(arrays)).astype(x.dtype, copy=False)
        W_bar, x_bar = np.zeros_like(W), np.empty_like(x)
        phi_bar = np.ascontiguousarray(phi_bar.swapaxes(1, 2), x.dtype)
        single.edges_pullback(first, b[0], b[1], W, phi_bar, W_bar, x_bar)
        return self.weights.pullback(arrays, public_order(W_bar)), x_bar

    def select(self, arrays, outputs, inputs):
        weights, arrays = self.weights.select(arrays, outputs, inputs)
        return Linear(self.basis.select(inputs), weights), arrays

    def rebased(self, R, basis):
        """The term on another basis, W x_3 R, and {array: (mode, M)} for its arrays that change; see `kanref.weights`."""
        weights, maps = self.weights.rebased(R, basis)
        return Linear(basis, weights), maps

    def rows(self, arrays, z, y_bar):
        first, b = self.basis.derivatives(z[0], jets.order(z))
        W_bar = mix_rows(first, jets.lift(b, z), y_bar, self.basis.size)
        return self.weights.pullback(arrays, W_bar)


# ----------------------------------------------------------------------------------------------- the generic path


def mix(first, F, W):
    """y[c,n,q] = sum_p sum_i W[q,p,first+i] F[c,n,p,i]: a matrix product if every function is in the window."""
    M, N, P, J = F.shape
    W = kernel_order(W).astype(F.dtype, copy=False)
    if J == W.shape[1]:
        return (F.reshape(M * N, P * J) @ W.reshape(P * J, -1)).reshape(M, N, -1)
    y = np.zeros((M, N, W.shape[2]), F.dtype)
    local.mix(first, F, W, y)
    return y


def mix_pullback(first, F, W, y_bar):
    """Adjoints W_bar (Q, P, K) and F_bar (M, N, P, J) of `mix`."""
    M, N, P, J = F.shape
    W = kernel_order(W).astype(F.dtype, copy=False)
    if J == W.shape[1]:
        Y_bar = y_bar.reshape(M * N, -1)
        W_bar = (F.reshape(M * N, P * J).T @ Y_bar).reshape(W.shape)
        F_bar = (Y_bar @ W.reshape(P * J, -1).T).reshape(F.shape)
    else:
        W_bar, F_bar = np.zeros_like(W), np.empty_like(F)
        local.mix_pullback(first, F, W, y_bar, F_bar, W_bar)
    return public_order(W_bar), F_bar


def mix_rows(first, F, y_bar, K):
    """W_bar of every sample by itself, (N, Q, P, K)."""
    W_bar = np.zeros((F.shape[1], F.shape[2], K, y_bar.shape[2]), F.dtype)
    local.mix_rows(first, np.ascontiguousarray(F), y_bar, W_bar)
    return public_order(W_bar)


# ------------------------------------------------------------------------------------------------- the fused path


def spline_forward(basis, z, W, V):
    """sum_p sum_i W[q,p,i] B_i(z_p) + V[q,p] silu(z_p) on jets; V (Q, P, 1) or None."""
    basis.require_inside(z[0])
    (M, N, P), Q = z.shape, W.shape[0]
    arguments = z, *basis.kernel_arguments(z.dtype), *_kernel_weights(z, W, V)
    y = np.empty((M, N, Q), z.dtype)
    if M * N * P * Q * basis.window < PARALLEL_WORK:
        kernel.forward_part(0, N, *arguments, y)
    else:  # about a quarter of the samples at most, so that threads have something to share
        kernel.forward_parallel(min(PART, max(64, -(-N // 4))), *arguments, y)
    return y


def spline_pullback(basis, z, W, V, y_bar, inputs=True):
    """Adjoints W_bar, V_bar (None without V) and z_bar (None unless `inputs`) of `spline_forward`."""
    M, N, P = z.shape
    W, V = _kernel_weights(z, W, V)
    y_bar = np.ascontiguousarray(y_bar)
    z_bar = np.empty_like(z) if inputs else np.empty((0, 0, 0), z.dtype)
    arguments = z, *basis.kernel_arguments(z.dtype), W, V, y_bar, z_bar
    samples, inputs_each = N, P  # one unit of work is so many samples and inputs
    parallel = M * N * P * W.shape[2] * basis.window >= PARALLEL_WORK
    if parallel and N > PART and (W.nbytes <= SMALL_WEIGHTS or P < MANY_INPUTS):
        samples = max(PART, -(-N // MAX_PARTS // PART) * PART)
    elif parallel:
        inputs_each = max(1, P // 16)
    parts = -(-N // samples)
    W_bar = np.zeros((parts, *W.shape), W.dtype)
    V_bar = None if V is None else np.zeros((parts, *V.shape), W.dtype)
    if parallel:
        kernel.pullback_parallel(samples, inputs_each, *arguments, W_bar, V_bar)
    else:
        kernel.pullback_part(0, 0, N, 0, P, *arguments, W_bar, V_bar)
    W_bar = W_bar[0] if parts == 1 else W_bar.sum(0)
    V_bar = None if V is None else V_bar[0] if parts == 1 else V_bar.sum(0)
    V_bar = None if V is None else public_order(V_bar[:, None, :])
    return public_order(W_bar), V_bar, z_bar if inputs else None


def _kernel_weights(z, W, V):
    """W and V as the kernels keep them: (P, K, Q) and (P, Q)."""
    W = kernel_order(W).astype(z.dtype, copy=False)
    return W, None if V is None else kernel_order(V)[:, 0].astype(z.dtype, copy=False)


# ------------------------------------------------------------------------------------------------- sums of terms


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of terms, itself with the contract of a term; `arrays` is a list of one dictionary for each."""

    terms: tuple[Term, ...]

    @cached_property
    def pair(self):
        """Positions of the first B-spline term and the first SiLU term, which run as one; None if one is missing."""
        linear = [term.basis if isinstance(term, Linear) and not term.factored else None for term in self.terms]
        splines = [i for i, basis in enumerate(linear) if isinstance(basis, BSpline)]
        base = [i for i, basis in enumerate(linear) if basis is bases.silu]
        return (splines[0], base[0]) if splines and base else None

    @cached_property
    def others(self):
        """Positions of the terms that run by themselves."""
        return [k for k in range(len(self.terms)) if not self.pair or k not in self.pair]

    def _pair_weights(self, arrays):
        return (self.terms[k].weights.tensor(arrays[k]) for k in self.pair)

    def forward(self, arrays, z):
        parts = [self.terms[k].forward(arrays[k], z) for k in self.others]
        if self.pair:
            parts.insert(0, spline_forward(self.terms[self.pair[0]].basis, z, *self._pair_weights(arrays)))
        y = parts[0]
        for part in parts[1:]:
            y += part
        return y

    def pullback(self, arrays, z, y_bar, inputs=True):
        arrays_bar, z_bars = [None] * len(self.terms), []
        if self.pair:
            basis = self.terms[self.pair[0]].basis
            *W_bars, z_bar = spline_pullback(basis, z, *self._pair_weights(arrays), y_bar, inputs)
            z_bars.append(z_bar)
            for k, W_bar in zip(self.pair, W_bars):
                arrays_bar[k] = self.terms[k].weights.pullback(arrays[k], W_bar)
        for k in self.others:
            arrays_bar[k], z_bar = self.terms[k].pullback(arrays[k], z, y_bar, inputs)
            z_bars.append(z_bar)
        return arrays_bar, sum(z_bars[1:], z_bars[0]) if inputs else None

    def rows(self, arrays, z, y_bar):
        return [term.rows(a, z, y_bar) for term, a in zip(self.terms, arrays)]

    def edges(self, arrays, x):
        phi, *others = [term.edges(a, x) for term, a in zip(self.terms, arrays)]
        return sum(others, phi)

    def edges_pullback(self, arrays, x, phi_bar):
        pairs = [term.edges_pullback(a, x, phi_bar) for term, a in zip(self.terms, arrays)]
        arrays_bar, x_bars = zip(*pairs)
        return list(arrays_bar), sum(x_bars[1:], x_bars[0])
