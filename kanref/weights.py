"""Weights: ways of writing the tensor W (Q, P, K), out, in, basis, that mixes basis functions.

A weights object is structure; its trainable arrays come as a dictionary name -> array. The contract:

    shape                            (Q, P, K)
    arrays                           {name: shape} of what is trained
    tensor(arrays)                   W
    pullback(arrays, W_bar)          {name: adjoint}; leading axes of W_bar, (..., Q, P, K), are carried along
    rebase(arrays, R)                weights and arrays of W x_3 R, R (K', K) or (P, K', K): refinement, change of basis
    select(arrays, outputs, inputs)  weights and arrays of some outputs and inputs of W (index arrays)
    start(W)                         arrays that represent W as nearly as this kind can: initialisation

What is frozen is a constant inside the object, never a flag. Three-way arrays are stored (in, basis, out) in the flat
parameter vector and seen as (out, in, basis); see `kanref.arrays`. `kanref.check.check_weights` examines a new kind.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kanref.arrays import integer, real_array
from kanref.tensors import mode_dot


class Weights(Protocol):
    """The contract; see the module's text."""

    shape: tuple[int, int, int]

    @property
    def arrays(self) -> dict[str, tuple[int, ...]]: ...

    def tensor(self, arrays): ...

    def pullback(self, arrays, W_bar): ...

    def rebase(self, arrays, R): ...

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

    def rebase(self, arrays, R):
        W = mode_dot(arrays["W"], R, 2)
        return Full(W.shape), {"W": W}

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

    def rebase(self, arrays, R):
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

    def rebase(self, arrays, R):
        inner, arrays = self.inner.rebase(arrays, R)
        return Masked(inner, self.mask), arrays

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

    def rebase(self, arrays, R):
        inner, rebased = self.inner.rebase(arrays, R)
        return Scaled(inner), {**rebased, "scale": arrays["scale"]}

    def select(self, arrays, outputs, inputs):
        inner, selected = self.inner.select(arrays, outputs, inputs)
        return Scaled(inner), {**selected, "scale": arrays["scale"][np.ix_(outputs, inputs)]}

    def start(self, W):
        return {**self.inner.start(W), "scale": np.ones(self.shape[:2])}
