"""Bases: what turns a coordinate into numbers, without parameters.

A basis has K functions (`size`), of which at most J consecutive ones (`window`) differ from zero at a point, and

    derivatives(x, order) -> first, values

for points x (N, P): the index of the first of the J functions, (N, P), and the J functions with their derivatives
0..order, (order+1, N, P, J); and select(inputs), the basis on some of the P inputs. Nothing else is needed for a new
basis; `kanref.check.check_basis` examines one.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from kanref.arrays import choice, integer, real_array
from kanref.kernels import spline_layer as kernel


class Basis(Protocol):
    """The contract; see the module's text."""

    @property
    def size(self) -> int: ...

    @property
    def window(self) -> int: ...

    def derivatives(self, x, order): ...

    def select(self, inputs): ...


# ---------------------------------------------------------------------------------------------------- B-splines

OUTSIDE = {"zero": kernel.ZERO, "linear": kernel.LINEAR, "clamp": kernel.CLAMP, "error": kernel.CLAMP}
MAX_DEGREE = 15
MAX_ORDER = 3  # of derivatives: second-order losses need no more


@dataclass(frozen=True, eq=False)
class BSpline:
    """B-splines of one degree on a row of knots for every input (Liu et al., section 2.4; de Boor, chapter IX).

    knots: (P, T), non-decreasing, T >= 2 degree + 2; K = T - degree - 1 functions; repeated knots are allowed.
    The domain of input p is [t_degree, t_K]; what happens outside of it is `outside`:
        "zero"    the functions as they stand: they fade to 0 over the exterior knots (pykan, the papers)
        "linear"  straight continuation with the value and slope of the edge
        "clamp"   the value of the edge
        "error"   ValueError naming the input and the point
    Conventions: spans are half open, the last one of positive width is closed; 0/0 is 0 term by term.
    """

    knots: np.ndarray
    degree: int
    outside: str = "zero"

    def __post_init__(self):
        integer(self.degree, "degree", 0, MAX_DEGREE)
        choice(self.outside, "outside", tuple(OUTSIDE))
        knots = real_array(self.knots, "knots", np.float64).copy()
        if knots.ndim != 2:
            raise ValueError(
                f"knots must have shape (inputs, knots), but it has shape {knots.shape}; use knots[None] for one input"
            )
        if knots.shape[1] < 2 * self.degree + 2:
            raise ValueError(
                f"degree {self.degree} needs at least {2 * self.degree + 2} knots for each input, but there are {knots.shape[1]}"
            )
        if (np.diff(knots) < 0).any():
            p, i = (int(k) for k in np.argwhere(np.diff(knots) < 0)[0])
            raise ValueError(
                f"knots must not decrease, but row {p} has {knots[p, i]:g} before {knots[p, i + 1]:g}; sort each row"
            )
        low, high = knots[:, self.degree], knots[:, -self.degree - 1]
        if not (low < high).all():
            p = int(np.argmin(low < high))
            raise ValueError(
                f"the domain of input {p} is empty: knots {self.degree} and {knots.shape[1] - self.degree - 1} are {low[p]:g}"
            )
        knots.flags.writeable = False
        object.__setattr__(self, "knots", knots)

    @classmethod
    def uniform(cls, inputs, intervals, degree, low=-1.0, high=1.0, outside="zero"):
        """Intervals of equal width on [low, high], continued by `degree` knots on each side as in pykan.

        low and high: numbers, or one for every input.
        """
        inputs, intervals = integer(inputs, "inputs", 1), integer(intervals, "intervals", 1, 10**7)
        degree = integer(degree, "degree", 0, MAX_DEGREE)
        low, high = (np.broadcast_to(np.asarray(e, float), inputs)[:, None] for e in (low, high))
        if not ((low < high) & np.isfinite(low) & np.isfinite(high)).all():
            raise ValueError(
                "the domain must have finite low < high for every input, "
                f"but got low = {low.ravel()}, high = {high.ravel()}"
            )
        steps = np.arange(-degree, intervals + degree + 1)
        knots = ((intervals - steps) * low + steps * high) / intervals
        knots[:, [degree, degree + intervals]] = np.hstack([low, high])  # the quotient may miss them by a rounding
        return cls(knots, degree, outside)

    @property
    def size(self):
        """K, the number of functions for each input."""
        return self.knots.shape[1] - self.degree - 1

    @property
    def window(self):
        """degree + 1."""
        return self.degree + 1

    @property
    def inputs(self):
        return self.knots.shape[0]

    @property
    def intervals(self):
        """Number of spans in the domain, empty ones included."""
        return self.size - self.degree

    @property
    def domain(self):
        """(P, 2): where the functions sum to one."""
        return self.knots[:, [self.degree, -self.degree - 1]]

    @cached_property
    def steps(self):
        """(P,) spacing of rows that are uniform to rounding, 0 for the others: those take the kernels' general path."""
        T = self.knots.shape[1]
        h = (self.knots[:, -1] - self.knots[:, 0]) / (T - 1)
        even = self.knots[:, :1] + h[:, None] * np.arange(T)
        off = np.abs(self.knots - even).max(1)
        return np.where(off <= 8 * np.finfo(float).eps * np.abs(self.knots).max(1), h, 0.0)

    @cached_property
    def _arrays(self):
        """What the kernels take, in both precisions."""
        return {dtype: (self.knots.astype(dtype), self.steps.astype(dtype)) for dtype in (np.float64, np.float32)}

    def kernel_arguments(self, dtype):
        """knots, steps, window, policy for the kernels."""
        return *self._arrays[np.dtype(dtype).type], (0,) * self.window, OUTSIDE[self.outside]

    def pieces(self, dtype):
        """The functions as polynomials between their knots: breaks (P, T+2), origin, first (P, T+1), A (P, T+1, d+1, d+1).

        Piece s is breaks[s] <= x < breaks[s+1]; on it b_{first+i}(x) = sum_m A[m,i] (x - origin)^m for i = 0..d, all other
        functions are zero. Pieces outside the domain follow the policy ("error" like "clamp").
        """
        return self._pieces[np.dtype(dtype).type]

    @cached_property
    def _pieces(self):
        (P, T), J, policy = self.knots.shape, self.window, OUTSIDE[self.outside]
        origin, first, A = np.zeros((P, T + 1)), np.zeros((P, T + 1), np.int64), np.zeros((P, T + 1, J, J))
        kernel.piece_table(self.knots.copy(), (0,) * J, policy, origin, first, A)
        found = {}
        for dtype, (t, _) in self._arrays.items():
            end = t[:, -1:] if policy == kernel.ZERO else t[:, self.size, None]
            closed = np.where(t == end, np.nextafter(end, dtype(np.inf)), t)  # the last interval contains its right end
            breaks = np.pad(closed, ((0, 0), (1, 1)), constant_values=(-np.inf, np.inf))
            found[dtype] = breaks, origin.astype(dtype), first, A.astype(dtype)
        return found

    def require_inside(self, x):
        """ValueError if the policy is "error" and a point of x (N, P) lies outside the domain."""
        if self.outside != "error":
            return
        low, high = self.domain.T
        bad = ~((low <= x) & (x <= high))
        if bad.any():
            n, p = (int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"x[{n}, {p}] = {x[n, p]:g} lies outside the domain [{low[p]:g}, {high[p]:g}] of its B-splines; "
                'widen the knots, scale the data, or choose outside="linear", "clamp" or "zero"'
            )

    def derivatives(self, x, order):
        """The degree + 1 functions that may differ from zero at x (N, P) and their derivatives 0..order <= 3."""
        integer(order, "order", 0, MAX_ORDER)
        self.require_inside(x)
        first = np.empty(x.shape, np.int64)
        values = np.empty((order + 1, *x.shape, self.window), x.dtype)
        t, h, window, policy = self.kernel_arguments(x.dtype)
        kernel.basis_table(x, t, h, window, order, policy, first, values)
        return first, values

    def select(self, inputs):
        """The same functions on some of the inputs."""
        return BSpline(self.knots[inputs], self.degree, self.outside)

    def dense(self, x, order=0):
        """All K functions' derivative of one order at x (N, P): (N, P, K)."""
        first, values = self.derivatives(x, order)
        B = np.zeros((*x.shape, self.size), x.dtype)
        np.put_along_axis(B, first[..., None] + np.arange(self.window), values[order], -1)
        return B


