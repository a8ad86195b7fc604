"""Certified bounds of a network over a box: its range, the range of its gradient, Lipschitz constants, rounding errors.

    low, high = output_range(net, theta, box)      f(x) lies between for all x in the box, as real numbers and as computed
    low, high = gradient_range(net, theta, box)    so does every d f_o / d x_i
    lipschitz(net, theta, box)                     |f(x) - f(y)| <= L |x - y| in Euclidean norms
    rounding_error(net, theta, box, np.float32)    |f computed in this precision - f| is at most this
    rounding_errors(net, theta, x, np.float32)     the same at single points

A B-spline lies within the hull of its coefficients; cut into cells it lies, on each, within the hull of the Bernstein
coefficients there, which are its blossom at the cell's ends (Ramshaw 1987) and come by convex combinations alone, so that
rounding moves them by a few units of the largest coefficient. Cells are small, so hulls are tight, and a base function is
added to the spline cell by cell, before anything is lost. Layers follow by interval arithmetic with outward rounding. That
forgets that nodes depend on the same inputs, so the box is cut into many small ones, and on each the mean value form
f(c) + G (x - c), with c the centre and G the range of the gradient, is met with the direct range.

`rounding_error` rests on the tested accuracy of the tables of basis functions (`kanref.kernels`, README), all else is proved,
as long as nothing underflows.
"""

from dataclasses import dataclass

import numpy as np

from kanref.arrays import real_array
from kanref.bases import BSpline, MinMax, Pointwise
from kanref.check import ULPS, UNIFORM_ULPS
from kanref.intervals import Interval, down, up
from kanref.nodes import AFFINE
from kanref.terms import Linear
from kanref.weights import LoTRA, LowRank, Masked, Scaled, Tucker

CELLS = 16  # of every span
BOXES = 4096  # that a box is cut into, at most
EPS = np.finfo(float).eps
LIBRARY = 8 * EPS  # relative error of exp, tanh and what is made of them

STATIONARY = {  # of f and of f', where they exist
    "silu": ((-1.2784645427610738,), (-2.3993572805154676, 2.3993572805154676)),
    "identity": ((), ()),
    "zero": ((), ()),
    "tanh": ((), (0.0,)),
    "sigmoid": ((), (0.0,)),
}


# ------------------------------------------------------------------------------------------- functions of one variable


def pointwise(function, x, order):
    """The range of f (order 0) or f' (order 1) over intervals x, for the functions in `STATIONARY`."""
    if function.name not in STATIONARY:
        raise TypeError(f"no bounds are known for the function {function.name!r}; there are, for {', '.join(STATIONARY)}")
    f = function.functions[order]
    with np.errstate(over="ignore", invalid="ignore"):
        found = Interval(f(x.low), f(x.low)).hull(Interval(f(x.high), f(x.high)))
        for s in STATIONARY[function.name][order]:
            top = np.where(x.contains(s), f(np.array(s)), found.low)
            found = found.hull(Interval(top, top))
    return found.widened(LIBRARY * found.magnitude)


def mapped(normalise, x):
    """Values and slopes of an input map over intervals x (B, P)."""
    if not isinstance(normalise, MinMax):
        return pointwise(normalise, x, 0), pointwise(normalise, x, 1)
    span = Interval.of(normalise.high) - normalise.low
    slope = Interval(down(2 / span.high), up(2 / span.low)) + np.zeros(x.shape)
    return (x - normalise.low) * slope - 1.0, slope


@dataclass(frozen=True, eq=False)
class Cells:
    """Q functions of one variable on small cells: breaks (C+1,), ranges of the values and slopes on each, (Q, C), and both
    at the two ends, (Q, 2); how far values move, (Q, C), and slopes at the ends, (Q, 2), if knots are rounded; the widths of
    the spans at the ends, (2,)."""

    breaks: np.ndarray
    value: Interval
    slope: Interval
    value_end: Interval
    slope_end: Interval
    moved: np.ndarray
    moved_end: np.ndarray
    width_end: np.ndarray


