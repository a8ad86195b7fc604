"""A spline edge as what it is: a piecewise polynomial, exact.

Knots and coefficients are floating-point numbers, that is, rational numbers; so are the coefficients of every piece, and
`fractions` computes them without rounding, by de Boor's algorithm on polynomials (de Boor, A Practical Guide to Splines,
X (8)):

    c_i <- (1 - w) c_{i-1} + w c_i,    w = (x - t_i)/(t_{i+d+1-r} - t_i),    r = 1..d,    i = j-d+r..j,

with x = t_j + s on the span [t_j, t_{j+1}); what remains is the piece as a polynomial in s.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from kanref.arrays import integer
from kanref.bases import BSpline
from kanref.terms import Linear


@dataclass(frozen=True)
class PiecewisePolynomial:
    """Pieces on (-inf, b_0), [b_0, b_1), ..., [b_{m-1}, b_m], (b_m, inf) for breaks b_0 < ... < b_m.

    breaks: m + 1 fractions; coefficients: m + 2 rows of fractions (c_0, c_1, ...), the piece sum_i c_i (x - b)^i with b the
    break at its left end (b_0 for the first). A piece without coefficients is undefined: NaN.
    p(x): values at an array of any shape, accurate to a few roundings. p.sympy(x): a sympy Piecewise.
    """

    breaks: tuple[Fraction, ...]
    coefficients: tuple[tuple[Fraction, ...], ...]

    def __call__(self, x):
        x = np.asarray(x, np.float64)
        breaks = np.array([float(b) for b in self.breaks])
        most = max(map(len, self.coefficients))
        table = np.array([[float(c) for c in row] + [0.0] * (most - len(row)) for row in self.coefficients])
        table[[not row for row in self.coefficients]] = np.nan
        piece = np.searchsorted(breaks, x, "right")
        piece = np.where(x == breaks[-1], len(breaks) - 1, piece)  # the last interval is closed
        s = x - breaks[np.maximum(piece - 1, 0)]
        y = np.zeros_like(s)
        for i in reversed(range(most)):
            y = y * s + table[piece, i]
        return y

    def derivative(self):
        """The derivative, piece by piece."""
        rows = (tuple(i * c for i, c in enumerate(row))[1:] or row and (Fraction(0),) for row in self.coefficients)
        return PiecewisePolynomial(self.breaks, tuple(rows))

    def sympy(self, x):
        """A sympy Piecewise in the expression x; its numbers are the nearest floating-point ones."""
        import sympy

        left = (self.breaks[0], *self.breaks)
        end = len(self.breaks) - 1
        pieces = []
        for j, (row, b) in enumerate(zip(self.coefficients, left)):
            s = x - number(b)
            value = sympy.Add(*(number(c) * s**i for i, c in enumerate(row))) if row else sympy.nan
            below = sympy.true if j > end else x <= number(self.breaks[j]) if j == end else x < number(self.breaks[j])
            pieces.append((value, below))
        return sympy.Piecewise(*pieces)


def piecewise(net, theta, l, q, p):
    """The spline part of edge (q, p) of layer l as an exact `PiecewisePolynomial`.

    A function of what the layer's terms see: its input x_p, after the input map if the layer has one. The base branch is
    the other part of the edge; `formula(..., missing="piecewise")` writes both. The outside policy becomes the two
    outer pieces: "zero" keeps the exterior knots as breaks, "linear" and "clamp" continue the edges, "error" is undefined.
    Raises ValueError if the edge has no spline, or more than one.
    """
    layer = net.layers[integer(l, "l", 0, len(net.layers) - 1)]
    q, p = integer(q, "q", 0, layer.sums - 1), integer(p, "p", 0, layer.inputs - 1)
    views = net.split(net.vector(theta))
    found = []
    for name, term in layer.terms.items():
        if isinstance(term, Linear) and isinstance(term.basis, BSpline):
            W = term.weights.tensor({array: views[f"{l}.{name}.{array}"] for array in term.arrays})
            found.append(spline_pieces(term.basis, p, W[q, p]))
    if len(found) != 1:
        raise ValueError(
            f"edge ({q}, {p}) of layer {l} must have one spline term to be exported, but it has {len(found)}"
        )
    return found[0]


def spline_pieces(basis, p, c):
    """sum_i c_i B_i on the knots of input p of a `BSpline`, as a `PiecewisePolynomial`."""
    d, K = basis.degree, basis.size
    t = [Fraction(float(e)) for e in basis.knots[p]]
    c = [Fraction(float(e)) for e in c]
    low, high = (0, len(t) - 1) if basis.outside == "zero" else (d, K)
    spans = [j for j in range(low, high) if t[j] < t[j + 1]]
    rows = [span_polynomial(t, c, d, j) for j in spans]
    breaks = (*(t[j] for j in spans), t[high])
    last = breaks[-1] - breaks[-2]
    ends = outer(basis.outside, rows[0], 0), outer(basis.outside, rows[-1], last)
    return PiecewisePolynomial(breaks, (ends[0], *rows, ends[1]))


def span_polynomial(t, c, d, j):
    """(c_0, ..., c_d) of the spline in s = x - t_j on [t_j, t_{j+1}); functions that do not exist count as zero."""
    knot = lambda i: t[0] + i if i < 0 else t[-1] + (i - len(t) + 1) if i >= len(t) else t[i]
    P = {i: [c[i] if 0 <= i < len(c) else Fraction(0)] for i in range(j - d, j + 1)}
    for r in range(1, d + 1):
        for i in range(j, j - d + r - 1, -1):
            width = knot(i + d + 1 - r) - knot(i)
            constant, slope = (t[j] - knot(i)) / width, 1 / width
            step = [a - b for a, b in zip(P[i], P[i - 1])]
            P[i] = [
                b + constant * s + slope * below for b, s, below in zip([*P[i - 1], 0], [*step, 0], [0, *step])
            ]  # P_{i-1} + w (P_i - P_{i-1})
    return tuple(P[j])


def outer(outside, row, width):
    """The piece beyond the end at distance `width` from the start of the outermost piece `row`, in powers of x - end."""
    if outside == "error":
        return ()
    if outside == "zero":
        return (Fraction(0),)
    value = sum((c * width**i for i, c in enumerate(row)), Fraction(0))
    slope = sum((i * c * width ** (i - 1) for i, c in enumerate(row) if i), Fraction(0))
    return (value, slope) if outside == "linear" else (value,)


def number(value):
    """A number as sympy has it: an Integer if it is one, else a Float, all bits of which are `value`'s."""
    import sympy

    value = float(value)
    return sympy.Integer(int(value)) if value.is_integer() and abs(value) < 2**53 else sympy.Float(value)