# -------------------------------------------------------------------------------------------------- one function


@dataclass(frozen=True, eq=False)
class Pointwise:
    """A basis of one function f(x), given with its derivatives: the base functions b(x) of the paper, and input maps.

    functions: f, f', f'', f''' as callables of an array; f''' is used only by derivatives of second-order losses.
    """

    name: str
    functions: tuple = field(repr=False)

    size = window = 1

    def __post_init__(self):
        if not callable(getattr(self.functions, "__getitem__", None)) or not all(map(callable, self.functions)):
            raise TypeError(
                f"functions of {self.name!r} must be a tuple of callables (f, f', f'', f'''), but it is {self.functions!r}"
            )

    def derivatives(self, x, order):
        """first = 0 and values (order+1, N, P, 1)."""
        if order >= len(self.functions):
            raise ValueError(
                f"base function {self.name!r} has derivatives up to order {len(self.functions) - 1}, but order {order} is "
                "needed here; give it one callable for each order"
            )
        values = np.stack([np.broadcast_to(f(x), x.shape) for f in self.functions[: order + 1]], dtype=x.dtype)
        return np.zeros(x.shape, np.int64), values[..., None]

    def select(self, inputs):
        """Itself: it is the same for every input."""
        return self


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _sigmoid_1(x):
    e = np.exp(-np.abs(x))
    return e / (1 + e) ** 2


