"""Weights: ways of writing the tensor W (Q, P, K), out, in, basis, that mixes basis functions.

A weights object is structure; its trainable arrays come as a dictionary name -> array. The contract:

    shape                            (Q, P, K)
    arrays                           {name: shape} of what is trained
    tensor(arrays)                   W
    pullback(arrays, W_bar)          {name: adjoint}; leading axes of W_bar, (..., Q, P, K), are carried along
    rebased(R, basis=None)           weights of W x_3 R, R (K', K) or (P, K', K), and {name: (mode, M)}: their arrays are a
                                     x_mode M for those named, a for the others. So refinement is linear in what is
                                     trained, and has an adjoint. `basis` is the new one, for kinds that depend on it
    select(arrays, outputs, inputs)  weights and arrays of some outputs and inputs of W (index arrays)
    start(W)                         arrays that represent W as nearly as this kind can: initialisation

What is frozen is a constant inside the object, never a flag. Three-way arrays are stored (in, basis, out) in the flat
parameter vector and seen as (out, in, basis); see `kanref.arrays`. `kanref.check.check_weights` examines a new kind.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from kanref.arrays import choice, integer, kernel_order, public_order, real_array
from kanref.bases import BSpline
from kanref.power_relu import matrices, strict
from kanref.tensors import hosvd, mode_dot, tucker_pullback, unfold


class Weights(Protocol):
    """The contract; see the module's text."""

    shape: tuple[int, int, int]

    @property
    def arrays(self) -> dict[str, tuple[int, ...]]: ...

    def tensor(self, arrays): ...

    def pullback(self, arrays, W_bar): ...

    def rebased(self, R, basis=None): ...

    def select(self, arrays, outputs, inputs): ...

    def start(self, W): ...


@dataclass(frozen=True)
class Full:
    """W itself is trained."""

    shape: tuple[int, int, int]

    def __post_init__(self):
        if len(self.shape) != 3:
            raise ValueError(f"shape must be (out, in, basis), but it is {self.shape}")
        for size, name in zip(self.shape, ("out", "in", "basis")):
            integer(size, f"{name} of shape", 1)

    @property
    def arrays(self):
        return {"W": self.shape}

    def tensor(self, arrays):
        return arrays["W"]

    def pullback(self, arrays, W_bar):
        return {"W": W_bar}

    def rebased(self, R, basis=None):
        return Full((*self.shape[:2], R.shape[-2])), {"W": (2, R)}

    def select(self, arrays, outputs, inputs):
        W = arrays["W"][np.ix_(outputs, inputs)]
        return Full(W.shape), {"W": W}

    def start(self, W):
        return {"W": W}


@dataclass(frozen=True, eq=False)
class Fixed:
    """W is a constant; nothing is trained."""

    W: np.ndarray

    def __post_init__(self):
        W = real_array(self.W, "W", np.float64).copy()
        if W.ndim != 3:
            raise ValueError(f"W must have shape (out, in, basis), but it has shape {W.shape}")
        W.flags.writeable = False
        object.__setattr__(self, "W", W)

    @property
    def shape(self):
        return self.W.shape

    arrays = {}

    def tensor(self, arrays):
        return self.W

    def pullback(self, arrays, W_bar):
        return {}

    def rebased(self, R, basis=None):
        return Fixed(mode_dot(self.W, R, 2)), {}

    def select(self, arrays, outputs, inputs):
        return Fixed(self.W[np.ix_(outputs, inputs)]), {}

    def start(self, W):
        return {}


@dataclass(frozen=True, eq=False)
class Masked:
    """mask[q,p] times other weights: edges that are switched off (pykan's mask, and what pruning leaves)."""

    inner: Weights
    mask: np.ndarray

    def __post_init__(self):
        mask = real_array(self.mask, "mask", np.float64).copy()
        if mask.shape != self.inner.shape[:2]:
            raise ValueError(f"mask must have shape (out, in) = {self.inner.shape[:2]}, but it has shape {mask.shape}")
        mask.flags.writeable = False
        object.__setattr__(self, "mask", mask)

    @property
    def shape(self):
        return self.inner.shape

    @property
    def arrays(self):
        return self.inner.arrays

    def tensor(self, arrays):
        W = self.inner.tensor(arrays)
        return W * self.mask[:, :, None].astype(W.dtype)

    def pullback(self, arrays, W_bar):
        return self.inner.pullback(arrays, W_bar * self.mask[:, :, None].astype(W_bar.dtype))

    def rebased(self, R, basis=None):
        inner, maps = self.inner.rebased(R, basis)
        return Masked(inner, self.mask), maps

    def select(self, arrays, outputs, inputs):
        inner, arrays = self.inner.select(arrays, outputs, inputs)
        return Masked(inner, self.mask[np.ix_(outputs, inputs)]), arrays

    def start(self, W):
        return self.inner.start(W / np.where(self.mask == 0, 1, self.mask)[:, :, None])


