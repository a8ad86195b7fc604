"""Gaussian radial functions, the basis of fast-kan: exp(-((x - c_i) / h)^2) for i = 1..K, the same for every input."""

from dataclasses import dataclass

import numpy as np

from kanref.arrays import real_array


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Functions exp(-u^2), u = (x - c_i)/h, at K centres c_i (K,), of one width h > 0; they do not sum to one."""

    centres: np.ndarray
    width: float

    def __post_init__(self):
        centres = real_array(self.centres, "centres", np.float64).copy()
        if centres.ndim != 1 or not centres.size:
            raise ValueError(f"centres must be a vector, but it has shape {centres.shape}")
        if not 0 < self.width < np.inf:
            raise ValueError(f"width must be positive and finite, but it is {self.width}")
        centres.flags.writeable = False
        object.__setattr__(self, "centres", centres)
        object.__setattr__(self, "width", float(self.width))

    @property
    def size(self):
        return len(self.centres)

    window = size

    def derivatives(self, x, order):
        """f^(m) = (-1/h)^m H_m(u) f with Hermite's polynomials, H_{m+1} = 2 u H_m - 2 m H_{m-1}."""
        h = x.dtype.type(self.width)
        u = (x[..., None] - self.centres.astype(x.dtype)) / h
        values = np.empty((order + 1, *u.shape), x.dtype)
        before, H = np.zeros_like(u), np.ones_like(u)
        f = np.exp(-(u**2))
        for m in range(order + 1):
            values[m] = H * f * (-1 / h) ** m
            before, H = H, 2 * u * H - 2 * m * before
        return np.zeros(x.shape, np.int64), values

    def select(self, inputs):
        """Itself: it is the same for every input."""
        return self
