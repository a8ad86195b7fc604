"""Conformance: every claim of the fast code against the definition, and the same checks for anyone's new parts.

    check_objective(objective, theta, rng)      Taylor test of a gradient
    check_adjoint(forward, adjoint, v, w)       dot test of a linear map and its adjoint
    check_basis(basis, x)                       a new `Basis`; x are the points to look at
    check_weights(weights, rng)                 a new kind of `Weights`
    check_term(term, rng)                       a new kind of `Term`

They return a small report {claim: error} and raise `CheckError`, an AssertionError that says which claim failed and by
how much. `run(seed)` draws networks of every kind and puts their gradients to four tests; `table` prints the rows:

    complex step        Im L(theta + i h e_k)/h through `kanref.spec` with h = 1e-40: a derivative to all digits, as
                        nothing is subtracted. It decides: 1e-12 or better, by entry, relative to the largest entry.
    finite differences  of the fast code itself, central, with Richardson's extrapolation.
    dot test            <F v, w> = <v, F* w> for the derivative F of the whole network, jets and inputs included, at
                        random v and w; F v by a complex step, F* w by the pullback.
    Taylor test         L(theta + h v) - L(theta) - h g'v falls as h^2. It needs a gradient that is continuous, so it is
                        left out ("-") where hidden splines are rougher than that: below degree 4 in equations.
"""

from typing import NamedTuple

import numpy as np

from kanref import arrays as border
from kanref import bases, jets, objectives, spec, terms
from kanref.bases import BSpline, Chebyshev, MinMax, Pointwise
from kanref.edges import Symbolic
from kanref.free_knots import LEAST, FreeKnots
from kanref.functions import LIBRARY
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.nodes import AFFINE, Nodes
from kanref.objectives import Collocation, Supervised, WeightedSum
from kanref.pde.trial import Trial, cap
from kanref.power_relu import PowerReLU
from kanref.tensors import mode_dot
from kanref.terms import Linear
from kanref.weights import Fixed, Full, InBasis, LoTRA, LowRank, Masked, Scaled, Tucker
from kanref.words import aligned

EXACT = 1e-12  # complex steps and dot tests, relative
DIFFERENCE = 1e-6  # finite differences, relative
FALL = 0.1  # how far observed orders may stay below 1 and 2

# Bounds of the error of B-splines and their derivatives up to the third, by degree, in units of 2^-52 times the largest
# exact value in the window at the point. Measured against 50 digits on random, clamped, repeated and uniform knots, at
# knots, at edges and between. Uniform rows are evaluated from their spacing h alone, so that the rounding of the knots
# t costs UNIFORM_ULPS max|t|/h units more. tests/test_kernels.py measures both.
ULPS = {0: 0, 1: 2, 2: 3, 3: 4, 4: 4, 5: 5, 6: 6, 7: 8, 10: 9}
UNIFORM_ULPS = 3


class CheckError(AssertionError):
    """A claim that does not hold."""


def require(holds, message):
    if not holds:
        raise CheckError(message)


def relative(a, exact):
    """max |a - exact| / max |exact|, and 0 if both are zero."""
    error, scale = np.abs(a - exact).max(initial=0), np.abs(exact).max(initial=0)
    return float(error / scale) if scale > 0 else float(error)


# -------------------------------------------------------------------------------- 1. from structures to the definition


def number_type(theta):
    """The real number type of the entries of theta: float, Fraction, mpf."""
    return type(theta.flat[0].real) if theta.dtype == object and theta.size else float


def numbers(a, number):
    """A float array as the same numbers of another type, exactly."""
    if number is float:
        return np.asarray(a)
    return np.array([number(c) for c in np.ravel(a).tolist()], object).reshape(np.shape(a))


FUNCTIONS = {
    bases.silu: spec.silu,
    bases.identity: spec.identity,
    bases.zero: lambda z: [0 * c for c in z],
    bases.tanh: spec.tanh,
    bases.sin: spec.sine,
    bases.sigmoid: spec.sigmoid,
}


def min_max(low, high):
    """The affine map of [low_p, high_p] onto [-1, 1]."""
    slope = lambda p: 2 / (high[p] - low[p])
    return lambda p, z: [[(z[0] - low[p]) * slope(p) - 1, *(slope(p) * c for c in z[1:])]]


BASES = {
    BSpline: lambda b, number: spec.bspline_basis(numbers(b.knots, number).tolist(), b.degree, b.outside),
    PowerReLU: lambda b, number: spec.power_relu_basis(numbers(b.knots, number).tolist(), b.degree),
    Chebyshev: lambda b, number: spec.chebyshev_basis(b.degree),
    Pointwise: lambda b, number: spec.base_basis(_entry(FUNCTIONS, b, f"base function {b.name!r}", "FUNCTIONS")),
    MinMax: lambda b, number: min_max(numbers(b.low, number), numbers(b.high, number)),
}

WEIGHTS = {
    Full: lambda w, arrays, number: arrays["W"],
    Fixed: lambda w, arrays, number: numbers(w.W, number),
    Masked: lambda w, arrays, number: spec.masked(define_tensor(w.inner, arrays, number), numbers(w.mask, number)),
    Scaled: lambda w, arrays, number: spec.scaled(define_tensor(w.inner, arrays, number), arrays["scale"]),
    Tucker: lambda w, arrays, number: spec.tucker(*(arrays[name] for name in ("core", "U_out", "U_in", "U_basis"))),
    LowRank: lambda w, arrays, number: np.tensordot(arrays["left"], arrays["right"], (1, 0)),
    LoTRA: lambda w, arrays, number: spec.lotra(
        numbers(w.base, number), number(w.scale), define_tensor(w.adapter, arrays, number)
    ),
    InBasis: lambda w, arrays, number: (
        spec.in_basis(define_tensor(w.inner, arrays, number), numbers(w.basis.knots, number).tolist(), w.basis.degree)
        if w.iterate == "relu"
        else define_tensor(w.inner, arrays, number)
    ),
}


def _entry(translations, key, what, name):
    if key not in translations:
        raise TypeError(f"the definition does not know the {what}; add its translation to kanref.check.{name}")
    return translations[key]