def spline_cells(t, W, degree, zero, delta):
    """`Cells` of the splines with knots t (T,) and coefficients W (Q, K), on the knots' domain, or with `zero` wherever
    there are knots. Knots may be off by delta.

    By its knots a spline has the derivatives -sum_i a_i B_i, with a_i = (c_i - c_{i-1})/(t_{i+d} - t_i) where the knot is among
    t_i, ..., t_{i+d} and 0 elsewhere, B_i the B-splines on knots with that one twice (Piegl and Tiller 1998). All 2d together
    move values by 2 delta max |d a_i| at most, and by no more than the hull of the coefficients is wide.
    """
    d = degree
    if zero:  # functions that do not exist have coefficients of zero; one at least, for the jump of steps to zero
        more = max(d, 1)
        far = (t[-1] - t[0]) * np.arange(1, more + 1)
        t, W = np.concatenate([t[0] - far[::-1], t, t[-1] + far]), np.pad(W, ((0, 0), (more, more)))
    spans = np.arange(d, W.shape[1])
    spans = spans[t[spans] < t[spans + 1]]
    share = np.arange(CELLS + 1) / CELLS
    left, right = t[spans, None], t[spans + 1, None]
    u = np.clip((1 - share) * left + share * right, left, right)
    gap = t[1 + d : W.shape[1] + d] - t[1 : W.shape[1]]
    step = np.diff(W)
    jump = t[1 : W.shape[1]][(gap == 0) & (step != 0).any(0)] if d else t[1 : W.shape[1]][(step != 0).any(0)]
    W_1 = d * step / np.where(gap == 0, np.inf, gap)
    value, value_end = bernstein(t, W, d, spans, u)
    if d:
        slope, slope_end = bernstein(t[1:-1], W_1, d - 1, spans - 1, u)
    else:
        slope, slope_end = Interval.of(np.zeros_like(value.low)), Interval.of(np.zeros_like(value_end.low))
    breaks = np.append(u[:, :-1].ravel(), u[-1, -1])
    near = spans[:, None] + np.arange(-d, 1)
    free = np.where(gap == 0, np.inf, gap - 2 * delta)
    steep = np.where(free > 0, d * np.abs(step) / np.where(free > 0, free, 1), np.where(step == 0, 0.0, np.inf))
    steep = steep[:, near[:, :-1]].max(-1, initial=0)
    moved = np.minimum(times(2 * delta, steep), np.ptp(W[:, near], -1))
    width = t[spans[[0, -1]] + 1] - t[spans[[0, -1]]]
    with np.errstate(divide="ignore"):
        moved_end = times(4 * d * delta, times(steep[:, [0, -1]], 1 / np.maximum(width - 2 * delta, 0)))
    for knot in jump:  # a slope without bound, whichever side one comes from
        beside = (breaks[:-1] == knot) | (breaks[1:] == knot)
        slope = Interval(np.where(beside, -np.inf, slope.low), np.where(beside, np.inf, slope.high))
    return Cells(breaks, value, slope, value_end, slope_end, np.repeat(moved, CELLS, 1), moved_end, width)


def bernstein(t, W, degree, spans, u):
    """The range of the Bernstein coefficients on the cells u (S, m+1) of spans (S,), as (Q, S m), and the values at both ends.

    Coefficient s on the cell [a, b] is the blossom at (a, ..., a, b, ..., b), s times b; all of de Boor's steps combine
    convexly there, each errs by less than 10 half units of the largest coefficient.
    """
    d, near = degree, [W[:, spans - degree + r, None] for r in range(degree + 1)]
    most = np.max([np.abs(c) for c in near], 0)
    found = []
    for s in range(d + 1):
        c = [np.broadcast_to(own, (*own.shape[:2], u.shape[1] - 1)) for own in near]
        for e in range(1, d + 1):
            x = u[:, 1:] if e <= s else u[:, :-1]
            for r in range(d, e - 1, -1):
                low, high = t[spans - d + r, None], t[spans + 1 + r - e, None]
                alpha = (x - low) / (high - low)
                c[r] = (1 - alpha) * c[r - 1] + alpha * c[r]
        found.append(c[d])
    margin = 8 * (d + 1) * EPS * most
    low, high = down(np.min(found, 0) - margin), up(np.max(found, 0) + margin)
    ends = np.stack([found[0][:, 0, 0], found[d][:, -1, -1]], -1)
    margin = np.stack([margin[:, 0, 0], margin[:, -1, 0]], -1)
    return Interval(low.reshape(len(W), -1), high.reshape(len(W), -1)), Interval.of(ends).widened(margin)


