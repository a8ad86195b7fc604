"""The best  c f(a x + b) + d  for samples (x, y): which of many functions an edge is, and with what numbers.

pykan scans a and b over [-10, 10]^2 and zooms in three times (`scan`). Here the search follows the function and the data:

1. Samples are mapped to t in [-1, 1] and v of mean zero, so that units of x and y do not matter.
2. f is asked for its symmetries (`symmetries`): if f(u + s), f(s u) or f(-u) is an affine map of f(u), as for exp, x^2
   and tanh, then a, b and c, d say the same thing twice, and a parameter can be dropped.
3. A start from everywhere: the interval [b - a, b + a] that t is mapped to runs over pairs of points of a row that is
   dense near the origin, where functions bend, and near the ends of the domain, where they are singular. Functions that
   repeat run over frequencies instead. An interval lies in one piece of the domain: 1/x is never fitted across its pole.
4. c and d are linear and are eliminated (variable projection); a and b are polished from the best few starts by
   Levenberg-Marquardt, first on some samples, then the best on all, down to rounding.

R^2 = 1 - sum (y - fit)^2 / sum (y - mean y)^2 has no absolute scale in it and is never above 1.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kanref.arrays import real_array
from kanref.functions import REALS, Function

PICKED = 80  # samples, of evenly spaced ranks, that see every start
OSCILLATING = 200  # the same for functions that repeat,
FREQUENCIES = math.pi * OSCILLATING / 4  # and the largest a of a start, half of what so many even samples resolve
STARTS = 8  # starts that are polished
APART = 3  # and how many steps of their rows they are apart, so that they are not all on one hill
NEAR = 4.0  # every start sees some of [-NEAR, NEAR]
FLAT = 1e-7  # a curve whose spread is below this part of its size is of no use: c f would cancel against d
SAME = 1e-9  # relative error up to which two curves are affine maps of each other
LARGE = 600.0  # |a x| up to which e^(a x) needs no shift
ABSOLUTE = 1e-4  # pykan's number beside the product of two sums of squares


@dataclass(frozen=True)
class Fit:
    """c f(a x + b) + d and its R^2 on the samples it was fitted to."""

    function: Function
    a: float
    b: float
    c: float
    d: float
    r2: float

    def __call__(self, x):
        """The fitted curve at x; NaN outside the function's domain."""
        return self.c * self.function(self.a * np.asarray(x, float) + self.b) + self.d

    @property
    def affine(self):
        """(a, b, c, d), a row of `Symbolic`'s array."""
        return np.array([self.a, self.b, self.c, self.d])


def r_squared(f, y, absolute=0.0):
    """R^2 of the best c f + d for samples y, from the values f, both (N,):

        (sum (f - mean f) (y - mean y))^2 / (sum (f - mean f)^2 sum (y - mean y)^2 + absolute)

    pykan's absolute is 1e-4, which makes it depend on units and the number of samples: for a perfect fit it is
    v / (v + 1e-4), v the product of the two sums. Without it the value is never above 1 and has no scale. 0 for constants.
    """
    f, y = f - f.mean(), y - y.mean()
    size = (f @ f) * (y @ y) + absolute
    return min(1.0, float((f @ y) ** 2 / size)) if size > 0 else 0.0


def scan(function, x, y, *, reach=10.0, count=101, rounds=3, absolute=ABSOLUTE, stays=False):
    """What pykan finds in place of `fit_affine`: a `Fit` whose r2 is `r_squared(f, y, absolute)`, the largest on a grid.

    a and b run over count x count numbers in [-reach, reach]^2, then, `rounds` times in all, between the neighbours of the
    best; where that lies at an end of a's or b's range, over the two last numbers of it, and the other range stays, as in pykan
    0.2.8, or both stay as they are (stays=True, pykan 0.0). c and d by least squares. A pair (a, b) for which f is not finite
    at some sample counts as R^2 = 0. Of equal values rounding chooses, as for sin between (a, b) and (-a, -b): the curve is the
    same. This is slow, and `reach` and `absolute` have the units of x and y.
    """
    ends, v = [(-reach, reach), (-reach, reach)], y - y.mean()
    for _ in range(rounds):
        rows = [np.linspace(low, high, count) for low, high in ends]
        r2 = np.stack([_scores(function(a * x[:, None] + rows[1]), v, absolute) for a in rows[0]])
        best = np.unravel_index(np.argmax(r2), r2.shape)
        edge = [i in (0, count - 1) for i in best]
        near = [row[[max(i - 1, 0), min(i + 1, count - 1)]] for row, i in zip(rows, best)]
        if not any(edge):
            ends = near
        elif not stays:
            ends = [new if at else old for new, old, at in zip(near, ends, edge)]
    a, b = (float(row[i]) for row, i in zip(rows, best))
    f = np.nan_to_num(function(a * x + b))
    g = f - f.mean()
    c = float(g @ v / (g @ g)) if g.any() else 0.0
    return Fit(function, a, b, c, float(y.mean() - c * f.mean()), float(r2[best]))