def define_basis(b, number):
    """A basis of the definition: (p, series) -> list of series."""
    return _entry(BASES, type(b), f"basis {type(b).__name__}", "BASES")(b, number)


def define_map(b, number):
    """An input map of the definition from a basis of one function: (p, series) -> series."""
    functions = define_basis(b, number)
    return lambda p, z: functions(p, z)[0]


def define_tensor(w, arrays, number):
    """W (Q, P, K) by the definition, for arrays of any number type."""
    return _entry(WEIGHTS, type(w), f"weights {type(w).__name__}", "WEIGHTS")(w, arrays, number)


def define_nodes(nodes, arrays, number):
    """The nodes of the definition; an affine map that is neither trained nor constant is the identity."""
    affine = []
    for name in AFFINE:
        start = np.full(nodes.sums if name.startswith("sub") else len(nodes.arity), float(name.endswith("scale")))
        affine.append(arrays.get(name, numbers(nodes.constants.get(name, start), number)))
    return lambda u: spec.nodes(u, nodes.arity, *affine)


def define_free_knots(term, spacing, number):
    """The B-splines of the definition on the knots that the spacing gives."""
    ends = zip(spacing.tolist(), numbers(term.low, number).tolist(), numbers(term.high, number).tolist())
    knots = [spec.free_knots(s, term.degree, low, high, number(LEAST)) for s, low, high in ends]
    return spec.bspline_basis(knots, term.degree, term.outside)


def define_formula(function):
    """A function of a `Symbolic` term by the definition: series -> series."""
    if LIBRARY.get(function.name) is not function:
        raise TypeError(f"the definition does not know your own function {function.name!r}; it knows kanref's library")
    return _entry(spec.FORMULAS, function.name, f"function {function.name!r}", "spec.FORMULAS")


def definition(net, theta):
    """The layers of the definition, a list of `spec.Layer`, for a network and theta of any number type.

    theta: (size,) float, complex, or object (Fraction, mpf); knots and constants are converted exactly.
    Raises TypeError for a part that the definition does not know.
    """
    theta = np.asarray(theta)
    number, layers = number_type(theta), []
    views = {name: border.view(theta, start, shape) for name, (start, shape) in net.layout.items()}
    for l, layer in enumerate(net.layers):
        arrays = {name: views[f"{l}.{name}"] for name in layer.arrays}
        sums, formulas = [], []
        for name, term in layer.terms.items():
            own = {array: arrays[f"{name}.{array}"] for array in term.arrays}
            if isinstance(term, Symbolic):
                formulas += [(q, p, define_formula(f), row) for (q, p, f), row in zip(term.formulas, own["affine"])]
            elif isinstance(term, Linear):
                sums.append((define_basis(term.basis, number), define_tensor(term.weights, own, number)))
            elif isinstance(term, FreeKnots):
                sums.append((define_free_knots(term, own["spacing"], number), define_tensor(term.weights, own, number)))
            else:
                raise TypeError(f"the definition does not know terms of type {type(term).__name__} ({name!r})")
        if not sums:
            sums = [(spec.base_basis(spec.identity), np.zeros((layer.sums, layer.inputs, 1), int))]
        normalise = layer.normalise and define_map(layer.normalise, number)
        nodes = layer.nodes and define_nodes(layer.nodes, arrays, number)
        layers.append(spec.Layer(sums, arrays.get("bias"), normalise, nodes, formulas))
    return layers


def evaluate(net, theta, z):
    """The jet (M, N, m) of the outputs for a jet z (M, N, n) by the definition; theta and z of any number type.

    Of a trial function g + d N(e) the network N is defined here; g, d and e are jets of its own, taken at their word.
    """
    if isinstance(net, Trial):
        y = evaluate(net.net, theta, z if net.embedding is None else net.embedding(z))
        y = y if net.distance is None else jets.times(y, net.distance(z))
        return y if net.offset is None else y + net.offset(z)
    layers, number, D = definition(net, theta), number_type(np.asarray(theta)), (len(z) - 1) // 2
    if number is not float:
        z = numbers(z, number)
    out = []
    for d in range(1, max(D, 1) + 1):
        series = z[[0, d, D + d]] if D else z
        if D:
            series = np.stack([series[0], series[1], series[2] / 2])
        samples = np.moveaxis(series, 0, -1).tolist()  # N lists of n series
        out.append([_through(layers, sample) for sample in samples])
    out = np.array(out)  # (D or 1, N, m, 1 or 3)
    return np.concatenate([out[:1, ..., 0], out[..., 1], 2 * out[..., 2]]) if D else out[..., 0]


def _through(layers, z):
    for layer in layers:
        z = spec.layer(layer, z)
    return z


LOSSES = {
    objectives.squared: spec.mean_squared_error,
    objectives.absolute: spec.mean_absolute_error,
    objectives.softmax_cross_entropy: spec.cross_entropy,
    objectives.binary_logistic: spec.logistic,
}


def value(objective, theta):
    """An objective's value by the definition, for theta of any number type."""
    if isinstance(objective, WeightedSum):
        return sum(weight * value(part, theta) for weight, part in objective.parts)
    if isinstance(objective, Supervised):
        f = evaluate(objective.net, theta, objective.x[None])[0]
        return _entry(LOSSES, objective.loss, f"loss {objective.loss.__name__}", "LOSSES")(f, objective.y)
    if isinstance(objective, Projection):
        return (objective.w * evaluate(objective.net, theta, objective.z)).sum()
    if isinstance(objective, Collocation):
        r = objective.residual(*fields(objective, theta))[0].reshape(objective.samples, -1)
        weights = 1 if objective.weights is None else objective.weights[:, None]
        return (weights * r**2).sum() / r.size
    raise TypeError(f"the definition does not know objectives of type {type(objective).__name__}")