def covering(table, first, last):
    """The hull of columns first..last (B,) of intervals (Q, C), (B, Q): by hulls of 1, 2, 4, ... neighbours."""
    low, high = np.empty((len(first), len(table.low))), np.empty((len(first), len(table.low)))
    steps, k = np.frexp(last - first + 1)[1] - 1, 0
    while True:
        at = steps == k
        if at.any():
            own = table[:, first[at]].hull(table[:, last[at] + 1 - 2**k])
            low[at], high[at] = own.low.T, own.high.T
        k += 1
        if k > steps.max():
            return Interval(low, high)
        table = table[:, : -(2 ** (k - 1))].hull(table[:, 2 ** (k - 1) :])


# --------------------------------------------------------------------------------------------------------------- edges


def base_range(base, x):
    """Values and slopes of sum_j V_j f_j over intervals x (B,), for pairs (f, V (Q,)): (B, Q)."""
    nothing = Interval.of(np.zeros((len(x.low), 1)))
    return (sum((pointwise(f, x[:, None], order) * V for f, V in base), nothing) for order in (0, 1))


def spline_range(basis, W, size, p, x, base, unit):
    """Values and slopes of the splines W (Q, K) of input p, plus base functions (f, V), over intervals x (B,): (B, Q). And how
    far rounded knots move the values, and what all other rounding is in proportion to, where W has entries up to size (Q, K)."""
    zero, t = basis.outside == "zero", basis.knots[p]
    delta = np.abs(t.astype(np.float32 if unit > EPS else float) - t).max()
    cells = spline_cells(t, W, basis.degree, zero, delta)
    u, (low, high) = cells.breaks, (cells.breaks[0], cells.breaks[-1])
    on_cells = base_range(base, Interval(u[:-1], u[1:]))
    first = np.clip(np.searchsorted(u, x.low) - 1, 0, len(u) - 2)
    last = np.clip(np.searchsorted(u, x.high, "right") - 1, 0, len(u) - 2)
    inside = ((x.low <= high) & (x.high >= low))[:, None]
    found = [covering(own + more.T, first, last) for own, more in zip((cells.value, cells.slope), on_cells)]
    moved = covering(Interval(0 * cells.moved, cells.moved), first, last).high
    size = np.broadcast_to(size.max(1), moved.shape)
    below = Interval(np.minimum(x.low, low), np.minimum(x.high, low))
    above = Interval(np.maximum(x.low, high), np.maximum(x.high, high))
    for k, (there, beyond) in enumerate(((below, x.low < low), (above, x.high > high))):
        slope = cells.slope_end[:, k] * float(basis.outside == "linear")
        value = cells.value_end[:, k] * float(not zero)
        of_base = base_range(base, there)
        own = value + slope * (there - u[-k])[:, None], slope + np.zeros((len(beyond), 1))
        for m, (spline, more) in enumerate(zip(own, of_base)):
            part = spline + more
            joined = part.hull(found[m]).where(inside, part)
            found[m] = joined.where(beyond[:, None], found[m])
        if basis.outside == "linear":  # slopes are rounded, too, and go far
            far = np.where(beyond, (there - u[-k]).magnitude, 0.0)[:, None]
            moved = moved + times(far, cells.moved_end[:, k])
            size = size + far * size * 2 * basis.degree / cells.width_end[k]
    return *found, moved, size