@dataclass(frozen=True)
class Scaled:
    """w_s[q,p] times other weights, w_s trained: the redundant spline scale of the paper (eq. 2.10)."""

    inner: Weights

    @property
    def shape(self):
        return self.inner.shape

    @property
    def arrays(self):
        return {**self.inner.arrays, "scale": self.shape[:2]}

    def tensor(self, arrays):
        return self.inner.tensor(arrays) * arrays["scale"][:, :, None]

    def pullback(self, arrays, W_bar):
        scale_bar = (self.inner.tensor(arrays) * W_bar).sum(-1)
        return {**self.inner.pullback(arrays, W_bar * arrays["scale"][:, :, None]), "scale": scale_bar}

    def rebased(self, R, basis=None):
        inner, maps = self.inner.rebased(R, basis)
        return Scaled(inner), maps

    def select(self, arrays, outputs, inputs):
        inner, selected = self.inner.select(arrays, outputs, inputs)
        return Scaled(inner), {**selected, "scale": arrays["scale"][np.ix_(outputs, inputs)]}

    def start(self, W):
        return {**self.inner.start(W), "scale": np.ones(self.shape[:2])}


# --------------------------------------------------------------------------------------------------- low tensor rank

FACTORS = "U_out", "U_in", "U_basis"


@dataclass(frozen=True)
class Tucker:
    """W = core x_1 U_out x_2 U_in x_3 U_basis, all four trained: the weights of Slim KANs (Gao et al., reconstruction).

    ranks: (r_out, r_in, r_basis), each at least 1 and at most the size of its mode.
    """

    shape: tuple[int, int, int]
    ranks: tuple[int, int, int]

    def __post_init__(self):
        if len(self.shape) != 3 or len(self.ranks) != 3:
            raise ValueError(f"shape and ranks must be (out, in, basis), but they are {self.shape} and {self.ranks}")
        for rank, size, name in zip(self.ranks, self.shape, ("out", "in", "basis")):
            integer(rank, f"rank of {name}", 1, integer(size, f"{name} of shape", 1))

    @property
    def arrays(self):
        return {"core": self.ranks, **{name: pair for name, pair in zip(FACTORS, zip(self.shape, self.ranks))}}

    def tensor(self, arrays):
        """`tensors.tucker`, with the outputs last and in the order of kernels, which then need no copy."""
        core, U_out, U_in, U_basis = (arrays[name] for name in ("core", *FACTORS))
        return public_order(U_basis @ np.einsum("abc,pb->pca", core, U_in) @ U_out.T)

    def pullback(self, arrays, W_bar):
        core_bar, U_bars = tucker_pullback(arrays["core"], [arrays[name] for name in FACTORS], W_bar)
        return {"core": core_bar, **dict(zip(FACTORS, U_bars))}

    def rebased(self, R, basis=None):
        if R.ndim == 3:
            if not (R == R[0]).all():
                raise ValueError(
                    "Tucker weights share U_basis over inputs, but here every input has a refinement of its own; refine "
                    "uniform knots, or write the weights out in full first"
                )
            R = R[0]
        return Tucker((*self.shape[:2], len(R)), self.ranks), {"U_basis": (0, R)}

    def select(self, arrays, outputs, inputs):
        part = {**arrays, "U_out": arrays["U_out"][outputs], "U_in": arrays["U_in"][inputs]}
        shape = len(outputs), len(inputs), self.shape[2]
        if len(outputs) >= self.ranks[0] and len(inputs) >= self.ranks[1]:
            return Tucker(shape, self.ranks), part
        kind = Tucker(shape, tuple(map(min, self.ranks, shape)))
        return kind, kind.start(self.tensor(part))  # fewer edges than ranks: exact with the ranks that fit

    def start(self, W):
        core, Us = hosvd(W, self.ranks)
        return {"core": core, **dict(zip(FACTORS, Us))}