def fields(objective, theta):
    """x, u, u_i, u_ij of a collocation objective by the definition, with 4 u_ij = u_vv - u_ww, v, w = e_i +- e_j."""
    n, e = objective.net.inputs, np.eye(objective.net.inputs)
    mixed = [(i, j) for i, j in objective.pairs if i != j]
    directions = [*e, *(e[i] + e[j] for i, j in mixed), *(e[i] - e[j] for i, j in mixed)]
    u, first, second = jets.parts(evaluate(objective.net, theta, jets.seed(objective.x, directions)))
    u_ij = np.full((*u.shape, n, n), np.nan, u.dtype)
    for i, j in objective.pairs:
        if i == j:
            u_ij[..., i, i] = second[i]
    for d, (i, j) in enumerate(mixed, n):
        u_ij[..., i, j] = u_ij[..., j, i] = (second[d] - second[d + len(mixed)]) / 4
    return objective.x, u, np.moveaxis(first[:n], 0, -1), u_ij


# ------------------------------------------------------------------------------------------- 2. derivatives of anything

STEP = 1e-40  # of complex steps


def complex_step(f, theta):
    """d f / d theta_k at theta for a function f of complex vectors: (size, ...)."""
    return np.stack([np.imag(f(theta + 1j * STEP * e)) for e in np.eye(theta.size)]) / STEP


def difference(f, h):
    """f'(0) by the central difference and Richardson's extrapolation: exact for polynomials of degree 4."""
    central = lambda h: (f(h) - f(-h)) / (2 * h)
    return (4 * central(h / 2) - central(h)) / 3


def difference_error(f, derivative, steps=(2.0**-10, 2.0**-15, 2.0**-20)):
    """|f'(0) - derivative| by differences, by entry the best of the steps: a kink may lie within a step."""
    return np.min([np.abs(difference(f, h) - derivative) for h in steps], axis=0)


def dot_error(left, right):
    """|sum left - sum right| / sum |left| for the products under both inner products of a dot test."""
    return float(abs(left.sum() - right.sum()) / max(np.abs(left).sum(), np.finfo(float).tiny))


class Taylor(NamedTuple):
    """Observed orders of the remainders without the gradient term (1 in theory) and with it (2)."""

    zeroth: float
    first: float

    @property
    def passed(self):
        return self.zeroth >= 1 - FALL and self.first >= 2 - FALL


def taylor(objective, theta, rng):
    """Orders at which L(theta + h v) - L(theta) and L(theta + h v) - L(theta) - h g'v fall, for a random unit vector v.

    Steps 2^-4 ... 2^-22; each order is the median over the three finest halvings whose remainders are above rounding, so
    that neither curvature at large steps nor cancellation at small ones counts; inf if nothing remains above rounding.
    """
    v = rng.normal(size=theta.size)
    v /= np.linalg.norm(v)
    L, g = objective(theta)
    h = 2.0 ** -np.arange(4, 23)
    rise = np.array([objective(theta + step * v)[0] for step in h]) - L
    floor = 1e3 * np.finfo(float).eps * max(abs(L), np.abs(rise).max())
    return Taylor(*(_order(np.abs(remainder), floor) for remainder in (rise, rise - h * (g @ v))))


def _order(remainders, floor):
    above = remainders[: int(np.argmin(np.append(remainders > floor, False)))]
    return float(np.median(np.log2(above[:-1] / above[1:])[-3:])) if len(above) > 2 else np.inf


# ---------------------------------------------------------------------------------------- 3. checks of anyone's parts


def check_objective(objective, theta, rng):
    """The Taylor test of a gradient: remainders of orders 1 and 2; returns those observed as a `Taylor`.

    Also: the value is a float, the gradient has theta's shape, a second call gives the same bits, theta is left alone,
    and objective.value(theta), if there is one, is the same value.
    """
    theta = np.array(theta, float)
    before = theta.copy()
    L, g = objective(theta)
    require(isinstance(L, float), f"the value must be a float, but it is {L!r} ({type(L).__name__})")
    require(np.shape(g) == theta.shape, f"the gradient must have theta's shape {theta.shape}, not {np.shape(g)}")
    g = np.array(g)
    again, g_again = objective(theta)
    same = L == again and np.array_equal(g, g_again)
    require(same, f"two calls must give the same bits, but the values are {L!r} and {again!r}, or the gradients differ")
    require(np.array_equal(theta, before), "the objective must leave theta alone, but it changed it")
    if hasattr(objective, "value"):
        alone = objective.value(theta)
        require(abs(alone - L) <= EXACT * abs(L), f"value(theta) is {alone!r}, but the pair has {L!r}")
    observed = taylor(objective, theta, rng)
    require(
        observed.passed,
        f"Taylor test: the remainder falls at order {observed.zeroth:.2f} without the gradient term (expected 1) and "
        f"at order {observed.first:.2f} with it (expected 2); the gradient is wrong, or the objective has a kink here",
    )
    return observed


def check_adjoint(forward, adjoint, v, w, tolerance=EXACT):
    """The dot test <F v, w> = <v, F* w> for arrays v and w; returns the difference relative to sum |(F v) w|."""
    left, right = np.ravel(forward(v) * w), np.ravel(v * adjoint(w))
    error, numbers = dot_error(left, right), f"<F v, w> = {left.sum():.16g}, but <v, F* w> = {right.sum():.16g}"
    require(error <= tolerance, f"dot test: {numbers}; relative error {error:.1e} > {tolerance:.0e}")
    return error