def _scores(f, v, absolute):
    """R^2 of every column of f (N, B), for v of mean zero."""
    with np.errstate(all="ignore"):
        f = f - f.mean(0)
        r2 = (v @ f) ** 2 / ((f**2).sum(0) * (v @ v) + absolute)
    return np.where(np.isfinite(r2), r2, 0.0)


@dataclass(frozen=True)
class Symmetries:
    """Which of u -> -u, u + s, s u leave f the same up to an affine map of its values; the period, of such a kind too.

    constant, steps: whether f, or f' where f jumps, is zero throughout.
    """

    constant: bool
    steps: bool
    flip: bool
    shift: bool
    scale: bool
    period: float | None

    @property
    def parameters(self):
        """How many of a and b change the shape of the curve: 0 for x, 1 for powers, exp and log, 2 for most."""
        return 0 if self.constant else 2 - self.shift - self.scale


@lru_cache(maxsize=256)
def symmetries(function):
    """The `Symmetries` of a function, found by trying them at points of its domain."""
    u = np.concatenate([row[(np.abs(row) < 5) & np.isfinite(row)] for row in _rows(function)])
    f, slope = function.derivatives(u, 1)
    keep = np.isfinite(f) & np.isfinite(slope)
    u, f, slope = u[keep], f[keep], slope[keep]
    same = lambda moved: _affine_maps(f, function(moved))
    turns = [turn for turn in (math.pi, 2 * math.pi) if function.domain == REALS and same(u + turn)]
    shift = same(u + 0.7)
    return Symmetries(
        constant=np.ptp(f) == 0,
        steps=not slope.any(),
        flip=same(-u),
        shift=shift,
        scale=same(0.6 * u),
        period=turns[0] if turns and not shift else None,
    )


def _affine_maps(f, g):
    """Whether g = c f + d to rounding, at enough points where both are finite."""
    both = np.isfinite(f) & np.isfinite(g)
    if both.sum() < 6:
        return False
    A = np.stack([f[both], np.ones(both.sum())], 1)
    A /= np.abs(A).max(0, initial=1e-300)
    rest = g[both] - A @ np.linalg.lstsq(A, g[both], rcond=None)[0]
    return bool(np.abs(rest).max() <= SAME * np.ptp(g[both]))


# ------------------------------------------------------------------------------------------------------- starts


def _rows(function):
    """For every piece of the domain: the points between which the argument may run, rising."""
    near = np.geomspace(1e-6, 1, 19)
    far = np.concatenate([np.arange(2.0, 13.0), np.arange(14.0, 41.0, 2)])
    half_line = np.concatenate([[0.0], near, far])
    ends = np.geomspace(1e-7, 0.05, 13)
    crowd = np.concatenate([[0.0], ends, np.linspace(0.1, 0.9, 17), 1 - ends[::-1], [1.0]])
    for low, high in function.domain:
        if low == -math.inf and high == math.inf:
            yield np.concatenate([-far[::-1][:-3], np.linspace(-4, 4, 17), far[3:]])
        elif high == math.inf:
            yield low + half_line
        elif low == -math.inf:
            yield high - half_line[::-1]
        else:
            yield low + (high - low) * crowd