@dataclass(frozen=True)
class LowRank:
    """W = left right on the unfolding along outputs, W[q,p,k] = sum_a left[q,a] right[a,p,k], both trained: the matrix that
    LoRA adapts by (Hu et al., arXiv 2106.09685), for comparison with `Tucker`.

    rank: at least 1 and at most that of the unfolding, min(Q, P K).
    """

    shape: tuple[int, int, int]
    rank: int

    def __post_init__(self):
        if len(self.shape) != 3:
            raise ValueError(f"shape must be (out, in, basis), but it is {self.shape}")
        Q, P, K = (integer(size, f"{name} of shape", 1) for size, name in zip(self.shape, ("out", "in", "basis")))
        integer(self.rank, "rank", 1, min(Q, P * K))

    @property
    def arrays(self):
        return {"left": (self.shape[0], self.rank), "right": (self.rank, *self.shape[1:])}

    def tensor(self, arrays):
        return mode_dot(arrays["right"], arrays["left"], 0)

    def pullback(self, arrays, W_bar):
        left_bar = np.einsum("...qpk,apk->...qa", W_bar, arrays["right"])
        return {"left": left_bar, "right": np.einsum("qa,...qpk->...apk", arrays["left"], W_bar)}

    def rebased(self, R, basis=None):
        return LowRank((*self.shape[:2], R.shape[-2]), self.rank), {"right": (2, R)}

    def select(self, arrays, outputs, inputs):
        part = {"left": arrays["left"][outputs], "right": arrays["right"][:, inputs]}
        shape = len(outputs), len(inputs), self.shape[2]
        most = min(shape[0], shape[1] * shape[2])
        if self.rank <= most:
            return LowRank(shape, self.rank), part
        kind = LowRank(shape, most)
        return kind, kind.start(self.tensor(part))  # fewer edges than ranks: exact with the rank that fits

    def start(self, W):
        U, s, V = np.linalg.svd(unfold(W, 0), full_matrices=False)
        return {"left": U[:, : self.rank] * s[: self.rank], "right": V[: self.rank].reshape(-1, *W.shape[1:])}


@dataclass(frozen=True, eq=False)
class LoTRA:
    """W = base + scale (core x_1 U_out x_2 U_in x_3 U_basis): frozen weights and a trained Tucker adapter.

    base: (Q, P, K), a constant; adapter: `Tucker` of the same shape, or `LowRank` for LoRA; scale: a number (Gao et al.,
    reconstruction).
    """

    base: np.ndarray
    adapter: Tucker | LowRank
    scale: float = 1.0

    def __post_init__(self):
        base = real_array(self.base, "base", np.float64).copy()
        if base.shape != tuple(self.adapter.shape):
            raise ValueError(f"base has shape {base.shape}, but its adapter has shape {self.adapter.shape}; they must agree")
        if not np.isfinite(self.scale) or self.scale == 0:
            raise ValueError(f"scale must be finite and not zero, but it is {self.scale}")
        object.__setattr__(self, "scale", float(self.scale))  # as NumPy's scalars would change the precision of arrays
        base = public_order(kernel_order(base))  # in memory as what is added to it
        base.flags.writeable = False
        object.__setattr__(self, "base", base)

    @property
    def shape(self):
        return self.base.shape

    @property
    def arrays(self):
        return self.adapter.arrays

    def tensor(self, arrays):
        W = self.adapter.tensor(arrays)
        return self.base.astype(W.dtype, copy=False) + self.scale * W

    def pullback(self, arrays, W_bar):
        return self.adapter.pullback(arrays, self.scale * W_bar)

    def rebased(self, R, basis=None):
        adapter, maps = self.adapter.rebased(R, basis)
        return LoTRA(mode_dot(self.base, R, 2), adapter, self.scale), maps

    def select(self, arrays, outputs, inputs):
        adapter, arrays = self.adapter.select(arrays, outputs, inputs)
        return LoTRA(self.base[np.ix_(outputs, inputs)], adapter, self.scale), arrays

    def start(self, W):
        return self.adapter.start((W - self.base) / self.scale)


# --------------------------------------------------------------------------------------------------- gradient geometry

GEOMETRIES = "relu", "spline"