def check_basis(basis, x, order=3):
    """A basis at points x (N, P): shapes, dtypes, windows, and each derivative against differences of the one below.

    For a basis with knots, points closer to one than a hundredth of the mean spacing are left out of differences. For
    B-splines also: in the domain the functions sum to one and their derivatives to zero, and all equal the definition.
    """
    x = border.points(x, np.shape(x)[1] if np.ndim(x) == 2 else 1, dtype=np.float64)
    for dtype in (np.float64, np.float32):
        first, values = basis.derivatives(x.astype(dtype), order)
        shape, last = (order + 1, *x.shape, basis.window), basis.size - basis.window
        require(values.shape == shape, f"values must have shape {shape}, but they have shape {values.shape}")
        require(values.dtype == dtype, f"values at {np.dtype(dtype)} points must keep that dtype, not {values.dtype}")
        require(first.shape == x.shape, f"first must have shape {x.shape}, but it has shape {first.shape}")
        require(first.dtype.kind == "i", f"first must be integers, but its dtype is {first.dtype}")
        require(
            0 <= first.min() and first.max() <= last,
            f"first must lie in 0..size - window = 0..{last}, but it spans {first.min()}..{first.max()}",
        )
        infinite = values[~np.isfinite(values)]
        require(infinite.size == 0, f"values must be finite, but {infinite[:1]} is among them")
    B, spread = dense(basis, x, order), _spread(basis)
    by_order = lambda A: max(relative(a, b) for a, b in zip(A, B))
    alone = np.concatenate([dense(basis, x[n : n + 1], order) for n in range(len(x))], 1)
    report = {
        "points by themselves": (by_order(alone), EXACT),
        "lower orders": (max(by_order(dense(basis, x, m)) for m in range(order)), EXACT),
    }
    h, smooth = _steps(basis, x)
    single = dense(basis, x.astype(np.float32), 0)[0]
    report["float32"] = relative(single[smooth], B[0][smooth]), 1e-4 * spread
    slopes = difference(lambda t: dense(basis, x + t * h, order), 1.0) / h[..., None]
    for m in range(1, order + 1):
        scale = max(np.abs(B[m - 1]).max(), np.abs(B[m]).max(), np.finfo(float).tiny)
        report[f"derivative {m}"] = np.abs(slopes[m - 1] - B[m])[smooth].max(initial=0) / scale, DIFFERENCE
    if isinstance(basis, BSpline):
        low, high = basis.domain.T
        inside = (low <= x) & (x < high)  # at `high` the derivative of the highest order is that of the next span
        for m in range(order + 1):
            by_spec = [
                [spec.bspline(c, basis.knots[p].tolist(), basis.degree, m, basis.outside) for p, c in enumerate(row)]
                for row in x.tolist()
            ]
            report[f"definition, order {m}"] = relative(B[m], np.array(by_spec)), EXACT * spread
            off = np.abs(B[m].sum(-1) - (m == 0))[inside].max(initial=0)
            report[f"sum, order {m}"] = off / max(np.abs(B[m]).max(), 1), EXACT * spread
    return _verdict(report, type(basis).__name__)


def dense(basis, x, order):
    """All K functions of a basis and their derivatives at x (N, P): (order+1, N, P, K)."""
    first, values = basis.derivatives(x, order)
    B = np.zeros((*values.shape[:-1], basis.size), values.dtype)
    np.put_along_axis(B, np.broadcast_to(first[..., None] + np.arange(basis.window), values.shape), values, -1)
    return B


def _steps(basis, x):
    """Difference steps that stay between knots, and which of the points (N, P) have one worth the name."""
    knots = getattr(basis, "knots", None)
    if knots is None:
        return np.full(x.shape, 2.0**-10), np.full(x.shape, True)
    distance = np.abs(x[..., None] - knots).min(-1)
    spacing = ((knots[:, -1] - knots[:, 0]) / knots.shape[1])[None]
    return np.clip(distance, spacing / 1000, spacing) / 64, distance > spacing / 100


def _spread(basis):
    """1 + largest |t|/h over the knots: how much their rounding matters; 1 without knots."""
    knots = getattr(basis, "knots", None)
    if knots is None:
        return 1.0
    gaps = np.diff(knots)
    return 1 + float(np.abs(knots).max() / gaps[gaps > 0].min())


def _verdict(report, what):
    """{claim: error} from {claim: (error, bound)}, if every error is within its bound."""
    for claim, (error, bound) in report.items():
        require(error <= bound, f"{what}: {claim!r} has relative error {error:.1e}, but at most {bound:.0e} is allowed")
    return {claim: float(error) for claim, (error, _) in report.items()}


def check_weights(weights, rng):
    """Weights at random arrays: shapes, pullback (dot test), leading axes, rebased, select, start, and arrays left alone.

    The dot test differentiates `tensor` by Richardson's difference at step 1, which is exact for polynomials of degree
    4 in the arrays, as all kinds are. `start` must give back a tensor that the kind can represent. An R of its own for every
    input may be refused (ValueError), as by Tucker weights.
    """
    (Q, P, K), what = weights.shape, type(weights).__name__
    arrays, towards = ({name: rng.normal(size=shape) for name, shape in weights.arrays.items()} for _ in range(2))
    before = {name: a.copy() for name, a in arrays.items()}
    W, W_bar = weights.tensor(arrays), rng.normal(size=(2, 3, Q, P, K))
    require(W.shape == (Q, P, K), f"{what}: tensor must have shape {(Q, P, K)}, but it has shape {W.shape}")
    own, stacked = weights.pullback(arrays, W_bar[0, 0]), weights.pullback(arrays, W_bar)
    _require_arrays(own, weights.arrays, (), f"{what}: pullback")
    _require_arrays(stacked, weights.arrays, (2, 3), f"{what}: pullback of a W_bar with leading axes (2, 3)")
    along = lambda t: weights.tensor({name: a + t * towards[name] for name, a in arrays.items()})
    left = np.ravel(difference(along, 1.0) * W_bar[0, 0])
    right = np.concatenate([np.zeros(1), *(np.ravel(towards[name] * own[name]) for name in own)])
    report = {"pullback": (dot_error(left, right), EXACT)}
    for i in np.ndindex(2, 3):
        single = weights.pullback(arrays, W_bar[i])
        errors = [relative(stacked[name][i], single[name]) for name in single]
        report[f"leading axes {i}"] = max(errors, default=0.0), EXACT
    for size in ((K + 2, K), (P, K + 1, K)):
        R = rng.normal(size=size)
        by_definition = np.einsum("pai,qpi->qpa", np.broadcast_to(R, (P, *size[-2:])), W)
        try:
            kind, maps = weights.rebased(R, BSpline.uniform(P, R.shape[-2] - 1, 1))
        except ValueError:
            require(R.ndim == 3, f"{what}: rebased must take an R of shape {R.shape}, but refuses it")
            continue
        shape = (Q, P, R.shape[-2])
        require(tuple(kind.shape) == shape, f"{what}: rebased by R {R.shape} must have shape {shape}, not {kind.shape}")
        new = arrays | {name: mode_dot(arrays[name], M, mode) for name, (mode, M) in maps.items()}
        _require_arrays(new, kind.arrays, (), f"{what}: rebased")
        report[f"rebased by R {R.shape}"] = relative(kind.tensor(new), by_definition), EXACT
    outputs, inputs = np.arange(Q)[::-1], np.arange(P)[:1]
    part, own = weights.select(arrays, outputs, inputs)
    _require_arrays(own, part.arrays, (), f"{what}: select")
    report["select"] = relative(part.tensor(own), W[outputs][:, inputs]), EXACT
    start = weights.start(W)
    _require_arrays(start, weights.arrays, (), f"{what}: start")
    report["start"] = relative(weights.tensor(start), W), 100 * EXACT
    kept = all(np.array_equal(arrays[name], before[name]) for name in arrays)
    require(kept, f"{what}: arrays must be left alone, but they were changed")
    return _verdict(report, what)