@lru_cache(maxsize=256)
def _starts(function):
    """Pairs (a, b) to begin with, for samples in [-1, 1], (C, 2); and where they stand in their rows, (C, 2)."""
    own = symmetries(function)
    if own.parameters == 0:
        starts, at = _pairs([1.0], [0.0])
    elif own.period:
        starts, at = _pairs(np.arange(0.1, FREQUENCIES, 0.6), own.period * np.arange(4) / 4)
        at[:, 1] = 0  # phases of one frequency are neighbours
    elif own.shift:
        starts, at = _pairs(np.geomspace(0.01, 60, 60), [0.0])
    elif own.scale:
        gaps = np.concatenate([[0.0], np.geomspace(1e-8, 1e4, 73)])
        starts, at = _pairs([1.0], np.concatenate([-1 - gaps[::-1], np.linspace(-1, 1, 41)[1:-1], 1 + gaps]))
    else:
        starts, at = (np.concatenate(parts) for parts in zip(*map(_intervals, _rows(function))))
        if function.domain == REALS:  # far from the origin functions only decay, or grow as others do
            near = np.abs(starts[:, 1]) - starts[:, 0] <= NEAR
            starts, at = starts[near], at[near]
    if not own.flip:
        starts, at = np.concatenate([starts, starts * [-1, 1]]), np.concatenate([at, at + 1e6])
    allowed = _in_one_piece(function, starts)
    return starts[allowed], at[allowed]


def _intervals(row):
    """(a, b) for which [b - a, b + a] runs between two points of a row, or is short and begins at one; and which."""
    i, j = np.triu_indices(len(row), 1)
    low, high = np.append(row[i], row[:-1]), np.append(row[j], row[:-1] + np.diff(row) / 8)
    first = np.arange(len(row) - 1)
    at = np.concatenate([np.stack([i, j], 1), np.stack([first, first + 0.125], 1)])
    return np.stack([(high - low) / 2, (high + low) / 2], 1), at


def _pairs(a, b):
    """All pairs (a, b), (C, 2), and their indices, (C, 2)."""
    pairs, at = (np.meshgrid(*axes, indexing="ij") for axes in ((a, b), (np.arange(len(a)), np.arange(len(b)))))
    return np.stack([part.ravel() for part in pairs], 1), np.stack([part.ravel() for part in at], 1)


def _in_one_piece(function, P):
    """Whether the interval b -+ a of each row (a, b) lies in one piece of the domain, ends included."""
    ends = P[:, 1:] + np.abs(P[:, :1]) * [-1, 1]
    if function.domain == REALS:
        return np.isfinite(ends).all(1)
    low, high = function.pieces(ends).T
    return (low >= 0) & (low == high)


def _best_starts(function, t, v):
    """The best few starts that are apart from each other, (B, 2)."""
    P, at = _starts(function)
    with np.errstate(all="ignore"):
        f = function.functions[0](P[:, :1] * t + P[:, 1:])
        size = np.abs(f).max(1)
        f = f / np.where(size > 0, size, 1)[:, None]
        f -= f.mean(1, keepdims=True)
        spread = (f**2).sum(1)
        r2 = np.where(spread > len(t) * FLAT**2, (f @ v) ** 2 / spread, -1.0)
    r2[~np.isfinite(r2)] = -1
    chosen = []
    for _ in range(STARTS):
        best = int(np.argmax(r2))
        if r2[best] < 0:
            break
        chosen.append(best)
        r2[np.abs(at - at[best]).sum(1) < APART] = -1
    return P[chosen]


# ------------------------------------------------------------------------------------------------------- polish


def _directions(own):
    """The changes of (a, b) that matter, (K, 2): both ends of the interval, a alone, b alone, or nothing."""
    if own.parameters == 2:
        return np.array([[-0.5, 0.5], [0.5, 0.5]])
    return np.array([[1.0, 0.0], [0.0, 1.0]])[[k for k, free in enumerate((not own.scale, not own.shift)) if free]]


