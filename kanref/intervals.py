"""Interval arithmetic with outward rounding: every result contains all that exact arithmetic could give.

    x = Interval(low, high)      arrays of one shape, low <= high
    x + y, x - y, -x, x * y, x.sum(axis), x.hull(y), x.meet(y)

IEEE operations are exact to half a unit in the last place, so one step of `nextafter` outwards is enough after each (Moore,
Kearfott and Cloud, Introduction to Interval Analysis, 2009). Numbers and arrays stand for intervals of one point.
"""

from dataclasses import dataclass

import numpy as np


def down(x):
    """The next number below."""
    return np.nextafter(x, -np.inf)


def up(x):
    """The next number above."""
    return np.nextafter(x, np.inf)


@dataclass(frozen=True, eq=False)
class Interval:
    """Closed intervals [low, high], entry by entry."""

    low: np.ndarray
    high: np.ndarray

    __array_ufunc__ = None  # so that array + Interval comes here

    @classmethod
    def of(cls, x):
        """x itself if it is one, else the points x."""
        return x if isinstance(x, cls) else cls(np.asarray(x, float), np.asarray(x, float))

    @property
    def shape(self):
        return self.low.shape

    @property
    def width(self):
        return up(self.high - self.low)

    @property
    def magnitude(self):
        """The largest absolute value."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def T(self):
        return Interval(self.low.T, self.high.T)

    def __getitem__(self, key):
        return Interval(self.low[key], self.high[key])

    def __neg__(self):
        return Interval(-self.high, -self.low)

    def __add__(self, other):
        other = Interval.of(other)
        return Interval(down(self.low + other.low), up(self.high + other.high))

    __radd__ = __add__

    def __sub__(self, other):
        return self + -Interval.of(other)

    def __rsub__(self, other):
        return other + -self

    def __mul__(self, other):
        other = Interval.of(other)
        with np.errstate(invalid="ignore"):
            ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        ends = np.stack(np.broadcast_arrays(*ends))
        ends = np.where(np.isnan(ends), 0.0, ends)  # 0 times infinity: the limits of 0 times what is finite
        return Interval(down(ends.min(0)), up(ends.max(0)))

    __rmul__ = __mul__

    def sum(self, axis):
        """The sum along an axis, one addition after the other."""
        total = Interval.of(np.zeros(np.delete(self.shape, axis)))
        for i in range(self.shape[axis]):
            total = total + Interval(self.low.take(i, axis), self.high.take(i, axis))
        return total

    def hull(self, other):
        """The least interval that contains both."""
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def meet(self, other):
        """What both contain; they must have it."""
        return Interval(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    def widened(self, by):
        """With every end moved outwards by at least `by` >= 0."""
        return Interval(down(self.low - by), up(self.high + by))

    def where(self, condition, other):
        """Itself where the condition holds, else the other."""
        return Interval(np.where(condition, self.low, other.low), np.where(condition, self.high, other.high))

    def contains(self, x):
        """Whether every x lies within."""
        return (self.low <= x) & (x <= self.high)
