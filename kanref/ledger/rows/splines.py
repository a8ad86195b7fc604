"""B-splines: repeated knots, tied samples, degree 0, the recursion's denominators, the matrix form."""

import numpy as np

from kanref.bases import BSpline
from kanref.conventions import half_open
from kanref.grids import knots_from_samples, update_from_samples
from kanref.ledger.row import Row
from kanref.network import kan


def dense(knots, degree, x):
    """kanref's B-splines on a row of knots at points (N,): (N, K)."""
    return BSpline(np.asarray(knots, float)[None], degree).dense(np.asarray(x, float)[:, None])[:, 0]


# ------------------------------------------------------------------------------------------------- B1: repeated knots

CLAMPED, PLACES = np.array([0, 0, 0, 0, 0.5, 1, 1, 1, 1]), np.array([0, 0.25, 0.75, 1])


def on_clamped(B):
    """B: (4, 5), the functions at PLACES."""
    return {"row sums": B.sum(1), "at 1/4": B[1]}


B1 = Row(
    number="B1",
    title="Repeated knots: B-splines on a clamped row sum to one",
    peers=("pykan", "efficient_kan", "jaxkan", "kanlib"),
    right=lambda: {"row sums": [1, 1, 1, 1], "at 1/4": [1 / 8, 19 / 32, 1 / 4, 1 / 32, 0]},
    ours=lambda: on_clamped(dense(CLAMPED, 3, PLACES)),
    derivation="""In the recursion of Cox and de Boor 0/0 is 0, term by term: a function on an empty support is 0. Then
        the functions sum to one on [t_3, t_5], both ends included. At x = 1/4 the recursion gives, by hand, 1/8, 19/32,
        1/4, 1/32, 0. pykan adds the NaN of one term to the other, valid one, and sets the sum to 0; others have no
        guard.""",
    reproduce="Cubic B-splines on the knots (0, 0, 0, 0, 1/2, 1, 1, 1, 1) at x = 0, 1/4, 3/4, 1.",
    switch="kanref.conventions.half_open(x, knots, 3), with tied=numpy.nan for a recursion without a guard",
    wrong={
        "pykan": lambda: on_clamped(half_open(PLACES, CLAMPED, 3)),
        "kanlib": lambda: on_clamped(half_open(PLACES, CLAMPED, 3, tied=np.nan)),
    },
)

# --------------------------------------------------------------------------------------------------- B2: tied samples

TIED = np.sort(np.append(np.linspace(-1, 1, 21), np.zeros(20)))
AMONG = np.array([-0.5, -0.1, 0.1, 0.5])


def tied_knots():
    """The row that every library's own rule gives without mixing: -1, -0.2, 0, 0, 0.2, 1, continued by steps of 0.4."""
    return knots_from_samples(TIED[:, None], 5, 3, rule="pykan", mix=0)[0]


def half_patched(x, t, degree):
    """The recursion of torchkan, which replaces the first of the two denominators by 1 where it is 0."""
    x = x[:, None]
    B = ((x >= t[:-1]) & (x < t[1:])).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        for d in range(1, degree + 1):
            first, second = t[d:-1] - t[: -d - 1], t[d + 1 :] - t[1:-d]
            rising = (x - t[: -d - 1]) / np.where(first == 0, 1, first) * B[:, :-1]
            B = rising + (t[d + 1 :] - x) / second * B[:, 1:]
    return B


B2 = Row(
    number="B2",
    title="Tied samples: a grid from them has repeated knots, and B-splines on it are finite",
    peers=("efficient_kan", "jaxkan", "kanlib", "torchkan", "pykan"),
    right=lambda: {"row sums": [1, 1, 1, 1]},
    ours=lambda: {"row sums": dense(tied_knots(), 3, AMONG).sum(1)},
    derivation="""Half of the samples are equal, so two knots of an adaptive grid are. That is a legal row: its
        functions are finite and sum to one between t_3 and t_8 (as in B1). A recursion without a guard gives NaN, which
        a refit hands to LAPACK; efficient-kan's process may end there. torchkan, which has no grid update and meets
        such knots only if they are given, guards one of two denominators.""",
    reproduce="""41 samples: -1, -0.9, ..., 1 and 20 more zeros. A new grid of 5 intervals, adaptive alone (mixing
        weight 0), degree 3; the functions at x = -0.5, -0.1, 0.1, 0.5.""",
    switch="kanref.conventions.half_open(x, knots, 3, tied=numpy.nan)",
    wrong={
        "kanlib": lambda: {"row sums": half_open(AMONG, tied_knots(), 3, tied=np.nan).sum(1)},
        "torchkan": lambda: {"row sums": half_patched(AMONG, tied_knots(), 3).sum(1)},
    },
)

# ------------------------------------------------------------------------------------------------------- B3: degree 0

STEPS = np.linspace(-1, 1, 5)


def degree_zero():
    net = kan([1, 1], intervals=4, degree=0)
    return {
        "built": bool(np.isfinite(net(net.init(0), np.ones((1, 1)))).all()),
        "sum at the end": dense(STEPS, 0, [1]).sum(),
    }