def _state(function, directions, t, v, P):
    """For every row of P: the sum of squares after c and d are eliminated (inf if f is of no use there), and the
    triangular Jacobian R (B, K, K) with the right-hand side g (B, K) of the remaining least squares."""
    N, K = len(t), len(directions)
    with np.errstate(all="ignore"):
        u = P[:, :1] * t + P[:, 1:]
        f, slope = function.functions[0](u), function.functions[1](u)
        size = np.abs(f).max(1)
        usable = _in_one_piece(function, P) & (np.ptp(f, 1) > FLAT * size)
        f = np.where(usable[:, None], f / size[:, None], t)
        slope = np.where(usable[:, None] & np.isfinite(slope), slope / size[:, None], 0.0)
    A = np.empty((len(P), N, 2 + K))
    A[..., 0] = 1
    A[..., 1] = f
    A[..., 2:] = slope[..., None] * (t[:, None] * directions[:, 0] + directions[:, 1])
    Q, R = np.linalg.qr(A)
    y = np.einsum("bnk,n->bk", Q, v)
    c = y[:, 1] / R[:, 1, 1]
    rest = v - np.einsum("bnk,bk->bn", Q[..., :2], y[:, :2])
    squares = np.where(usable, (rest**2).sum(1), np.inf)
    return squares, c[:, None, None] * R[:, 2:, 2:], y[:, 2:]


def _polish(function, own, t, v, P, rounds):
    """Levenberg-Marquardt from every row of P (B, 2) at once: P and the sums of squares, the best first."""
    directions = _directions(own)
    squares, R, g = _state(function, directions, t, v, P)
    damping, idle = np.full(len(P), 1e-3), np.zeros(len(P), int)
    for _ in range(rounds if len(directions) else 0):
        H = R.swapaxes(1, 2) @ R
        diagonal = np.einsum("bkk->bk", H)
        diagonal = np.maximum(diagonal, 1e-30 * diagonal.max(1, keepdims=True)) + 1e-300
        s = 1 / np.sqrt(diagonal)  # columns of length one: the damping is then in proportion
        H = s[:, :, None] * H * s[:, None, :] + damping[:, None, None] * np.eye(len(directions))
        step = s * np.linalg.solve(H, (s * np.einsum("bjk,bj->bk", R, g))[..., None])[..., 0]
        moved = _into_domain(function, P, P + step @ directions)
        new = _state(function, directions, t, v, moved)
        better = new[0] < squares
        idle = np.where(new[0] < (1 - 1e-3) * squares, 0, idle + 1)
        damping = np.clip(np.where(better, damping / 10, damping * 8), 1e-15, 1e15)
        P = np.where(better[:, None], moved, P)
        squares = np.where(better, new[0], squares)
        R, g = np.where(better[:, None, None], new[1], R), np.where(better[:, None], new[2], g)
        if (idle >= 3).all():
            break
    order = np.argsort(squares, kind="stable")
    return P[order], squares[order]


def _into_domain(function, P, moved):
    """Rows (a, b) whose interval b -+ a would leave a closed end of its piece, up to that end."""
    if function.domain == REALS or function.period:
        return moved
    piece = function.pieces(P[:, 1])
    low, high = np.array(function.domain)[np.maximum(piece, 0)].T
    sign, a, b = np.sign(P[:, 0]), np.abs(moved[:, 0]), moved[:, 1]
    first, last = np.clip(b - a, low, high), np.clip(b + a, low, high)
    if symmetries(function).scale:  # a is fixed
        shift = (first - (b - a)) + (last - (b + a))
        return np.stack([moved[:, 0], b + shift], 1)
    return np.stack([sign * (last - first) / 2, (last + first) / 2], 1)


def _jump(function, t, v, P):
    """The best place of a jump, for functions that are constant on both sides: between two samples, by bisection."""
    places = np.unique(t)
    low, high = 0, len(places) - 1
    while high > low:
        i = np.unique(np.linspace(low, high - 1, min(high - low, 64)).astype(int))
        candidates = np.stack([np.full(len(i), P[0, 0]), -P[0, 0] * (places[i] + places[i + 1]) / 2], 1)
        squares = _state(function, np.empty((0, 2)), t, v, candidates)[0]
        best = int(np.argmin(squares))
        if high - low <= 64:
            return candidates[best : best + 1]
        low, high = i[max(best - 1, 0)], i[min(best + 1, len(i) - 1)] + 1
    return P


# -------------------------------------------------------------------------------------------------------- the fit