def layer_range(layer, arrays, x, unit=EPS):
    """Values and slopes of all edges of a layer over intervals x (B, P), (B, Q, P), how far rounded knots move the values, and
    what its other rounding errors are in proportion to: the largest coefficients, (B, Q, P)."""
    splines, base = [], []
    for name, term in terms_of(layer):
        own = {array: arrays[f"{name}.{array}"] for array in term.arrays}
        W = term.weights.tensor(own).astype(float)
        (splines if isinstance(term.basis, BSpline) else base).append((term.basis, W, largest(term.weights, own)))
    values, slopes, knots, sizes = [], [], [], []
    for p in range(layer.inputs):
        own, alone = x[:, p], [(f, V[:, p, 0]) for f, V, _ in base]
        parts = [
            spline_range(basis, W[:, p], size[:, p], p, own, [] if k else alone, unit)
            for k, (basis, W, size) in enumerate(splines)
        ]
        nothing = np.zeros((len(own.low), layer.sums))
        value, slope, moved, size = map(sum_of, zip(*(parts or [(*base_range(alone, own), nothing, nothing)])))
        values.append(value)
        slopes.append(slope)
        of_base = base_range([(f, size[:, p, 0]) for f, _, size in base], own)
        knots.append(moved)
        sizes.append(size + next(iter(of_base)).magnitude)
    stacked = lambda parts: Interval(np.stack([i.low for i in parts], -1), np.stack([i.high for i in parts], -1))
    return stacked(values), stacked(slopes), np.stack(knots, -1), np.stack(sizes, -1)


def terms_of(layer):
    """Names and terms of a layer; TypeError for those that no bounds are known of."""
    for name, term in layer.terms.items():
        if not isinstance(term, Linear) or not isinstance(term.basis, BSpline | Pointwise):
            kind = type(getattr(term, "basis", term)).__name__
            raise TypeError(f"no bounds are known for the term {name!r}, {kind}; B-splines and base functions have some")
    return layer.terms.items()


def largest(weights, arrays):
    """|W| (Q, P, K) as it were if nothing cancelled where W is computed from other arrays: what rounding there goes by."""
    if isinstance(weights, LoTRA):
        return np.abs(weights.base) + abs(weights.scale) * largest(weights.adapter, arrays)
    if isinstance(weights, Masked):
        return largest(weights.inner, arrays) * np.abs(weights.mask)[:, :, None]
    if isinstance(weights, Scaled):
        return largest(weights.inner, arrays) * np.abs(arrays["scale"])[:, :, None]
    if isinstance(weights, Tucker | LowRank):
        return weights.tensor({name: np.abs(a.astype(float)) for name, a in arrays.items()})
    return np.abs(weights.tensor(arrays).astype(float))


def products(weights):
    """How many roundings more an entry of W takes at most where it is computed, each in proportion to `largest`."""
    if isinstance(weights, LoTRA):
        return products(weights.adapter) + 3
    if isinstance(weights, Masked | Scaled):
        return products(weights.inner) + 1
    if isinstance(weights, Tucker):
        return sum(weights.ranks) + 3
    return weights.rank + 1 if isinstance(weights, LowRank) else 0


def sum_of(intervals):
    first, *others = intervals
    return sum(others, first)


# ------------------------------------------------------------------------------------------------------------- networks


@dataclass(frozen=True, eq=False)
class Through:
    """What reaches a level of the network from every small box: values (B, P), their derivatives with respect to the inputs
    (B, P, n), and how far computed values may be from them (B, P)."""

    value: Interval
    slope: Interval
    error: np.ndarray


def box_of(net, box):
    """box as (n, 2), low and high of every input."""
    box = real_array(box, "box", np.float64)
    if box.shape != (net.inputs, 2) or not (box[:, 0] <= box[:, 1]).all():
        raise ValueError(f"box must be (low, high) for each of {net.inputs} inputs, but it is {box.tolist()}")
    return box