B3 = Row(
    number="B3",
    title="Degree 0: the right end belongs to the last interval, and such a layer is legal",
    peers=("pykan", "efficient_kan", "jaxkan", "kanlib", "torchkan"),
    right=lambda: {"built": True, "sum at the end": 1},
    ours=degree_zero,
    derivation="""Spans are half open except the last one of positive width, which is closed: otherwise the functions,
        which sum to one on [t_0, t_G], would not at t_G. For higher degrees the knots outside the domain hide that; for
        degree 0 there are none.""",
    reproduce="""Degree 0 on the knots -1, -1/2, 0, 1/2, 1: build a layer of one input and one output; the functions at
        x = 1.""",
    switch="kanref.conventions.half_open(x, knots, 0)",
    wrong={name: lambda: {"sum at the end": half_open(np.ones(1), STEPS, 0).sum()} for name in ("kanlib", "torchkan")},
)

# ---------------------------------------------------------------------------------------- B31: denominators of the recursion

UNIFORM, INSIDE = np.arange(-3.0, 8.0), np.array([0, 1 / 2, 5 / 4, 4])


def short_denominator(x, t, degree):
    """The recursion with t_{i+1} - t_i for t_{i+d} - t_i in its first term."""
    x = x[:, None]
    B = ((x >= t[:-1]) & (x < t[1:])).astype(float)
    for d in range(1, degree + 1):
        first, second = t[1:-d] - t[: -d - 1], t[d + 1 :] - t[1:-d]
        B = (x - t[: -d - 1]) / first * B[:, :-1] + (t[d + 1 :] - x) / second * B[:, 1:]
    return B


def between(B):
    """B: (4, 7), the functions at INSIDE."""
    return {"row sums": B.sum(1), "at 0": B[0]}


B31 = Row(
    number="B31",
    title="The recursion's denominators: B-splines sum to one on the domain",
    peers=("KAN-Tutorial",),
    right=lambda: {"row sums": [1, 1, 1, 1], "at 0": [1 / 6, 4 / 6, 1 / 6, 0, 0, 0, 0]},
    ours=lambda: between(dense(UNIFORM, 3, INSIDE)),
    derivation="""B_{i,d} = (x - t_i)/(t_{i+d} - t_i) B_{i,d-1} + (t_{i+d+1} - x)/(t_{i+d+1} - t_{i+1}) B_{i+1,d-1}.
        Each B_{j,d-1} is shared out to B_{j,d} and B_{j-1,d} with shares that sum to one, hence so do the functions. At
        an integer knot of integer knots they are 1/6, 4/6, 1/6. With t_{i+1} - t_i below the first term, which is right
        for d = 1 only, they are too large; to the question why they do not sum to one, the author's answer is that they
        need not (pg2455/KAN-Tutorial#4).""",
    reproduce="Cubic B-splines on the knots -3, -2, ..., 7 at x = 0, 1/2, 5/4, 4.",
    wrong={"KAN-Tutorial": lambda: between(short_denominator(INSIDE, UNIFORM, 3))},
)

# ----------------------------------------------------------------------------------------- B34: the matrix form of a row

CROWDED = 2 * (np.arange(97) / 96) ** 2 - 1
SHOWN = np.array([-0.9, -0.5, 0, 0.5, 0.9])


def cubic(t):
    """Coefficients of x^3 - x/2 in cubic B-splines on t: its blossom at (t_{i+1}, t_{i+2}, t_{i+3}) (Marsden's identity)."""
    a, b, c = t[1:-3], t[2:-2], t[3:-1]
    return a * b * c - (a + b + c) / 6


def curve(x):
    return x**3 - x / 2


def updated():
    net = kan([1, 1], base="zero")
    theta = cubic(BSpline.uniform(1, 5, 3).knots[0])
    net, theta, _ = update_from_samples(net, theta, CROWDED[:, None], rule="pykan")
    return {"curve after the update": net(theta, SHOWN[:, None])[:, 0]}


def uniform_matrix():
    """The refit on the true knots, evaluated by the matrix of a uniform row and equal steps, as MatrixKAN does."""
    t = knots_from_samples(CROWDED[:, None], 5, 3, rule="pykan")[0]
    h, s = (t[8] - t[3]) / 5, np.searchsorted(t, SHOWN, "right") - 1
    u = (SHOWN - (t[0] + s * h)) / h
    pieces = np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3]) / 6
    return {"curve after the update": sum(piece * cubic(t)[s - 3 + j] for j, piece in enumerate(pieces))}


B34 = Row(
    number="B34",
    title="The matrix form of B-splines holds on uniform knots only; a grid update leaves them",
    peers=("matrixkan", "pykan"),
    right=lambda: {"curve after the update": curve(SHOWN)},
    ours=updated,
    derivation="""x^3 - x/2 is a cubic spline on every row of knots (Marsden's identity), so a refit on new knots that
        cover the samples returns it exactly. The new knots are not uniform: the default mix takes 98 % from the
        samples' quantiles. The matrix of the uniform cubic B-splines, with equal steps, then evaluates another function
        than was fitted.""",
    reproduce="""One edge, G = 5, degree 3, coefficients of x^3 - x/2; grid update from the samples 2 (i/96)^2 - 1, i =
        0..96, with the library's defaults; the curve at x = -0.9, -0.5, 0, 0.5, 0.9.""",
    wrong={"matrixkan": uniform_matrix},
    tolerance=1e-6,
)

ROWS = (B1, B2, B3, B31, B34)