def fit_affine(function, x, y):
    """Least squares of  c f(a x + b) + d  to samples x, y, both (N,): a `Fit`.

    The numbers are representatives, so that formulas read well: a > 0 if f(-u) is an affine map of f(u) (every even or
    odd f, arccos, sigmoid); a = +-1 for powers, log and abs; b = 0 for exp (unless e^(a x) overflows); b in
    (-p/2, p/2] if f(u + p) is an affine map of f(u), p = pi for sin and cos; a = 1, b = 0 for x. A constant y gives c = 0
    and r2 = 1 with every function; so does a function that never fits with c = 0 and r2 = 0.

    Raises TypeError if `function` is no `Function`, ValueError for samples that are not two finite vectors of one length.
    """
    if not isinstance(function, Function):
        raise TypeError(f"function must be a Function, as kanref.functions.LIBRARY has them, but it is {function!r}")
    x, y = (real_array(samples, name, np.float64) for samples, name in ((x, "x"), (y, "y")))
    if x.ndim != 1 or x.shape != y.shape or not x.size:
        raise ValueError(
            f"x and y must be vectors of one length, one edge's samples, but they have shapes {x.shape} and {y.shape}"
        )
    own, low, high = symmetries(function), x.min(), x.max()
    mean, centre, half = y.mean(), low / 2 + high / 2, high / 2 - low / 2
    size = np.abs(y - mean).max()
    constant = size <= 4 * np.finfo(float).eps * np.abs(y).max()
    if constant or own.constant or half <= 4 * np.finfo(float).eps * max(abs(low), abs(high)):
        return _flat(function, y.min() / 2 + y.max() / 2 if constant else mean, float(constant))
    t, v = np.clip((x - centre) / half, -1, 1), (y - mean) / size
    some = _picked(t, OSCILLATING if own.period else PICKED)
    P = _best_starts(function, t[some], v[some] - v[some].mean())
    if own.steps and len(P):
        P = _jump(function, t, v, P)
    elif len(P) and len(some) < len(t):
        P = _polish(function, own, t[some], v[some] - v[some].mean(), P, 8)[0][:1]
    if len(P):
        P, squares = _polish(function, own, t, v, P, 40)
    if not len(P) or not np.isfinite(squares[0]):
        return _flat(function, mean, 0.0)
    a, b = P[0]
    return _solved(function, *_representative(function, own, a / half, b - a * centre / half, x), x, y)


def _flat(function, d, r2):
    """No curve at all: the constant d, with an argument inside the domain."""
    u = next(point for row in _rows(function) for point in row[len(row) // 2 :])
    return Fit(function, 0.0, float(u), 0.0, float(d), r2)


def _picked(t, count):
    """Indices of samples whose ranks are evenly spaced, both ends among them."""
    order = np.argsort(t, kind="stable")
    return order if len(t) <= count else order[np.linspace(0, len(t) - 1, count).round().astype(int)]


def _representative(function, own, a, b, x):
    """One of the pairs (a, b) that give the same curve, as `fit_affine` describes."""
    if own.flip and a < 0:
        a, b = -a, -b
    if own.scale:
        a, b = a / abs(a), b / abs(a)
    if own.shift and np.abs(a * x).max() < LARGE:
        b = 0.0
    if own.period:
        b -= own.period * math.ceil(b / own.period - 0.5)
    return a, b


def _inside(function, a, b, x):
    """a and b, moved by roundings if a x + b leaves the domain by a rounding."""
    for k in range(60):
        u = a * x + b
        outside = u[function.pieces(u) < 0]
        if not len(outside):
            break
        middle, step = a * (x.min() / 2 + x.max() / 2) + b, 2.0 ** (k - 52) * np.abs(u).max()
        above, below = (outside > middle).any(), (outside < middle).any()
        a, b = (a * (1 - 2.0 ** (k - 52)), b) if above and below else (a, b - step if above else b + step)
    return a, b


def _solved(function, a, b, x, y):
    """c and d by linear least squares, and R^2 of the whole; no curve if that leaves the range of double precision."""
    with np.errstate(all="ignore"):
        a, b = _inside(function, a, b, x)
        f, mean = function(a * x + b), y.mean()
        g, v = f - f.mean(), y - mean
        size, amplitude = np.abs(g).max(), np.abs(v).max()
        g, w = g / size, v / amplitude
        c = g @ w / (g @ g) * (amplitude / size)
        d = mean - c * f.mean()
        rest = (y - (c * f + d)) / amplitude
        r2 = 1 - (rest @ rest) / (w @ w)
    if not np.isfinite([a, b, c, d, r2]).all():
        return _flat(function, mean, 0.0)
    return Fit(function, float(a), float(b), float(c), float(d), max(0.0, float(r2)))