def _require_arrays(arrays, shapes, lead, what):
    found = {name: np.shape(a) for name, a in arrays.items()}
    wanted = {name: lead + tuple(shape) for name, shape in shapes.items()}
    require(found == wanted, f"{what} must give arrays {wanted}, but gives {found}")


def check_term(term, rng, x=None):
    """A term on jets along 0 to 3 directions: dot tests of its pullbacks, rows and edges that add up, selections.

    The dot test takes its forward derivative by differences. x: (N, P) points away from kinks; drawn between the knots
    for `Linear` terms, which are also compared with the generic path (basis values, lift, mix).
    """
    what, linear, report = type(term).__name__, isinstance(term, Linear), {}
    if x is None:
        if not linear:
            raise ValueError(f"x must be given for terms of type {what}: points (N, P) away from kinks")
        x = between_knots(term.basis, term.weights.shape[1], 9, rng)
    h = _steps(term.basis, x)[0].min() if linear else 2.0**-10
    for D in range(4):
        draw = lambda: {name: rng.normal(size=shape) for name, shape in term.arrays.items()}
        arrays, arrays_dot, shape = draw(), draw(), (1 + 2 * D, *x.shape)
        z, z_dot = np.concatenate([x[None], rng.normal(size=(2 * D, *x.shape))]), rng.uniform(-1, 1, shape)
        kept, y = z.copy(), term.forward(arrays, z)
        require(y.shape[:2] == shape[:2], f"{what}: forward must have shape {(*shape[:2], 'Q')}, but it has {y.shape}")
        y_bar = rng.normal(size=y.shape)
        bar, z_bar = term.pullback(arrays, z, y_bar)
        rows = term.rows(arrays, z, y_bar)
        _require_arrays(bar, term.arrays, (), f"{what}: pullback")
        _require_arrays(rows, term.arrays, (len(x),), f"{what}: rows")
        require(z_bar.shape == shape, f"{what}: z_bar must have shape {shape}, but it has shape {z_bar.shape}")
        require(term.pullback(arrays, z, y_bar, False)[1] is None, f"{what}: z_bar must be None without `inputs`")
        require(np.array_equal(z, kept), f"{what}: the jet must be left alone, but it was changed")
        moved = lambda t, a=arrays, a_dot=arrays_dot: {name: a[name] + t * a_dot[name] for name in a}
        y_dot = difference(lambda t, m=moved, z=z, z_dot=z_dot: term.forward(m(t), z + t * z_dot), h)
        right = np.concatenate([np.ravel(z_dot * z_bar), *(np.ravel(arrays_dot[name] * bar[name]) for name in bar)])
        report[f"pullback, {D} directions"] = dot_error(np.ravel(y_dot * y_bar), right), DIFFERENCE
        if D == 0:
            phi = term.edges(arrays, x)
            edges = (len(x), y.shape[2], x.shape[1])
            require(phi.shape == edges, f"{what}: edges must have shape {edges}, but they have shape {phi.shape}")
            report["edges"] = relative(phi.sum(-1), y[0]), EXACT
            report |= _check_edges(term, arrays, arrays_dot, x, z_dot[0], rng.normal(size=edges), h)
            report["selected edges"] = _selection_error(term, arrays, x), EXACT
        errors = [relative(rows[name].sum(0), bar[name]) for name in bar]
        report[f"rows, {D} directions"] = max(errors, default=0.0), EXACT
        if linear:
            first, b = term.basis.derivatives(z[0], jets.order(z))
            generic = terms.mix(first, jets.lift(b, z), term.weights.tensor(arrays))
            report[f"generic path, {D} directions"] = relative(y, generic), EXACT
    return _verdict(report, what)


def _check_edges(term, arrays, arrays_dot, x, x_dot, phi_bar, h):
    """The dot test of `edges_pullback`."""
    bar, x_bar = term.edges_pullback(arrays, x, phi_bar)
    _require_arrays(bar, term.arrays, (), f"{type(term).__name__}: edges_pullback")
    require(x_bar.shape == x.shape, f"x_bar must have shape {x.shape}, but it has shape {x_bar.shape}")
    moved = lambda t: {name: a + t * arrays_dot[name] for name, a in arrays.items()}
    phi_dot = difference(lambda t: term.edges(moved(t), x + t * x_dot), h)
    right = np.concatenate([np.ravel(x_dot * x_bar), *(np.ravel(arrays_dot[name] * bar[name]) for name in bar)])
    return {"edges_pullback": (dot_error(np.ravel(phi_dot * phi_bar), right), DIFFERENCE)}


def _selection_error(term, arrays, x):
    """`select` with everything in reverse and with the first of everything, against the edges of the term itself."""
    error, phi = 0.0, term.edges(arrays, x)
    Q, P = phi.shape[1:]
    for outputs, inputs in ((np.arange(Q)[::-1], np.arange(P)[::-1]), (np.arange(1), np.arange(1))):
        part, own = term.select(arrays, outputs, inputs)
        wanted = phi[:, outputs][:, :, inputs]
        found = part.edges(own, np.ascontiguousarray(x[:, inputs])) if part else np.zeros_like(wanted)
        error = max(error, relative(found, wanted))
    return error


