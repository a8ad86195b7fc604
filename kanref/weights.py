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
from typing import Protocol

import numpy as np

from kanref.arrays import integer, real_array
from kanref.tensors import hosvd, mode_dot, tucker, tucker_pullback


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
        return tucker(arrays["core"], [arrays[name] for name in FACTORS])

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


@dataclass(frozen=True, eq=False)
class LoTRA:
    """W = base + scale (core x_1 U_out x_2 U_in x_3 U_basis): frozen weights and a trained Tucker adapter.

    base: (Q, P, K), a constant; adapter: `Tucker` of the same shape; scale: a number (Gao et al., reconstruction).
    """

    base: np.ndarray
    adapter: Tucker
    scale: float = 1.0

    def __post_init__(self):
        base = real_array(self.base, "base", np.float64).copy()
        if base.shape != tuple(self.adapter.shape):
            raise ValueError(f"base has shape {base.shape}, but its adapter has shape {self.adapter.shape}; they must agree")
        if not np.isfinite(self.scale) or self.scale == 0:
            raise ValueError(f"scale must be finite and not zero, but it is {self.scale}")
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
        return self.base.astype(W.dtype) + self.scale * W

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