def cut(net, box, boxes):
    """The box in at most so many small ones, evenly: intervals (B, n)."""
    n, edges = net.inputs, max(a * b for a, b in zip(net.widths, net.widths[1:]))
    most = max(1, min(boxes, 2**24 // (edges * n)))
    count = max(1, int(most ** (1 / n) + 1e-9))
    share = np.arange(count + 1) / count
    ends = (1 - share) * box[:, :1] + share * box[:, 1:]
    ends[:, [0, -1]] = box
    pick = np.stack(np.meshgrid(*[np.arange(count)] * n, indexing="ij"), -1).reshape(-1, n)
    at = np.arange(n)
    return Interval(ends[at, pick], ends[at, pick + 1])


def through(net, theta, x, dtype):
    """`Through` after the last layer, from small boxes x (B, n)."""
    n, unit = net.inputs, float(np.finfo(dtype).eps)
    if (x.low == x.high).all():
        error = np.abs(x.low.astype(dtype) - x.low)
    elif np.asarray(theta).dtype == dtype == np.float64:
        error = np.zeros(x.shape)
    else:
        error = unit * x.magnitude  # x itself is rounded first
    state = Through(x, Interval.of(np.broadcast_to(np.eye(n), (len(x.low), n, n))), error)
    lost = np.zeros((len(x.low), 1), bool)
    for layer, arrays in zip(net.layers, net.of_layers(np.asarray(theta, float))):
        state = after(layer, arrays, state, unit)
        lost |= ~(state.value.widened(state.error).magnitude <= np.finfo(dtype).max).all(1, keepdims=True)
    return Through(state.value, state.slope, np.where(lost, np.inf, state.error))


def after(layer, arrays, state, unit):
    """The state after a layer."""
    if layer.normalise is not None:
        value, slope = mapped(layer.normalise, state.value.widened(state.error))
        size = value.magnitude + times(slope.magnitude, state.value.magnitude)
        error = times(slope.magnitude, state.error) + 16 * unit * size
        state = Through(value, slope[..., None] * state.slope, error)
    own, shift = roundings(layer)
    apart = state.error + unit * (state.value.magnitude + shift)
    x = state.value.widened(apart)
    values, slopes, knots, sizes = layer_range(layer, arrays, x, unit)
    moved = np.minimum(times(slopes.magnitude, apart[:, None]), values.high - values.low)  # where a function jumps, that far
    error = (moved + knots + unit * own * sizes).sum(-1)
    slope = (slopes[..., None] * state.slope[:, None]).sum(2)
    state = Through(values.sum(-1), slope, up(error))
    if layer.bias:
        state = shifted(state, arrays["bias"], unit)
    return state if layer.nodes is None else through_nodes(layer.nodes, arrays, state, unit)


def times(a, b):
    """a b, with infinity times zero as zero."""
    with np.errstate(invalid="ignore"):
        return np.where((a == 0) | (b == 0), 0.0, a * b)


def roundings(layer):
    """How many units of rounding an edge may err by, in proportion to `sizes`, (P,): those of the tables, of rounded weights and
    products, of the sum over all of them, one after the other. And how many units rounded knots move each input by, (P,)."""
    own, shift, J = 8.0, np.zeros(layer.inputs), 1
    for _, term in terms_of(layer):
        own = own + products(term.weights)
        if isinstance(term.basis, BSpline):
            t, d = term.basis.knots, term.basis.degree
            spacing = np.where(term.basis.steps > 0, term.basis.steps, np.inf)
            ulps = ULPS[min(degree for degree in ULPS if degree >= d)] if d <= max(ULPS) else 2 * d
            own = own + (d + 1) * (ulps + UNIFORM_ULPS * (np.abs(t).max(1) / spacing))
            shift, J = shift + 2 * np.abs(t).max(1), J + d + 1
    return own + layer.inputs * J, shift


def shifted(state, bias, unit):
    value = state.value + bias
    return Through(value, state.slope, up(state.error + unit * value.magnitude))


def through_nodes(nodes, arrays, state, unit):
    """The state after affine maps and products; see `kanref.nodes`."""
    own = {name: arrays.get(name, nodes.constants.get(name)) for name in AFFINE}
    state = affine(state, own["subnode_scale"], own["subnode_bias"], unit)
    if max(nodes.arity) > 1:
        starts = np.cumsum((0, *nodes.arity[:-1]))
        state = joined([product([at(state, s + j) for j in range(arity)], unit) for s, arity in zip(starts, nodes.arity)])
    return affine(state, own["node_scale"], own["node_bias"], unit)


def affine(state, scale, bias, unit):
    if scale is not None:
        value = state.value * scale
        error = np.abs(scale) * state.error + unit * value.magnitude
        state = Through(value, state.slope * scale[:, None], up(error))
    return state if bias is None else shifted(state, bias, unit)


def at(state, s):
    """The state of one subnode."""
    return Through(state.value[:, s], state.slope[:, s], state.error[:, s])


def product(factors, unit):
    """The state of a product, one factor after the other."""
    first, *others = factors
    for g in others:
        f = first
        value, slope = f.value * g.value, f.slope * g.value[:, None] + g.slope * f.value[:, None]
        error = f.value.magnitude * g.error + g.value.magnitude * f.error + f.error * g.error + unit * value.magnitude
        first = Through(value, slope, up(error))
    return first


def joined(states):
    stack = lambda parts: Interval(np.stack([i.low for i in parts], 1), np.stack([i.high for i in parts], 1))
    return Through(stack([s.value for s in states]), stack([s.slope for s in states]), np.stack([s.error for s in states], 1))


# ---------------------------------------------------------------------------------------------------------- what is asked


def output_range(net, theta, box, boxes=BOXES):
    """low, high (m,): between them lies every output at every x in box (n, 2), exact or computed in theta's precision.

    boxes: into how many at most the box is cut; more are tighter and take longer. Raises TypeError for terms and functions
    that no bounds are known of (`STATIONARY`), ValueError for a box that is none or leaves the domain of B-splines with
    outside="error".
    """
    x = cut(net, checked(net, theta, box), boxes)
    state = through(net, theta, x, np.asarray(theta).dtype)
    centre = np.clip((x.low + x.high) / 2, x.low, x.high)
    f = Interval.of(net(np.asarray(theta, float), centre)).widened(through(net, np.asarray(theta, float), x, np.float64).error)
    mean_value = f + (state.slope * (x - centre)[:, None]).sum(-1)
    found = state.value.meet(mean_value).widened(state.error)
    return found.low.min(0), found.high.max(0)


def gradient_range(net, theta, box, boxes=BOXES):
    """low, high (m, n): between them lies every d f_o / d x_i at every x in the box. At knots where a slope jumps, both sides
    do. Arguments and errors as for `output_range`."""
    x = cut(net, checked(net, theta, box), boxes)
    slope = through(net, theta, x, np.float64).slope
    return slope.low.min(0), slope.high.max(0)


def lipschitz(net, theta, box, boxes=BOXES):
    """L with |f(x) - f(y)| <= L |x - y| in Euclidean norms, for x, y in the box; infinite where f may jump."""
    x = cut(net, checked(net, theta, box), boxes)
    slope = through(net, theta, x, np.float64).slope.magnitude
    return float(up(np.sqrt(np.square(slope).sum((1, 2)).max()) * (1 + slope[0].size * EPS)))


def rounding_error(net, theta, box, dtype=np.float32, boxes=BOXES):
    """(m,): how far outputs computed in `dtype`, from x and theta rounded to it, may be from those of exact arithmetic, if
    nothing underflows on the way; infinite where sums may leave the range of `dtype`."""
    x = cut(net, checked(net, theta, box), boxes)
    return through(net, np.asarray(theta, float), x, np.dtype(dtype)).error.max(0)


def rounding_errors(net, theta, x, dtype=np.float32):
    """(N, m): `rounding_error` at every point of x (N, n) by itself, which is much less than over a box."""
    x = real_array(x, "x", np.float64)
    if x.ndim != 2 or x.shape[1] != net.inputs:
        raise ValueError(f"x must have shape (N, {net.inputs}), but it has shape {x.shape}")
    checked(net, theta, np.stack([x.min(0), x.max(0)], 1))
    return through(net, np.asarray(theta, float), Interval(x, x), np.dtype(dtype)).error


def checked(net, theta, box):
    """The box, after all that may be wrong."""
    net.vector(theta)
    box = box_of(net, box)
    basis = [term.basis for term in net.layers[0].terms.values() if isinstance(getattr(term, "basis", None), BSpline)]
    if net.layers[0].normalise is None:
        for own in basis:
            own.require_inside(box.T)
    return box