def between_knots(basis, inputs, samples, rng):
    """Points (samples, inputs) amid random spans, outer ones included; N(0, 1) for a basis without knots."""
    if not isinstance(basis, BSpline | PowerReLU):
        return rng.normal(size=(samples, inputs))
    x = np.empty((samples, inputs))
    for p, t in enumerate(basis.knots):
        t = t[basis.degree : len(t) - basis.degree] if getattr(basis, "outside", "error") == "error" else t
        spans = np.flatnonzero(np.diff(t) > 0.1 * np.diff(t).mean())
        spans = rng.choice(spans, samples)
        x[:, p] = t[spans] + rng.uniform(0.2, 0.8, samples) * (t[spans + 1] - t[spans])
    return x


# ------------------------------------------------------------------------------------- 4. networks of every kind, drawn


class Projection(NamedTuple):
    """<w, jet of the outputs> for a fixed input jet z and adjoint w: the network's pullback as an objective."""

    net: KAN
    z: np.ndarray
    w: np.ndarray

    def __call__(self, theta):
        y, tape = self.net.forward(theta, self.z)
        return float(np.vdot(self.w, y)), self.net.pullback(theta, tape, self.w)[0]

    def value(self, theta):
        """The value alone."""
        return float(np.vdot(self.w, self.net.forward(theta, self.z)[0]))


class Case(NamedTuple):
    """A network, what is made of it, and a point theta."""

    structure: str
    purpose: str
    objective: object
    theta: np.ndarray

    @property
    def name(self):
        return f"{self.structure}: {self.purpose}"


class Row(NamedTuple):
    """The outcome for one case; None for a test that does not apply."""

    structure: str
    purpose: str
    parameters: int
    complex_step: float
    finite_difference: float | None
    dot: float | None
    taylor: float | None

    @property
    def passed(self):
        return (
            self.complex_step <= EXACT
            and (self.finite_difference is None or self.finite_difference <= DIFFERENCE)
            and (self.dot is None or self.dot <= EXACT)
            and (self.taylor is None or self.taylor >= 2 - FALL)
        )


def knot_rows(kind, inputs, degree, rng):
    """Uneven knots, domain [-1, 1]: "random", "clamped" (ends degree + 1 times) or "repeated" (an inner knot twice)."""
    ends = degree if kind != "clamped" else 0
    steps = rng.uniform(0.3, 1, (inputs, 3 + 2 * ends))
    t = np.concatenate([np.zeros((inputs, 1)), steps.cumsum(1)], 1)
    low, high = t[:, [ends]], t[:, [-1 - ends]]
    t = (t - low) / (high - low) * 2 - 1
    if kind == "clamped":
        return np.concatenate([-np.ones((inputs, degree)), t, np.ones((inputs, degree))], 1)
    return np.sort(np.concatenate([t, t[:, degree + 1 : degree + 2]], 1), 1) if kind == "repeated" else t