def _sigmoid_2(x):
    return -_sigmoid_1(x) * np.tanh(x / 2)


def _sigmoid_3(x):
    return _sigmoid_1(x) * (1 - 6 * _sigmoid_1(x))


silu = Pointwise(
    "silu",
    (
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) + x * _sigmoid_1(x),
        lambda x: 2 * _sigmoid_1(x) + x * _sigmoid_2(x),
        lambda x: 3 * _sigmoid_2(x) + x * _sigmoid_3(x),
    ),
)
identity = Pointwise("identity", (lambda x: x, np.ones_like, np.zeros_like, np.zeros_like))
zero = Pointwise("zero", (np.zeros_like,) * 4)


def _tanh_1(x):
    return 4 * _sigmoid_1(2 * x)  # 1 - tanh^2 cancels where tanh saturates


tanh = Pointwise(
    "tanh",
    (
        np.tanh,
        _tanh_1,
        lambda x: -2 * np.tanh(x) * _tanh_1(x),
        lambda x: _tanh_1(x) * (6 * np.tanh(x) ** 2 - 2),
    ),
)
sin = Pointwise("sin", (np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)))
sigmoid = Pointwise("sigmoid", (_sigmoid, _sigmoid_1, _sigmoid_2, _sigmoid_3))

BASE_FUNCTIONS = {f.name: f for f in (silu, identity, zero, tanh, sin, sigmoid)}


@dataclass(frozen=True, eq=False)
class MinMax:
    """The affine map of [low_p, high_p] onto [-1, 1] for every input p; an input map like `tanh` or `sigmoid`."""

    low: np.ndarray
    high: np.ndarray

    size = window = 1

    def __post_init__(self):
        low, high = (
            real_array(np.atleast_1d(e), name, np.float64) for e, name in ((self.low, "low"), (self.high, "high"))
        )
        if low.shape != high.shape or low.ndim != 1 or not (low < high).all():
            raise ValueError(
                f"low and high must be vectors of one length with low < high, but they are {low} and {high}; drop constant inputs"
            )
        object.__setattr__(self, "low", low.copy())
        object.__setattr__(self, "high", high.copy())

    def derivatives(self, x, order):
        slope = (2 / (self.high - self.low)).astype(x.dtype)
        values = np.zeros((order + 1, *x.shape, 1), x.dtype)
        values[0, ..., 0] = (x - self.low.astype(x.dtype)) * slope - 1
        values[1:2, ..., 0] = slope
        return np.zeros(x.shape, np.int64), values

    def select(self, inputs):
        """The map of some of the inputs."""
        return MinMax(self.low[inputs], self.high[inputs])


# ------------------------------------------------------------------------------------------------- dense: Chebyshev


@dataclass(frozen=True)
class Chebyshev:
    """T_0, ..., T_degree at s = tanh x: T_{j+1} = 2 s T_j - T_{j-1}, on Taylor coefficients.

    The recurrence stays finite where arccos of a saturated tanh does not.
    """

    degree: int

    def __post_init__(self):
        integer(self.degree, "degree", 0, 1000)

    @property
    def size(self):
        return self.degree + 1

    window = size

    def derivatives(self, x, order):
        factorial = np.array([math.factorial(m) for m in range(order + 1)], x.dtype).reshape(-1, 1, 1)
        s = tanh.derivatives(x, order)[1][..., 0] / factorial
        product = lambda a, b: np.stack([sum(a[j] * b[m - j] for j in range(m + 1)) for m in range(order + 1)])
        T = [np.zeros_like(s), s]
        T[0][0] = 1
        while len(T) < self.size:
            T.append(2 * product(s, T[-1]) - T[-2])
        return np.zeros(x.shape, np.int64), np.stack(T[: self.size], -1) * factorial[..., None]

    def select(self, inputs):
        """Itself: it is the same for every input."""
        return self
