"""Exact numbers for references: drawn inputs, 50 digits, complex steps, linear systems; and how routes confirm each other.

Inputs are dyadic rationals of few bits, so that float64 and float32 hold them exactly and every run of an implementation
has the same problem to solve. They come from a congruential generator of integers, the same on every machine.
"""

from fractions import Fraction
from zlib import crc32

import mpmath
import numpy as np

MP = mpmath.MPContext()  # a context of its own: nobody's digits change
MP.dps = 50
STEP = MP.mpf(10) ** -30  # of complex steps: errors of 1e-60


class Disagreement(AssertionError):
    """Two routes to a reference value that do not meet."""


class Draw:
    """Seeded dyadic numbers n / 2^bits, from Knuth's 64-bit congruential generator."""

    def __init__(self, *seed):
        self.state = crc32(repr(seed).encode())

    def integer(self, low, high):
        """From low to high - 1."""
        self.state = (6364136223846793005 * self.state + 1442695040888963407) % 2**64
        return low + (self.state >> 33) % (high - low)

    def __call__(self, *shape, low=-1, high=1, bits=8):
        """An array of Fractions in [low, high)."""
        size, unit = int(np.prod(shape, dtype=int)), 2**bits
        a = np.array([Fraction(self.integer(int(low * unit), int(high * unit)), unit) for _ in range(size)], object)
        return a.reshape(shape)


def converted(part, number):
    """Nested dictionaries, lists and arrays with every Fraction as another kind of number."""
    if isinstance(part, dict):
        return {key: converted(value, number) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [converted(value, number) for value in part]
    if isinstance(part, np.ndarray):
        numbers = [converted(value, number) for value in part.ravel().tolist()]
        return np.array(numbers, float if number is float else object).reshape(part.shape)
    return number(part) if isinstance(part, Fraction) else part


def digits(value):
    """A Fraction to 50 digits; dyadic ones stay exact."""
    return MP.mpf(value.numerator) / value.denominator


def rational(value):
    """An int, float, Fraction or mpmath number as the Fraction that it is."""
    return Fraction(*mpmath.libmp.to_rational(value._mpf_)) if hasattr(value, "_mpf_") else Fraction(value)


def rationals(a):
    """An array of any numbers as Fractions; what is below 1e-25 of the largest entry is the 0 that rounding missed."""
    a = np.asarray(a)
    exact = [rational(value) for value in a.ravel().tolist()]
    least = max(map(abs, exact), default=0) / 10**25
    return np.array([Fraction(0) if abs(v) < least else v for v in exact] + [None], object)[:-1].reshape(a.shape)


def floats(a):
    """An array of exact numbers, correctly rounded."""
    return np.array([float(value) for value in rationals(a).ravel()]).reshape(np.shape(a))


def complex_step(f, theta):
    """d f / d theta_k for a function of a vector of mpmath numbers: (size, ...), to all 50 digits."""
    moved = (theta + STEP * MP.j * e for e in np.eye(len(theta), dtype=int).astype(object))
    return np.array([imaginary(f(t)) / STEP for t in moved], object)


def imaginary(values):
    """Imaginary parts; 0 for what has stayed real."""
    part = lambda value: value.imag if hasattr(value, "imag") else 0
    return np.array([part(v) for v in np.ravel(values).tolist()] + [None], object)[:-1].reshape(np.shape(values))


def solved(A, B):
    """X with A X = B in exact rationals, by elimination: A (n, n), B (n, m)."""
    rows = [[*map(Fraction, a), *map(Fraction, b)] for a, b in zip(A, B)]
    n = len(rows)
    for k in range(n):
        pivot = next(i for i in range(k, n) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [c / rows[k][k] for c in rows[k]]
        for i in range(n):
            if i != k and rows[i][k]:
                rows[i] = [c - rows[i][k] * d for c, d in zip(rows[i], rows[k])]
    return np.array([row[n:] for row in rows], object)


def confirm(what, reference, other, tolerance=1e-12):
    """Raises `Disagreement` unless two routes meet, relative to the largest entry; tolerance 0 asks for equal numbers."""
    reference, other = rationals(reference), np.asarray(other)
    if reference.shape != other.shape:
        raise Disagreement(f"{what}: shapes {reference.shape} and {other.shape}")
    error = max((abs(a - rational(b)) for a, b in zip(reference.ravel(), other.ravel().tolist())), default=0)
    if error > Fraction(tolerance) * max(map(abs, reference.ravel()), default=0):
        raise Disagreement(f"{what}: two routes differ by {float(error):.1e}")