def structures(rng):
    """{name: network} of every kind that exists."""
    nets = {f"degree {d}": kan([2, 3, 1], intervals=3, degree=d) for d in (1, 2, 3, 4, 5)}
    nets |= {f"outside {o}": kan([2, 2, 1], intervals=2, domain=(-0.5, 0.6), outside=o) for o in ("linear", "clamp")}
    nets |= {f"base {b}": kan([2, 2, 1], intervals=2, base=b) for b in ("identity", "tanh", "sin", "sigmoid", None)}
    for kind, degree in (("random", 3), ("clamped", 3), ("repeated", 3), ("repeated", 4)):
        rows = (BSpline(knot_rows(kind, 2, degree, rng), degree) for _ in range(2))
        nets[f"{kind} knots, degree {degree}"] = KAN(tuple(spline_layer(2, Q, b) for Q, b in zip((2, 1), rows)))
    nets["products of 2 and 3, affine"] = kan([2, [1, [2, 3]], 1], intervals=1, affine=AFFINE)
    constants = {name: rng.uniform(0.5, 1.5, 3 if name.startswith("sub") else 2) for name in AFFINE}
    basis, mask = BSpline.uniform(2, 2, 3), np.array([[1.0, 0.0], [0.5, 1.0]])
    nodes = Nodes((2, 1), (), constants)
    nets["product, constant affine"] = KAN((spline_layer(2, 3, basis, nodes=nodes), spline_layer(2, 1, basis)))
    nets["scaled, four outputs"] = kan([2, 4, 1], intervals=2, scaled=True, bias=True)
    nets["masked and scaled"] = KAN(
        (spline_layer(2, 2, basis, scaled=True, mask=mask), spline_layer(2, 1, basis, mask=np.array([[1.0, 0.7]])))
    )
    fixed = lambda Q: Linear(basis, Fixed(rng.normal(size=(Q, 2, 5))))
    layers = (Layer({"frozen": fixed(Q), **spline_layer(2, Q, basis).terms}) for Q in (2, 1))
    nets["fixed term"] = KAN(tuple(layers))
    chebyshev = lambda P, Q: Linear(Chebyshev(3), Full((Q, P, 4)))
    nets["chebyshev"] = KAN((Layer({"series": chebyshev(2, 2)}, True), Layer({"series": chebyshev(2, 1)})))
    four = {**spline_layer(2, 2, basis).terms, "series": chebyshev(2, 2), "sine": Linear(bases.sin, Full((2, 2, 1)))}
    nets["four terms"] = KAN((Layer(four), Layer({"series": chebyshev(2, 1), **spline_layer(2, 1, basis).terms})))
    pick = lambda *names: tuple((k % 2, k // 2, LIBRARY[name]) for k, name in enumerate(names))
    formulas = Symbolic((2, 2), pick("sin", "x^2", "gaussian", "arctan")), Symbolic((1, 2), ((0, 1, LIBRARY["exp"]),))
    nets["formulas"] = KAN((Layer({"symbolic": formulas[0]}), Layer({"symbolic": formulas[1]}, bias=True)))
    nets["formulas and splines"] = KAN(
        tuple(Layer({**spline_layer(2, Q, basis).terms, "symbolic": f}) for Q, f in zip((2, 1), formulas))
    )
    free = lambda Q, outside: FreeKnots(Full((Q, 2, 6)), 3, -1.0, 1.0, outside)
    nets["free knots"] = KAN(tuple(Layer({"spline": free(Q, "zero")}) for Q in (2, 1)))
    nets["free knots, outside linear"] = KAN(tuple(Layer({"spline": free(Q, "linear")}) for Q in (2, 1)))
    nets["linear first layer"] = kan([2, 3, 1], intervals=3, first="linear", bias=True)
    nets["inputs by tanh"] = kan([2, 2, 1], intervals=2, normalise=bases.tanh)
    nets["inputs by sigmoid"] = kan([2, 2, 1], intervals=2, domain=(0.0, 1.0), normalise=bases.sigmoid, bias=True)
    ranges = MinMax(np.array([-2.0, -1.5]), np.array([1.5, 2.0]))
    nets["inputs by min-max"] = KAN(tuple(spline_layer(2, Q, basis, normalise=ranges) for Q in (2, 1)))
    in_relu = lambda Q, b: Linear(b, InBasis(Full((Q, 2, b.size)), b))
    even, uneven = BSpline.uniform(2, 2, 3, outside="linear"), BSpline(knot_rows("random", 2, 2, rng), 2, "linear")
    for b in (even, uneven):  # "linear", as random weights in power ReLUs make large functions and hidden values
        name = "weights in power ReLUs" + ", random knots" * (b is uneven)
        nets[name] = KAN(tuple(Layer({"spline": in_relu(Q, b)}) for Q in (2, 1)))
    powers = lambda Q, degree: Linear(PowerReLU(knot_rows("random", 2, degree, rng), degree), Full((Q, 2, degree + 3)))
    for d in (1, 3, 4):
        nets[f"power ReLUs, degree {d}"] = KAN(tuple(Layer({"powers": powers(Q, d)}) for Q in (2, 1)))
    return nets


def helmholtz(x, u, u_i, u_ij):
    """u_xx + u_yy + u^2 - x y: diagonal second derivatives, nonlinear in u."""
    r_uij = np.zeros_like(u_ij)
    r_uij[..., 0, 0] = r_uij[..., 1, 1] = 1
    return u_ij[:, 0, 0, 0] + u_ij[:, 0, 1, 1] + u[:, 0] ** 2 - x[:, 0] * x[:, 1], (2 * u, None, r_uij[:, 0][:, None])


def mixed_system(x, u, u_i, u_ij):
    """(u_xy + u u_x, u_yy - u_y): two equations, a mixed derivative, a product of u and its slope."""
    zero, one = np.zeros_like(u[:, 0]), np.ones_like(u[:, 0])
    r = np.stack([u_ij[:, 0, 0, 1] + u[:, 0] * u_i[:, 0, 0], u_ij[:, 0, 1, 1] - u_i[:, 0, 1]], -1)
    r_u = np.stack([u_i[:, 0, 0], zero], -1)[..., None]
    r_ui = np.stack([np.stack([u[:, 0], zero], -1), np.stack([zero, -one], -1)], 1)[:, :, None]
    r_uij = np.zeros((len(x), 2, 1, 2, 2), u.dtype)
    r_uij[:, 0, 0, 0, 1] = r_uij[:, 1, 0, 1, 1] = 1
    return r, (r_u, r_ui, r_uij)


def level_set(z):
    """(x, y) -> (x, y, |x|)."""
    return np.concatenate([z, jets.compose((np.abs, np.sign, np.zeros_like), z[..., :1])], -1)


def slope(z):
    """x, as the offset of a trial function."""
    return z[..., :1]


def cases(seed=0):
    """Networks of every kind times objectives; drawing them is cheap, checking is not."""
    rng = np.random.default_rng([seed, 0])
    nets = structures(rng)
    point = lambda net: 0.6 * rng.normal(size=net.size)
    samples = lambda N: rng.uniform(-1.4, 1.4, (N, 2))
    far = lambda N: rng.choice([-1, 1], N) * rng.uniform(5, 6, N)
    found = []
    add = lambda structure, purpose, objective, net: found.append(Case(structure, purpose, objective, point(net)))
    at_knots = np.array([[-1.0, 1.0], [0.0, -0.5]])  # edges of the first layer's domain, and an inner knot
    for name, net in nets.items():
        add(name, "mse", objectives.mse(net, np.concatenate([at_knots, samples(3)]), far(5)), net)
    for name, net in nets.items():
        z = np.concatenate([samples(3)[None], rng.normal(size=(2, 3, 2))])
        add(name, "jets", Projection(net, z, rng.normal(size=(3, 3, 1))), net)
    small, scores = {d: kan([2, 2, 1], intervals=1, degree=d) for d in (3, 4, 5)}, kan([2, 2, 3], intervals=2)
    add("[2, 2, 1], degree 3", "mae", objectives.mae(small[3], samples(5), far(5)), small[3])
    add("[2, 2, 3], degree 3", "cross-entropy", objectives.cross_entropy(scores, samples(4), [0, 2, 1, 1]), scores)
    add("[2, 2, 1], degree 3", "logistic", objectives.logistic(small[3], samples(5), [0, 1, 1, 0, 1]), small[3])
    for d, net in small.items():
        equation = objectives.collocation(net, samples(3), helmholtz, weights=rng.uniform(0, 2, 3))
        system = objectives.collocation(net, samples(3), mixed_system, ((0, 1), (1, 1)))
        add(f"[2, 2, 1], degree {d}", "equation", equation, net)
        add(f"[2, 2, 1], degree {d}", "system, mixed", system, net)
    equation, data = (
        objectives.collocation(small[4], samples(2), helmholtz),
        objectives.mse(small[4], samples(2), far(2)),
    )
    add("[2, 2, 1], degree 4", "weighted sum", objectives.weighted_sum([(0.3, equation), (2, data)]), small[4])
    trial = Trial(kan([3, 2, 1], intervals=1, degree=4), 2, level_set, slope, cap)
    equation = objectives.collocation(trial, samples(3), helmholtz, weights=rng.uniform(0, 2, 3))
    add("trial function, degree 4", "equation, weighted", equation, trial)
    return found


# ---------------------------------------------------------------------------------------------------- 5. the four tests


def parts_of(objective):
    """The (network, input jet) pairs that an objective evaluates."""
    if isinstance(objective, WeightedSum):
        return [pair for _, part in objective.parts for pair in parts_of(part)]
    if isinstance(objective, Projection):
        return [(objective.net, objective.z)]
    directions = objective.directions if isinstance(objective, Collocation) else None
    return [(objective.net, jets.seed(objective.x, directions))]


def network_dot_error(net, theta, z, rng):
    """The dot test of a network's pullback; F v by a complex step in theta and in all parts of the input jet. A trial
    function has a pullback to theta only."""
    theta_dot, z_dot = rng.normal(size=theta.shape), rng.normal(size=z.shape)
    y, tape = net.forward(theta, z)
    w = rng.normal(size=y.shape)
    if isinstance(net, Trial):
        theta_bar, z_bar, z_dot = net.pullback(theta, tape, w)[0], np.zeros_like(z), np.zeros_like(z)
    else:
        theta_bar, z_bar = net.pullback(theta, tape, w, inputs=True)
    y_dot = np.imag(evaluate(net, theta + 1j * STEP * theta_dot, z + 1j * STEP * z_dot)) / STEP
    return dot_error(np.ravel(w * y_dot), np.concatenate([theta_dot * theta_bar, np.ravel(z_dot * z_bar)]))


def smoothness(net):
    """How many derivatives of the hidden layers' splines are continuous; a first layer only sees fixed points."""
    continuous = [np.inf]
    for layer in (net.net if isinstance(net, Trial) else net).layers[1:]:
        for term in layer.terms.values():
            if isinstance(b := getattr(term, "basis", None), BSpline):
                ties = max(int(np.unique(t, return_counts=True)[1].max()) for t in b.knots)
                continuous += [b.degree - ties, {"zero": np.inf, "linear": 1, "clamp": 0, "error": np.inf}[b.outside]]
            elif isinstance(b, PowerReLU):
                continuous.append(b.degree - 1)
    return min(continuous)


def four_checks(case, rng):
    """A `Row` with the four tests of a case's gradient."""
    objective, theta = case.objective, case.theta
    gradient = objective(theta)[1]
    parts = parts_of(objective)
    needed = 3 if any(len(z) > 1 for _, z in parts) else 1
    smooth = all(smoothness(net) >= needed for net, _ in parts)
    along = lambda e: lambda t: objective.value(theta + t * e)
    differences = [difference_error(along(e), g) for e, g in zip(np.eye(theta.size), gradient)]
    return Row(
        case.structure,
        case.purpose,
        theta.size,
        relative(gradient, complex_step(lambda theta: value(objective, theta), theta)),
        float(max(differences) / np.abs(gradient).max()),
        max(network_dot_error(net, theta, z, rng) for net, z in parts),
        taylor(objective, theta, rng).first if smooth else None,
    )


def input_check(case):
    """A `Row` for input derivatives: net.derivatives along the axes against complex steps in x and differences."""
    (net, z), theta = parts_of(case.objective)[0], case.theta
    x, e = z[0], np.eye(net.inputs)
    _, first, second = net.derivatives(theta, x)
    tangent = lambda d, m: np.imag(_line(net, theta, x + 1j * STEP * e[d], e[d], m)) / STEP
    exact_first, exact_second = (np.stack([tangent(d, m) for d in range(net.inputs)]) for m in (0, 1))
    error = max(relative(first, exact_first), relative(second, exact_second))
    differences = [difference_error(lambda t, v=v: net(theta, x + t * v), slope) for v, slope in zip(e, first)]
    by_difference = float(np.max(differences) / np.abs(first).max())
    return Row(case.structure, "inputs", theta.size, error, by_difference, None, None)


def _line(net, theta, x, v, m):
    """Derivative m of t -> net(x + t v) by the definition, (N, m)."""
    layers = definition(net, theta)
    return np.array([spec.derivatives(layers, sample, v.tolist(), m)[:, m] for sample in x.tolist()])


def run(seed=0, progress=None):
    """All checks as a list of `Row`s; progress(done, total) is called after each. Same seed, same rows."""
    drawn = cases(seed)
    jobs = [(four_checks, (case, np.random.default_rng([seed, k]))) for k, case in enumerate(drawn, 1)]
    jobs += [(input_check, (case,)) for case in drawn if case.purpose == "jets"]
    rows = []
    for check, arguments in jobs:
        rows.append(check(*arguments))
        if progress is not None:
            progress(len(rows), len(jobs))
    return rows


def table(rows):
    """Rows as text: one line each, the bounds, the accuracy of the splines, and the verdict last."""
    cell = lambda number, form: "-" if number is None else format(number, form)
    lines = [("network", "objective", "parameters", "complex step", "differences", "dot test", "Taylor", "")]
    for row in rows:
        errors = (cell(e, ".1e") for e in (row.complex_step, row.finite_difference, row.dot))
        verdict = "" if row.passed else "FAILED"
        lines.append((row.structure, row.purpose, str(row.parameters), *errors, cell(row.taylor, ".2f"), verdict))
    lines.append(("bound", "", "", f"{EXACT:.0e}", f"{DIFFERENCE:.0e}", f"{EXACT:.0e}", f"{2 - FALL:.2f}", ""))
    text = aligned(lines, 2).split("\n")
    rule = "-" * len(text[0])
    ulps = ", ".join(f"{degree}: {bound}" for degree, bound in ULPS.items())
    passed, worst = sum(row.passed for row in rows), max(row.complex_step for row in rows)
    verdict = "all passed" if passed == len(rows) else f"{len(rows) - passed} FAILED"
    return "\n".join(
        [text[0], rule, *text[1:-1], rule, text[-1]]
        + [f"bounds of the error of B-splines and three derivatives against 50 digits, ulps by degree: {ulps}"]
        + [f"{len(rows)} lines, {verdict}; largest complex-step error {worst:.1e}"]
    )