@dataclass(frozen=True, eq=False)
class InBasis:
    """B-spline weights u seen from the power ReLUs of the same knots, w = A' u: training in another geometry, with any optimiser.

    The layer itself evaluates B-splines, as stably as ever; only what is iterated, and what is called its gradient, change:

        iterate   gradient   arrays hold   tensor           pullback    a step -eta D g on the arrays, in w and in u
        "relu"    "relu"     w             w x_3 A^-T       A^-1 g_u    w -= eta D g_w        u -= eta A^-T D A^-1 g_u
        "relu"    "spline"   w             w x_3 A^-T       g_u         w -= eta D A g_w      u -= eta A^-T D g_u
        "spline"  "spline"   u             u                g_u         w -= eta A' D A g_w   u -= eta D g_u
        "spline"  "relu"     u             u                A^-1 g_u    w -= eta A' D g_w     u -= eta D A^-1 g_u

    (multilevel paper, table of section 3; its equations 17a, -, 14b or 17b, -). The first row is the multichannel ReLU MLP,
    the third the ordinary KAN. Only in these two is the pullback the adjoint of `tensor`, as `kanref.check.check_weights`
    demands. The paper calls the other gradients those of other inner products, M^-1 g; here M = A or A^-1, which is not
    symmetric, and for degrees >= 1 (K >= 3) A + A' is indefinite: such steps may climb, and line searches then stop.

    inner: weights of the same shape, which hold w or u; basis: the `BSpline`, of strictly increasing knots. Uniform rows use
    A = (I - S)^(degree + 1)/degree! with the spacing as unit of length, others the mean spacing; see `kanref.power_relu`.
    Rounding w moves u by up to cond(A) ~ K^(degree + 1) roundings: float64 serves small K and degrees, float32 hardly any.
    """

    inner: Weights
    basis: BSpline
    iterate: str = "relu"
    gradient: str = "relu"

    def __post_init__(self):
        choice(self.iterate, "iterate", GEOMETRIES)
        choice(self.gradient, "gradient", GEOMETRIES)
        if not isinstance(self.basis, BSpline):
            raise TypeError(f"basis must be a BSpline, whose power ReLUs are meant, but it is {self.basis!r}")
        if self.inner.shape[1:] != (self.basis.inputs, self.basis.size):
            raise ValueError(
                f"basis has {self.basis.size} functions of {self.basis.inputs} inputs, but inner has shape "
                f"{self.inner.shape} (out, in, basis)"
            )
        strict(self.basis.knots, self.basis.degree)

    @property
    def shape(self):
        return self.inner.shape

    @property
    def arrays(self):
        return self.inner.arrays

    @cached_property
    def _change(self):
        return matrices(self.basis)

    @cached_property
    def A(self):
        """The change of basis, (K, K) or (P, K, K)."""
        A, _, f = self._change
        return A / f

    @cached_property
    def A_inverse(self):
        _, A_inverse, f = self._change
        return A_inverse * f

    def tensor(self, arrays):
        W = self.inner.tensor(arrays)
        return _times(W, self.A_inverse) if self.iterate == "relu" else W

    def pullback(self, arrays, W_bar):
        if self.gradient == "relu":
            W_bar = _times(W_bar, self.A_inverse.swapaxes(-2, -1))
        return self.inner.pullback(arrays, W_bar)

    def rebased(self, R, basis=None):
        """The inner weights by A'_new R A^-T: exact for dyadic refinement of uniform knots, else to cond(A) roundings."""
        if basis is None:
            raise ValueError("InBasis depends on its B-splines: give the new ones, rebased(R, basis)")
        if self.iterate == "relu":
            (_, A_inverse, f), (A, _, f_new) = self._change, matrices(basis)
            R = A.swapaxes(-2, -1) @ R @ A_inverse.swapaxes(-2, -1) * (f / f_new)
        inner, maps = self.inner.rebased(R, basis)
        return InBasis(inner, basis, self.iterate, self.gradient), maps

    def select(self, arrays, outputs, inputs):
        inner, arrays = self.inner.select(arrays, outputs, inputs)
        return InBasis(inner, self.basis.select(inputs), self.iterate, self.gradient), arrays

    def start(self, W):
        return self.inner.start(_times(W, self.A) if self.iterate == "relu" else W)


def _times(W, M):
    """sum_k W[..., q, p, k] M[(p,) k, j]: every row of W, seen as a row vector, times M."""
    return (W.swapaxes(-3, -2) @ M.astype(W.dtype, copy=False)).swapaxes(-3, -2)
