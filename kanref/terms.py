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
every basis; B-splines, alone or together with a SiLU term, take fused kernels that never store a table. Weights of low tensor
rank need not be written out: `Linear.route` states the rule.
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
from kanref.weights import LoTRA, Tucker, Weights

PARALLEL_WORK = 50_000  # multiply-adds from which a second thread pays for its start
PART = 512  # samples to a unit of parallel work
MAX_PARTS = 32  # units of a pullback, each with weights of its own
SMALL_WEIGHTS = 2**17  # bytes of weights up to which the units of a pullback are samples, if there are enough,
MANY_INPUTS = 8  # and from how many inputs on they are otherwise inputs, which own their weights
FACTORS = 3.0  # times fewer multiply-adds from which Tucker factors are quicker than the written-out tensor


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

    @cached_property
    def route(self):
        """The way through the term, by what is trained and what is cheaper:

        "written"   W is built, and its adjoint W_bar pulled back: every kind of weights
        "factored"  Tucker weights through their factors (`tucker_forward`): neither W nor W_bar is built
        "adapted"   LoTRA weights: W is built, as its base has to be mixed anyway, but W_bar is not: the adapter's adjoints
                    come through its factors
        "frozen"    nothing is trained, so that there is no adjoint but that of the inputs

        Factors are taken where they cost fewer multiply-adds for a sample, by `FACTORS` at least ("adapted": by twice that, as
        tables and the adjoint of the inputs are then made apart), with r the next multiple of 8 above r_basis, since vectors
        are that wide, and J = degree + 1 for B-splines:

            written     P J Q
            factored    P (J + r_in) r + r_in r_basis r_out + r_out Q

        and by the same count for other bases without a window (J = K).
        """
        weights, splines = self.weights, isinstance(self.basis, BSpline)
        if not weights.arrays:
            return "frozen"
        tucker = weights.adapter if isinstance(weights, LoTRA) else weights
        if not isinstance(tucker, Tucker) or not (splines or self.basis.window == self.basis.size):
            return "written"
        (Q, P, _), (r_out, r_in, r_basis), J = tucker.shape, tucker.ranks, self.basis.window
        factored = P * (J + r_in) * -(-r_basis // 8) * 8 + r_in * r_basis * r_out + r_out * Q
        if tucker is weights:
            return "factored" if P * J * Q > FACTORS * factored else "written"
        return "adapted" if splines and P * J * Q > 2 * FACTORS * factored else "written"

    def forward(self, arrays, z):
        if self.route != "factored":
            return self._mixed(z, self.weights.tensor(arrays))
        if isinstance(self.basis, BSpline):
            return tucker_forward(self.basis, z, arrays)
        _, b = self.basis.derivatives(z[0], jets.order(z))
        return tucker_mix(jets.lift(b, z), arrays)

    def pullback(self, arrays, z, y_bar, inputs=True):
        if self.route == "factored" and isinstance(self.basis, BSpline):
            return tucker_pullback(self.basis, z, arrays, y_bar, inputs)
        if self.route == "factored":
            _, b = self.basis.derivatives(z[0], jets.order(z) + inputs)
            arrays_bar, F_bar = tucker_mix_pullback(jets.lift(b, z), arrays, y_bar)
            return arrays_bar, jets.lift_pullback(b, z, F_bar) if inputs else None
        if self.route == "written":
            W_bar, z_bar = self._mixed_pullback(z, self.weights.tensor(arrays), y_bar, inputs)
            return self.weights.pullback(arrays, W_bar), z_bar
        z_bar = None
        if inputs and isinstance(self.basis, BSpline):
            z_bar = spline_inputs(self.basis, z, self.weights.tensor(arrays), None, y_bar)
        elif inputs:
            _, z_bar = self._mixed_pullback(z, self.weights.tensor(arrays), y_bar, inputs)
        return self.without_weights(arrays, z, y_bar), z_bar

    def without_weights(self, arrays, z, y_bar):
        """The arrays' adjoints on a route without W_bar, "adapted" or "frozen"."""
        if self.route == "frozen":
            return {}
        arrays_bar, _ = tucker_pullback(self.basis, z, arrays, y_bar, False)
        return {name: self.weights.scale * a for name, a in arrays_bar.items()}

    def _derivatives(self, x, order):
        return silu_derivatives(x, order) if self.basis is bases.silu else self.basis.derivatives(x, order)

    def _mixed(self, z, W):
        """The jet of sum_p sum_i W[q,p,i] b_i(z_p)."""
        if isinstance(self.basis, BSpline):
            return spline_forward(self.basis, z, W, None)
        first, b = self._derivatives(z[0], jets.order(z))
        return mix(first, jets.lift(b, z), W)

    def _mixed_pullback(self, z, W, y_bar, inputs):
        """Adjoints W_bar and z_bar (None unless `inputs`) of `_mixed`."""
        if isinstance(self.basis, BSpline):
            W_bar, _, z_bar = spline_pullback(self.basis, z, W, None, y_bar, inputs)
            return W_bar, z_bar
        first, b = self._derivatives(z[0], jets.order(z) + inputs)
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
        tucker = self.weights.adapter if isinstance(self.weights, LoTRA) else self.weights
        if isinstance(tucker, Tucker):
            rows = tucker_rows(first, jets.lift(b, z), arrays, y_bar)
            return rows if tucker is self.weights else {name: self.weights.scale * a for name, a in rows.items()}
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


def silu_derivatives(x, order):
    """As `bases.silu.derivatives`, by the kernel."""
    values = np.empty((order + 1, x.size), x.dtype)
    kernel.silu_values(np.ascontiguousarray(x).reshape(-1), order, values)
    return np.zeros(x.shape, np.int64), values.reshape(order + 1, *x.shape, 1)


def tucker_mix(F, arrays):
    """y[c,n] = U_out (core : S), S = sum_p U_in[p,a] sum_k F[c,n,p,k] U_basis[k,r], for a basis without a window."""
    C, U_out, U_in, U_basis = _kernel_factors(F, arrays)
    return (U_in.T @ (F @ U_basis)).reshape(*F.shape[:2], -1) @ C @ U_out.T


def tucker_mix_pullback(F, arrays, y_bar):
    """Adjoints {name: array} and F_bar of `tucker_mix`."""
    C, U_out, U_in, U_basis = _kernel_factors(F, arrays)
    M, N, P, K = F.shape
    g, T_bar = F @ U_basis, y_bar @ U_out
    S, S_bar = U_in.T @ g, (T_bar @ C.T).reshape(M, N, U_in.shape[1], -1)
    g_bar = U_in @ S_bar
    arrays_bar = _tucker_adjoints(C, U_in, S, T_bar, y_bar)
    arrays_bar["U_in"] = np.einsum("cnpr,cnar->pa", g, S_bar, optimize=True)
    arrays_bar["U_basis"] = F.reshape(-1, K).T @ g_bar.reshape(M * N * P, -1)
    return arrays_bar, g_bar @ U_basis.T


def tucker_rows(first, F, arrays, y_bar):
    """{name: (N, ...)}, what the adjoints of core x_1 U_out x_2 U_in x_3 U_basis sum over samples, for functions F (M, N, P, J)
    of any window: by far fewer numbers than all samples' W_bar would take.
    """
    C, U_out, U_in, U_basis = _kernel_factors(F, arrays)
    (M, N, P, J), (K, R), r_in = F.shape, U_basis.shape, U_in.shape[1]
    T_bar = y_bar @ U_out
    S_bar = (T_bar @ C.T).reshape(M, N, r_in, R)
    found = {name: np.zeros((N, *a.shape), F.dtype) for name, a in arrays.items()}
    where, dense = first[..., None] + np.arange(J), np.zeros((N, P, K), F.dtype)
    for c in range(M):
        np.put_along_axis(dense, where, F[c], -1)
        g = dense @ U_basis
        S = U_in.T @ g
        found["core"] += np.einsum("nb,nar->nbar", T_bar[c], S)
        found["U_out"] += np.einsum("nq,nb->nqb", y_bar[c], S.reshape(N, -1) @ C)
        found["U_in"] += g @ S_bar[c].swapaxes(1, 2)
        found["U_basis"] += dense.swapaxes(1, 2) @ (U_in @ S_bar[c])
    return found


def _tucker_adjoints(C, U_in, S, T_bar, y_bar):
    """Adjoints of core and U_out from S and T_bar = y_bar U_out."""
    S, T_bar, y_bar = (a.reshape(y_bar.shape[0] * y_bar.shape[1], -1) for a in (S, T_bar, y_bar))
    core = (S.T @ T_bar).reshape(U_in.shape[1], -1, C.shape[1])
    return {"core": public_order(core), "U_out": y_bar.T @ (S @ C)}


def _kernel_factors(z, arrays):
    """core as a matrix (r_in r_basis, r_out), U_out, U_in, U_basis in z's precision."""
    C = kernel_order(arrays["core"])
    C = C.reshape(-1, C.shape[2])
    return [np.ascontiguousarray(a, z.dtype) for a in (C, arrays["U_out"], arrays["U_in"], arrays["U_basis"])]


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
    W, V = _kernel_weights(z, W, V)
    samples, inputs_each = _units(basis, z, W)
    parts = -(-z.shape[1] // samples)
    W_bar = np.zeros((parts, *W.shape), W.dtype)
    V_bar = None if V is None else np.zeros((parts, *V.shape), W.dtype)
    z_bar = np.empty_like(z) if inputs else np.empty((0, 0, 0), z.dtype)
    _pullback(samples, inputs_each, basis, z, W, V, y_bar, z_bar, W_bar, V_bar)
    W_bar = W_bar[0] if parts == 1 else W_bar.sum(0)
    V_bar = None if V is None else V_bar[0] if parts == 1 else V_bar.sum(0)
    V_bar = None if V is None else public_order(V_bar[:, None, :])
    return public_order(W_bar), V_bar, z_bar if inputs else None


def spline_inputs(basis, z, W, V, y_bar):
    """The adjoint z_bar of `spline_forward` alone."""
    W, V = _kernel_weights(z, W, V)
    z_bar = np.empty_like(z)
    _pullback(*_units(basis, z, W), basis, z, W, V, y_bar, z_bar, None, None)
    return z_bar


def _units(basis, z, W):
    """How many samples and inputs are one unit of a pullback's work, for kernel weights W; all of them if one thread does it."""
    M, N, P = z.shape
    if M * N * P * W.shape[2] * basis.window < PARALLEL_WORK:
        return N, P
    if N > PART and (W.nbytes <= SMALL_WEIGHTS or P < MANY_INPUTS):
        return max(PART, -(-N // MAX_PARTS // PART) * PART), P
    return N, max(1, P // 16)


def _pullback(samples, inputs_each, basis, z, W, V, y_bar, z_bar, W_bar, V_bar):
    own = z, *basis.kernel_arguments(z.dtype), W, V, np.ascontiguousarray(y_bar), z_bar, W_bar, V_bar
    if (samples, inputs_each) == z.shape[1:]:
        kernel.pullback_part(0, 0, z.shape[1], 0, z.shape[2], *own)
    else:
        kernel.pullback_parallel(samples, inputs_each, *own)


def tucker_forward(basis, z, arrays):
    """sum_p sum_i W[q,p,i] B_i(z_p) on jets for W = core x_1 U_out x_2 U_in x_3 U_basis, without W: the sums S of
    `kernel.tucker_part`, r_in r_basis for each sample, and then y = U_out (core : S).
    """
    basis.require_inside(z[0])
    (M, N, _), (C, U_out, U_in, U_basis) = z.shape, _kernel_factors(z, arrays)
    S = np.empty((M, N, len(C)), z.dtype)
    arguments = z, *basis.kernel_arguments(z.dtype), U_in, U_basis, S
    if M * N * _inner_work(U_in, U_basis, basis.window) < PARALLEL_WORK:
        kernel.tucker_part(0, N, *arguments)
    else:
        kernel.tucker_parallel(min(PART, max(64, -(-N // 4))), *arguments)
    return S @ C @ U_out.T


def tucker_pullback(basis, z, arrays, y_bar, inputs=True):
    """Adjoints {name: array} and z_bar (None unless `inputs`) of `tucker_forward`."""
    (M, N, _), (C, U_out, U_in, U_basis) = z.shape, _kernel_factors(z, arrays)
    y_bar = np.ascontiguousarray(y_bar)
    T_bar = y_bar @ U_out
    S_bar, S = T_bar @ C.T, np.empty((M, N, len(C)), z.dtype)
    z_bar = np.empty_like(z) if inputs else np.empty((0, 0, 0), z.dtype)
    size = N
    if M * N * _inner_work(U_in, U_basis, basis.window) >= PARALLEL_WORK:
        size = min(PART, max(64, -(-N // 4))) if N <= PART * MAX_PARTS else -(-N // MAX_PARTS)
    parts = -(-N // size)
    U_in_bar, U_basis_bar = (np.zeros((parts, *U.shape), z.dtype) for U in (U_in, U_basis))
    own = z, *basis.kernel_arguments(z.dtype), U_in, U_basis, S_bar, S, z_bar, U_in_bar, U_basis_bar
    if parts == 1:
        kernel.tucker_pullback_part(0, 0, N, *own)
    else:
        kernel.tucker_pullback_parallel(size, *own)
    arrays_bar = _tucker_adjoints(C, U_in, S, T_bar, y_bar)
    arrays_bar |= {"U_in": U_in_bar.sum(0), "U_basis": U_basis_bar.sum(0)}
    return arrays_bar, z_bar if inputs else None


def _inner_work(U_in, U_basis, window):
    """Multiply-adds of a sample to S."""
    return len(U_in) * U_basis.shape[1] * (window + U_in.shape[1])


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
        linear = [term.basis if isinstance(term, Linear) and term.route != "factored" else None for term in self.terms]
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
        if self.pair and all(self.terms[k].route in ("adapted", "frozen") for k in self.pair):
            if inputs:
                z_bars.append(spline_inputs(self.terms[self.pair[0]].basis, z, *self._pair_weights(arrays), y_bar))
            for k in self.pair:
                arrays_bar[k] = self.terms[k].without_weights(arrays[k], z, y_bar)
        elif self.pair:
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
